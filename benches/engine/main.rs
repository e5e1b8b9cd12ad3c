//! What lain costs and how quickly it heals on a real Docker Engine, beside Docker's own means and the floor.
//!
//! `cargo bench --bench engine [-- restart|spare|deploy|update|idle|simulated]…` (all by default). Root is needed: it
//! starts an engine of its own with `scripts/docker.sh`, kills processes of its own containers, and takes
//! everything away at the end. `LAIN_BENCH_RUNS` sets the runs of each row (15), `LAIN_BENCH_FLAGS` adds
//! flags of dockerd, such as `--default-runtime crun`; `LAIN_BENCH_RPS` the requests a second of `update` (100).

mod lain;
mod peers;
mod simulated;
mod support;
mod update;

use lain::Lain;
use peers::{Bare, Restarter, Swarm};
use std::time::{Duration, Instant};
use support::{Docker, Samples, http_ok, is_listened_at, kill_container, until};

fn main() {
    let mut wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    if wanted.iter().any(|w| w == "simulated-child") {
        simulated::child();
        return;
    }
    if wanted.is_empty() {
        wanted = ["restart", "spare", "deploy", "update", "idle", "simulated"]
            .map(str::to_owned)
            .to_vec();
    }
    let runs = std::env::var("LAIN_BENCH_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(15);
    if wanted.iter().any(|w| w != "simulated") {
        let docker = Docker::start();
        for name in &wanted {
            match name.as_str() {
                "restart" => restart(&docker, runs),
                "spare" => spare(&docker, runs),
                "deploy" => deploy(&docker),
                // A run takes a minute, most of it Swarm's.
                "update" => update::update(&docker, runs.min(3)),
                "idle" => idle(&docker),
                "simulated" => {}
                other => panic!(
                    "no benchmark is called {other:?}: restart, spare, deploy, update, idle, simulated"
                ),
            }
        }
    }
    if wanted.iter().any(|w| w == "simulated") {
        simulated::parent();
    }
}

/// SIGKILL of a container's first process until its port answers 200 again, variants taken in turns.
fn restart(docker: &Docker, runs: usize) {
    println!("\n# container killed to HTTP 200 ({runs} runs each, in turns)");
    let lain = Lain::start(docker);
    lain.deploy(&lain::web("bench", 1, 0));
    let mut floor = Bare::run(docker, "floor", 18_081);
    let mut always = Restarter::run(docker, "always", 18_082);
    let mut swarm = Swarm::service(docker, "swarm0", 18_083, "0s");
    let mut rows = [(); 4].map(|()| Samples::default());
    for _ in 0..runs {
        rows[0].push(floor.kill_to_answer());
        let (name, port) = lain.container("bench", 1);
        rows[1].push(measure(docker, &name, port, || ()));
        rows[2].push(always.kill_to_answer());
        rows[3].push(swarm.kill_to_answer());
        // Restart budgets and Docker's own back-off are not what is measured.
        std::thread::sleep(Duration::from_secs(10));
    }
    let names = [
        "floor: start again at once",
        "lain",
        "docker run --restart=always",
        "Swarm, restart delay 0",
    ];
    support::table(&names, &rows);
    lain.stop();
}

/// Kills a container and waits until its port answers again; `act` runs meanwhile.
///
/// While the container has no network nothing is sent to it: the kernel would ask for its address in vain, and
/// ask again only a second later, which would be taken for the container's own time.
pub fn measure(docker: &Docker, container: &str, port: u16, act: impl FnOnce() + Send) -> Duration {
    until(|| http_ok(port));
    let begun = kill_container(docker, container);
    std::thread::scope(|scope| {
        scope.spawn(act);
        until(|| !is_listened_at(port));
        until(|| is_listened_at(port));
        until(|| http_ok(port));
        begun.elapsed()
    })
}

/// The active instance killed until its spare answers.
fn spare(docker: &Docker, runs: usize) {
    println!("\n# active instance killed until its spare answers ({runs} runs each)");
    let mut rows = [(); 4].map(|()| Samples::default());
    for (row, frozen) in [(0, true), (1, false)] {
        let lain = Lain::start_with(
            docker,
            &[(
                "LAIN_ENGINE__FREEZE_SPARES",
                if frozen { "true" } else { "false" },
            )],
        );
        lain.deploy(&lain::web("bench", 1, 1));
        for _ in 0..runs {
            let (active, spare) = lain.active_and_spare("bench");
            let begun = kill_container(docker, &active.0);
            // A running spare answers at any time: what counts is that it has been made active.
            until(|| lain.is_active("bench", &spare.0));
            until(|| http_ok(spare.1));
            rows[row].push(begun.elapsed());
            // Longer than the window of the sample's restart budget.
            std::thread::sleep(Duration::from_secs(6));
        }
        lain.stop();
    }
    let mut paused = Bare::run(docker, "paused", 18_084);
    for _ in 0..runs {
        rows[2].push(paused.thaw_to_answer());
        rows[3].push(paused.answer());
    }
    let names = [
        "lain, spare frozen",
        "lain, spare running",
        "floor: thaw and answer",
        "floor: one answer",
    ];
    support::table(&names, &rows);
}

/// Fifty instances from the request until all answer.
fn deploy(docker: &Docker) {
    const COUNT: u32 = 50;
    println!("\n# {COUNT} instances deployed until all answer");
    let mut rows = [(); 3].map(|()| Samples::default());
    for _ in 0..3 {
        rows[0].push(Bare::many(docker, COUNT));
        let lain = Lain::start(docker);
        let begun = Instant::now();
        lain.deploy_without_waiting(&lain::web("many", COUNT, 0));
        lain.until_all_answer("many", COUNT);
        rows[1].push(begun.elapsed());
        lain.stop();
        rows[2].push(Swarm::many(docker, COUNT));
    }
    support::table(
        &["bare engine calls, eight at a time", "lain", "Swarm"],
        &rows,
    );
}

/// Memory and CPU of the lain process at rest.
fn idle(docker: &Docker) {
    println!("\n# lain at rest");
    let lain = Lain::start(docker);
    std::thread::sleep(Duration::from_secs(5));
    println!(
        "resident with 0 instances    {:>8.1} MiB",
        lain.resident_mib()
    );
    lain.deploy(&lain::web("idle", 50, 0));
    std::thread::sleep(Duration::from_secs(10));
    let cpu = lain.cpu_share(Duration::from_secs(30));
    println!(
        "resident with 50 instances   {:>8.1} MiB",
        lain.resident_mib()
    );
    println!(
        "CPU with 50 instances        {:>8.2} % of a core",
        cpu * 100.0
    );
    lain.stop();
}
