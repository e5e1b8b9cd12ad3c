//! An event → the one JSON text that every JSON sink sends (row V10).
//!
//! Keys are sorted. What is the same for all lines of a source is written once and kept, so that a line
//! costs its own bytes only.

use super::{id, json};
use crate::domain::log::{Level, LogBody, LogEvent, LogSource, Stamp, Stream};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// The texts that are the same for all lines of one source.
#[derive(Debug)]
struct Fixed {
    /// From the brace to `"event_id":"` and the first part of the id, for each stream.
    head: [Vec<u8>; 3],
    /// The first part of the ids of each stream.
    ids: [String; 3],
    /// `file` to `label`.
    middle: Vec<u8>,
    /// `node` to `"seq":`.
    tail: Vec<u8>,
    /// `source_type`.
    last: Vec<u8>,
}

/// How many sources an [`Encoder`] remembers.
const REMEMBERED: usize = 4096;

/// Encodes events; remembers the sources that it has met.
#[derive(Debug, Default)]
pub struct Encoder {
    last: Option<(Arc<LogSource>, Arc<Fixed>)>,
    known: std::collections::HashMap<Arc<LogSource>, Arc<Fixed>>,
}

impl Encoder {
    /// Appends the JSON object of an event, without a line feed.
    pub fn encode(&mut self, event: &LogEvent, out: &mut Vec<u8>) {
        match &event.body {
            LogBody::Object(text) => out.extend_from_slice(text),
            LogBody::Line {
                stream,
                level,
                truncated,
                message,
            } => {
                let fixed = self.fixed(&event.source);
                line(&fixed, event, (*stream, *level, *truncated), message, out);
            }
        }
    }

    /// Appends the event's id. An event from outside brings its own; one without gets one of its source,
    /// instant and ordinal too.
    pub fn id(&mut self, event: &LogEvent, out: &mut Vec<u8>) {
        let stream = match &event.body {
            LogBody::Line { stream, .. } => *stream,
            LogBody::Object(text) => {
                if let Some(id) = own_id(text) {
                    out.extend_from_slice(id.as_bytes());
                    return;
                }
                Stream::Stdout
            }
        };
        let fixed = self.fixed(&event.source);
        out.extend_from_slice(fixed.ids[usize::from(stream.code())].as_bytes());
        id::rest(event.at, event.ordinal, out);
    }

    fn fixed(&mut self, source: &Arc<LogSource>) -> Arc<Fixed> {
        if let Some((last, fixed)) = &self.last
            && Arc::ptr_eq(last, source)
        {
            return Arc::clone(fixed);
        }
        let fixed = match self.known.get(source) {
            Some(fixed) => Arc::clone(fixed),
            None => {
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                let fixed = Arc::new(fix(source));
                self.known.insert(Arc::clone(source), Arc::clone(&fixed));
                fixed
            }
        };
        self.last = Some((Arc::clone(source), Arc::clone(&fixed)));
        fixed
    }
}

/// The id that an object brings along, if it has one without anything to escape.
fn own_id(object: &[u8]) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct Own<'a> {
        #[serde(borrow, default)]
        event_id: Option<&'a str>,
    }
    let own: Own<'_> = serde_json::from_slice(object).ok()?;
    own.event_id.filter(|id| !id.is_empty())
}

/// Writes `"key":` with a comma before it, unless it is the first.
fn key(name: &str, out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{')) {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(name: &str, value: &str, out: &mut Vec<u8>) {
    key(name, out);
    json::string(value, out);
}

/// As [`text`], left out when it is empty: what belongs to no app has no app.
fn some(name: &str, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        text(name, value, out);
    }
}

fn fix(source: &LogSource) -> Fixed {
    let mut head = vec![b'{'];
    some("app", &source.app, &mut head);
    if let Some(at) = source.container_created_at {
        key("container_created_at", &mut head);
        stamp(at, &mut head);
    }
    some("container_id", &source.container_id, &mut head);
    some("container_name", &source.container_name, &mut head);
    key("event_id", &mut head);
    head.push(b'"');
    let ids = Stream::ALL.map(|stream| id::prefix(source, stream));
    let heads = [&ids[0], &ids[1], &ids[2]].map(|id| [&head[..], id.as_bytes()].concat());

    // The comma before the first key is the caller's.
    let mut middle = vec![b'{'];
    if let Some(file) = &source.file {
        text("file", file, &mut middle);
    }
    text("host", &source.host, &mut middle);
    some("image", &source.image, &mut middle);
    if source.instance > 0 {
        key("instance", &mut middle);
        json::number(u64::from(source.instance), &mut middle);
    }
    if !source.labels.is_empty() {
        key("label", &mut middle);
        middle.push(b'{');
        for (n, (name, value)) in source.labels.iter().enumerate() {
            if n > 0 {
                middle.push(b',');
            }
            json::string(name, &mut middle);
            middle.push(b':');
            json::string(value, &mut middle);
        }
        middle.push(b'}');
    }

    let mut tail = vec![b'{'];
    some("node", &source.node, &mut tail);
    some("proc", &source.proc, &mut tail);
    some("proc_type", &source.proc_type, &mut tail);
    if source.revision > 0 {
        key("revision", &mut tail);
        json::number(source.revision, &mut tail);
    }
    key("seq", &mut tail);
    let mut last = Vec::new();
    text("source_type", &source.source_type, &mut last);
    Fixed {
        head: heads,
        ids,
        middle: middle.split_off(1),
        tail: tail.split_off(1),
        last,
    }
}

fn stamp(at: Stamp, out: &mut Vec<u8>) {
    out.push(b'"');
    at.write(out);
    out.push(b'"');
}

fn line(
    fixed: &Fixed,
    event: &LogEvent,
    (stream, level, truncated): (Stream, Option<Level>, bool),
    message: &[u8],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&fixed.head[usize::from(stream.code())]);
    id::rest(event.at, event.ordinal, out);
    out.push(b'"');
    if let Some(fields) = json::fields(message) {
        out.extend_from_slice(b",\"fields\":");
        json::object(&fields, out);
    }
    out.push(b',');
    out.extend_from_slice(&fixed.middle);
    if let Some(level) = level {
        text("level", level.as_str(), out);
    }
    match std::str::from_utf8(message) {
        Ok(message) => text("message", message, out),
        Err(_) => {
            text("message", &String::from_utf8_lossy(message), out);
            // The very bytes, which the replacement characters above have lost.
            text("message_base64", &STANDARD.encode(message), out);
        }
    }
    out.push(b',');
    out.extend_from_slice(&fixed.tail);
    json::number(event.seq, out);
    out.push(b',');
    out.extend_from_slice(&fixed.last);
    text("stream", stream.as_str(), out);
    key("timestamp", out);
    stamp(event.at, out);
    if truncated {
        out.extend_from_slice(b",\"truncated\":true");
    }
    out.push(b'}');
}
