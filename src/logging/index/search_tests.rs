//! Neighbours, the live tail, and what a caller may see.

use super::index_tests::{all, clock, event, kql, line, second};
use super::*;
use crate::ports::log_index::{Hit, LogFilter, LogSearch, SearchRequest};
use futures_util::StreamExt;
use serde_json::json;

#[tokio::test]
async fn the_neighbours_of_an_event_are_found() {
    let index = Index::open(Options::in_memory(fields::of_events()), clock()).unwrap();
    index
        .append((0..50).map(|n| line(n, 1)).collect())
        .await
        .unwrap();
    let one = index
        .search(SearchRequest {
            filter: kql("seq: 20"),
            limit: 1,
            ..SearchRequest::default()
        })
        .await
        .unwrap();
    let cursor = &one.items[0].cursor;
    let around = index
        .surrounding(kql("app: app2"), cursor, 2, 3)
        .await
        .unwrap();
    let seqs = |hits: &[Hit]| {
        hits.iter()
            .map(|hit| hit.event["seq"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (seqs(&around.before), seqs(&around.after)),
        (vec![14, 17], vec![23, 26, 29])
    );
    assert_eq!(around.anchor.unwrap().event["seq"], 20);
    assert!(matches!(
        index.surrounding(all(), "1.1", 1, 1).await,
        Err(LogIndexError::NotFound(_))
    ));
    let foreign = LogFilter {
        apps: Some(vec!["app0".into()]),
        ..all()
    };
    assert!(index.surrounding(foreign, cursor, 1, 1).await.is_err());
}

#[tokio::test]
async fn the_tail_has_what_matches_at_once_also_of_fields_never_seen() {
    let index = Index::open(Options::in_memory(fields::of_events()), clock()).unwrap();
    let mut tail = index
        .tail(kql("level: error or brand_new: x"))
        .await
        .unwrap();
    index
        .append((0..15).map(|n| line(n, 1)).collect())
        .await
        .unwrap();
    index
        .append(vec![event(
            99,
            second(1, 99),
            json!({"brand_new": "x", "app": "y"}),
        )])
        .await
        .unwrap();
    for wanted in [0, 7, 14] {
        assert_eq!(tail.next().await.unwrap().unwrap()["seq"], wanted);
    }
    assert_eq!(tail.next().await.unwrap().unwrap()["brand_new"], "x");
}

#[tokio::test]
async fn apps_that_a_caller_may_not_see_are_not_found() {
    let index = Index::open(Options::in_memory(fields::of_events()), clock()).unwrap();
    index
        .append((0..30).map(|n| line(n, 1)).collect())
        .await
        .unwrap();
    let own = |query: &str| LogFilter {
        apps: Some(vec!["app1".into()]),
        ..kql(query)
    };
    for (query, count) in [
        ("", 10),
        ("app: app2", 0),
        ("not app: app1", 0),
        ("app: app2 or level: *", 10),
    ] {
        assert_eq!(index.count(own(query)).await.unwrap(), count, "{query}");
    }
    assert_eq!(
        index
            .count(LogFilter {
                apps: Some(vec![]),
                ..all()
            })
            .await
            .unwrap(),
        0
    );
}
