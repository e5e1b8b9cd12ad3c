//! A lain, an engine and what is between them: the words that the scenarios are written in.
//!
//! The lain is the real binary, a child process with a data directory of its own. Each [`Host`] has a tag
//! that begins the names of its apps; whatever the engine holds under that tag goes with the host, also
//! when a test fails.

use crate::engine;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Looks again and again until there is an answer.
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_or(what, ask, String::new)
}

/// As [`until`]; what `shows` says is shown when there is none.
pub fn until_or<T>(
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
    shows: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not within {PATIENCE:?}: {what}\n{}", shows());
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ran {
    /// Fails unless it ended with this code.
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }

    /// Fails unless it said this on stderr.
    pub fn said(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in:\n{}", self.err);
        }
        self
    }
}

/// A container as the engine shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    pub id: String,
    pub running: bool,
    pub paused: bool,
    pub pid: u32,
    pub started_at: String,
    pub memory: u64,
    pub cpu_quota: u64,
    /// `<group>/<instance number>`.
    pub instance: String,
}

/// An engine, through its own command line.
pub struct Docker(pub String);

impl Docker {
    pub fn run(&self, args: &[&str]) -> Ran {
        Command::new("docker")
            .args(["-H", &self.0])
            .args(args)
            .output()
            .expect("docker is installed")
            .into()
    }

    /// All containers whose name begins with `tag`, by name.
    pub fn containers(&self, tag: &str) -> BTreeMap<String, Container> {
        let filter = format!("name=^/{tag}");
        let ids = self
            .run(&["ps", "-aq", "--no-trunc", "--filter", &filter])
            .ended_with(0)
            .out;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return BTreeMap::new();
        }
        // One that vanishes meanwhile makes the command fail and is left out of its output.
        let shown = self
            .run(&[&["inspect", "--type", "container"], &ids[..]].concat())
            .out;
        let shown: Vec<Value> = serde_json::from_str(&shown).unwrap();
        shown.iter().map(container).collect()
    }

    pub fn kill(&self, name: &str) {
        self.run(&["kill", "-s", "KILL", name]).ended_with(0);
    }
}

fn container(shown: &Value) -> (String, Container) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let (state, host, labels) = (
        &shown["State"],
        &shown["HostConfig"],
        &shown["Config"]["Labels"],
    );
    let label = |name: &str| text(&labels[format!("cc.bdp.lain.deployd.{name}")]);
    let container = Container {
        id: text(&shown["Id"]),
        running: state["Running"] == true,
        paused: state["Paused"] == true,
        pid: u32::try_from(number(&state["Pid"])).unwrap(),
        started_at: text(&state["StartedAt"]),
        memory: number(&host["Memory"]),
        cpu_quota: number(&host["CpuQuota"]).max(number(&host["NanoCpus"])),
        instance: format!("{}/{}", label("pg_name"), label("instance_no")),
    };
    (
        text(&shown["Name"]).trim_start_matches('/').to_owned(),
        container,
    )
}

/// Where lains live one after another: a data directory, an engine, a range of ports.
pub struct Host {
    pub docker: Docker,
    pub tag: String,
    dir: tempfile::TempDir,
    ports: String,
    env: Vec<(String, String)>,
}

impl Host {
    /// On the engine of this machine.
    pub fn new() -> Self {
        Self::on(engine::machine())
    }

