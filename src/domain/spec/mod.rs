//! `lain.yaml`: one strict parser for the CLI and the server alike.
//!
//! Text → YAML tree with places (`yaml`) → templates filled in (`template`, resources only) →
//! checked against the table of keys (`check`, `keys`) → typed form (`lower`) →
//! [`AppSpec`]. Pure: no I/O, no clock. Each stage reports all problems that it
//! finds; nothing is guessed and nothing is silently ignored.

mod check;
pub mod diff;
pub mod duration_text;
pub mod error;
pub mod filter;
pub mod hosts;
pub mod keys;
mod lower;
pub mod model;
mod nearest;
mod report;
mod schema;
mod template;
mod update;
mod value;
mod yaml;

pub use diff::{Effect, FieldDiff, changes, content_hash, in_place, requires_new_container};
pub use error::{Place, Severity, SpecCode, SpecError, SpecErrors};

pub use hosts::{Mountpoint, app_domain, default_hosts, mountpoints};
pub use schema::json_schema;
pub use template::Variables;

use crate::domain::id::{AppName, InvalidId};
use model::{AppSpec, AppType, ProcSpec};
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
/// A resource template is read as it is with no variables given.
///
/// # Errors
/// Everything that is wrong with it, each problem with its place.
pub fn parse(text: &str, file: &str) -> Result<Parsed, SpecErrors> {
    parse_with(text, file, None)
}

/// Reads a resource template with a client's variables filled in (LAIN's `use_resources`).
///
/// # Errors
/// As [`parse`]; also if the file is no resource template.
pub fn render_resource(
    text: &str,
    file: &str,
    variables: &Variables,
) -> Result<Parsed, SpecErrors> {
    parse_with(text, file, Some(variables))
}

/// The app that `client` gets of a resource: its template filled in, named
/// [`resource_instance_name`], and an ordinary app.
///
/// # Errors
/// As [`render_resource`].
pub fn instantiate_resource(
    text: &str,
    file: &str,
    client: &AppName,
    variables: &Variables,
) -> Result<Parsed, SpecErrors> {
    let mut parsed = render_resource(text, file, variables)?;
    let place = Place { line: 1, column: 1 };
    let name = resource_instance_name(&parsed.spec.appname, client).map_err(|error| {
        let mut report = Report::new(text, file);
        report.error(Finding::new(
            SpecCode::InvalidValue,
            place,
            "appname",
            error.to_string(),
        ));
        report.refused()
    })?;
    parsed.spec.appname = name;
    parsed.spec.apptype = AppType::App;
    Ok(parsed)
}

/// LAIN's `resource.<resource>.<client>`.
///
/// # Errors
/// If that is too long for an app's name.
pub fn resource_instance_name(resource: &AppName, client: &AppName) -> Result<AppName, InvalidId> {
    AppName::new(format!("resource.{resource}.{client}"))
}

impl AppSpec {
    /// The proc of this name.
    pub fn proc(&self, name: &str) -> Option<&ProcSpec> {
        self.procs.iter().find(|proc| proc.name.as_str() == name)
    }
}

fn parse_with(text: &str, file: &str, variables: Option<&Variables>) -> Result<Parsed, SpecErrors> {
    // A byte order mark says nothing in UTF-8 and is no part of the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(text, file);
    let spec = read(text, variables, &mut report);
    report.finish(spec)
}

fn read(text: &str, variables: Option<&Variables>, report: &mut Report<'_>) -> Option<AppSpec> {
    let root = tree(text, variables, report)?;
    let entries = root.entries().unwrap_or_default();
    check::check_section(&root, entries, &keys::TOP, None, &Path::root(), report);
    lower::lower(&root, report)
}

/// The mapping that the file is, its templates filled in.
fn tree(text: &str, variables: Option<&Variables>, report: &mut Report<'_>) -> Option<yaml::Node> {
    check_text(text, report)?;
    let mut root = yaml::read(text, report)?;
    if root.entries().is_none() {
        let finding = Finding::new(
            SpecCode::WrongType,
            root.place,
            Path::root(),
            format!("the file is {}", root.describe()),
        );
        report.error(
            finding
                .width(root.width)
                .expected("a mapping with at least `appname`"),
        );
        return None;
    }
    if root.get("apptype").and_then(yaml::Node::text) == Some("resource") {
        template::render(&mut root, variables.unwrap_or(&Variables::new()), report);
    } else if variables.is_some() {
        let finding = Finding::new(
            SpecCode::Template,
            root.place,
            "apptype",
            "this app is no resource template",
        );
        report.error(finding.width(root.width).expected("apptype: resource"));
    }
    Some(root)
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

/// Reads a size as `lain.yaml` and `scale` write it: `64m`, `1g`, `64M`, `1GB`, or bytes.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    value::memory(text).map_err(|wrong| wrong.message)
}
