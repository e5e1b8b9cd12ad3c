//! The index against the measure: what [`Plan::matches`] says of each event; over restarts, damage and
//! retention.

use super::*;
use crate::ports::clock::SystemClock;
use crate::ports::log_index::*;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn on_disk(folder: &Path) -> Arc<Index> {
    Index::open(
        Options {
            memory: 20 << 20,
            keep_days: 100_000,
            ..Options::new(folder.to_owned())
        },
        clock(),
    )
    .unwrap()
}

/// The n-th second of a day of March 2025.
pub(super) fn second(day: u32, n: u32) -> DateTime<Utc> {
    format!(
        "2025-03-{day:02}T{:02}:{:02}:{:02}.000000{:03}Z",
        n / 3600,
        n / 60 % 60,
        n % 60,
        n % 1000
    )
    .parse()
    .unwrap()
}

pub(super) fn event(n: u32, at: DateTime<Utc>, mut json: Value) -> IndexEvent {
    let id = format!("{n:032x}");
    json["event_id"] = id.clone().into();
    json["timestamp"] = encode::timestamp(at.timestamp_nanos_opt().unwrap()).into();
    IndexEvent {
        id,
        at,
        json: serde_json::to_vec(&json).unwrap(),
    }
}

pub(super) fn line(n: u32, day: u32) -> IndexEvent {
    let json = json!({
        "app": format!("app{}", n % 3), "host": "h", "instance": n % 5, "level": if n.is_multiple_of(7) { "error" } else { "info" },
        "message": format!("request {n} took {} ms", n % 100), "seq": n, "status": 200 + n % 4 * 100, "label": {"team": "core"},
        "stream": "stdout", "latency": f64::from(n % 50) / 2.0,
    });
    event(n, second(day, n), json)
}

pub(super) fn all() -> LogFilter {
    LogFilter::default()
}

pub(super) fn kql(query: &str) -> LogFilter {
    LogFilter {
        query: query.to_owned(),
        ..all()
    }
}

#[tokio::test]
async fn an_event_comes_back_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let index = on_disk(folder.path());
    let odd = json!({
        "message": "a \u{0}\u{1b}\"\u{fffd}😀\u{2028}", "app": "x", "label": {"a.b": "c", "e": ["f"]}, "nested": [{"x": 1}, {"x": null}],
        "big": 18_446_744_073_709_551_615_u64, "float": 1.5, "none": null, "empty": {}, "list": [], "back\\slash": "y", "a\nb": "z",
    });
    let events = vec![
        line(1, 1),
        event(2, second(1, 9), odd),
        event(3, second(1, 10), json!({"message": 7})),
        event(4, second(1, 11), json!({})),
    ];
    let mut other_id = event(5, second(2, 1), json!({"message": "m"}));
    other_id.id = "not-hex".to_owned();
    let wanted: Vec<Value> = events
        .iter()
        .map(|e| serde_json::from_slice(&e.json).unwrap())
        .collect();
    assert_eq!(index.append(events).await.unwrap().added, 4);
    assert_eq!(index.append(vec![other_id]).await.unwrap().added, 1);
    let request = SearchRequest {
        filter: all(),
        limit: 10,
        ascending: true,
        count: true,
        ..SearchRequest::default()
    };
    let page = index.search(request).await.unwrap();
    let found: Vec<Value> = page
        .items
        .iter()
        .map(|hit| Value::Object(hit.event.clone()))
        .collect();
    assert_eq!(found[..4], wanted);
    assert_eq!((page.total, page.next), (Some(5), None));
    for (query, count) in [
        ("event_id: not-hex", 1),
        (&*format!("event_id: {:032x}", 2), 1),
        ("event_id: nothing", 0),
        ("label.a.b: c", 1),
        ("big > 9", 1),
        ("message: *", 4),
        ("not message: *", 1),
        ("message: 7", 1),
        ("seq: 1", 1),
        ("seq: *", 1),
        ("nested.x: 1", 1),
        ("float: 1.5", 1),
        ("back\\\\slash: y", 1),
        ("event_id: not*", 1),
    ] {
        assert_eq!(index.count(kql(query)).await.unwrap(), count, "{query}");
    }
}

