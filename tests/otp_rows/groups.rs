//! Rows 45 to 53, 57 to 60 and 80: strategies and the restart budget.

use std::time::Duration;

use lain::actors::supervise::*;

use super::support::*;

async fn with(strategy: Strategy, intensity: u32, ids: &[&str]) -> Rig {
    let rig = Rig::start(flags(strategy, intensity), |stage| {
        ids.iter().map(|id| stage.worker(id)).collect()
    })
    .await;
    rig.stage.take_starts();
    rig
}

fn one_second(intensity: u32) -> Flags {
    Flags::new(Strategy::OneForOne).intensity(intensity, Duration::from_secs(1))
}

#[test]
fn row_045_crashes_far_apart_are_borne() {
    run(async {
        let rig = Rig::start(one_second(1), |stage| vec![stage.worker("a")]).await;
        for _ in 0..4 {
            rig.crash("a").await;
            tokio::time::sleep(Duration::from_millis(2100)).await;
        }
        assert_eq!(rig.exit(), None);
        assert!(rig.running("a").is_some());
    });
}

#[test]
fn row_046_two_crashes_within_the_second_are_not() {
    run(async {
        let rig = Rig::start(one_second(1), |stage| vec![stage.worker("a")]).await;
        rig.crash("a").await;
        assert_eq!(rig.exit(), None);
        rig.crash("a").await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
    });
}

#[test]
fn row_047_one_for_one_replaces_only_the_crashed() {
    run(async {
        let rig = with(Strategy::OneForOne, 1, &["a", "b"]).await;
        let (a, b) = (rig.pid("a"), rig.pid("b"));
        rig.crash("a").await;
        assert_ne!(rig.pid("a"), a);
        assert_eq!(rig.pid("b"), b);
        assert_eq!(rig.counts().await, (2, 2, 0, 2));
    });
}

#[test]
fn row_048_one_for_one_third_crash_of_any_child() {
    run(async {
        let rig = with(Strategy::OneForOne, 2, &["a", "b"]).await;
        rig.crash("a").await;
        rig.crash("b").await;
        assert_eq!(rig.exit(), None);
        rig.crash("a").await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
    });
}

#[test]
fn row_049_one_for_one_escalation() {
    run(async {
        let rig = with(Strategy::OneForOne, 4, &["a", "b"]).await;
        let b = rig.pid("b");
        rig.stage.every_start("a", Begin::Fail(boom()));
        rig.crash("a").await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
        assert!(!rig.tree.is_alive(b), "the healthy sibling went down too");
        assert_eq!(rig.ends("s/b"), [ExitReason::Shutdown]);
    });
}

/// "5 in all" counts the first, good start.
#[test]
fn row_050_one_for_one_escalation_in_numbers() {
    run(async {
        let rig = Rig::start(flags(Strategy::OneForOne, 4), |stage| {
            vec![stage.worker("a")]
        })
        .await;
        rig.stage.every_start("a", Begin::Fail(boom()));
        rig.crash("a").await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
        assert_eq!(rig.stage.take_starts().len(), 5, "1 and 4 retries");
        use ReportContext::{ChildTerminated, Shutdown, StartError};
        assert_eq!(
            rig.contexts(),
            [
                ChildTerminated,
                StartError,
                StartError,
                StartError,
                StartError,
                Shutdown
            ]
        );
    });
}

#[test]
fn row_051_one_for_all_replaces_all() {
    run(async {
        let rig = with(Strategy::OneForAll, 1, &["a", "b"]).await;
        let (a, b) = (rig.pid("a"), rig.pid("b"));
        rig.crash("a").await;
        assert_eq!(
            rig.stage.take_ends(),
            [("b".into(), ExitReason::Shutdown)],
            "the other one was stopped"
        );
        assert_eq!(rig.stage.take_starts(), ["a", "b"]);
        assert!(!rig.tree.is_alive(a) && !rig.tree.is_alive(b));
        assert_eq!(rig.counts().await, (2, 2, 0, 2));
    });
}

