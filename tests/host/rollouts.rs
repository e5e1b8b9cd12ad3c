//! Histories, rollbacks, canaries, windows and drains, in virtual time.

use crate::support::*;
use lain::domain::view::{
    InstanceState, OperationState, OperationView, RevisionOutcome, RevisionView, ScaleRequest,
    endpoints,
};
use lain::drivers::simulated::{Behaviour, Run};
use lain::ports::control::{Control, ControlError, Precondition};
use lain::ports::runtime::ContainerState;
use std::collections::BTreeSet;
use std::time::Duration;

fn web(image: &str, instances: u32, more: &str) -> String {
    format!(
        "appname: shop\nweb:\n  image: {image}\n  cmd: serve\n  port: 80\n  num_instances: {instances}\n{more}"
    )
}

impl Host {
    async fn history(&self) -> Vec<RevisionView> {
        self.handle.revisions(&app("shop")).await.unwrap()
    }

    /// Number, outcome and image of each revision, newest first.
    async fn outcomes(&self) -> Vec<(u64, RevisionOutcome, String)> {
        let all = self.history().await.into_iter();
        all.map(|r| (r.revision, r.outcome, r.images["web.web"].clone()))
            .collect()
    }

    async fn rolled_back(&self, to: Option<u64>) -> OperationView {
        let any = Precondition::Any;
        let answer = self
            .handle
            .rollback(&app("shop"), to, any, false, caller())
            .await;
        self.ended(&answer.unwrap()).await
    }

    async fn deploy_canary(&self, yaml: &str, canary: u32) -> OperationView {
        let mut request = Host::request(yaml);
        request.canary = Some(canary);
        let any = Precondition::Any;
        let answer = self
            .handle
            .deploy(&app("shop"), request, any, false, caller())
            .await;
        let id = answer.unwrap().operation.unwrap().id.parse().unwrap();
        self.until("the canary waits, or it has ended", async || {
            let operation = self.handle.operation(&id).await.unwrap();
            let over = operation.waiting.is_some() || operation.state.is_final();
            over.then_some(operation)
        })
        .await
    }

    async fn at_rest(&self) {
        self.until("it is at rest", async || {
            let view = self.view("shop").await;
            (view.operation.is_none()).then_some(())
        })
        .await;
    }

    async fn versions(&self) -> Vec<u64> {
        let procs = self.view("shop").await.procs;
        procs[0].instances.iter().map(|i| i.version).collect()
    }

    fn ends_soon(&self, image: &str, after: Duration) {
        self.machine.engine.set_behaviour(
            image,
            Behaviour {
                runs: vec![Run::ends(after, 1)],
                ..Behaviour::default()
            },
        );
    }

    fn names(&self) -> BTreeSet<String> {
        let all = self.machine.engine.containers().into_iter();
        all.map(|c| c.name).collect()
    }
}

use RevisionOutcome::{Aborted, Deployed, RolledBack};

#[actix_rt::test]
async fn the_history_says_who_brought_what_and_how_it_went() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&web("shop:1", 2, "")).await);
    succeeded(&host.deployed(&web("shop:2", 2, "")).await);
    host.ends_soon("shop:3", Duration::from_millis(10));
    let failed = host.deployed(&web("shop:3", 2, "")).await;
    assert_eq!(failed.state, OperationState::Failed);
    host.at_rest().await;
    let wanted = [
        (4, Deployed, "shop:2".to_owned()),
        (3, RolledBack, "shop:3".to_owned()),
        (2, Deployed, "shop:2".to_owned()),
        (1, Deployed, "shop:1".to_owned()),
    ];
    assert_eq!(host.outcomes().await, wanted);
    let history = host.history().await;
    let (back, bad) = (&history[0], &history[1]);
    assert_eq!((back.kind.as_str(), back.by.as_str()), ("rollback", "lain"));
    assert_eq!((back.back_to, back.current), (Some(2), true));
    assert_eq!((bad.by.as_str(), bad.current), ("tester", false));
    assert!(bad.reason.is_some() && bad.ended_at.is_some(), "{bad:?}");
    let one = host.handle.revision(&app("shop"), 1).await.unwrap();
    assert!(one.lain_yaml.unwrap().contains("shop:1"));
    // It outlives lain, and goes with the app.
    let host = host.die().await.boot().await;
    assert_eq!(host.outcomes().await, wanted);
    let gone = host
        .handle
        .undeploy(&app("shop"), Precondition::Any, false, caller())
        .await;
    host.ended(&gone.unwrap()).await;
    succeeded(&host.deployed(&web("shop:1", 1, "")).await);
    assert_eq!(host.history().await.len(), 1);
    host.die().await;
}

