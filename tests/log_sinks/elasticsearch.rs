//! Elasticsearch.

use super::servers::{Running, cache, need, port, script};
use super::world::{Seen, World, parse};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

struct Elastic {
    dir: PathBuf,
    port: u16,
    running: Running,
}

impl Elastic {
    fn start(dir: &Path) -> Self {
        let mut found = std::fs::read_dir(cache()).into_iter().flatten().flatten();
        need(
            found.any(|e| e.path().display().to_string().contains("elasticsearch-")),
            "elasticsearch.sh",
        );
        let dir = dir.join("es");
        std::fs::create_dir_all(&dir).unwrap();
        let port = port();
        let running = Self::run(&dir, port);
        Self { dir, port, running }
    }

    fn run(dir: &Path, port: u16) -> Running {
        let mut command = Command::new(script("elasticsearch.sh"));
        command.arg("run").arg(dir).arg(port.to_string());
        let mut running = Running::start(&mut command, &dir.join("out.log"));
        running.wait_for_port(port);
        running
    }

    fn again(&mut self) {
        self.running = Self::run(&self.dir, self.port);
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
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

    /// All documents of daily indices, in the order of their numbers.
    fn documents(&self) -> Vec<Value> {
        self.call(reqwest::Method::POST, "/lain-*/_refresh", None);
        let mut all = Vec::new();
        let mut after = Value::Null;
        loop {
            let mut body = json!({"size": 5000, "sort": [{"instance": "asc"}, {"seq": "asc"}, {"event_id": "asc"}]});
            if !after.is_null() {
                body["search_after"] = after;
            }
            let page = self.call(reqwest::Method::POST, "/lain-*/_search", Some(body));
            let hits = page["hits"]["hits"].as_array().cloned().unwrap_or_default();
            let Some(last) = hits.last() else { return all };
            after = last["sort"].clone();
            all.extend(hits);
        }
    }
}

fn seen(documents: &[Value]) -> Vec<Seen> {
    documents
        .iter()
        .map(|d| parse(d["_source"]["message"].as_str().unwrap()))
        .collect()
}

#[test]
fn every_line_is_there_once_while_elasticsearch_and_the_pipeline_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    open_to_all(dir.path());
    let mut elastic = Elastic::start(dir.path());
    elastic.ready();
    let url = elastic.url();
    let sink = format!(
        "[[logging.sink]]\nname = \"es\"\ntype = \"elasticsearch\"\nurls = [\"{url}\"]\nretry_max = \"1s\"\nbatch_events = 400\n"
    );
    let mut world = World::new(3, &sink);
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
    let twice = world.all_arrive(|| seen(&elastic.documents()));
    assert_eq!(twice, 0, "each event has one document");
    let documents = elastic.documents();
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
    open_to_all(dir.path());
    let elastic = Elastic::start(dir.path());
    elastic.ready();
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
