//! Handlers that do not return: noticed, reported, replaced elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::*;
use crate::actors::supervise::*;

const LIMIT: Duration = Duration::from_millis(150);

/// Starts a tree on an arbiter of its own, so that the test can go on when that is blocked.
async fn elsewhere(arbiter: &actix::Arbiter, seen: &Seen, root: SupervisorSpec) -> Tree {
    let (sender, started) = tokio::sync::oneshot::channel();
    let builder = Tree::builder()
        .observer(seen.clone())
        .stuck_after(Some(LIMIT));
    arbiter.spawn(async move {
        drop(sender.send(builder.start(root).await));
    });
    started
        .await
        .expect("the arbiter runs")
        .expect("the tree starts")
}

/// Waits for something that comes to pass in real time.
async fn until(what: &str, passed: impl Fn() -> bool) {
    let before = Instant::now();
    while !passed() {
        assert!(
            before.elapsed() < Duration::from_secs(20),
            "{what} did not come to pass"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn doer(id: &str) -> ChildSpec {
    ChildSpec::worker::<Doer>(id, Script::default())
}

fn is_stuck(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Stuck { .. })
}

static HELD: AtomicBool = AtomicBool::new(false);
static HELD_SUPERVISOR: AtomicBool = AtomicBool::new(false);

fn hold(flag: &AtomicBool) {
    flag.store(true, Ordering::Relaxed);
    while flag.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_handler_that_never_returns_is_replaced_elsewhere() {
    run_in_real_time(async {
        let arbiter = actix::Arbiter::new();
        let seen = Seen::default();
        let dropped = Arc::new(AtomicBool::new(false));
        let script = {
            let dropped = dropped.clone();
            Script {
                dropped: Some(Arc::new(move || dropped.store(true, Ordering::Relaxed))),
                ..Script::default()
            }
        };
        let below = SupervisorSpec::new(flags().intensity(1, Duration::from_secs(5)))
            .child(ChildSpec::worker::<Doer>("a", script))
            .child(doer("b"))
            .child(doer("c"));
        let root = SupervisorSpec::new(flags()).child(ChildSpec::supervisor("s", below));
        let tree = elsewhere(&arbiter, &seen, root).await;
        let (s, a, b) = (tree.whereis("s"), tree.whereis("s/a"), tree.whereis("s/b"));
        let lost = tree.actor::<Doer>("s/a").send(Do(|_| {
            hold(&HELD);
            1
        }));
        until("stuck", || seen.saw("s/a", is_stuck)).await;
        until("a's replacement", || {
            tree.whereis("s/a").is_some_and(|pid| Some(pid) != a)
        })
        .await;
        until("b's replacement", || {
            tree.whereis("s/b").is_some_and(|pid| Some(pid) != b)
        })
        .await;
        for path in ["s/a", "s/b", "s/c"] {
            let answer = tree
                .actor::<Doer>(path)
                .send_within(Do(|_| 7), Duration::from_secs(10))
                .await;
            assert_eq!(
                answer,
                Ok(7),
                "{path} works while the old thread is blocked"
            );
        }
        assert_eq!(tree.whereis("s"), s, "its supervisor moved and is the same");
        assert_eq!(
            tree.supervisor("s")
                .count_children()
                .await
                .map(|counts| counts.active),
            Ok(3)
        );
        let ends = seen.ends("s/a");
        let [ExitReason::Stuck(info)] = &ends[..] else {
            panic!("never claimed killed: {ends:?}")
        };
        assert_eq!(info.message_type, std::any::type_name::<Do>());
        assert!(info.blocked_for >= LIMIT);
        assert!(
            matches!(seen.ends("s/b")[..], [ExitReason::Displaced { .. }]),
            "{:?}",
            seen.ends("s/b")
        );
        let used = tree
            .snapshot("s", 0)
            .and_then(|s| s.supervises)
            .map(|s| s.used);
        assert_eq!(used, Some(1), "the displaced cost nothing");
        assert!(
            !dropped.load(Ordering::Relaxed),
            "it still occupies its thread"
        );

        HELD.store(false, Ordering::Relaxed);
        until("its return", || {
            seen.saw("s/a", |kind| *kind == EventKind::Unstuck)
        })
        .await;
        assert!(dropped.load(Ordering::Relaxed));
        // Its answer was sent before anybody could look; nothing else of it ran.
        let _ = lost.await;
        assert_eq!(
            tree.actor::<Doer>("s/a").send(Do(|_| 8)).await,
            Ok(8),
            "the replacement stays"
        );
        assert_eq!(tree.stop().await, ExitReason::Shutdown);
    });
}

#[test]
fn a_stuck_child_on_its_own_arbiter_troubles_nobody_else() {
    static HELD: AtomicBool = AtomicBool::new(false);
    run_in_real_time(async {
        let seen = Seen::default();
        let root = SupervisorSpec::new(flags())
            .child(doer("a").placement(Placement::Dedicated).stuck_after(LIMIT))
            .child(doer("b"));
        let tree = Tree::builder()
            .observer(seen.clone())
            .stuck_after(None)
            .start(root)
            .await
            .expect("the tree starts");
        let b = tree.whereis("b");
        tree.actor::<Doer>("a")
            .do_send(Do(|_| {
                hold(&HELD);
                1
            }))
            .expect("a runs");
        until("stuck", || seen.saw("a", is_stuck)).await;
        until("a's replacement", || {
            seen.saw("a", |kind| matches!(kind, EventKind::Restarted { .. }))
        })
        .await;
        let answer = tree
            .actor::<Doer>("a")
            .send_within(Do(|_| 7), Duration::from_secs(10))
            .await;
        assert_eq!(answer, Ok(7));
        assert_eq!(tree.whereis("b"), b);
        HELD.store(false, Ordering::Relaxed);
        assert_eq!(tree.stop().await, ExitReason::Shutdown);
    });
}

#[test]
fn a_child_that_blocks_while_it_is_stopped_does_not_hang_its_supervisor() {
    static HELD: AtomicBool = AtomicBool::new(false);
    run_in_real_time(async {
        let seen = Seen::default();
        let script = Script {
            terminate: Some(|| {
                hold(&HELD);
                None
            }),
            ..Script::default()
        };
        let spec = ChildSpec::worker::<Doer>("a", script)
            .placement(Placement::Dedicated)
            .shutdown(Shutdown::Timeout(Duration::from_millis(20)));
        let root = SupervisorSpec::new(flags()).child(spec);
        let builder = Tree::builder()
            .observer(seen.clone())
            .stuck_after(Some(LIMIT));
        let tree = builder.start(root).await.expect("the tree starts");
        tree.root()
            .terminate_child("a")
            .await
            .expect("given up in the end");
        assert!(
            matches!(seen.ends("a")[..], [ExitReason::Stuck(_)]),
            "{:?}",
            seen.ends("a")
        );
        HELD.store(false, Ordering::Relaxed);
        assert_eq!(tree.stop().await, ExitReason::Shutdown);
    });
}

#[test]
fn a_supervisor_that_is_stuck_itself_is_replaced_by_its_parent() {
    run_in_real_time(async {
        let arbiter = actix::Arbiter::new();
        let seen = Seen::default();
        static TURN: AtomicBool = AtomicBool::new(false);
        let below = ChildSpec::supervisor_with("s", || async {
            if TURN.swap(false, Ordering::Relaxed) {
                hold(&HELD_SUPERVISOR);
            }
            Ok(SupervisorSpec::new(flags()).child(doer("a")).into())
        });
        let root = SupervisorSpec::new(flags()).child(below);
        let tree = elsewhere(&arbiter, &seen, root).await;
        TURN.store(true, Ordering::Relaxed);
        tree.kill("s");
        until("stuck", || seen.saw("s", is_stuck)).await;
        until("the replacement", || tree.whereis("s/a").is_some()).await;
        let answer = tree
            .actor::<Doer>("s/a")
            .send_within(Do(|_| 7), Duration::from_secs(10))
            .await;
        assert_eq!(answer, Ok(7));
        HELD_SUPERVISOR.store(false, Ordering::Relaxed);
        assert_eq!(tree.stop().await, ExitReason::Shutdown);
    });
}
