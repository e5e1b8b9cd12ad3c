//! `lain enter`: a shell, or another command, in a running instance.

use crate::cli::args::Selection;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::request::Target;
use crate::cli::session::Session;
use crate::cli::{exec, lainfile};
use crate::domain::view::{AppView, InstanceState, InstanceView, ProcView};
use clap::Args;

/// bash where the image has it, else sh.
const SHELL: [&str; 3] = [
    "/bin/sh",
    "-c",
    "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi",
];

/// Open a shell in a running instance
///
/// Or run another command there. Returns the command's exit code.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain enter                       the first running instance of the app's only proc
  lain enter web -i 2              a shell in instance 2
  lain enter web -- env
  tar c . | lain enter web -- tar x -C /tmp")]
pub struct EnterArgs {
    /// Which procs and instances.
    #[command(flatten)]
    pub selection: Selection,
    /// The command [default: a shell]
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Enters.
///
/// # Errors
/// Where there is no such instance or it does not run; as [`exec::run`].
pub async fn run(args: EnterArgs, session: &Session) -> Result<Exit> {
    let app = lainfile::app(args.selection.app.app.as_deref())?;
    let target = Target::new(["apps", app.as_str()]);
    let view: AppView = session.client.get_as(&target).await?;
    let (proc, instance) = choose(&view, &args.selection)?;
    if args.selection.instance.is_none() && session.screen.stdin_is_terminal {
        session.screen.note(&format!("entering {}", instance.id));
    }
    let target = target
        .join("procs")
        .join(&proc.name)
        .join("instances")
        .join(&instance.no.to_string())
        .join("exec");
    let command = match args.command.is_empty() {
        true => SHELL.map(str::to_owned).to_vec(),
        false => args.command,
    };
    exec::run(&session.client, &session.screen, target, &command).await
}

/// The instance that is meant: named, or the first one that runs.
fn choose<'v>(app: &'v AppView, selection: &Selection) -> Result<(&'v ProcView, &'v InstanceView)> {
    let proc = choose_proc(app, selection)?;
    if let Some(no) = selection.instance {
        let found = proc.instances.iter().find(|instance| instance.no == no);
        return found.map(|instance| (proc, instance)).ok_or_else(|| {
            let there: Vec<String> = proc.instances.iter().map(|i| i.no.to_string()).collect();
            CliError::new(
                Exit::NotFound,
                format!("proc {} of {} has no instance {no}", proc.name, app.name),
            )
            .hint(format!("instances: {}", there.join(", ")))
        });
    }
    let running = |instance: &&InstanceView| {
        matches!(
            instance.state,
            InstanceState::Running | InstanceState::Starting
        )
    };
    match proc.instances.iter().find(running) {
        Some(instance) => Ok((proc, instance)),
        None => Err(CliError::new(
            Exit::Conflict,
            format!("no instance of proc {} of {} runs", proc.name, app.name),
        )
        .hint(format!(
            "lain ps -a {0}, or lain run -a {0} {1} -- COMMAND for a container of its own",
            app.name, proc.name
        ))),
    }
}

fn choose_proc<'v>(app: &'v AppView, selection: &Selection) -> Result<&'v ProcView> {
    let names = || {
        app.procs
            .iter()
            .map(|proc| proc.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (selection.proc(), app.procs.as_slice()) {
        (Some(name), procs) => procs
            .iter()
            .find(|proc| proc.name == name.as_str())
            .ok_or_else(|| {
                CliError::new(
                    Exit::NotFound,
                    format!("app {} has no proc {name}", app.name),
                )
                .hint(format!("procs: {}", names()))
            }),
        (None, [proc]) => Ok(proc),
        (None, _) => Err(
            CliError::usage(format!("app {} has several procs: name one", app.name))
                .hint(format!("procs: {}", names())),
        ),
    }
}
