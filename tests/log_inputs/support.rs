//! A lain with a configuration of its own, and servers that end with it.

use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// Looks again and again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not within {PATIENCE:?}: {what}");
}

/// A port that is free now.
pub fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A script of this repository.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name)
}

/// Fails the test with what installs a program, unless it is there.
pub fn need(program: &str, script: &str) {
    let there = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    assert!(
        there
            .iter()
            .any(|dir| Path::new(dir).join(program).exists()),
        "this test needs {program}, which is not installed; install it with:\n\n    scripts/{script} install\n"
    );
}

/// A process in a group of its own, which ends with the value.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        Self(child)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let group = rustix::process::Pid::from_child(&self.0);
        // It may have ended already.
        let _ = rustix::process::kill_process_group(group, signal);
    }

    pub fn wait_for_port(&mut self, port: u16) {
        until("a server listens", || {
            let ended = self.0.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A lain, and where everything of it is.
pub struct Lain {
    pub dir: tempfile::TempDir,
    process: Option<Running>,
    pub url: String,
    pub token: String,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

impl Lain {
    /// With this configuration besides what every test needs.
    pub fn start(config: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lain-inputs-")
            .tempdir()
            .unwrap();
        let first = 20_000 + std::process::id() % 200 * 50;
        let whole = format!(
            "[engine]\nkind = \"process\"\n[node]\nname = \"here\"\nports = \"{first}-{}\"\n{config}",
            first + 49
        );
        std::fs::write(dir.path().join("lain.toml"), whole).unwrap();
        let mut lain = Self {
            dir,
            process: None,
            url: String::new(),
            token: String::new(),
        };
        lain.again();
        lain
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lain"));
        command.args(args).current_dir(self.dir.path());
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.path("run"));
        command
    }

    /// Starts it, and waits until it serves.
    pub fn again(&mut self) {
        let _ = std::fs::remove_file(self.path("ready"));
        let path = |name: &str| self.path(name).display().to_string();
        let (config, data, ready) = (path("lain.toml"), path("data"), path("ready"));
        let mut command = self.command(&[
            "dev",
            "--config",
            &config,
            "--data-dir",
            &data,
            "--ready-file",
            &ready,
            "--listen",
            "127.0.0.1:0",
        ]);
        let mut running = Running::start(&mut command, &self.path("log"));
        self.url = until("lain serves", || {
            if let Some(status) = running.0.try_wait().unwrap() {
                panic!("lain ended at its start ({status}):\n{}", self.log());
            }
            let text = std::fs::read_to_string(self.path("ready")).ok()?;
            text.ends_with('\n').then(|| text.trim().to_owned())
        });
        let token = std::fs::read_to_string(self.path("data/admin.token")).unwrap();
        token.trim().clone_into(&mut self.token);
        self.process = Some(running);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.process.take() {
            running.0.kill().unwrap();
            running.0.wait().unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What it has logged of itself.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Runs its command line, which must succeed.
    pub fn cli(&self, args: &[&str]) -> String {
        let mut command = self.command(args);
        command
            .env("LAIN_SERVER", &self.url)
            .env("LAIN_TOKEN", &self.token);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&stdout).into_owned(),
            String::from_utf8_lossy(&stderr),
        );
        assert!(status.success(), "{args:?}: {status}\n{out}\n{err}");
        out
    }

    /// Deploys a file.
    pub fn deploy(&self, yaml: &str) {
        std::fs::write(self.path("lain.yaml"), yaml).unwrap();
        self.cli(&["deploy", "-f", self.path("lain.yaml").to_str().unwrap()]);
    }

    pub fn ask(&self, request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = reqwest::Client::new();
            let answer = request(&client).send().await.unwrap();
            Answer {
                status: answer.status().as_u16(),
                text: answer.text().await.unwrap(),
            }
        })
    }

    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        let url = format!("{}/api/v1/{path}", self.url);
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        self.ask(|client| client.get(url).bearer_auth(&self.token))
    }

    /// The events that a query finds, oldest first.
    pub fn events(&self, query: &str) -> Vec<Value> {
        let parameters = [
            ("query", query),
            ("order", "asc"),
            ("limit", "1000"),
            ("from", "now-30d"),
        ];
        let answer = self.get("logs/search", &parameters);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let page = answer.json();
        let hits = page["items"].as_array().unwrap().iter();
        hits.map(|hit| hit["event"].clone()).collect()
    }

    /// Waits for so many events of a query.
    pub fn found(&self, query: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} events of {query}"), || {
            let events = self.events(query);
            (events.len() >= count).then_some(events)
        })
    }

    /// An input, as the API shows it.
    pub fn input(&self, name: &str) -> Value {
        let page = self.get("inputs", &[]).json();
        let mut inputs = page["items"].as_array().unwrap().iter();
        let found = inputs.find(|input| input["name"] == name);
        found
            .cloned()
            .unwrap_or_else(|| panic!("no input {name} in {page}"))
    }
}
