//! `lain sink`: where log events go, and what to do about it.

use crate::cli::error::{Exit, Result};
use crate::cli::output::style::{Style, Tone, plain};
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time;
use crate::cli::request::{Change, Target};
use crate::cli::session::Session;
use crate::domain::id::NodeName;
use crate::domain::view::{SinkView, SinksReloaded};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use reqwest::Method;

/// List the sinks of log events, or act on one
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain sink list
  lain sink test central
  lain sink reload
  lain sink rewind central --to 2025-03-01T08:00:00Z")]
pub struct SinkArgs {
    /// What to do; listing if absent.
    #[command(subcommand)]
    pub verb: Option<SinkVerb>,
}

/// What to do with sinks.
#[derive(Debug, Subcommand)]
pub enum SinkVerb {
    /// List the sinks: how far each is behind, what it sent, and what went wrong last
    List,
    /// Tell whether the receiver is there and takes events
    Test(SinkArg),
    /// Send nothing until it is resumed; events wait in the spool
    Pause(SinkArg),
    /// Go on at once, also after a refusal
    Resume(SinkArg),
    /// Go on from another place in the spool
    Rewind(RewindArgs),
    /// Take up the configuration of the sinks as the files have it now, here and on all nodes
    Reload,
}

/// One sink.
#[derive(Debug, Clone, Args)]
pub struct SinkArg {
    /// Its name in the configuration
    #[arg(value_name = "SINK")]
    pub sink: String,
    /// Only on this node; on all that have the sink if absent
    #[arg(long, value_name = "NODE")]
    pub node: Option<NodeName>,
}

/// Where to.
#[derive(Debug, Clone, Args)]
pub struct RewindArgs {
    /// Which.
    #[command(flatten)]
    pub sink: SinkArg,
    /// The first event at or after this instant is sent next (RFC 3339); the oldest one if absent
    #[arg(long, value_name = "TIME", conflicts_with = "now")]
    pub to: Option<DateTime<Utc>>,
    /// Skip what waits
    #[arg(long)]
    pub now: bool,
}

/// Lists or acts.
///
/// # Errors
/// Where there is no such sink, its receiver is not there, or the server does not answer.
pub async fn run(args: SinkArgs, session: &Session) -> Result<Exit> {
    let (sink, verb, target) = match args.verb {
        None | Some(SinkVerb::List) => return list(session).await,
        Some(SinkVerb::Reload) => return reload(session).await,
        Some(SinkVerb::Test(sink)) => (sink.clone(), "takes events", target(&sink, "test")),
        Some(SinkVerb::Pause(sink)) => (sink.clone(), "is paused", target(&sink, "pause")),
        Some(SinkVerb::Resume(sink)) => (sink.clone(), "goes on", target(&sink, "resume")),
        Some(SinkVerb::Rewind(RewindArgs { sink, to, now })) => {
            let target = target(&sink, "rewind").maybe("to", to.map(|at| at.to_rfc3339()));
            let target = target.maybe("now", now.then_some(true));
            (sink, "goes on from there", target)
        }
    };
    let answer = session
        .client
        .change(&target, &Change::new(Method::POST))
        .await?;
    match session.screen.is_table() {
        true => session
            .screen
            .line(&format!("sink {} {verb}", plain(&sink.sink)))?,
        false => session.screen.document(&answer)?,
    }
    Ok(Exit::Ok)
}

fn target(sink: &SinkArg, verb: &str) -> Target {
    let node = sink.node.as_ref().map(NodeName::as_str);
    Target::new(["sinks", sink.sink.as_str(), verb]).maybe("node", node)
}

async fn reload(session: &Session) -> Result<Exit> {
    let change = Change::new(Method::POST);
    let target = Target::new(["sinks", "reload"]);
    let answer = session.client.change(&target, &change).await?;
    if !session.screen.is_table() {
        session.screen.document(&answer)?;
        return Ok(Exit::Ok);
    }
    let reloaded: SinksReloaded = session.client.view(&answer)?;
    for (what, names) in [
        ("added", &reloaded.added),
        ("changed", &reloaded.changed),
        ("removed", &reloaded.removed),
        ("kept", &reloaded.kept),
        ("told nodes", &reloaded.nodes),
    ] {
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| plain(name)).collect();
            session
                .screen
                .line(&format!("{what}: {}", names.join(", ")))?;
        }
    }
    Ok(Exit::Ok)
}

async fn list(session: &Session) -> Result<Exit> {
    let (page, sinks) = session
        .client
        .list::<SinkView>(&Target::new(["sinks"]), None)
        .await?;
    let screen = &session.screen;
    let table = |sinks: &[SinkView]| table(sinks, screen.out, screen.now());
    let empty = "no sinks: name one in [[logging.sink]] of the configuration";
    screen.list(&sinks, &page, empty, table, |sink| sink.name.clone())?;
    Ok(Exit::Ok)
}

fn table(sinks: &[SinkView], style: Style, now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "SINK",
        "NODE",
        "TYPE",
        "STATE",
        "BEHIND",
        "SENT",
        "RATE",
        "DISCARDED",
        "RETRIES",
        "LAST SENT",
        "LAST ERROR",
    ]);
    for sink in sinks {
        let tone = match sink.state.as_str() {
            "running" | "idle" => Tone::Good,
            "paused" | "starting" => Tone::Warn,
            _ => Tone::Bad,
        };
        table.row(vec![
            sink.name.as_str().into(),
            sink.node.as_str().into(),
            sink.kind.as_str().into(),
            Cell::toned(tone, style.state(tone, &sink.state)),
            sink.lag_events.to_string().into(),
            sink.sent.to_string().into(),
            format!("{:.0}/s", sink.rate).into(),
            sink.discarded.to_string().into(),
            sink.retries.to_string().into(),
            time::since(sink.last_sent_at, now).into(),
            sink.last_error.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}
