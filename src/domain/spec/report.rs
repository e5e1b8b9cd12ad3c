//! Collects problems while a file is read, and gives each its source line.
//!
//! Used by every stage of the parser. Holds the text; decides nothing.

use super::Parsed;
use super::error::{MAX_REPORTED, Place, Severity, SpecCode, SpecError, SpecErrors};
use super::model::AppSpec;
use std::fmt;

/// Characters of a source line that are shown at most.
const MAX_SHOWN: usize = 160;

/// Where a stage of the parser is in the structure of the file.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The whole file.
    pub fn root() -> Path<'static> {
        Path {
            parent: None,
            step: Step::Root,
        }
    }

    /// A key of the mapping at this path.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    /// An item, from 0, of the list at this path.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path {
            parent: Some(self),
            step: Step::Index(index),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            match (parent.step, self.step) {
                (Step::Root, _) | (_, Step::Index(_) | Step::Root) => {}
                (_, Step::Key(_)) => f.write_str(".")?,
            }
        }
        match self.step {
            Step::Root => Ok(()),
            // A key can be any text: shown escaped and shortened, so that a terminal is safe.
            Step::Key(key) => write!(f, "{}", shown(key)),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// `text` without control characters and at most 80 characters long.
pub(super) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(80).map(printable).collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

fn printable(c: char) -> char {
    if c == '\t' {
        ' '
    } else if c.is_control() {
        '\u{fffd}'
    } else {
        c
    }
}

/// A problem as a stage of the parser sees it.
pub(super) struct Finding {
    pub code: SpecCode,
    pub place: Place,
    pub width: u32,
    pub key: String,
    pub message: String,
    pub expected: Option<String>,
    pub suggestion: Option<String>,
    pub other: Option<Place>,
}

impl Finding {
    /// A finding of width 1 with only what is always there.
    pub fn new(
        code: SpecCode,
        place: Place,
        key: impl ToString,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            place,
            width: 1,
            key: key.to_string(),
            message: message.into(),
            expected: None,
            suggestion: None,
            other: None,
        }
    }

    /// How many characters are wrong.
    pub fn width(mut self, width: u32) -> Self {
        self.width = width;
        self
    }

    /// What would be right.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// What was probably meant.
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// What was probably meant, where that can be told.
    pub fn suggest_if(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion.or(self.suggestion);
        self
    }

    /// The other place of a duplicate or conflict.
    pub fn other(mut self, other: Place) -> Self {
        self.other = Some(other);
        self
    }
}

/// Collects findings about one file.
pub(super) struct Report<'t> {
    file: &'t str,
    lines: Vec<&'t str>,
    errors: Vec<SpecError>,
    warnings: Vec<SpecError>,
    omitted: u32,
}

impl<'t> Report<'t> {
    /// An empty report on `text`, which has no byte order mark.
    pub fn new(text: &'t str, file: &'t str) -> Self {
        let lines = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .collect();
        Self {
            file,
            lines,
            errors: Vec::new(),
            warnings: Vec::new(),
            omitted: 0,
        }
    }

    /// Whether the file is refused already.
    pub fn failed(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Whether more errors would only be counted: nothing costly is worth doing for them.
    pub fn is_full(&self) -> bool {
        self.errors.len() >= MAX_REPORTED
    }

    /// Adds a reason to refuse the file.
    pub fn error(&mut self, finding: Finding) {
        // What cannot be filled in cannot be right in any other way either.
        let place = (finding.place.line, finding.place.column);
        let broken = |e: &SpecError| e.code == SpecCode::Template && (e.line, e.column) == place;
        if self.errors.iter().any(broken) {
            return;
        }
        if self.errors.len() < MAX_REPORTED {
            let error = self.place_in_source(Severity::Error, finding);
            self.errors.push(error);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Adds something to tell.
    pub fn warn(&mut self, finding: Finding) {
        if self.warnings.len() < MAX_REPORTED {
            let warning = self.place_in_source(Severity::Warning, finding);
            self.warnings.push(warning);
        }
    }

    /// What was read with the warnings, or the errors; each in the order of the file.
    pub fn finish(mut self, spec: Option<AppSpec>) -> Result<Parsed, SpecErrors> {
        match spec.filter(|_| self.errors.is_empty()) {
            Some(spec) => {
                self.warnings.sort_by_key(|w| (w.line, w.column));
                Ok(Parsed {
                    spec,
                    warnings: self.warnings,
                })
            }
            None => Err(self.refused()),
        }
    }

    /// The errors, in the order of the file.
    pub fn refused(mut self) -> SpecErrors {
        if self.errors.is_empty() {
            // Whoever yields nothing reports why; a refusal without a reason is still a refusal.
            self.error(Finding::new(
                SpecCode::Syntax,
                Place { line: 1, column: 1 },
                "",
                "the file cannot be read",
            ));
        }
        self.errors.sort_by_key(|e| (e.line, e.column));
        SpecErrors {
            errors: self.errors,
            omitted: self.omitted,
        }
    }

    fn place_in_source(&self, severity: Severity, finding: Finding) -> SpecError {
        let last = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let line = finding.place.line.clamp(1, last.max(1));
        let source = self.lines.get(line as usize - 1).copied().unwrap_or("");
        let length = source.chars().count();
        let before = (finding.place.column.max(1) as usize - 1).min(length);
        let skip = if length <= MAX_SHOWN {
            0
        } else {
            before.saturating_sub(MAX_SHOWN / 2)
        };
        let source_line: String = source
            .chars()
            .skip(skip)
            .take(MAX_SHOWN)
            .map(printable)
            .collect();
        let room = (source_line.chars().count() - (before - skip)).max(1);
        let width = (finding.width.max(1) as usize).min(room);
        SpecError {
            severity,
            code: finding.code,
            file: self.file.to_owned(),
            line,
            column: to_u32(before + 1),
            key: finding.key,
            message: finding.message,
            expected: finding.expected,
            suggestion: finding.suggestion,
            other: finding.other,
            source_line,
            caret: to_u32(before - skip),
            width: to_u32(width),
        }
    }
}

/// Counts of characters fit: a file is at most 1 MiB.
pub(super) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
