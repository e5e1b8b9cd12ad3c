//! The actors of one host over the simulated engine, in virtual time: deploy, crash, heal, escalate, adopt.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails, wherever that is"
)]

mod chaos;
mod clocks;
mod fence;
mod jobs;
mod preemption;
mod rollouts;
mod support;

use lain::domain::census::Census;
use lain::domain::crash::{CrashCause, Exit};
use lain::domain::view::{AppState, InstanceRole, InstanceState, OperationState, ScaleRequest};
use lain::drivers::simulated::{Behaviour, Run};
use lain::ports::control::{Control, ControlError, CrashFilter, Precondition};
use std::time::Duration;
use support::*;

const WEB: &str = "appname: shop
web:
  image: shop:1
  cmd: serve
  port: 80
  num_instances: 3
worker.mail:
  image: shop:1
  cmd: mail
";

fn sigkill() -> Exit {
    Exit::from_code(137, false, None)
}

#[actix_rt::test]
async fn a_deploy_brings_every_instance_up_and_says_so() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let operation = host.deployed(WEB).await;
    succeeded(&operation);
    assert_eq!(operation.steps.len(), 4);
    let view = host.runs("shop").await;
    assert_eq!(view.procs[0].ready, 3);
    assert_eq!(view.urls.len(), 3);
    assert_eq!(host.machine.engine.containers().len(), 4);
    host.die().await;
}

#[actix_rt::test]
async fn the_figures_of_the_metrics_are_those_of_the_views() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let yaml = format!(
        "{WEB}  restart: temporary\ncron.tick:\n  image: shop:1\n  schedule: \"* * * * *\"\n"
    );
    let yaml = yaml.replace("num_instances: 3", "num_instances: 3\n  spares: 1");
    succeeded(&host.deployed(&yaml).await);
    let same = async || {
        let apps = host.handle.apps().await.unwrap();
        let views = Census::of(&apps, &host.handle.tree("", None).unwrap());
        let taken = host.handle.census().unwrap();
        (taken == views).then_some(taken)
    };
    let census = host.until("both agree", same).await;
    assert_eq!(census.apps, [AppState::Running]);
    let web = census.procs.iter().find(|p| p.proc == "web.web").unwrap();
    assert_eq!((web.wanted, web.restarts), (3, 0));
    let running = |census: &Census| census.actors.by_state["running"];
    assert!(running(&census) > 20, "{census:?}");
    let name = "shop.worker.mail.v1-i1-d0";
    let victim = host.machine.engine.by_name(name).unwrap();
    host.machine.engine.kill(&victim, sigkill()).unwrap();
    let name = "shop.web.web.v1-i2-d0";
    let victim = host.machine.engine.by_name(name).unwrap();
    host.machine.engine.kill(&victim, sigkill()).unwrap();
    let degraded = host.until("both agree on the failed one", async || {
        let census = same().await?;
        let states = census.procs.iter().flat_map(|p| &p.instances);
        let mut failed = states.filter(|(state, _)| *state == InstanceState::Failed);
        failed.next()?;
        (census.apps == [AppState::Degraded]).then_some(census)
    });
    let restarts: u64 = degraded.await.procs.iter().map(|p| p.restarts).sum();
    assert!(restarts <= 1, "{restarts}");
    host.die().await;
}

