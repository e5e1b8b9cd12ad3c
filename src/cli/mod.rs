//! The command line: one clap tree, one file per verb.
//!
//! `main` calls [`run`] and nothing else. Verbs speak HTTP to a server and `domain`'s views; they import
//! neither actors nor web. stdout carries results, stderr everything else; the exit codes are those of
//! [`error::Exit`].

pub mod args;
pub mod audit;
pub mod canary;
pub mod change;
pub mod checks;
pub mod client;
pub mod complete;
pub mod completion;
pub mod config;
pub mod confirm;
pub mod connection;
pub mod context;
pub mod context_file;
pub mod crashes;
pub mod daemon;
pub mod deploy;
pub mod doctor;
pub mod drift;
pub mod endpoints;
pub mod enter;
pub mod error;
pub mod event_filter;
pub mod events;
pub mod exec;
pub mod find;
pub mod history;
pub mod input;
pub mod lainfile;
pub mod lifecycle;
pub mod logs;
pub mod logs_query;
pub mod logs_stats;
pub mod man;
pub mod node;
pub mod operation;
pub mod output;
pub mod plan;
pub mod problem;
pub mod progress;
pub mod ps;
pub mod reference;
pub mod request;
pub mod run;
pub mod scale;
pub mod schema;
pub mod session;
pub mod sim;
pub mod sink;
pub mod sse;
pub mod tls;
mod tree;
pub mod undeploy;
pub mod validate;
pub mod version;
pub mod watch;
pub mod why;

use args::Global;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use daemon::Roles;
use error::{CliError, Exit, Result};
use session::Session;
use std::ffi::OsString;

/// Keeps apps alive: from a lain.yaml to a supervised app
#[derive(Debug, Parser)]
#[command(name = "lain", version)]
#[command(before_long_help = "Examples:
  lain dev                      start lain on this machine
  lain deploy                   deploy the app of ./lain.yaml
  lain ps                       what runs
  lain tree --watch             the supervision tree, live
  lain logs -f                  the app's output")]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Every verb. Their help is on their arguments.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a comment here would replace the help of the verb's own file"
)]
pub enum Command {
    Dev(daemon::DevOptions),
    Server(daemon::ServerOptions),
    Agent(daemon::AgentOptions),
    #[command(hide = true)]
    AgentWatchdog(daemon::WatchdogOptions),
    Sim(sim::SimArgs),
    Validate(validate::ValidateArgs),
    Schema(schema::SchemaArgs),
    Deploy(deploy::DeployArgs),
    Promote(canary::PromoteArgs),
    Abort(canary::AbortArgs),
    Rollback(history::RollbackArgs),
    History(history::HistoryArgs),
    Undeploy(undeploy::UndeployArgs),
    Ps(ps::PsArgs),
    #[command(visible_alias = "endpoint")]
    Endpoints(endpoints::EndpointsArgs),
    Scale(scale::ScaleArgs),
    Restart(lifecycle::RestartArgs),
    Stop(lifecycle::StopArgs),
    Start(lifecycle::StartArgs),
    Logs(logs::LogsArgs),
    Enter(enter::EnterArgs),
    Run(run::RunArgs),
    Tree(tree::TreeArgs),
    #[command(visible_alias = "crash")]
    Crashes(crashes::CrashesArgs),
    #[command(visible_alias = "event")]
    Events(events::EventsArgs),
    #[command(visible_aliases = ["operations", "op"])]
    Operation(operation::OperationArgs),
    #[command(visible_alias = "nodes")]
    Node(node::NodeArgs),
    Drift(drift::DriftArgs),
    Why(why::WhyArgs),
    #[command(visible_alias = "sinks")]
    Sink(sink::SinkArgs),
    #[command(visible_alias = "inputs")]
    Input(input::InputArgs),
    Audit(audit::AuditArgs),
    Doctor(doctor::DoctorArgs),
    Config(config::ConfigArgs),
    #[command(visible_alias = "contexts")]
    Context(context::ContextArgs),
    Login(context::LoginArgs),
    Completion(completion::CompletionArgs),
    /// Show the version of this binary and of the server
    Version,
    #[command(hide = true)]
    Man(man::ManArgs),
    /// LAIN's name of `ps --all`
    #[command(hide = true)]
    Dashboard,
}

