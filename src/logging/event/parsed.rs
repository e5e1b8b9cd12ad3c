//! Lines of a known form → fields of their own at the top of the event. Pure.

use super::{Encoder, json, metrics, nginx};
use crate::domain::log::{Level, LineFormat, LogBody, LogEvent, Stamp};
use serde_json::{Map, Value};

/// What a line of a known form says.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Its own instant, where it tells one.
    pub at: Option<Stamp>,
    /// Its own level, where it tells one.
    pub level: Option<Level>,
    /// Its fields.
    pub fields: Map<String, Value>,
}

/// Reads a line; `None` where it is not of this form, or has no fields of its own.
pub fn parse(format: LineFormat, line: &[u8]) -> Option<Parsed> {
    match format {
        LineFormat::Plain => None,
        LineFormat::Nginx => nginx::parse(line),
        LineFormat::Metrics => metrics::parse(line),
    }
}

/// Makes `line`, an event of a plain line, the event of what was read in it: its fields at the top, its instant,
/// its level. Its ordinal becomes its number in the file, since such lines tell seconds only, and not always in
/// order; so its id is the same whenever the line is read again.
pub fn apply(line: LogEvent, parsed: Parsed, encoder: &mut Encoder) -> LogEvent {
    let mut event = LogEvent {
        at: parsed.at.unwrap_or(line.at),
        ordinal: (line.seq & 0xffff_ffff) as u32,
        ..line
    };
    if let LogBody::Line { level, .. } = &mut event.body {
        *level = parsed.level;
    }
    let mut text = Vec::with_capacity(1024);
    encoder.encode(&event, &mut text);
    // What the encoder writes is an object.
    let mut object: Map<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
    // The same once more, by other names.
    object.remove("fields");
    object.extend(parsed.fields);
    text.clear();
    json::object(&object, &mut text);
    LogEvent {
        body: LogBody::Object(text.into()),
        ..event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::{LogSource, Stream};
    use std::sync::Arc;

    #[test]
    fn fields_stand_at_the_top_and_the_line_is_kept() {
        let line = br#"{"status":"200","request":"GET / HTTP/1.1","msec":"1740816000.001"}"#;
        let source = Arc::new(LogSource {
            source_type: "file".to_owned(),
            app: "edge".to_owned(),
            file: Some("/var/log/nginx/access.log".to_owned()),
            ..LogSource::default()
        });
        let plain = |seq| LogEvent {
            source: Arc::clone(&source),
            at: Stamp(5),
            seq,
            ordinal: 0,
            body: LogBody::Line {
                stream: Stream::Stdout,
                level: Some(Level::Error),
                truncated: false,
                message: line.to_vec().into(),
            },
        };
        let mut encoder = Encoder::default();
        let mut made = |seq| {
            let parsed = parse(LineFormat::Nginx, line).unwrap();
            let event = apply(plain(seq), parsed, &mut encoder);
            let LogBody::Object(text) = &event.body else {
                panic!("an object");
            };
            let object: Value = serde_json::from_slice(text).unwrap();
            let mut id = Vec::new();
            encoder.id(&event, &mut id);
            assert_eq!(object["event_id"].as_str().unwrap().as_bytes(), id);
            object
        };
        let (one, two) = (made(1), made(2));
        assert_eq!(one["timestamp"], "2025-03-01T08:00:00.001Z");
        assert_eq!(one["http"]["response"]["status_code"], 200);
        assert_eq!(one["message"], String::from_utf8_lossy(line).as_ref());
        assert_eq!(one["app"], "edge");
        assert!(one.get("fields").is_none() && one.get("level").is_none());
        assert_ne!(
            one["event_id"], two["event_id"],
            "the same instant, two lines"
        );
        assert_eq!(one, made(1), "read again, it is the same");
    }
}
