//! Elasticsearch, and OpenSearch.

use super::servers::{Running, cache, need, port, script};
use super::world::{Seen, World, parse};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 7.17, without what is not free software: no data streams, no flattened fields.
    Elasticsearch,
    /// 2, with data streams.
    OpenSearch,
}

impl Kind {
    fn script(self) -> &'static str {
        match self {
            Kind::Elasticsearch => "elasticsearch.sh",
            Kind::OpenSearch => "opensearch.sh",
        }
    }
}

/// A server.
pub struct Elastic {
    dir: PathBuf,
    port: u16,
    kind: Kind,
    /// Its process.
    pub running: Running,
}

impl Elastic {
    /// Starts one in `dir`, which everybody must be able to read.
    pub fn start(dir: &Path, kind: Kind) -> Self {
        open_to_all(dir);
        let mut found = std::fs::read_dir(cache()).into_iter().flatten().flatten();
        let name = format!("{}-", kind.script().trim_end_matches(".sh"));
        need(
            found.any(|e| e.path().display().to_string().contains(&name)),
            kind.script(),
        );
        let dir = dir.join("es");
        std::fs::create_dir_all(&dir).unwrap();
        let port = port();
        let running = Self::run(&dir, port, kind);
        let server = Self {
            dir,
            port,
            kind,
            running,
        };
        server.ready();
        server
    }

    fn run(dir: &Path, port: u16, kind: Kind) -> Running {
        let mut command = Command::new(script(kind.script()));
        command.arg("run").arg(dir).arg(port.to_string());
        let mut running = Running::start(&mut command, &dir.join("out.log"));
        running.wait_for_port(port);
        running
    }

