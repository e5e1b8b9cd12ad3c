//! `lain config`: the settings of this machine's lain, and where each came from.

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::document::Document;
use crate::cli::output::table::Table;
use crate::cli::output::{Format, Screen};
use crate::config::{Config, Sources};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Show the configuration of this machine
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Show every setting, and with --origin where it came from
    Show(ShowArgs),
}

/// How settings are shown.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain config show
  lain config show --origin
  LAIN_SERVER__LISTEN=127.0.0.1:8000 lain config show --origin
  lain config show -o json | jq '.items[] | select(.origin != \"built-in\")'")]
pub struct ShowArgs {
    /// Where each value came from
    #[arg(long)]
    pub origin: bool,
    /// Configuration file, besides /etc/lain/lain.toml and ~/.config/lain/config.toml
    #[arg(long, value_name = "FILE", env = "LAIN_CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// Shows the settings. Secrets are masked.
///
/// # Errors
/// [`Exit::Invalid`] with every mistake and its place.
pub fn run(args: ConfigArgs, screen: &Screen) -> Result<()> {
    let ConfigVerb::Show(args) = args.verb;
    let config = Config::load(&Sources::of_process(args.config, Vec::new()));
    let config = config.map_err(|errors| {
        let details = errors.errors().iter().map(ToString::to_string);
        CliError::new(Exit::Invalid, "the configuration has mistakes").details(details)
    })?;
    let settings: Vec<(&str, String, String)> = config
        .origins()
        .into_iter()
        .map(|(key, value, origin)| (key, value, origin.to_string()))
        .collect();
    match screen.format {
        Format::Json | Format::Ndjson | Format::Yaml => screen.document(&document(&settings)),
        Format::Name => {
            let names = settings.iter().map(|(key, ..)| format!("{key}\n"));
            screen.print(&names.collect::<String>())
        }
        Format::Table | Format::Wide => {
            let with_origin = args.origin || screen.is_wide();
            screen.table(&table(&settings, with_origin))
        }
    }
}

fn document(settings: &[(&str, String, String)]) -> Document {
    let field = |name: &str, value: &str| (name.to_owned(), Document::Text(value.to_owned()));
    let items = settings.iter().map(|(key, value, origin)| {
        Document::Object(vec![
            field("key", key),
            field("value", value),
            field("origin", origin),
        ])
    });
    Document::page(items.collect())
}

fn table(settings: &[(&str, String, String)], with_origin: bool) -> Table {
    let mut table = match with_origin {
        true => Table::new(&["KEY", "VALUE", "ORIGIN"]),
        false => Table::new(&["KEY", "VALUE"]),
    };
    for (key, value, origin) in settings {
        let mut row = vec![(*key).into(), value.as_str().into()];
        if with_origin {
            row.push(origin.as_str().into());
        }
        table.row(row);
    }
    table
}
