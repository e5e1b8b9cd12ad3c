//! From the loss of a node until all instances answer again, beside Docker Swarm on the same rig.
//!
//! `cargo bench --bench cluster [-- kill|cut|freeze]…` (all by default). Needs root. Three nodes, nine
//! instances; `ROUNDS` sets the runs of each row (3). Both sides are measured alike: the engines of
//! the nodes that are left are asked for ports, and the ports for an answer.
//!
//! `-- watch`: the same nodes and instances, nothing lost, and twice as many busy threads as cores for
//! `WATCH_SECONDS` (600): what the control host took for a loss is counted.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/cluster/support.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Cluster, answers, web};

const COUNT: usize = 9;
/// After this long nothing more is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let mut wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    if wanted.is_empty() {
        wanted = ["kill", "cut", "freeze"].map(str::to_owned).to_vec();
    }
    if wanted.iter().any(|w| w == "watch") {
        return watch();
    }
    let runs: usize = std::env::var("ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3);
    println!("# node lost to all {COUNT} answering, {runs} runs each, seconds");
    println!(
        "{:<10}{:>12}{:>12}{:>12}{:>12}",
        "loss", "lain p50", "lain max", "Swarm p50", "Swarm max"
    );
    for loss in &wanted {
        let (lain, swarm) = (lain(loss, runs), swarm(loss, runs));
        println!(
            "{loss:<10}{:>12.2}{:>12.2}{:>12.2}{:>12.2}",
            p50(&lain),
            lain.iter().copied().fold(0.0, f64::max),
            p50(&swarm),
            swarm.iter().copied().fold(0.0, f64::max)
        );
    }
}

/// Counts false alarms: nodes that were taken for lost, and instances that were moved or restarted.
fn watch() {
    let seconds = std::env::var("WATCH_SECONDS").ok();
    let seconds = seconds.and_then(|n| n.parse().ok()).unwrap_or(600);
    let cluster = Cluster::start(3);
    cluster.deploy(&web("calm", u32::try_from(COUNT).unwrap(), ""));
    cluster.all_answer("calm", COUNT);
    let before = cluster.started("calm");
    let threads = 2 * std::thread::available_parallelism().map_or(2, usize::from);
    let over = AtomicBool::new(false);
    println!("# {threads} busy threads for {seconds} s, 3 nodes, {COUNT} instances");
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        std::thread::sleep(Duration::from_secs(seconds));
        over.store(true, Ordering::Relaxed);
    });
    cluster.all_answer("calm", COUNT);
    let count = |kind: &str| {
        let told = cluster.lain(&["events", "--kind", kind, "--limit", "1000", "-o", "json"]);
        let page: serde_json::Value = serde_json::from_str(&told).unwrap();
        page["items"].as_array().unwrap().len()
    };
    for kind in [
        "node_suspect",
        "node_down",
        "node_unfit",
        "instance_moved",
        "instance_crashed",
    ] {
        println!("{kind:<20}{:>6}", count(kind));
    }
    let after = cluster.started("calm");
    let other = after
        .iter()
        .filter(|(name, at)| before.get(*name) != Some(*at));
    println!("{:<20}{:>6}", "started anew", other.count());
}

fn p50(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The addresses that the engines of these nodes publish for containers with a label or name.
fn published(cluster: &Cluster, nodes: &[u32], filter: &str) -> Vec<String> {
    let mut found = Vec::new();
    for node in nodes {
        let ports = cluster.docker(*node, &["ps", "--filter", filter, "--format", "{{.Ports}}"]);
        for line in ports.lines() {
            let port = line.split("->").next().and_then(|p| p.rsplit_once(':'));
            if let Some((_, port)) = port {
                found.push(format!("10.77.0.1{node}:{port}"));
            }
        }
    }
    found
}

/// Seconds until so many different containers answer on these nodes.
fn until_answering(cluster: &Cluster, nodes: &[u32], filter: &str, begun: Instant) -> f64 {
    loop {
        let up = published(cluster, nodes, filter);
        if up.iter().filter(|a| answers(a)).count() >= COUNT {
            return begun.elapsed().as_secs_f64();
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}");
    }
}

fn lose(cluster: &Cluster, loss: &str) {
    cluster.rig(&[loss, "3"]);
}

fn recover(cluster: &Cluster, loss: &str) {
    let back = match loss {
        "kill" => "start",
        "cut" => "heal",
        _ => "thaw",
    };
    cluster.rig(&[back, "3"]);
}

fn lain(loss: &str, runs: usize) -> Vec<f64> {
    let cluster = Cluster::start(3);
    let mut samples = Vec::new();
    for run in 0..runs {
        let app = format!("nine{run}");
        cluster.deploy(&web(&app, u32::try_from(COUNT).unwrap(), ""));
        let filter = format!("name=^/{app}\\.");
        until_answering(&cluster, &[1, 2, 3], &filter, Instant::now());
        let begun = Instant::now();
        lose(&cluster, loss);
        samples.push(until_answering(&cluster, &[1, 2], &filter, begun));
        recover(&cluster, loss);
        if loss == "kill" {
            cluster.agent(3);
        }
        cluster.until("the node is back", || {
            cluster.node_state("node3") == "ready"
        });
        cluster.lain(&["undeploy", "-a", &app, "--yes"]);
    }
    samples
}

fn swarm(loss: &str, runs: usize) -> Vec<f64> {
    let cluster = Cluster::engines(3);
    cluster.docker(1, &["swarm", "init", "--advertise-addr", "10.77.0.11"]);
    let token = cluster.docker(1, &["swarm", "join-token", "-q", "worker"]);
    for node in [2, 3] {
        cluster.docker(
            node,
            &["swarm", "join", "--token", token.trim(), "10.77.0.11:2377"],
        );
    }
    let mut samples = Vec::new();
    for run in 0..runs {
        let name = format!("nine{run}");
        let replicas = COUNT.to_string();
        cluster.docker(
            1,
            &[
                "service",
                "create",
                "-d",
                "--name",
                &name,
                "--replicas",
                &replicas,
                "--no-resolve-image",
                "--endpoint-mode",
                "dnsrr",
                "--publish",
                "mode=host,target=80",
                "lain/hello:1",
            ],
        );
        let filter = format!("label=com.docker.swarm.service.name={name}");
        until_answering(&cluster, &[1, 2, 3], &filter, Instant::now());
        // Its own picture of itself has to settle, as lain's has.
        std::thread::sleep(Duration::from_secs(6));
        let begun = Instant::now();
        lose(&cluster, loss);
        samples.push(until_answering(&cluster, &[1, 2], &filter, begun));
        recover(&cluster, loss);
        cluster.docker(1, &["service", "rm", &name]);
        cluster.until("the node is back", || {
            let nodes = cluster.docker(1, &["node", "ls", "--format", "{{.Status}}"]);
            nodes.lines().filter(|l| l.trim() == "Ready").count() == 3
        });
        std::thread::sleep(Duration::from_secs(2));
    }
    samples
}
