//! Queries over log events by the API: search, bars, values, neighbours, statistics, tail, export, saved
//! searches, and who may see what.

use crate::support::{Api, HELLO, NOTHING, READ, Send};
use lain::drivers::memory::MemoryStore;
use lain::logging::index::{Index, Options};
use lain::logging::query::fields;
use lain::logging::saved::Saved;
use lain::ports::clock::SystemClock;
use lain::ports::log_index::{IndexEvent, LogIndex, LogsPort};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn event(n: u32) -> IndexEvent {
    let at = format!("2025-03-01T00:{:02}:{:02}Z", n / 60, n % 60);
    let json = json!({
        "app": if n.is_multiple_of(2) { "hello" } else { "shop" }, "level": if n.is_multiple_of(5) { "error" } else { "info" }, "instance": n % 3,
        "message": format!("line {n}, \"quoted\""), "proc": "web", "status": 200 + n % 2 * 300, "seq": n,
    });
    IndexEvent {
        id: format!("{n:032x}"),
        at: at.parse().unwrap(),
        json: serde_json::to_vec(&json).unwrap(),
    }
}

async fn with_index() -> (Api, Arc<Index>) {
    let api = Api::start().await;
    let index = Index::open(
        Options::in_memory(fields::of_events()),
        Arc::new(SystemClock::new()),
    )
    .unwrap();
    index.append((0..600).map(event).collect()).await.unwrap();
    let saved = Saved::new(Arc::new(MemoryStore::new()));
    api.control.search_in(LogsPort {
        search: Arc::<Index>::clone(&index),
        saved: Arc::new(saved),
    });
    (api, index)
}

