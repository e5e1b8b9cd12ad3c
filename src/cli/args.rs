//! Flags that several verbs share, so that the same concept has the same flag everywhere.

use crate::cli::complete;
use crate::cli::connection::Wanted;
use crate::cli::output::Format;
use crate::domain::id::{AppName, ProcName};
use crate::domain::spec::model::duration_text;
use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use std::path::PathBuf;
use std::time::Duration;

const CONNECTION: &str = "Connection";
const OUTPUT: &str = "Output";

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Address of the server [env: LAIN_SERVER] [default: what `lain dev` on this machine wrote, else http://127.0.0.1:7419]
    #[arg(long, global = true, value_name = "URL", help_heading = CONNECTION, hide_short_help = true)]
    pub server: Option<String>,
    /// Context of ~/.config/lain/config.toml to use [env: LAIN_CONTEXT]
    #[arg(long, global = true, value_name = "NAME", help_heading = CONNECTION, hide_short_help = true, conflicts_with = "server")]
    pub context: Option<String>,
    /// File that holds the token [env: LAIN_TOKEN_FILE, or LAIN_TOKEN for the token itself]
    #[arg(long, global = true, value_name = "FILE", help_heading = CONNECTION, hide_short_help = true, value_hint = clap::ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// File with the certificate of the authority that the server's must be from [env: LAIN_CA_FILE] [default: the context's, else the system's]
    #[arg(long, global = true, value_name = "FILE", help_heading = CONNECTION, hide_short_help = true, value_hint = clap::ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, hide_possible_values = true, value_name = "table|wide|json|ndjson|yaml|name", help_heading = OUTPUT)]
    pub output: Format,
    /// No progress and no hints on stderr
    #[arg(short, long, global = true, hide_short_help = true, help_heading = OUTPUT)]
    pub quiet: bool,
    /// Show each request on stderr
    #[arg(short, long, global = true, hide_short_help = true, help_heading = OUTPUT, conflicts_with = "quiet")]
    pub verbose: bool,
    /// No colours [env: NO_COLOR]
    #[arg(long, global = true, hide_short_help = true, help_heading = OUTPUT)]
    pub no_color: bool,
}

impl Global {
    /// What it says about the connection.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            server: self.server.clone(),
            context: self.context.clone(),
            token_file: self.token_file.clone(),
            ca_file: self.ca_file.clone(),
        }
    }
}

/// Which app.
#[derive(Debug, Clone, Default, Args)]
pub struct AppArg {
    /// App [default: the appname of ./lain.yaml]
    #[arg(short, long, value_name = "APP", add = ArgValueCompleter::new(complete::apps))]
    pub app: Option<String>,
}

/// Which app, also as the one positional argument.
#[derive(Debug, Clone, Default, Args)]
pub struct NamedApp {
    /// The same as --app
    #[arg(value_name = "APP", conflicts_with = "app", add = ArgValueCompleter::new(complete::apps))]
    pub positional: Option<String>,
    /// Which app.
    #[command(flatten)]
    pub app: AppArg,
}

impl NamedApp {
    /// The name, however it was given.
    pub fn name(&self) -> Option<&str> {
        self.positional.as_deref().or(self.app.app.as_deref())
    }
}

/// Which procs and instances of an app.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// Which app.
    #[command(flatten)]
    pub app: AppArg,
    /// Proc, as its name or <type>.<name>
    #[arg(value_name = "PROC", value_parser = proc_name, add = ArgValueCompleter::new(complete::procs))]
    pub positional: Option<ProcName>,
    /// The same as PROC
    #[arg(short, long = "proc", value_name = "PROC", value_parser = proc_name, conflicts_with = "positional", add = ArgValueCompleter::new(complete::procs))]
    pub proc: Option<ProcName>,
    /// Instance number, from 1
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub instance: Option<u32>,
}

impl Selection {
    /// The proc, however it was given.
    pub fn proc(&self) -> Option<&ProcName> {
        self.positional.as_ref().or(self.proc.as_ref())
    }

    /// The words for people: `hello`, `proc web of hello`, `instance 2 of proc web of hello`.
    pub fn words(&self, app: &AppName) -> String {
        match (self.proc(), self.instance) {
            (Some(proc), Some(no)) => format!("instance {no} of proc {proc} of {app}"),
            (Some(proc), None) => format!("proc {proc} of {app}"),
            (None, _) => format!("app {app}"),
        }
    }
}

/// How a command that changes something goes on once the change is accepted.
#[derive(Debug, Clone, Args)]
pub struct Waiting {
    /// Print the operation's id and return at once
    #[arg(long)]
    pub no_wait: bool,
    /// Wait for the result no longer than this; the operation itself goes on
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
}

/// Only plan.
#[derive(Debug, Clone, Args)]
pub struct DryRun {
    /// Show what would be done and do nothing; exit 10 if there is something, 0 if not
    #[arg(long)]
    pub dry_run: bool,
}

/// A proc, by its name or as `<type>.<name>`.
///
/// # Errors
/// The rule that it breaks.
pub fn proc_name(text: &str) -> Result<ProcName, String> {
    let name = match text.split_once('.') {
        Some((kind, name)) if kind.parse::<crate::domain::id::ProcType>().is_ok() => name,
        _ => text,
    };
    ProcName::new(name).map_err(|error| error.to_string())
}

/// A duration such as `30s`.
///
/// # Errors
/// What was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    duration_text::parse(text).ok_or_else(|| "expected a duration such as 30s, 5m or 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procs_are_named_with_or_without_their_type() {
        for text in ["web", "web.web", "cron.web"] {
            assert_eq!(proc_name(text).unwrap().as_str(), "web", "{text}");
        }
        for text in ["", "sock.web", "a.b", "web.", "-x"] {
            assert!(proc_name(text).is_err(), "{text}");
        }
        assert_eq!(duration("90s").unwrap().as_secs(), 90);
        assert!(duration("90").is_err());
    }
}