#[actix_rt::test]
async fn only_the_last_revisions_are_kept() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    for n in 1..=13 {
        succeeded(&host.deployed(&web(&format!("shop:{n}"), 1, "")).await);
    }
    let numbers: Vec<u64> = host.history().await.iter().map(|r| r.revision).collect();
    assert_eq!(numbers, (4..=13).rev().collect::<Vec<u64>>());
    let forgotten = host.handle.revision(&app("shop"), 3).await;
    assert!(matches!(forgotten, Err(ControlError::NotFound { .. })));
    host.die().await;
}

#[actix_rt::test]
async fn a_rollback_goes_back_and_forth_or_where_it_is_told() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&web("shop:1", 2, "")).await);
    let nowhere = host
        .handle
        .rollback(&app("shop"), None, Precondition::Any, false, caller())
        .await;
    assert!(matches!(nowhere, Err(ControlError::Conflict(_))));
    succeeded(&host.deployed(&web("shop:2", 2, "")).await);
    succeeded(&host.deployed(&web("shop:3", 2, "")).await);
    let images = async || host.view("shop").await.procs[0].image.clone();
    let plan = host
        .handle
        .rollback(&app("shop"), None, Precondition::Any, true, caller())
        .await;
    let plan = plan.unwrap().plan;
    assert_eq!(plan.steps.len(), 2);
    assert_eq!(plan.steps[0].changes, ["image: shop:3 → shop:2"]);
    succeeded(&host.rolled_back(None).await);
    assert_eq!(images().await, "shop:2");
    // The containers of then are those of now again.
    assert_eq!(host.versions().await, [2, 2]);
    succeeded(&host.rolled_back(None).await);
    assert_eq!(images().await, "shop:3");
    succeeded(&host.rolled_back(Some(1)).await);
    assert_eq!(
        (images().await, host.versions().await),
        ("shop:1".to_owned(), vec![1, 1])
    );
    let unknown = host
        .handle
        .rollback(&app("shop"), Some(77), Precondition::Any, false, caller())
        .await;
    assert!(matches!(unknown, Err(ControlError::NotFound { .. })));
    let stale = Precondition::Revision(7);
    let stale = host
        .handle
        .rollback(&app("shop"), Some(1), stale, false, caller())
        .await;
    assert!(matches!(stale, Err(ControlError::Stale { .. })));
    host.die().await;
}

#[actix_rt::test]
async fn what_failed_is_never_gone_back_to() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&web("shop:1", 1, "")).await);
    let stays = "  update: {auto_rollback: false}\n";
    host.ends_soon("shop:2", Duration::from_millis(10));
    assert_eq!(
        host.deployed(&web("shop:2", 1, stays)).await.state,
        OperationState::Failed
    );
    host.ends_soon("shop:3", Duration::from_millis(10));
    assert_eq!(
        host.deployed(&web("shop:3", 1, "")).await.state,
        OperationState::Failed
    );
    host.at_rest().await;
    host.runs("shop").await;
    assert_eq!(host.view("shop").await.procs[0].image, "shop:1");
    host.die().await;
}

#[actix_rt::test]
async fn a_first_deploy_that_fails_leaves_no_operation_open() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    host.ends_soon("shop:1", Duration::from_millis(10));
    assert_eq!(
        host.deployed(&web("shop:1", 1, "")).await.state,
        OperationState::Failed
    );
    host.at_rest().await;
    let all = host.handle.operations(None, None, 100).await.unwrap().items;
    let open: Vec<_> = all.iter().filter(|o| !o.state.is_final()).collect();
    assert!(open.is_empty(), "{open:#?}");
    assert!(all.iter().all(|o| o.kind != "rollback"), "{all:#?}");
    host.die().await;
}

