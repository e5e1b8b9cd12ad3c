//! The lists of a configuration as one text, for the nodes of a control host, and back. Pure.

use crate::config::logging::{Lists, MultilineConfig, SinkConfig, regex};
use crate::domain::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

impl Lists {
    /// All of it as one text, for another node. It has the passwords in it.
    pub fn sealed(&self) -> Secret {
        let sinks: Vec<Json> = self.sinks.iter().map(bare).collect();
        let multiline: Vec<Json> = self.multiline.iter().map(bare).collect();
        let all =
            serde_json::json!({"sinks": sinks, "multiline": multiline, "redact": self.redact});
        Secret::new(all.to_string())
    }

    /// Reads what [`Lists::sealed`] made. What only a newer lain understands is left out, and named.
    ///
    /// # Errors
    /// That it is no such text.
    pub fn unseal(text: &str) -> Result<(Self, Vec<String>), String> {
        let all: Sealed = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let (mut lists, mut unknown) = (Lists::default(), Vec::new());
        for sink in all.sinks {
            let name = sink["name"].as_str().unwrap_or_default().to_owned();
            let keys: Vec<String> = sink
                .as_object()
                .map(|map| map.keys().cloned().collect())
                .unwrap_or_default();
            let read = serde_json::from_value::<SinkConfig>(sink).map_err(|e| e.to_string());
            let checked = read.and_then(|sink| match sink.check(&keys) {
                Ok(()) => Ok(sink),
                Err((_, problem)) => Err(problem),
            });
            match checked {
                Ok(sink) => lists.sinks.push(sink),
                Err(problem) => unknown.push(format!("sink {name}: {problem}")),
            }
        }
        for rule in all.multiline {
            let read = serde_json::from_value::<MultilineConfig>(rule).map_err(|e| e.to_string());
            match read.and_then(|rule| rule.check().map(|()| rule)) {
                Ok(rule) => lists.multiline.push(rule),
                Err(problem) => unknown.push(format!("multiline: {problem}")),
            }
        }
        for pattern in all.redact {
            match regex(&pattern) {
                Ok(()) => lists.redact.push(pattern),
                Err(problem) => unknown.push(format!("redact: {problem}")),
            }
        }
        Ok((lists, unknown))
    }
}

#[derive(Deserialize)]
struct Sealed {
    sinks: Vec<Json>,
    #[serde(default)]
    multiline: Vec<Json>,
    #[serde(default)]
    redact: Vec<String>,
}

/// What is set, without what is not: an older lain need not know a key that nobody uses.
fn bare(item: &impl Serialize) -> Json {
    // Texts, numbers and lists of them: they have a JSON form.
    let mut value = serde_json::to_value(item).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| match value {
            Json::Null => false,
            Json::Array(items) => !items.is_empty(),
            Json::Object(map) => !map.is_empty(),
            _ => true,
        });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document;

    #[test]
    fn what_is_sealed_is_read_again_with_its_secrets_and_without_what_is_unknown() {
        let text = r#"
[logging]
redact = ["\\d{16}"]
[[logging.sink]]
name = "bus"
type = "kafka"
brokers = "k:9092"
apps = ["shop"]
username = "u"
password = "hunter2"
settings = { "queue.buffering.max.ms" = "7" }
[[logging.multiline]]
start_pattern = "^\\S"
condition_pattern = "^\\s"
mode = "continue_through"
"#;
        let (_, lists, errors) = document::parse(text, None);
        assert!(errors.is_empty(), "{errors:?}");
        let sealed = lists.sealed();
        assert!(!format!("{sealed:?}").contains("hunter2"));
        assert!(
            !sealed.expose().contains("keep_days"),
            "what is not set is not told"
        );
        assert_eq!(Lists::unseal(sealed.expose()), Ok((lists, Vec::new())));
        let newer = r#"{"sinks":[{"name":"a","type":"file","path":"/x"},{"name":"b","type":"carrier-pigeon"},
            {"name":"c","type":"file","path":"/y","colour":"red"}],"redact":["("],"more":1}"#;
        let (read, unknown) = Lists::unseal(newer).expect("the rest is read");
        assert_eq!(read.sinks.len(), 1);
        assert_eq!(unknown.len(), 3, "{unknown:?}");
        assert!(Lists::unseal("[]").is_err());
    }
}
