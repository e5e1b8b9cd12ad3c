//! What is added to OTP, each off by default.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::AsyncContext;
use tokio::time::{Instant, sleep};

use super::support::*;
use crate::actors::supervise::*;

const SECOND: Duration = Duration::from_secs(1);

async fn tree_of(spec: ChildSpec) -> (Tree, Seen) {
    let seen = Seen::default();
    let root = SupervisorSpec::new(flags()).child(spec);
    let tree = Tree::builder()
        .observer(seen.clone())
        .start(root)
        .await
        .expect("the tree starts");
    (tree, seen)
}

fn worker() -> ChildSpec {
    ChildSpec::worker::<Doer>("a", Script::default())
}

async fn crash(tree: &Tree) {
    let crashed = tree.actor::<Doer>("a").send(Do(|_| panic!("crash"))).await;
    assert_eq!(crashed, Err(RefError::Ended("a".into())));
    settle().await;
}

#[test]
fn backoff_grows_and_resets() {
    run(async {
        let backoff = Backoff {
            min: SECOND,
            max: 3 * SECOND,
            factor: 2.0,
            jitter: 0.0,
            reset_after: 60 * SECOND,
        };
        let (tree, seen) = tree_of(worker().backoff(backoff)).await;
        let mut waited = Vec::new();
        for _ in 0..5 {
            let before = Instant::now();
            crash(&tree).await;
            while tree.whereis("a").is_none() {
                sleep(Duration::from_millis(10)).await;
            }
            waited.push(before.elapsed().as_secs());
        }
        assert_eq!(
            waited,
            [0, 1, 2, 3, 3],
            "at once, then growing up to the cap"
        );
        assert!(seen.saw("a", |kind| *kind
            == EventKind::RestartScheduled {
                r#in: 2 * SECOND,
                attempt: 3
            }));
        sleep(61 * SECOND).await;
        crash(&tree).await;
        assert!(
            tree.whereis("a").is_some(),
            "at once again after a healthy minute"
        );
    });
}

#[test]
fn a_waiting_restart_is_visible_and_can_be_cancelled() {
    run(async {
        let backoff = Backoff {
            min: 10 * SECOND,
            jitter: 0.0,
            ..Backoff::default()
        };
        let (tree, _) = tree_of(worker().backoff(backoff)).await;
        crash(&tree).await;
        crash(&tree).await;
        let shown = tree.snapshot("a", 0).expect("a is known");
        assert_eq!(shown.state, State::Restarting);
        let due = shown.retry_in.expect("a time");
        assert!(due > 9 * SECOND && due <= 10 * SECOND, "{due:?}");
        assert_eq!(
            tree.root().restart_child("a").await.expect_err("it waits"),
            CallError::Restarting
        );
        tree.root().terminate_child("a").await.expect("cancelled");
        sleep(20 * SECOND).await;
        assert_eq!(tree.whereis("a"), None);
        tree.root()
            .restart_child("a")
            .await
            .expect("started at once");
    });
}

#[test]
fn a_child_with_a_budget_of_its_own() {
    run(async {
        let budget = |then| ChildBudget {
            intensity: 2,
            period: 5 * SECOND,
            then,
        };
        let (tree, seen) = tree_of(worker().budget(budget(OnExhausted::Abandon))).await;
        for _ in 0..3 {
            crash(&tree).await;
        }
        assert_eq!(tree.whereis("a"), None, "given up");
        assert!(seen.saw("a", |kind| *kind == EventKind::Abandoned));
        let root = tree
            .snapshot("", 0)
            .and_then(|root| root.supervises)
            .expect("the root supervises");
        assert_eq!(root.used, 0, "its restarts are not the supervisor's");

        let (tree, _) = tree_of(worker().budget(budget(OnExhausted::Escalate))).await;
        for _ in 0..3 {
            crash(&tree).await;
        }
        assert_eq!(
            tree.wait().await,
            ExitReason::Shutdown,
            "the supervisor gave up"
        );
    });
}

#[test]
fn a_kept_mailbox_loses_only_the_message_that_crashed() {
    run(async {
        let (tree, _) = tree_of(worker().keep_mailbox(true)).await;
        let address = tree.actor::<Doer>("a").address().expect("a runs");
        let first = address.send(Do(|_| 1));
        let crash = address.send(Do(|_| panic!("crash")));
        let last = address.send(Do(|_| 3));
        assert_eq!(first.await, Ok(1));
        assert!(crash.await.is_err());
        assert_eq!(last.await, Ok(3), "answered by the next incarnation");
        assert!(address.connected(), "the same address");

        let (tree, _) = tree_of(worker()).await;
        let address = tree.actor::<Doer>("a").address().expect("a runs");
        let (crash, last) = (
            address.send(Do(|_| panic!("crash"))),
            address.send(Do(|_| 3)),
        );
        assert!(
            crash.await.is_err() && last.await.is_err(),
            "OTP's way by default"
        );
        assert!(!address.connected());
    });
}

#[test]
fn a_kept_mailbox_closes_when_nobody_comes_back() {
    run(async {
        let (tree, _) = tree_of(worker().keep_mailbox(true)).await;
        let address = tree.actor::<Doer>("a").address().expect("a runs");
        tree.root().terminate_child("a").await.expect("stopped");
        assert!(!address.connected());
    });
}

#[test]
fn an_arbiter_of_its_own_ends_with_the_child() {
    run_in_real_time(async {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let script = Script {
            started: Some(|_| {
                RUNNING.fetch_add(1, Ordering::Relaxed);
            }),
            dropped: Some(Arc::new(|| {
                RUNNING.fetch_sub(1, Ordering::Relaxed);
            })),
            ..Script::default()
        };
        let spec = ChildSpec::worker::<Doer>("a", script).placement(Placement::Dedicated);
        let (tree, _) = tree_of(spec).await;
        let here = std::thread::current().id();
        static OTHER: std::sync::Mutex<Option<std::thread::ThreadId>> = std::sync::Mutex::new(None);
        let asked = tree.actor::<Doer>("a").send(Do(|_| {
            *OTHER.lock().expect("no panic") = Some(std::thread::current().id());
            0
        }));
        assert_eq!(asked.await, Ok(0));
        assert_ne!(*OTHER.lock().expect("no panic"), Some(here));
        assert_eq!(RUNNING.load(Ordering::Relaxed), 1);
        tree.root().terminate_child("a").await.expect("stopped");
        assert_eq!(RUNNING.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn handlers_use_what_they_know_from_actix() {
    run(async {
        let (tree, _) = tree_of(worker()).await;
        let a = tree.actor::<Doer>("a");
        let asked = a.send(Do(|ctx| {
            let cancelled =
                ctx.run_later(SECOND, |_, ctx| ctx.exit(ExitReason::error("cancelled")));
            ctx.cancel_future(cancelled);
            ctx.run_interval(SECOND, |_, _| {});
            ctx.notify(Do(|_| 0));
            ctx.notify_later(Do(|_| 0), SECOND);
            u32::from(ctx.address().connected())
        }));
        assert_eq!(asked.await, Ok(1));
        sleep(3 * SECOND).await;
        let work = tree.snapshot("a", 0).and_then(|a| a.work).expect("a runs");
        assert_eq!(
            work.handled, 1,
            "notify goes around the mailbox, as in actix"
        );
        assert_eq!(a.send(Do(|_| 2)).await, Ok(2), "nothing ended it");
    });
}
