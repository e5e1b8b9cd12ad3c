//! lain itself as processes: `lain dev`, or a control host with a node, over local processes; and an app that
//! writes numbered lines.

use super::servers::{Running, port};
use super::world::Seen;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation in a folder.
pub struct Daemons {
    /// Everything is in here.
    pub dir: tempfile::TempDir,
    api: u16,
    link: u16,
    running: Vec<(&'static str, Running)>,
}

impl Daemons {
    /// Nothing runs yet.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lain-daemons-")
            .tempdir()
            .unwrap();
        Self {
            dir,
            api: port(),
            link: port(),
            running: Vec::new(),
        }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lain"));
        command
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env_remove("LAIN_CONFIG");
        command
    }

    fn start(&mut self, role: &'static str, mut command: Command) {
        let ready = self.path(&format!("{role}.ready"));
        let _ = std::fs::remove_file(&ready);
        command.arg("--ready-file").arg(&ready);
        let log = self.path(&format!("{role}.log"));
        let running = Running::start(&mut command, &log);
        self.running.retain(|(name, _)| *name != role);
        self.running.push((role, running));
        self.until(role, "it is ready", || ready.exists());
    }

    /// `lain dev` with `lain.toml`.
    pub fn dev(&mut self) {
        let mut command = self.command();
        command.args(["dev", "--engine", "process", "--keep"]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.api)]);
        command.arg("--data-dir").arg(self.path("dev"));
        command.arg("--config").arg(self.path("lain.toml"));
        self.start("dev", command);
    }

    /// `lain server` with `lain.toml`.
    pub fn server(&mut self) {
        let mut command = self.command();
        command.arg("server");
        command.args(["--listen", &format!("127.0.0.1:{}", self.api)]);
        command.args(["--link-listen", &format!("127.0.0.1:{}", self.link)]);
        command.arg("--data-dir").arg(self.path("server"));
        command.arg("--config").arg(self.path("lain.toml"));
        self.start("server", command);
    }

    /// `lain agent` with `agent.toml`; joins when it is the first time.
    pub fn agent(&mut self) {
        let joined = self.path("agent").exists();
        let mut command = self.command();
        if joined {
            command.arg("agent");
        } else {
            let line = self.lain(&["node", "token"]);
            let words: Vec<&str> = line.split_whitespace().collect();
            let (name, token) = words[0].split_once('=').unwrap();
            command.env(name, token).args(&words[2..]);
        }
        command.args(["--engine", "process", "--node-name", "n1"]);
        command.arg("--data-dir").arg(self.path("agent"));
        command.arg("--config").arg(self.path("agent.toml"));
        self.start("agent", command);
    }

    fn process(&mut self, role: &str) -> &mut Running {
        let found = self.running.iter_mut().find(|(name, _)| *name == role);
        &mut found.unwrap().1
    }

    /// SIGKILL.
    pub fn kill(&mut self, role: &str) {
        self.process(role).kill();
    }

    /// SIGHUP.
    pub fn hang_up(&mut self, role: &str) {
        self.process(role).hang_up();
    }

    /// What a role has logged.
    pub fn log(&self, role: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{role}.log"))).unwrap_or_default()
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    fn token_file(&self) -> Option<PathBuf> {
        let folders = ["dev", "server"].map(|role| self.path(role));
        folders
            .iter()
            .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .find(|path| path.display().to_string().contains("token"))
    }

    /// The administrator's token.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.token_file().unwrap()).unwrap();
        text.trim().to_owned()
    }

    /// The command line.
    pub fn try_lain(&self, args: &[&str]) -> Output {
        let token = self.token_file();
        let mut command = self.command();
        command
            .args(args)
            .env("LAIN_SERVER", self.url())
            .env("LAIN_TOKEN_FILE", token.unwrap_or_default());
        command.output().unwrap()
    }

    /// The command line, which must succeed; what it printed.
    pub fn lain(&self, args: &[&str]) -> String {
        let ran = self.try_lain(args);
        assert!(
            ran.status.success(),
            "lain {args:?}: {}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// What it printed as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.extend(["-o", "json"]);
        serde_json::from_str(&self.lain(&args)).unwrap()
    }

    /// The sink of this name.
    pub fn sink(&self, name: &str) -> Value {
        let all = self.json(&["sink", "list"]);
        let items = all["items"].as_array().or(all.as_array()).cloned();
        let mut items = items.unwrap_or_default().into_iter();
        items.find(|sink| sink["name"] == name).unwrap_or_default()
    }

    /// Deploys app `proof`: so many instances that write so many lines each, a hundred every fiftieth of a second.
    pub fn deploy(&self, instances: u32, lines: u32) {
        let write = format!(
            "i=0; while [ $i -lt {lines} ]; do echo \"proof $LAIN_INSTANCE_NO $i of some request\"; i=$((i+1)); [ $((i % 100)) -ne 0 ] || sleep 0.02; done"
        );
        self.deploy_command(instances, &write);
    }

    /// The same, a hundred lines every half second: what is changed meanwhile is changed under way.
    pub fn deploy_slowly(&self, instances: u32, lines: u32) {
        let write = format!(
            "i=0; while [ $i -lt {lines} ]; do echo \"proof $LAIN_INSTANCE_NO $i of some request\"; i=$((i+1)); [ $((i % 100)) -ne 0 ] || sleep 0.5; done"
        );
        self.deploy_command(instances, &write);
    }

    /// The same, a thousand lines every tenth of a second.
    pub fn deploy_fast(&self, instances: u32, lines: u64) {
        let write = format!(
            "awk -v no=$LAIN_INSTANCE_NO \"BEGIN {{ for (i = 0; i < {lines}; i++) {{ print \\\"proof\\\", no, i, \\\"of some request\\\"; if (i % 1000 == 999) {{ fflush(); system(\\\"sleep 0.1\\\") }} }} }}\""
        );
        self.deploy_command(instances, &write);
    }

    fn deploy_command(&self, instances: u32, write: &str) {
        let pids = self.path("pids");
        let yaml = format!(
            "appname: proof\nproc.talk:\n  type: worker\n  image: none\n  cmd: sh -c 'echo $$ >> {pids}; {write}; exec sleep 100000'\n  num_instances: {instances}\n",
            pids = pids.display(),
        );
        self.write("lain.yaml", &yaml);
        let file = self.path("lain.yaml").display().to_string();
        self.lain(&["deploy", "-f", &file]);
    }

    /// Waits.
    pub fn until(&self, role: &str, what: &str, mut ask: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !ask() {
            assert!(
                Instant::now() < until,
                "not within {PATIENCE:?}: {what}\n{}",
                self.log(role)
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        self.running.clear();
        // Instances outlive a lain that is killed.
        let pids = std::fs::read_to_string(self.path("pids")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.trim().parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // It may have ended by itself.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// The numbered lines of app `proof` in a file, whatever stands around them.
pub fn numbered(path: &Path) -> Vec<Seen> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let line = |line: &str| {
        let rest = &line[line.rfind("proof ")? + 6..];
        let mut words = rest.split(' ');
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    text.lines()
        .filter(|l| l.contains(" of some request"))
        .filter_map(line)
        .collect()
}

/// Each line of `instances` is there, those of an instance in order when each is taken the first time; how many
/// came more than once.
pub fn complete(seen: &[Seen], instances: u32, lines: u64) -> Option<usize> {
    let mut next = vec![0; instances as usize + 1];
    let mut known = std::collections::HashSet::new();
    for (no, n) in seen {
        if known.insert((*no, *n)) {
            let next = next.get_mut(*no as usize)?;
            assert_eq!(n, next, "instance {no}, in order");
            *next += 1;
        }
    }
    let all = next.iter().skip(1).all(|n| *n == lines);
    all.then(|| seen.len() - known.len())
}
