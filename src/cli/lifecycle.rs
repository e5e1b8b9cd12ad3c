//! `lain restart`, `lain stop`, `lain start`: of an app, a proc or one instance.

use crate::cli::args::{DryRun, Selection, Waiting};
use crate::cli::change::{self, Done};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::lainfile;
use crate::cli::request::{Change, Target};
use crate::cli::session::Session;
use crate::domain::id::AppName;
use clap::Args;
use reqwest::Method;

/// Restart an app, a proc or an instance, one instance after another
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain restart                the app of ./lain.yaml
  lain restart web            one proc
  lain restart web -i 2       one instance")]
pub struct RestartArgs {
    /// What it is for and how.
    #[command(flatten)]
    pub common: LifecycleArgs,
}

/// Stop an app, a proc or an instance until it is started again
///
/// It stays stopped over restarts of lain and over deploys.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain stop                   the app of ./lain.yaml
  lain stop worker
  lain stop web -i 2")]
pub struct StopArgs {
    /// What it is for and how.
    #[command(flatten)]
    pub common: LifecycleArgs,
}

/// Start what was stopped, and retry at once what waits or is degraded
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain start                  the app of ./lain.yaml
  lain start web")]
pub struct StartArgs {
    /// What it is for and how.
    #[command(flatten)]
    pub common: LifecycleArgs,
}

/// What the three have in common.
#[derive(Debug, Clone, Args)]
pub struct LifecycleArgs {
    /// Which procs and instances.
    #[command(flatten)]
    pub selection: Selection,
    /// Whether to plan only.
    #[command(flatten)]
    pub dry_run: DryRun,
    /// How to go on once it is accepted.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Stop and start.
    Restart,
    /// Stop until started.
    Stop,
    /// Start.
    Start,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Restart => "restart",
            Action::Stop => "stop",
            Action::Start => "start",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Action::Restart => "restarted",
            Action::Stop => "stopped",
            Action::Start => "started",
        }
    }
}

/// Does it.
///
/// # Errors
/// As [`change::perform`].
pub async fn run(action: Action, args: LifecycleArgs, session: &Session) -> Result<Exit> {
    let selection = &args.selection;
    let app = lainfile::app(selection.app.app.as_deref())?;
    let target = selected(&app, selection)?.join(action.word());
    let change = Change::new(Method::POST);
    let done = change::perform(
        session,
        target,
        &change,
        args.dry_run.dry_run,
        &args.waiting,
    )
    .await?;
    match done {
        Done::Planned(exit) => return Ok(exit),
        Done::Nothing | Done::Accepted | Done::Waits(_) => {}
        Done::Succeeded(operation) => {
            let what = format!("{} is {}", selection.words(&app), action.done());
            let next = match action {
                Action::Stop => format!("lain start -a {app}"),
                Action::Restart | Action::Start => format!("lain ps -a {app}"),
            };
            change::summary(session, &operation, &what, &next)?;
        }
    }
    Ok(Exit::Ok)
}

/// The path of the app, proc or instance.
fn selected(app: &AppName, selection: &Selection) -> Result<Target> {
    let target = Target::new(["apps", app.as_str()]);
    let Some(proc) = selection.proc() else {
        return match selection.instance {
            Some(_) => Err(CliError::usage("-i needs a proc").hint("name it with -p PROC")),
            None => Ok(target),
        };
    };
    let target = target.join("procs").join(proc.as_str());
    Ok(match selection.instance {
        Some(no) => target.join("instances").join(&no.to_string()),
        None => target,
    })
}