#[actix_rt::test]
async fn revisions_count_an_apps_own_changes_and_etags_never_repeat() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&WEB.replace("shop", "other")).await);
    let (shop, first) = (app("shop"), host.deploy(WEB).await.unwrap());
    assert_eq!(first.revision, 1);
    succeeded(&host.ended(&first).await);
    // The end of an operation changes nothing that is wanted.
    let view = host.view("shop").await;
    assert_eq!((view.revision, view.etag), (1, first.etag));
    let two = ScaleRequest {
        num_instances: Some(2),
        ..Default::default()
    };
    succeeded(&host.scale("shop", "web", two).await);
    let scaled = host.view("shop").await;
    assert_eq!(scaled.revision, 2);
    assert_ne!(scaled.etag, first.etag);
    host.machine.engine.set_behaviour(
        "shop:2",
        Behaviour {
            runs: vec![Run::ends(Duration::from_millis(10), 1)],
            ..Behaviour::default()
        },
    );
    let bad = host.deployed(&WEB.replace("shop:1", "shop:2")).await;
    assert_eq!(bad.state, OperationState::Failed);
    let rolled_back = host
        .until("the rollback is over", async || {
            let view = host.view("shop").await;
            (view.operation.is_none() && view.revision == 4).then_some(view)
        })
        .await;
    // Removed and deployed anew it begins with 1, and an old ETag is not taken for a new one.
    let stale = Precondition::Revision(rolled_back.etag);
    let gone = host.handle.undeploy(&shop, stale, false, caller());
    succeeded(&host.ended(&gone.await.unwrap()).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let again = host.deploy(WEB).await.unwrap();
    assert_eq!(again.revision, 1);
    assert!(again.etag > rolled_back.etag);
    host.ended(&again).await;
    let stale = Precondition::Revision(first.etag);
    let refused = host.handle.undeploy(&shop, stale, false, caller());
    assert!(matches!(refused.await, Err(ControlError::Stale { .. })));
    host.die().await;
}

#[actix_rt::test]
async fn deploying_the_same_again_does_nothing() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let again = host.deploy(WEB).await.unwrap();
    assert!(
        again.operation.is_none() && again.plan.is_empty(),
        "{again:?}"
    );
    host.die().await;
}

#[actix_rt::test]
async fn a_killed_container_is_back_and_nobody_else_restarted() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let before = host.machine.engine.counters();
    let victim = host
        .machine
        .engine
        .by_name("shop.web.web.v1-i2-d0")
        .unwrap();
    host.machine.engine.kill(&victim, sigkill()).unwrap();
    host.until("it is restarted", async || {
        let i = host.instance("shop.web.web.i2").await;
        (i.restarts == 1 && i.state == InstanceState::Running).then_some(())
    })
    .await;
    let after = host.machine.engine.counters();
    assert_eq!(
        (after.creates - before.creates, after.starts - before.starts),
        (0, 1),
        "restarted in place, alone"
    );
    let crashes = host
        .handle
        .crashes(CrashFilter {
            limit: 10,
            ..CrashFilter::default()
        })
        .await
        .unwrap()
        .items;
    assert_eq!(crashes.len(), 1);
    assert!(
        matches!(&crashes[0].cause, CrashCause::Exited { exit } if exit.signal == Some(9)),
        "{crashes:?}"
    );
    assert_eq!(crashes[0].action, "restarted at once");
    host.die().await;
}

#[actix_rt::test]
async fn a_mistake_in_a_file_is_told_once_with_what_was_meant() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let refused = host.deploy(&WEB.replace("port: 80", "prot: 80")).await;
    let Err(ControlError::Invalid { problems, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        problems[0].detail,
        "unknown key `prot` in web; did you mean `port`?"
    );
    host.die().await;
}

#[actix_rt::test]
async fn a_restart_on_request_is_no_crash_and_does_not_wait_for_the_next_regular_probe() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let check = "  healthcheck: {command: \"true\", interval: 10m}\n";
    let yaml = WEB.replace("  num_instances: 3\n", check);
    succeeded(&host.deployed(&yaml).await);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let web = Host::selector("shop", Some("web"), None);
    let answer = host.handle.restart(web, false, caller()).await.unwrap();
    let operation = host.ended(&answer).await;
    succeeded(&operation);
    let took = operation.ended_at.unwrap() - operation.started_at;
    assert!(took.num_seconds() < 60, "{took}");
    let proc = &host.view("shop").await.procs[0];
    assert_eq!((proc.crashes, proc.instances[0].restarts), (0, 1));
    host.die().await;
}

#[actix_rt::test]
async fn a_proc_that_keeps_failing_is_degraded_alone_and_recovers() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let bystander = host.instance("shop.web.web.i1").await.started_at;
    host.machine.engine.set_behaviour(
        "shop:1",
        Behaviour {
            runs: vec![Run::ends(Duration::from_millis(10), 3)],
            ..Behaviour::default()
        },
    );
    let victim = host
        .machine
        .engine
        .by_name("shop.worker.mail.v1-i1-d0")
        .unwrap();
    host.machine.engine.kill(&victim, sigkill()).unwrap();
    let view = host
        .until("it is degraded", async || {
            let view = host.view("shop").await;
            (view.state == AppState::Degraded).then_some(view)
        })
        .await;
    assert!(
        view.reason.as_deref().unwrap().contains("worker.mail"),
        "{view:?}"
    );
    assert_eq!(host.instance("shop.web.web.i1").await.started_at, bystander);
    host.machine
        .engine
        .set_behaviour("shop:1", Behaviour::default());
    host.runs("shop").await;
    assert!(!host.events("proc_degraded").is_empty());
    host.until("it has recovered", async || {
        (!host.events("proc_recovered").is_empty()).then_some(())
    })
    .await;
    host.die().await;
}

