//! An event as a tantivy document, and back.
//!
//! `source` holds, after one another: the number of the context plus one (0: none), the second half of the
//! id, the message, and the JSON of what is left. Lengths and numbers are LEB128.

use super::dictionary::Dictionary;
use super::layout::{CONTEXT, Layout, NO_MESSAGE};
use crate::logging::query::evaluate::{
    self, Event, as_bool, as_date, as_double, as_long, as_text, is_short,
};
use crate::logging::query::{FieldType, Fields};
use crate::ports::log_index::IndexEvent;
use chrono::{DateTime, SecondsFormat};
use serde_json::Value;
use std::collections::BTreeMap;
use tantivy::TantivyDocument;
use tantivy::schema::OwnedValue;

/// What identifies an event within a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// When, in nanoseconds.
    pub at: i64,
    /// The first half of its id, mixed with the second.
    pub id: u64,
}

/// An id as the number that tells events of the same time apart, and its second half where the id can be
/// rebuilt from both: where it has 32 hexadecimal digits. Other ids are hashed.
pub fn halves(id: &str) -> (u64, Option<u64>) {
    let plain = id.len() == 32
        && id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if plain
        && let (Ok(first), Ok(second)) = (
            u64::from_str_radix(&id[..16], 16),
            u64::from_str_radix(&id[16..], 16),
        )
    {
        return (first ^ spread(second), Some(second));
    }
    use sha2::Digest;
    let hash = sha2::Sha256::digest(id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    (u64::from_be_bytes(first), None)
}

/// Spreads a second half over all bits, so that ids which differ there alone differ as numbers too.
fn spread(second: u64) -> u64 {
    second.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

/// The event's time in nanoseconds; years beyond 1677 and 2262 are refused.
pub fn key(event: &IndexEvent) -> Option<Key> {
    let at = event.at.timestamp_nanos_opt()?;
    Some(Key {
        at,
        id: halves(&event.id).0,
    })
}

/// A time in the shortest of 0, 3, 6 or 9 digits.
pub fn timestamp(at: i64) -> String {
    DateTime::from_timestamp_nanos(at).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Makes documents; keeps its buffers between events.
pub struct Encoder<'a> {
    layout: &'a Layout,
    typed: &'a Fields,
    source: Vec<u8>,
    context: Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// `typed`: the fields whose type is given.
    pub fn new(layout: &'a Layout, typed: &'a Fields) -> Self {
        Self {
            layout,
            typed,
            source: Vec::new(),
            context: Vec::new(),
        }
    }

    /// The document of an event.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn document(
        &mut self,
        event: &IndexEvent,
        key: Key,
        order: u64,
        dictionary: &mut Dictionary,
    ) -> Result<TantivyDocument, String> {
        let mut rest: Event = serde_json::from_slice(&event.json)
            .map_err(|e| format!("it is no JSON object: {e}"))?;
        let layout = self.layout;
        let mut document = TantivyDocument::with_capacity(event.json.len());
        document.add_i64(layout.at, key.at);
        document.add_u64(layout.order, order);
        document.add_u64(layout.id, key.id);
        rest.remove("timestamp");
        rest.remove("event_id");
        if let Some(seq) = rest.get("seq").and_then(Value::as_u64) {
            document.add_u64(layout.seq, seq);
            rest.remove("seq");
        }
        self.source.clear();
        match self.context_of(&mut rest, dictionary) {
            Some(number) => {
                document.add_u64(layout.context, u64::from(number));
                push_number(&mut self.source, u64::from(number) + 1);
            }
            None => push_number(&mut self.source, 0),
        }
        match halves(&event.id) {
            (_, Some(second)) => {
                self.source.push(1);
                self.source.extend_from_slice(&second.to_be_bytes());
            }
            (_, None) => {
                self.source.push(0);
                push_number(&mut self.source, event.id.len() as u64);
                self.source.extend_from_slice(event.id.as_bytes());
            }
        }
        let text_message = self.typed.types("message") == [FieldType::Text];
        match rest.get("message") {
            Some(Value::String(text)) if text_message => {
                document.add_text(layout.message, text);
                push_number(&mut self.source, text.len() as u64 + 1);
                self.source.extend_from_slice(text.as_bytes());
                rest.remove("message");
            }
            _ => {
                document.add_text(layout.flags, NO_MESSAGE);
                push_number(&mut self.source, 0);
            }
        }
        if !rest.is_empty() {
            serde_json::to_writer(&mut self.source, &rest).map_err(|e| e.to_string())?;
            let mut parts = Parts::default();
            for (name, value) in &rest {
                self.field(name, value, &mut parts, dictionary);
            }
            parts.add_to(&mut document, layout);
        }
        document.add_bytes(layout.source, &self.source);
        Ok(document)
    }

    /// Moves the context out of the event and gives its number; leaves it there where there are too many.
    fn context_of(&mut self, rest: &mut Event, dictionary: &mut Dictionary) -> Option<u32> {
        self.context.clear();
        self.context.push(b'{');
        for name in CONTEXT {
            let Some(value) = rest.get(name) else {
                continue;
            };
            if self.context.len() > 1 {
                self.context.push(b',');
            }
            self.context.push(b'"');
            self.context.extend_from_slice(name.as_bytes());
            self.context.extend_from_slice(b"\":");
            serde_json::to_writer(&mut self.context, value).ok()?;
        }
        self.context.push(b'}');
        let number = dictionary.number(&self.context)?;
        for name in CONTEXT {
            rest.remove(name);
        }
        Some(number)
    }

    fn field(&self, name: &str, value: &Value, parts: &mut Parts, dictionary: &mut Dictionary) {
        match value {
            Value::Null => {}
            Value::Array(items) => items
                .iter()
                .for_each(|item| self.field(name, item, parts, dictionary)),
            Value::Object(object) => {
                for (key, value) in object {
                    self.field(&format!("{name}.{key}"), value, parts, dictionary);
                }
            }
            value => self.leaf(name, value, parts, dictionary),
        }
    }

    fn leaf(&self, name: &str, value: &Value, parts: &mut Parts, dictionary: &mut Dictionary) {
        let typed = self.typed.types(name);
        let own = match value {
            Value::String(_) => FieldType::Keyword,
            Value::Bool(_) => FieldType::Boolean,
            Value::Number(number) if number.is_i64() || number.is_u64() => FieldType::Long,
            _ => FieldType::Double,
        };
        let kinds = if typed.is_empty() {
            std::slice::from_ref(&own)
        } else {
            typed
        };
        for kind in kinds {
            let held = match kind {
                FieldType::Keyword => as_text(value)
                    .filter(|text| is_short(text))
                    .map(|text| parts.key(name, OwnedValue::Str(text.into_owned()))),
                FieldType::Boolean => {
                    as_bool(value).map(|is| parts.key(name, OwnedValue::Bool(is)))
                }
                FieldType::Long => match value {
                    Value::Number(number) if number.is_u64() && !number.is_i64() => number
                        .as_u64()
                        .map(|n| parts.number(name, OwnedValue::U64(n))),
                    value => as_long(value).map(|n| parts.number(name, OwnedValue::I64(n))),
                },
                FieldType::Double => {
                    as_double(value).map(|n| parts.number(name, OwnedValue::F64(n)))
                }
                FieldType::Date => as_date(value).map(|n| parts.number(name, OwnedValue::I64(n))),
                FieldType::Text => as_text(value).map(|text| parts.text(name, text.into_owned())),
                FieldType::Nested => None,
            };
            if held.is_some() {
                dictionary.field(name, *kind);
            }
        }
    }
}

/// The dynamic fields of an event.
#[derive(Default)]
struct Parts {
    keys: BTreeMap<String, OwnedValue>,
    numbers: BTreeMap<String, OwnedValue>,
    texts: BTreeMap<String, OwnedValue>,
}

fn put(into: &mut BTreeMap<String, OwnedValue>, name: &str, value: OwnedValue) {
    match into.get_mut(name) {
        None => drop(into.insert(name.to_owned(), value)),
        Some(OwnedValue::Array(items)) => items.push(value),
        Some(first) => {
            let before = std::mem::replace(first, OwnedValue::Null);
            *first = OwnedValue::Array(vec![before, value]);
        }
    }
}

impl Parts {
    fn key(&mut self, name: &str, value: OwnedValue) {
        put(&mut self.keys, name, value);
    }

    fn number(&mut self, name: &str, value: OwnedValue) {
        put(&mut self.numbers, name, value);
    }

    fn text(&mut self, name: &str, value: String) {
        put(&mut self.texts, name, OwnedValue::Str(value));
    }

    fn add_to(self, document: &mut TantivyDocument, layout: &Layout) {
        for name in self.texts.keys() {
            document.add_text(layout.flags, name);
        }
        for (field, part) in [
            (layout.keys, self.keys),
            (layout.numbers, self.numbers),
            (layout.texts, self.texts),
        ] {
            if !part.is_empty() {
                document.add_object(field, part);
            }
        }
    }
}

/// Rebuilds an event from its source and columns; `None` where the source is not what [`Encoder`] made.
pub fn event(
    mut source: &[u8],
    at: i64,
    id: u64,
    seq: Option<u64>,
    context: impl Fn(u32) -> Option<std::sync::Arc<Event>>,
) -> Option<Event> {
    let bytes = &mut source;
    let number = take_number(bytes)?;
    let mut whole = match number.checked_sub(1) {
        Some(number) => (*context(u32::try_from(number).ok()?)?).clone(),
        None => Event::new(),
    };
    let (form, rest) = bytes.split_first()?;
    *bytes = rest;
    let id = match form {
        1 => {
            let (second, rest) = bytes.split_at_checked(8)?;
            *bytes = rest;
            let second = u64::from_be_bytes(second.try_into().ok()?);
            format!("{:016x}{second:016x}", id ^ spread(second))
        }
        _ => take_text(bytes, 0)?,
    };
    let message = match take_number(bytes)? {
        0 => None,
        length => {
            let (text, rest) = bytes.split_at_checked(usize::try_from(length - 1).ok()?)?;
            *bytes = rest;
            Some(std::str::from_utf8(text).ok()?.to_owned())
        }
    };
    if !bytes.is_empty() {
        let rest: Event = serde_json::from_slice(bytes).ok()?;
        whole.extend(rest);
    }
    if let Some(message) = message {
        whole.insert("message".to_owned(), message.into());
    }
    if let Some(seq) = seq {
        whole.insert("seq".to_owned(), seq.into());
    }
    whole.insert("timestamp".to_owned(), timestamp(at).into());
    whole.insert("event_id".to_owned(), id.into());
    Some(whole)
}

fn take_text(bytes: &mut &[u8], less: u64) -> Option<String> {
    let length = usize::try_from(take_number(bytes)?.checked_sub(less)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

/// Notes in `fields` what the contexts hold.
pub fn context_fields(contexts: &[std::sync::Arc<Event>], typed: &Fields, fields: &mut Fields) {
    fn walk(name: &str, value: &Value, typed: &Fields, fields: &mut Fields) {
        match value {
            Value::Null => {}
            Value::Array(items) => items
                .iter()
                .for_each(|item| walk(name, item, typed, fields)),
            Value::Object(object) => object
                .iter()
                .for_each(|(key, value)| walk(&format!("{name}.{key}"), value, typed, fields)),
            value if typed.types(name).is_empty() => {
                let kind = match value {
                    Value::String(_) => FieldType::Keyword,
                    Value::Bool(_) => FieldType::Boolean,
                    Value::Number(number) if number.is_i64() || number.is_u64() => FieldType::Long,
                    _ => FieldType::Double,
                };
                fields.add(name, kind);
            }
            _ => {}
        }
    }
    for context in contexts {
        for (name, value) in context.iter() {
            walk(name, value, typed, fields);
        }
    }
}

/// A value of a column or an event as JSON, for answers.
pub fn shown(event: &Event, name: &str, each: &mut dyn FnMut(&Value)) {
    evaluate::values(event, name, &mut |value| each(value));
}