#[tokio::test]
async fn duplicates_are_known_within_a_batch_across_commits_and_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let index = on_disk(folder.path());
    let batch =
        |range: std::ops::Range<u32>| -> Vec<IndexEvent> { range.map(|n| line(n, 1)).collect() };
    let first = index
        .append([batch(0..100), batch(50..60)].concat())
        .await
        .unwrap();
    assert_eq!((first.added, first.duplicates), (100, 10));
    assert_eq!(index.append(batch(90..120)).await.unwrap().duplicates, 10);
    drop(index);
    for _ in 0..3 {
        let index = on_disk(folder.path());
        let again = index
            .append([batch(0..130), vec![line(500, 2)]].concat())
            .await
            .unwrap();
        assert_eq!(again.duplicates, again.duplicates.max(120));
        assert_eq!(index.count(all()).await.unwrap(), 131);
        // Older than all others, and new.
        let n = 10_000 + u32::try_from(again.added).unwrap();
        let late = event(
            n,
            second(1, 0) - chrono::TimeDelta::nanoseconds(i64::from(n)),
            json!({"message": "late"}),
        );
        let _ = index.append(vec![late.clone()]).await.unwrap();
        assert_eq!(index.append(vec![late]).await.unwrap().duplicates, 1);
        drop(index);
        std::fs::remove_dir_all(folder.path().join("2025-02-28")).unwrap();
    }
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_the_rest_goes_in() {
    let index = Index::open(Options::in_memory(fields::of_events()), clock()).unwrap();
    let broken = |id: &str, json: &str| IndexEvent {
        id: id.to_owned(),
        at: second(1, 1),
        json: json.as_bytes().to_vec(),
    };
    let appended = index
        .append(vec![broken("a", "[1]"), line(1, 1), broken("b", "{")])
        .await
        .unwrap();
    let refused: Vec<&str> = appended.refused.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((appended.added, refused), (1, vec!["a", "b"]));
    assert_eq!(index.count(all()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_damaged_day_is_set_aside_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let index = on_disk(folder.path());
    for day in 1..=3 {
        index
            .append((0..50).map(|n| line(n + day * 100, day)).collect())
            .await
            .unwrap();
    }
    drop(index);
    std::fs::write(folder.path().join("2025-03-02/segments/meta.json"), b"{").unwrap();
    let segment = std::fs::read_dir(folder.path().join("2025-03-03/segments"))
        .unwrap()
        .flatten();
    let store = segment
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "store"))
        .unwrap();
    let mut bytes = std::fs::read(&store).unwrap();
    bytes[10] ^= 0xff;
    std::fs::write(&store, bytes).unwrap();
    let index = on_disk(folder.path());
    assert_eq!(index.count(all()).await.unwrap(), 100);
    index.verify().await.unwrap();
    assert_eq!(index.count(all()).await.unwrap(), 50);
    let status = LogIndex::status(&*index);
    assert_eq!(
        (status.days, status.damaged.len()),
        (vec!["2025-03-01".to_owned()], 2)
    );
    assert!(folder.path().join("damaged-2025-03-02-1").exists());
    // The events can be indexed again.
    let again = index
        .append((0..50).map(|n| line(n + 200, 2)).collect())
        .await
        .unwrap();
    assert_eq!((again.added, index.count(all()).await.unwrap()), (50, 100));
}

#[test]
fn old_days_and_the_oldest_of_too_many_bytes_go() {
    let day = |n| NaiveDate::from_ymd_opt(2025, 3, n).unwrap();
    let days = [(day(1), 10), (day(2), 10), (day(3), 10), (day(4), 50)];
    for (keep_days, keep_bytes, gone) in [
        (30, 1000, vec![]),
        (3, 1000, vec![1]),
        (1, 1000, vec![1, 2, 3]),
        (30, 65, vec![1, 2]),
        (30, 5, vec![1, 2, 3]),
    ] {
        let wanted: Vec<NaiveDate> = gone.into_iter().map(day).collect();
        assert_eq!(
            surplus(&days, day(4), keep_days, keep_bytes),
            wanted,
            "{keep_days} {keep_bytes}"
        );
    }
}