#[actix_rt::test]
async fn a_scale_that_asks_for_nothing_does_nothing() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let (shop, web) = (app("shop"), "web".parse().unwrap());
    let nothing = ScaleRequest::default();
    let answer = host.handle.scale(&shop, &web, nothing, false, caller());
    let answer = answer.await.unwrap();
    assert!(answer.operation.is_none() && answer.plan.is_empty());
    host.die().await;
}

#[actix_rt::test]
async fn scaling_adds_and_takes_the_highest_numbers() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let starts = host.machine.engine.counters().starts;
    succeeded(
        &host
            .scale(
                "shop",
                "web",
                ScaleRequest {
                    num_instances: Some(5),
                    ..Default::default()
                },
            )
            .await,
    );
    assert_eq!(host.machine.engine.counters().starts, starts + 2);
    succeeded(
        &host
            .scale(
                "shop",
                "web",
                ScaleRequest {
                    num_instances: Some(1),
                    ..Default::default()
                },
            )
            .await,
    );
    let view = host.view("shop").await;
    let left: Vec<u32> = view.procs[0].instances.iter().map(|i| i.no).collect();
    assert_eq!(left, [1]);
    assert_eq!(host.machine.engine.containers().len(), 2);
    assert_eq!(view.procs[0].overrides, ["num_instances: 3 in lain.yaml"]);
    host.die().await;
}

#[actix_rt::test]
async fn a_new_version_replaces_instance_after_instance() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    succeeded(
        &host
            .deployed(&WEB.replace("cmd: serve", "cmd: serve --fast"))
            .await,
    );
    let names: Vec<String> = host
        .machine
        .engine
        .containers()
        .into_iter()
        .map(|c| c.name)
        .collect();
    let new = names
        .iter()
        .filter(|n| n.starts_with("shop.web.web.v2"))
        .count();
    assert_eq!((new, names.len()), (3, 4), "{names:?}");
    host.die().await;
}

#[actix_rt::test]
async fn a_version_that_fails_is_rolled_back() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    host.machine.engine.set_behaviour(
        "shop:2",
        Behaviour {
            runs: vec![Run::ends(Duration::from_millis(10), 1)],
            ..Behaviour::default()
        },
    );
    let operation = host
        .deployed(&WEB.replace("image: shop:1\n  cmd: serve", "image: shop:2\n  cmd: serve"))
        .await;
    assert_eq!(operation.state, OperationState::Failed);
    assert!(!operation.crashes.is_empty(), "{operation:?}");
    host.runs("shop").await;
    let names: Vec<String> = host
        .machine
        .engine
        .containers()
        .into_iter()
        .map(|c| c.name)
        .collect();
    assert!(names.iter().all(|n| n.contains(".v1-")), "{names:?}");
    assert_eq!(host.events("rollback_started").len(), 1);
    host.die().await;
}

#[actix_rt::test]
async fn a_restart_of_lain_adopts_everything_and_restarts_nothing() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let before = host.machine.engine.counters();
    let machine = host.die().await;
    let host = machine.boot().await;
    host.runs("shop").await;
    let after = host.machine.engine.counters();
    assert_eq!(
        (after.creates, after.starts, after.removes),
        (before.creates, before.starts, before.removes)
    );
    assert_eq!(host.events("instance_adopted").len(), 4);
    host.die().await;
}

#[actix_rt::test]
async fn what_died_while_lain_was_away_is_started() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let machine = host.die().await;
    let victim = machine.engine.by_name("shop.web.web.v1-i3-d0").unwrap();
    machine.engine.kill(&victim, sigkill()).unwrap();
    let host = machine.boot().await;
    host.runs("shop").await;
    assert_eq!(host.machine.engine.containers().len(), 4);
    host.die().await;
}

