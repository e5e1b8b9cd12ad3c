//! Which events go to a sink, and with what blotted out. Pure.

use crate::domain::log::{Level, LogBody, LogEvent};
use crate::logging::event::json;
use bytes::Bytes;
use regex::bytes::{NoExpand, Regex};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What stands where something was blotted out.
pub const BLOT: &str = "***";

/// Which events a sink gets. Everything, unless it says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these apps; `*` stands for anything in a name. Empty: all.
    pub apps: Vec<String>,
    /// Not these apps.
    pub exclude_apps: Vec<String>,
    /// Only these procs, by name. Empty: all.
    pub procs: Vec<String>,
    /// Only these source types. Empty: all.
    pub source_types: Vec<String>,
    /// Nothing below this level. A line that tells no level passes.
    pub min_level: Option<Level>,
    /// Only lines that match. Empty: all.
    pub matching: Vec<Regex>,
    /// No lines that match.
    pub excluding: Vec<Regex>,
    /// The share of lines that is kept, from 0 to 1; which ones depends on their ids alone, so that a replay
    /// keeps the same. Errors and worse are always kept.
    pub sample: Option<f64>,
}

/// Patterns and values that no sink may see.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    patterns: Vec<Regex>,
}

impl Redaction {
    /// Blots out what matches `patterns`, and each of `values` wherever it stands. Values shorter than four
    /// bytes are left: they would blot out half of everything.
    pub fn new(patterns: Vec<Regex>, values: &[String]) -> Self {
        let mut patterns = patterns;
        let mut values: Vec<&String> = values.iter().filter(|v| v.len() >= 4).collect();
        // The longer one first, where one holds another.
        values.sort_by_key(|v| std::cmp::Reverse(v.len()));
        let exact = values
            .into_iter()
            .filter_map(|v| Regex::new(&regex::escape(v)).ok());
        patterns.extend(exact);
        Self { patterns }
    }

    fn touches(&self, text: &[u8]) -> bool {
        self.patterns.iter().any(|p| p.is_match(text))
    }

    fn blot(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for pattern in &self.patterns {
            if let std::borrow::Cow::Owned(blotted) =
                pattern.replace_all(&text, NoExpand(BLOT.as_bytes()))
            {
                text = blotted;
            }
        }
        text
    }

    /// Blots out in place.
    pub fn apply(&self, event: &mut LogEvent) {
        match &mut event.body {
            LogBody::Line { message, .. } => {
                if self.touches(message) {
                    *message = self.blot(message).into();
                }
            }
            LogBody::Object(text) => {
                // The texts in it, not its own text: it stays an object.
                if let Ok(mut value) = serde_json::from_slice::<Value>(text)
                    && self.walk(&mut value)
                {
                    let mut out = Vec::with_capacity(text.len());
                    json::value(&value, &mut out);
                    *text = Bytes::from(out);
                }
            }
        }
    }

    fn walk(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) if self.touches(text.as_bytes()) => {
                *text = String::from_utf8_lossy(&self.blot(text.as_bytes())).into_owned();
                true
            }
            Value::Array(items) => items
                .iter_mut()
                .fold(false, |any, item| self.walk(item) | any),
            Value::Object(map) => map
                .values_mut()
                .fold(false, |any, item| self.walk(item) | any),
            _ => false,
        }
    }

    /// Whether there is nothing to blot out.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl Filter {
    /// Whether the sink gets this event.
    pub fn takes(&self, event: &LogEvent) -> bool {
        let source = &event.source;
        if !self.apps.is_empty() && !self.apps.iter().any(|p| glob(p, &source.app)) {
            return false;
        }
        if self.exclude_apps.iter().any(|p| glob(p, &source.app)) {
            return false;
        }
        if !self.procs.is_empty() && !self.procs.contains(&source.proc) {
            return false;
        }
        if !self.source_types.is_empty() && !self.source_types.contains(&source.source_type) {
            return false;
        }
        let (level, text) = match &event.body {
            LogBody::Line { level, message, .. } => (*level, message),
            LogBody::Object(text) => {
                let asked = self.min_level.is_some() || self.sample.is_some();
                (asked.then(|| level_of(text)).flatten(), text)
            }
        };
        if let (Some(least), Some(level)) = (self.min_level, level)
            && level < least
        {
            return false;
        }
        if !self.matching.is_empty() && !self.matching.iter().any(|p| p.is_match(text)) {
            return false;
        }
        if self.excluding.iter().any(|p| p.is_match(text)) {
            return false;
        }
        match self.sample {
            Some(share) if level.is_none_or(|level| level < Level::Error) => chance(event) < share,
            _ => true,
        }
    }

    /// Whether every event passes, so that none need be looked at.
    pub fn takes_all(&self) -> bool {
        self.apps.is_empty()
            && self.exclude_apps.is_empty()
            && self.procs.is_empty()
            && self.source_types.is_empty()
            && self.min_level.is_none()
            && self.matching.is_empty()
            && self.excluding.is_empty()
            && self.sample.is_none()
    }
}

