//! Records that are appended together: events, and how far their sources were read.

use super::record::{self, Event, Kind};
use crate::domain::log::{Level, LogBody, LogEvent, LogSource, Stamp, Stream};
use std::sync::Arc;

/// The line of [`Batch::line`].
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// When.
    pub at: Stamp,
    /// Its number in its source, from 1.
    pub seq: u64,
    /// Its number at its instant and stream, from 0.
    pub ordinal: u32,
    /// Where it was written to.
    pub stream: Stream,
    /// Its level.
    pub level: Option<Level>,
    /// It was cut.
    pub truncated: bool,
    /// Its bytes.
    pub message: &'a [u8],
}

/// Places by their keys; `None` for a source that is forgotten.
pub(super) type Places = Vec<(String, Option<Vec<u8>>)>;

/// Records to append. Cheap to fill: nothing is allocated a line.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) sources: Vec<Arc<LogSource>>,
    pub(super) places: Places,
    pub(super) events: u64,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    pub fn line(&mut self, source: &Arc<LogSource>, line: &Line<'_>) {
        let event = Event {
            source: self.source(source),
            at: line.at.0,
            seq: line.seq,
            ordinal: line.ordinal,
            stream: line.stream.code(),
            level: Level::code(line.level),
            flags: u8::from(line.truncated),
        };
        self.event(Kind::Line, &event, line.message);
    }

    /// Adds an event.
    pub fn push(&mut self, event: &LogEvent) {
        match &event.body {
            LogBody::Line {
                stream,
                level,
                truncated,
                message,
            } => self.line(
                &event.source,
                &Line {
                    at: event.at,
                    seq: event.seq,
                    ordinal: event.ordinal,
                    stream: *stream,
                    level: *level,
                    truncated: *truncated,
                    message,
                },
            ),
            LogBody::Object(text) => {
                let fixed = Event {
                    source: self.source(&event.source),
                    at: event.at.0,
                    seq: event.seq,
                    ordinal: event.ordinal,
                    stream: 0,
                    level: 0,
                    flags: 0,
                };
                self.event(Kind::Object, &fixed, text);
            }
        }
    }

    /// Notes how far a source was read, for whoever reads it after a restart: durable with the events of
    /// this batch, and not without them.
    pub fn place(&mut self, key: &str, place: Vec<u8>) {
        self.places.push((key.to_owned(), Some(place)));
    }

    /// Notes that a source will not be read again.
    pub fn forget(&mut self, key: &str) {
        self.places.push((key.to_owned(), None));
    }

    /// The number of events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The size of the events in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to append.
    pub fn is_empty(&self) -> bool {
        self.events == 0 && self.places.is_empty()
    }

    /// Takes everything out, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sources.clear();
        self.places.clear();
        self.events = 0;
    }

    fn event(&mut self, kind: Kind, event: &Event, message: &[u8]) {
        let at = record::begin(kind, &mut self.bytes);
        event.write(&mut self.bytes);
        self.bytes.extend_from_slice(message);
        record::end(at, &mut self.bytes);
        self.events += 1;
    }

    /// The number of a source in this batch; nearly always the last one's.
    fn source(&mut self, source: &Arc<LogSource>) -> u32 {
        let known = self.sources.iter().rposition(|s| Arc::ptr_eq(s, source));
        let number = known.unwrap_or_else(|| {
            self.sources.push(Arc::clone(source));
            self.sources.len() - 1
        });
        number as u32
    }
}
