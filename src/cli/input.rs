//! `lain input`: where log events come from, besides what lain runs.

use crate::cli::error::{Exit, Result};
use crate::cli::output::style::{Style, Tone};
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time;
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::domain::view::InputView;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

/// List the inputs of log events: syslog, files, the API
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain input list
  lain input list -o json")]
pub struct InputArgs {
    /// What to do; listing if absent.
    #[command(subcommand)]
    pub verb: Option<InputVerb>,
}

/// What to do with inputs.
#[derive(Debug, Subcommand)]
pub enum InputVerb {
    /// List the inputs: what each took, what it refused or lost, and what went wrong last
    List,
}

/// Lists.
///
/// # Errors
/// Where the server does not answer.
pub async fn run(args: InputArgs, session: &Session) -> Result<Exit> {
    let (None | Some(InputVerb::List)) = args.verb;
    let (page, inputs) = session
        .client
        .list::<InputView>(&Target::new(["inputs"]), None)
        .await?;
    let screen = &session.screen;
    let table = |inputs: &[InputView]| table(inputs, screen.out, screen.now());
    let empty = "no inputs: this lain collects no logs";
    screen.list(&inputs, &page, empty, table, |input| input.name.clone())?;
    Ok(Exit::Ok)
}

fn table(inputs: &[InputView], style: Style, now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "INPUT",
        "TYPE",
        "AT",
        "STATE",
        "EVENTS",
        "MALFORMED",
        "CUT",
        "DROPPED",
        "REFUSED",
        "LAST EVENT",
        "LAST ERROR",
    ]);
    for input in inputs {
        let tone = match input.state.as_str() {
            "running" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Warn,
        };
        table.row(vec![
            input.name.as_str().into(),
            input.kind.as_str().into(),
            input.at.as_str().into(),
            Cell::toned(tone, style.state(tone, &input.state)),
            input.events.to_string().into(),
            input.malformed.to_string().into(),
            input.truncated.to_string().into(),
            input.dropped.to_string().into(),
            input.refused.to_string().into(),
            time::since(input.last_event_at, now).into(),
            input.last_error.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}
