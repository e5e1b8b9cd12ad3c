//! A real etcd for tests: one member on free loopback ports, its data in a temporary folder, ended with the test.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use lain::drivers::etcd::{EtcdConfig, EtcdStore};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running member.
pub struct Etcd {
    /// Its process, while it runs.
    pub child: Option<Child>,
    dir: TempDir,
    /// Its port for clients, on the loopback.
    pub client: u16,
    peer: u16,
    scheme: &'static str,
    flags: Vec<String>,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Etcd {
    /// Starts one, and waits until it answers.
    pub fn start() -> Self {
        Self::start_with("http", |_| Vec::new())
    }

    /// Starts one with more flags, which may name files that are made in its folder.
    pub fn start_with(scheme: &'static str, flags: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let flags = flags(dir.path());
        let (client, peer) = (free_port(), free_port());
        let mut etcd = Self {
            child: None,
            dir,
            client,
            peer,
            scheme,
            flags,
        };
        etcd.start_again();
        etcd
    }

    /// Starts it on the same data and ports.
    pub fn start_again(&mut self) {
        let client = format!("{}://127.0.0.1:{}", self.scheme, self.client);
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new("etcd");
        command
            .arg("--data-dir")
            .arg(self.dir.path().join("data"))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--initial-cluster",
                &format!("default={peer}"),
                "--logger",
                "zap",
            ])
            .args(["--heartbeat-interval", "50", "--election-timeout", "250"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|e| {
            panic!("etcd cannot be started ({e}); install it: scripts/etcd.sh install")
        });
        self.child = Some(child);
        self.wait();
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let said =
            |etcd: &Self| std::fs::read_to_string(etcd.dir.path().join("log")).unwrap_or_default();
        // It listens before it has a leader; that it serves clients is what it says last.
        while !said(self).contains("serving client traffic") {
            let ended = self.child.as_mut().and_then(|c| c.try_wait().unwrap());
            assert!(ended.is_none(), "etcd has ended: {}", said(self));
            assert!(
                Instant::now() < deadline,
                "etcd does not come up: {}",
                said(self)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended cannot be killed, and that is as well.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// How to reach it, under a root of its own.
    pub fn config(&self, root: &str) -> EtcdConfig {
        EtcdConfig::parse(&format!("etcd://127.0.0.1:{}/{root}", self.client)).unwrap()
    }

    /// A store on it.
    pub async fn store(&self, root: &str) -> EtcdStore {
        EtcdStore::connect(self.config(root)).await.unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}
