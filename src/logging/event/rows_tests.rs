//! Rows V1 to V8 and V10 of Vector's event form, one test each. V9 needs a receiver: `tests/log_sinks`.

use super::{Encoder, decode};
use crate::domain::log::{DOCKER, Level, LogBody, LogEvent, LogSource, PROCESS, Stamp, Stream};
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

fn source() -> LogSource {
    LogSource {
        source_type: DOCKER.to_owned(),
        host: "n1.example".to_owned(),
        node: "n1".to_owned(),
        app: "shop".to_owned(),
        proc_type: "web".to_owned(),
        proc: "front".to_owned(),
        instance: 2,
        revision: 7,
        container_id: "ab".repeat(32),
        container_name: "shop.web.front.v7-i2-d0".to_owned(),
        container_created_at: Some(Stamp(1_740_816_000_000_000_000)),
        image: "shop:1".to_owned(),
        labels: BTreeMap::from([("cc.bdp.lain.x".to_owned(), "y".to_owned())]),
        file: None,
    }
}

fn event(source: LogSource, at: i64, message: &[u8]) -> LogEvent {
    LogEvent {
        source: Arc::new(source),
        at: Stamp(at),
        seq: 9,
        ordinal: 1,
        body: LogBody::Line {
            stream: Stream::Stderr,
            level: Some(Level::Warn),
            truncated: false,
            message: message.to_vec().into(),
        },
    }
}

fn encode(event: &LogEvent) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().encode(event, &mut out);
    out
}

fn parse(text: &[u8]) -> Map<String, Value> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(map)) => map,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(text)),
    }
}

const AT: i64 = 1_740_816_000_123_456_789;

/// The keys of V1, all of them strings but `label`.
fn has_vectors_keys(map: &Map<String, Value>) {
    for key in [
        "message",
        "timestamp",
        "host",
        "source_type",
        "stream",
        "container_id",
        "container_name",
        "container_created_at",
        "image",
    ] {
        assert!(map[key].is_string(), "{key}: {:?}", map.get(key));
    }
    let label = map["label"].as_object().unwrap();
    assert!(label.values().all(Value::is_string));
    for key in ["timestamp", "container_created_at"] {
        let text = map[key].as_str().unwrap();
        assert!(text.ends_with('Z'), "{text}");
        DateTime::parse_from_rfc3339(text).unwrap();
    }
}

#[test]
fn row_v1_every_line_is_one_object_with_vectors_keys() {
    for message in [
        &b"plain"[..],
        b"",
        b"{\"a\":1}",
        b"\xff\xfe",
        b"a\nb",
        b"\"quoted\" \\ \x1b[31m",
    ] {
        let text = encode(&event(source(), AT, message));
        assert!(!text.contains(&b'\n'), "one line");
        has_vectors_keys(&parse(&text));
    }
    let bare = LogSource {
        labels: BTreeMap::new(),
        ..source()
    };
    let map = parse(&encode(&event(bare, AT, b"x")));
    assert!(!map.contains_key("label"), "absent when there are none");
}

#[test]
fn row_v2_the_source_type_says_where_a_line_came_from() {
    for kind in [DOCKER, PROCESS] {
        let of = LogSource {
            source_type: kind.to_owned(),
            ..source()
        };
        assert_eq!(parse(&encode(&event(of, AT, b"x")))["source_type"], kind);
    }
    assert_eq!((DOCKER, PROCESS), ("docker_logs", "lain_process"));
}

#[test]
fn row_v3_what_we_add_are_new_keys_in_snake_case() {
    let mut cut = event(source(), AT, b"{\"Status\":200,\"message\":\"inner\"}\xff");
    let whole = event(source(), AT, b"{\"Status\":200,\"message\":\"inner\"}");
    if let LogBody::Line { truncated, .. } = &mut cut.body {
        *truncated = true;
    }
    let ours = [
        "app",
        "event_id",
        "fields",
        "instance",
        "level",
        "message_base64",
        "node",
        "proc",
        "proc_type",
        "revision",
        "seq",
        "truncated",
    ];
    for event in [cut, whole] {
        let map = parse(&encode(&event));
        has_vectors_keys(&map);
        let vectors = [
            "container_created_at",
            "container_id",
            "container_name",
            "host",
            "image",
            "label",
            "message",
            "source_type",
            "stream",
            "timestamp",
        ];
        for key in map.keys() {
            assert!(
                ours.contains(&key.as_str()) || vectors.contains(&key.as_str()),
                "{key}"
            );
            assert!(
                key.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{key}"
            );
        }
        assert_eq!(map["app"], "shop");
        assert_eq!(map["proc"], "front");
        assert_eq!(map["proc_type"], "web");
        assert_eq!(map["instance"], 2);
        assert_eq!(map["revision"], 7);
        assert_eq!(map["seq"], 9);
        assert_eq!(map["level"], "warn");
    }
    let map = parse(&encode(&event(
        source(),
        AT,
        b"{\"Status\":200,\"message\":\"inner\"}",
    )));
    assert_eq!(map["fields"]["Status"], 200);
    assert_eq!(
        map["message"], "{\"Status\":200,\"message\":\"inner\"}",
        "the line itself stays"
    );
}

#[test]
fn row_v4_timestamps_have_0_3_6_or_9_digits_and_dockers_instant() {
    for (nanos, text) in [
        (0, "2025-03-01T08:00:00Z"),
        (120_000_000, "2025-03-01T08:00:00.120Z"),
        (123_456_000, "2025-03-01T08:00:00.123456Z"),
        (123_456_789, "2025-03-01T08:00:00.123456789Z"),
        (1, "2025-03-01T08:00:00.000000001Z"),
    ] {
        let at = 1_740_816_000_000_000_000 + nanos;
        let map = parse(&encode(&event(source(), at, b"x")));
        assert_eq!(map["timestamp"], text);
        let back: DateTime<Utc> = text.parse().unwrap();
        assert_eq!(back.timestamp_nanos_opt(), Some(at));
    }
}

