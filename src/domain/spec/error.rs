//! What is wrong with a `lain.yaml`, each problem with its place.
//!
//! Made by the parser, shown by the CLI (`Display`) and returned by the API (`Serialize`).
//! Never carries more of the file than the one line that the problem is on.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Problems reported at most; the rest is only counted.
pub const MAX_REPORTED: usize = 100;

/// The kind of a problem: stable, for programs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SpecCode {
    /// Not YAML.
    Syntax,
    /// Larger than the parser reads.
    TooLarge,
    /// Nested too deeply, or too large once its aliases are expanded.
    TooComplex,
    /// More than one YAML document, or none.
    DocumentCount,
    /// YAML that has no use here: a tag, a key that is not text, a wrong merge.
    UnsupportedYaml,
    /// The same key twice in one mapping.
    DuplicateKey,
    /// A key that does not exist at this place.
    UnknownKey,
    /// A key that must be there is not.
    MissingKey,
    /// A number where text belongs, and the like.
    WrongType,
    /// Of the right type, but not of a form that is understood.
    InvalidValue,
    /// A number, size or duration beyond its limits.
    OutOfRange,
    /// Two sections that make a proc of the same name.
    DuplicateProc,
    /// The same item twice where each may be there once.
    DuplicateValue,
    /// A key that this type of proc cannot have.
    NotForThisType,
    /// Settings that exclude each other.
    Conflict,
    /// A resource template that cannot be filled in.
    Template,
    /// Warning: a key with nothing after it, taken as an empty list.
    EmptyValue,
    /// Warning: `yes`, `no`, `on` or `off` for true or false.
    OldBoolean,
    /// Warning: a value that has no effect.
    Unused,
    /// Warning: a value raised to the least that is allowed.
    Raised,
    /// Warning: a template variable without a value and without a default.
    UndefinedVariable,
    /// Warning: accepted, but it will surprise.
    Suspicious,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted.
    Warning,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpecError {
    /// Refused, or only to be told.
    pub severity: Severity,
    /// The kind of problem.
    pub code: SpecCode,
    /// The file's name, as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Where it is in the file's structure: `proc.web.num_instances`, `web.env[2]`; empty for the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was probably meant: the nearest right key or value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// For duplicates and conflicts: the other place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Place>,
    /// The line of the file, shortened around the place if it is long.
    pub source_line: String,
    /// How many characters of `source_line` precede the place.
    pub caret: u32,
    /// How many characters are wrong.
    pub width: u32,
}

/// Everything that is wrong with a file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpecErrors {
    /// The problems, never empty, at most [`MAX_REPORTED`].
    pub errors: Vec<SpecError>,
    /// Problems beyond those.
    pub omitted: u32,
}

impl std::error::Error for SpecErrors {}

impl SpecError {
    /// The code as it is written in JSON and on screen.
    pub fn code_name(&self) -> String {
        match serde_json::to_value(self.code) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{severity}[{}]: {}", self.code_name(), self.message)?;
        writeln!(f, "{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.source_line)?;
        let indent = " ".repeat(self.caret as usize);
        write!(
            f,
            "{margin} | {indent}{}",
            "^".repeat(self.width.max(1) as usize)
        )?;
        if !self.key.is_empty() {
            write!(f, "\n{margin} = key: {}", self.key)?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "\n{margin} = expected: {expected}")?;
        }
        if let Some(other) = self.other {
            write!(
                f,
                "\n{margin} = see also: {}:{}:{}",
                self.file, other.line, other.column
            )?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "\n{margin} = help: {suggestion}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}\n")?;
        }
        let count = self.errors.len() as u64 + u64::from(self.omitted);
        let file = self.errors.first().map_or("lain.yaml", |e| e.file.as_str());
        write!(
            f,
            "{file}: {count} {}",
            if count == 1 { "problem" } else { "problems" }
        )?;
        if self.omitted > 0 {
            write!(f, ", the first {} shown", self.errors.len())?;
        }
        Ok(())
    }
}
