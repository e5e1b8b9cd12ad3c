//! `lain.yaml`: one strict parser for the CLI and the server alike.
//!
//! Text → YAML tree with places (`yaml`) → templates filled in (`template`, resources only) →
//! checked against the table of keys (`check`, `keys`) → typed form (`lower`) →
//! [`AppSpec`]. Pure: no I/O, no clock. Each stage reports all problems that it
//! finds; nothing is guessed and nothing is silently ignored.

mod check;
pub mod error;
pub mod hosts;
pub mod keys;
mod lower;
pub mod model;
mod nearest;
mod report;
mod value;
mod yaml;

pub use error::{Place, Severity, SpecCode, SpecError, SpecErrors};

use model::AppSpec;
use report::{Finding, Path, Report};

/// A `lain.yaml` that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub spec: AppSpec,
    /// What its author should know, in the order of the file.
    pub warnings: Vec<SpecError>,
}

/// Reads a `lain.yaml`. `file` is the name that problems are reported with.
///
/// # Errors
/// Everything that is wrong with it, each problem with its place.
pub fn parse(text: &str, file: &str) -> Result<Parsed, SpecErrors> {
    // A byte order mark says nothing in UTF-8 and is no part of the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(text, file);
    let spec = read(text, &mut report);
    report.finish(spec)
}

fn read(text: &str, report: &mut Report<'_>) -> Option<AppSpec> {
    check_text(text, report)?;
    let root = yaml::read(text, report)?;
    let Some(entries) = root.entries() else {
        let finding = Finding::new(
            SpecCode::WrongType,
            root.place,
            Path::root(),
            format!("this is {}", root.describe()),
        );
        report.error(
            finding
                .width(root.width)
                .expected("a mapping with at least `appname`"),
        );
        return None;
    };
    check::check_section(&root, entries, &keys::TOP, None, &Path::root(), report);
    lower::lower(&root, report)
}

/// What YAML itself does not refuse but must not reach its parser.
fn check_text(text: &str, report: &mut Report<'_>) -> Option<()> {
    if text.len() > yaml::MAX_BYTES {
        let place = Place { line: 1, column: 1 };
        let message = format!(
            "the file has {} bytes; at most {} are read",
            text.len(),
            yaml::MAX_BYTES
        );
        report.error(Finding::new(
            SpecCode::TooLarge,
            place,
            Path::root(),
            message,
        ));
        return None;
    }
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let Some(column) = line
            .chars()
            .position(|c| c != '\t' && (c.is_control() || c == '\u{feff}'))
        else {
            continue;
        };
        let place = Place {
            line: report::to_u32(index + 1),
            column: report::to_u32(column + 1),
        };
        report.error(Finding::new(
            SpecCode::Syntax,
            place,
            Path::root(),
            "a control character is not allowed here",
        ));
    }
    (!report.failed()).then_some(())
}