fn seqs(page: &Value) -> Vec<u64> {
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["event"]["seq"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn without_an_index_the_routes_say_so() {
    let api = Api::start().await;
    for path in [
        "logs/search",
        "logs/histogram",
        "logs/values?field=app",
        "logs/fields",
        "logs/tail",
        "logs/export",
        "logs/saved",
        "logs/index",
    ] {
        api.get(path)
            .await
            .problem_is(503, "unavailable")
            .says("no log index");
    }
}

#[tokio::test]
async fn a_search_pages_through_all_that_matches() {
    let (api, _index) = with_index().await;
    let first = api
        .get("logs/search?query=level:error%20and%20status:500&limit=40&count=true")
        .await
        .is(200)
        .json();
    assert_eq!(first["total"], 60);
    assert_eq!(seqs(&first)[..3], [595, 585, 575]);
    let next = first["next"].as_str().unwrap();
    let rest = api
        .get(&format!(
            "logs/search?query=level:error%20and%20status:500&after={next}"
        ))
        .await
        .is(200)
        .json();
    assert_eq!((seqs(&rest).len(), rest["next"].is_null()), (20, true));
    let oldest = api
        .get("logs/search?order=asc&limit=2&fields=seq,app")
        .await
        .is(200)
        .json();
    assert_eq!(
        oldest["items"][1]["event"],
        json!({"seq": 1, "app": "shop"})
    );
    let timed = api
        .get("logs/search?from=2025-03-01T00:01:00Z&to=2025-03-01T00:01&count=true&limit=1")
        .await
        .is(200)
        .json();
    assert_eq!(timed["total"], 60);
    let lucene = api
        .get("logs/search?language=lucene&query=seq:[3%20TO%205}&limit=9")
        .await
        .is(200)
        .json();
    assert_eq!(seqs(&lucene), [4, 3]);
}

#[tokio::test]
async fn a_wrong_query_is_refused_at_its_character() {
    let (api, _index) = with_index().await;
    for (query, column, code) in [
        ("level:INFO%20or%20(", 16, "query_syntax"),
        ("status:abc", 8, "query_refused"),
    ] {
        for path in ["search", "histogram", "export", "tail", "stats"] {
            let answer = api
                .get(&format!("logs/{path}?query={query}"))
                .await
                .problem_is(400, "bad-parameter");
            let error = &answer.json()["errors"][0];
            assert_eq!(
                (&error["column"], &error["code"]),
                (&json!(column), &json!(code)),
                "{path}"
            );
        }
    }
    for path in [
        "search?from=yesterday",
        "search?zone=Mars",
        "search?after=x",
        "histogram?interval=5x",
        "values",
        "values?field=message",
        "search?limit=0",
        "search?query=a&nonsense=1",
        "stats?field=app",
        "stats?quantiles=2",
        "surrounding",
    ] {
        assert_eq!(api.get(&format!("logs/{path}")).await.status, 400, "{path}");
    }
    api.get("logs/surrounding?cursor=1.1")
        .await
        .problem_is(404, "not-found");
}

#[tokio::test]
async fn bars_values_fields_neighbours_and_statistics_are_served() {
    let (api, _index) = with_index().await;
    let bars = api
        .get("logs/histogram?from=2025-03-01T00:00:00Z&to=2025-03-01T00:11:59Z&interval=1m&by=app")
        .await
        .is(200)
        .json();
    let counts: Vec<u64> = bars["bars"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bar| bar["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 0, 0]);
    assert_eq!(
        bars["bars"][0]["by"][0],
        json!({"value": "hello", "count": 30})
    );
    let values = api
        .get("logs/values?field=level&limit=1")
        .await
        .is(200)
        .json();
    assert_eq!(values["values"], json!([{"value": "info", "count": 480}]));
    let fields = api
        .get("logs/fields?counts=true&query=level:error")
        .await
        .is(200)
        .json();
    let status = fields["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["name"] == "status")
        .unwrap();
    assert_eq!(
        *status,
        json!({"name": "status", "types": ["long"], "count": 120})
    );
    let one = api.get("logs/search?query=seq:100").await.is(200).json();
    let cursor = one["items"][0]["cursor"].as_str().unwrap();
    let around = api
        .get(&format!(
            "logs/surrounding?cursor={cursor}&before=1&after=1&query=app:hello"
        ))
        .await
        .is(200)
        .json();
    let seq = |place: &str| around[place][0]["event"]["seq"].clone();
    assert_eq!(
        (
            seq("before"),
            &around["anchor"]["event"]["seq"],
            seq("after")
        ),
        (json!(98), &json!(100), json!(102))
    );
    let stats = api.get("logs/stats?field=status&by=app&quantiles=0.5,0.99&from=2025-03-01T00:00:00Z&to=2025-03-01T00:09:59Z").await.is(200).json();
    assert_eq!(stats["rows"][0]["count"], 300);
    assert_eq!(
        (&stats["rows"][0]["max"], &stats["rows"][1]["min"]),
        (&json!(200.0), &json!(500.0))
    );
    assert!((stats["rows"][0]["rate"].as_f64().unwrap() - 0.5).abs() < 0.001);
    assert_eq!(api.get("logs/index").await.is(200).json()["events"], 600);
}

#[tokio::test]
async fn a_token_of_one_app_sees_that_app_alone() {
    let (api, _index) = with_index().await;
    let get =
        |token: &'static str, path: &str| api.bare(Method::GET, path).bearer_auth(token).answer();
    for (path, total) in [
        ("logs/search?count=true", 300),
        ("logs/search?count=true&query=app:shop", 0),
        ("logs/search?count=true&query=not%20app:hello", 0),
    ] {
        assert_eq!(
            get(HELLO, path).await.is(200).json()["total"],
            total,
            "{path}"
        );
    }
    assert_eq!(
        get(READ, "logs/search?count=true&app=shop")
            .await
            .is(200)
            .json()["total"],
        300
    );
    assert_eq!(
        get(HELLO, "logs/values?field=app").await.is(200).json()["values"],
        json!([{"value": "hello", "count": 300}])
    );
    get(HELLO, "logs/search?app=shop")
        .await
        .problem_is(403, "forbidden");
    get(HELLO, "logs/saved").await.problem_is(403, "forbidden");
    get(NOTHING, "logs/search")
        .await
        .problem_is(403, "forbidden");
    let exported = get(HELLO, "logs/export?query=app:*").await.is(200).text;
    assert!(exported.lines().count() == 300 && !exported.contains("shop"));
    let shop = api.get("logs/search?query=seq:101").await.is(200).json();
    let cursor = shop["items"][0]["cursor"].as_str().unwrap();
    get(HELLO, &format!("logs/surrounding?cursor={cursor}"))
        .await
        .problem_is(404, "not-found");
}

#[tokio::test]
async fn an_export_has_everything_in_either_form() {
    let (api, index) = with_index().await;
    index
        .append((600..2500).map(event).collect())
        .await
        .unwrap();
    let lines = api.get("logs/export?order=asc").await.is(200);
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let read: Vec<u64> = lines
        .text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["seq"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(read, (0..2500).collect::<Vec<_>>());
    let csv = api
        .get("logs/export?format=csv&fields=seq,message&query=seq%20%3C%203")
        .await
        .is(200)
        .text;
    assert_eq!(
        csv,
        "seq,message\r\n2,\"line 2, \"\"quoted\"\"\"\r\n1,\"line 1, \"\"quoted\"\"\"\r\n0,\"line 0, \"\"quoted\"\"\"\r\n"
    );
}

#[tokio::test]
async fn the_tail_streams_what_matches_as_it_comes() {
    let (api, index) = with_index().await;
    let mut response = api
        .request(Method::GET, "logs/tail?query=app:shop")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    index.append((600..604).map(event).collect()).await.unwrap();
    let mut text = String::new();
    while text.matches("data: ").count() < 2 {
        let chunk = tokio::time::timeout(Duration::from_secs(5), response.chunk())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(
        text.contains("\"seq\":601")
            && text.contains("\"seq\":603")
            && !text.contains("\"seq\":600"),
        "{text}"
    );
}

#[tokio::test]
async fn searches_are_saved_read_listed_and_deleted() {
    let (api, _index) = with_index().await;
    let search = json!({"query": "level: error", "from": "now-1h", "fields": ["message"]});
    let put = |name: &str, body: &Value| {
        api.request(Method::PUT, &format!("logs/saved/{name}"))
            .json(body)
            .answer()
    };
    let kept = put("errors", &search).await.is(200).json();
    assert_eq!(api.get("logs/saved/errors").await.is(200).json(), kept);
    assert_eq!(
        api.get("logs/saved").await.is(200).json()["items"],
        json!([kept])
    );
    put("broken", &json!({"query": "("}))
        .await
        .problem_is(400, "bad-parameter");
    put("a%2Fb", &json!({}))
        .await
        .problem_is(400, "bad-parameter");
    put("x", &json!({"nonsense": 1})).await.is(400);
    api.request(Method::DELETE, "logs/saved/errors")
        .answer()
        .await
        .is(204);
    api.get("logs/saved/errors")
        .await
        .problem_is(404, "not-found");
    api.request(Method::DELETE, "logs/saved/errors")
        .answer()
        .await
        .problem_is(404, "not-found");
}
