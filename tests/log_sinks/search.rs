//! Queries over a real Elasticsearch and OpenSearch, as lain's own sink fills it, beside the embedded index with the
//! same events: each part of the API answers the same.

use super::elasticsearch::{Elastic, Kind, seen};
use super::world::World;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use lain::config::{Config, FileSource, Sources};
use lain::logging::index::{Index, Options};
use lain::logging::setup;
use lain::ports::clock::{Clock, SystemClock};
use lain::ports::log_index::{
    HistogramRequest, Hit, IndexEvent, LogFilter, LogIndex, LogSearch, SearchRequest, StatsRequest,
};
use std::sync::Arc;
use std::time::Duration;

const QUERIES: &[&str] = &[
    "",
    "level: warn",
    "app: shop and instance: 2",
    "message: \"path to something\"",
    "message: quot* or fields.n >= 151",
    "not level: info",
    "seq >= 100 and seq < 120",
    "container_name: shop.*",
    "fields.no: 3",
    "fields.level: *",
    "node: n1 and stream: stderr",
    "nothing: here",
    "timestamp >= \"2025-03-01T08:00:00.100Z\" and timestamp < \"2025-03-01T08:00:00.2Z\"",
];

fn filter(query: &str) -> LogFilter {
    LogFilter {
        query: query.to_owned(),
        ..LogFilter::default()
    }
}

async fn all(on: &dyn LogSearch, query: &str, ascending: bool) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut after = None;
    loop {
        let page = on.search(SearchRequest {
            filter: filter(query),
            limit: 100,
            ascending,
            after,
            ..SearchRequest::default()
        });
        let page = page.await.unwrap();
        hits.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return hits,
        }
    }
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= a.abs().max(b.abs()) * 0.021 + 1e-9,
        (None, None) => true,
        _ => false,
    }
}

#[test]
fn elasticsearch_answers_as_the_embedded_index_does() {
    same(Kind::Elasticsearch);
}

#[test]
fn opensearch_answers_as_the_embedded_index_does() {
    same(Kind::OpenSearch);
}

fn same(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let elastic = Elastic::start(dir.path(), kind);
    let url = elastic.url();
    let sink = format!(
        "[[logging.sink]]\nname = \"es\"\ntype = \"elasticsearch\"\nurls = [\"{url}\"]\ntyped_fields = true\n"
    );
    let mut world = World::new(3, &sink);
    world.write(300);
    world.start();
    assert_eq!(world.all_arrive(|| seen(&elastic.documents("lain-*"))), 0);
    let documents = elastic.documents("lain-*");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let embedded = Index::open(Options::new(dir.path().join("index")), Arc::clone(&clock)).unwrap();
    let events = documents.iter().map(|document| {
        let mut event = document["_source"].as_object().unwrap().clone();
        event.remove("@timestamp");
        let at: DateTime<Utc> = event["timestamp"].as_str().unwrap().parse().unwrap();
        IndexEvent {
            id: event["event_id"].as_str().unwrap().to_owned(),
            at,
            json: serde_json::to_vec(&event).unwrap(),
        }
    });
    let events: Vec<_> = events.collect();
    // As the configuration wires it.
    let path = dir.path().join("search.toml");
    let text = format!("[log_search]\nbackend = \"elasticsearch\"\nurls = \"{url}\"\n");
    std::fs::write(&path, text).unwrap();
    let mut sources = Sources::isolated(dir.path());
    sources.files.push(FileSource {
        path,
        required: true,
    });
    let config = Config::load(&sources).unwrap();
    let server = setup::elastic(&config, clock).unwrap().unwrap();
    runtime.block_on(async {
        embedded.append(events).await.unwrap();
        compare(&*embedded, &server).await;
    });
    // The live tail has what comes from now on.
    let seen = runtime.block_on(async {
        let mut tail = server.tail(filter("app: shop")).await.unwrap();
        let recent = format!("{{\"create\":{{\"_id\":\"x1\"}}}}\n{{\"@timestamp\":\"{0}\",\"timestamp\":\"{0}\",\"app\":\"shop\",\"event_id\":\"x1\",\"message\":\"new\"}}\n", (Utc::now() + chrono::TimeDelta::seconds(1)).to_rfc3339());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let sent = client.post(format!("{url}/lain-2025.03.01/_bulk?refresh=true"));
        let sent = sent.header("content-type", "application/json").body(recent).send();
        assert!(sent.await.unwrap().status().is_success());
        let next = tokio::time::timeout(Duration::from_secs(30), tail.next()).await;
        next.unwrap().unwrap().unwrap()
    });
    assert_eq!(seen["event_id"], "x1");
    assert!(seen.get("@timestamp").is_none());
}

