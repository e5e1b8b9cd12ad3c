//! `lain operation`: deploys, scales, restarts … in progress and past.

use crate::cli::complete;
use crate::cli::error::{Exit, Result};
use crate::cli::output::document::Document;
use crate::cli::output::style::{Style, plain};
use crate::cli::output::table::{Cell, Table, short_ids};
use crate::cli::output::time;
use crate::cli::request::{Change, Target};
use crate::cli::session::Session;
use crate::cli::{crashes, find, progress};
use crate::domain::view::{OperationState, OperationView};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use reqwest::Method;

/// List operations, newest first, show one or cancel one
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(before_long_help = "Examples:
  lain operation                   the newest
  lain operation show 0198f2a1
  lain operation cancel 0198f2a1
  lain event watch 0198f2a1        follow one to its end")]
pub struct OperationArgs {
    /// What to do; listing if absent.
    #[command(subcommand)]
    pub verb: Option<OperationVerb>,
    /// What is listed.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to do with operations.
#[derive(Debug, Subcommand)]
pub enum OperationVerb {
    /// List operations, newest first
    List(ListArgs),
    /// Show one with its steps
    Show(IdArg),
    /// Cancel one: what it did stays, the rest is not done
    Cancel(IdArg),
}

/// Which operations are listed.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Of this app only
    #[arg(short, long, value_name = "APP", add = ArgValueCompleter::new(complete::apps))]
    pub app: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// One operation.
#[derive(Debug, Clone, Args)]
pub struct IdArg {
    /// Its id, or as much of it as is unique
    #[arg(value_name = "ID", add = ArgValueCompleter::new(complete::operations))]
    pub id: String,
}

/// Lists, shows or cancels.
///
/// # Errors
/// Where there is no such operation, it has ended (cancel), or the server does not answer.
pub async fn run(args: OperationArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        None => list(args.list, session).await,
        Some(OperationVerb::List(args)) => list(args, session).await,
        Some(OperationVerb::Show(IdArg { id })) => {
            let document = find::read(session, "operations", "operation", &id).await?;
            show(&document, session)
        }
        Some(OperationVerb::Cancel(IdArg { id })) => cancel(&id, session).await,
    }
}

async fn list(args: ListArgs, session: &Session) -> Result<Exit> {
    let target = Target::new(["operations"]).maybe("app", args.app);
    let (page, operations) = session
        .client
        .list::<OperationView>(&target, Some(args.limit))
        .await?;
    let screen = &session.screen;
    let table = |operations: &[OperationView]| {
        table(operations, screen.out, screen.now(), screen.is_wide())
    };
    screen.list(&operations, &page, "no operations", table, |operation| {
        operation.id.clone()
    })?;
    Ok(Exit::Ok)
}

fn table(operations: &[OperationView], style: Style, now: DateTime<Utc>, wide: bool) -> Table {
    let mut header = vec!["ID", "KIND", "APP", "STATE", "STEPS", "AGE", "TOOK", "BY"];
    if wide {
        header.push("WHOLE ID");
    }
    header.push("ERROR");
    let mut table = Table::new(&header);
    let ids = short_ids(operations.iter().map(|operation| operation.id.as_str()), 8);
    for (operation, id) in operations.iter().zip(ids) {
        let done = operation
            .steps
            .iter()
            .filter(|step| step.state == OperationState::Succeeded);
        let tone = progress::tone(operation.state);
        let mut row: Vec<Cell> = vec![
            id.into(),
            operation.kind.as_str().into(),
            operation.app.as_str().into(),
            Cell::toned(tone, style.state(tone, progress::word(operation.state))),
            format!("{}/{}", done.count(), operation.steps.len()).into(),
            time::since(Some(operation.started_at), now).into(),
            time::took(operation.ended_at.unwrap_or(now) - operation.started_at).into(),
            operation.actor.as_str().into(),
        ];
        if wide {
            row.push(operation.id.as_str().into());
        }
        row.push(operation.error.as_deref().unwrap_or("").into());
        table.row(row);
    }
    table
}

fn show(document: &Document, session: &Session) -> Result<Exit> {
    let screen = &session.screen;
    let operation: OperationView = session.client.view(document)?;
    if !screen.is_table() {
        screen.document(document)?;
        return Ok(Exit::Ok);
    }
    let now = screen.now();
    let tone = progress::tone(operation.state);
    screen.line(&format!(
        "{} {} of {} by {}, begun {} ago, {} after {}",
        screen.out.paint(tone, screen.out.symbol(tone)),
        operation.kind,
        operation.app,
        operation.actor,
        time::since(Some(operation.started_at), now),
        progress::word(operation.state),
        time::took(operation.ended_at.unwrap_or(now) - operation.started_at),
    ))?;
    let columns = screen.columns().unwrap_or(usize::MAX);
    for line in progress::frame(&operation, now, screen.out, columns) {
        screen.line(&line)?;
    }
    if let Some(error) = &operation.error {
        screen.line(&plain(error))?;
    }
    for line in operation
        .crashes
        .iter()
        .flat_map(|crash| crashes::tail(crash, 10))
    {
        screen.line(&line)?;
    }
    Ok(Exit::Ok)
}

async fn cancel(id: &str, session: &Session) -> Result<Exit> {
    let list = Target::new(["operations"]);
    let id = find::by_prefix(session, &list, "operation", id).await?;
    let target = list.join(&id).join("cancel");
    let document = session
        .client
        .change(&target, &Change::new(Method::POST))
        .await?;
    let exit = show(&document, session)?;
    session.screen.note(&format!(
        "what it did so far stays; next: lain operation show {id}"
    ));
    Ok(exit)
}
