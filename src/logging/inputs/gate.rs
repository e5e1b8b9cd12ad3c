//! Where events from outside enter the spool: numbered, named, with an id, in the one form of all events.
//!
//! One gate an input. What it numbers goes on over restarts: the number is durable with the events.

use super::cell::InputCell;
use crate::domain::log::{LogBody, LogEvent, LogSource, Stamp, Stream};
use crate::logging::event::{id, json};
use crate::logging::pipe::Host;
use crate::logging::spool::{Batch, Spool, SpoolError};
use crate::ports::clock::Clock;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What the keys of inputs' places in the spool begin with: no container is named so.
pub const PLACES: &str = "input/";

/// The longest id that an event may bring along.
const LONGEST_ID: usize = 128;

/// An event from outside that is not in the spool yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// When.
    pub at: Stamp,
    /// What it says.
    pub object: Map<String, Value>,
}

/// What is the same for all events of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label {
    /// `source_type` of events that do not bring one.
    pub source_type: &'static str,
    /// The app that they are filed under, if they are.
    pub app: Option<String>,
    /// Its proc.
    pub proc: Option<String>,
}

/// The places that events of one batch say they come from.
type Sources = HashMap<LogSource, Arc<LogSource>>;

/// The way in.
pub struct Gate {
    /// What is shown of it.
    pub cell: Arc<InputCell>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    host: Host,
    spool: Spool,
    name: String,
    label: Label,
    source: Arc<LogSource>,
    /// The number of the last event.
    seq: Mutex<u64>,
}

impl Gate {
    /// The gate of an input, which goes on numbering where the spool says.
    pub fn new(
        name: &str,
        label: Label,
        cell: Arc<InputCell>,
        spool: Spool,
        host: Host,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let source = Arc::new(LogSource {
            source_type: label.source_type.to_owned(),
            host: host.host.clone(),
            node: host.node.clone(),
            app: label.app.clone().unwrap_or_default(),
            proc: label.proc.clone().unwrap_or_default(),
            // No file: what sets its ids apart from those of another input.
            file: Some(name.to_owned()),
            ..LogSource::default()
        });
        let seq = spool
            .place(&format!("{PLACES}{name}"))
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes);
        Self {
            cell,
            clock,
            host,
            spool,
            name: name.to_owned(),
            label,
            source,
            seq: Mutex::new(seq),
        }
    }

    /// The input's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The spool that it leads into.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Where its events come from, as routes and sinks see it.
    pub fn source(&self) -> &Arc<LogSource> {
        &self.source
    }

    /// Puts events into the spool, in order, all or none; what was put is taken out of `events`.
    ///
    /// # Errors
    /// [`SpoolError`]; the same events may be put again, and get the same numbers.
    pub fn put(&self, events: &mut Vec<Taken>) -> Result<(), SpoolError> {
        if events.is_empty() {
            return Ok(());
        }
        // Held over the write: numbers lie in the spool in their order.
        let mut last = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut batch, mut seq) = (Batch::new(), *last);
        let mut sources = HashMap::new();
        for event in events.iter() {
            seq += 1;
            batch.push(&self.event(event, seq, &mut sources));
        }
        let count = batch.events();
        batch.place(
            &format!("{PLACES}{}", self.name),
            seq.to_le_bytes().to_vec(),
        );
        self.spool.append(&mut batch)?;
        *last = seq;
        drop(last);
        events.clear();
        self.cell.took(self.clock.now_utc().into(), count);
        Ok(())
    }

    /// Makes all that was put before survive a power cut. Blocks on the disk.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn sync(&self) -> Result<(), SpoolError> {
        self.spool.sync()
    }

    /// Notes a failure, of now.
    pub fn failed(&self, reason: &str) {
        self.cell.failed(self.clock.now_utc().into(), reason);
    }

    fn event(&self, taken: &Taken, seq: u64, sources: &mut Sources) -> LogEvent {
        let mut object = taken.object.clone();
        let ordinal = (seq & 0xffff_ffff) as u32;
        object.insert("timestamp".to_owned(), taken.at.to_string().into());
        object.insert("input".to_owned(), self.name.clone().into());
        for (key, value) in [("app", &self.label.app), ("proc", &self.label.proc)] {
            if let Some(value) = value {
                object.insert(key.to_owned(), value.clone().into());
            }
        }
        let mut absent = |key: &str, value: &dyn Fn() -> Value| {
            if object.get(key).is_none_or(Value::is_null) {
                object.insert(key.to_owned(), value());
            }
        };
        absent("source_type", &|| self.label.source_type.into());
        absent("host", &|| self.host.host.clone().into());
        absent("node", &|| self.host.node.clone().into());
        absent("seq", &|| seq.into());
        if !object.get("event_id").is_some_and(is_id) {
            let mut text = id::prefix(&self.source, Stream::Stdout).into_bytes();
            id::rest(taken.at, ordinal, &mut text);
            let text = String::from_utf8_lossy(&text).into_owned();
            object.insert("event_id".to_owned(), text.into());
        }
        let mut text = Vec::with_capacity(512);
        json::object(&object, &mut text);
        LogEvent {
            source: self.source_of(&object, sources),
            at: taken.at,
            seq,
            ordinal,
            body: LogBody::Object(text.into()),
        }
    }

    /// Where an event belongs, if it says so: it has the topics, filters and keys of its own app.
    fn source_of(&self, object: &Map<String, Value>, sources: &mut Sources) -> Arc<LogSource> {
        let text = |key: &str| {
            let value = object
                .get(key)
                .and_then(Value::as_str)
                .filter(|v| v.len() <= 255);
            value.unwrap_or_default().to_owned()
        };
        let own = &self.source;
        let number = object.get("instance").and_then(Value::as_u64);
        let source = LogSource {
            source_type: text("source_type"),
            app: text("app"),
            proc_type: text("proc_type"),
            proc: text("proc"),
            instance: number.and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            ..(**own).clone()
        };
        if source == **own {
            return Arc::clone(own);
        }
        let known = sources.get(&source).map(Arc::clone);
        known.unwrap_or_else(|| {
            let shared = Arc::new(source.clone());
            sources.insert(source, Arc::clone(&shared));
            shared
        })
    }
}

/// Whether a value can be the id of an event: short, printable, nothing that JSON would escape.
pub fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|id| {
        (1..=LONGEST_ID).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    })
}
