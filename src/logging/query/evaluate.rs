//! Whether one event fulfils a plan: for the live tail, for what an index cannot answer alone, and as
//! the measure that the indexes are tested against.

use super::fields::FieldType;
use super::plan::{Check, Plan};
use super::time;
use super::words::{lower_into, words};
use chrono_tz::Tz;
use serde_json::{Map, Value};
use std::ops::{Bound, RangeBounds};

/// Longer keywords are kept but not found, as with Elasticsearch's `ignore_above`; in characters.
pub const KEYWORD: usize = 1024;

/// An event.
pub type Event = Map<String, Value>;

impl Plan {
    /// Whether the event fulfils it.
    pub fn matches(&self, event: &Event) -> bool {
        self.holds(event, 0)
    }

    /// `skip`: bytes of the fields' names that lead to `event`, in a nested field.
    fn holds(&self, event: &Event, skip: usize) -> bool {
        match self {
            Plan::All => true,
            Plan::Nothing => false,
            Plan::And(all) => all.iter().all(|p| p.holds(event, skip)),
            Plan::Or(all) => all.iter().any(|p| p.holds(event, skip)),
            Plan::Not(inner) => !inner.holds(event, skip),
            Plan::Field(name, check) => {
                let mut found = false;
                let name = name.get(skip..).unwrap_or_default();
                values(event, name, &mut |value| {
                    found = found || check.holds(value)
                });
                found
            }
            Plan::Nested(path, inner) => {
                let mut found = false;
                objects(event, path.get(skip..).unwrap_or_default(), &mut |object| {
                    found = found || inner.holds(object, path.len() + 1);
                });
                found
            }
        }
    }
}

/// Each value of a field: of objects by path, of arrays one by one; nulls are none.
pub fn values<'v>(event: &'v Event, name: &str, each: &mut dyn FnMut(&'v Value)) {
    // Usually the name is a key; a key may also have dots.
    for (key, value) in event {
        let Some(rest) = name.strip_prefix(key.as_str()) else {
            continue;
        };
        if rest.is_empty() {
            leaves(value, each);
        } else if let Some(rest) = rest.strip_prefix('.') {
            below(value, rest, each);
        }
    }
}

fn below<'v>(value: &'v Value, name: &str, each: &mut dyn FnMut(&'v Value)) {
    match value {
        Value::Object(object) => values(object, name, each),
        Value::Array(items) => items.iter().for_each(|item| below(item, name, each)),
        _ => {}
    }
}

fn leaves<'v>(value: &'v Value, each: &mut dyn FnMut(&'v Value)) {
    match value {
        Value::Null | Value::Object(_) => {}
        Value::Array(items) => items.iter().for_each(|item| leaves(item, each)),
        value => each(value),
    }
}

/// Each object at a path.
fn objects<'v>(event: &'v Event, path: &str, each: &mut dyn FnMut(&'v Event)) {
    fn at<'v>(value: &'v Value, rest: &str, each: &mut dyn FnMut(&'v Event)) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| at(item, rest, each)),
            Value::Object(object) if rest.is_empty() => each(object),
            Value::Object(object) => objects(object, rest, each),
            _ => {}
        }
    }
    for (key, value) in event {
        match path.strip_prefix(key.as_str()) {
            Some("") => at(value, "", each),
            Some(rest) => {
                if let Some(rest) = rest.strip_prefix('.') {
                    at(value, rest, each);
                }
            }
            None => {}
        }
    }
}

/// A value as the text that a keyword or text field holds.
pub fn as_text(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(is) => Some(if *is { "true" } else { "false" }.into()),
        _ => None,
    }
}

/// A value as a whole number, as a `long` field holds it.
pub fn as_long(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let n = number.as_f64().filter(|n| n.fract() == 0.0)?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a float beyond the range of i64 saturates, as is meant"
            )]
            let whole = n as i64;
            Some(whole)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A value as a number.
pub fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

/// A value as a boolean.
pub fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is) => Some(*is),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A value as a time, in nanoseconds since 1970.
pub fn as_date(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => time::absolute(text, Tz::UTC).map(|span| span.first),
        Value::Number(number) => number.as_i64()?.checked_mul(1_000_000),
        _ => None,
    }
}

/// Whether a keyword of this length is found.
pub fn is_short(text: &str) -> bool {
    text.len() <= KEYWORD || text.chars().count() <= KEYWORD
}

