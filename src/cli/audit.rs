//! `lain audit`: who changed what, when, from where.

use crate::cli::error::{Exit, Result};
use crate::cli::output::style::{Style, Tone};
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time;
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::domain::view::AuditView;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

/// List the changes made through the API, newest first
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(before_long_help = "Examples:
  lain audit list
  lain audit list --limit 500 -o json")]
pub struct AuditArgs {
    /// What to do; listing if absent.
    #[command(subcommand)]
    pub verb: Option<AuditVerb>,
    /// What is listed.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to do with the audit.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// List the changes, newest first
    List(ListArgs),
}

/// How much is listed.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// Lists.
///
/// # Errors
/// Where the server does not answer.
pub async fn run(args: AuditArgs, session: &Session) -> Result<Exit> {
    let args = match args.verb {
        Some(AuditVerb::List(args)) => args,
        None => args.list,
    };
    let target = Target::new(["audit"]);
    let (page, records) = session
        .client
        .list::<AuditView>(&target, Some(args.limit))
        .await?;
    let screen = &session.screen;
    let table = |records: &[AuditView]| table(records, screen.out, screen.now());
    let name = |record: &AuditView| format!("{} {}", record.action, record.target);
    screen.list(&records, &page, "no changes yet", table, name)?;
    Ok(Exit::Ok)
}

fn table(records: &[AuditView], style: Style, now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "AGE", "WHO", "FROM", "ACTION", "TARGET", "OUTCOME", "DETAIL",
    ]);
    for record in records {
        let tone = match record.outcome.as_str() {
            "ok" => Tone::Good,
            _ => Tone::Bad,
        };
        table.row(vec![
            time::since(Some(record.at), now).into(),
            record.actor.as_str().into(),
            record.from.as_str().into(),
            record.action.as_str().into(),
            record.target.as_str().into(),
            Cell::toned(tone, style.state(tone, &record.outcome)),
            record.detail.as_str().into(),
        ]);
    }
    table
}
