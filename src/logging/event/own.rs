//! What lain itself has to say, as events among the lines: supervision, crash reports, gaps.

use super::json;
use crate::domain::crash::CrashReport;
use crate::domain::log::{LAIN, LogBody, LogEvent, LogSource, Stamp};
use crate::domain::view::EventView;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Lines that are missing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why, as a stable word: `rotated_away`, `truncated`, `spool_full`, `spool_damaged`.
    pub reason: &'static str,
    /// The last instant that was read before it.
    pub from: Option<Stamp>,
    /// The first instant that was read after it.
    pub to: Option<Stamp>,
    /// Bytes that are missing, where that is known.
    pub bytes: Option<u64>,
    /// Events that are missing, where that is known.
    pub events: Option<u64>,
}

/// What sets one of lain's own events apart from the next at the same instant.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Its number.
    pub seq: u64,
    /// Its instant.
    pub at: Stamp,
}

fn event(source: LogSource, count: Count, mut object: Map<String, Value>) -> LogEvent {
    let source = Arc::new(source);
    let mut put = |key: &str, value: Value| {
        let empty = value.as_str().is_some_and(str::is_empty) || value.is_null();
        if !empty {
            object.insert(key.to_owned(), value);
        }
    };
    put("timestamp", count.at.to_string().into());
    put("source_type", source.source_type.clone().into());
    put("host", source.host.clone().into());
    put("node", source.node.clone().into());
    put("app", source.app.clone().into());
    put("proc_type", source.proc_type.clone().into());
    put("proc", source.proc.clone().into());
    put("container_id", source.container_id.clone().into());
    put("container_name", source.container_name.clone().into());
    if source.instance > 0 {
        put("instance", source.instance.into());
    }
    put("seq", count.seq.into());
    let ordinal = (count.seq & 0xffff_ffff) as u32;
    let mut event = LogEvent {
        source,
        at: count.at,
        seq: count.seq,
        ordinal,
        body: LogBody::Object(bytes::Bytes::new()),
    };
    let mut id = Vec::new();
    super::Encoder::default().id(&event, &mut id);
    put("event_id", String::from_utf8_lossy(&id).into_owned().into());
    let mut text = Vec::with_capacity(512);
    json::object(&object, &mut text);
    event.body = LogBody::Object(text.into());
    event
}

/// What happened in lain, from its event hub.
pub fn lifecycle(view: &EventView, host: &str, node: &str) -> LogEvent {
    let (proc_type, proc) = view
        .proc
        .as_deref()
        .and_then(|full| full.split_once('.'))
        .unwrap_or_default();
    let source = LogSource {
        source_type: LAIN.to_owned(),
        host: host.to_owned(),
        node: view.node.clone().unwrap_or_else(|| node.to_owned()),
        app: view.app.clone().unwrap_or_default(),
        proc_type: proc_type.to_owned(),
        proc: proc.to_owned(),
        instance: view.instance.unwrap_or_default(),
        ..LogSource::default()
    };
    let mut object = Map::new();
    object.insert("message".to_owned(), view.message.clone().into());
    object.insert("kind".to_owned(), view.kind.clone().into());
    object.insert("level".to_owned(), view.level.clone().into());
    for (key, value) in [
        ("path", &view.path),
        ("operation", &view.operation),
        ("crash", &view.crash),
    ] {
        if let Some(value) = value {
            object.insert(key.to_owned(), value.clone().into());
        }
    }
    let count = Count {
        seq: view.seq,
        at: view.at.into(),
    };
    event(source, count, object)
}

/// A crash report: why, how often, what lain did, the last lines.
pub fn crash(report: &CrashReport, host: &str, seq: u64) -> LogEvent {
    let id = &report.instance;
    let source = LogSource {
        source_type: LAIN.to_owned(),
        host: host.to_owned(),
        node: report.node.to_string(),
        app: id.app.to_string(),
        proc_type: id.proc_type.to_string(),
        proc: id.proc.to_string(),
        instance: id.no,
        container_name: report.container.clone(),
        ..LogSource::default()
    };
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("kind", "crash_report".into());
    put("level", "error".into());
    put(
        "message",
        format!("{id} crashed: {}; {}", report.cause, report.action).into(),
    );
    put("crash", report.id.to_string().into());
    put("path", report.path.clone().into());
    put("revision", report.version.into());
    let mut fields = Map::new();
    fields.insert("uptime_ms".to_owned(), report.uptime_ms.into());
    fields.insert(
        "crashes_in_window".to_owned(),
        report.crashes_in_window.into(),
    );
    fields.insert("last_lines".to_owned(), report.last_lines.clone().into());
    fields.insert("probes".to_owned(), report.probes.clone().into());
    put("fields", fields.into());
    let count = Count {
        seq,
        at: report.at.into(),
    };
    event(source, count, object)
}

/// Lines of `of` are missing.
pub fn gap(of: &LogSource, gap: &Gap, count: Count) -> LogEvent {
    let source = LogSource {
        source_type: LAIN.to_owned(),
        labels: Default::default(),
        image: String::new(),
        container_created_at: None,
        ..of.clone()
    };
    let mut fields = Map::new();
    fields.insert("reason".to_owned(), gap.reason.into());
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value);
        }
    };
    put("from", gap.from.map(|at| at.to_string().into()));
    put("to", gap.to.map(|at| at.to_string().into()));
    put("bytes", gap.bytes.map(Value::from));
    put("events", gap.events.map(Value::from));
    let how_many = match (gap.events, gap.bytes) {
        (Some(n), _) => format!("{n} events"),
        (None, Some(n)) => format!("{n} bytes"),
        (None, None) => "an unknown number of lines".to_owned(),
    };
    let mut object = Map::new();
    object.insert("kind".to_owned(), "log_gap".into());
    object.insert("level".to_owned(), "warn".into());
    let text = format!(
        "{how_many} of the log are missing: {}",
        gap.reason.replace('_', " ")
    );
    object.insert("message".to_owned(), text.into());
    object.insert("fields".to_owned(), fields.into());
    event(source, count, object)
}
