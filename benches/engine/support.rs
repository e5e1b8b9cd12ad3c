//! The engine that is measured on, probes, and figures.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A private engine, ended and purged when dropped.
pub struct Docker {
    dir: tempfile::TempDir,
    pub host: String,
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name)
}

impl Docker {
    pub fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lain-bench")
            .tempdir_in("/var/tmp")
            .expect("a temporary folder");
        let flags = std::env::var("LAIN_BENCH_FLAGS").unwrap_or_default();
        let mut command = Command::new(script("docker.sh"));
        command
            .arg("ensure")
            .arg("--dir")
            .arg(dir.path())
            .arg("--")
            .arg("--add-runtime")
            .arg("crun=/usr/bin/crun");
        let output = command
            .args(flags.split_whitespace())
            .output()
            .expect("docker.sh runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let host = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let docker = Self { dir, host };
        let loaded = Command::new(script("make-image.sh"))
            .arg("-l")
            .env("DOCKER_HOST", &docker.host)
            .status();
        assert!(loaded.is_ok_and(|s| s.success()), "the sample image loads");
        docker.resolve_quickly();
        docker
    }

    /// A try that falls into the moment without a container has the kernel ask for its link address, and ask again
    /// only after a second, for which all that come later wait too: that second fell on whichever variant was
    /// unlucky. Of this engine's bridge alone it is repeated every 20 ms.
    fn resolve_quickly(&self) {
        let name = "{{index .Options \"com.docker.network.bridge.name\"}}";
        let bridge = self.run(&["network", "inspect", "bridge", "-f", name]);
        let path = format!("/proc/sys/net/ipv4/neigh/{bridge}/retrans_time_ms");
        std::fs::write(path, "20").expect("root may change its own bridge");
    }

    pub fn run(&self, args: &[&str]) -> String {
        let output = Command::new("docker")
            .arg("-H")
            .arg(&self.host)
            .args(args)
            .output()
            .expect("docker runs");
        assert!(
            output.status.success(),
            "docker {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn pid(&self, container: &str) -> i32 {
        self.run(&["inspect", "-f", "{{.State.Pid}}", container])
            .parse()
            .expect("a pid")
    }

    /// A call of the engine's API over its socket, without any client in between.
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let pending = self.begin_call(method, path, body);
        finish_call(pending)
    }

    pub fn begin_call(&self, method: &str, path: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.host.trim_start_matches("unix://"))
            .expect("the engine's socket");
        let head = format!(
            "{method} /v1.41{path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("a request");
        stream
    }
}

pub fn finish_call(stream: UnixStream) -> (u16, String) {
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).expect("an answer");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("the rest");
    let code = status
        .split(' ')
        .nth(1)
        .and_then(|c| c.parse().ok())
        .expect("a status");
    (
        code,
        rest.split_once("\r\n\r\n")
            .map_or(String::new(), |(_, body)| body.to_owned()),
    )
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = Command::new(script("docker.sh"))
            .args(["stop", "--purge", "--dir"])
            .arg(self.dir.path())
            .status();
    }
}

/// Kills the first process of a container; returns when that was.
pub fn kill_container(docker: &Docker, container: &str) -> Instant {
    let pid = rustix::process::Pid::from_raw(docker.pid(container)).expect("it runs");
    let begun = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a signal");
    begun
}

/// One request to a port of this host; whether it was answered with 200.
pub fn http_ok(port: u16) -> bool {
    http_ok_at(SocketAddr::from(([127, 0, 0, 1], port)))
}

pub fn http_ok_at(address: SocketAddr) -> bool {
    // Short: a try that falls into the moment without a container hangs in the engine's proxy, for the second
    // until the kernel sends anew, and would be taken for the container's own time.
    answers_ok(
        address,
        Duration::from_millis(50),
        Duration::from_millis(100),
    )
}

/// As [`http_ok_at`], for a client that is patient.
pub fn http_ok_within(address: SocketAddr, patience: Duration) -> bool {
    answers_ok(address, patience, patience)
}

fn answers_ok(address: SocketAddr, connect: Duration, read: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, connect) else {
        return false;
    };
    let mut head = [0; 12];
    stream.set_read_timeout(Some(read)).is_ok()
        && stream
            .write_all(b"GET /cgi-bin/health HTTP/1.0\r\n\r\n")
            .is_ok()
        && stream.read_exact(&mut head).is_ok()
        && &head[9..] == b"200"
}

/// Whether somebody listens at a port of this host, which for a published one is the engine's proxy. Seen in the
/// kernel's table, without a packet.
pub fn is_listened_at(port: u16) -> bool {
    let port = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|path| {
        let table = std::fs::read_to_string(path).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next(), fields.nth(1));
            local.is_some_and(|l| l.ends_with(&port)) && state == Some("0A")
        })
    })
}

/// Polls, half a millisecond apart.
pub fn until(mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Times of one row.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        let index = ((sorted.len() - 1) as f64 * share).round() as usize;
        sorted
            .get(index)
            .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    }
}

/// Prints rows with their ratio to the first.
pub fn table(names: &[&str], rows: &[Samples]) {
    println!(
        "{:<40} {:>10} {:>10} {:>10}",
        "", "p50 ms", "max ms", "ratio p50"
    );
    for (name, row) in names.iter().zip(rows) {
        println!(
            "{name:<40} {:>10.1} {:>10.1} {:>10.2}",
            row.at(0.5),
            row.at(1.0),
            row.at(0.5) / rows[0].at(0.5)
        );
    }
}
