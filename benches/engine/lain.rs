//! The real binary, driven through its API as anybody would.

use crate::support::{Docker, http_ok, until};
use crate::update::List;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A running `lain dev`, stopped with its containers when dropped.
pub struct Lain {
    child: Child,
    dir: tempfile::TempDir,
    url: String,
}

/// A file with one web proc.
pub fn web(app: &str, instances: u32, spares: u32) -> String {
    format!(
        "appname: {app}\nweb:\n  image: lain/hello:1\n  port: 80\n  memory: 64m\n  num_instances: {instances}\n  spares: {spares}\n  restart:\n    intensity: 1000\n    period: 5s\n"
    )
}

impl Lain {
    pub fn start(docker: &Docker) -> Self {
        Self::start_with(docker, &[])
    }

    pub fn start_with(docker: &Docker, env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ready = dir.path().join("ready");
        let child = Command::new(env!("CARGO_BIN_EXE_lain"))
            .args([
                "dev",
                "--listen",
                "127.0.0.1:0",
                "--engine",
                "docker",
                "--docker-host",
                &docker.host,
                "--data-dir",
            ])
            .arg(dir.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            // lain refuses settings that it does not know, and these are the benchmark's own.
            .env("LAIN_LIMITS__REQUEST_RATE", "100000")
            .env("LAIN_LIMITS__REQUEST_BURST", "100000")
            .env_remove("LAIN_BENCH_RUNS")
            .env_remove("LAIN_BENCH_FLAGS")
            .env_remove("LAIN_BENCH_RPS")
            .envs(env.iter().copied())
            .stderr(Stdio::null())
            .spawn()
            .expect("lain starts");
        until(|| std::fs::read_to_string(&ready).is_ok_and(|t| t.ends_with('\n')));
        let url = std::fs::read_to_string(&ready)
            .expect("its address")
            .trim()
            .to_owned();
        Self { child, dir, url }
    }

    fn cli(&self, args: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_lain"))
            .args(args)
            .args(["--server", &self.url, "--token-file"])
            .arg(self.dir.path().join("data/admin.token"))
            .output()
            .expect("the command line runs");
        assert!(
            output.status.success(),
            "lain {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn file(&self, yaml: &str) -> PathBuf {
        let path = self.dir.path().join("lain.yaml");
        std::fs::write(&path, yaml).expect("a file");
        path
    }

    pub fn deploy(&self, yaml: &str) {
        self.cli(&["deploy", "-f", &self.file(yaml).display().to_string()]);
    }

    pub fn deploy_without_waiting(&self, yaml: &str) {
        self.cli(&[
            "deploy",
            "--no-wait",
            "-f",
            &self.file(yaml).display().to_string(),
        ]);
    }

    /// Asks the API by a connection of its own. `more`: headers, each with its end of line.
    fn ask(&self, path: &str, more: &str) -> TcpStream {
        let token = std::fs::read_to_string(self.dir.path().join("data/admin.token"));
        let token = token.expect("a token");
        let host = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("lain listens");
        let request = format!(
            "GET /api/v1/{path} HTTP/1.1\r\nHost: {host}\r\n{more}Authorization: Bearer {}\r\n\r\n",
            token.trim()
        );
        stream.write_all(request.as_bytes()).expect("a request");
        stream
    }

    /// What the API answers, without the command line, which for each question would cost more than what is measured.
    fn get(&self, path: &str) -> Value {
        let mut stream = self.ask(path, "Connection: close\r\n");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).expect("json")
    }

    fn instances(&self, app: &str) -> Vec<Value> {
        let app = self.get(&format!("apps/{app}"));
        let all = app["procs"].as_array().cloned().unwrap_or_default();
        all.iter()
            .flat_map(|p| p["instances"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    fn place(instance: &Value) -> (String, u16) {
        let address = instance["endpoints"][0]["address"]
            .as_str()
            .expect("an address");
        let port = address
            .rsplit_once(':')
            .and_then(|(_, p)| p.parse().ok())
            .expect("a port");
        (
            instance["container"]
                .as_str()
                .expect("a container")
                .to_owned(),
            port,
        )
    }

    /// Name and host port of an instance's container.
    pub fn container(&self, app: &str, no: u64) -> (String, u16) {
        let all = self.instances(app);
        Self::place(all.iter().find(|i| i["no"] == no).expect("the instance"))
    }

    /// Once one is running and the other one idle.
    pub fn active_and_spare(&self, app: &str) -> ((String, u16), (String, u16)) {
        let mut found = None;
        until(|| {
            let all = self.instances(app);
            let of = |state: &str| all.iter().find(|i| i["state"] == state).map(Self::place);
            found = of("running").zip(of("idle"));
            found.is_some()
        });
        found.expect("found")
    }

    pub fn is_active(&self, app: &str, container: &str) -> bool {
        self.instances(app)
            .iter()
            .any(|i| i["container"] == container && i["role"] == "active")
    }

    pub fn until_all_answer(&self, app: &str, count: u32) {
        let mut ports = Vec::new();
        until(|| {
            ports = self
                .instances(app)
                .iter()
                .filter(|i| i["endpoints"][0].is_object())
                .map(|i| Self::place(i).1)
                .collect();
            let all = ports.len() == usize::try_from(count).expect("few");
            if !all {
                // What asks takes from what is measured: fifty instances are a long answer.
                std::thread::sleep(Duration::from_millis(50));
            }
            all
        });
        for port in ports {
            until(|| http_ok(port));
        }
    }

    /// Keeps a list as the API has it, until told to stop.
    pub fn follow_endpoints(&self, app: &str, list: &List, stop: &AtomicBool) {
        let mut stream = self.ask(&format!("apps/{app}/endpoints?watch=true"), "");
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        let (mut text, mut buffer) = (Vec::new(), [0; 16_384]);
        while !stop.load(Ordering::Relaxed) {
            match stream.read(&mut buffer) {
                Ok(0) => panic!("the stream of endpoints has ended"),
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                // Nothing new within the timeout.
                Err(_) => continue,
            }
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = text.drain(..end + 2).collect();
                if let Some(addresses) = addresses_of(&event) {
                    list.set(addresses);
                }
            }
        }
    }

    pub fn resident_mib(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<f64>()
            .expect("a number")
            / 1024.0
    }

    /// The share of one core that it uses over a while.
    pub fn cpu_share(&self, over: Duration) -> f64 {
        let ticks = || -> f64 {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
                .expect("it runs");
            let rest = stat.rsplit_once(')').expect("stat").1;
            rest.split_whitespace()
                .skip(11)
                .take(2)
                .map(|t| t.parse::<f64>().expect("ticks"))
                .sum()
        };
        let (before, begun) = (ticks(), Instant::now());
        std::thread::sleep(over);
        (ticks() - before) / 100.0 / begun.elapsed().as_secs_f64()
    }

    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Lain {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The addresses in an event of the stream of endpoints; nothing where it has none, as a heartbeat.
fn addresses_of(event: &[u8]) -> Option<Vec<SocketAddr>> {
    let text = String::from_utf8_lossy(event);
    let data = text.lines().find_map(|line| line.strip_prefix("data: "))?;
    let page: Value = serde_json::from_str(data).ok()?;
    let items = page["items"].as_array()?.iter();
    let addresses = items.filter_map(|item| item["address"].as_str()?.parse().ok());
    Some(addresses.collect())
}
