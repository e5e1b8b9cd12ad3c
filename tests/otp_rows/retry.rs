//! Rows 77 to 79: a restart that keeps failing, slowly.

use std::time::Duration;

use lain::actors::supervise::*;
use tokio::time::{Instant, sleep};

use super::support::*;

const ATTEMPT: Duration = Duration::from_millis(200);

/// A child whose restart hangs for a while and then fails, over and over.
async fn looping() -> Rig {
    let rig = Rig::start(flags(Strategy::OneForOne, 1000), |stage| {
        vec![stage.worker("a")]
    })
    .await;
    rig.stage.every_start("a", Begin::HangThenFail(ATTEMPT));
    rig.crash("a").await;
    rig
}

#[test]
fn row_077_calls_during_a_restart_loop() {
    run(async {
        let rig = looping().await;
        assert_eq!(
            error(rig.s.start_child(rig.stage.worker("a")).await),
            CallError::AlreadyPresent
        );
        assert_eq!(error(rig.s.restart_child("a").await), CallError::Restarting);
        assert_eq!(error(rig.s.delete_child("a").await), CallError::Restarting);
        assert!(matches!(
            rig.state("a").await,
            Some(ChildState::Restarting { .. })
        ));
        assert_eq!(rig.counts().await, (1, 0, 0, 1));
        sleep(ATTEMPT * 10).await;
        assert_eq!(rig.exit(), None, "the budget holds");
    });
}

#[test]
fn row_078_terminate_child_ends_the_loop() {
    run(async {
        let rig = looping().await;
        rig.s.terminate_child("a").await.expect("cancelled");
        assert_eq!(rig.state("a").await, Some(ChildState::Undefined));
        rig.stage.take_starts();
        sleep(ATTEMPT * 10).await;
        assert!(rig.stage.take_starts().is_empty(), "no retry is left");
        rig.stage.every_start("a", Begin::Run);
        rig.s.restart_child("a").await.expect("restarted");
        assert!(rig.running("a").is_some());
    });
}

#[test]
fn row_079_shutdown_waits_for_the_attempt_in_progress() {
    run(async {
        let rig = looping().await;
        let before = Instant::now();
        assert_eq!(rig.shut_down().await, ExitReason::Shutdown);
        assert!(before.elapsed() <= ATTEMPT, "{:?}", before.elapsed());
        rig.stage.take_starts();
        sleep(ATTEMPT * 10).await;
        assert!(rig.stage.take_starts().is_empty());
    });
}
