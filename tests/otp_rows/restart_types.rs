//! Rows 61 to 69: permanent, transient and temporary children.

use lain::actors::supervise::*;

use super::support::*;

fn shutdown_with() -> ExitReason {
    ExitReason::ShutdownWith("info".into())
}

async fn with(restart: Restart) -> Rig {
    Rig::start(flags(Strategy::OneForOne, 2), |stage| {
        vec![stage.worker("a").restart(restart)]
    })
    .await
}

/// Ends `a` and expects another one in its place.
async fn replaced(rig: &Rig, reason: ExitReason) {
    let a = rig.pid("a");
    rig.end("a", reason).await;
    assert_ne!(rig.pid("a"), a);
    assert_eq!(rig.counts().await, (1, 1, 0, 1));
}

#[test]
fn row_061_permanent_normal() {
    run(async { replaced(&with(Restart::Permanent).await, ExitReason::Normal).await });
}

#[test]
fn row_062_permanent_shutdown() {
    run(async {
        let rig = with(Restart::Permanent).await;
        replaced(&rig, ExitReason::Shutdown).await;
        replaced(&rig, shutdown_with()).await;
    });
}

#[test]
fn row_063_permanent_abnormal() {
    run(async {
        let rig = with(Restart::Permanent).await;
        replaced(&rig, boom()).await;
        let a = rig.pid("a");
        rig.crash("a").await;
        assert_ne!(rig.pid("a"), a, "a panic is a crash");
    });
}

#[test]
fn row_064_transient_normal() {
    run(async {
        let rig = with(Restart::Transient).await;
        rig.end("a", ExitReason::Normal).await;
        assert_eq!(rig.listed().await, [("a".into(), ChildState::Undefined)]);
        assert_eq!(rig.counts().await, (1, 0, 0, 1));
    });
}

#[test]
fn row_065_transient_shutdown() {
    run(async {
        let rig = with(Restart::Transient).await;
        rig.end("a", ExitReason::Shutdown).await;
        assert_eq!(rig.state("a").await, Some(ChildState::Undefined));
        rig.s.restart_child("a").await.expect("restarted");
        rig.end("a", shutdown_with()).await;
        assert_eq!(rig.state("a").await, Some(ChildState::Undefined));
    });
}

#[test]
fn row_066_transient_abnormal() {
    run(async { replaced(&with(Restart::Transient).await, boom()).await });
}

#[test]
fn row_067_temporary_normal() {
    run(async {
        let rig = with(Restart::Temporary).await;
        rig.end("a", ExitReason::Normal).await;
        assert_eq!(rig.counts().await, (0, 0, 0, 0));
    });
}

#[test]
fn row_068_temporary_shutdown() {
    run(async {
        let rig = with(Restart::Temporary).await;
        for reason in [ExitReason::Shutdown, shutdown_with()] {
            rig.end("a", reason).await;
            assert_eq!(rig.counts().await, (0, 0, 0, 0));
            rig.s
                .start_child(rig.stage.worker("a").temporary())
                .await
                .expect("started anew");
        }
    });
}

#[test]
fn row_069_temporary_abnormal() {
    run(async {
        let rig = with(Restart::Temporary).await;
        rig.crash("a").await;
        assert_eq!(rig.counts().await, (0, 0, 0, 0));
        assert_eq!(rig.running("a"), None);
        assert_eq!(rig.exit(), None);
    });
}
