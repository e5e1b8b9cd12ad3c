//! Rows 22 to 29 and 73: children added, stopped, restarted and deleted at run time.

use lain::actors::supervise::*;

use super::support::*;

async fn one_child() -> Rig {
    Rig::start(flags(Strategy::OneForOne, 1), |stage| {
        vec![stage.worker("a")]
    })
    .await
}

#[test]
fn row_022_start_child_with_the_id_of_a_running_one() {
    run(async {
        let rig = one_child().await;
        let failure = error(rig.s.start_child(rig.stage.worker("a")).await);
        assert_eq!(failure, CallError::AlreadyStarted(rig.pid("a")));
    });
}

#[test]
fn row_023_terminate_child_unknown_or_no_supervisor() {
    run(async {
        let rig = one_child().await;
        assert_eq!(error(rig.s.terminate_child("b").await), CallError::NotFound);
        let missing = rig.tree.supervisor("nobody");
        assert_eq!(error(missing.terminate_child("a").await), CallError::NoProc);
    });
}

#[test]
fn row_024_terminate_child() {
    run(async {
        let rig = one_child().await;
        rig.s.terminate_child("a").await.expect("stopped");
        assert_eq!(rig.ends("s/a"), [ExitReason::Shutdown]);
        assert_eq!(rig.listed().await, [("a".into(), ChildState::Undefined)]);
        assert_eq!(rig.counts().await, (1, 0, 0, 1));
        rig.s
            .terminate_child("a")
            .await
            .expect("also when it does not run");
    });
}

#[test]
fn row_025_start_child_with_the_id_of_a_stopped_one() {
    run(async {
        let rig = one_child().await;
        rig.s.terminate_child("a").await.expect("stopped");
        assert_eq!(
            error(rig.s.start_child(rig.stage.worker("a")).await),
            CallError::AlreadyPresent
        );
    });
}

#[test]
fn row_026_restart_child() {
    run(async {
        let rig = one_child().await;
        let old = rig.pid("a");
        assert_eq!(error(rig.s.restart_child("a").await), CallError::Running);
        assert_eq!(error(rig.s.restart_child("b").await), CallError::NotFound);
        rig.s.terminate_child("a").await.expect("stopped");
        let new = rig.s.restart_child("a").await.expect("restarted").pid;
        assert_ne!(new, Some(old));
        assert_eq!(new, Some(rig.pid("a")));
    });
}

#[test]
fn row_027_delete_child() {
    run(async {
        let rig = one_child().await;
        assert_eq!(error(rig.s.delete_child("a").await), CallError::Running);
        assert_eq!(error(rig.s.delete_child("b").await), CallError::NotFound);
        rig.s.terminate_child("a").await.expect("stopped");
        rig.s.delete_child("a").await.expect("deleted");
        assert!(rig.ids().await.is_empty());
        assert_eq!(rig.counts().await, (0, 0, 0, 0));
        assert_eq!(error(rig.s.restart_child("a").await), CallError::NotFound);
    });
}

#[test]
fn row_028_start_child_after_deletion() {
    run(async {
        let rig = one_child().await;
        rig.s.terminate_child("a").await.expect("stopped");
        rig.s.delete_child("a").await.expect("deleted");
        let again = rig
            .s
            .start_child(rig.stage.worker("a"))
            .await
            .expect("started");
        assert_eq!(again.pid, Some(rig.pid("a")));
    });
}

#[test]
fn row_029_terminate_by_pid_is_for_templates() {
    run(async {
        let rig = one_child().await;
        let a = rig.pid("a");
        assert_eq!(error(rig.s.terminate_pid(a).await), CallError::NotFound);
        assert_eq!(rig.pid("a"), a, "it lives on");
    });
}

#[test]
fn row_073_the_callback_can_be_asked_for() {
    run(async {
        let rig = one_child().await;
        let name = rig.s.callback().expect("s runs");
        assert!(name.contains("supervise::group"), "{name}");
        let missing = rig.tree.supervisor("nobody");
        assert_eq!(error(missing.callback()), CallError::NoProc);
    });
}
