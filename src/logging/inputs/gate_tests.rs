//! What passes a gate: numbers, ids, places, over restarts and a full spool.

use super::cell::InputCell;
use super::gate::{Gate, Label, Taken};
use crate::domain::log::{LogBody, Stamp};
use crate::logging::event::Encoder;
use crate::logging::inputs::http::HttpIntake;
use crate::logging::pipe::Host;
use crate::logging::spool::{From, Options, Spool, WhenFull};
use crate::ports::clock::SystemClock;
use crate::ports::log_intake::{IntakeError, LogIntake, Writes};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

fn host() -> Host {
    Host {
        host: "h.example".to_owned(),
        node: "n1".to_owned(),
    }
}

fn open(dir: &Path) -> Spool {
    Spool::open(Options::new(dir)).unwrap().0
}

fn gate(spool: &Spool, label: Label) -> Gate {
    let cell = Arc::new(InputCell::new("edge", "syslog", String::new()));
    let clock = Arc::new(SystemClock::new());
    Gate::new("edge", label, cell, spool.clone(), host(), clock)
}

fn taken(object: Value) -> Taken {
    let Value::Object(object) = object else {
        panic!("an object");
    };
    Taken {
        at: Stamp(1_740_816_000_000_000_000),
        object,
    }
}

/// The events in a spool: id by the encoder, and the object.
fn stored(spool: &Spool) -> Vec<(String, Value)> {
    let (position, index) = spool.bound(From::Oldest);
    let mut reader = spool.reader(position, index);
    let mut encoder = Encoder::default();
    let mut found = Vec::new();
    // A segment at a time.
    let mut events = Vec::new();
    loop {
        let read = reader.next(10_000, 16 << 20).unwrap();
        if read.events.is_empty() {
            break;
        }
        events.extend(read.events);
    }
    for event in events {
        let (mut id, mut text) = (Vec::new(), Vec::new());
        encoder.id(&event, &mut id);
        encoder.encode(&event, &mut text);
        let LogBody::Object(_) = event.body else {
            panic!("an object");
        };
        found.push((
            String::from_utf8(id).unwrap(),
            serde_json::from_slice(&text).unwrap(),
        ));
    }
    found
}

#[test]
fn events_are_numbered_named_and_have_ids_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let label = Label {
        source_type: "syslog",
        app: Some("edge".to_owned()),
        proc: None,
    };
    for n in 0..2 {
        let spool = open(dir.path());
        let gate = gate(&spool, label.clone());
        let mut events = vec![
            taken(json!({"message": format!("a{n}"), "host": "m"})),
            taken(json!({"message": format!("b{n}"), "app": "spoofed", "seq": null})),
        ];
        gate.put(&mut events).unwrap();
        assert!(events.is_empty());
        assert_eq!(gate.cell.view().events, 2);
    }
    let found = stored(&open(dir.path()));
    let seqs: Vec<&Value> = found.iter().map(|(_, e)| &e["seq"]).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    let ids: std::collections::HashSet<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids.len(), 4, "one instant, four events");
    for (id, event) in &found {
        assert_eq!(event["event_id"], id.as_str());
        assert_eq!(event["app"], "edge");
        assert_eq!(event["source_type"], "syslog");
        assert_eq!(event["node"], "n1");
        assert_eq!(event["input"], "edge");
        assert_eq!(event["timestamp"], "2025-03-01T08:00:00Z");
    }
    assert_eq!(found[0].1["host"], "m");
    assert_eq!(found[1].1["host"], "h.example");
}

#[test]
fn a_full_spool_takes_nothing_and_numbers_stay() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 8 << 10,
        max_bytes: 32 << 10,
        when_full: WhenFull::Block,
        ..Options::new(dir.path())
    };
    let (spool, _) = Spool::open(options).unwrap();
    let gate = gate(&spool, Label::default());
    let mut put = 0;
    let mut events = loop {
        let mut events = vec![taken(json!({"message": "x".repeat(4000)}))];
        match gate.put(&mut events) {
            Ok(()) => put += 1,
            Err(_) => break events,
        }
        assert!(put < 100, "it never fills");
    };
    assert_eq!(events.len(), 1, "what was not put is still there");
    spool.trim(spool.end()).unwrap();
    gate.put(&mut events).unwrap();
    let last = stored(&spool).pop().unwrap().1;
    assert_eq!(last["seq"], put + 1);
}

#[tokio::test]
async fn the_api_takes_vectors_forms_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let intake = HttpIntake::new(spool.clone(), host(), Arc::new(SystemClock::new()));
    let take = |body: &str| intake.take(body.as_bytes().to_vec(), Writes::All);
    for (body, count) in [
        (r#"{"message":"one","timestamp":"2025-03-01T08:00:00Z"}"#, 1),
        (r#"[{"message":"two"},{"log":{"message":"three"}}]"#, 2),
        ("{\"message\":\"four\"}\n\n{\"message\":\"five\"}\n", 2),
        ("", 0),
    ] {
        assert_eq!(take(body).await, Ok(count), "{body}");
        assert_eq!(
            spool.durable(),
            spool.end(),
            "on the disk when it is answered"
        );
    }
    let before = spool.end();
    for body in ["{\"message\":\"six\"}\n[1]", "7", "{", "{\"a\":1}\nx"] {
        let error = take(body).await.unwrap_err();
        assert!(
            matches!(error, IntakeError::NotAnEvent(_)),
            "{body}: {error}"
        );
    }
    assert_eq!(spool.end(), before, "nothing of a request that is refused");
    let view = intake.cell().view();
    assert_eq!((view.events, view.refused), (5, 4));
    let found = stored(&spool);
    let messages: Vec<&str> = found
        .iter()
        .map(|(_, e)| e["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["one", "two", "three", "four", "five"]);
    assert_eq!(found[0].1["source_type"], "http_server");
    // The same request once more: the ids of before.
    take(r#"{"message":"one","timestamp":"2025-03-01T08:00:00Z"}"#)
        .await
        .unwrap();
    let again = stored(&spool).pop().unwrap();
    assert_eq!(again.0, found[0].0);
    let from_vector = r#"{"source_type":"docker_logs","host":"other","app":"shop","proc":"web","instance":3,"message":"m","event_id":"abc-1"}"#;
    take(from_vector).await.unwrap();
    let (id, event) = stored(&spool).pop().unwrap();
    assert_eq!(id, "abc-1");
    assert_eq!(event["source_type"], "docker_logs");
    assert_eq!(event["host"], "other");
}
