//! Procs that run to their end: oneshots in a deploy, in a rollback and after a restart of lain; cron procs.

use crate::support::*;
use lain::domain::view::{AppState, InstanceState, OperationState, OperationView, ProcView};
use lain::drivers::simulated::{Behaviour, Run};
use lain::ports::control::Control;
use std::time::Duration;

/// A migration that everything after it waits for.
const SHOP: &str = "appname: shop
worker.cache:
  image: shop:1
  cmd: cache
oneshot.migrate:
  image: job:1
  cmd: migrate
web:
  image: shop:1
  cmd: serve
  port: 80
";

const JOB: &str = "shop.oneshot.migrate.i1";

/// What the containers of an image do, run by run; the last one repeats.
fn ends(machine: &Machine, image: &str, runs: &[(u64, i32)]) {
    let runs = runs
        .iter()
        .map(|&(seconds, code)| Run::ends(Duration::from_secs(seconds), code));
    let behaviour = Behaviour {
        runs: runs.collect(),
        ..Behaviour::default()
    };
    machine.engine.set_behaviour(image, behaviour);
}

async fn proc(host: &Host, full_name: &str) -> ProcView {
    let procs = host.view("shop").await.procs;
    let found = procs.into_iter().find(|p| p.full_name == full_name);
    found.unwrap_or_else(|| panic!("no proc {full_name}"))
}

fn names(host: &Host) -> Vec<String> {
    let containers = host.machine.engine.containers();
    let mut names: Vec<String> = containers.into_iter().map(|c| c.name).collect();
    names.sort();
    names
}

/// When each step began, by its target.
fn begun(operation: &OperationView, target: &str) -> chrono::DateTime<chrono::Utc> {
    let step = operation.steps.iter().find(|s| s.step.target == target);
    step.and_then(|s| s.started_at).expect("a step that began")
}

#[actix_rt::test]
async fn a_oneshot_runs_once_and_is_done() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(3, 0)]);
    let yaml = "appname: shop\noneshot.migrate:\n  image: job:1\n  cmd: migrate\n";
    succeeded(&host.deployed(yaml).await);
    let instance = host.instance(JOB).await;
    assert_eq!(instance.state, InstanceState::Done, "{instance:?}");
    let migrate = proc(&host, "oneshot.migrate").await;
    assert_eq!(
        (migrate.state, migrate.ready, migrate.done),
        (AppState::Done, 1, 1)
    );
    assert_eq!(migrate.runs.len(), 1);
    assert_eq!(migrate.runs[0].result, "succeeded");
    let starts = host.machine.engine.counters().starts;
    let host = host.die().await.boot().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(host.machine.engine.counters().starts, starts);
    assert_eq!(host.view("shop").await.state, AppState::Done);
    let again = host.deploy(yaml).await.unwrap();
    assert!(again.operation.is_none(), "{again:?}");
    host.die().await;
}

#[actix_rt::test]
async fn a_deploy_waits_for_the_end_of_a_oneshot_and_what_is_after_it_in_the_file_too() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(40, 0)]);
    let operation = host.deployed(SHOP).await;
    succeeded(&operation);
    let job = begun(&operation, JOB);
    assert!(begun(&operation, "shop.worker.cache.i1") < job);
    let waited = begun(&operation, "shop.web.web.i1") - job;
    assert!(waited.num_seconds() >= 40, "{waited}");
    assert_eq!(host.view("shop").await.state, AppState::Running);
    host.die().await;
}

#[actix_rt::test]
async fn a_oneshot_that_fails_at_first_is_restarted_and_the_deploy_goes_on() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(1, 1), (1, 1), (2, 0)]);
    succeeded(&host.deployed(SHOP).await);
    assert_eq!(proc(&host, "oneshot.migrate").await.done, 1);
    host.die().await;
}

