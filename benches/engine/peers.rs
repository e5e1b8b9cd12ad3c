//! Docker's own means, and the floor: engine calls with nothing around them.

use crate::measure;
use crate::support::{Docker, finish_call, http_ok, http_ok_at, until};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const IMAGE: &str = "lain/hello:1";

fn body(port: Option<u16>) -> String {
    let bindings = port.map_or("{}".to_owned(), |p| {
        format!("{{\"80/tcp\":[{{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"{p}\"}}]}}")
    });
    format!(
        "{{\"Image\":\"{IMAGE}\",\"ExposedPorts\":{{\"80/tcp\":{{}}}},\"HostConfig\":{{\"PortBindings\":{bindings},\"Memory\":67108864,\"MemorySwap\":67108864}}}}"
    )
}

/// A container that this program itself starts again: the floor.
pub struct Bare<'a> {
    docker: &'a Docker,
    name: String,
    port: u16,
}

impl<'a> Bare<'a> {
    pub fn run(docker: &'a Docker, name: &str, port: u16) -> Self {
        docker.call(
            "POST",
            &format!("/containers/create?name={name}"),
            &body(Some(port)),
        );
        let (code, text) = docker.call("POST", &format!("/containers/{name}/start"), "");
        assert_eq!(code, 204, "{text}");
        Self {
            docker,
            name: name.to_owned(),
            port,
        }
    }

    pub fn kill_to_answer(&mut self) -> Duration {
        until(|| http_ok(self.port));
        // The engine is asked beforehand to answer when the container has ended: nothing is quicker.
        let waiting = self.docker.begin_call(
            "POST",
            &format!("/containers/{}/wait?condition=not-running", self.name),
            "",
        );
        std::thread::sleep(Duration::from_millis(20));
        let (docker, start) = (self.docker, format!("/containers/{}/start", self.name));
        measure(docker, &self.name, self.port, move || {
            finish_call(waiting);
            docker.call("POST", &start, "");
        })
    }

    pub fn thaw_to_answer(&mut self) -> Duration {
        self.docker
            .call("POST", &format!("/containers/{}/pause", self.name), "");
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        self.docker
            .call("POST", &format!("/containers/{}/unpause", self.name), "");
        until(|| http_ok(self.port));
        begun.elapsed()
    }

    pub fn answer(&mut self) -> Duration {
        let begun = Instant::now();
        until(|| http_ok(self.port));
        begun.elapsed()
    }

    /// Makes and starts many, eight at a time, until all answer.
    pub fn many(docker: &Docker, count: u32) -> Duration {
        let next = AtomicU32::new(0);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return;
                        }
                        let port = 25_000 + u16::try_from(n).expect("few");
                        docker.call(
                            "POST",
                            &format!("/containers/create?name=bare{n}"),
                            &body(Some(port)),
                        );
                        docker.call("POST", &format!("/containers/bare{n}/start"), "");
                    }
                });
            }
        });
        for n in 0..count {
            until(|| http_ok(25_000 + u16::try_from(n).expect("few")));
        }
        let took = begun.elapsed();
        let names: Vec<String> = (0..count).map(|n| format!("bare{n}")).collect();
        let mut args = vec!["rm", "-f"];
        args.extend(names.iter().map(String::as_str));
        docker.run(&args);
        took
    }
}

impl Drop for Bare<'_> {
    fn drop(&mut self) {
        self.docker.call(
            "DELETE",
            &format!("/containers/{}?force=true", self.name),
            "",
        );
    }
}

/// `docker run --restart=always`.
pub struct Restarter<'a>(&'a Docker, String, u16);

impl<'a> Restarter<'a> {
    pub fn run(docker: &'a Docker, name: &str, port: u16) -> Self {
        let publish = format!("127.0.0.1:{port}:80");
        docker.run(&[
            "run",
            "-d",
            "--name",
            name,
            "--restart=always",
            "-m",
            "64m",
            "-p",
            &publish,
            IMAGE,
        ]);
        Self(docker, name.to_owned(), port)
    }

    pub fn kill_to_answer(&mut self) -> Duration {
        measure(self.0, &self.1, self.2, || ())
    }
}

impl Drop for Restarter<'_> {
    fn drop(&mut self) {
        self.0.run(&["rm", "-f", &self.1]);
    }
}

/// A Swarm service.
pub struct Swarm<'a>(&'a Docker, String, u16);

