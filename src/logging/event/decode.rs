//! JSON from outside → events: a Vector `json` line, `native_json` (`{"log":…}`), or an array of either.

use super::json;
use crate::domain::log::Stamp;
use serde_json::{Map, Value};

/// Why an input is refused; nothing of that request is stored (row V7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}; send one JSON object a line, or an array of objects")]
pub struct NotAnEvent {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// An event from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its instant: its own, else its arrival.
    pub at: Stamp,
    /// The whole event, keys sorted.
    pub object: Map<String, Value>,
}

impl Incoming {
    /// The text of the event.
    pub fn text(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        json::object(&self.object, &mut out);
        out
    }
}

/// Reads a body of lines. Empty ones are ignored (row V8), unknown keys kept, a missing `timestamp`
/// becomes `arrival`.
///
/// # Errors
/// [`NotAnEvent`] for the first line that is none.
pub fn lines(body: &[u8], arrival: Stamp) -> Result<Vec<Incoming>, NotAnEvent> {
    let mut events = Vec::new();
    let whole = body.trim_ascii();
    // One document over many lines, as `native_json` of a pretty printer.
    if let Ok(value) = serde_json::from_slice::<Value>(whole) {
        value_of(value, 1, arrival, &mut events)?;
        return Ok(events);
    }
    for (n, line) in body.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let lossy = String::from_utf8_lossy(line);
        let value = serde_json::from_str(&lossy).map_err(|error| NotAnEvent {
            line: n + 1,
            problem: format!("not JSON: {error}"),
        })?;
        value_of(value, n + 1, arrival, &mut events)?;
    }
    Ok(events)
}

fn value_of(
    value: Value,
    line: usize,
    arrival: Stamp,
    events: &mut Vec<Incoming>,
) -> Result<(), NotAnEvent> {
    match value {
        Value::Array(items) => items
            .into_iter()
            .try_for_each(|item| one(item, line, arrival, events)),
        other => one(other, line, arrival, events),
    }
}

fn one(
    value: Value,
    line: usize,
    arrival: Stamp,
    events: &mut Vec<Incoming>,
) -> Result<(), NotAnEvent> {
    let Value::Object(mut object) = value else {
        return Err(NotAnEvent {
            line,
            problem: "not an object".to_owned(),
        });
    };
    if object.len() == 1
        && let Some(Value::Object(inner)) = object.get_mut("log")
    {
        object = std::mem::take(inner);
    }
    let own = object.get("timestamp").and_then(Value::as_str);
    let at = own.and_then(|text| Stamp::parse(text.as_bytes()));
    let at = at.unwrap_or(arrival);
    object.insert("timestamp".to_owned(), Value::String(at.to_string()));
    events.push(Incoming { at, object });
    Ok(())
}
