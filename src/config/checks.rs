//! What the checks of sinks and inputs have in common. Each tells the key and what is wrong with it.

use super::value::{ByteSize, FromValue, Value};
use crate::domain::spec::model::duration_text;
use std::time::Duration;

/// A key and what is wrong with it.
pub(super) type Wrong = (String, String);

/// A kind: its word, the keys that it must have, and those that it may have.
pub type Kind = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

pub(super) fn at(key: &str, problem: impl std::fmt::Display) -> Wrong {
    (key.to_owned(), format!("{key}: {problem}"))
}

/// Whether a text is a duration.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected {}, found {text:?}", Duration::EXPECTED);
    duration_text::parse(text)
        .filter(|d| !d.is_zero())
        .ok_or_else(wrong)
}

/// Whether a text is a size.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let found = ByteSize::from_value(&Value::Text(text.to_owned()));
    found
        .map(|size| size.0)
        .ok_or_else(|| format!("expected {}, found {text:?}", ByteSize::EXPECTED))
}

/// The duration of a key, where it is there.
pub(super) fn duration_of(key: &str, text: Option<&String>) -> Result<Option<Duration>, Wrong> {
    let found = text.map(|text| duration(text)).transpose();
    found.map_err(|problem| at(key, problem))
}

/// The size of a key in bytes, where it is there.
pub(super) fn size_of(key: &str, text: Option<&String>) -> Result<Option<u64>, Wrong> {
    let found = text.map(|text| size(text)).transpose();
    found.map_err(|problem| at(key, problem))
}

pub(super) fn one_of(key: &str, value: Option<&String>, words: &[&str]) -> Result<(), Wrong> {
    match value {
        Some(value) if !words.contains(&value.as_str()) => Err(at(
            key,
            format_args!("expected one of {}, found {value:?}", words.join(", ")),
        )),
        _ => Ok(()),
    }
}

/// Whether a text can name a sink, an input, an app or a proc.
pub(super) fn named(key: &str, text: &str) -> Result<(), Wrong> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let right = (1..=63).contains(&text.len())
        && text.chars().all(legal)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let expected =
        "expected 1 to 63 letters, digits, dashes, dots or underscores, a letter or digit first";
    right.then_some(()).ok_or_else(|| at(key, expected))
}

/// Whether `kind` is one of `kinds`, and `keys` are its own or `common`, and none is missing. `what`: `a sink`, for
/// people.
pub(super) fn kind(
    what: &str,
    kind: &str,
    keys: &[String],
    kinds: &[Kind],
    common: &[&str],
) -> Result<(), Wrong> {
    let Some((_, must, may)) = kinds.iter().find(|(known, ..)| *known == kind) else {
        let known: Vec<&str> = kinds.iter().map(|(known, ..)| *known).collect();
        let known = known.join(", ");
        return Err(at(
            "type",
            format_args!("expected one of {known}, found {kind:?}"),
        ));
    };
    for key in keys.iter().map(String::as_str) {
        if !common.contains(&key) && !must.contains(&key) && !may.contains(&key) {
            return Err(at(key, format_args!("not a key of {what} of type {kind}")));
        }
    }
    match must.iter().find(|key| !keys.iter().any(|k| k == **key)) {
        Some(missing) => Err(at(missing, format_args!("{what} of type {kind} needs it"))),
        None => Ok(()),
    }
}
