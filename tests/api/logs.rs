//! Queries over log events by the API: search, bars, values, neighbours, statistics, tail, export, saved
//! searches, and who may see what.

use crate::support::{ADMIN, Api, HELLO, NOTHING, READ, Send};
use lain::drivers::memory::MemoryStore;
use lain::logging::index::{Index, Options};
use lain::logging::query::fields;
use lain::logging::saved::Saved;
use lain::ports::clock::SystemClock;
use lain::ports::log_index::{IndexEvent, LogIndex, LogsPort};
use lain::ports::log_intake::{IntakeError, LogIntake, Writes};
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
async fn a_text_that_is_longer_than_described_is_refused() {
    let (api, _index) = with_index().await;
    let query = |length: usize| format!("logs/search?limit=1&query={}", "a".repeat(length));
    api.get(&query(4096)).await.is(200);
    api.get(&query(4097))
        .await
        .problem_is(400, "bad-parameter")
        .says("4097 characters, of which 4096 are taken");
    let from = "0".repeat(101);
    for path in ["search", "histogram", "export", "tail", "stats", "fields"] {
        let answer = api.get(&format!("logs/{path}?from={from}")).await;
        answer.problem_is(400, "bad-parameter");
    }
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

/// Keeps what it was told to take.
#[derive(Default)]
struct Taken(std::sync::Mutex<Vec<(String, Writes)>>);

#[async_trait::async_trait]
impl LogIntake for Taken {
    async fn take(&self, body: Vec<u8>, writes: Writes) -> Result<u64, IntakeError> {
        let body = String::from_utf8(body).unwrap();
        if body == "full" {
            return Err(IntakeError::NotNow("the log spool is full".to_owned()));
        }
        self.0.lock().unwrap().push((body, writes));
        Ok(1)
    }
}

#[tokio::test]
async fn events_are_taken_for_the_apps_that_a_token_may_write_for() {
    let api = Api::start().await;
    let post = |token: &str, path: &str, body: &'static str| {
        let request = api.bare(Method::POST, path).bearer_auth(token);
        request.body(body).answer()
    };
    let none = post(ADMIN, "logs/events", "{}").await;
    none.problem_is(503, "unavailable");
    let taken = Arc::new(Taken::default());
    api.control.take_in(taken.clone());
    for (token, path, status) in [
        (ADMIN, "logs/events", 200),
        (ADMIN, "logs/events?app=shop", 200),
        (HELLO, "logs/events", 200),
        (HELLO, "logs/events?app=hello", 200),
        (HELLO, "logs/events?app=shop", 403),
        (READ, "logs/events", 403),
        (READ, "logs/events?app=shop", 403),
        (NOTHING, "logs/events", 403),
    ] {
        let answer = post(token, path, "{}").await;
        assert_eq!(answer.status, status, "{token} {path}: {answer:?}");
    }
    let app = |name: &str| Writes::App(name.to_owned());
    let writes: Vec<Writes> = taken
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|t| t.1.clone())
        .collect();
    assert_eq!(
        writes,
        [Writes::All, app("shop"), app("hello"), app("hello")]
    );
    let full = post(ADMIN, "logs/events", "full").await;
    assert!(!full.header("retry-after").is_empty());
    full.problem_is(503, "unavailable");
    let packed = api.request(Method::POST, "logs/events").body("x");
    let packed = packed.header("content-encoding", "br").answer().await;
    packed.problem_is(415, "unsupported-media-type");
}

#[tokio::test]
async fn access_logs_are_summed_up_by_route() {
    let (api, index) = with_index().await;
    let request = |n: u32| {
        let at = format!("2025-03-01T01:{:02}:{:02}Z", n / 60, n % 60);
        let (path, status) = match n % 10 {
            0 => ("/broken", 502),
            1 | 2 => ("/missing \"x\"", 404),
            _ => ("/", 200),
        };
        let json = json!({
            "app": if n < 500 { "hello" } else { "shop" }, "message": "access",
            "url": {"path": path}, "http": {"response": {"status_code": status}},
            "event": {"duration": u64::from(n + 1) * 1_000_000},
        });
        IndexEvent {
            id: format!("{:032x}", n + 10_000),
            at: at.parse().unwrap(),
            json: serde_json::to_vec(&json).unwrap(),
        }
    };
    let all = (0..1000).map(request).collect();
    index.append(all).await.unwrap();
    let stats = api.get("logs/routes").await.json();
    assert_eq!(stats["by"], "url.path");
    assert_eq!(stats["quantiles"], json!([0.5, 0.95, 0.99]));
    let rows = stats["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    let (first, missing, broken) = (&rows[0], &rows[1], &rows[2]);
    assert_eq!(
        (&first["route"], &first["count"]),
        (&json!("/"), &json!(700))
    );
    assert_eq!(first["statuses"], json!({"2xx": 700}));
    assert_eq!(first["error_share"], 0.0);
    assert_eq!(first["max_ms"], 1000.0);
    let median = first["quantiles_ms"][0].as_f64().unwrap();
    assert!((median - 500.0).abs() < 10.0, "{median}");
    assert_eq!(missing["route"], "/missing \"x\"");
    assert_eq!(missing["statuses"], json!({"4xx": 200}));
    assert_eq!(broken["error_share"], 1.0);
    // A token for one app sees its own.
    let own = api.bare(
        Method::GET,
        "logs/routes?by=app&quantiles=0.5&query=url.path:*",
    );
    let own = own.bearer_auth(HELLO).answer().await.json();
    let rows = own["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0]["statuses"],
        json!({"2xx": 350, "4xx": 100, "5xx": 50})
    );
    for (path, code) in [
        ("logs/routes?quantiles=2", "bad-parameter"),
        ("logs/routes?query=a:(", "bad-parameter"),
        ("logs/routes?colour=red", "unknown-parameter"),
    ] {
        api.get(path).await.problem_is(400, code);
    }
}
