//! A rolling update of ten instances under a steady load of requests, beside Swarm's.
//!
//! The client has a list of addresses and follows it: lain's from its API (`/apps/{app}/endpoints?watch=true`),
//! Swarm's from the engine: the healthy containers of the service. Each request goes to the next address of the list
//! and is not repeated: one that is not answered with 200 has failed.

use crate::lain::Lain;
use crate::peers::Swarm;
use crate::support::{Docker, http_ok_within, until};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Instances that are updated.
pub const COUNT: u32 = 10;
/// What a client waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Clients that send in turns, so that a slow answer delays no other request.
const CLIENTS: usize = 8;

/// The list of addresses that the clients use.
#[derive(Default)]
pub struct List(Mutex<Vec<SocketAddr>>);

impl List {
    /// Replaces it.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn get(&self, turn: usize) -> Option<SocketAddr> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = turn.checked_rem(list.len())?;
        Some(list[at])
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// What an update cost.
struct Cost {
    took: Duration,
    sent: usize,
    failed: usize,
}

fn rate() -> u32 {
    let given = std::env::var("LAIN_BENCH_RPS").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(100).max(1)
}

/// Sends requests while `change` is carried out, and a second before and after it.
fn under_load(list: &List, change: impl FnOnce()) -> Cost {
    let (stop, sent, failed) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let pause = Duration::from_secs(1) / rate() * u32::try_from(CLIENTS).expect("few");
    let mut took = Duration::ZERO;
    until(|| list.len() == usize::try_from(COUNT).expect("few"));
    std::thread::scope(|scope| {
        let (stop, sent, failed) = (&stop, &sent, &failed);
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut next = Instant::now() + pause * u32::try_from(client).expect("few") / 8;
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    next = Instant::now().max(next + pause);
                    let turn = sent.fetch_add(1, Ordering::Relaxed);
                    let served = list
                        .get(turn)
                        .is_some_and(|address| http_ok_within(address, ANSWER_WITHIN));
                    if !served {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_secs(1));
        let begun = Instant::now();
        change();
        took = begun.elapsed();
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
    });
    Cost {
        took,
        sent: sent.into_inner(),
        failed: failed.into_inner(),
    }
}

/// Ids of the containers whose name begins so and that run.
fn running(docker: &Docker, name: &str) -> BTreeSet<String> {
    let filter = format!("name=^/{name}\\.");
    let ids = docker.run(&["ps", "-q", "--no-trunc", "--filter", &filter]);
    ids.lines().map(str::to_owned).collect()
}

/// Until as many run as before, none of them one of those before.
fn until_replaced(docker: &Docker, name: &str, before: &BTreeSet<String>) {
    until(|| {
        let now = running(docker, name);
        std::thread::sleep(Duration::from_millis(20));
        now.len() == before.len() && now.is_disjoint(before)
    });
}

/// The table of all variants, in turns.
pub fn update(docker: &Docker, runs: usize) {
    println!(
        "\n# rolling update of {COUNT} instances under {} requests a second ({runs} runs each, in turns)",
        rate()
    );
    let names = [
        "lain, default",
        "Swarm, default (stop first, one by one)",
        "Swarm, start first, two at a time",
    ];
    let mut rows = [(); 3].map(|()| Vec::new());
    for _ in 0..runs {
        rows[0].push(of_lain(docker));
        rows[1].push(of_swarm(docker, &[]));
        rows[2].push(of_swarm(
            docker,
            &["--update-order", "start-first", "--update-parallelism", "2"],
        ));
    }
    println!(
        "{:<42} {:>10} {:>10} {:>10} {:>10}",
        "", "p50 s", "max s", "requests", "failed"
    );
    for (name, row) in names.iter().zip(&mut rows) {
        row.sort_by_key(|cost: &Cost| cost.took);
        let seconds = |index: usize| row.get(index).map_or(f64::NAN, |c| c.took.as_secs_f64());
        println!(
            "{name:<42} {:>10.2} {:>10.2} {:>10} {:>10}",
            seconds((row.len() - 1) / 2),
            seconds(row.len() - 1),
            row.iter().map(|c| c.sent).sum::<usize>(),
            row.iter().map(|c| c.failed).sum::<usize>(),
        );
    }
}

fn file(step: &str) -> String {
    format!(
        "appname: roll\nweb:\n  image: lain/hello:1\n  port: 80\n  memory: 64m\n  num_instances: {COUNT}\n  healthcheck: {{path: /cgi-bin/health, interval: 1s}}\n  env: [STEP={step}]\n"
    )
}

fn of_lain(docker: &Docker) -> Cost {
    let lain = Lain::start(docker);
    lain.deploy(&file("one"));
    let list = List::default();
    let stop = AtomicBool::new(false);
    let cost = std::thread::scope(|scope| {
        scope.spawn(|| lain.follow_endpoints("roll", &list, &stop));
        let cost = under_load(&list, || {
            let before = running(docker, "roll");
            lain.deploy_without_waiting(&file("two"));
            until_replaced(docker, "roll", &before);
        });
        stop.store(true, Ordering::Relaxed);
        cost
    });
    lain.stop();
    cost
}

fn of_swarm(docker: &Docker, flags: &[&str]) -> Cost {
    let service = Swarm::replicated(docker, "roll", COUNT, flags);
    let list = List::default();
    let stop = AtomicBool::new(false);
    let cost = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                list.set(service.healthy());
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let cost = under_load(&list, || {
            let before = running(docker, "roll");
            docker.run(&["service", "update", "-d", "--env-add", "STEP=two", "roll"]);
            until_replaced(docker, "roll", &before);
        });
        stop.store(true, Ordering::Relaxed);
        cost
    });
    drop(service);
    until(|| {
        docker
            .run(&["ps", "-aq", "--filter", "name=^/roll\\."])
            .is_empty()
    });
    cost
}
