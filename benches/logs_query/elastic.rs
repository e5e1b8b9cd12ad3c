//! Elasticsearch on the same events, by scripts/elasticsearch.sh.

use crate::corpus::Corpus;
use crate::support::{Indexed, cpu_of};
use elasticsearch::Elasticsearch;
use elasticsearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use lain::logging::elastic::{ElasticSearch, Target};
use lain::ports::clock::SystemClock;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Server {
    child: Child,
    url: String,
    http: reqwest::Client,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub async fn start() -> Result<Self, String> {
        use std::os::unix::fs::PermissionsExt;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/elasticsearch.sh");
        let installed = Command::new(script)
            .arg("install")
            .stdout(Stdio::null())
            .status();
        if !installed.is_ok_and(|status| status.success()) {
            return Err("scripts/elasticsearch.sh install failed".to_owned());
        }
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))
            .map_err(|e| e.to_string())?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        drop(listener);
        let mut command = Command::new(script);
        command
            .arg("run")
            .arg(folder.path().join("server"))
            .arg(port.to_string());
        command
            .env("LAIN_ES_HEAP", "2g")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = Self {
            child: command.spawn().map_err(|e| e.to_string())?,
            url: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::new(),
            _folder: folder,
        };
        for _ in 0..1200 {
            let health = format!("{}/_cluster/health", server.url);
            if server
                .http
                .get(health)
                .send()
                .await
                .is_ok_and(|r| r.status().is_success())
            {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("it did not answer in two minutes".to_owned())
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: String) -> Value {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let answer = request
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
    }

    /// As lain's own template has it: keywords, one text, dates to the nanosecond.
    pub async fn index(&self, corpus: &Corpus) -> Indexed {
        let keyword = json!({"type": "keyword", "ignore_above": 1024});
        let mut properties = serde_json::Map::new();
        for name in [
            "app",
            "container_id",
            "container_name",
            "event_id",
            "host",
            "image",
            "level",
            "node",
            "proc",
            "source_type",
            "stream",
        ] {
            properties.insert(name.to_owned(), keyword.clone());
        }
        properties.insert(
            "message".to_owned(),
            json!({"type": "text", "norms": false}),
        );
        properties.insert("timestamp".to_owned(), json!({"type": "date_nanos"}));
        properties.insert(
            "container_created_at".to_owned(),
            json!({"type": "date_nanos"}),
        );
        for name in ["instance", "seq", "revision"] {
            properties.insert(name.to_owned(), json!({"type": "long"}));
        }
        let templates = json!([{"strings": {"match_mapping_type": "string", "mapping": keyword}}]);
        let body = json!({
            "settings": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "5s"},
            "mappings": {"properties": properties, "dynamic_templates": templates},
        });
        self.ask(reqwest::Method::PUT, "/bench", body.to_string())
            .await;
        let pid = self.child.id().to_string();
        let (begun, cpu) = (Instant::now(), cpu_of(&pid));
        let mut from = 0;
        while from < corpus.events {
            let (batch, _) = corpus.batch(from, 5000);
            let mut lines = Vec::new();
            for event in &batch {
                lines.extend_from_slice(
                    format!("{{\"create\":{{\"_id\":\"{}\"}}}}\n", event.id).as_bytes(),
                );
                lines.extend_from_slice(&event.json);
                lines.push(b'\n');
            }
            let text = String::from_utf8(lines).expect("UTF-8");
            let answer = self
                .ask(
                    reqwest::Method::POST,
                    "/bench/_bulk?filter_path=errors",
                    text,
                )
                .await;
            assert_eq!(answer["errors"], false);
            from += 5000;
        }
        self.ask(
            reqwest::Method::POST,
            "/bench/_flush?wait_if_ongoing=true",
            String::new(),
        )
        .await;
        self.ask(reqwest::Method::POST, "/bench/_refresh", String::new())
            .await;
        let (wall, cpu) = (begun.elapsed(), cpu_of(&pid) - cpu);
        // Merges go on for a while.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let stats = self
            .ask(
                reqwest::Method::GET,
                "/bench/_stats/store,docs",
                String::new(),
            )
            .await;
        Indexed {
            events: corpus.events,
            cpu,
            wall,
            bytes: stats["_all"]["primaries"]["store"]["size_in_bytes"]
                .as_u64()
                .unwrap_or_default(),
        }
    }

    pub fn search(&self) -> ElasticSearch {
        let pool = SingleNodeConnectionPool::new(self.url.parse().expect("a URL"));
        let transport = TransportBuilder::new(pool)
            .disable_proxy()
            .build()
            .expect("a transport");
        ElasticSearch::new(
            Elasticsearch::new(transport),
            Target::plain("bench"),
            Arc::new(SystemClock::new()),
        )
    }
}