#[actix_rt::test]
async fn a_canary_waits_for_its_promotion_over_a_restart_of_lain() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&web("shop:1", 3, "")).await);
    let operation = host.deploy_canary(&web("shop:2", 3, ""), 1).await;
    assert!(operation.waiting.is_some(), "{operation:#?}");
    assert_eq!(host.versions().await, [2, 1, 1]);
    let view = host.view("shop").await;
    let canary = view.canary.clone().unwrap();
    assert_eq!(canary.instances, ["shop.web.web.i1"]);
    assert_eq!(
        (canary.revision, canary.back_to, canary.waiting),
        (2, Some(1), true)
    );
    assert!(view.reason.unwrap().contains("lain promote"));
    assert!(view.procs[0].instances[0].canary && !view.procs[0].instances[1].canary);
    let note = host
        .handle
        .tree("apps/app/shop/rollout", None)
        .unwrap()
        .note;
    assert!(note.unwrap().contains("canary"));
    assert_eq!(host.events("canary_waiting").len(), 1);
    // Nobody scales what is being judged.
    let more = ScaleRequest {
        num_instances: Some(4),
        ..Default::default()
    };
    let scaled = host
        .handle
        .scale(&app("shop"), &"web".parse().unwrap(), more, false, caller())
        .await;
    assert!(matches!(scaled, Err(ControlError::Conflict(_))));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let starts = host.machine.engine.counters().starts;
    let host = host.killed().await.boot().await;
    host.until("it waits again", async || {
        let canary = host.view("shop").await.canary?;
        canary.waiting.then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(host.versions().await, [2, 1, 1]);
    assert_eq!(host.machine.engine.counters().starts, starts);
    let promoted = host
        .handle
        .promote(&app("shop"), Precondition::Any, caller())
        .await;
    succeeded(&host.ended(&promoted.unwrap()).await);
    assert_eq!(host.versions().await, [2, 2, 2]);
    assert_eq!(host.view("shop").await.canary, None);
    let again = host
        .handle
        .promote(&app("shop"), Precondition::Any, caller())
        .await;
    assert!(matches!(again, Err(ControlError::Conflict(_))));
    assert_eq!(host.outcomes().await[0].1, Deployed);
    host.die().await;
}

#[actix_rt::test]
async fn a_promotion_outlives_a_lain_that_dies_over_it() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let slow = "  update: {min_healthy_time: 20s, parallelism: 1}\n";
    succeeded(&host.deployed(&web("shop:1", 3, slow)).await);
    host.deploy_canary(&web("shop:2", 3, slow), 1).await;
    let promoted = host
        .handle
        .promote(&app("shop"), Precondition::Any, caller())
        .await;
    promoted.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let host = host.killed().await.boot().await;
    host.at_rest().await;
    assert_eq!(host.versions().await, [2, 2, 2]);
    host.die().await;
}

#[actix_rt::test]
async fn an_aborted_canary_restores_what_was_there() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&web("shop:1", 3, "")).await);
    let canary = "  update: {canary: 2}\n";
    let operation = host.deploy(&web("shop:2", 3, canary)).await.unwrap();
    assert_eq!(
        operation.plan.steps[0].changes,
        [
            "image: shop:1 → shop:2",
            "canary: the others wait until it is promoted"
        ]
    );
    host.until("the canary waits", async || {
        let canary = host.view("shop").await.canary?;
        canary.waiting.then_some(())
    })
    .await;
    assert_eq!(host.versions().await, [2, 2, 1]);
    let aborted = host
        .handle
        .abort(&app("shop"), Precondition::Any, false, caller())
        .await
        .unwrap();
    assert_eq!(aborted.plan.steps.len(), 2, "{:?}", aborted.plan);
    succeeded(&host.ended(&aborted).await);
    host.at_rest().await;
    assert_eq!(host.versions().await, [1, 1, 1]);
    let all = host.outcomes().await;
    assert_eq!(
        (all[0].1, all[1].1, host.history().await[0].kind.as_str()),
        (Deployed, Aborted, "abort")
    );
    // Nothing of it is left, and the next deploy is a plain one where nobody asks for another.
    succeeded(&host.deployed(&web("shop:3", 3, "")).await);
    assert_eq!(host.versions().await, [3, 3, 3]);
    assert_eq!(host.names().len(), 3);
    host.die().await;
}

