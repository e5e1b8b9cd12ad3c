//! Every case of `tests/data/kql-cases.json`, and of the file that `LAIN_KQL_CASES` names, on the embedded
//! index and, by the same plan, on a real Elasticsearch.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

mod elastic_support;

use chrono::{DateTime, Utc};
use elastic_support::Server;
use lain::logging::elastic::{ElasticSearch, Target};
use lain::logging::index::{Index, Options};
use lain::logging::query::{FieldType, Fields};
use lain::ports::clock::Clock;
use lain::ports::log_index::{
    IndexEvent, LogFilter, LogIndex, LogIndexError, LogSearch, QueryLanguage, SearchRequest,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// A clock that stands where a case wants it.
struct At(Mutex<DateTime<Utc>>);

impl Clock for At {
    fn now_utc(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

struct Cases {
    file: String,
    mapping: Map<String, Value>,
    docsets: BTreeMap<String, Vec<Map<String, Value>>>,
    cases: Vec<Value>,
}

impl Cases {
    fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let whole: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let cases = whole["cases"].as_array().unwrap().clone();
        assert!(!cases.is_empty(), "{path} has no cases");
        Self {
            file: path.to_owned(),
            mapping: whole["mapping"].as_object().unwrap().clone(),
            docsets: serde_json::from_value(whole["docsets"].clone()).unwrap(),
            cases,
        }
    }

    /// The checked-in file, and another one if it is named.
    fn all() -> Vec<Self> {
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/kql-cases.json").to_owned();
        let other = std::env::var("LAIN_KQL_CASES")
            .ok()
            .filter(|path| !path.is_empty());
        [Some(own), other]
            .into_iter()
            .flatten()
            .map(|path| Self::read(&path))
            .collect()
    }

    fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        for (name, kind) in &self.mapping {
            let kind = kind.as_str().unwrap();
            fields.add(
                name,
                FieldType::of(kind).unwrap_or_else(|| panic!("type {kind}")),
            );
        }
        fields
    }

    /// Runs every case of a document set; what differs.
    async fn run(&self, docs: &str, on: &dyn LogSearch, clock: &At) -> Vec<String> {
        let mut faults = Vec::new();
        for case in self.cases.iter().filter(|case| case["docs"] == docs) {
            *clock.0.lock().unwrap() = case["now"].as_str().unwrap().parse().unwrap();
            let wanted: Vec<&Value> = match case["expect_any_of"].as_array() {
                Some(any) => any.iter().collect(),
                None => vec![case],
            };
            let found = outcome(case, on).await;
            if !wanted.iter().any(|wanted| fits(wanted, &found)) {
                faults.push(format!(
                    "{} {:?}: {found:?}, wanted {}",
                    case["id"],
                    case["query"].as_str().unwrap(),
                    json!(wanted)
                ));
            }
        }
        faults
    }
}

async fn outcome(case: &Value, on: &dyn LogSearch) -> Result<BTreeSet<String>, LogIndexError> {
    let filter = LogFilter {
        query: case["query"].as_str().unwrap().to_owned(),
        language: match case["lang"].as_str() {
            Some("lucene") => QueryLanguage::Lucene,
            _ => QueryLanguage::Kql,
        },
        ..LogFilter::default()
    };
    let request = SearchRequest {
        filter: filter.clone(),
        limit: 1000,
        count: true,
        ..SearchRequest::default()
    };
    let page = on.search(request).await?;
    let ids: BTreeSet<String> = page
        .items
        .iter()
        .map(|hit| hit.event["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(page.total, Some(ids.len() as u64), "{case}");
    assert_eq!(on.count(filter).await?, ids.len() as u64, "{case}");
    Ok(ids)
}

/// Whether an outcome is the wanted one: a list of ids, an object with `expect`, or one with `expect_error`.
fn fits(wanted: &Value, found: &Result<BTreeSet<String>, LogIndexError>) -> bool {
    let ids = wanted.as_array().or(wanted["expect"].as_array());
    match (ids, found) {
        (Some(ids), Ok(found)) => {
            *found
                == ids
                    .iter()
                    .map(|id| id.as_str().unwrap().to_owned())
                    .collect()
        }
        (None, Err(LogIndexError::Query { offset, syntax, .. })) => {
            let kind = wanted["expect_error"]
                .as_str()
                .or(wanted["error"].as_str())
                .or(wanted.as_str());
            let right = match kind {
                Some("syntax") => *syntax,
                Some("query") => !*syntax,
                Some("error" | "any") => true,
                _ => false,
            };
            let at = wanted["error_offset"].as_u64();
            right && at.is_none_or(|at| at == *offset as u64)
        }
        _ => false,
    }
}

fn at_start() -> Arc<At> {
    Arc::new(At(Mutex::new("2025-03-01T10:00:00Z".parse().unwrap())))
}

fn report(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} cases differ:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kql_cases_on_the_embedded_index() {
    let (mut faults, mut run) = (Vec::new(), 0);
    for cases in Cases::all() {
        for (name, docs) in &cases.docsets {
            let clock = at_start();
            let index =
                Index::open(Options::in_memory(cases.fields()), Arc::<At>::clone(&clock)).unwrap();
            // One by one, so that there are several segments.
            for doc in docs {
                let at = doc
                    .get("timestamp")
                    .or(doc.get("@timestamp"))
                    .and_then(Value::as_str);
                let mut json = doc.clone();
                let id = json.remove("_id").unwrap();
                let event = IndexEvent {
                    id: id.as_str().unwrap().to_owned(),
                    at: at.map_or(DateTime::UNIX_EPOCH, |at| at.parse().unwrap()),
                    json: serde_json::to_vec(&json).unwrap(),
                };
                let appended = index.append(vec![event]).await.unwrap();
                assert_eq!((appended.added, appended.refused), (1, vec![]));
            }
            let found = cases.run(name, &*index, &clock).await;
            faults.extend(
                found
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", cases.file)),
            );
        }
        run += cases.cases.len();
    }
    report(&faults);
    assert!(run >= 45, "only {run} cases were run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kql_cases_on_elasticsearch() {
    let server = Server::start().await;
    let mut faults = Vec::new();
    for (n, cases) in Cases::all().into_iter().enumerate() {
        for (name, docs) in &cases.docsets {
            let index = format!("cases-{n}-{}", name.to_lowercase());
            let mut properties = Map::new();
            for (field, kind) in cases
                .mapping
                .iter()
                .chain([(&"event_id".to_owned(), &json!("keyword"))])
            {
                property(&mut properties, field, kind);
            }
            server
                .create(
                    &index,
                    &json!({"mappings": {"dynamic": true, "properties": properties}}),
                )
                .await;
            let docs = docs.iter().map(|doc| {
                let mut doc = doc.clone();
                let id = doc.remove("_id").unwrap();
                doc.insert("event_id".to_owned(), id.clone());
                (id.as_str().unwrap().to_owned(), doc)
            });
            server.index(&index, docs).await;
            let clock = at_start();
            let search = ElasticSearch::new(
                server.client(),
                Target::plain(&index),
                Arc::<At>::clone(&clock),
            );
            let found = cases.run(name, &search, &clock).await;
            faults.extend(
                found
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", cases.file)),
            );
        }
    }
    report(&faults);
}

/// A field of a mapping, in the objects of its dotted name.
fn property(properties: &mut Map<String, Value>, name: &str, kind: &Value) {
    match name.split_once('.') {
        None => {
            let of = properties.entry(name).or_insert_with(|| json!({}));
            of["type"] = kind.clone();
        }
        Some((first, rest)) => {
            let of = properties.entry(first).or_insert_with(|| json!({}));
            let inner = of
                .as_object_mut()
                .unwrap()
                .entry("properties")
                .or_insert_with(|| json!({}));
            property(inner.as_object_mut().unwrap(), rest, kind);
        }
    }
}

/// Our words are the standard analyzer's, by the server's own account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_those_of_the_standard_analyzer() {
    let server = Server::start().await;
    for text in [
        "order_id=42 created for user_7",
        "disk usage 91.5% on /dev/vda1",
        "version v1.2.3 started at 10.0.0.1:8080",
        "ORDER 42 shipped; order-id 43 pending",
        "it's key:value a:1 1,000;2 x.y. _ __ _a a_ a__b 1_2",
        "Héllo: wörld:über ÀÉ 1.5e-3",
        "日本語 テスト カタカナ 한국어 ok",
        "İstanbul STRASSE ß ﬁ",
        "a@b.example.com http://x.y/z?q=1&r=2 C++ #tag $5.00",
        "e\u{301}te nai\u{308}ve",
        "2025-03-01T08:00:00.123Z [error] 123#0: *7 upstream",
        "\u{1b}[31mred\u{1b}[0m tab\there",
        "don\u{2019}t \u{201c}quote\u{201d} 1\u{a0}000",
        "привет мир сегодня: да",
        "a'b 'a' 1'2 a.1 1.a a:b:c :a a: 1,a a,1",
        "😀 ok 👍🏽 done",
    ] {
        let wanted = server.words(text).await;
        assert_eq!(
            lain::logging::query::words::tokens(text),
            wanted,
            "{text:?}"
        );
    }
}