#[actix_rt::test]
async fn a_first_deploy_whose_oneshot_fails_stops_there_until_somebody_deploys_again() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(1, 3)]);
    let operation = host.deployed(SHOP).await;
    assert_eq!(operation.state, OperationState::Failed);
    assert!(!operation.crashes.is_empty());
    let view = host.view("shop").await;
    assert_eq!(view.state, AppState::Degraded);
    assert!(view.reason.unwrap().contains(JOB));
    let failed = host.instance(JOB).await;
    assert_eq!(failed.state, InstanceState::Failed);
    let web = host.instance("shop.web.web.i1").await;
    assert!(web.reason.unwrap().starts_with("not begun"));
    let findings = host.handle.doctor().await.unwrap();
    let apps = findings.iter().find(|f| f.check == "apps").unwrap();
    assert!(apps.detail.contains(JOB), "{apps:?}");
    // It is not tried again by itself, and nobody who waits for it starts.
    let starts = host.machine.engine.counters().starts;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let host = host.killed().await.boot().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(host.machine.engine.counters().starts, starts);
    assert_eq!(
        names(&host),
        [
            "shop.oneshot.migrate.v1-i1-d0",
            "shop.worker.cache.v1-i1-d0"
        ]
    );
    // The same file again is a new try.
    ends(&host.machine, "job:1", &[(1, 0)]);
    let again = host.deployed(SHOP).await;
    succeeded(&again);
    let view = host.runs("shop").await;
    assert_eq!(view.urls.len(), 1);
    let results: Vec<String> = proc(&host, "oneshot.migrate")
        .await
        .runs
        .into_iter()
        .map(|run| run.result)
        .collect();
    assert_eq!(results, ["succeeded", "failed"]);
    host.die().await;
}

#[actix_rt::test]
async fn a_changed_oneshot_that_fails_is_rolled_back_and_not_run_again() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(1, 0)]);
    ends(&host.machine, "job:2", &[(1, 1)]);
    succeeded(&host.deployed(SHOP).await);
    let web = host.instance("shop.web.web.i1").await.started_at;
    let next = SHOP
        .replace("job:1", "job:2")
        .replace("cmd: serve", "cmd: serve --new");
    let operation = host.deployed(&next).await;
    assert_eq!(operation.state, OperationState::Failed);
    let creates = host.machine.engine.counters().creates;
    host.until("the rollback is over", async || {
        let view = host.view("shop").await;
        (view.operation.is_none() && view.state == AppState::Running).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        host.machine.engine.counters().creates,
        creates,
        "no run in the rollback"
    );
    // What is after the oneshot in the file had not been touched.
    assert_eq!(host.instance("shop.web.web.i1").await.started_at, web);
    let migrate = proc(&host, "oneshot.migrate").await;
    assert_eq!((migrate.state, migrate.version), (AppState::Done, 1));
    assert_eq!(host.instance(JOB).await.state, InstanceState::Done);
    // The same change again is a new version, and runs.
    ends(&host.machine, "job:2", &[(1, 0)]);
    succeeded(&host.deployed(&next).await);
    assert_eq!(proc(&host, "oneshot.migrate").await.version, 3);
    host.die().await;
}

#[actix_rt::test]
async fn a_rollback_does_not_run_an_unchanged_oneshot() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(1, 0)]);
    ends(&host.machine, "shop:2", &[(1, 1)]);
    succeeded(&host.deployed(SHOP).await);
    let before = names(&host);
    let bad = SHOP.replace("image: shop:1\n  cmd: serve", "image: shop:2\n  cmd: serve");
    let operation = host.deployed(&bad).await;
    assert_eq!(operation.state, OperationState::Failed);
    host.until("the rollback is over", async || {
        let view = host.view("shop").await;
        (view.operation.is_none() && view.state == AppState::Running).then_some(())
    })
    .await;
    assert_eq!(names(&host), before);
    assert_eq!(proc(&host, "oneshot.migrate").await.runs.len(), 1);
    host.die().await;
}

#[actix_rt::test]
async fn a_oneshot_that_takes_too_long_is_stopped_and_the_deploy_fails() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let yaml = SHOP.replace("cmd: migrate", "cmd: migrate\n  timeout: 20s");
    ends(&host.machine, "job:1", &[(100, 0)]);
    let operation = host.deployed(&yaml).await;
    assert_eq!(operation.state, OperationState::Failed);
    let error = operation.error.unwrap();
    assert!(error.contains("did not end within 20s"), "{error}");
    let failed = host.instance(JOB).await;
    assert_eq!(failed.state, InstanceState::Failed, "{failed:?}");
    // Started by hand it has another 20 seconds.
    ends(&host.machine, "job:1", &[(5, 0)]);
    let selector = Host::selector("shop", Some("migrate"), None);
    let answer = host.handle.start(selector, false, caller()).await.unwrap();
    succeeded(&host.ended(&answer).await);
    assert_eq!(host.instance(JOB).await.state, InstanceState::Done);
    host.die().await;
}