async fn compare(embedded: &dyn LogSearch, server: &dyn LogSearch) {
    for query in QUERIES {
        let (a, b) = (
            all(embedded, query, false).await,
            all(server, query, false).await,
        );
        let events = |hits: &[Hit]| hits.iter().map(|h| h.event.clone()).collect::<Vec<_>>();
        assert_eq!(events(&a), events(&b), "{query}");
        let mut ascending = events(&all(server, query, true).await);
        ascending.reverse();
        assert_eq!(events(&a), ascending, "{query}, oldest first");
        let count = server.count(filter(query)).await.unwrap();
        assert_eq!(count, a.len() as u64, "{query}");
        assert_eq!(
            embedded.count(filter(query)).await.unwrap(),
            count,
            "{query}"
        );
        for (interval, by) in [
            (None, None),
            (Some("50ms"), Some("level")),
            (Some("1d"), None),
        ] {
            let span = |text: &str| Some(text.to_owned());
            let request = HistogramRequest {
                filter: LogFilter {
                    from: span("2025-03-01T08:00:00Z"),
                    to: span("2025-03-01T08:00:00.4Z"),
                    ..filter(query)
                },
                interval: interval.map(str::to_owned),
                by: by.map(str::to_owned),
            };
            if a.is_empty() {
                continue;
            }
            let one = embedded.histogram(request.clone()).await.unwrap();
            let other = server.histogram(request).await.unwrap();
            assert_eq!(
                (one.interval, one.total),
                (other.interval, other.total),
                "{query}"
            );
            assert_eq!(one.bars, other.bars, "{query}");
        }
        for field in ["level", "instance", "stream", "fields.no"] {
            let one = embedded.top_values(filter(query), field, 10).await.unwrap();
            let other = server.top_values(filter(query), field, 10).await.unwrap();
            assert_eq!(one.values, other.values, "{query}: {field}");
            assert_eq!((one.with_value, one.total), (other.with_value, other.total));
        }
        let stats = |interval: Option<&str>| StatsRequest {
            filter: filter(query),
            field: Some("seq".to_owned()),
            by: Some("level".to_owned()),
            interval: interval.map(str::to_owned),
            quantiles: vec![0.5, 0.99],
            limit: 5,
        };
        for interval in [None, Some("100ms")] {
            if a.is_empty() {
                continue;
            }
            let one = embedded.stats(stats(interval)).await.unwrap().rows;
            let other = server.stats(stats(interval)).await.unwrap().rows;
            assert_eq!(one.len(), other.len(), "{query}: {one:?} {other:?}");
            for (a, b) in one.iter().zip(&other) {
                assert_eq!(
                    (&a.value, a.from, a.count, a.numbers, a.min, a.max),
                    (&b.value, b.from, b.count, b.numbers, b.min, b.max),
                    "{query}"
                );
                assert!(close(a.mean, b.mean), "{query}: {a:?} {b:?}");
            }
        }
    }
    let listed = server.fields(filter("level: warn"), true).await.unwrap();
    for field in embedded.fields(filter("level: warn"), true).await.unwrap() {
        let other = listed.iter().find(|f| f.name == field.name);
        if field.count.is_some_and(|count| count > 0) && !field.name.starts_with("label.") {
            let other = other.unwrap_or_else(|| panic!("{} is missing", field.name));
            assert_eq!(other.count, field.count, "{}", field.name);
        }
    }
    assert!(
        listed
            .iter()
            .all(|f| !f.name.contains('@') && f.name != "service.name")
    );
    let middle = |hits: Vec<Hit>| hits[hits.len() / 2].clone();
    let (a, b) = (
        middle(all(embedded, "level: warn", false).await),
        middle(all(server, "level: warn", false).await),
    );
    assert_eq!(a.event, b.event);
    let one = embedded
        .surrounding(filter("app: shop"), &a.cursor, 4, 6)
        .await
        .unwrap();
    let other = server
        .surrounding(filter("app: shop"), &b.cursor, 4, 6)
        .await
        .unwrap();
    let events = |hits: &[Hit]| hits.iter().map(|h| h.event.clone()).collect::<Vec<_>>();
    assert_eq!(events(&one.before), events(&other.before));
    assert_eq!(events(&one.after), events(&other.after));
    assert_eq!(one.anchor.unwrap().event, other.anchor.unwrap().event);
    let wrong = server.count(filter("level: (warn")).await;
    assert!(wrong.is_err(), "a wrong query is told of");
    assert_eq!(server.status().await.unwrap().events, 900);
}
