//! Rows 30 to 33 and 54 to 56: instances of a template.

use lain::actors::supervise::*;

use super::support::*;

async fn instances(count: u32, intensity: u32) -> Rig {
    let rig = Rig::start(flags(Strategy::SimpleOneForOne, intensity), |stage| {
        vec![stage.template()]
    })
    .await;
    for number in 1..=count {
        rig.s.start_instance(number).await.expect("started");
    }
    rig
}

#[test]
fn row_030_instances_are_added_one_by_one() {
    run(async {
        let rig = instances(0, 1).await;
        assert!(rig.ids().await.is_empty());
        assert_eq!(rig.counts().await, (1, 0, 0, 0));
        for number in 1..=2u32 {
            rig.s.start_instance(number).await.expect("started");
        }
        let children = rig.s.which_children().await.expect("s answers");
        assert!(children.iter().all(|child| child.id.is_none()));
        assert_eq!(rig.counts().await, (1, 2, 0, 2));
    });
}

#[test]
fn row_031_terminate_by_pid_not_by_id() {
    run(async {
        let rig = instances(1, 1).await;
        let (_, pid) = rig.instances()[0].clone();
        assert_eq!(
            error(rig.s.terminate_child("template").await),
            CallError::SimpleOneForOne
        );
        rig.s.terminate_pid(pid).await.expect("stopped");
        assert!(!rig.tree.is_alive(pid), "dead when the call returns");
        assert_eq!(rig.counts().await, (1, 0, 0, 0));
    });
}

#[test]
fn row_032_terminate_a_gone_instance_or_a_stranger() {
    run(async {
        let rig = instances(1, 1).await;
        let (_, pid) = rig.instances()[0].clone();
        rig.s.terminate_pid(pid).await.expect("stopped");
        rig.s
            .terminate_pid(pid)
            .await
            .expect("also when it is gone");
        rig.tree
            .root()
            .start_child(rig.stage.worker("stranger"))
            .await
            .expect("started");
        let stranger = rig.tree.whereis("stranger").expect("it runs");
        assert_eq!(
            error(rig.s.terminate_pid(stranger).await),
            CallError::NotFound
        );
        assert!(rig.tree.is_alive(stranger), "it survives");
    });
}

#[test]
fn row_033_restart_and_delete_are_not_for_templates() {
    run(async {
        let rig = instances(1, 1).await;
        assert_eq!(
            error(rig.s.restart_child("template").await),
            CallError::SimpleOneForOne
        );
        assert_eq!(
            error(rig.s.delete_child("template").await),
            CallError::SimpleOneForOne
        );
    });
}

#[test]
fn row_054_a_crashed_instance_is_replaced() {
    run(async {
        let rig = instances(2, 2).await;
        let before = rig.instances();
        rig.crash(&before[0].0).await;
        let after = rig.instances();
        assert_ne!(after[0].1, before[0].1, "replaced");
        assert_eq!(after[1].1, before[1].1, "untouched");
        assert_eq!(rig.counts().await, (1, 2, 0, 2));
        assert_eq!(
            rig.stage.take_starts(),
            ["i1", "i2", "i1"],
            "with its own arguments"
        );
        rig.crash(&before[1].0).await;
        assert_eq!(rig.exit(), None);
        rig.crash(&before[0].0).await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
    });
}

#[test]
fn row_055_extra_information_of_a_start() {
    run(async {
        let rig = instances(0, 2).await;
        rig.stage.every_start("i1", Begin::Inform(42));
        let info = rig
            .s
            .start_instance(1u32)
            .await
            .expect("started")
            .info
            .expect("with information");
        assert_eq!(info.downcast_ref::<u32>(), Some(&42));
        let (id, pid) = rig.instances()[0].clone();
        rig.crash(&id).await;
        assert_ne!(
            rig.instances()[0].1,
            pid,
            "an automatic restart works all the same"
        );
    });
}

#[test]
fn row_056_an_instance_that_does_not_come_back_ends_all() {
    run(async {
        let rig = instances(2, 4).await;
        let before = rig.instances();
        rig.stage.every_start("i1", Begin::Fail(boom()));
        rig.crash(&before[0].0).await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
        assert!(!rig.tree.is_alive(before[1].1), "its sibling died");
        assert_eq!(
            rig.ends(&format!("s/{}", before[1].0)),
            [ExitReason::Shutdown]
        );
    });
}
