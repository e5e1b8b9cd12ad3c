//! Bulk requests of Elasticsearch and OpenSearch: which index an event goes to, what an answer means. Pure.

use crate::domain::log::{LogSource, Stamp};
use crate::ports::sink::{Delivery, SinkError};
use serde::Deserialize;
use serde_json::Value;

/// Where events are put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `PREFIX-YYYY.MM.DD`, by the event's day in UTC: what is replayed is where it was.
    Daily {
        /// The prefix.
        prefix: String,
    },
    /// `logs-DATASET.<app>-NAMESPACE`.
    DataStream {
        /// What stands before the app.
        dataset: String,
        /// What stands after it.
        namespace: String,
    },
}

/// The index or data stream of an event. Pure.
pub fn index_of(target: &Target, source: &LogSource, at: Stamp, out: &mut Vec<u8>) {
    match target {
        Target::Daily { prefix } => {
            let (year, month, day) = at.date();
            out.extend_from_slice(format!("{prefix}-{year:04}.{month:02}.{day:02}").as_bytes());
        }
        Target::DataStream { dataset, namespace } => {
            let app = if source.app.is_empty() {
                "lain"
            } else {
                &source.app
            };
            // Lower case, no dash, at most 100 characters.
            let legal = |c: char| match c {
                c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
                '.' => '.',
                _ => '_',
            };
            let set: String = format!("{dataset}.{app}")
                .chars()
                .map(legal)
                .take(100)
                .collect();
            out.extend_from_slice(format!("logs-{set}-{namespace}").as_bytes());
        }
    }
}

/// The day of a daily index; `None` for any other name. Pure.
pub fn day_of(prefix: &str, index: &str) -> Option<chrono::NaiveDate> {
    let day = index.strip_prefix(prefix)?.strip_prefix('-')?;
    chrono::NaiveDate::parse_from_str(day, "%Y.%m.%d").ok()
}

#[derive(Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default, rename = "_index")]
    index: String,
    #[serde(default)]
    error: Option<Value>,
}

/// Sorts what a bulk answer says of each item. Pure.
///
/// # Errors
/// [`SinkError`] for what concerns the whole sink: an index that is closed to writes, or cannot be made.
pub fn sort(answer: &[u8], events: usize) -> Result<Delivery, SinkError> {
    let parsed: Answer = serde_json::from_slice(answer).map_err(|e| {
        SinkError::retry(format!(
            "Elasticsearch: not the answer of a bulk request: {e}"
        ))
    })?;
    let mut delivery = Delivery::default();
    if !parsed.errors {
        return Ok(delivery);
    }
    if parsed.items.len() != events {
        let reason = format!(
            "Elasticsearch: {} items of {events} were answered",
            parsed.items.len()
        );
        return Err(SinkError::retry(reason));
    }
    for (place, Item { create }) in parsed.items.into_iter().enumerate() {
        let said = || {
            let error = create.error.as_ref();
            let field = |key: &str| error.and_then(|e| e[key].as_str()).unwrap_or_default();
            format!(
                "Elasticsearch: {} {}: {}: {}",
                create.index,
                create.status,
                field("type"),
                field("reason")
            )
        };
        match create.status {
            200..=299 => {}
            409 => delivery.known += 1,
            429 | 500..=599 => delivery.retry.push((place, said())),
            403 | 404 => {
                let next = "mend the index, then: lain sink resume";
                return Err(SinkError::Refused {
                    reason: format!("{}; {next}", said()),
                });
            }
            _ => delivery.dead.push((place, said())),
        }
    }
    Ok(delivery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_of_an_answer_is_sorted() {
        let answer = |statuses: &[u16]| {
            let items: Vec<Value> = statuses
                .iter()
                .map(|s| serde_json::json!({"create": {"_index": "i", "status": s, "error": {"type": "t", "reason": "r"}}}))
                .collect();
            serde_json::to_vec(&serde_json::json!({"took": 1, "errors": true, "items": items}))
                .unwrap()
        };
        let delivery = sort(&answer(&[201, 409, 429, 400, 503]), 5).unwrap();
        assert_eq!(delivery.known, 1);
        assert_eq!(
            delivery.retry.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
            [2, 4]
        );
        assert_eq!(
            delivery.dead,
            [(3, "Elasticsearch: i 400: t: r".to_owned())]
        );
        assert!(matches!(
            sort(&answer(&[201, 403]), 2),
            Err(SinkError::Refused { .. })
        ));
        assert!(matches!(
            sort(&answer(&[201]), 2),
            Err(SinkError::Retry { .. })
        ));
        assert!(matches!(sort(b"<html>", 2), Err(SinkError::Retry { .. })));
        assert_eq!(
            sort(br#"{"took":1,"errors":false,"items":[]}"#, 9),
            Ok(Delivery::default())
        );
    }

    #[test]
    fn events_go_to_the_index_of_their_day_or_the_stream_of_their_app() {
        let source = LogSource {
            app: "My-Shop".to_owned(),
            ..LogSource::default()
        };
        let index = |target: &Target| {
            let mut out = Vec::new();
            index_of(target, &source, Stamp(1_740_787_199_999_999_999), &mut out);
            String::from_utf8(out).unwrap()
        };
        let daily = Target::Daily {
            prefix: "lain".to_owned(),
        };
        assert_eq!(index(&daily), "lain-2025.02.28");
        let stream = Target::DataStream {
            dataset: "lain".to_owned(),
            namespace: "default".to_owned(),
        };
        assert_eq!(index(&stream), "logs-lain.my_shop-default");
        assert_eq!(
            day_of("lain", "lain-2025.02.28"),
            chrono::NaiveDate::from_ymd_opt(2025, 2, 28)
        );
        assert_eq!(day_of("lain", "lain-archive"), None);
        assert_eq!(day_of("lain", "lainx-2025.02.28"), None);
    }
}
