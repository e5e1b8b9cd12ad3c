//! `lain validate`: checks a `lain.yaml` with the very parser of the server.

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::lainfile::{DEFAULT_FILE, LainFile};
use crate::cli::output::Screen;
use crate::cli::output::document::Document;
use crate::cli::output::style::Tone;
use crate::domain::spec::{self, Parsed, SpecErrors};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Check a lain.yaml
///
/// Reports everything that is wrong at once: file, line and column, the line itself, what was
/// expected, and the nearest right key. Needs no server. Exit 9 if the file is refused.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  lain validate
  lain validate -f shop/lain.yaml
  lain validate -o json | jq '.errors[] | .line'")]
pub struct ValidateArgs {
    /// The file [default: lain.yaml]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub positional: Option<PathBuf>,
    /// The same as FILE
    #[arg(short, long, value_name = "FILE", conflicts_with = "positional", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

impl ValidateArgs {
    /// The file, however it was given.
    fn path(&self) -> &Path {
        let given = self.file.as_deref().or(self.positional.as_deref());
        given.unwrap_or(Path::new(DEFAULT_FILE))
    }
}

/// Checks it.
///
/// # Errors
/// [`Exit::Invalid`] where the file is refused.
pub fn run(args: &ValidateArgs, screen: &Screen) -> Result<Exit> {
    let file = LainFile::read(args.path())?;
    let name = file.path.display().to_string();
    let parsed = spec::parse(&file.text, &name);
    if !screen.is_table() {
        screen.document(&document(&parsed)?)?;
    }
    match parsed {
        Ok(parsed) => accepted(&name, &parsed, screen).map(|()| Exit::Ok),
        Err(errors) => Err(refused(&name, &errors, screen)),
    }
}

fn accepted(name: &str, parsed: &Parsed, screen: &Screen) -> Result<()> {
    for warning in &parsed.warnings {
        screen.note(&format!("{warning}\n"));
    }
    if !screen.is_table() {
        return Ok(());
    }
    let procs: Vec<String> = parsed
        .spec
        .procs
        .iter()
        .map(|proc| proc.full_name())
        .collect();
    let symbol = screen.out.paint(Tone::Good, screen.out.symbol(Tone::Good));
    screen.line(&format!(
        "{symbol} {name}: {} {} with {}",
        match parsed.spec.apptype {
            spec::model::AppType::App => "app",
            spec::model::AppType::Resource => "resource",
        },
        parsed.spec.appname,
        procs.join(", ")
    ))
}

/// Shows each problem with its line on stderr; the error itself only counts them.
fn refused(name: &str, errors: &SpecErrors, screen: &Screen) -> CliError {
    if screen.is_table() {
        for error in &errors.errors {
            eprintln!("{error}\n");
        }
    }
    let count = errors.errors.len() as u64 + u64::from(errors.omitted);
    let noun = if count == 1 { "problem" } else { "problems" };
    let shown = match errors.omitted {
        0 => String::new(),
        _ => format!(", the first {} shown", errors.errors.len()),
    };
    CliError::new(Exit::Invalid, format!("{name} has {count} {noun}{shown}"))
}

fn document(parsed: &std::result::Result<Parsed, SpecErrors>) -> Result<Document> {
    let object = match parsed {
        Ok(parsed) => json!({"valid": true, "errors": [], "warnings": parsed.warnings}),
        Err(errors) => json!({"valid": false, "errors": errors.errors, "warnings": []}),
    };
    Document::of(&object).map_err(|error| CliError::failed(format!("cannot write JSON: {error}")))
}
