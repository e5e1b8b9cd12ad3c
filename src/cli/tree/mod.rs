//! `lain tree`: the supervision tree, once or live.
//!
//! `printed` makes the text, `model` is the state of the live tree (pure), `draw` shows it with
//! ratatui, `live` runs it against the terminal and the server. `line` holds what they share.

pub mod draw;
pub mod line;
pub mod live;
pub mod model;
pub mod printed;
pub mod report;

use crate::cli::args::AppArg;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::event_filter::Filter;
use crate::cli::events;
use crate::cli::lainfile;
use crate::cli::output::Format;
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::domain::view::ActorView;
use clap::Args;

/// Show the supervision tree, once or live
///
/// Supervisors with their strategy and the restarts used of those allowed in the window; workers with
/// their mailbox, uptime and last crash. Live: arrows move, Enter shows the crash report, r restarts,
/// t terminates, / filters, ? lists the keys, q quits. Without a terminal, --watch prints a line per
/// change.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain tree                        the whole tree
  lain tree --watch                live
  lain tree -a hello -f            live, the actors of one app
  lain tree --depth 2
  lain tree apps/app/hello/proc/web.web")]
pub struct TreeArgs {
    /// Path of an actor; its subtree is shown
    #[arg(value_name = "PATH", conflicts_with = "app")]
    pub path: Option<String>,
    /// Show the subtree of this app
    #[command(flatten)]
    pub app: AppArg,
    /// Levels below the top one
    #[arg(long, value_name = "N")]
    pub depth: Option<u32>,
    /// Live: follow every change
    #[arg(short = 'f', long, visible_alias = "follow")]
    pub watch: bool,
}

impl TreeArgs {
    /// The path of the subtree; empty for the whole tree.
    fn path(&self) -> Result<String> {
        match (&self.path, &self.app.app) {
            (Some(path), _) => Ok(path.trim_matches('/').to_owned()),
            (None, Some(app)) => Ok(format!("apps/app/{}", lainfile::app(Some(app))?)),
            (None, None) => Ok(String::new()),
        }
    }
}

/// Shows the tree.
///
/// # Errors
/// Where there is no such actor or the server does not answer.
pub async fn run(args: TreeArgs, session: &Session) -> Result<Exit> {
    let path = args.path()?;
    let screen = &session.screen;
    if !args.watch {
        return once(&path, args.depth, session).await;
    }
    let people = screen.is_table() && screen.stdin_is_terminal && screen.stdout_is_terminal;
    if people && std::env::var("TERM").is_ok_and(|term| term != "dumb") {
        return live::run(&path, session).await;
    }
    events::follow(
        session,
        Target::new(["supervision", "events"]),
        &Filter::below(path),
    )
    .await
}

/// The target of a subtree.
pub fn target(path: &str, depth: Option<u32>) -> Target {
    let path = Some(path).filter(|path| !path.is_empty());
    Target::new(["supervision"])
        .maybe("path", path)
        .maybe("depth", depth)
}

async fn once(path: &str, depth: Option<u32>, session: &Session) -> Result<Exit> {
    let document = session
        .client
        .get(&target(path, depth))
        .await
        .map_err(hinted)?;
    let screen = &session.screen;
    match screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => screen.document(&document)?,
        Format::Name => screen.print(&paths(&session.client.view(&document)?))?,
        Format::Table | Format::Wide => {
            let root: ActorView = session.client.view(&document)?;
            screen.table(&printed::table(
                &root,
                screen.out,
                screen.now(),
                screen.is_wide(),
            ))?;
        }
    }
    Ok(Exit::Ok)
}

fn hinted(error: CliError) -> CliError {
    match (error.status, &error.hint) {
        (Some(404), None) => error.hint("`lain tree -o name` lists every path"),
        _ => error,
    }
}

fn paths(actor: &ActorView) -> String {
    let mut text = match actor.path.is_empty() {
        true => String::new(),
        false => actor.path.clone() + "\n",
    };
    for child in &actor.children {
        text.push_str(&paths(child));
    }
    text
}
