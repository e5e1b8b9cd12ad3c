//! Real Docker Engines for tests: the one of this machine, and private ones that a test may break.

use lain::drivers::docker::{Docker, Options};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name)
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The engine of this machine, with the sample image in it.
pub fn machine() -> &'static str {
    static ENDPOINT: OnceLock<String> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        let status = run(Command::new(script("docker.sh")).arg("status"));
        assert!(
            status.status.success(),
            "these tests need a Docker Engine, and none answers; install and start one with:\n\n    \
             export DOCKER_HOST=$(sudo scripts/docker.sh ensure)\n"
        );
        let endpoint = text(&status.stdout);
        load_sample(&endpoint);
        endpoint
    })
}

/// Loads `lain/hello:1` into an engine.
fn load_sample(endpoint: &str) {
    let mut make = Command::new(script("make-image.sh"));
    let made = run(make.arg("-l").env("DOCKER_HOST", endpoint));
    assert!(made.status.success(), "{}", text(&made.stderr));
}

/// A driver for an engine.
pub fn driver(endpoint: &str) -> Docker {
    Docker::new(Options {
        endpoint: endpoint.to_owned(),
        ..Options::default()
    })
}

/// An engine of one's own. Ends with the test.
pub struct Private {
    dir: tempfile::TempDir,
    flags: &'static [&'static str],
}

impl Private {
    /// Starts one, without firewall rules, its containers living on while it is away.
    pub fn start() -> Self {
        Self::with(&["--iptables=false", "--live-restore"])
    }

    /// Starts one with these flags. Without `--live-restore` its containers end with it.
    pub fn with(flags: &'static [&'static str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lain-engine-")
            .tempdir()
            .unwrap();
        let private = Self { dir, flags };
        private.ensure();
        load_sample(&private.endpoint());
        private
    }

    fn docker_sh(&self, command: &str) -> Command {
        let mut docker_sh = Command::new(script("docker.sh"));
        docker_sh.arg(command).arg("--dir").arg(self.dir.path());
        docker_sh
    }

    /// Starts it again after [`Private::kill`].
    pub fn ensure(&self) {
        let done = run(self.docker_sh("ensure").arg("--").args(self.flags));
        assert!(done.status.success(), "{}", text(&done.stderr));
    }

    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.dir.path().join("docker.sock").display())
    }

    /// Kills the engine, as a crash would; its containers run on.
    pub fn kill(&self) {
        self.end(rustix::process::Signal::KILL);
    }

    /// Ends the engine by a signal and waits for its end.
    pub fn end(&self, signal: rustix::process::Signal) {
        let recorded = std::fs::read_to_string(self.dir.path().join("dockerd.pid")).unwrap();
        let pid = recorded.split_whitespace().next().unwrap();
        let engine = lain::drivers::pidfd::Process::open(pid.parse().unwrap()).unwrap();
        engine.signal(signal).unwrap();
        while !engine.has_ended() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let stopped = run(self.docker_sh("stop").arg("--purge"));
        if !stopped.status.success() {
            eprintln!("{}", text(&stopped.stderr));
        }
    }
}

/// Removes an image that a test has pulled.
pub fn remove_image(endpoint: &str, image: &str) {
    run(Command::new("docker").args(["-H", endpoint, "image", "rm", image]));
}
