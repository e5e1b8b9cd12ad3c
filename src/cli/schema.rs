//! `lain schema`: the JSON Schema of `lain.yaml`, for editors.

use crate::cli::error::{CliError, Result};
use crate::cli::output::Screen;
use crate::cli::output::document::Document;
use crate::domain::spec;
use clap::Args;

/// Print the JSON Schema of lain.yaml, for editors
///
/// Made from the table of keys by which the parser works.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain schema > lain.schema.json
  # then, in the first line of a lain.yaml:
  # yaml-language-server: $schema=lain.schema.json")]
pub struct SchemaArgs {}

/// Prints it: as JSON, or as YAML with `-o yaml`.
///
/// # Errors
/// Where stdout is closed.
pub fn run(screen: &Screen) -> Result<()> {
    let schema = Document::of(&spec::json_schema());
    screen
        .document(&schema.map_err(|error| CliError::failed(format!("cannot write JSON: {error}")))?)
}
