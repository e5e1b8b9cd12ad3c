//! Events as JSON lines: `ts level target msg`, then `app proc instance node op request_id` where
//! the event or a span around it has them, then everything else.

use crate::logging::tracing_setup::output::Output;
use chrono::{SecondsFormat, Utc};
use serde_json::Value;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Fields that come first, in this order.
const LEADING: [&str; 6] = ["app", "proc", "instance", "node", "op", "request_id"];
/// Names that a field cannot take.
const RESERVED: [&str; 4] = ["ts", "level", "target", "msg"];

/// Writes each event as one JSON object.
#[derive(Debug)]
pub struct JsonLayer {
    output: Output,
}

impl JsonLayer {
    /// A layer that writes to `output`.
    pub fn new(output: Output) -> Self {
        Self { output }
    }
}

/// Fields in the order of their appearance; a later one of the same name replaces an earlier one.
#[derive(Debug, Clone, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some(field) => field.1 = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(n, _)| *n == name)?;
        Some(self.0.remove(place).1)
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for JsonLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(Scope::from_root)
        {
            if let Some(outer) = span.extensions().get::<Fields>() {
                for (name, value) in &outer.0 {
                    fields.set(name, value.clone());
                }
            }
        }
        // A span's own message, were it to have one, is not the event's.
        fields.0.retain(|(name, _)| *name != "message");
        event.record(&mut fields);
        let metadata = event.metadata();
        let ts = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let level = metadata.level().as_str().to_ascii_lowercase();
        let line = render(&ts, &level, metadata.target(), fields);
        self.output.push(line.into_bytes());
    }
}

/// The line that stands for `lines` dropped ones.
pub fn gap(lines: u64) -> String {
    let ts = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let fields = Fields(vec![
        ("message", "log lines dropped since nobody read them".into()),
        ("lines", lines.into()),
    ]);
    let line = render(&ts, "warn", "lain::logging", fields);
    line.trim_end().to_owned()
}

/// One line, with its newline.
fn render(ts: &str, level: &str, target: &str, mut fields: Fields) -> String {
    let mut line = Line(String::with_capacity(256));
    line.add("ts", &ts.into());
    line.add("level", &level.into());
    line.add("target", &target.into());
    let message = fields.take("message").unwrap_or_else(|| "".into());
    line.add("msg", &message);
    for name in LEADING {
        if let Some(value) = fields.take(name) {
            line.add(name, &value);
        }
    }
    for (name, value) in &fields.0 {
        match RESERVED.contains(name) {
            true => line.add(&format!("{name}_"), value),
            false => line.add(name, value),
        }
    }
    line.0.push_str("}\n");
    line.0
}

/// A JSON object in the making.
struct Line(String);

impl Line {
    fn add(&mut self, name: &str, value: &Value) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&Value::from(name).to_string());
        self.0.push(':');
        self.0.push_str(&value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::Secret;
    use crate::logging::tracing_setup::output::Queue;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while `body` runs, each line without its time.
    fn lines(body: impl FnOnce()) -> Vec<String> {
        let buffer = Buffer::default();
        let queue = Queue::start(buffer.clone(), gap).unwrap();
        let layer = JsonLayer::new(Output::new(Arc::clone(&queue)));
        tracing::subscriber::with_default(Registry::default().with(layer), body);
        queue.flush();
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let without_time = |line: &str| {
            serde_json::from_str::<Value>(line).expect("a line is JSON");
            let (time, rest) = line.split_once(',').unwrap();
            assert!(
                time.starts_with(r#"{"ts":"2"#) && time.ends_with(r#"Z""#),
                "{time}"
            );
            rest.to_owned()
        };
        text.lines().map(without_time).collect()
    }

    #[test]
    fn the_known_fields_lead_and_spans_give_theirs() {
        let got = lines(|| {
            let outer = tracing::info_span!("request", request_id = "r1", extra = 1);
            let _outer = outer.enter();
            let span =
                tracing::info_span!("instance", app = "hello", instance = tracing::field::Empty);
            span.record("instance", 2);
            let _span = span.enter();
            tracing::warn!(target: "t", cause = "oom", proc = "web", "crashed");
        });
        let expected = r#""level":"warn","target":"t","msg":"crashed","app":"hello","proc":"web","instance":2,"request_id":"r1","extra":1,"cause":"oom"}"#;
        assert_eq!(got, [expected]);
    }

    #[test]
    fn the_event_wins_over_its_spans_and_reserved_names_are_renamed() {
        let got = lines(|| {
            let span = tracing::info_span!("s", app = "outer");
            let _span = span.enter();
            tracing::info!(target: "t", app = "inner", level = 7, ok = true, "two\nlines \"quoted\"");
        });
        let expected = r#""level":"info","target":"t","msg":"two\nlines \"quoted\"","app":"inner","level_":7,"ok":true}"#;
        assert_eq!(got, [expected]);
    }

    #[test]
    fn a_gap_is_a_line_like_the_others() {
        let line: Value = serde_json::from_str(&gap(12)).unwrap();
        assert_eq!(
            (&line["level"], &line["lines"]),
            (&"warn".into(), &12.into())
        );
    }

    #[test]
    fn secrets_stay_secret() {
        let got = lines(|| {
            let password = Secret::new("hunter2");
            tracing::error!(target: "t", ?password, "refused");
        });
        assert_eq!(
            got,
            [r#""level":"error","target":"t","msg":"refused","password":"***"}"#]
        );
    }
}
