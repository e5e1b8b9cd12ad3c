//! What to write instead of a value of the wrong type.

use super::super::keys::Kind;
use super::super::report::shown;
use super::super::yaml::{Node, Plain, Scalar};

/// The suggestion, where there is one.
pub(super) fn instead(node: &Node, kind: &Kind) -> Option<String> {
    if let Some(scalar) = node.scalar() {
        return instead_of_scalar(scalar, kind);
    }
    // `- KEY: value` for `- KEY=value`.
    let [entry] = node.entries()? else {
        return None;
    };
    let variable =
        |k: &Kind| matches!(k, Kind::Text(form) if form.expected.starts_with("NAME=VALUE"));
    let value = entry.node.scalar()?;
    accepts(kind, variable).then(|| format!("`{}={}`", shown(&entry.key), shown(&value.text)))
}

fn accepts(kind: &Kind, probe: fn(&Kind) -> bool) -> bool {
    match kind {
        Kind::OneOf(kinds) => kinds.iter().any(probe),
        kind => probe(kind),
    }
}

fn instead_of_scalar(scalar: &Scalar, kind: &Kind) -> Option<String> {
    let text = shown(&scalar.text);
    if scalar.is_null() {
        return Some("give it a value, or leave the key out".to_owned());
    }
    if scalar.as_text().is_none() && accepts(kind, |k| matches!(k, Kind::Text(_) | Kind::Words(_)))
    {
        return Some(format!("put it in quotes if it is text: \"{text}\""));
    }
    if scalar.is_odd_number() {
        let decimal = scalar.text.trim_start_matches('0');
        return matches!(Plain::of(decimal), Plain::Int(_))
            .then(|| format!("`{}`", shown(decimal)));
    }
    if scalar.as_text().is_some() && accepts(kind, |k| matches!(k, Kind::List(_))) {
        return Some(format!("a list of one: `- {text}`"));
    }
    let unquoted = match Plain::of(&scalar.text) {
        Plain::Int(_) => accepts(kind, |k| matches!(k, Kind::Int(..))),
        Plain::Bool(_) => accepts(kind, |k| matches!(k, Kind::Bool)),
        _ => false,
    };
    unquoted.then(|| format!("`{text}` without quotes"))
}
