//! The logs of a real nginx: by an input, and by a log file that `lain.yaml` declares; and numbers out of them.

use crate::support::{Lain, Running, need, port, script};
use serde_json::Value;
use std::io::Write;
use std::process::Command;

struct Nginx {
    dir: tempfile::TempDir,
    port: u16,
    _running: Running,
}

impl Nginx {
    fn start() -> Self {
        need("nginx", "nginx.sh");
        let dir = tempfile::tempdir().unwrap();
        let port = port();
        let mut command = Command::new(script("nginx.sh"));
        command.arg("run").arg(dir.path()).arg(port.to_string());
        let mut running = Running::start(&mut command, &dir.path().join("out"));
        running.wait_for_port(port);
        Self {
            dir,
            port,
            _running: running,
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn ask(&self, lain: &Lain, path: &str, times: u32) {
        for _ in 0..times {
            let url = format!("http://127.0.0.1:{}{path}", self.port);
            lain.ask(|client| client.get(url).header("referer", "http://from.example/"));
        }
    }
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn access_and_error_logs_have_ecs_fields_and_numbers_by_route() {
    let nginx = Nginx::start();
    let config = format!(
        "[[logging.input]]\nname = \"edge\"\ntype = \"file\"\nformat = \"nginx\"\napp = \"edge\"\nproc = \"nginx\"\npaths = [\"{}\", \"{}\"]\n\
         [[logging.input]]\nname = \"plain\"\ntype = \"file\"\nformat = \"nginx\"\npaths = [\"{}\"]\n",
        nginx.path("json.log"),
        nginx.path("error.log"),
        nginx.path("combined.log"),
    );
    let lain = Lain::start(&config);
    nginx.ask(&lain, "/?x=1", 12);
    nginx.ask(&lain, "/teapot", 3);
    nginx.ask(&lain, "/broken", 2);
    nginx.ask(&lain, "/missing/y", 1);
    nginx.ask(&lain, "/slow", 1);
    let access = "app: edge and event.dataset: nginx.access";
    let events = lain.found(access, 19);
    let of = |path: &str| -> Vec<&Value> {
        let all = events.iter();
        all.filter(|e| e["url"]["path"] == path).collect()
    };
    assert_eq!(of("/").len(), 12);
    let slow = of("/slow")[0];
    assert!(number(&slow["event"]["duration"]) > 300_000_000, "{slow:#}");
    assert_eq!(slow["http"]["response"]["status_code"], 200);
    assert_eq!(slow["http"]["request"]["method"], "GET");
    assert_eq!(slow["http"]["request"]["referrer"], "http://from.example/");
    assert_eq!(slow["source"]["ip"], "127.0.0.1");
    assert_eq!(slow["url"]["domain"], "127.0.0.1");
    assert_eq!(slow["source_type"], "file");
    assert_eq!(slow["proc"], "nginx");
    assert_eq!(of("/")[0]["url"]["query"], "x=1");
    let broken = of("/broken")[0];
    assert_eq!(broken["nginx"]["upstream"]["address"], "127.0.0.1:1");
    assert_eq!(broken["nginx"]["status_class"], "5xx");
    let combined = lain.found(
        "file: *combined.log and http.response.status_code >= 100",
        19,
    );
    assert!(
        combined
            .iter()
            .all(|e| e["event"].get("duration").is_none())
    );
    let errors = lain.found("event.dataset: nginx.error and level: error", 3);
    let connect = errors
        .iter()
        .find(|e| e["url"]["path"] == "/broken")
        .unwrap();
    assert!(
        connect["error"]["message"]
            .as_str()
            .unwrap()
            .contains("connect() failed")
    );
    assert_eq!(connect["source"]["ip"], "127.0.0.1");
    assert_eq!(lain.input("edge")["malformed"], 0);
    assert_eq!(lain.input("plain")["malformed"], 0);
    // By route.
    let query = [("query", access), ("from", "now-1h")];
    let stats = lain.get("logs/routes", &query).json();
    let row = |route: &str| {
        let rows = stats["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["route"] == route);
        row.unwrap_or_else(|| panic!("{route} is not in {stats:#}"))
    };
    assert_eq!(stats["rows"][0]["route"], "/", "the most frequent first");
    assert_eq!(row("/")["count"], 12);
    assert_eq!(row("/")["statuses"], serde_json::json!({"2xx": 12}));
    assert_eq!(row("/teapot")["statuses"], serde_json::json!({"4xx": 3}));
    assert_eq!(row("/broken")["statuses"], serde_json::json!({"5xx": 2}));
    assert_eq!(row("/broken")["error_share"], 1.0);
    assert!(row("/slow")["quantiles_ms"][0].as_f64().unwrap() > 300.0);
    assert!(row("/")["rate"].as_f64().unwrap() > 0.0);
    let lucene = [
        ("query", "app:edge AND NOT url.path:\"/slow\""),
        ("language", "lucene"),
        ("from", "now-1h"),
        ("by", "http.request.method"),
        ("quantiles", "0.9"),
    ];
    let stats = lain.get("logs/routes", &lucene).json();
    assert_eq!(stats["rows"][0]["count"], 18);
    assert_eq!(
        stats["rows"][0]["statuses"],
        serde_json::json!({"2xx": 12, "4xx": 4, "5xx": 2})
    );
    // The same on the command line, and other numbers.
    let shown = lain.cli(&["logs", "routes", access, "--from", "now-1h"]);
    let first = shown.lines().nth(1).unwrap();
    assert!(first.starts_with("/ ") && first.contains("12"), "{shown}");
    let shown = lain.cli(&[
        "logs",
        "stats",
        access,
        "--from",
        "now-1h",
        "--field",
        "http.response.body.bytes",
        "--by",
        "nginx.status_class",
        "--quantiles",
        "0.5",
    ]);
    assert!(shown.contains("P50") && shown.contains("4xx"), "{shown}");
    let shown = lain.cli(&[
        "logs",
        "stats",
        access,
        "--from",
        "now-1h",
        "--interval",
        "5m",
    ]);
    assert!(shown.contains("FROM") && shown.contains("19"), "{shown}");
    let wrong = lain.get("logs/routes", &[("query", "a: (")]);
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    assert_eq!(wrong.json()["errors"][0]["code"], "query_syntax");
}

#[test]
fn a_file_input_goes_on_where_it_was_also_over_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let config = format!(
        "[[logging.input]]\nname = \"f\"\ntype = \"file\"\npaths = [\"{}\"]\n",
        path.display()
    );
    let mut lain = Lain::start(&config);
    let write = |numbers: std::ops::Range<u32>| {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        for n in numbers {
            writeln!(file, "line {n}").unwrap();
        }
    };
    write(0..50);
    lain.found("file: *a.log", 50);
    lain.kill();
    write(50..80);
    std::fs::rename(&path, dir.path().join("a.log.1")).unwrap();
    write(80..100);
    lain.again();
    write(100..120);
    let events = lain.found("file: *a.log", 120);
    assert_eq!(events.len(), 120, "each once");
    let mut seqs: Vec<u64> = events.iter().map(|e| number(&e["seq"])).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=120).collect::<Vec<_>>());
    assert_eq!(events[0]["source_type"], "file");
}

const APP: &str = "appname: edge
build:
  base: busybox
  script: [make]
worker.w:
  image: any:1
  cmd: [sh, -c, 'while true; do sleep 1; done']
  memory: 64m
  logs: [access.log: nginx, monitor.log, plain.log]
";

#[test]
fn log_files_of_an_app_are_read_by_the_form_that_lain_yaml_names() {
    let lain = Lain::start("");
    lain.deploy(APP);
    let logs = lain.path("data/volumes/edge/edge.worker.w/1/lain/logs");
    std::fs::create_dir_all(&logs).unwrap();
    let put = |name: &str, text: &str| std::fs::write(logs.join(name), text).unwrap();
    put(
        "access.log",
        &format!(
            "10.0.0.1 - - [{}] \"GET /a HTTP/1.1\" 200 12 \"-\" \"x\"\nnot of nginx\n",
            chrono::Utc::now().format("%d/%b/%Y:%H:%M:%S +0000")
        ),
    );
    let now = chrono::Utc::now().timestamp();
    let metrics: String = (1..=4)
        .map(|n| format!("{{\"metric\":\"jobs\",\"value\":{n},\"counterType\":\"GAUGE\",\"timestamp\":{now},\"step\":60}}\n"))
        .collect();
    put("monitor.log", &metrics);
    put("plain.log", "{\"metric\":\"no\",\"value\":1}\n");
    let access = &lain.found("app: edge and http.response.status_code: 200", 1)[0];
    assert_eq!(access["file"], "access.log");
    assert_eq!(access["source_type"], "lain_file");
    assert_eq!(access["url"]["path"], "/a");
    assert_eq!(access["instance"], 1);
    assert_eq!(lain.found("message: \"not of nginx\"", 1).len(), 1);
    let metrics = lain.found("metric.name: jobs and metric.value >= 3", 2);
    assert_eq!(metrics.len(), 2);
    assert!(metrics.iter().all(|e| e["metric"]["type"] == "gauge"));
    let plain = &lain.found("file: plain.log", 1)[0];
    assert!(plain.get("metric").is_none());
    let parameters = [
        ("query", "metric.name: jobs"),
        ("field", "metric.value"),
        ("quantiles", "0.5"),
        ("from", "now-1h"),
    ];
    let stats = lain.get("logs/stats", &parameters).json();
    let row = &stats["rows"][0];
    assert_eq!(
        (&row["count"], &row["max"], &row["mean"]),
        (&4.into(), &4.0.into(), &2.5.into())
    );
}
