//! `lain logs query`: what is asked, and how events and bars are shown.

use crate::support::{Fake, json, lain, problem};
use serde_json::{Value, json as object};

fn hit(n: u32, level: &str) -> Value {
    let event = object!({
        "timestamp": format!("2025-03-01T00:00:0{n}Z"), "app": "shop", "proc": "web", "instance": 1, "level": level,
        "message": format!("line {n}"), "event_id": format!("id{n}"),
    });
    object!({ "cursor": format!("{n}.{n}"), "event": event })
}

#[test]
fn the_newest_events_are_shown_newest_last() {
    let answer = object!({ "items": [hit(2, "error"), hit(1, "info")], "next": null, "total": null, "took_ms": 1.0 });
    let fake = Fake::start().on("GET", "logs/search", json(200, &answer));
    let arguments = [
        "logs", "query", "level: *", "--from", "now-1h", "--app", "shop",
    ];
    let shown = lain(&fake, &arguments).run();
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert!(
        lines[0].starts_with("TIMESTAMP") && lines[0].ends_with("MESSAGE"),
        "{lines:?}"
    );
    assert!(
        lines[1].ends_with("line 1") && lines[2].ends_with("line 2"),
        "{lines:?}"
    );
    let asked = &fake.lines()[0];
    for part in [
        "query=level%3A+*",
        "from=now-1h",
        "to=now",
        "app=shop",
        "limit=100",
    ] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    let lines = lain(&fake, &["logs", "query", "-o", "ndjson"]).run().stdout;
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        (lines.lines().count(), &first["message"]),
        (2, &object!("line 2"))
    );
    let whole = lain(&fake, &["logs", "query", "-o", "json"]).run().stdout;
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["items"].as_array().unwrap().len(), 2);
}

#[test]
fn bars_are_drawn_or_given_as_they_are() {
    let bar = |second: u32, count: u32| object!({ "from": format!("2025-03-01T00:00:{second:02}Z"), "count": count });
    let bars: Vec<Value> = (0..50).map(|n| bar(n, n % 7)).collect();
    let answer = object!({ "interval": "1s", "bars": bars, "total": 147, "took_ms": 1.0 });
    let fake = Fake::start().on("GET", "logs/histogram", json(200, &answer));
    let shown = lain(&fake, &["logs", "query", "--histogram", "--interval", "1s"]).run();
    assert_eq!(
        (shown.code, shown.stdout.lines().count()),
        (0, 8),
        "{}",
        shown.stderr
    );
    assert!(
        shown.stdout.ends_with("147 events, 1s a bar\n"),
        "{}",
        shown.stdout
    );
    assert!(fake.lines()[0].contains("interval=1s"));
    let given = lain(&fake, &["logs", "query", "--histogram", "-o", "json"])
        .run()
        .stdout;
    assert_eq!(serde_json::from_str::<Value>(&given).unwrap(), answer);
}

#[test]
fn what_is_wrong_is_said() {
    let detail = "expected a value (at character 10 of the query)\n  status >= \n            ^";
    let fake = Fake::start().on("GET", "logs/search", problem(400, detail));
    let shown = lain(&fake, &["logs", "query", "status >= "]).run();
    assert!(
        shown.code != 0 && shown.stderr.contains("            ^"),
        "{}",
        shown.stderr
    );
    for arguments in [
        &["logs", "query", "--limit", "x"][..],
        &["logs", "query", "-f", "--histogram"],
        &["logs", "query", "--interval", "1s"],
    ] {
        assert_eq!(lain(&fake, arguments).run().code, 2, "{arguments:?}");
    }
    let empty = object!({ "items": [], "next": null });
    let fake = Fake::start().on("GET", "logs/search", json(200, &empty));
    let shown = lain(&fake, &["logs", "query", "x"]).run();
    assert_eq!((shown.code, shown.stdout.as_str()), (0, ""));
    assert!(shown.stderr.contains("no events match"));
}
