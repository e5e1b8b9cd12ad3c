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

#[test]
fn numbers_are_tables_with_a_picture_or_given_as_they_are() {
    let rows = object!([
        { "value": "/a", "count": 80, "rate": 1.5, "numbers": 80, "min": 1.0, "mean": 2.5, "max": 9.0, "quantiles": [2.0, 8.123] },
        { "value": "/b", "count": 4, "rate": 0.01, "numbers": 0 },
    ]);
    let fake = Fake::start().on(
        "GET",
        "logs/stats",
        json(200, object!({ "rows": rows, "took_ms": 1.0 })),
    );
    let arguments = [
        "logs",
        "stats",
        "app: shop",
        "--field",
        "event.duration",
        "--by",
        "url.path",
        "--quantiles",
        "0.5,0.99",
    ];
    let shown = lain(&fake, &arguments).run();
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let lines: Vec<Vec<&str>> = shown
        .stdout
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "URL.PATH", "COUNT", "RATE", "MIN", "MEAN", "P50", "P99", "MAX"
        ]
    );
    assert_eq!(
        lines[1][..8],
        ["/a", "80", "1.50/s", "1", "2.50", "2", "8.12", "9"]
    );
    assert_eq!(
        lines[2][..8],
        ["/b", "4", "0.0100/s", "-", "-", "-", "-", "-"]
    );
    assert!(lines[1][8].len() > lines[2][8].len(), "{lines:?}");
    let asked = &fake.lines()[0];
    for part in [
        "field=event.duration",
        "by=url.path",
        "quantiles=0.5%2C0.99",
        "limit=20",
        "from=now-15m",
    ] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    let whole = lain(&fake, &["logs", "stats", "-o", "json"]).run().stdout;
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["rows"].as_array().unwrap().len(), 2);
    let asked = &fake.lines()[1];
    assert!(
        !asked.contains("quantiles") && !asked.contains("limit"),
        "{asked}"
    );
}

#[test]
fn routes_are_shown_with_their_statuses() {
    let rows = object!([
        { "route": "/", "count": 10, "rate": 0.5, "statuses": {"2xx": 9, "5xx": 1}, "error_share": 0.1,
          "mean_ms": 3.0, "max_ms": 12.5, "quantiles_ms": [2.0, 12.5] },
        { "route": "/x", "count": 1, "rate": 0.1, "statuses": {"4xx": 1}, "error_share": 0.0 },
    ]);
    let answer =
        object!({ "by": "url.path", "quantiles": [0.5, 0.99], "rows": rows, "took_ms": 1.0 });
    let fake = Fake::start().on("GET", "logs/routes", json(200, &answer));
    let shown = lain(&fake, &["logs", "routes", "--from", "now-1h"]).run();
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let lines: Vec<Vec<&str>> = shown
        .stdout
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "ROUTE", "COUNT", "RATE", "2XX", "3XX", "4XX", "5XX", "P50", "P99", "MAX"
        ]
    );
    assert_eq!(
        lines[1][..10],
        [
            "/", "10", "0.5000/s", "9", "0", "0", "1", "2ms", "12.5ms", "12.5ms"
        ]
    );
    assert_eq!(
        lines[2][..10],
        ["/x", "1", "0.1000/s", "0", "0", "1", "0", "-", "-", "-"]
    );
    let empty = object!({ "by": "url.path", "quantiles": [], "rows": [], "took_ms": 1.0 });
    let fake = Fake::start().on("GET", "logs/routes", json(200, &empty));
    let shown = lain(&fake, &["logs", "routes"]).run();
    assert!(
        shown.stderr.contains("no access logs match"),
        "{}",
        shown.stderr
    );
}

#[test]
fn inputs_are_listed() {
    let input = object!({
        "name": "net", "kind": "syslog", "at": "tcp 127.0.0.1:5514", "state": "running", "events": 7, "bytes": 99,
        "malformed": 1, "truncated": 2, "dropped": 3, "refused": 4, "connections": 5,
        "last_event_at": null, "last_error": null, "last_error_at": null,
    });
    let fake = Fake::start().on(
        "GET",
        "inputs",
        json(200, object!({ "items": [input], "next": null })),
    );
    let shown = lain(&fake, &["input", "list"]).run();
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for word in ["net", "syslog", "tcp 127.0.0.1:5514", "running", "7"] {
        assert!(shown.stdout.contains(word), "{word}: {}", shown.stdout);
    }
}