/// Whether a value is of a type by itself, not only when read as one.
fn is_of(value: &Value, kind: FieldType) -> bool {
    match kind {
        FieldType::Text | FieldType::Keyword => value.is_string(),
        FieldType::Boolean => value.is_boolean(),
        FieldType::Long | FieldType::Double => value.is_number(),
        FieldType::Date => true,
        FieldType::Nested => false,
    }
}

impl Check {
    /// Whether one value fulfils it.
    pub fn holds(&self, value: &Value) -> bool {
        match self {
            Check::Exists(kind) => match kind {
                FieldType::Text => as_text(value).is_some(),
                FieldType::Keyword => as_text(value).is_some_and(|text| is_short(&text)),
                FieldType::Long => as_long(value).is_some(),
                FieldType::Double => as_double(value).is_some(),
                FieldType::Boolean => as_bool(value).is_some(),
                FieldType::Date => as_date(value).is_some(),
                FieldType::Nested => false,
            },
            Check::Word(wanted) => any_word(value, |word| word == wanted),
            Check::WordLike(pattern) => any_word(value, |word| pattern.is_match(word)),
            Check::WordRange(low, high) => any_word(value, |word| between(low, high, word)),
            Check::Phrase(wanted, slop) => {
                as_text(value).is_some_and(|text| phrase(&text, wanted, *slop))
            }
            Check::Is(wanted) => whole(value, |text| text == wanted),
            Check::Like(pattern) => whole(value, |text| pattern.is_match(text)),
            Check::Range(low, high) => whole(value, |text| between(low, high, text)),
            Check::Long(low, high) => as_long(value).is_some_and(|n| (*low..=*high).contains(&n)),
            Check::Double(low, high) => {
                as_double(value).is_some_and(|n| (*low, *high).contains(&n))
            }
            Check::Of(kind, inner) => is_of(value, *kind) && inner.holds(value),
            Check::Bool(wanted) => as_bool(value) == Some(*wanted),
            Check::Date(low, high) => as_date(value).is_some_and(|n| (*low..=*high).contains(&n)),
        }
    }
}

fn whole(value: &Value, is: impl FnOnce(&str) -> bool) -> bool {
    as_text(value).is_some_and(|text| is_short(&text) && is(&text))
}

/// Whether a text lies in a range, by its bytes.
pub fn between(low: &Bound<String>, high: &Bound<String>, text: &str) -> bool {
    let range: (Bound<&str>, Bound<&str>) = (
        low.as_ref().map(String::as_str),
        high.as_ref().map(String::as_str),
    );
    <(Bound<&str>, Bound<&str>) as RangeBounds<str>>::contains(&range, text)
}

fn any_word(value: &Value, mut is: impl FnMut(&str) -> bool) -> bool {
    let Some(text) = as_text(value) else {
        return false;
    };
    let mut found = false;
    let mut word = String::new();
    words(&text, |from, to| {
        if !found {
            word.clear();
            lower_into(&text[from..to], &mut word);
            found = is(&word);
        }
    });
    found
}

/// Whether the words occur such that each, moved back by its place in the phrase, falls within `slop` of
/// all others; Lucene's sloppy phrase.
fn phrase(text: &str, wanted: &[String], slop: u32) -> bool {
    let mut places: Vec<Vec<i64>> = vec![Vec::new(); wanted.len()];
    let (mut at, mut word) = (0, String::new());
    words(text, |from, to| {
        word.clear();
        lower_into(&text[from..to], &mut word);
        for (place, wanted) in wanted.iter().enumerate() {
            if *wanted == word {
                places[place].push(at);
            }
        }
        at += 1;
    });
    if places.iter().any(Vec::is_empty) {
        return false;
    }
    let mut taken = Vec::with_capacity(wanted.len());
    fits(&places, i64::from(slop), &mut taken)
}

/// Tries a place for each word after those taken; no two words have the same.
fn fits(places: &[Vec<i64>], slop: i64, taken: &mut Vec<i64>) -> bool {
    let Some(candidates) = places.get(taken.len()) else {
        return true;
    };
    let offset = |index: usize, at: i64| at - i64::try_from(index).unwrap_or(i64::MAX);
    for candidate in candidates {
        let here = offset(taken.len(), *candidate);
        let near = taken
            .iter()
            .enumerate()
            .all(|(i, at)| (offset(i, *at) - here).abs() <= slop && at != candidate);
        if near {
            taken.push(*candidate);
            if fits(places, slop, taken) {
                return true;
            }
            taken.pop();
        }
    }
    false
}