#[actix_rt::test]
async fn a_canary_that_crashes_is_aborted_by_itself() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&web("shop:1", 3, "")).await);
    // One that does not come up, and one that falls over while it is watched.
    for (image, lives) in [("shop:2", 10), ("shop:3", 60_000)] {
        host.ends_soon(image, Duration::from_millis(lives));
        host.deploy_canary(&web(image, 3, ""), 1).await;
        host.until("it is aborted", async || {
            let outcomes = host.outcomes().await;
            let tried = outcomes.iter().find(|r| r.2 == image)?;
            (tried.1 == Aborted).then_some(())
        })
        .await;
        host.at_rest().await;
        host.runs("shop").await;
        assert_eq!(host.versions().await, [1, 1, 1], "{image}");
    }
    assert_eq!(host.events("canary_aborted").len(), 2);
    let others = ["shop.web.web.i2", "shop.web.web.i3"];
    for other in others {
        assert_eq!(host.instance(other).await.restarts, 0);
    }
    host.die().await;
}

#[actix_rt::test]
async fn a_rollback_gives_a_canary_up_and_a_deploy_takes_its_place() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&web("shop:1", 3, "")).await);
    host.deploy_canary(&web("shop:2", 3, ""), 1).await;
    let other = host.deploy_canary(&web("shop:3", 3, ""), 2).await;
    assert!(other.waiting.is_some());
    assert_eq!(host.versions().await, [3, 3, 1]);
    let operation = host.rolled_back(None).await;
    succeeded(&operation);
    assert_eq!(host.versions().await, [1, 1, 1]);
    assert_eq!(host.view("shop").await.canary, None);
    host.die().await;
}