    /// Starts it again.
    pub fn again(&mut self) {
        self.running = Self::run(&self.dir, self.port, self.kind);
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks it; null without an answer.
    pub fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut request = client.request(method, format!("{}{path}", self.url()));
            if let Some(body) = body {
                request = request.json(&body);
            }
            match request.send().await {
                Ok(answer) => answer.json().await.unwrap_or_default(),
                Err(_) => Value::Null,
            }
        })
    }

    fn ready(&self) {
        let until = Instant::now() + Duration::from_secs(90);
        while self.call(
            reqwest::Method::GET,
            "/_cluster/health?wait_for_status=yellow&timeout=5s",
            None,
        )["status"]
            .is_null()
        {
            assert!(
                Instant::now() < until,
                "Elasticsearch does not get ready, see {}",
                self.dir.display()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// All documents of an index, in the order of their numbers.
    pub fn documents(&self, index: &str) -> Vec<Value> {
        self.call(reqwest::Method::POST, &format!("/{index}/_refresh"), None);
        let mut all = Vec::new();
        let mut after = Value::Null;
        loop {
            let mut body = json!({"size": 5000, "sort": [{"instance": "asc"}, {"seq": "asc"}, {"event_id": "asc"}]});
            if !after.is_null() {
                body["search_after"] = after;
            }
            let page = self.call(
                reqwest::Method::POST,
                &format!("/{index}/_search"),
                Some(body),
            );
            let hits = page["hits"]["hits"].as_array().cloned().unwrap_or_default();
            let Some(last) = hits.last() else { return all };
            after = last["sort"].clone();
            all.extend(hits);
        }
    }
}

/// Instance and number of each.
pub fn seen(documents: &[Value]) -> Vec<Seen> {
    documents
        .iter()
        .map(|d| parse(d["_source"]["message"].as_str().unwrap()))
        .collect()
}

/// Lines are written while the pipeline, and once the server too, is killed.
fn write_through_kills(world: &mut World, elastic: &mut Elastic) {
    world.start();
    for round in 0..4 {
        world.write(500);
        match round {
            1 => world.kill(),
            2 => {
                elastic.running.kill();
                world.write(500);
                world.kill();
                elastic.again();
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(700));
    }
}

#[test]
fn every_line_is_there_once_while_elasticsearch_and_the_pipeline_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut elastic = Elastic::start(dir.path(), Kind::Elasticsearch);
    let url = elastic.url();
    let sink = format!(
        "[[logging.sink]]\nname = \"es\"\ntype = \"elasticsearch\"\nurls = [\"{url}\"]\nretry_max = \"1s\"\nbatch_events = 400\n"
    );
    let mut world = World::new(3, &sink);
    write_through_kills(&mut world, &mut elastic);
    let twice = world.all_arrive(|| seen(&elastic.documents("lain-*")));
    assert_eq!(twice, 0, "each event has one document");
    let documents = elastic.documents("lain-*");
    for document in documents.iter().take(50) {
        let source = &document["_source"];
        assert_eq!(document["_id"], source["event_id"]);
        assert_eq!(source["@timestamp"], source["timestamp"]);
        assert_eq!(document["_index"], "lain-2025.03.01");
    }
    // ECS names find what ours find.
    let count = |field: &str, value: Value| {
        let query = json!({"query": {"term": {field: value}}, "track_total_hits": true});
        elastic.call(reqwest::Method::POST, "/lain-*/_search", Some(query))["hits"]["total"]["value"].as_u64()
    };
    let all = documents.len() as u64;
    for (ours, ecs, value) in [
        ("app", "service.name", "shop"),
        ("host", "host.name", "n1.example"),
        ("image", "container.image.name", "shop:1"),
        ("level", "log.level", "info"),
    ] {
        let (a, b) = (count(ours, json!(value)), count(ecs, json!(value)));
        assert_eq!(a, b, "{ecs}");
        assert!(a.unwrap() > all / 2, "{ours}: {a:?} of {all}");
    }
}

#[test]
fn what_elasticsearch_never_takes_is_a_dead_letter_and_the_rest_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let elastic = Elastic::start(dir.path(), Kind::Elasticsearch);
    // An index in which the number of an instance must be a date from this century.
    let mapping = json!({"mappings": {"dynamic": false, "properties": {
        "level": {"type": "long"}, "instance": {"type": "long"}, "seq": {"type": "long"}, "event_id": {"type": "keyword"},
    }}});
    elastic.call(reqwest::Method::PUT, "/lain-2025.03.01", Some(mapping));
    let url = elastic.url();
    let sink = format!(
        "[[logging.sink]]\nname = \"es\"\ntype = \"elasticsearch\"\nurls = [\"{url}\"]\nmanage_template = false\n"
    );
    let mut world = World::new(1, &sink);
    world.write(60);
    world.start();
    let until = Instant::now() + Duration::from_secs(60);
    // Every line has a level, which is no number.
    let view = loop {
        let view = world.sinks()[0].clone();
        if view["discarded"] == 60 {
            break view;
        }
        assert!(Instant::now() < until, "{view}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(
        (&view["dead_letters"], &view["lag_events"], &view["sent"]),
        (&json!(60), &json!(0), &json!(0))
    );
    let letters = std::fs::read_to_string(view["dead_letter_file"].as_str().unwrap()).unwrap();
    let first: Value = serde_json::from_str(letters.lines().next().unwrap()).unwrap();
    assert!(
        first["reason"]
            .as_str()
            .unwrap()
            .contains("mapper_parsing_exception"),
        "{first}"
    );
    assert_eq!(parse(first["event"]["message"].as_str().unwrap()), (1, 0));
}

/// Elasticsearch does not run as root; it is another user who reads this folder.
fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Events go to the data stream of their app, each once, while the server and the pipeline are killed; ECS names and
/// the keys of labels are found; what a server takes in part only is sorted into the rest, again, and dead letters.
#[test]
fn data_streams_of_opensearch() {
    let dir = tempfile::tempdir().unwrap();
    let mut elastic = Elastic::start(dir.path(), Kind::OpenSearch);
    let url = elastic.url();
    let sink = format!(
        "[[logging.sink]]\nname = \"es\"\ntype = \"elasticsearch\"\nurls = [\"{url}\"]\nretry_max = \"1s\"\nbatch_events = 400\ndata_stream = \"lain\"\nkeep_days = 3\n"
    );
    let mut world = World::new(3, &sink);
    write_through_kills(&mut world, &mut elastic);
    let stream = "logs-lain.shop-default";
    assert_eq!(world.all_arrive(|| seen(&elastic.documents(stream))), 0);
    let told = elastic.call(
        reqwest::Method::GET,
        &format!("/_data_stream/{stream}"),
        None,
    );
    assert_eq!(told["data_streams"][0]["template"], "lain-logs", "{told}");
    let count = |field: &str, value: Value| {
        let query = json!({"query": {"term": {field: value}}, "track_total_hits": true});
        let path = format!("/{stream}/_search");
        elastic.call(reqwest::Method::POST, &path, Some(query))["hits"]["total"]["value"].as_u64()
    };
    let all = elastic.documents(stream).len() as u64;
    assert_eq!(count("service.name", json!("shop")), Some(all));
    assert_eq!(count("label.team", json!("a")), Some(all));
    assert_eq!(
        count("log.level", json!("info")),
        count("level", json!("info"))
    );
}

/// A server that is overloaded (429) is asked again until it takes everything.
#[test]
fn what_a_server_is_too_busy_for_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let elastic = Elastic::start(dir.path(), Kind::OpenSearch);
    // Requests in flight may have so few bytes: each bulk request is refused with 429.
    let limit = |bytes: Value| {
        let settings = json!({"transient": {"network.breaker.inflight_requests.limit": bytes}});
        let answer = elastic.call(reqwest::Method::PUT, "/_cluster/settings", Some(settings));
        assert_eq!(answer["acknowledged"], true, "{answer}");
    };
    limit(json!("20kb"));
    let url = elastic.url();
    let sink = format!(
        "[[logging.sink]]\nname = \"es\"\ntype = \"elasticsearch\"\nurls = [\"{url}\"]\nretry_max = \"1s\"\n"
    );
    let mut world = World::new(1, &sink);
    world.write(200);
    world.start();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let view = world.sinks()[0].clone();
        if view["retries"].as_u64() > Some(1) {
            let said = view["last_error"].as_str().unwrap_or_default();
            assert!(said.contains("429"), "{view}");
            assert_eq!(view["dead_letters"], 0);
            break;
        }
        assert!(Instant::now() < until, "{view}");
        std::thread::sleep(Duration::from_millis(100));
    }
    limit(Value::Null);
    assert_eq!(world.all_arrive(|| seen(&elastic.documents("lain-*"))), 0);
}