/// The level that a whole event tells.
fn level_of(object: &[u8]) -> Option<Level> {
    #[derive(serde::Deserialize)]
    struct Told {
        level: Option<Level>,
    }
    serde_json::from_slice::<Told>(object).ok()?.level
}

/// A number from 0 to 1 that depends on what the event's id is made of.
fn chance(event: &LogEvent) -> f64 {
    let mut hash = Sha256::new();
    hash.update(event.source.container_id.as_bytes());
    hash.update(event.at.0.to_le_bytes());
    hash.update(event.ordinal.to_le_bytes());
    let digest = hash.finalize();
    let bits = digest[..8]
        .iter()
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::{LogSource, Stamp, Stream};
    use std::sync::Arc;

    fn event(app: &str, at: i64, level: Option<Level>, text: &str) -> LogEvent {
        LogEvent {
            source: Arc::new(LogSource {
                app: app.to_owned(),
                proc: "web".to_owned(),
                ..LogSource::default()
            }),
            at: Stamp(at),
            seq: 1,
            ordinal: 0,
            body: LogBody::Line {
                stream: Stream::Stdout,
                level,
                truncated: false,
                message: text.as_bytes().to_vec().into(),
            },
        }
    }

    #[test]
    fn filters_take_what_they_say() {
        let shop = event("shop", 0, Some(Level::Info), "GET /health");
        let regex = |p: &str| Regex::new(p).unwrap();
        let takes = |filter: Filter| filter.takes(&shop);
        let none = Filter::default();
        assert!(none.takes_all() && takes(none.clone()));
        assert!(takes(Filter {
            apps: vec!["sh*p".to_owned()],
            ..none.clone()
        }));
        assert!(!takes(Filter {
            apps: vec!["other".to_owned()],
            ..none.clone()
        }));
        assert!(!takes(Filter {
            exclude_apps: vec!["s*".to_owned()],
            ..none.clone()
        }));
        assert!(!takes(Filter {
            procs: vec!["worker".to_owned()],
            ..none.clone()
        }));
        assert!(!takes(Filter {
            source_types: vec!["lain".to_owned()],
            ..none.clone()
        }));
        assert!(!takes(Filter {
            min_level: Some(Level::Warn),
            ..none.clone()
        }));
        assert!(takes(Filter {
            min_level: Some(Level::Info),
            ..none.clone()
        }));
        assert!(!takes(Filter {
            matching: vec![regex("POST")],
            ..none.clone()
        }));
        assert!(!takes(Filter {
            excluding: vec![regex("/health")],
            ..none.clone()
        }));
        assert!(!takes(Filter {
            sample: Some(0.0),
            ..none.clone()
        }));
        assert!(
            Filter {
                min_level: Some(Level::Warn),
                ..none.clone()
            }
            .takes(&event("a", 0, None, "x"))
        );
        assert!(
            Filter {
                sample: Some(0.0),
                ..none
            }
            .takes(&event("a", 0, Some(Level::Error), "x"))
        );
    }

    #[test]
    fn whole_events_are_judged_by_the_level_that_they_tell() {
        let least = Filter {
            min_level: Some(Level::Warn),
            ..Filter::default()
        };
        for (text, passes) in [
            (r#"{"level":"info","message":"x"}"#, false),
            (r#"{"level":"error"}"#, true),
            (r#"{"level":"loud"}"#, true),
            (r#"{"message":"x"}"#, true),
        ] {
            let object = LogEvent {
                body: LogBody::Object(Bytes::from_static(text.as_bytes())),
                ..event("a", 0, None, "")
            };
            assert_eq!(least.takes(&object), passes, "{text}");
        }
    }

    #[test]
    fn sampling_keeps_the_share_and_the_same_events_again() {
        let filter = Filter {
            sample: Some(0.3),
            ..Filter::default()
        };
        let kept = |_: u8| {
            (0..2000)
                .filter(|at| filter.takes(&event("a", *at, None, "x")))
                .collect::<Vec<_>>()
        };
        let first = kept(0);
        assert!((500..700).contains(&first.len()), "{}", first.len());
        assert_eq!(first, kept(1));
    }

    #[test]
    fn patterns_and_secrets_are_blotted_out_everywhere() {
        let redaction = Redaction::new(
            vec![Regex::new(r"\b\d{16}\b").unwrap()],
            &[
                "hunter2".to_owned(),
                "hunter2-long".to_owned(),
                "a".to_owned(),
            ],
        );
        let mut line = event("a", 0, None, "card 1234567890123456 pw hunter2-long a $1");
        redaction.apply(&mut line);
        let LogBody::Line { message, .. } = &line.body else {
            panic!("a line");
        };
        assert_eq!(&message[..], b"card *** pw *** a $1");
        let mut object = LogEvent {
            body: LogBody::Object(Bytes::from_static(br#"{"a":["hunter2"],"n":1,"t":"x"}"#)),
            ..line
        };
        redaction.apply(&mut object);
        let wanted = LogBody::Object(Bytes::from_static(br#"{"a":["***"],"n":1,"t":"x"}"#));
        assert_eq!(object.body, wanted);
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, fits) in [
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ab", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "ac", false),
            ("resource.*.shop", "resource.redis.shop", true),
        ] {
            assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
        }
    }
}
