//! `lain events`: what happened, and what happens; `lain event watch OP`: one operation to its end.

use crate::cli::args::proc_name;
use crate::cli::change;
use crate::cli::complete;
use crate::cli::error::{Exit, Result};
use crate::cli::event_filter::{Filter, Level, Seen};
use crate::cli::find;
use crate::cli::output::Format;
use crate::cli::output::document::Document;
use crate::cli::output::style::{Style, Tone, plain};
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time;
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::cli::watch::{Signal, Watch};
use crate::domain::id::ProcName;
use crate::domain::view::{EventView, OperationView};
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use std::collections::VecDeque;
use std::time::Duration;

/// Show what happened, and with -f what happens
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(before_long_help = "Examples:
  lain events                       the last events
  lain events -f --level warn       follow warnings and errors
  lain events -a hello -p web -o json -f
  lain event watch 0198f2a1         follow an operation to its end")]
pub struct EventsArgs {
    /// What to do; listing if absent.
    #[command(subcommand)]
    pub verb: Option<EventsVerb>,
    /// What is listed.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to do with events.
#[derive(Debug, Subcommand)]
pub enum EventsVerb {
    /// List events, or follow them
    List(ListArgs),
    /// Follow an operation to its end, as the command that began it would have
    Watch {
        /// The operation's id, or as much of it as is unique
        #[arg(value_name = "OPERATION", add = ArgValueCompleter::new(complete::operations))]
        operation: String,
        /// Wait no longer than this [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = crate::cli::args::duration)]
        timeout: Option<Duration>,
    },
}

/// Which events are shown.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Of this app only
    #[arg(short, long, value_name = "APP", add = ArgValueCompleter::new(complete::apps))]
    pub app: Option<String>,
    /// Of this proc only
    #[arg(short, long, value_name = "PROC", value_parser = proc_name, add = ArgValueCompleter::new(complete::procs))]
    pub proc: Option<ProcName>,
    /// Of this instance only
    #[arg(short, long, value_name = "N")]
    pub instance: Option<u32>,
    /// Of this kind only, such as instance_crashed
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Of this level and above
    #[arg(long, value_enum)]
    pub level: Option<Level>,
    /// At most this many of the past
    #[arg(long, visible_alias = "tail", value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Go on as events come
    #[arg(short, long)]
    pub follow: bool,
    /// Also what the actor of a container tells of its crash and restart, besides its instance
    #[arg(long)]
    pub all: bool,
}

/// Lists or follows.
///
/// # Errors
/// Where the server refuses or does not answer.
pub async fn run(args: EventsArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        None => list(args.list, session).await,
        Some(EventsVerb::List(args)) => list(args, session).await,
        Some(EventsVerb::Watch { operation, timeout }) => watch(&operation, timeout, session).await,
    }
}

async fn list(args: ListArgs, session: &Session) -> Result<Exit> {
    let target = Target::new(["events"])
        .maybe("app", args.app)
        .maybe("kind", args.kind.clone())
        .maybe("level", args.level.map(Level::word));
    let filter = Filter {
        proc: args.proc.map(|proc| proc.to_string()),
        instance: args.instance,
        level: args.level,
        repeats: args.all || args.kind.is_some(),
        below: None,
        past: args.limit,
    };
    if args.follow {
        return follow(session, target.query("watch", true), &filter).await;
    }
    past(session, target, &filter).await
}

async fn past(session: &Session, target: Target, filter: &Filter) -> Result<Exit> {
    // The server's limit counts what is filtered out here.
    let narrowed = filter.proc.is_some() || filter.instance.is_some() || !filter.repeats;
    let limit = if narrowed {
        1000
    } else {
        filter.past.clamp(1, 1000)
    };
    let page = session.client.get(&target.query("limit", limit)).await?;
    let mut kept: Vec<(Document, EventView)> = Vec::new();
    for document in page.into_items() {
        let event: EventView = session.client.view(&document)?;
        if filter.wants(&event) {
            kept.push((document, event));
        }
    }
    // Newest last, as in a log.
    kept.sort_by_key(|(_, event)| event.seq);
    kept.drain(..kept.len().saturating_sub(filter.past));
    let (documents, events): (Vec<Document>, Vec<EventView>) = kept.into_iter().unzip();
    let screen = &session.screen;
    let table = |events: &[EventView]| table(events, screen.out, screen.now(), screen.is_wide());
    let page = Document::page(documents);
    screen.list(&events, &page, "no events", table, |event| {
        event.seq.to_string()
    })?;
    Ok(Exit::Ok)
}