    /// On this engine.
    pub fn on(endpoint: &str) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let slot = (std::process::id() as u16)
            .wrapping_mul(7)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
            % 180;
        let first = 10_000 + slot * 50;
        let id = uuid::Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext))
            .simple()
            .to_string();
        Self {
            docker: Docker(endpoint.to_owned()),
            tag: format!("e{}", &id[22..]),
            dir: tempfile::tempdir().unwrap(),
            ports: format!("{first}-{}", first + 49),
            env: Vec::new(),
        }
    }

    /// With another setting, as an environment variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The name of an app that no other test uses.
    pub fn app(&self, name: &str) -> String {
        format!("{}-{name}", self.tag)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn containers(&self) -> BTreeMap<String, Container> {
        self.docker.containers(&self.tag)
    }

    /// Those of one app.
    pub fn containers_of(&self, app: &str) -> BTreeMap<String, Container> {
        self.docker.containers(&format!("{app}\\."))
    }

    /// The binary, told to keep to this host.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lain"));
        command.args(args);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env_clear()
            .stdin(Stdio::null());
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.path("run"));
        command
            .env("LAIN_NODE__PORTS", &self.ports)
            .env("LAIN_NODE__NAME", "here");
        for (name, value) in [
            ("SUPERVISION__DEGRADED_RETRY", "2s"),
            ("SUPERVISION__HEALTHY_AFTER", "2s"),
            ("RECONCILE__INTERVAL", "2s"),
        ] {
            command.env(format!("LAIN_{name}"), value);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    fn dev(&self, flags: &[&str]) -> Vec<String> {
        let path = |name| self.path(name).display().to_string();
        let mut args = vec!["dev".to_owned(), "--data-dir".to_owned(), path("data")];
        args.extend(["--ready-file".to_owned(), path("ready")]);
        let mut with_default = |flag: &str, value: &str| {
            if !flags.contains(&flag) {
                args.extend([flag.to_owned(), value.to_owned()]);
            }
        };
        with_default("--listen", "127.0.0.1:0");
        with_default("--docker-host", &self.docker.0);
        args.extend(flags.iter().map(|&flag| flag.to_owned()));
        args
    }

    /// Starts a lain that is not expected to come up, and waits for its end.
    pub fn start_in_vain(&self, flags: &[&str]) -> Ran {
        let args = self.dev(flags);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let child = self
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut guard = Lain::unready(self, child);
        until("lain ends by itself", || guard.child.try_wait().unwrap());
        let read = |pipe: &mut dyn std::io::Read| {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        };
        let code = guard.child.wait().unwrap().code().unwrap_or(-1);
        let out = guard
            .child
            .stdout
            .take()
            .map(|mut p| read(&mut p))
            .unwrap_or_default();
        let err = guard
            .child
            .stderr
            .take()
            .map(|mut p| read(&mut p))
            .unwrap_or_default();
        Ran { code, out, err }
    }

    /// Starts a lain and waits until it serves.
    pub fn start(&self) -> Lain<'_> {
        self.start_with(&[])
    }

    pub fn start_with(&self, flags: &[&str]) -> Lain<'_> {
        let args = self.dev(flags);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.started(self.command(&args))
    }

    /// Starts a lain whose data directory is a disk of `size` that only it sees.
    pub fn start_on_a_small_disk(&self, size: &str) -> Lain<'_> {
        let script =
            "mkdir -p \"$1\"; mount -t tmpfs -o size=\"$2\" tmpfs \"$1\"; shift 2; exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-ec", script, "sh"])
            .arg(self.path("data"))
            .arg(size);
        command.arg(env!("CARGO_BIN_EXE_lain")).args(self.dev(&[]));
        self.surround(&mut command);
        self.started(command)
    }

    fn started(&self, mut command: Command) -> Lain<'_> {
        let _ = std::fs::remove_file(self.path("ready"));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut lain = Lain::unready(self, child);
        lain.url = until("lain serves", || {
            if let Some(status) = lain.child.try_wait().unwrap() {
                panic!("lain ended at its start ({status}):\n{}", self.log());
            }
            let text = std::fs::read_to_string(self.path("ready")).ok()?;
            text.ends_with('\n').then(|| text.trim().to_owned())
        });
        lain.token = std::fs::read_to_string(lain.data("admin.token"))
            .unwrap()
            .trim()
            .to_owned();
        lain
    }

    /// What the lains here have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let left: Vec<String> = self.containers().into_values().map(|c| c.id).collect();
        if !left.is_empty() {
            let ids: Vec<&str> = left.iter().map(String::as_str).collect();
            self.docker.run(&[&["rm", "-f", "-v"], &ids[..]].concat());
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the log of lain ends with:\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Value,
}

impl Answer {
    /// Fails unless it is a problem with this status; returns its detail.
    pub fn refused(self, status: u16) -> String {
        assert_eq!(self.status, status, "{:#}", self.body);
        assert_eq!(
            self.content_type, "application/problem+json",
            "{:#}",
            self.body
        );
        assert_eq!(self.body["status"], status, "{:#}", self.body);
        self.body["detail"].as_str().unwrap().to_owned()
    }
}

