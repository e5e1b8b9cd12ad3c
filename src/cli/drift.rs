//! `lain drift`: moves instances to other nodes.

use crate::cli::args::proc_name;
use crate::cli::complete;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::document::Document;
use crate::cli::output::style::Tone;
use crate::cli::output::table::{Cell, Table};
use crate::cli::request::{Change, Target};
use crate::cli::session::Session;
use crate::domain::id::ProcName;
use crate::domain::view::{DriftBody, MovesView};
use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use reqwest::Method;
use std::time::Duration;

/// How often progress is asked for.
const ASK: Duration = Duration::from_millis(300);

/// Move instances to other nodes
///
/// Each instance is started on its new node, and stopped on the old one once it is ready there; a
/// stateful one is stopped first, and its data is not moved along.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain drift --from node1                    all that runs on node1, wherever there is room
  lain drift -a hello web -i 2 --to node3    one instance, to one node")]
pub struct DriftArgs {
    /// Away from this node
    #[arg(long, value_name = "NODE", add = ArgValueCompleter::new(complete::nodes), required_unless_present = "app")]
    pub from: Option<String>,
    /// To this node [default: wherever there is room]
    #[arg(long, value_name = "NODE", add = ArgValueCompleter::new(complete::nodes))]
    pub to: Option<String>,
    /// Of this app
    #[arg(short, long, value_name = "APP", add = ArgValueCompleter::new(complete::apps))]
    pub app: Option<String>,
    /// Of this proc
    #[arg(value_name = "PROC", value_parser = proc_name, requires = "app", add = ArgValueCompleter::new(complete::procs))]
    pub proc: Option<ProcName>,
    /// This instance
    #[arg(short, long, value_name = "N", requires = "proc")]
    pub instance: Option<u32>,
    /// Return at once
    #[arg(long)]
    pub no_wait: bool,
}

/// Moves.
///
/// # Errors
/// Where an instance stays, or the server does not answer.
pub async fn run(args: DriftArgs, session: &Session) -> Result<Exit> {
    let body = DriftBody {
        from: args.from,
        to: args.to,
        app: args.app,
        proc: args.proc.map(|p| p.to_string()),
        instance: args.instance,
    };
    let change = Change::new(Method::POST).body(&body)?;
    let begun = session
        .client
        .change(&Target::new(["drift"]), &change)
        .await?;
    follow(begun, args.no_wait, session).await
}

/// Shows moves until they are done.
///
/// # Errors
/// Where an instance stays.
pub async fn follow(begun: Document, no_wait: bool, session: &Session) -> Result<Exit> {
    let mut document = begun;
    let mut view: MovesView = session.client.view(&document)?;
    let mut shown = 0;
    while !view.done && !no_wait {
        tokio::time::sleep(ASK).await;
        let target = Target::new(["moves", &view.id]);
        document = session.client.get(&target).await?;
        view = session.client.view(&document)?;
        for moved in &view.moved[shown.min(view.moved.len())..] {
            let text = match &moved.error {
                None => format!("{}  {} → {}", moved.instance, moved.from, moved.to),
                Some(error) => format!("{}  stays on {}: {error}", moved.instance, moved.from),
            };
            session.screen.note(&text);
        }
        shown = view.moved.len();
    }
    let screen = &session.screen;
    if !screen.is_table() {
        screen.document(&document)?;
    } else if !no_wait {
        screen.table(&table(&view))?;
    }
    let left = view.moved.iter().filter(|m| m.error.is_some()).count();
    match left {
        0 => Ok(Exit::Ok),
        n => Err(CliError::failed(format!(
            "{n} of {} instances stay where they are",
            view.total
        ))),
    }
}

fn table(view: &MovesView) -> Table {
    let mut table = Table::new(&["INSTANCE", "FROM", "TO", "REMARKS"]);
    for moved in &view.moved {
        let tone = match moved.error {
            None => Tone::Good,
            Some(_) => Tone::Bad,
        };
        table.row(vec![
            moved.instance.as_str().into(),
            moved.from.as_str().into(),
            Cell::toned(tone, &moved.to),
            moved.error.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}