fn tone(level: &str) -> Tone {
    match Level::of(level) {
        Level::Error => Tone::Bad,
        Level::Warn => Tone::Warn,
        Level::Info => Tone::Plain,
    }
}

fn table(
    events: &[EventView],
    style: Style,
    now: chrono::DateTime<chrono::Utc>,
    wide: bool,
) -> Table {
    let mut header = vec!["AGE", "LEVEL", "KIND"];
    if wide {
        header.extend(["SUBJECT", "SEQ", "NODE", "OPERATION", "CRASH", "PATH"]);
    }
    header.push("MESSAGE");
    let mut table = Table::new(&header);
    for event in events {
        let tone = tone(&event.level);
        let mut row: Vec<Cell> = vec![
            time::since(Some(event.at), now).into(),
            Cell::toned(tone, style.state(tone, Level::of(&event.level).word())),
            event.kind.as_str().into(),
        ];
        if wide {
            row.push(subject(event).into());
            let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or("-"));
            row.push(event.seq.to_string().into());
            row.extend([&event.node, &event.operation, &event.crash, &event.path].map(text));
        }
        row.push(event.message.as_str().into());
        table.row(row);
    }
    table
}

/// What an event is about: `hello.web.web.i1`, as far as it says.
fn subject(event: &EventView) -> String {
    let parts = [
        event.app.clone(),
        event.proc.clone(),
        event.instance.map(|no| format!("i{no}")),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(".");
    match text.is_empty() {
        true => event
            .path
            .clone()
            .or_else(|| event.node.clone())
            .unwrap_or_default(),
        false => text,
    }
}

/// Prints events as they come, over lost connections, until interrupted.
///
/// # Errors
/// Where the server refuses, does not answer at first, or stdout is closed.
pub async fn follow(session: &Session, target: Target, filter: &Filter) -> Result<Exit> {
    let mut watch = Watch::new(&session.client, target);
    let mut seen = Seen::default();
    let mut past: Option<VecDeque<(Document, EventView)>> = Some(VecDeque::new());
    loop {
        let event = match watch.next().await {
            Ok(Signal::Event(event)) => event,
            Ok(Signal::Lost(why)) => {
                session
                    .screen
                    .note(&format!("connection lost ({why}); trying again"));
                continue;
            }
            Ok(Signal::Back) => {
                session.screen.note("connected again");
                continue;
            }
            Err(error) if error.status == Some(410) => {
                session
                    .screen
                    .warn("some events were missed: they are too old to be resumed");
                watch.restart();
                // It may be a server that counts from a clock that was set back.
                seen = Seen::default();
                continue;
            }
            Err(error) => return Err(error),
        };
        if event.name == "synced" {
            for (document, event) in past.take().unwrap_or_default() {
                print(session, &document, &event)?;
            }
            continue;
        }
        let document = session.client.parse(&event.data)?;
        let event: EventView = session.client.view(&document)?;
        if !seen.is_new(&event) || !filter.wants(&event) {
            continue;
        }
        match &mut past {
            Some(past) => {
                past.push_back((document, event));
                past.drain(..past.len().saturating_sub(filter.past));
            }
            None => print(session, &document, &event)?,
        }
    }
}

fn print(session: &Session, document: &Document, event: &EventView) -> Result<()> {
    let screen = &session.screen;
    match screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => return screen.document_line(document),
        Format::Name => return screen.line(&event.seq.to_string()),
        Format::Table | Format::Wide => {}
    }
    let tone = tone(&event.level);
    let symbol = screen.out.paint(tone, screen.out.symbol(tone));
    screen.line(&format!(
        "{}  {symbol} {}  {}",
        time::stamp(event.at),
        event.kind,
        plain(&event.message)
    ))
}

async fn watch(given: &str, timeout: Option<Duration>, session: &Session) -> Result<Exit> {
    let document = find::read(session, "operations", "operation", given).await?;
    let operation: OperationView = session.client.view(&document)?;
    let (ended, document) = match operation.state.is_final() {
        true => (operation, document),
        false => change::follow(session, operation, timeout, false).await?,
    };
    let ended = change::conclude(session, ended, &document)?;
    let what = format!("the {} of {} has succeeded", ended.kind, ended.app);
    change::summary(session, &ended, &what, &format!("lain ps -a {}", ended.app))?;
    Ok(Exit::Ok)
}
