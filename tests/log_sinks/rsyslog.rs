//! rsyslog, over RELP, TCP, UDP and TLS.

use super::servers::{Running, need, port, script};
use super::world::{Seen, World, parse};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An rsyslog, and the ports of its inputs.
pub struct Rsyslog {
    dir: PathBuf,
    ports: [u16; 4],
    running: Running,
}

const TCP: usize = 0;
const RELP: usize = 1;
const UDP: usize = 2;
const TLS: usize = 3;
const KINDS: [&str; 4] = ["tcp", "relp", "udp", "tls"];

fn installed() -> bool {
    let libraries = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    Path::new("/usr/sbin/rsyslogd").exists()
        && libraries
            .iter()
            .any(|l| Path::new(l).join("rsyslog/imrelp.so").exists())
}

impl Rsyslog {
    fn start(dir: &Path, inputs: &[usize]) -> Self {
        need(installed(), "rsyslog.sh");
        let mut ports = [0; 4];
        for input in inputs {
            ports[*input] = port();
        }
        let dir = dir.join("rsyslog");
        std::fs::create_dir_all(&dir).unwrap();
        if inputs.contains(&TLS) {
            certificates(&dir);
        }
        let running = Self::run(&dir, ports);
        Self {
            dir,
            ports,
            running,
        }
    }

    fn run(dir: &Path, ports: [u16; 4]) -> Running {
        let _ = std::fs::remove_file(dir.join("rsyslogd.pid"));
        let mut command = Command::new(script("rsyslog.sh"));
        command
            .arg("run")
            .arg(dir)
            .args(ports.map(|p| p.to_string()));
        let mut running = Running::start(&mut command, &dir.join("out.log"));
        for (input, port) in ports.iter().enumerate() {
            if *port > 0 && input != UDP {
                running.wait_for_port(*port);
            }
        }
        running
    }

    /// One with RELP alone.
    pub fn with_relp(dir: &Path) -> Self {
        Self::start(dir, &[RELP])
    }

    /// Where it takes RELP.
    pub fn relp_port(&self) -> u16 {
        self.ports[RELP]
    }

    /// What came by RELP.
    pub fn relp_log(&self) -> PathBuf {
        self.dir.join("relp.log")
    }

    /// SIGTERM.
    pub fn stop(&mut self) {
        self.running.stop();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts it again.
    pub fn again(&mut self) {
        self.running = Self::run(&self.dir, self.ports);
    }

    fn rows(&self, input: usize) -> Vec<serde_json::Value> {
        let text =
            std::fs::read(self.dir.join(format!("{}.log", KINDS[input]))).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // The last one may be half written.
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn seen(&self, input: usize) -> Vec<Seen> {
        self.rows(input)
            .iter()
            .map(|row| parse(row["msg"].as_str().unwrap().trim_start()))
            .collect()
    }
}

/// An authority, and a certificate of it for localhost: `ca.pem`, `cert.pem` and `key.pem`.
pub fn certificates(dir: &Path) {
    let run = |args: &[&str]| {
        let done = Command::new("openssl")
            .args(args)
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "openssl {args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    run(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=test ca",
    ]);
    run(&[
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "cert.csr",
        "-subj",
        "/CN=localhost",
    ]);
    std::fs::write(dir.join("ext"), "subjectAltName=DNS:localhost\n").unwrap();
    run(&[
        "x509",
        "-req",
        "-in",
        "cert.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "ext",
        "-out",
        "cert.pem",
    ]);
}

fn sink(kind: &str, port: u16, more: &str) -> String {
    format!(
        "[[logging.sink]]\nname = \"{kind}\"\ntype = \"{kind}\"\naddress = \"localhost:{port}\"\nretry_max = \"1s\"\nmax_message = \"60KiB\"\n{more}\n"
    )
}

/// Everything that can happen, at once: the receiver goes and comes, with and without a farewell, and the
/// pipeline is killed.
fn through_accidents(world: &mut World, rsyslog: &mut Rsyslog) {
    world.start();
    for round in 0..6 {
        world.write(400);
        match round {
            1 => rsyslog.stop(),
            2 | 4 => {
                world.kill();
                rsyslog.again();
            }
            3 => rsyslog.kill(),
            _ => world.kill(),
        }
        std::thread::sleep(std::time::Duration::from_millis(400));
    }
}

#[test]
fn relp_loses_nothing_while_rsyslog_and_the_pipeline_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut rsyslog = Rsyslog::start(dir.path(), &[RELP]);
    let mut world = World::new(3, &sink("relp", rsyslog.ports[RELP], ""));
    through_accidents(&mut world, &mut rsyslog);
    let twice = world.all_arrive(|| rsyslog.seen(RELP));
    // A batch at most is on the way at each of eleven accidents.
    assert!(twice <= 11 * 5000, "{twice} came twice");
    let row = &rsyslog.rows(RELP)[0];
    assert_eq!(row["app"], "shop");
    assert_eq!(row["host"], "n1.example");
    let sd = row["sd"].as_str().unwrap();
    assert!(
        sd.contains("event_id=\"") && sd.contains("container_id=\""),
        "{sd}"
    );
}

#[test]
fn tcp_sends_again_what_a_dead_connection_took_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut rsyslog = Rsyslog::start(dir.path(), &[TCP]);
    let mut world = World::new(2, &sink("syslog", rsyslog.ports[TCP], ""));
    through_accidents(&mut world, &mut rsyslog);
    let twice = world.all_arrive(|| rsyslog.seen(TCP));
    assert!(twice <= 2 * 2400 * 11, "{twice} came twice");
}

#[test]
fn tls_arrives_also_after_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    let rsyslog = Rsyslog::start(dir.path(), &[TLS]);
    let ca = rsyslog.dir.join("ca.pem");
    let tls = format!("transport = \"tls\"\nca_file = \"{}\"", ca.display());
    let mut world = World::new(2, &sink("syslog", rsyslog.ports[TLS], &tls));
    world.write(300);
    world.start();
    assert_eq!(world.all_arrive(|| rsyslog.seen(TLS)), 0);
    world.write(100);
    assert_eq!(world.all_arrive(|| rsyslog.seen(TLS)), 0);
}

/// So few that no buffer overflows: more than that UDP does not promise.
#[test]
fn udp_arrives_as_far_as_udp_can() {
    let dir = tempfile::tempdir().unwrap();
    let rsyslog = Rsyslog::start(dir.path(), &[UDP]);
    // It cannot be asked whether it listens.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let udp = sink("syslog", rsyslog.ports[UDP], "transport = \"udp\"");
    let mut world = World::new(2, &udp.replace("localhost", "127.0.0.1"));
    world.write(25);
    world.start();
    assert_eq!(world.all_arrive(|| rsyslog.seen(UDP)), 0);
}
