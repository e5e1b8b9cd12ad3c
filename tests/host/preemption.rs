//! What matters more takes the place of what matters less, where that is allowed.

use crate::support::*;
use lain::domain::view::{InstanceState, OperationState, ScaleRequest};
use lain::ports::control::{Control, Precondition};

/// Instances of which the simulated engine's 16 TiB take two.
fn large(app: &str, instances: u32, priority: i32) -> String {
    format!(
        "appname: {app}\nweb:\n  image: {app}:1\n  cmd: serve\n  port: 80\n  memory: 6000g\n  priority: {priority}\n  num_instances: {instances}\n"
    )
}

#[actix_rt::test]
async fn a_higher_priority_takes_the_place_of_a_lower_one_which_comes_back_when_there_is_room() {
    tokio::time::pause();
    let mut machine = Machine::new();
    machine.policy.preemption = true;
    let mut host = machine.boot().await;
    succeeded(&host.deployed(&large("batch", 2, 0)).await);
    succeeded(&host.deployed(&large("shop", 1, 10)).await);
    host.runs("shop").await;
    let evicted = host.events("instance_evicted");
    assert_eq!(evicted.len(), 1, "{}", host.story());
    assert!(
        evicted[0].message.contains("for shop.web.web.i1"),
        "{evicted:?}"
    );
    let victim = format!("batch.web.web.i{}", evicted[0].instance.unwrap());
    let waits = host
        .until("the evicted one waits and has no container", async || {
            let view = host.instance(&victim).await;
            let engine = host.machine.engine.containers().len();
            (view.state == InstanceState::Pending && engine == 2).then_some(view)
        })
        .await;
    let reason = waits.reason.unwrap_or_default();
    assert!(reason.contains("without enough free memory"), "{reason}");

    // A restart of lain does not forget it, and starts nothing where there is no room.
    host = host.killed().await.boot().await;
    host.runs("shop").await;
    host.until("it still waits", async || {
        let view = host.instance(&victim).await;
        (view.state == InstanceState::Pending && view.reason.is_some()).then_some(())
    })
    .await;
    assert_eq!(host.machine.engine.containers().len(), 2);

    let gone = host
        .handle
        .undeploy(&app("shop"), Precondition::Any, false, caller())
        .await
        .unwrap();
    host.ended(&gone).await;
    host.runs("batch").await;
    assert_eq!(host.machine.engine.containers().len(), 2);
    host.die().await;
}

#[actix_rt::test]
async fn equal_priorities_and_installations_that_do_not_allow_it_evict_nobody() {
    tokio::time::pause();
    for (preemption, priority) in [(true, 0), (false, 10)] {
        let mut machine = Machine::new();
        machine.policy.preemption = preemption;
        let host = machine.boot().await;
        succeeded(&host.deployed(&large("batch", 2, 0)).await);
        let refused = host.deployed(&large("shop", 1, priority)).await;
        assert_eq!(refused.state, OperationState::Failed);
        let more = ScaleRequest {
            num_instances: Some(3),
            ..Default::default()
        };
        let refused = host.scale("batch", "web", more).await;
        assert_eq!(refused.state, OperationState::Failed);
        assert!(host.events("instance_evicted").is_empty());
        assert_eq!(host.machine.engine.containers().len(), 2);
        host.die().await;
    }
}
