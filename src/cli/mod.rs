//! The command line: one clap tree, one file per verb.
//!
//! `main` calls [`run`] and nothing else. Verbs speak HTTP to a server and `domain`'s views; they import
//! neither actors nor web. stdout carries results, stderr everything else; the exit codes are those of
//! [`error::Exit`].

pub mod args;
pub mod change;
pub mod client;
pub mod complete;
pub mod connection;
pub mod crashes;
pub mod daemon;
pub mod deploy;
pub mod error;
pub mod events;
pub mod find;
pub mod lainfile;
pub mod output;
pub mod plan;
pub mod problem;
pub mod progress;
pub mod ps;
pub mod session;
pub mod sse;
pub mod tree;
pub mod watch;

use args::Global;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use daemon::Roles;
use error::{CliError, Exit, Result};
use session::Session;
use std::ffi::OsString;

/// Keeps apps alive: from a lain.yaml to a supervised app
#[derive(Debug, Parser)]
#[command(
    name = "lain",
    version,
    propagate_version = false,
    disable_help_subcommand = false
)]
#[command(before_long_help = "Examples:
  lain dev                      start lain on this machine
  lain deploy                   deploy the app of ./lain.yaml
  lain ps                       what runs
  lain tree --watch             the supervision tree, live
  lain logs -f                  the app's output")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    Dev(daemon::DevOptions),
    Deploy(deploy::DeployArgs),
    Ps(ps::PsArgs),
    Tree(tree::TreeArgs),
    #[command(visible_alias = "crash")]
    Crashes(crashes::CrashesArgs),
    #[command(visible_alias = "event")]
    Events(events::EventsArgs),
}

/// The clap tree, from which help, man pages, completion and `docs/cli.md` come too.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a command line and returns the process's exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, roles: Roles) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let complete = clap_complete::CompleteEnv::with_factory(command);
    let folder = std::env::current_dir().ok();
    match complete.try_complete(arguments.clone(), folder.as_deref()) {
        Ok(false) => {}
        Ok(true) => return Exit::Ok.code(),
        Err(error) => return clap_failure(&error),
    }
    let parsed = command().try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return clap_failure(&error),
    };
    let screen = session::screen(&cli.global);
    match dispatch(cli, roles) {
        Ok(exit) => exit.code(),
        Err(error) => {
            let (red, reset) = match screen.err.colour {
                true => ("\x1b[31m", "\x1b[0m"),
                false => ("", ""),
            };
            eprint!("{}", error.render(red, reset));
            error.exit.code()
        }
    }
}

/// Help and version are printed to stdout and are no failure; wrong usage goes to stderr, code 2.
fn clap_failure(error: &clap::Error) -> u8 {
    // Where even that cannot be printed, nothing can be said at all.
    let _ = error.print();
    match error.use_stderr() {
        true => Exit::Usage.code(),
        false => Exit::Ok.code(),
    }
}

fn dispatch(cli: Cli, roles: Roles) -> Result<Exit> {
    let Cli { global, command } = cli;
    match command {
        Command::Dev(options) => (roles.dev)(options).map(|()| Exit::Ok),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| CliError::failed(format!("cannot start: {error}")))?;
            let outcome = runtime.block_on(verb(command, &global));
            // A thread that waits for a key must not hold the process back.
            runtime.shutdown_background();
            outcome
        }
    }
}

async fn verb(command: Command, global: &Global) -> Result<Exit> {
    let session = Session::open(global)?;
    match command {
        Command::Dev(_) => Ok(Exit::Ok),
        Command::Deploy(args) => deploy::run(args, &session).await,
        Command::Ps(args) => ps::run(args, &session).await,
        Command::Tree(args) => tree::run(args, &session).await,
        Command::Crashes(args) => crashes::run(args, &session).await,
        Command::Events(args) => events::run(args, &session).await,
    }
}
