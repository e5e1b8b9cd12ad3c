//! `lain crashes`: what crashed, why, and what was done; one report in full with its last lines.

use crate::cli::args::proc_name;
use crate::cli::complete;
use crate::cli::error::{Exit, Result};
use crate::cli::find;
use crate::cli::output::style::{Style, Tone, plain};
use crate::cli::output::table::{Cell, Table, short_ids};
use crate::cli::output::time;
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::domain::crash::CrashReport;
use crate::domain::id::ProcName;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

/// List crash reports, newest first, or show one
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(before_long_help = "Examples:
  lain crashes                  the newest of all apps
  lain crashes -a hello -p web
  lain crashes show 0198f2a1    one in full, with the last lines of output")]
pub struct CrashesArgs {
    /// What to do; listing if absent.
    #[command(subcommand)]
    pub verb: Option<CrashesVerb>,
    /// What is listed.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to do with crash reports.
#[derive(Debug, Subcommand)]
pub enum CrashesVerb {
    /// List crash reports, newest first
    List(ListArgs),
    /// Show one report in full
    Show {
        /// Its id, or as much of it as is unique
        #[arg(value_name = "ID", add = ArgValueCompleter::new(complete::crashes))]
        id: String,
    },
}

/// Which reports are listed.
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
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// Lists or shows.
///
/// # Errors
/// Where there is no such report or the server does not answer.
pub async fn run(args: CrashesArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        None => list(args.list, session).await,
        Some(CrashesVerb::List(args)) => list(args, session).await,
        Some(CrashesVerb::Show { id }) => show(&id, session).await,
    }
}

async fn list(args: ListArgs, session: &Session) -> Result<Exit> {
    let target = Target::new(["crashes"])
        .maybe("app", args.app)
        .maybe("proc", args.proc)
        .maybe("instance", args.instance);
    let (page, reports) = session
        .client
        .list::<CrashReport>(&target, Some(args.limit))
        .await?;
    let screen = &session.screen;
    let table =
        |reports: &[CrashReport]| table(reports, screen.out, screen.now(), screen.is_wide());
    screen.list(&reports, &page, "no crashes", table, |report| {
        report.id.to_string()
    })?;
    if screen.is_table() && !reports.is_empty() {
        screen.note("next: lain crashes show ID");
    }
    Ok(Exit::Ok)
}

async fn show(id: &str, session: &Session) -> Result<Exit> {
    let document = find::read(session, "crashes", "crash report", id).await?;
    let screen = &session.screen;
    match screen.is_table() {
        true => {
            let report: CrashReport = session.client.view(&document)?;
            screen.print(&(describe(&report).join("\n") + "\n"))?;
        }
        false => screen.document(&document)?,
    }
    Ok(Exit::Ok)
}

fn table(reports: &[CrashReport], style: Style, now: DateTime<Utc>, wide: bool) -> Table {
    let mut header = vec!["ID", "AGE", "INSTANCE", "CAUSE", "UPTIME", "ACTION"];
    if wide {
        header.extend(["NODE", "VERSION", "IN WINDOW", "CONTAINER"]);
    }
    let mut table = Table::new(&header);
    let ids = short_ids(reports.iter().map(|report| report.id.as_str()), 8);
    for (report, id) in reports.iter().zip(ids) {
        let mut row: Vec<Cell> = vec![
            id.into(),
            time::since(Some(report.at), now).into(),
            report.instance.to_string().into(),
            Cell::toned(Tone::Bad, style.state(Tone::Bad, &report.cause.to_string())),
            uptime(report).into(),
            report.action.as_str().into(),
        ];
        if wide {
            row.push(report.node.as_str().into());
            row.push(report.version.to_string().into());
            row.push(report.crashes_in_window.to_string().into());
            row.push(report.container.as_str().into());
        }
        table.row(row);
    }
    table
}

fn uptime(report: &CrashReport) -> String {
    let span = i64::try_from(report.uptime_ms).unwrap_or(i64::MAX / 2);
    time::took(chrono::Duration::milliseconds(span))
}

/// A report in full.
pub fn describe(report: &CrashReport) -> Vec<String> {
    let mut lines = vec![
        format!("crash {} of {}", report.id, report.instance),
        format!("  at         {}", time::stamp(report.at)),
        format!("  cause      {}", plain(&report.cause.to_string())),
        format!("  uptime     {}", uptime(report)),
        format!("  action     {}", plain(&report.action)),
        format!(
            "  in window  {} crashes, this one included",
            report.crashes_in_window
        ),
        format!(
            "  container  {} (version {}) on {}",
            report.container, report.version, report.node
        ),
        format!("  actor      {}", report.path),
    ];
    if !report.probes.is_empty() {
        lines.push("last probes:".to_owned());
        lines.extend(
            report
                .probes
                .iter()
                .map(|line| format!("  {}", plain(line))),
        );
    }
    lines.push("last lines:".to_owned());
    if report.last_lines.is_empty() {
        lines.push("  (no output)".to_owned());
    }
    lines.extend(
        report
            .last_lines
            .iter()
            .map(|line| format!("  {}", plain(line))),
    );
    lines
}

/// What an error shows of a crash: the cause and the last `count` lines of output.
pub fn tail(report: &CrashReport, count: usize) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {}",
        report.instance,
        plain(&report.cause.to_string())
    )];
    let skip = report.last_lines.len().saturating_sub(count);
    lines.extend(
        report
            .last_lines
            .iter()
            .skip(skip)
            .map(|line| format!("  | {}", plain(line))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::crash::{CrashCause, Exit as Ended};

    fn report() -> CrashReport {
        CrashReport {
            id: "0198f2a1-0000-7000-8000-000000000001".parse().unwrap(),
            at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            instance: "hello.web.web.i1".parse().unwrap(),
            node: "dev".parse().unwrap(),
            path: "nodes/dev/containers/container/hello.web.web.i1".to_owned(),
            version: 2,
            container: "hello.web.web.v2-i1-d0".to_owned(),
            cause: CrashCause::OutOfMemory {
                exit: Ended::from_code(137, true, None),
            },
            uptime_ms: 2130,
            crashes_in_window: 2,
            action: "restarted at once".to_owned(),
            last_lines: (1..=12).map(|n| format!("line {n}\x1b[2J")).collect(),
            probes: vec!["GET / 200".to_owned()],
        }
    }

    #[test]
    fn a_report_is_shown_in_full() {
        insta::assert_snapshot!(describe(&report()).join("\n"));
    }

    #[test]
    fn an_error_shows_the_last_ten_lines() {
        let lines = tail(&report(), 10);
        assert_eq!(lines.len(), 11);
        assert_eq!(
            lines[0],
            "hello.web.web.i1: killed by the kernel for want of memory (exit code 137 (SIGKILL), out of memory)"
        );
        assert_eq!(lines[1], "  | line 3\u{fffd}[2J");
    }
}