/// Watches the published list of an app and what runs, until an operation has ended. Gives the fewest addresses and
/// the most containers, and fails if an address leads nowhere.
async fn watch(host: &Host, operation: &OperationView) -> (usize, usize) {
    let id = operation.id.parse().unwrap();
    let (mut fewest, mut most) = (usize::MAX, 0);
    loop {
        let listed = endpoints(&host.view("shop").await);
        let running = host.machine.engine.containers();
        let running: Vec<_> = running
            .iter()
            .filter(|c| c.state == ContainerState::Running)
            .collect();
        for one in &listed {
            let version = format!(".v{}-", one.version);
            let no = format!("-i{}-", one.instance.rsplit_once(".i").unwrap().1);
            let mut up = running.iter().map(|c| &c.name);
            assert!(
                up.any(|name| name.contains(&version) && name.contains(&no)),
                "{one:?} is published and does not run"
            );
        }
        fewest = fewest.min(listed.len());
        most = most.max(running.len());
        let operation = host.handle.operation(&id).await.unwrap();
        if operation.state.is_final() {
            succeeded(&operation);
            return (fewest, most);
        }
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
}

#[actix_rt::test]
async fn an_update_keeps_to_its_window_and_publishes_only_what_runs() {
    tokio::time::pause();
    // update, drain → the fewest addresses at any time, the most containers (those being stopped come on top)
    let rows = [
        ("", "0s", 10, 13),
        ("", "30s", 10, 20),
        ("  update: {parallelism: 1}\n", "0s", 10, 11),
        ("  update: {max_surge: 50%}\n", "0s", 10, 15),
        (
            "  update: {max_surge: 0, max_unavailable: 2}\n",
            "0s",
            8,
            10,
        ),
        (
            "  update: {max_surge: 2, max_unavailable: 10%}\n",
            "1s",
            9,
            20,
        ),
        ("  update: {order: stop_first}\n", "1s", 8, 10),
        ("  stateful: true\n", "0s", 8, 10),
    ];
    for (update, drain, fewest, most) in rows {
        let host = Machine::new().boot().await;
        let more = format!("{update}  drain_time: {drain}\n");
        succeeded(&host.deployed(&web("shop:1", 10, &more)).await);
        let answer = host.deploy(&web("shop:2", 10, &more)).await.unwrap();
        let seen = watch(&host, &answer.operation.unwrap()).await;
        assert!(
            seen.0 >= fewest && seen.1 <= most,
            "{update} {drain}: {seen:?}"
        );
        assert_eq!(host.versions().await, [2; 10]);
        assert_eq!(host.names().len(), 10);
        host.die().await;
    }
}

#[actix_rt::test]
async fn what_is_stopped_leaves_the_list_for_its_drain_time_first() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let drain = "  drain_time: 20s\n";
    succeeded(&host.deployed(&web("shop:1", 2, drain)).await);
    let fewer = ScaleRequest {
        num_instances: Some(1),
        ..Default::default()
    };
    let begun = tokio::time::Instant::now();
    let answer = host
        .handle
        .scale(
            &app("shop"),
            &"web".parse().unwrap(),
            fewer,
            false,
            caller(),
        )
        .await;
    let answer = answer.unwrap();
    host.until("it has left the list", async || {
        (endpoints(&host.view("shop").await).len() == 1).then_some(())
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    let leaving = host.instance("shop.web.web.i2").await;
    assert_eq!(leaving.state, InstanceState::Stopping);
    assert!(leaving.reason.unwrap().contains("list of addresses"));
    tokio::time::sleep(Duration::from_secs(18)).await;
    assert_eq!(host.names().len(), 2, "it still answers those who know it");
    succeeded(&host.ended(&answer).await);
    assert!(begun.elapsed() >= Duration::from_secs(20));
    // A restart in place is drained too, and back in the list afterwards.
    let web = Host::selector("shop", Some("web"), None);
    let answer = host.handle.restart(web, false, caller()).await.unwrap();
    host.until("it has left the list", async || {
        endpoints(&host.view("shop").await).is_empty().then_some(())
    })
    .await;
    succeeded(&host.ended(&answer).await);
    assert_eq!(endpoints(&host.view("shop").await).len(), 1);
    host.die().await;
}

#[actix_rt::test]
async fn one_that_does_not_stay_healthy_long_enough_was_never_available() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let steady = "  update: {min_healthy_time: 30s}\n  restart: temporary\n";
    succeeded(&host.deployed(&web("shop:1", 3, steady)).await);
    host.ends_soon("shop:2", Duration::from_secs(20));
    let operation = host.deployed(&web("shop:2", 3, steady)).await;
    assert_eq!(operation.state, OperationState::Failed);
    host.at_rest().await;
    assert_eq!(host.versions().await, [1, 1, 1]);
    // The old ones never stopped.
    for no in 1..=3 {
        let instance = host.instance(&format!("shop.web.web.i{no}")).await;
        assert_eq!(
            (instance.restarts, instance.state),
            (0, InstanceState::Running)
        );
    }
    host.die().await;
}

#[actix_rt::test]
async fn a_cancelled_update_leaves_one_container_of_each_instance() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    let slow = "  update: {min_healthy_time: 20s}\n";
    succeeded(&host.deployed(&web("shop:1", 10, slow)).await);
    let answer = host.deploy(&web("shop:2", 10, slow)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(25)).await;
    let id = answer.operation.unwrap().id.parse().unwrap();
    host.handle.cancel(&id, caller()).await.unwrap();
    host.at_rest().await;
    host.until("one container of each is left", async || {
        (host.names().len() == 10).then_some(())
    })
    .await;
    let versions = host.versions().await;
    assert!(
        versions.contains(&1) && versions.contains(&2),
        "{versions:?}"
    );
    assert_eq!(endpoints(&host.view("shop").await).len(), 10);
    host.die().await;
}

#[actix_rt::test]
async fn memory_and_cpu_change_without_a_restart() {
    tokio::time::pause();
    let host = Machine::new().boot().await;
    succeeded(&host.deployed(&web("shop:1", 3, "")).await);
    let before = host.machine.engine.counters();
    let bigger = ScaleRequest {
        cpu: Some(4),
        memory: Some("96m".to_owned()),
        ..Default::default()
    };
    let operation = host.scale("shop", "web", bigger).await;
    succeeded(&operation);
    assert_eq!(operation.steps.len(), 3);
    let after = host.machine.engine.counters();
    assert_eq!(
        (after.creates, after.starts, after.stops),
        (before.creates, before.starts, before.stops)
    );
    assert_eq!(after.updates - before.updates, 3);
    host.die().await;
}
