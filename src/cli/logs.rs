//! `lain logs`: the output of an app's instances, in order, each line with its instance.

use crate::cli::args::Selection;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::lainfile;
use crate::cli::logs_query::{self, QueryArgs};
use crate::cli::logs_stats::{self, RoutesArgs, StatsArgs};
use crate::cli::output::document::Document;
use crate::cli::output::time;
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::cli::watch::{Signal, Watch};
use crate::domain::view::LogLineView;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

/// Lines of each instance that are shown unless something else is asked for.
const TAIL: usize = 100;
/// The most that the server gives.
const MOST: usize = 10_000;

/// Show the output of an app's instances
///
/// Of all instances, in order of time; with -f also what comes, over restarts and of new instances.
/// Without --since or --tail, the last 100 lines of each instance; never more than 10,000 each.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(before_long_help = "Examples:
  lain logs                       the app of ./lain.yaml
  lain logs -f web                follow one proc
  lain logs web -i 2 --since 10m
  lain logs --since 2026-01-31T08:00:00Z --until 2026-01-31T08:05:00Z
  lain logs --tail all -o json
  lain logs query 'level: error' --from now-1h
  lain logs routes --from now-1h")]
pub struct LogsArgs {
    /// What else to do with logs.
    #[command(subcommand)]
    pub verb: Option<LogsVerb>,
    /// Which procs and instances.
    #[command(flatten)]
    pub selection: Selection,
    /// Go on as lines come
    #[arg(short, long, conflicts_with = "until")]
    pub follow: bool,
    /// At or after this time, or this long ago
    #[arg(long, value_name = "TIME|AGE")]
    pub since: Option<String>,
    /// Before this time, or this long ago
    #[arg(long, value_name = "TIME|AGE")]
    pub until: Option<String>,
    /// At most this many last lines of each instance, or `all`
    #[arg(long, value_name = "N|all", value_parser = tail)]
    pub tail: Option<Tail>,
    /// Show when each line was written
    #[arg(short, long)]
    pub timestamps: bool,
    /// Lines alone, without their instance
    #[arg(long)]
    pub no_prefix: bool,
}

/// What else to do with logs.
#[derive(Debug, Subcommand)]
pub enum LogsVerb {
    /// Search the log events of all apps
    Query(Box<QueryArgs>),
    /// Count log events, and compute statistics of a number in them
    Stats(Box<StatsArgs>),
    /// Show access logs by route: requests, how they were answered, how long they took
    Routes(Box<RoutesArgs>),
}

/// How many last lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// As many as there are, up to the server's bound.
    All,
    /// At most this many.
    Last(usize),
}

fn tail(text: &str) -> std::result::Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        number => number
            .parse()
            .map(Tail::Last)
            .map_err(|_| "expected a number or all".to_owned()),
    }
}

/// Shows the lines.
///
/// # Errors
/// Where the app does not exist or the server does not answer.
pub async fn run(args: LogsArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        Some(LogsVerb::Query(args)) => return logs_query::run(*args, session).await,
        Some(LogsVerb::Stats(args)) => return logs_stats::stats(*args, session).await,
        Some(LogsVerb::Routes(args)) => return logs_stats::routes(*args, session).await,
        None => {}
    }
    let target = target(&args, session.screen.now())?;
    let mut printer = Printer {
        session,
        timestamps: args.timestamps,
        prefix: !args.no_prefix,
        column: 0,
    };
    if args.follow {
        return follow(target, &mut printer).await;
    }
    let items = session.client.get(&target).await?.into_items();
    let any = !items.is_empty();
    for document in items {
        let line = session.client.view(&document)?;
        printer.print(&document, &line)?;
    }
    if !any {
        session.screen.note("no output");
    }
    Ok(Exit::Ok)
}

fn target(args: &LogsArgs, now: DateTime<Utc>) -> Result<Target> {
    let selection = &args.selection;
    let app = lainfile::app(selection.app.app.as_deref())?;
    if selection.instance.is_some() && selection.proc().is_none() {
        return Err(CliError::usage("-i needs a proc").hint("name it with -p PROC"));
    }
    let moment = |flag: &str, text: &Option<String>| {
        let moment = text
            .as_ref()
            .map(|text| time::moment(text, now))
            .transpose();
        moment
            .map(|moment| moment.map(time::stamp))
            .map_err(|why| CliError::usage(format!("{flag}: {why}")))
    };
    let since = moment("--since", &args.since)?;
    let tail = match args.tail {
        Some(Tail::Last(count)) => count.min(MOST),
        None if since.is_none() => TAIL,
        Some(Tail::All) | None => MOST,
    };
    Ok(Target::new(["apps", app.as_str(), "logs"])
        .maybe("proc", selection.proc())
        .maybe("instance", selection.instance)
        .maybe("since", since)
        .maybe("until", moment("--until", &args.until)?)
        .query("tail", tail))
}

async fn follow(target: Target, printer: &mut Printer<'_>) -> Result<Exit> {
    let session = printer.session;
    // The stream has ids: what was missed while the connection was away follows.
    let mut watch = Watch::new(&session.client, target.query("follow", true));
    loop {
        match watch.next().await? {
            Signal::Event(event) => {
                let document = session.client.parse(&event.data)?;
                let line: LogLineView = session.client.view(&document)?;
                printer.print(&document, &line)?;
            }
            Signal::Lost(why) => {
                session
                    .screen
                    .note(&format!("connection lost ({why}); trying again"));
            }
            Signal::Back => session.screen.note("connected again"),
        }
    }
}

struct Printer<'s> {
    session: &'s Session,
    timestamps: bool,
    prefix: bool,
    column: usize,
}

impl Printer<'_> {
    fn print(&mut self, document: &Document, line: &LogLineView) -> Result<()> {
        let screen = &self.session.screen;
        if matches!(
            screen.format,
            crate::cli::output::Format::Json
                | crate::cli::output::Format::Ndjson
                | crate::cli::output::Format::Yaml
        ) {
            return screen.document_line(document);
        }
        let mut text = String::new();
        if self.timestamps {
            text.push_str(&time::stamp(line.at));
            text.push(' ');
        }
        if self.prefix {
            let name = short_name(&line.instance);
            // The column only grows, so that lines stay aligned once the longest name has shown up.
            self.column = self.column.max(name.len());
            text.push_str(&screen.out.paint_name(name));
            text.extend(std::iter::repeat_n(' ', self.column - name.len()));
            text.push_str(" | ");
        }
        text.push_str(&line.line);
        if screen.out.colour && line.line.contains('\x1b') {
            text.push_str("\x1b[0m");
        }
        screen.line(&text)
    }
}

/// `web.web.i1` of `hello.web.web.i1`: the app is known. Dotted app names keep it right too.
fn short_name(instance: &str) -> &str {
    let start = instance
        .rmatch_indices('.')
        .nth(2)
        .map_or(0, |(at, _)| at + 1);
    &instance[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_and_tails_read() {
        assert_eq!(short_name("hello.web.web.i1"), "web.web.i1");
        assert_eq!(
            short_name("resource.redis.shop.worker.ctl.i12"),
            "worker.ctl.i12"
        );
        assert_eq!(short_name("odd"), "odd");
        assert_eq!(tail("all"), Ok(Tail::All));
        assert_eq!(tail("5"), Ok(Tail::Last(5)));
        assert!(tail("-5").is_err());
    }
}