#[actix_rt::test]
async fn undeploy_leaves_nothing() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let answer = host
        .handle
        .undeploy(
            &app("shop"),
            lain::ports::control::Precondition::Any,
            false,
            caller(),
        )
        .await
        .unwrap();
    succeeded(&host.ended(&answer).await);
    host.until("the app is gone", async || {
        host.handle.app(&app("shop")).await.is_err().then_some(())
    })
    .await;
    assert!(host.machine.engine.containers().is_empty());
    host.die().await;
}

#[actix_rt::test]
async fn an_engine_that_goes_and_comes_restarts_nothing_that_ran() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let before = host.machine.engine.counters().starts;
    host.machine.engine.set_unreachable(true);
    host.until("it is noticed", async || {
        (!host.events("engine_down").is_empty()).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    host.machine.engine.set_unreachable(false);
    host.until("it is back", async || {
        (!host.events("engine_up").is_empty()).then_some(())
    })
    .await;
    host.runs("shop").await;
    assert_eq!(host.machine.engine.counters().starts, before);
    assert!(host.events("proc_degraded").is_empty());
    host.die().await;
}

#[actix_rt::test]
async fn a_stop_holds_over_restarts_and_start_ends_it() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.deployed(WEB).await;
    let answer = host
        .handle
        .stop(
            Host::selector("shop", Some("web"), Some(2)),
            false,
            caller(),
        )
        .await
        .unwrap();
    succeeded(&host.ended(&answer).await);
    let host = host.die().await.boot().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        host.instance("shop.web.web.i2").await.state,
        InstanceState::Stopped
    );
    let answer = host
        .handle
        .start(Host::selector("shop", Some("web"), None), false, caller())
        .await
        .unwrap();
    succeeded(&host.ended(&answer).await);
    assert_eq!(
        host.instance("shop.web.web.i2").await.state,
        InstanceState::Running
    );
    host.die().await;
}

#[actix_rt::test]
async fn a_spare_takes_over_and_the_crashed_one_becomes_the_spare() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let yaml = "appname: shop\nweb:\n  image: shop:1\n  cmd: serve\n  port: 80\n  spares: 1\n";
    succeeded(&host.deployed(yaml).await);
    host.until("the spare idles", async || {
        (host.instance("shop.web.web.i2").await.state == InstanceState::Idle).then_some(())
    })
    .await;
    let victim = host
        .machine
        .engine
        .by_name("shop.web.web.v1-i1-d0")
        .unwrap();
    host.machine.engine.kill(&victim, sigkill()).unwrap();
    host.until("roles have changed", async || {
        let (one, two) = (
            host.instance("shop.web.web.i1").await,
            host.instance("shop.web.web.i2").await,
        );
        let swapped = one.role == InstanceRole::Spare && two.role == InstanceRole::Active;
        (swapped && two.state == InstanceState::Running && one.state == InstanceState::Idle)
            .then_some(())
    })
    .await;
    assert_eq!(host.events("spare_promoted").len(), 1);
    host.die().await;
}

#[actix_rt::test]
async fn a_cache_that_dies_takes_its_workers_with_it() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let yaml = "appname: shop
supervision:
  strategy: rest_for_one
worker.before:
  image: shop:1
  cmd: before
worker.cache:
  image: shop:1
  cmd: cache
worker.mail:
  image: shop:1
  cmd: mail
  num_instances: 2
";
    succeeded(&host.deployed(yaml).await);
    let started = async |id: &str| host.instance(id).await.started_at;
    let before = (
        started("shop.worker.before.i1").await,
        started("shop.worker.mail.i2").await,
    );
    let victim = host
        .machine
        .engine
        .by_name("shop.worker.cache.v1-i1-d0")
        .unwrap();
    host.machine.engine.kill(&victim, sigkill()).unwrap();
    host.until("the group is up again", async || {
        (!host.events("group_restarted").is_empty()).then_some(())
    })
    .await;
    host.runs("shop").await;
    assert_eq!(started("shop.worker.before.i1").await, before.0);
    assert_ne!(started("shop.worker.mail.i2").await, before.1);
    host.die().await;
}
