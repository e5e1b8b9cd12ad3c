//! `lain run`: a one-off command in a new container made like an instance of a proc.

use crate::cli::args::{AppArg, proc_name};
use crate::cli::complete;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::cli::{exec, lainfile};
use crate::domain::id::ProcName;
use clap::Args;
use clap_complete::engine::ArgValueCompleter;

/// Run a command in a new container made like an instance of a proc
///
/// With the proc's image, environment, volumes and limits, but no health check and no route. The
/// container is removed when the command ends. Returns the command's exit code.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain run web -- ./manage.py migrate
  lain run -a shop -p worker -- sh
  echo 'select 1' | lain run web -- psql")]
pub struct RunArgs {
    /// Proc
    #[arg(value_name = "PROC", value_parser = proc_name, add = ArgValueCompleter::new(complete::procs))]
    pub positional: Option<ProcName>,
    /// The same as PROC
    #[arg(short, long = "proc", value_name = "PROC", value_parser = proc_name, conflicts_with = "positional", required_unless_present = "positional", add = ArgValueCompleter::new(complete::procs))]
    pub proc: Option<ProcName>,
    /// Which app.
    #[command(flatten)]
    pub app: AppArg,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// As [`exec::run`].
pub async fn run(args: RunArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.app.app.as_deref())?;
    let Some(proc) = args.positional.or(args.proc) else {
        return Err(CliError::usage("no proc named"));
    };
    let target = Target::new(["apps", app.as_str(), "procs", proc.as_str(), "run"]);
    exec::run(&session.client, &session.screen, target, &args.command).await
}
