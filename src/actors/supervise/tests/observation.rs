//! What can be seen of a tree, without asking its actors.

use std::time::Duration;

use super::support::*;
use crate::actors::supervise::sync::lock;
use crate::actors::supervise::*;

#[test]
fn a_node_tells_all_there_is() {
    run(async {
        let (tree, _) = pair(Script::default()).await;
        let a = tree.actor::<Doer>("a");
        for _ in 0..10 {
            a.send(Do(|_| 1)).await.expect("answered");
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let root = tree.snapshot("", 1).expect("the root is there");
        let supervises = root.supervises.expect("it supervises");
        assert_eq!(
            (
                supervises.strategy,
                supervises.used,
                supervises.left,
                supervises.children
            ),
            (Strategy::OneForOne, 0, 100, 2)
        );
        let [a_node, b_node] = &root.children[..] else {
            panic!("two children")
        };
        assert_eq!((&*a_node.path, &*b_node.path), ("a", "b"), "in start order");
        assert_eq!(
            (a_node.state, a_node.incarnation, a_node.restarts),
            (State::Running, 1, 0)
        );
        assert_eq!(a_node.for_time.as_secs(), 3);
        let work = a_node.work.clone().expect("a worker");
        assert_eq!((work.handled, work.mailbox, work.current), (10, 0, None));
        assert!(work.slowest >= work.p99 && !work.slowest.is_zero());

        let _ = a.send(Do(|_| panic!("crash"))).await;
        settle().await;
        let a_node = tree.snapshot("a", 0).expect("a is there");
        assert_eq!(
            (a_node.state, a_node.incarnation, a_node.restarts),
            (State::Running, 2, 1)
        );
        let [restart] = &a_node.history[..] else {
            panic!("one restart")
        };
        assert!(restart.took.is_some() && restart.reason.panic().is_some());
        assert_eq!(a_node.last_crash.expect("a crash").reason, restart.reason);
        assert_eq!(
            a_node.work.expect("a worker").handled,
            0,
            "of this incarnation"
        );
        let used = tree
            .snapshot("", 0)
            .and_then(|root| root.supervises)
            .map(|s| (s.used, s.left));
        assert_eq!(used, Some((1, 99)));
        assert_eq!(tree.snapshot("nobody", 9), None);
    });
}

#[test]
fn the_mailbox_of_a_blocked_actor_can_be_counted() {
    run_in_real_time(async {
        let spec =
            ChildSpec::worker::<Doer>("a", Script::default()).placement(Placement::Dedicated);
        let root = SupervisorSpec::new(flags()).child(spec);
        let tree = Tree::builder().start(root).await.expect("the tree starts");
        let a = tree.actor::<Doer>("a");
        let blocked = a.send(Do(|_| {
            std::thread::sleep(Duration::from_millis(300));
            1
        }));
        let waiting: Vec<_> = (0..5).map(|_| a.send(Do(|_| 2))).collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        tree.snapshot("a", 0)
            .expect("a look counts what has arrived");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let work = tree
            .snapshot("a", 0)
            .and_then(|a| a.work)
            .expect("a worker");
        assert_eq!(work.mailbox, 5);
        assert!(
            work.oldest >= Duration::from_millis(50),
            "{:?}",
            work.oldest
        );
        let current = work.current.expect("a message in hand");
        assert_eq!(current.message, std::any::type_name::<Do>());
        assert!(current.for_time >= Duration::from_millis(50));
        assert_eq!(blocked.await, Ok(1));
        for answer in waiting {
            assert_eq!(answer.await, Ok(2), "counting loses nothing");
        }
        let work = tree
            .snapshot("a", 0)
            .and_then(|a| a.work)
            .expect("a worker");
        assert!(
            work.last_wait >= Duration::from_millis(200),
            "{:?}",
            work.last_wait
        );
        assert!(work.slowest >= Duration::from_millis(300));
    });
}

#[test]
fn a_stop_in_progress_shows_who_is_awaited() {
    run(async {
        let script = Script {
            terminate: Some(|| Some(Box::pin(tokio::time::sleep(Duration::from_secs(4))))),
            ..Script::default()
        };
        let (tree, _) = pair(script).await;
        let stop = tokio::task::spawn_local({
            let tree = tree.clone();
            async move { tree.stop().await }
        });
        tokio::time::sleep(Duration::from_secs(2)).await;
        let root = tree.snapshot("", 1).expect("the root is there");
        let awaiting = root.supervises.and_then(|s| s.awaiting).expect("it waits");
        assert_eq!((awaiting.id, awaiting.for_time.as_secs()), ("a".into(), 2));
        assert_eq!(root.children[0].state, State::Stopping);
        assert_eq!(stop.await.expect("no panic"), ExitReason::Shutdown);
    });
}

#[test]
fn events_tell_a_life_in_order() {
    run(async {
        let (tree, seen) = pair(Script::default()).await;
        tree.kill("a");
        settle().await;
        tree.root().terminate_child("a").await.expect("stopped");
        tree.root().delete_child("a").await.expect("deleted");
        let events = lock(&seen.events).clone();
        let of_a = events.iter().filter(|event| &*event.path == "a");
        let kinds: Vec<String> = of_a
            .map(|event| {
                serde_json::to_value(event).expect("events serialize")["event"].to_string()
            })
            .collect();
        let expected = [
            "added",
            "starting",
            "started",
            "exited",
            "starting",
            "restarted",
            "stopping",
            "stopped",
            "removed",
        ];
        assert_eq!(kinds, expected.map(|kind| format!("\"{kind}\"")));
        for event in &events {
            let text = serde_json::to_string(event).expect("events serialize");
            assert_eq!(
                serde_json::from_str::<LifecycleEvent>(&text).expect("and come back"),
                *event
            );
        }
    });
}

#[test]
fn snapshots_survive_json() {
    run(async {
        let (tree, _) = pair(Script::default()).await;
        let _ = tree.actor::<Doer>("a").send(Do(|_| panic!("crash"))).await;
        settle().await;
        let shown = tree.snapshot("", 9).expect("the root is there");
        let text = serde_json::to_string(&shown).expect("snapshots serialize");
        assert_eq!(
            serde_json::from_str::<TreeNode>(&text).expect("and come back"),
            shown
        );
    });
}
