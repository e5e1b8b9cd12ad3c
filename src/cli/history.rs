//! `lain history` and `lain rollback`: the revisions of an app, and the way back in them.

use crate::cli::args::{DryRun, NamedApp, Waiting};
use crate::cli::change::{self, Done};
use crate::cli::error::{Exit, Result};
use crate::cli::lainfile;
use crate::cli::output::style::{Style, Tone, plain};
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time;
use crate::cli::request::{Change, Expect, Target};
use crate::cli::session::Session;
use crate::domain::view::{AppView, RevisionOutcome, RevisionView, RollbackRequest};
use chrono::{DateTime, Utc};
use clap::Args;
use reqwest::Method;

/// Show the revisions of an app, newest first
///
/// Who brought which release when, and what became of it. The server keeps as many as `history.revisions` says.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain history                  the app of ./lain.yaml
  lain history shop --limit 3
  lain history shop --revision 4   one of them, with its lain.yaml
  lain history shop -o json | jq '.items[0].images'")]
pub struct HistoryArgs {
    /// Which app.
    #[command(flatten)]
    pub app: NamedApp,
    /// Show this one, with its lain.yaml
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    pub revision: Option<u64>,
    /// At most this many
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        conflicts_with = "revision"
    )]
    pub limit: usize,
}

/// Go back to an earlier revision of an app
///
/// Without --to: the newest that was rolled out to its end and differs from what is wanted now. The plan is shown and
/// carried out as a deploy's is; a change in progress, a canary too, is given up. It becomes a new revision.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain rollback                 the app of ./lain.yaml, to the last good revision
  lain rollback shop --to 4
  lain rollback shop --dry-run  only show the plan (exit 10: there are changes)")]
pub struct RollbackArgs {
    /// Which app.
    #[command(flatten)]
    pub app: NamedApp,
    /// The revision to go back to; see `lain history`
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: Option<u64>,
    /// Whether to plan only.
    #[command(flatten)]
    pub dry_run: DryRun,
    /// How to go on once it is accepted.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Shows the history.
///
/// # Errors
/// Where the app or the revision does not exist, or the server does not answer.
pub async fn run(args: HistoryArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.app.name())?;
    let target = Target::new(["apps", app.as_str(), "revisions"]);
    let screen = &session.screen;
    if let Some(number) = args.revision {
        let document = session
            .client
            .get(&target.join(&number.to_string()))
            .await?;
        let revision: RevisionView = session.client.view(&document)?;
        match screen.is_table() {
            true => screen.print(&one(&revision, screen.out, screen.now()))?,
            false => screen.document(&document)?,
        }
        return Ok(Exit::Ok);
    }
    let (page, revisions) = session
        .client
        .list::<RevisionView>(&target, Some(args.limit))
        .await?;
    let table = |all: &[RevisionView]| table(all, screen.out, screen.now(), screen.is_wide());
    let empty = "no revisions are kept of it yet: the next deploy is the first";
    screen.list(&revisions, &page, empty, table, |revision| {
        revision.revision.to_string()
    })?;
    Ok(Exit::Ok)
}

fn tone(outcome: RevisionOutcome) -> Tone {
    match outcome {
        RevisionOutcome::Deploying => Tone::Warn,
        RevisionOutcome::Deployed => Tone::Good,
        RevisionOutcome::Failed => Tone::Bad,
        RevisionOutcome::RolledBack | RevisionOutcome::Aborted => Tone::Bad,
        RevisionOutcome::Cancelled => Tone::Plain,
    }
}

fn table(revisions: &[RevisionView], style: Style, now: DateTime<Utc>, wide: bool) -> Table {
    let mut header = vec!["REVISION", "OUTCOME", "KIND", "BY", "AGE", "IMAGES"];
    if wide {
        header.extend(["META VERSION", "TOOK", "OPERATION"]);
    }
    header.push("NOTE");
    let mut table = Table::new(&header);
    for revision in revisions {
        let tone = tone(revision.outcome);
        let mark = match revision.current {
            true => " *",
            false => "",
        };
        let mut row: Vec<Cell> = vec![
            format!("{}{mark}", revision.revision).into(),
            Cell::toned(tone, style.state(tone, revision.outcome.words())),
            revision.kind.as_str().into(),
            revision.by.as_str().into(),
            time::since(Some(revision.at), now).into(),
            images(revision).into(),
        ];
        if wide {
            row.push(revision.meta_version.as_deref().unwrap_or("-").into());
            row.push(time::took(revision.ended_at.unwrap_or(now) - revision.at).into());
            row.push(revision.operation.as_str().into());
        }
        row.push(note(revision).into());
        table.row(row);
    }
    table
}

/// The images, each once: most apps have one.
fn images(revision: &RevisionView) -> String {
    let mut all: Vec<&str> = revision.images.values().map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    all.join(" ")
}

fn note(revision: &RevisionView) -> String {
    let back = revision.back_to.map(|to| format!("back to revision {to}"));
    let why = revision.reason.as_deref().map(plain);
    let parts: Vec<String> = back.into_iter().chain(why).collect();
    parts.join("; ")
}

fn one(revision: &RevisionView, style: Style, now: DateTime<Utc>) -> String {
    let tone = tone(revision.outcome);
    let current = match revision.current {
        true => ", wanted now",
        false => "",
    };
    let mut text = format!(
        "{} revision {}: {} by {} {} ago, {}{current}\n",
        style.paint(tone, style.symbol(tone)),
        revision.revision,
        plain(&revision.kind),
        plain(&revision.by),
        time::since(Some(revision.at), now),
        revision.outcome.words(),
    );
    let note = note(revision);
    if !note.is_empty() {
        text.push_str(&format!("  {note}\n"));
    }
    for (proc, image) in &revision.images {
        text.push_str(&format!("  {}  {}\n", plain(proc), plain(image)));
    }
    if let Some(file) = &revision.lain_yaml {
        text.push('\n');
        for line in file.lines() {
            text.push_str(&plain(line));
            text.push('\n');
        }
    }
    text
}

/// Rolls back.
///
/// # Errors
/// Where there is nothing to go back to, and as [`change::perform`].
pub async fn rollback(args: RollbackArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.app.name())?;
    let target = Target::new(["apps", app.as_str()]);
    let before: AppView = session.client.get_as(&target).await?;
    let request = RollbackRequest { to: args.to };
    let change = Change::new(Method::POST)
        .body(&request)?
        .expect(Expect::Etag(before.etag));
    let dry_run = args.dry_run.dry_run;
    let done = change::perform(
        session,
        target.clone().join("rollback"),
        &change,
        dry_run,
        &args.waiting,
    );
    match done.await? {
        Done::Planned(exit) => return Ok(exit),
        Done::Nothing | Done::Accepted | Done::Waits(_) => {}
        Done::Succeeded(operation) => {
            let now: AppView = session.client.get_as(&target).await?;
            let what = format!("{app} is rolled back, as revision {}", now.revision);
            let next = format!("lain history {app}, lain ps -a {app}");
            change::summary(session, &operation, &what, &next)?;
        }
    }
    Ok(Exit::Ok)
}