#[tokio::test]
async fn retention_removes_whole_days() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(
        Options {
            keep_days: 3,
            ..Options::new(folder.path().to_owned())
        },
        clock(),
    )
    .unwrap();
    let now = Utc::now();
    for (n, age) in [(1, 0), (2, 1), (3, 5)] {
        index
            .append(vec![event(
                n,
                now - chrono::TimeDelta::days(age),
                json!({"message": "x"}),
            )])
            .await
            .unwrap();
    }
    assert_eq!(index.ask(Job::Retain).await.unwrap().unwrap().len(), 1);
    assert_eq!(index.count(all()).await.unwrap(), 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn pages_cover_everything_once_in_either_order() {
    let index = Index::open(Options::in_memory(fields::of_events()), clock()).unwrap();
    // Three days, several segments, and many events of the same time.
    for part in 0..4 {
        let events = (0..100).map(|n| {
            let number = part * 100 + n;
            event(
                number,
                second(1 + n % 3, n / 10),
                json!({"message": format!("m {number}"), "app": "a"}),
            )
        });
        index.append(events.collect()).await.unwrap();
    }
    for ascending in [true, false] {
        for limit in [1, 7, 100, 399, 400, 1000] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let request = SearchRequest {
                    filter: kql("app: a"),
                    limit,
                    ascending,
                    after,
                    ..SearchRequest::default()
                };
                let page = index.search(request).await.unwrap();
                seen.extend(page.items.iter().map(|hit| {
                    (
                        hit.event["timestamp"].to_string(),
                        hit.event["event_id"].to_string(),
                    )
                }));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(
                seen.iter()
                    .map(|(_, id)| id)
                    .collect::<std::collections::BTreeSet<_>>()
                    .len(),
                400,
                "{limit}"
            );
            assert_eq!(seen.len(), 400);
            let times: Vec<&String> = seen.iter().map(|(at, _)| at).collect();
            assert!(if ascending {
                times.is_sorted()
            } else {
                times.is_sorted_by(|a, b| a >= b)
            });
        }
    }
}

#[tokio::test]
async fn bars_values_fields_and_statistics_are_right() {
    let index = Index::open(Options::in_memory(fields::of_events()), clock()).unwrap();
    for part in 0..3 {
        index
            .append((part * 200..part * 200 + 200).map(|n| line(n, 1)).collect())
            .await
            .unwrap();
    }
    let timed = LogFilter {
        from: Some("2025-03-01T00:00:00Z".into()),
        to: Some("2025-03-01T00:09:59Z".into()),
        ..kql("level: error")
    };
    let request = HistogramRequest {
        filter: timed.clone(),
        interval: Some("1m".into()),
        by: Some("app".into()),
    };
    let histogram = index.histogram(request).await.unwrap();
    assert_eq!(histogram.bars.len(), 10);
    let expected = |bar: u32| (bar * 60..bar * 60 + 60).filter(|n| n % 7 == 0).count() as u64;
    for (n, bar) in (0..).zip(&histogram.bars) {
        assert_eq!(bar.count, expected(n));
        assert_eq!(bar.by.iter().map(|v| v.count).sum::<u64>(), bar.count);
    }
    let automatic = index
        .histogram(HistogramRequest {
            filter: timed,
            ..HistogramRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(
        (automatic.interval.as_str(), automatic.total),
        ("10s", histogram.total)
    );
    let top = index.top_values(all(), "status", 2).await.unwrap();
    assert_eq!((top.total, top.with_value), (600, 600));
    assert_eq!(
        top.values,
        [200, 300].map(|value| ValueCount {
            value: value.into(),
            count: 150
        })
    );
    assert_eq!(
        index
            .top_values(kql("app: app1"), "app", 9)
            .await
            .unwrap()
            .values,
        [ValueCount {
            value: "app1".into(),
            count: 200
        }]
    );
    assert!(index.top_values(all(), "message", 9).await.is_err());
    let fields = index.fields(kql("level: error"), true).await.unwrap();
    let field = |name: &str| fields.iter().find(|f| f.name == name).unwrap();
    assert_eq!(
        field("status"),
        &FieldView {
            name: "status".into(),
            types: vec!["long".into()],
            count: Some(86)
        }
    );
    assert_eq!(field("label.team").types, ["keyword"]);
    assert_eq!(field("node").count, Some(0));
    let request = StatsRequest {
        filter: all(),
        field: Some("latency".into()),
        by: Some("app".into()),
        quantiles: vec![0.5, 0.99],
        limit: 10,
        ..StatsRequest::default()
    };
    let rows = index.stats(request).await.unwrap().rows;
    assert_eq!(
        rows.iter()
            .map(|row| (row.count, row.numbers))
            .collect::<Vec<_>>(),
        [(200, 200); 3]
    );
    for row in rows {
        assert_eq!((row.min, row.max), (Some(0.0), Some(24.5)));
        assert!(
            (row.quantiles[0] - 12.0).abs() < 0.6 && (row.quantiles[1] - 24.5).abs() < 0.6,
            "{row:?}"
        );
    }
}