fn join(docker: &Docker) {
    if docker.run(&["info", "-f", "{{.Swarm.LocalNodeState}}"]) != "active" {
        docker.run(&[
            "swarm",
            "init",
            "--advertise-addr",
            "127.0.0.1",
            "--listen-addr",
            "127.0.0.1:0",
        ]);
    }
}

impl<'a> Swarm<'a> {
    pub fn service(docker: &'a Docker, name: &str, port: u16, delay: &str) -> Self {
        join(docker);
        let publish = format!("mode=host,target=80,published={port}");
        docker.run(&[
            "service",
            "create",
            "-d",
            "--name",
            name,
            "--restart-delay",
            delay,
            "--limit-memory",
            "64m",
            "--publish",
            &publish,
            IMAGE,
        ]);
        Self(docker, name.to_owned(), port)
    }

    /// A service of several containers with a health check like lain's, up and healthy.
    pub fn replicated(docker: &'a Docker, name: &str, count: u32, flags: &[&str]) -> Self {
        join(docker);
        let replicas = count.to_string();
        let mut args = vec![
            "service",
            "create",
            "-d",
            "--name",
            name,
            "--replicas",
            &replicas,
        ];
        args.extend(["--limit-memory", "64m", "--env", "STEP=one"]);
        args.extend([
            "--health-cmd",
            "wget -q -O /dev/null http://127.0.0.1/cgi-bin/health",
        ]);
        args.extend(["--health-interval", "1s", "--health-timeout", "3s"]);
        args.extend(flags);
        args.push(IMAGE);
        docker.run(&args);
        let service = Self(docker, name.to_owned(), 0);
        until(|| service.healthy().len() == usize::try_from(count).expect("few"));
        service
    }

    /// Where its healthy containers answer: what a client can know of it without its virtual address.
    pub fn healthy(&self) -> Vec<SocketAddr> {
        let filters = format!(
            r#"{{"name":["^/{}\\."],"health":["healthy"],"status":["running"]}}"#,
            self.1
        );
        let encoded: String = filters.bytes().map(|b| format!("%{b:02X}")).collect();
        let (code, text) = self
            .0
            .call("GET", &format!("/containers/json?filters={encoded}"), "");
        assert_eq!(code, 200, "{text}");
        let json = text.find('[').map_or("[]", |at| &text[at..]);
        let json = &json[..=json.rfind(']').unwrap_or(1)];
        let all: serde_json::Value = serde_json::from_str(json).expect("a list of containers");
        let ip = |container: &serde_json::Value| {
            let networks = container["NetworkSettings"]["Networks"].as_object()?;
            let ip = networks
                .values()
                .find_map(|n| n["IPAddress"].as_str()?.parse().ok())?;
            Some(SocketAddr::new(ip, 80))
        };
        all.as_array()
            .into_iter()
            .flatten()
            .filter_map(ip)
            .collect()
    }

    pub fn kill_to_answer(&mut self) -> Duration {
        until(|| http_ok(self.2));
        let filter = format!("name={}.", self.1);
        let container = self.0.run(&["ps", "-q", "--filter", &filter]);
        measure(self.0, &container, self.2, || ())
    }

    pub fn many(docker: &Docker, count: u32) -> Duration {
        join(docker);
        let begun = Instant::now();
        let replicas = count.to_string();
        docker.run(&[
            "service",
            "create",
            "-d",
            "--name",
            "many",
            "--replicas",
            &replicas,
            "--limit-memory",
            "64m",
            IMAGE,
        ]);
        let mut answered = 0;
        while answered < count {
            let ids = docker.run(&["ps", "-q", "--filter", "name=many."]);
            let ids: Vec<&str> = ids.lines().collect();
            if ids.len() < usize::try_from(count).expect("few") {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            let mut args = vec!["inspect", "-f", "{{.NetworkSettings.IPAddress}}"];
            args.extend(&ids);
            let addresses = docker.run(&args);
            let up = addresses
                .lines()
                .filter_map(|a| a.parse().ok())
                .filter(|ip| http_ok_at(SocketAddr::new(*ip, 80)));
            answered = u32::try_from(up.count()).expect("few");
        }
        let took = begun.elapsed();
        docker.run(&["service", "rm", "many"]);
        until(|| {
            docker
                .run(&["ps", "-aq", "--filter", "name=many."])
                .is_empty()
        });
        took
    }
}

impl Drop for Swarm<'_> {
    fn drop(&mut self) {
        self.0.run(&["service", "rm", &self.1]);
    }
}
