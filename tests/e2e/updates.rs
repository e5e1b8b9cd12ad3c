//! Rolling updates, drains, canaries and rollbacks on a real engine, with a client that follows the list of addresses.

use crate::support::*;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn web(app: &str, instances: u32, step: &str, more: &str) -> String {
    format!(
        "appname: {app}\nweb:\n  image: lain/hello:1\n  port: 80\n  num_instances: {instances}\n  healthcheck: {{path: /cgi-bin/health, interval: 1s}}\n  env: [STEP={step}]\n{more}"
    )
}

/// One request, not repeated; what went wrong with it.
fn ask(address: SocketAddr) -> Result<(), String> {
    let patience = Duration::from_secs(20);
    let failed = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| format!("{address}: {what}: {e}")
    };
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(failed("connect"))?;
    stream
        .set_read_timeout(Some(patience))
        .map_err(failed("timeout"))?;
    stream
        .write_all(b"GET /cgi-bin/health HTTP/1.0\r\n\r\n")
        .map_err(failed("send"))?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).map_err(failed("answer"))?;
    match &head[9..] {
        b"200" => Ok(()),
        other => Err(format!("{address}: {}", String::from_utf8_lossy(other))),
    }
}

/// Clients that send a request to each address of the published list in turn, and never a second one.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(u32, Vec<String>)>>,
    _list: Following,
}

/// The `lain endpoints -f` that the list comes from; it ends with this, also where a test fails.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Load {
    fn on(lain: &Lain, app: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let list = Arc::new(Mutex::new(Vec::new()));
        let mut follow = lain.command(&["endpoints", app, "-f", "-o", "ndjson"]);
        let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap());
        let follow = Following(child);
        let published = Arc::clone(&list);
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(lines) {
                let page: Value = serde_json::from_str(&line.unwrap()).unwrap();
                let items = page["items"].as_array().unwrap().iter();
                let addresses = items.map(|e| e["address"].as_str().unwrap().parse().unwrap());
                *published.lock().unwrap() = addresses.collect::<Vec<SocketAddr>>();
            }
        });
        until("the list is there", || {
            (!list.lock().unwrap().is_empty()).then_some(())
        });
        let client = |number: usize| {
            let (list, stop) = (Arc::clone(&list), Arc::clone(&stop));
            std::thread::spawn(move || {
                let (mut sent, mut failed) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let address = {
                        let list = list.lock().unwrap();
                        let at = (sent as usize * 4 + number).checked_rem(list.len());
                        at.map(|at| list[at])
                    };
                    sent += 1;
                    match address.map(ask) {
                        Some(Ok(())) => {}
                        Some(Err(why)) => failed.push(why),
                        None => failed.push("the list is empty".to_owned()),
                    }
                    std::thread::sleep(Duration::from_millis(40));
                }
                (sent, failed)
            })
        };
        Self {
            threads: (0..4).map(client).collect(),
            stop,
            _list: follow,
        }
    }

    /// Ends it; there were requests, and none has failed.
    fn has_seen_no_failure(self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = 0;
        for thread in self.threads {
            let (sent, failed) = thread.join().unwrap();
            assert_eq!(failed, Vec::<String>::new(), "of {sent}");
            all += sent;
        }
        assert!(all > 20, "only {all} requests");
    }
}

#[test]
fn no_request_fails_while_ten_instances_are_updated_restarted_and_made_fewer() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("roll");
    lain.deploy(&web(&app, 10, "one", "")).ended_with(0);
    let load = Load::on(&lain, &app);
    let begun = Instant::now();
    lain.deploy(&web(&app, 10, "two", "")).ended_with(0);
    eprintln!("the update took {:?}", begun.elapsed());
    let containers = host.containers_of(&app);
    assert_eq!(instances(&containers).len(), 10);
    assert!(containers.keys().all(|name| name.contains(".v2-")));
    let scaled = lain.cli(&["scale", "-a", &app, "web", "-n", "6"]);
    scaled.ended_with(0);
    lain.cli(&["restart", "-a", &app, "web"]).ended_with(0);
    let window = "  update: {max_surge: 0, max_unavailable: 50%}\n";
    lain.deploy(&web(&app, 6, "three", window)).ended_with(0);
    load.has_seen_no_failure();
}

#[test]
fn a_canary_is_promoted_or_aborted_from_the_command_line_and_gone_back_from() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("canary");
    lain.deploy(&web(&app, 3, "one", "")).ended_with(0);
    let load = Load::on(&lain, &app);
    lain.deploy_with(&web(&app, 3, "two", ""), &["--canary", "1"])
        .ended_with(0)
        .said(&["lain promote", "lain abort"]);
    let versions = || -> Vec<u64> {
        let view = lain.app(&app);
        let all = view["procs"][0]["instances"].as_array().unwrap().clone();
        all.iter().map(|i| i["version"].as_u64().unwrap()).collect()
    };
    assert_eq!(versions(), [2, 1, 1]);
    let ps = lain.cli(&["ps", "-a", &app]).ended_with(0);
    assert!(ps.out.contains("canary"), "{}", ps.out);
    lain.cli(&["abort", &app]).ended_with(0);
    assert_eq!(versions(), [1, 1, 1]);
    lain.deploy_with(&web(&app, 3, "three", ""), &["--canary", "1"])
        .ended_with(0);
    // lain dies and is back: the canary still waits.
    load.has_seen_no_failure();
    lain.kill();
    let lain = host.start();
    until("it waits again", || {
        (lain.app(&app)["canary"]["waiting"] == true).then_some(())
    });
    let load = Load::on(&lain, &app);
    lain.cli(&["promote", &app]).ended_with(0);
    let image = |no: u32| lain.instance(&app, "web", no)["version"].as_u64();
    assert_eq!((image(1), image(2), image(3)), (Some(3), Some(3), Some(3)));
    lain.cli(&["rollback", &app]).ended_with(0);
    assert_eq!(image(1), Some(1));
    load.has_seen_no_failure();
    let history = lain.cli(&["history", &app, "-o", "json"]).ended_with(0);
    let history: Value = serde_json::from_str(&history.out).unwrap();
    let all = history["items"].as_array().unwrap().iter();
    let outcomes: Vec<&Value> = all.map(|r| &r["outcome"]).collect();
    assert_eq!(
        outcomes,
        ["deployed", "deployed", "deployed", "aborted", "deployed"]
    );
    assert_eq!(history["items"][0]["back_to"], json!(3));
}

#[test]
fn memory_and_cpu_change_in_place() {
    let host = Host::new();
    let lain = host.start();
    let app = host.app("limits");
    lain.deploy(&web(&app, 2, "one", "")).ended_with(0);
    let before = host.containers_of(&app);
    lain.cli(&["scale", "-a", &app, "web", "--memory", "96m", "--cpu", "8"])
        .ended_with(0);
    let after = host.containers_of(&app);
    for (name, was) in &before {
        let is = &after[name];
        assert_eq!(
            (&is.id, &is.started_at, is.pid),
            (&was.id, &was.started_at, was.pid)
        );
        assert_eq!(is.memory, 96 << 20);
        assert!(is.cpu_quota > was.cpu_quota, "{is:?}");
    }
    // What a later start makes has them too.
    host.docker.kill(before.keys().next().unwrap());
    lain.until_app_is(&app, "running");
    let all = host.containers_of(&app);
    assert!(all.values().all(|c| c.memory == 96 << 20), "{all:#?}");
}
