//! saphyr-parser's events in our terms: places, styles, tags, and what its errors mean.
//!
//! Used by `build` only.

use super::super::error::{Place, SpecCode};
use super::super::report::{Finding, Path, shown, to_u32};
use super::Style;
use super::build::MAX_DEPTH;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

/// A step that ends the reading carries its reason.
pub(super) type Step = Result<(), Box<Finding>>;

/// The parser's events up to its first error.
pub(super) struct EventSource<'t, I: saphyr_parser::Input>(pub Option<Parser<'t, I>>);

impl<'t, I: saphyr_parser::Input> Iterator for EventSource<'t, I> {
    type Item = Result<(Event<'t>, Span), ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.0.as_mut()?.next_event();
        if matches!(event, None | Some(Err(_))) {
            self.0 = None;
        }
        event
    }
}

pub(super) fn syntax_error(error: &ScanError, text: &str) -> Finding {
    let place = place(error.marker());
    let line = text.split('\n').nth(place.line as usize - 1).unwrap_or("");
    let info = error.info();
    if info.contains("recursion limit") {
        return too_deep(place);
    }
    let finding = Finding::new(
        SpecCode::Syntax,
        place,
        Path::root(),
        format!("not valid YAML: {}", shown(info)),
    );
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        finding.suggest("indent with spaces; YAML does not allow tabs there")
    } else if line.contains("{{") {
        finding.suggest("put quotes around a value that starts with {{")
    } else if info.contains("mapping values") || info.contains("mapping value") {
        finding.suggest("put quotes around text that contains `: `, and check the indentation")
    } else {
        finding
    }
}

pub(super) fn too_deep(place: Place) -> Finding {
    let message = format!("nested more than {MAX_DEPTH} levels deep");
    Finding::new(SpecCode::TooComplex, place, Path::root(), message)
}

pub(super) fn place(marker: &Marker) -> Place {
    Place {
        line: to_u32(marker.line().max(1)),
        column: to_u32(marker.col() + 1),
    }
}

/// Characters of a span on its first line.
pub(super) fn width(span: &Span) -> u32 {
    if span.start.line() == span.end.line() {
        to_u32(span.end.col().saturating_sub(span.start.col()))
    } else {
        u32::MAX
    }
}

pub(super) fn scalar_style(
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Style, Box<Finding>> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(Style::Quoted),
        tag => refuse_tag(tag, span)?,
    }
    Ok(if style == ScalarStyle::Plain {
        Style::Plain
    } else {
        Style::Quoted
    })
}

pub(super) fn refuse_tag(tag: Option<&Tag>, span: &Span) -> Step {
    let Some(tag) = tag else { return Ok(()) };
    let message = format!(
        "the YAML tag {:?} has no meaning here",
        shown(&tag.to_string())
    );
    let finding = Finding::new(
        SpecCode::UnsupportedYaml,
        place(&span.start),
        Path::root(),
        message,
    );
    Err(Box::new(finding.suggest(
        "leave the tag out; put quotes around what must be text",
    )))
}
