//! `lain scale`: instances, CPU, memory and spares of one proc, all or nothing.

use crate::cli::args::{AppArg, DryRun, Waiting, proc_name};
use crate::cli::change::{self, Done};
use crate::cli::complete;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::lainfile;
use crate::cli::request::{Change, Target};
use crate::cli::session::Session;
use crate::domain::id::ProcName;
use crate::domain::view::ScaleRequest;
use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use reqwest::Method;

/// Change a proc's instances, CPU, memory or spares
///
/// All that is given changes together or not at all. More instances get the next numbers, fewer lose
/// the highest; CPU and memory change without a restart where the engine can. The values hold over
/// later deploys, and `lain ps` shows where they differ from lain.yaml.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain scale -p web -n 3
  lain scale web -n 3 --memory 128m
  lain scale -a shop -p worker --cpu 4 --spares 1")]
pub struct ScaleArgs {
    /// Proc
    #[arg(value_name = "PROC", value_parser = proc_name, add = ArgValueCompleter::new(complete::procs))]
    pub positional: Option<ProcName>,
    /// The same as PROC
    #[arg(short, long = "proc", value_name = "PROC", value_parser = proc_name, conflicts_with = "positional", required_unless_present = "positional", add = ArgValueCompleter::new(complete::procs))]
    pub proc: Option<ProcName>,
    /// Which app.
    #[command(flatten)]
    pub app: AppArg,
    /// The new values.
    #[command(flatten)]
    pub to: ScaleTo,
    /// Whether to plan only.
    #[command(flatten)]
    pub dry_run: DryRun,
    /// How to go on once it is accepted.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// What it is scaled to.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub struct ScaleTo {
    /// Instances
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub num_instances: Option<u32>,
    /// CPU level, 0 to 8: that many eighths of half the node's CPU; 0 counts as 2
    #[arg(short, long, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(0..=8))]
    pub cpu: Option<u32>,
    /// Memory, such as 64m or 1g
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Spares: instances more, healthy and idle, promoted when one crashes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub spares: Option<u32>,
}

/// Scales.
///
/// # Errors
/// As [`change::perform`].
pub async fn run(args: ScaleArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.app.app.as_deref())?;
    let Some(proc) = args.positional.or(args.proc) else {
        return Err(CliError::usage("no proc named"));
    };
    let target = Target::new(["apps", app.as_str(), "procs", proc.as_str()]);
    let request = ScaleRequest {
        num_instances: args.to.num_instances,
        cpu: args.to.cpu,
        memory: args.to.memory,
        spares: args.to.spares,
    };
    let change = Change::new(Method::PATCH).body(&request)?;
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
            let what = format!("proc {proc} of {app} is scaled: {}", words(&request));
            change::summary(session, &operation, &what, &format!("lain ps -a {app}"))?;
        }
    }
    Ok(Exit::Ok)
}

/// `3 instances, memory 128m`.
fn words(request: &ScaleRequest) -> String {
    let count = |n: u32, word: &str| match n {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    };
    let parts = [
        request.num_instances.map(|n| count(n, "instance")),
        request.cpu.map(|level| format!("CPU level {level}")),
        request.memory.as_ref().map(|size| format!("memory {size}")),
        request.spares.map(|n| count(n, "spare")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_changed() {
        let request = ScaleRequest {
            num_instances: Some(1),
            memory: Some("64m".to_owned()),
            spares: Some(2),
            cpu: None,
        };
        assert_eq!(words(&request), "1 instance, memory 64m, 2 spares");
    }
}
