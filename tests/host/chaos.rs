//! Seeded chaos in virtual time: deploys, crashes, engine outages and sudden deaths of lain at any moment; then
//! everything has to be as wanted, with nothing left over and nothing twice.

use crate::support::*;
use lain::domain::crash::Exit;
use lain::domain::view::AppState;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;

/// Schedules that are run; `LAIN_CHAOS_SEEDS` sets another number, `LAIN_CHAOS_SEED` a single one.
const SEEDS: u64 = 40;
/// Things that happen in one schedule.
const STEPS: u32 = 12;

fn file(version: u32, web: u32, order: &str) -> String {
    format!(
        "appname: shop
web:
  image: shop:1
  cmd: serve {version}
  port: 80
  num_instances: {web}
  update:
    order: {order}
    parallelism: 2
worker.mail:
  image: shop:1
  cmd: mail
"
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

#[actix_rt::test]
async fn whatever_happens_ends_as_wanted() {
    tokio::time::pause();
    let seeds = match number("LAIN_CHAOS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LAIN_CHAOS_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        println!("seed {seed}");
        schedule(seed).await;
    }
}

/// One schedule.
async fn schedule(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let machine = Machine::new();
    let mut host = machine.boot().await;
    let mut wanted = (1, 2);
    host.deploy(&file(1, 2, "start_first"))
        .await
        .expect("accepted");
    for _ in 0..STEPS {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
        match random.random_range(0..10) {
            0..3 => {
                let order = if random.random_bool(0.5) {
                    "start_first"
                } else {
                    "stop_first"
                };
                let next = (wanted.0 + 1, random.random_range(1..5));
                let answer = host.deploy(&file(next.0, next.1, order)).await;
                answer.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                wanted = next;
            }
            3..6 => {
                let all = host.machine.engine.containers();
                if !all.is_empty() {
                    let victim = &all[random.random_range(0..all.len())];
                    // One that has ended already cannot be killed again.
                    let _ = host
                        .machine
                        .engine
                        .kill(&victim.id, Exit::from_code(137, false, None));
                }
            }
            6..9 => {
                let machine = host.killed().await;
                tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
                host = machine.boot().await;
            }
            _ => {
                host.machine.engine.set_unreachable(true);
                tokio::time::sleep(Duration::from_millis(random.random_range(0..3000))).await;
                host.machine.engine.set_unreachable(false);
            }
        }
    }
    settled(seed, &host, wanted).await;
    host.die().await;
}

/// Waits until the app is at rest, then compares the engine with what is wanted.
async fn settled(seed: u64, host: &Host, (version, web): (u32, u32)) {
    host.until(&format!("seed {seed}: the app runs"), async || {
        let view = host.view("shop").await;
        (view.state == AppState::Running && view.operation.is_none()).then_some(())
    })
    .await;
    // Longer than an interval of reconciliation, so that what is left over is gone.
    tokio::time::sleep(Duration::from_secs(65)).await;
    let view = host.view("shop").await;
    assert_eq!(
        view.state,
        AppState::Running,
        "seed {seed}: {:?}\n{}",
        view.reason,
        host.story()
    );
    let command = view.procs[0].spec.cmd.clone().unwrap_or_default();
    assert_eq!(
        command,
        ["serve".to_owned(), version.to_string()],
        "seed {seed}\n{}",
        host.story()
    );
    let containers = host.machine.engine.containers();
    let instances: BTreeSet<String> = containers
        .iter()
        .map(|c| {
            let label = |key: &str| c.labels.get(key).cloned().unwrap_or_default();
            format!(
                "{}.i{}",
                label(lain::domain::labels::GROUP),
                label(lain::domain::labels::INSTANCE_NO)
            )
        })
        .collect();
    let names: Vec<&str> = containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        containers.len(),
        usize::try_from(web).unwrap() + 1,
        "seed {seed}: orphans or losses: {names:?}\n{}",
        host.story()
    );
    assert_eq!(
        instances.len(),
        containers.len(),
        "seed {seed}: twice: {names:?}"
    );
}

#[actix_rt::test]
async fn a_cron_proc_runs_by_the_minute_and_skips_what_overlaps() {
    use lain::drivers::simulated::{Behaviour, Run};
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.machine.engine.set_behaviour(
        "job:1",
        Behaviour {
            runs: vec![Run::ends(Duration::from_secs(90), 0)],
            ..Behaviour::default()
        },
    );
    let yaml =
        "appname: shop\ncron.tidy:\n  image: job:1\n  cmd: tidy\n  schedule: \"* * * * *\"\n";
    succeeded(&host.deployed(yaml).await);
    let runs = host
        .until("three runs are known", async || {
            let runs = host.view("shop").await.procs[0].runs.clone();
            (runs.iter().filter(|r| r.result == "succeeded").count() >= 2).then_some(runs)
        })
        .await;
    assert!(runs.iter().any(|r| r.result == "skipped"), "{runs:?}");
    assert!(runs.iter().all(|r| r.result != "failed"), "{runs:?}");
    let containers = host.machine.engine.containers();
    assert_eq!(
        containers.len(),
        1,
        "one run at a time, and none piles up: {containers:?}"
    );
    host.die().await;
}

#[actix_rt::test]
async fn a_full_store_refuses_changes_and_touches_nothing() {
    use lain::ports::store::StoreError;
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&file(1, 2, "start_first")).await);
    let before = host.machine.engine.counters();
    let full = StoreError::DiskFull {
        path: "lain.redb".to_owned(),
    };
    host.machine.store.fail_writes(Some(full));
    let refused = host.deploy(&file(2, 3, "start_first")).await;
    assert!(refused.is_err(), "{refused:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let after = host.machine.engine.counters();
    assert_eq!(
        (before.creates, before.starts),
        (after.creates, after.starts)
    );
    host.machine.store.fail_writes(None);
    succeeded(&host.deployed(&file(2, 3, "start_first")).await);
    host.die().await;
}

#[actix_rt::test]
async fn what_all_apps_need_cannot_be_terminated_and_what_an_app_needs_comes_back_with_a_change() {
    use lain::ports::control::{ChildAction, Control, ControlError};
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&file(1, 2, "start_first")).await);
    let act = |path: &'static str, action| host.handle.act_on_child(path, action, caller());
    let carries = [
        "nodes",
        "nodes/node/n1",
        "nodes/node/n1/engine",
        "nodes/node/n1/containers",
        "apps",
    ];
    for path in carries {
        let refused = act(path, ChildAction::Terminate).await;
        assert!(
            matches!(refused, Err(ControlError::Conflict(_))),
            "{path}: {refused:?}"
        );
    }
    for path in ["nodes", "apps", "nodes/node/n1/engine"] {
        act(path, ChildAction::Restart).await.unwrap();
        host.runs("shop").await;
    }
    for path in ["apps/app/shop/rollout", "apps/app/shop"] {
        act(path, ChildAction::Terminate).await.unwrap();
        let version = if path.ends_with("rollout") { 2 } else { 3 };
        succeeded(&host.deployed(&file(version, 2, "start_first")).await);
    }
    host.die().await;
}