/// The clap tree, from which help, man pages, completion and `docs/cli.md` come too.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a command line and returns the process's exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, roles: Roles) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let complete = clap_complete::CompleteEnv::with_factory(command).var(completion::VARIABLE);
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
    let Cli {
        global,
        command: verb,
    } = cli;
    let screen = session::screen(&global);
    match verb {
        Command::Dev(options) => (roles.dev)(options).map(|()| Exit::Ok),
        Command::Server(options) => (roles.server)(options).map(|()| Exit::Ok),
        Command::Agent(options) => (roles.agent)(options).map(|()| Exit::Ok),
        Command::AgentWatchdog(options) => (roles.watchdog)(options).map(|()| Exit::Ok),
        Command::Sim(args) => (roles.sim)(args, &screen),
        Command::Validate(args) => validate::run(&args, &screen),
        Command::Schema(_) => schema::run(&screen).map(|()| Exit::Ok),
        Command::Config(args) => config::run(args, &screen).map(|()| Exit::Ok),
        Command::Context(args) => context::run(args, &global, &screen),
        Command::Completion(args) => completion::run(&args, &screen).map(|()| Exit::Ok),
        Command::Man(args) => man::run(&args, command(), &screen).map(|()| Exit::Ok),
        verb => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime =
                runtime.map_err(|error| CliError::failed(format!("cannot start: {error}")))?;
            let outcome = runtime.block_on(remote(verb, &global));
            // A thread that waits for a key must not hold the process back.
            runtime.shutdown_background();
            outcome
        }
    }
}

/// The verbs that speak to a server.
async fn remote(verb: Command, global: &Global) -> Result<Exit> {
    use lifecycle::Action;
    let verb = match verb {
        // These work without a server too, or with another one than the current.
        Command::Doctor(_) => return doctor::run(global).await,
        Command::Version => return version::run(global).await,
        Command::Login(args) => {
            return context::login(args, global, &session::screen(global)).await;
        }
        verb => verb,
    };
    let session = Session::open(global)?;
    match verb {
        Command::Deploy(args) => deploy::run(args, &session).await,
        Command::Promote(args) => canary::promote(args, &session).await,
        Command::Abort(args) => canary::abort(args, &session).await,
        Command::Rollback(args) => history::rollback(args, &session).await,
        Command::History(args) => history::run(args, &session).await,
        Command::Endpoints(args) => endpoints::run(args, &session).await,
        Command::Undeploy(args) => undeploy::run(args, &session).await,
        Command::Ps(args) => ps::run(args, &session).await,
        Command::Dashboard => {
            session
                .screen
                .note("`lain dashboard` is now `lain ps --all`");
            ps::run(ps::PsArgs::all(), &session).await
        }
        Command::Scale(args) => scale::run(args, &session).await,
        Command::Restart(args) => lifecycle::run(Action::Restart, args.common, &session).await,
        Command::Stop(args) => lifecycle::run(Action::Stop, args.common, &session).await,
        Command::Start(args) => lifecycle::run(Action::Start, args.common, &session).await,
        Command::Logs(args) => logs::run(args, &session).await,
        Command::Enter(args) => enter::run(args, &session).await,
        Command::Run(args) => run::run(args, &session).await,
        Command::Tree(args) => tree::run(args, &session).await,
        Command::Crashes(args) => crashes::run(args, &session).await,
        Command::Events(args) => events::run(args, &session).await,
        Command::Operation(args) => operation::run(args, &session).await,
        Command::Node(args) => node::run(args, &session).await,
        Command::Drift(args) => drift::run(args, &session).await,
        Command::Why(args) => why::run(args, &session).await,
        Command::Sink(args) => sink::run(args, &session).await,
        Command::Input(args) => input::run(args, &session).await,
        Command::Audit(args) => audit::run(args, &session).await,
        // Handled before a server was looked for.
        Command::Dev(_)
        | Command::Server(_)
        | Command::Agent(_)
        | Command::AgentWatchdog(_)
        | Command::Sim(_)
        | Command::Validate(_)
        | Command::Schema(_)
        | Command::Config(_)
        | Command::Context(_)
        | Command::Login(_)
        | Command::Completion(_)
        | Command::Man(_)
        | Command::Doctor(_)
        | Command::Version => Ok(Exit::Ok),
    }
}