#[actix_rt::test]
async fn a_lain_killed_while_a_oneshot_runs_waits_for_its_end_again() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(60, 0)]);
    let answer = host.deploy(SHOP).await.unwrap();
    host.until("it runs", async || {
        (host.instance(JOB).await.state == InstanceState::Running).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let host = host.killed().await.boot().await;
    let operation = host.ended(&answer).await;
    succeeded(&operation);
    assert_eq!(host.instance(JOB).await.state, InstanceState::Done);
    assert_eq!(host.view("shop").await.urls.len(), 1);
    let creates = host.machine.engine.counters().creates;
    assert_eq!(creates, 3, "one run only");
    host.die().await;
}

#[actix_rt::test]
async fn whole_app_commands_leave_a_oneshot_that_is_done_alone() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(1, 0)]);
    succeeded(&host.deployed(SHOP).await);
    for round in 0..2 {
        let all = || Host::selector("shop", None, None);
        let answer = match round {
            0 => host.handle.restart(all(), false, caller()).await,
            _ => {
                let stopped = host.handle.stop(all(), false, caller()).await.unwrap();
                succeeded(&host.ended(&stopped).await);
                host.handle.start(all(), false, caller()).await
            }
        };
        succeeded(&host.ended(&answer.unwrap()).await);
        assert_eq!(proc(&host, "oneshot.migrate").await.runs.len(), 1);
    }
    // Named, it runs again.
    let migrate = Host::selector("shop", Some("migrate"), None);
    let answer = host.handle.restart(migrate, false, caller()).await.unwrap();
    succeeded(&host.ended(&answer).await);
    assert_eq!(proc(&host, "oneshot.migrate").await.runs.len(), 2);
    host.die().await;
}

#[actix_rt::test]
async fn a_temporary_proc_is_never_restarted_and_shows_its_exit() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(30, 4)]);
    let yaml = "appname: shop\nworker:\n  image: job:1\n  cmd: work\n  restart: temporary\n";
    succeeded(&host.deployed(yaml).await);
    host.until("it has failed", async || {
        (host.instance("shop.worker.worker.i1").await.state == InstanceState::Failed).then_some(())
    })
    .await;
    let view = host.view("shop").await;
    assert_eq!(view.state, AppState::Degraded);
    assert!(view.reason.unwrap().contains("exit code 4"));
    let starts = host.machine.engine.counters().starts;
    let host = host.killed().await.boot().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(host.machine.engine.counters().starts, starts);
    host.die().await;
}

#[actix_rt::test]
async fn a_cron_proc_shows_its_next_run_and_how_the_last_one_ended() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    ends(&host.machine, "job:1", &[(5, 0)]);
    ends(&host.machine, "job:2", &[(5, 7)]);
    let yaml = "appname: shop
cron.good:
  image: job:1
  cmd: tick
  schedule: \"* * * * *\"
cron.bad:
  image: job:2
  cmd: tick
  restart: temporary
  schedule: \"* * * * *\"
";
    succeeded(&host.deployed(yaml).await);
    host.until("each has ended twice", async || {
        let view = host.view("shop").await;
        let ended = |p: &ProcView| p.runs.iter().filter(|r| r.ended_at.is_some()).count() >= 2;
        view.procs.iter().all(ended).then_some(())
    })
    .await;
    let at_rest = host
        .until("both are at rest", async || {
            let view = host.view("shop").await;
            view.procs.iter().all(|p| p.ready == 0).then_some(view)
        })
        .await;
    assert_eq!(at_rest.state, AppState::Running);
    let [good, bad] = &at_rest.procs[..] else {
        panic!("{at_rest:?}")
    };
    assert!(good.next_run.is_some());
    assert_eq!(
        (good.wanted, good.runs[0].result.as_str()),
        (0, "succeeded")
    );
    assert_eq!(bad.runs[0].result, "failed");
    assert_eq!(bad.runs[0].detail.as_deref(), Some("exit code 7"));
    host.die().await;
}