#[test]
fn row_052_one_for_all_third_crash() {
    run(async {
        let rig = with(Strategy::OneForAll, 2, &["a", "b"]).await;
        for _ in 0..2 {
            rig.crash("a").await;
            assert_eq!(rig.exit(), None, "a group restart counts once");
        }
        rig.crash("b").await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
    });
}

#[test]
fn row_053_one_for_all_escalation() {
    run(async {
        let rig = with(Strategy::OneForAll, 4, &["a", "b"]).await;
        rig.stage.every_start("b", Begin::Fail(boom()));
        rig.crash("a").await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
        let starts = ["a", "b", "a", "b", "a", "b", "a", "b"];
        assert_eq!(
            rig.stage.take_starts(),
            starts,
            "each retry starts all again"
        );
    });
}

#[test]
fn row_057_rest_for_one_replaces_the_rest() {
    run(async {
        let rig = with(Strategy::RestForOne, 1, &["a", "b", "c"]).await;
        let (a, b, c) = (rig.pid("a"), rig.pid("b"), rig.pid("c"));
        rig.crash("b").await;
        assert_eq!(rig.stage.take_ends(), [("c".into(), ExitReason::Shutdown)]);
        assert_eq!(rig.stage.take_starts(), ["b", "c"]);
        assert_eq!(rig.pid("a"), a);
        assert!(rig.pid("b") != b && rig.pid("c") != c);
        assert_eq!(rig.counts().await, (3, 3, 0, 3));
    });
}

#[test]
fn row_058_rest_for_one_budget_is_shared() {
    run(async {
        let rig = with(Strategy::RestForOne, 2, &["a", "b", "c"]).await;
        rig.crash("c").await;
        rig.crash("b").await;
        assert_eq!(rig.exit(), None);
        rig.crash("a").await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
    });
}

#[test]
fn row_059_rest_for_one_escalation() {
    run(async {
        let rig = with(Strategy::RestForOne, 4, &["a", "b"]).await;
        rig.stage.every_start("b", Begin::Fail(boom()));
        rig.crash("a").await;
        assert_eq!(rig.exit(), Some(ExitReason::Shutdown));
    });
}

#[test]
fn row_060_rest_for_one_retries_from_the_failed_child() {
    run(async {
        let rig = with(Strategy::RestForOne, 4, &["a", "b"]).await;
        let (a, b) = (rig.pid("a"), rig.pid("b"));
        rig.stage.next_start("b", Begin::Fail(boom()));
        rig.crash("a").await;
        assert_eq!(
            rig.stage.take_starts(),
            ["a", "b", "b"],
            "the new a is not restarted"
        );
        assert!(rig.pid("a") != a && rig.pid("b") != b);
        assert_eq!(rig.exit(), None);
    });
}

#[test]
fn row_080_order_of_children() {
    run(async {
        let ids = ["m", "z", "a", "k", "b"];
        let stage = Stage::default();
        let children = ids.map(|id| stage.worker(id)).into();
        let spec = SupervisorSpec {
            flags: flags(Strategy::RestForOne, 1),
            children,
        };
        let (rig, started) = Rig::try_start(stage, spec).await;
        started.expect("s starts");
        assert_eq!(rig.stage.take_starts(), ids);
        rig.crash("a").await;
        let ends = |ids: &[&str]| {
            ids.iter()
                .map(|id| ((*id).into(), ExitReason::Shutdown))
                .collect::<Vec<_>>()
        };
        assert_eq!(rig.stage.take_ends(), ends(&["b", "k"]), "last first");
        assert_eq!(rig.stage.take_starts(), ["a", "k", "b"], "first to last");
        rig.shut_down().await;
        assert_eq!(rig.stage.take_ends(), ends(&["b", "k", "a", "z", "m"]));
    });
}
