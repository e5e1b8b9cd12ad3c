//! Rows 18 to 21 and 102: stopping, and what waits for it.

use std::time::Duration;

use lain::actors::supervise::*;
use tokio::time::Instant;

use super::support::*;

const SECOND: Duration = Duration::from_secs(1);

fn ofo() -> Flags {
    flags(Strategy::OneForOne, 1)
}

#[test]
fn row_018_infinity_children_end_with_shutdown() {
    run(async {
        let rig = Rig::start(ofo(), |stage| {
            let slow = stage.stubborn("a", Stopping::After(SECOND * 3600));
            let below = ChildSpec::supervisor(
                "b",
                SupervisorSpec::new(Flags::default()).child(stage.worker("c")),
            );
            vec![
                slow.shutdown(Shutdown::Infinity),
                below.shutdown(Shutdown::Infinity),
            ]
        })
        .await;
        assert_eq!(rig.shut_down().await, ExitReason::Shutdown);
        for path in ["s/a", "s/b", "s/b/c"] {
            assert_eq!(rig.ends(path), [ExitReason::Shutdown], "{path}");
        }
    });
}

#[test]
fn row_019_a_deaf_child_is_killed_after_its_second() {
    run(async {
        let rig = Rig::start(ofo(), |stage| {
            let timed = |spec: ChildSpec| spec.shutdown(Shutdown::Timeout(SECOND));
            vec![
                timed(stage.worker("good")),
                timed(stage.stubborn("deaf", Stopping::Deaf)),
            ]
        })
        .await;
        let before = Instant::now();
        assert_eq!(rig.shut_down().await, ExitReason::Shutdown);
        assert_eq!(
            before.elapsed().as_millis() / 10,
            100,
            "one second for the deaf one"
        );
        assert_eq!(rig.ends("s/good"), [ExitReason::Shutdown]);
        assert_eq!(rig.ends("s/deaf"), [ExitReason::Killed]);
        assert_eq!(rig.contexts(), [ReportContext::ShutdownError]);
        assert_eq!(rig.watcher.reports()[0].reason, ExitReason::Killed);
    });
}

#[test]
fn row_020_brutal_kill_beside_a_timeout() {
    run(async {
        let rig = Rig::start(ofo(), |stage| {
            let timed = stage.worker("a").shutdown(Shutdown::Timeout(SECOND));
            vec![timed, stage.worker("b").shutdown(Shutdown::BrutalKill)]
        })
        .await;
        assert_eq!(rig.shut_down().await, ExitReason::Shutdown);
        assert_eq!(rig.ends("s/a"), [ExitReason::Shutdown]);
        assert_eq!(rig.ends("s/b"), [ExitReason::Killed]);
        assert_eq!(
            rig.stage.take_ends(),
            [("a".into(), ExitReason::Shutdown)],
            "no cleanup ran in b"
        );
        assert!(rig.contexts().is_empty(), "both ended as expected");
    });
}

#[test]
fn row_021_brutal_kill_of_ten_instances() {
    run(async {
        let rig = Rig::start(flags(Strategy::SimpleOneForOne, 1), |stage| {
            vec![stage.template().shutdown(Shutdown::BrutalKill)]
        })
        .await;
        for number in 0..10u32 {
            rig.s.start_instance(number).await.expect("started");
        }
        let instances = rig.instances();
        assert_eq!(instances.len(), 10);
        assert_eq!(rig.shut_down().await, ExitReason::Shutdown);
        for (id, _) in instances {
            assert_eq!(rig.ends(&format!("s/{id}")), [ExitReason::Killed], "{id}");
        }
        assert!(rig.stage.take_ends().is_empty(), "no cleanup ran");
    });
}

#[test]
fn row_102_questions_wait_for_a_start_or_a_stop() {
    run(async {
        let moment = Duration::from_millis(300);
        let rig = Rig::start(ofo(), |_| vec![]).await;
        let spec = rig.stage.stubborn("a", Stopping::After(moment));
        rig.stage.next_start("a", Begin::Hang(moment));

        let before = Instant::now();
        let (started, counts) = tokio::join!(rig.s.start_child(spec), rig.counts());
        started.expect("a starts");
        assert_eq!(before.elapsed().as_millis() / 10, 30);
        assert_eq!(counts, (1, 1, 0, 1));

        let before = Instant::now();
        let (stopped, counts) = tokio::join!(rig.s.terminate_child("a"), rig.counts());
        stopped.expect("a stops");
        assert_eq!(before.elapsed().as_millis() / 10, 30);
        assert_eq!(counts, (1, 0, 0, 1));
    });
}
