//! Events that the API takes, in the form of Vector's `http_server` source.
//!
//! Answered only once they are on the disk. A request that is sent again, since its answer was lost, makes the
//! same ids: what receivers know by id is there once.

use super::cell::InputCell;
use super::gate::{Gate, Label, Taken, is_id};
use crate::domain::log::Stamp;
use crate::logging::event::{decode, json};
use crate::logging::pipe::Host;
use crate::logging::spool::{Spool, SpoolError};
use crate::ports::clock::Clock;
use crate::ports::log_intake::{IntakeError, LogIntake, Writes};
use async_trait::async_trait;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// The name of this input in lists.
pub const NAME: &str = "http";
/// Vector's `source_type` of such events.
const SOURCE_TYPE: &str = "http_server";
/// The longest text of an event; beyond it sinks and the index would not take it.
const LONGEST: usize = 1 << 20;

/// Takes events for the API.
pub struct HttpIntake {
    gate: Arc<Gate>,
}

impl HttpIntake {
    /// Into this spool.
    pub fn new(spool: Spool, host: Host, clock: Arc<dyn Clock>) -> Self {
        let at = "/api/v1/logs/events".to_owned();
        let cell = Arc::new(InputCell::new(NAME, NAME, at));
        cell.state("running");
        let label = Label {
            source_type: SOURCE_TYPE,
            ..Label::default()
        };
        Self {
            gate: Arc::new(Gate::new(NAME, label, cell, spool, host, clock)),
        }
    }

    /// What is shown of it.
    pub fn cell(&self) -> &Arc<InputCell> {
        &self.gate.cell
    }
}

#[async_trait]
impl LogIntake for HttpIntake {
    async fn take(&self, body: Vec<u8>, writes: Writes) -> Result<u64, IntakeError> {
        let gate = Arc::clone(&self.gate);
        let bytes = body.len() as u64;
        let work = tokio::task::spawn_blocking(move || {
            let mut events = read(&body, gate.clock.now_utc().into(), &writes)?;
            let count = events.len() as u64;
            let stored = gate.put(&mut events).and_then(|()| gate.sync());
            stored.map_err(|error| {
                gate.failed(&error.to_string());
                IntakeError::NotNow(match error {
                    SpoolError::Full { .. } => error.to_string(),
                    SpoolError::Io { .. } => format!("{error}; send it again"),
                })
            })?;
            Ok(count)
        });
        let outcome = work
            .await
            .unwrap_or_else(|e| Err(IntakeError::NotNow(format!("{e}; send it again"))));
        self.gate.cell.change(|view| {
            view.bytes += bytes;
            view.refused += u64::from(outcome.is_err());
        });
        outcome
    }
}

/// The events of a body, each for an app that the sender may write for, each with an id. Pure.
fn read(body: &[u8], arrival: Stamp, writes: &Writes) -> Result<Vec<Taken>, IntakeError> {
    let found = decode::lines(body, arrival).map_err(|e| IntakeError::NotAnEvent(e.to_string()))?;
    let mut repeated: HashMap<[u8; 8], u64> = HashMap::new();
    let events = found.into_iter().enumerate().map(|(n, event)| {
        let mut object = event.object;
        permit(n + 1, &mut object, writes)?;
        let mut text = Vec::with_capacity(256);
        json::object(&object, &mut text);
        if text.len() > LONGEST {
            return Err(IntakeError::NotAnEvent(format!(
                "event {} has {} bytes; at most {LONGEST} are taken",
                n + 1,
                text.len()
            )));
        }
        if !object.get("event_id").is_some_and(is_id) {
            object.insert("event_id".to_owned(), id(&text, &mut repeated).into());
        }
        Ok(Taken {
            at: event.at,
            object,
        })
    });
    events.collect()
}

/// By what the event says, and how many just like it were in the request before it.
fn id(text: &[u8], repeated: &mut HashMap<[u8; 8], u64>) -> String {
    let digest = Sha256::digest(text);
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    let before = repeated.entry(short).or_default();
    let mut hash = Sha256::new();
    hash.update(digest);
    hash.update(before.to_le_bytes());
    *before += 1;
    hex::encode(&hash.finalize()[..16])
}

/// Whether the sender may write for the app that the event names.
fn permit(n: usize, object: &mut Map<String, Value>, writes: &Writes) -> Result<(), IntakeError> {
    let Writes::App(own) = writes else {
        return Ok(());
    };
    match object.get("app") {
        None | Some(Value::Null) => {
            object.insert("app".to_owned(), own.clone().into());
            Ok(())
        }
        Some(Value::String(app)) if app == own => Ok(()),
        Some(app) => Err(IntakeError::OtherApp(format!(
            "event {n} is of app {app}; this request may send events of app {own} only"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(body: &str, arrival: i64) -> Vec<String> {
        let events = read(body.as_bytes(), Stamp(arrival), &Writes::All).unwrap();
        let id = |event: &Taken| event.object["event_id"].as_str().unwrap().to_owned();
        events.iter().map(id).collect()
    }

    #[test]
    fn a_request_that_comes_again_has_the_same_ids_and_each_event_its_own() {
        let body = r#"{"message":"a","timestamp":"2025-03-01T08:00:00Z"}
{"message":"a","timestamp":"2025-03-01T08:00:00Z"}
{"message":"b","timestamp":"2025-03-01T08:00:00Z"}
{"message":"c","event_id":"mine-1"}
{"message":"d","event_id":"not \" mine"}"#;
        let first = ids(body, 1);
        assert_eq!(first[..4], ids(body, 2)[..4]);
        assert_eq!(first[3], "mine-1");
        let distinct: std::collections::HashSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 5);
        assert!(first.iter().all(|id| is_id(&Value::from(id.as_str()))));
    }

    #[test]
    fn who_may_write_for_one_app_writes_for_that_one() {
        let own = Writes::App("shop".to_owned());
        let read = |body: &str| read(body.as_bytes(), Stamp(1), &own);
        let events = read(r#"[{"message":"a"},{"message":"b","app":"shop"}]"#).unwrap();
        assert!(events.iter().all(|event| event.object["app"] == "shop"));
        for other in [r#""bank""#, "3", r#"{"a":1}"#] {
            let body = format!(r#"{{"app":"shop"}}{}{{"app":{other}}}"#, "\n");
            let error = read(&body).unwrap_err();
            assert!(matches!(error, IntakeError::OtherApp(_)), "{error}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(LONGEST));
        assert!(matches!(read(&long), Err(IntakeError::NotAnEvent(_))));
    }
}