/// What was decoded, encoded again.
fn again(text: &[u8]) -> Vec<u8> {
    let mut events = decode::lines(text, Stamp(0)).unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0).text()
}

#[test]
fn row_v5_odd_bytes_survive_encode_decode_encode() {
    for message in [
        &b"\xff\xfe\x80 not UTF-8"[..],
        b"a\0b",
        b"\x1b[31mred\x1b[0m",
        b"\"quotes\" and \\backslashes\\ and \ttabs",
        "emoji 🦀 and U+2028 \u{2028} end".as_bytes(),
        b"{\"n\":1.50,\"big\":18446744073709551615,\"e\":1e3}",
    ] {
        let text = encode(&event(source(), AT, message));
        assert_eq!(again(&text), text, "{}", String::from_utf8_lossy(&text));
        let map = parse(&text);
        if std::str::from_utf8(message).is_err() {
            use base64::Engine;
            let kept = map["message_base64"].as_str().unwrap();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(kept)
                .unwrap();
            assert_eq!(bytes, message, "bytes that are no UTF-8 survive");
        }
    }
}

proptest! {
    #[test]
    fn row_v5_any_bytes_survive_encode_decode_encode(message in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = encode(&event(source(), AT, &message));
        prop_assert_eq!(again(&text), text);
    }
}

#[test]
fn row_v6_inputs_are_objects_wrapped_objects_and_arrays() {
    let arrival = Stamp(AT);
    let read = |body: &str| decode::lines(body.as_bytes(), arrival).unwrap();
    let one =
        read("{\"message\":\"a\",\"timestamp\":\"2025-03-01T08:00:00Z\",\"odd\":{\"x\":[1]}}\n");
    assert_eq!(one[0].at, Stamp(1_740_816_000_000_000_000));
    assert_eq!(one[0].object["odd"]["x"][0], 1, "unknown keys are kept");
    let wrapped = read("{\"log\":{\"message\":\"b\"}}");
    assert_eq!(wrapped[0].object["message"], "b");
    assert_eq!(
        wrapped[0].at, arrival,
        "a missing timestamp becomes arrival"
    );
    assert_eq!(
        wrapped[0].object["timestamp"],
        "2025-03-01T08:00:00.123456789Z"
    );
    let many = read("[{\"message\":\"c\"},{\"log\":{\"message\":\"d\"}}]\n{\"message\":\"e\"}\n");
    let messages: Vec<_> = many
        .iter()
        .map(|e| e.object["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["c", "d", "e"]);
    let kept = read("{\"log\":\"a key of one's own\",\"message\":\"f\"}");
    assert_eq!(kept[0].object["log"], "a key of one's own");
}

#[test]
fn row_v7_an_input_that_is_no_object_is_refused_with_its_line() {
    for (body, line) in [
        ("{\"a\":1}\n7\n", 2),
        ("\"text\"", 1),
        ("[1]", 1),
        ("{\"a\":1}\n\n{oops\n{\"b\":2}", 3),
        ("null", 1),
    ] {
        let error = decode::lines(body.as_bytes(), Stamp(0)).unwrap_err();
        assert_eq!(error.line, line, "{body}: {error}");
    }
}

#[test]
fn row_v8_empty_lines_are_ignored() {
    let events = decode::lines(b"\n\n{\"a\":1}\n  \r\n{\"b\":2}\n\n", Stamp(0)).unwrap();
    assert_eq!(events.len(), 2);
    assert!(decode::lines(b"\n \n", Stamp(0)).unwrap().is_empty());
    assert!(decode::lines(b"", Stamp(0)).unwrap().is_empty());
}

#[test]
fn row_v10_one_event_has_one_encoding() {
    let text = encode(&event(source(), AT, b"{\"z\":1,\"a\":2}"));
    let wanted = format!(
        "{{\"app\":\"shop\",\"container_created_at\":\"2025-03-01T08:00:00Z\",\"container_id\":\"{}\",\
         \"container_name\":\"shop.web.front.v7-i2-d0\",\"event_id\":\"{}\",\"fields\":{{\"a\":2,\"z\":1}},\
         \"host\":\"n1.example\",\"image\":\"shop:1\",\"instance\":2,\"label\":{{\"cc.bdp.lain.x\":\"y\"}},\
         \"level\":\"warn\",\"message\":\"{{\\\"z\\\":1,\\\"a\\\":2}}\",\"node\":\"n1\",\"proc\":\"front\",\
         \"proc_type\":\"web\",\"revision\":7,\"seq\":9,\"source_type\":\"docker_logs\",\"stream\":\"stderr\",\
         \"timestamp\":\"2025-03-01T08:00:00.123456789Z\"}}",
        "ab".repeat(32),
        parse(&text)["event_id"].as_str().unwrap(),
    );
    assert_eq!(String::from_utf8(text.clone()).unwrap(), wanted);
    // Through another encoder, through one that has met other sources, and through serde_json.
    let mut used = Encoder::default();
    used.encode(&event(LogSource::default(), 0, b"other"), &mut Vec::new());
    let mut second = Vec::new();
    used.encode(&event(source(), AT, b"{\"z\":1,\"a\":2}"), &mut second);
    assert_eq!(second, text);
    assert_eq!(serde_json::to_vec(&parse(&text)).unwrap(), text);
}
