//! A real Elasticsearch on loopback, in a temporary folder, stopped when dropped.

use elasticsearch::Elasticsearch;
use elasticsearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use serde_json::{Map, Value, json};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A server of one test.
pub struct Server {
    child: Child,
    url: String,
    http: reqwest::Client,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one; installs it first where it is missing.
    pub async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/elasticsearch.sh");
        let installed = Command::new(script)
            .arg("install")
            .stdout(Stdio::null())
            .status();
        assert!(
            installed.is_ok_and(|status| status.success()),
            "Elasticsearch is missing and could not be installed; run scripts/elasticsearch.sh install"
        );
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(script)
            .arg("run")
            .arg(folder.path().join("server"))
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        // The server runs as another user, who must reach its folder.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut server = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::new(),
            _folder: folder,
        };
        let health = format!("{}/_cluster/health?wait_for_status=yellow", server.url);
        for _ in 0..1200 {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("Elasticsearch ended with {status}: {}", server.log());
            }
            if server
                .http
                .get(&health)
                .send()
                .await
                .is_ok_and(|r| r.status().is_success())
            {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Elasticsearch did not answer: {}", server.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self._folder.path().join("log")).unwrap_or_default()
    }

    /// A client of it.
    pub fn client(&self) -> Elasticsearch {
        let pool = SingleNodeConnectionPool::new(self.url.parse().unwrap());
        Elasticsearch::new(TransportBuilder::new(pool).disable_proxy().build().unwrap())
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: String) -> Value {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let response = request
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        let (status, answer) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// Makes an index.
    pub async fn create(&self, index: &str, settings: &Value) {
        self.ask(
            reqwest::Method::PUT,
            &format!("/{index}"),
            settings.to_string(),
        )
        .await;
    }

    /// Indexes documents and makes them found.
    pub async fn index(
        &self,
        index: &str,
        docs: impl IntoIterator<Item = (String, Map<String, Value>)>,
    ) {
        let mut lines = String::new();
        for (id, doc) in docs {
            lines.push_str(&json!({"index": {"_id": id}}).to_string());
            lines.push('\n');
            lines.push_str(&Value::Object(doc).to_string());
            lines.push('\n');
        }
        let answer = self
            .ask(
                reqwest::Method::POST,
                &format!("/{index}/_bulk?refresh=true"),
                lines,
            )
            .await;
        assert_eq!(answer["errors"], false, "{answer}");
    }

    /// The words of a text.
    pub async fn words(&self, text: &str) -> Vec<String> {
        let body = json!({"analyzer": "standard", "text": text}).to_string();
        let answer = self.ask(reqwest::Method::POST, "/_analyze", body).await;
        let tokens = answer["tokens"].as_array().unwrap();
        tokens
            .iter()
            .map(|token| token["token"].as_str().unwrap().to_owned())
            .collect()
    }
}