/// A running lain.
pub struct Lain<'h> {
    host: &'h Host,
    child: Child,
    pub url: String,
    token: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl<'h> Lain<'h> {
    fn unready(host: &'h Host, child: Child) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(60));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            host,
            child,
            url: String::new(),
            token: String::new(),
            http: http.build().unwrap(),
            runtime,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A file in the data directory, as lain itself sees it.
    pub fn data(&self, name: &str) -> PathBuf {
        let inside = self.host.path("data").join(name);
        let seen = Path::new("/proc").join(self.pid().to_string()).join("root");
        seen.join(inside.strip_prefix("/").unwrap_or(&inside))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; waits for the end, which is to be a good one.
    pub fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = until("lain stops", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}\n{}", self.host.log());
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(args);
        command
            .env("LAIN_SERVER", &self.url)
            .env("LAIN_TOKEN", &self.token);
        command
    }

    /// A command of the command line.
    pub fn cli(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// `lain deploy`.
    pub fn deploy(&self, yaml: &str) -> Ran {
        self.deploy_with(yaml, &[])
    }

    pub fn deploy_with(&self, yaml: &str, flags: &[&str]) -> Ran {
        let file = tempfile::NamedTempFile::new_in(self.host.dir.path()).unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        self.cli(&[&["deploy", "-f", file.path().to_str().unwrap()], flags].concat())
    }

    /// Sends a request whose body is these bytes.
    ///
    /// # Errors
    /// That nobody answers.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> reqwest::Result<Answer> {
        let method = method.parse().unwrap();
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            let content_type = answer
                .headers()
                .get("content-type")
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            let body = answer.bytes().await?;
            Ok(Answer {
                status,
                content_type,
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            })
        })
    }

    /// Deploys through the API, whatever is there; returns the answer, or that there was none.
    pub fn put(&self, app: &str, yaml: &str) -> reqwest::Result<Answer> {
        let body = serde_json::to_vec(&json!({ "lain_yaml": yaml })).unwrap();
        let path = format!("/api/v1/apps/{app}");
        let there = self.send("GET", &path, &[], Vec::new())?.status == 200;
        let condition = if there {
            ("if-match", "*")
        } else {
            ("if-none-match", "*")
        };
        self.send(
            "PUT",
            &path,
            &[("content-type", "application/json"), condition],
            body,
        )
    }

    pub fn get(&self, path: &str) -> Value {
        let answer = self
            .send("GET", &format!("/api/v1/{path}"), &[], Vec::new())
            .unwrap();
        assert_eq!(answer.status, 200, "{path}: {:#}", answer.body);
        answer.body
    }

    /// The app as the API shows it.
    pub fn app(&self, app: &str) -> Value {
        self.get(&format!("apps/{app}"))
    }

    /// Waits until the app is in this state.
    pub fn until_app_is(&self, app: &str, state: &str) -> Value {
        let mut last = Value::Null;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            last = self.app(app);
            if last["state"] == state {
                return last;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not {state}: {last:#}");
    }

    /// An instance as the API shows it.
    pub fn instance(&self, app: &str, proc: &str, no: u32) -> Value {
        self.get(&format!("apps/{app}/procs/{proc}/instances/{no}"))
    }

    /// Every actor below a path, by its path.
    pub fn actors(&self, path: &str) -> BTreeMap<String, Value> {
        fn flatten(actor: &Value, into: &mut BTreeMap<String, Value>) {
            for child in actor["children"].as_array().into_iter().flatten() {
                flatten(child, into);
            }
            into.insert(actor["path"].as_str().unwrap().to_owned(), actor.clone());
        }
        let mut all = BTreeMap::new();
        flatten(&self.get(&format!("supervision?path={path}")), &mut all);
        all
    }

    /// Kinds of what happened to an app, oldest first.
    pub fn events_of(&self, app: &str) -> Vec<String> {
        let events = self.get("events?limit=1000");
        let all = events["items"].as_array().cloned().unwrap_or_default();
        all.iter()
            .filter(|e| e["app"] == app)
            .map(|e| e["kind"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What `http://<address><path>` answers; nothing while it does not.
    pub fn fetch(&self, address: &str, path: &str) -> Option<(u16, String)> {
        let request = self
            .http
            .get(format!("http://{address}{path}"))
            .timeout(Duration::from_secs(5));
        self.runtime.block_on(async {
            let answer = request.send().await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        })
    }
}

impl Drop for Lain<'_> {
    fn drop(&mut self) {
        // One that has ended is no longer there to be killed, which is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where an instance's first port is published.
pub fn address(instance: &Value) -> String {
    instance["endpoints"][0]["address"]
        .as_str()
        .unwrap_or_else(|| panic!("no address: {instance:#}"))
        .to_owned()
}

/// The instances of a container list, each of which is there once.
pub fn instances(containers: &BTreeMap<String, Container>) -> BTreeSet<&str> {
    let all: BTreeSet<&str> = containers.values().map(|c| c.instance.as_str()).collect();
    assert_eq!(
        all.len(),
        containers.len(),
        "two containers for one instance: {containers:#?}"
    );
    all
}

/// Numbers that a printed seed repeats; set `LAIN_E2E_SEED` to repeat them.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let seed = std::env::var("LAIN_E2E_SEED")
            .map_or(now.as_nanos() as u64 | 1, |text| text.parse().unwrap());
        eprintln!("LAIN_E2E_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        // xorshift64: enough to pick victims and instants.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
