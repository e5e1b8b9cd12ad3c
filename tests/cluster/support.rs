//! The rig, a control host on its switch, an agent on each node; and the words of the scenarios.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tests take turns: there is one rig.
static TURN: Mutex<()> = Mutex::new(());

/// A file with one web proc.
pub fn web(app: &str, instances: u32, more: &str) -> String {
    format!(
        "appname: {app}\nweb:\n  image: lain/hello:1\n  port: 80\n  memory: 32m\n  num_instances: {instances}\n{more}"
    )
}

/// See the module. Everything goes when it is dropped.
pub struct Cluster {
    nodes: u32,
    dir: tempfile::TempDir,
    server: Mutex<Option<Child>>,
    standby: Mutex<Option<Child>>,
    /// Which control host the command line speaks to.
    front: std::sync::atomic::AtomicUsize,
    _turn: MutexGuard<'static, ()>,
}

fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Cluster {
    pub fn start(nodes: u32) -> Self {
        Self::start_with(nodes, &[])
    }

    /// With more arguments for `up`.
    pub fn start_with(nodes: u32, more: &[&str]) -> Self {
        let cluster = Self::engines_with(nodes, more);
        cluster.start_server();
        for node in 1..=nodes {
            cluster.join(node);
        }
        for node in 1..=nodes {
            cluster.until("all nodes are ready", || {
                cluster.node_state(&format!("node{node}")) == "ready"
            });
        }
        cluster
    }

    /// The engines alone.
    pub fn engines(nodes: u32) -> Self {
        Self::engines_with(nodes, &[])
    }

    fn engines_with(nodes: u32, more: &[&str]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // A short path: the engine's sockets are below it.
        let dir = tempfile::Builder::new()
            .prefix("lain-rig")
            .tempdir_in("/tmp")
            .unwrap();
        let cluster = Self {
            nodes,
            dir,
            server: Mutex::new(None),
            standby: Mutex::new(None),
            front: std::sync::atomic::AtomicUsize::new(0),
            _turn: turn,
        };
        let image = cluster.dir.path().join("hello.tar");
        let made = Command::new(repo().join("scripts/make-image.sh"))
            .args(["-t", "lain/hello:1", "-o"])
            .arg(&image)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let image = image.display().to_string();
        let count = nodes.to_string();
        cluster.rig(&[&["up", &count, "-i", &image], more].concat());
        cluster
    }

    fn rig_dir(&self) -> PathBuf {
        self.dir.path().join("rig")
    }

    fn rig_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(repo().join("tests/rig/cluster.sh"));
        command.args(args).env("RIG_DIR", self.rig_dir());
        command
    }

    pub fn rig(&self, args: &[&str]) -> String {
        let ran = self
            .rig_command(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "cluster.sh {args:?}: {}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    pub fn docker(&self, node: u32, args: &[&str]) -> String {
        let node = node.to_string();
        self.rig(&[&["docker", &node], args].concat())
    }

    /// For what may be gone already.
    pub fn docker_may_fail(&self, node: u32, args: &[&str]) {
        let node = node.to_string();
        let ran = self
            .rig_command(&[&["docker", &node], args].concat())
            .output();
        drop(ran.unwrap());
    }

    /// Where a node's agent keeps its data.
    pub fn agent_data(&self, node: u32) -> PathBuf {
        self.data(&format!("node{node}"))
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Two control hosts on one etcd, the first one leading.
    pub fn with_standby(nodes: u32, store: &str) -> Self {
        let cluster = Self::engines(nodes);
        cluster.start_control(0, Some(store));
        cluster.until("the first one leads", || {
            cluster.data("server0/admin.token").exists()
        });
        cluster.start_control(1, Some(store));
        for node in 1..=nodes {
            let joining = cluster.join_command();
            let both = "--join 10.77.0.1:7420,10.77.0.1:7421";
            cluster.join_with(node, &joining.replace("--join 10.77.0.1:7420", both));
        }
        for node in 1..=nodes {
            cluster.until("all nodes are ready", || {
                cluster.node_state(&format!("node{node}")) == "ready"
            });
        }
        cluster
    }

    /// The command line speaks to this control host from now on.
    pub fn speak_to(&self, control: usize) {
        self.front.store(control, Ordering::Relaxed);
    }

    pub fn start_server(&self) {
        self.start_control(0, None);
    }

    pub fn start_control(&self, number: usize, store: Option<&str>) {
        let ready = self.data(&format!("ready{number}"));
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::File::create(self.data(&format!("server{number}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lain"))
            .args(["server", "--listen", "127.0.0.1:0", "--link-listen"])
            .arg(format!("10.77.0.1:742{number}"))
            .args(["--store", store.unwrap_or("embedded")])
            .args(["--log-format", "text", "--data-dir"])
            .arg(self.data(&format!("server{number}")))
            .arg("--ready-file")
            .arg(&ready)
            .env("LAIN_NODE__NAME", format!("control{number}"))
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let slot = if number == 0 {
            &self.server
        } else {
            &self.standby
        };
        *slot.lock().unwrap() = Some(child);
        self.until("the control host serves", || {
            std::fs::read_to_string(&ready).is_ok_and(|t| t.ends_with('\n'))
        });
    }

    /// SIGKILL.
    pub fn kill_server(&self) {
        end(&self.server);
    }

    /// Sends the first control host a signal.
    pub fn signal_server(&self, signal: &str) {
        let server = self.server.lock().unwrap();
        send(signal, server.as_ref().unwrap().id());
    }

    /// Sends a node's agent a signal, and none of its containers.
    pub fn signal_agent(&self, node: u32, signal: &str) {
        let pid = self.rig(&["pid", &node.to_string(), "agent"]);
        send(signal, pid.trim().parse().unwrap());
    }

    /// Starts the control hosts anew that have ended by themselves.
    pub fn restart_what_ended(&self, store: &str) {
        for (number, slot) in [&self.server, &self.standby].into_iter().enumerate() {
            let ended = {
                let mut child = slot.lock().unwrap();
                child
                    .as_mut()
                    .is_none_or(|c| c.try_wait().unwrap().is_some())
            };
            if ended {
                self.start_control(number, Some(store));
            }
        }
    }

    fn url(&self) -> String {
        let front = self.front.load(Ordering::Relaxed);
        let url = std::fs::read_to_string(self.data(&format!("ready{front}"))).unwrap();
        url.trim().to_owned()
    }

    /// The file that says where a control host's API is.
    pub fn ready_file(&self, number: usize) -> PathBuf {
        self.data(&format!("ready{number}"))
    }

    /// The first control host's token: all that share a store know it.
    pub fn token(&self) -> PathBuf {
        self.data("server0/admin.token")
    }

    /// What the command line printed, whether it succeeded or not.
    pub fn may_fail(&self, args: &[&str]) -> String {
        let ran = self.lain_command(args).output().unwrap();
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    pub fn deploy_without_waiting(&self, yaml: &str) {
        let file = self.data("lain.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.lain(&["deploy", "--no-wait", "-f", &file.display().to_string()]);
    }

    fn lain_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lain"));
        command
            .args(args)
            .stdin(Stdio::null())
            .env("LAIN_SERVER", self.url())
            .env("LAIN_TOKEN_FILE", self.token());
        command
    }

    /// The command line, which must succeed; what it printed.
    pub fn lain(&self, args: &[&str]) -> String {
        let ran = self.lain_command(args).output().unwrap();
        assert!(
            ran.status.success(),
            "lain {args:?}: {}{}\n{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr),
            self.logs()
        );
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    pub fn deploy(&self, yaml: &str) {
        let file = self.data("lain.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.lain(&["deploy", "-f", &file.display().to_string()]);
    }

    /// The line that `lain node token` prints.
    pub fn join_command(&self) -> String {
        self.lain(&["node", "token"]).trim().to_owned()
    }

    pub fn join(&self, node: u32) {
        self.join_with(node, &self.join_command());
    }

    pub fn join_with(&self, node: u32, command: &str) {
        let words = self.agent_words(node, command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.rig(&words);
    }

    /// What the agent said when it was not let in.
    pub fn try_join_with(&self, node: u32, command: &str) -> String {
        let words = self.agent_words(node, command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        drop(
            self.rig_command(&words)
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        );
        let mut log = String::new();
        self.until("the agent ends", || {
            log = self.agent_log(node);
            log.contains("was not let in")
        });
        log
    }

    /// An agent whose host's clock is `ahead` seconds ahead of the others; the monotonic one goes as theirs.
    pub fn join_with_clock(&self, node: u32, ahead: i32, command: &str) {
        let library = faketime();
        let library = library.display();
        let lies =
            format!("LD_PRELOAD={library} FAKETIME={ahead:+}s FAKETIME_DONT_FAKE_MONOTONIC=1");
        self.join_with(node, &format!("{lies} {command}"));
    }

    /// An agent that has joined before.
    pub fn agent(&self, node: u32) {
        self.join_with(node, "lain agent");
    }

    fn agent_words(&self, node: u32, command: &str) -> Vec<String> {
        let mut words = vec!["spawn".to_owned(), node.to_string(), "agent".to_owned()];
        words.push("env".to_owned());
        words.extend(command.split(' ').map(|word| match word {
            "lain" => env!("CARGO_BIN_EXE_lain").to_owned(),
            word => word.to_owned(),
        }));
        let socket = self.rig_dir().join(format!("node{node}/docker.sock"));
        let more = [
            "--node-name".to_owned(),
            format!("node{node}"),
            "--data-dir".to_owned(),
            self.data(&format!("node{node}")).display().to_string(),
            "--docker-host".to_owned(),
            format!("unix://{}", socket.display()),
            "--publish".to_owned(),
            "0.0.0.0".to_owned(),
            "--address".to_owned(),
            format!("10.77.0.1{node}"),
        ];
        words.extend(more);
        words
    }

    pub fn agent_log(&self, node: u32) -> String {
        let log = self.rig_dir().join(format!("node{node}/agent.log"));
        std::fs::read_to_string(log).unwrap_or_default()
    }

    /// What the control hosts said.
    fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.data(name)).unwrap_or_default();
        let logs = ["server0.log", "server1.log"].map(|name| format!("{name}:\n{}", read(name)));
        logs.concat()
    }

    pub fn until(&self, what: &str, mut ask: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !ask() {
            if Instant::now() > deadline {
                let now =
                    self.may_fail(&["tree"]) + &self.may_fail(&["operation", "list", "-o", "json"]);
                panic!("not within {PATIENCE:?}: {what}\n{now}\n{}", self.logs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.lain(args)).unwrap()
    }

    pub fn node_state(&self, name: &str) -> String {
        let node = self
            .lain_command(&["node", "show", name, "-o", "json"])
            .output();
        let node: Value = serde_json::from_slice(&node.unwrap().stdout).unwrap_or_default();
        node["state"].as_str().unwrap_or_default().to_owned()
    }

    fn instance_values(&self, app: &str) -> Vec<Value> {
        let view = self.json(&["ps", "-a", app, "-o", "json"]);
        let procs = view["procs"].as_array().cloned().unwrap_or_default();
        let all = procs.iter().filter_map(|p| p["instances"].as_array());
        all.flatten().cloned().collect()
    }

    /// Node and state of each instance.
    pub fn instances(&self, app: &str) -> Vec<(String, String)> {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let all = self.instance_values(app);
        all.iter()
            .map(|i| (text(&i["node"]), text(&i["state"])))
            .collect()
    }

    /// How many running instances each node has.
    pub fn spread(&self, app: &str) -> Vec<usize> {
        let all = self.instances(app);
        let on = |node: u32| {
            let name = format!("node{node}");
            all.iter()
                .filter(|(n, state)| *n == name && state == "running")
                .count()
        };
        (1..=self.nodes).map(on).collect()
    }

    /// Where the instances answer.
    pub fn addresses(&self, app: &str) -> Vec<String> {
        let all = self.instance_values(app);
        let addresses = all
            .iter()
            .filter_map(|i| i["endpoints"][0]["address"].as_str());
        addresses.map(str::to_owned).collect()
    }

    pub fn all_answer(&self, app: &str, count: usize) {
        self.until("all answer", || {
            let addresses = self.addresses(app);
            addresses.len() == count && addresses.iter().all(|a| answers(a))
        });
    }

    /// The engine's containers of an app on a node, and whether they run.
    pub fn containers(&self, node: u32, app: &str) -> BTreeMap<String, bool> {
        let filter = format!("name=^/{app}\\.");
        let listed = self.docker(
            node,
            &[
                "ps",
                "-a",
                "--filter",
                &filter,
                "--format",
                "{{.Names}} {{.State}}",
            ],
        );
        let lines = listed.lines().filter_map(|l| l.split_once(' '));
        lines
            .map(|(name, state)| (name.to_owned(), state == "running"))
            .collect()
    }

    /// When each container of an app on the nodes that have power was started.
    pub fn started(&self, app: &str) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let status = self.rig(&["status"]);
        for node in 1..=self.nodes {
            let up = status
                .lines()
                .any(|l| l.starts_with(&format!("node{node} ")) && l.contains(" up "));
            if !up {
                continue;
            }
            for name in self.containers(node, app).into_keys() {
                let at = self.docker(node, &["inspect", "-f", "{{.State.StartedAt}}", &name]);
                all.insert(name, at.trim().to_owned());
            }
        }
        all
    }
}

/// Looks at the processes of an app on all nodes until it is stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    looks: std::thread::JoinHandle<(u32, u32)>,
}

impl Watch {
    /// How many looks there were, and how many saw more than one.
    pub fn stop(self) -> (u32, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.looks.join().unwrap()
    }
}

impl Cluster {
    /// Counts the processes that serve an app, straight from the kernel: containers say their instance in their
    /// environment.
    pub fn watch_twice(&self, app: &str) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mark = format!("DEPLOYD_POD_NAME={app}.");
        let looks = std::thread::spawn(move || {
            let (mut looks, mut twice) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                looks += 1;
                if pods(&mark) > 1 {
                    twice += 1;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            (looks, twice)
        });
        Watch { stop, looks }
    }
}

/// The library that makes programs see another time.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = folders.map(|f| f.path().join("faketime/libfaketime.so.1"));
    let found = found.find(|library| library.exists());
    found.expect("libfaketime is missing; install it: apt-get install faketime")
}

/// How many different containers have a process whose environment has this mark.
fn pods(mark: &str) -> usize {
    let mut found = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // One that has ended meanwhile is none.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        let variables = environment.split(|b| *b == 0);
        found.extend(
            variables
                .filter(|v| v.starts_with(mark.as_bytes()))
                .map(<[u8]>::to_vec),
        );
    }
    found.len()
}

/// Sends one process a signal.
pub fn send(signal: &str, pid: u32) {
    let mut kill = Command::new("kill");
    let sent = kill.args(["-s", signal, &pid.to_string()]).status();
    assert!(sent.unwrap().success(), "{signal} to {pid}");
}

/// SIGKILL.
fn end(process: &Mutex<Option<Child>>) {
    let process = process
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(mut child) = process {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(&self.server);
        end(&self.standby);
        // Best effort, also while a test fails: the rig ends everything that it started.
        drop(self.rig_command(&["down"]).output());
    }
}

/// Whether a web instance answers 200.
pub fn answers(address: &str) -> bool {
    let Ok(parsed) = address.parse() else {
        return false;
    };
    let Ok(mut stream) = TcpStream::connect_timeout(&parsed, Duration::from_millis(300)) else {
        return false;
    };
    let limit = Some(Duration::from_secs(1));
    if stream.set_read_timeout(limit).is_err() {
        return false;
    }
    let request = b"GET /cgi-bin/health HTTP/1.0\r\n\r\n";
    let mut head = [0; 12];
    stream.write_all(request).is_ok()
        && stream.read_exact(&mut head).is_ok()
        && &head[9..] == b"200"
}

/// What a client saw.
pub struct Seen {
    /// Moments in which no address of its list answered.
    pub gaps: u32,
}

/// A client with a list of addresses: each request goes to the next one, and to those after it when that does
/// not answer.
pub struct Load {
    stop: Arc<AtomicBool>,
    client: std::thread::JoinHandle<u32>,
}

impl Load {
    /// With a fixed list.
    pub fn on(addresses: Vec<String>) -> Self {
        Self::with(move || addresses.clone())
    }

    /// With a list that follows the app.
    pub fn on_live(cluster: &Cluster, app: &str) -> Self {
        let (url, token) = (cluster.url(), cluster.token());
        let app = app.to_owned();
        // A control host that does not answer for a moment does not make a client forget its list.
        let last = std::cell::RefCell::new(Vec::new());
        let list = move || {
            let ran = Command::new(env!("CARGO_BIN_EXE_lain"))
                .args(["ps", "-a", &app, "-o", "json"])
                .env("LAIN_SERVER", &url)
                .env("LAIN_TOKEN_FILE", &token)
                .output()
                .unwrap();
            let view: Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
            let procs = view["procs"].as_array().cloned().unwrap_or_default();
            let all = procs
                .iter()
                .filter_map(|p| p["instances"].as_array())
                .flatten();
            let now: Vec<String> = all
                .filter_map(|i| i["endpoints"][0]["address"].as_str())
                .map(str::to_owned)
                .collect();
            if !now.is_empty() {
                last.replace(now);
            }
            last.borrow().clone()
        };
        Self::with(list)
    }

    fn with(list: impl Fn() -> Vec<String> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let client = std::thread::spawn(move || {
            let (mut gaps, mut next) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                let addresses = list();
                let count = addresses.len();
                next += 1;
                let served = (0..count).any(|k| answers(&addresses[(next + k) % count]));
                if !served {
                    gaps += 1;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            gaps
        });
        Self { stop, client }
    }

    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        Seen {
            gaps: self.client.join().unwrap(),
        }
    }
}