/// Of one batch, what goes to an index that takes it is sent, and what goes to one that does not is a dead letter.
#[test]
fn of_a_batch_only_what_is_refused_is_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let elastic = Elastic::start(dir.path(), Kind::OpenSearch);
    // Lines of JSON have fields; here such a line's `no` must be a date.
    let mapping = json!({"mappings": {"dynamic": false, "properties": {
        "fields": {"properties": {"level": {"type": "long"}}},
        "instance": {"type": "long"}, "seq": {"type": "long"}, "event_id": {"type": "keyword"},
    }}});
    elastic.call(reqwest::Method::PUT, "/lain-2025.03.01", Some(mapping));
    let url = elastic.url();
    let sink = format!(
        "[[logging.sink]]\nname = \"es\"\ntype = \"elasticsearch\"\nurls = [\"{url}\"]\nmanage_template = false\n"
    );
    let mut world = World::new(2, &sink);
    world.write(100);
    world.start();
    let until = Instant::now() + Duration::from_secs(60);
    // Two of a hundred lines are JSON with a level.
    let view = loop {
        let view = world.sinks()[0].clone();
        if view["lag_events"] == 0 && view["sent"].as_u64() > Some(0) {
            break view;
        }
        assert!(Instant::now() < until, "{view}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(view["sent"], 196);
    assert_eq!(
        (&view["dead_letters"], &view["discarded"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(elastic.documents("lain-*").len(), 196);
}
