//! A panic anywhere in a child is contained, attributed and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::{ActorContext, ActorFutureExt, AsyncContext, Running};

use super::support::*;
use crate::actors::supervise::*;

#[test]
fn in_a_handler() {
    run(async {
        let panic = crash_by(|_| panic!("handler")).await;
        assert_eq!(panic.message, "handler");
        assert_eq!(panic.message_type, std::any::type_name::<Do>());
        assert!(
            panic
                .location
                .expect("the hook saw it")
                .contains("containment.rs")
        );
        assert_eq!(panic.backtrace, None, "not unless asked for");
    });
}

#[test]
fn in_a_timer() {
    run(async {
        let panic = crash_by(|ctx| {
            ctx.run_later(Duration::from_secs(1), |_, _| panic!("timer"));
            0
        })
        .await;
        assert_eq!(panic.message, "timer");
        assert!(
            panic.message_type.contains("TimerFunc"),
            "{}",
            panic.message_type
        );
    });
}

#[test]
fn in_a_future_of_the_actor() {
    run(async {
        let panic = crash_by(|ctx| {
            ctx.spawn(wrap_future::<_, Doer>(async { panic!("future") }));
            0
        })
        .await;
        assert_eq!(panic.message, "future");
    });
}

#[test]
fn in_what_the_actor_waits_for() {
    run(async {
        let panic = crash_by(|ctx| {
            let wait = async { tokio::time::sleep(Duration::from_millis(10)).await };
            ctx.wait(wrap_future::<_, Doer>(wait).map(|(), _, _| panic!("wait")));
            0
        })
        .await;
        assert_eq!(panic.message, "wait");
    });
}

#[test]
fn in_a_task_beside_the_actor() {
    run(async {
        let panic = crash_by(|ctx| {
            ctx.spawn_task(async { panic!("task") });
            0
        })
        .await;
        assert_eq!(panic.message, "task");
        assert!(
            panic.message_type.contains("in_a_task_beside_the_actor"),
            "{}",
            panic.message_type
        );
        assert!(panic.location.is_some());
    });
}

#[test]
fn in_an_asynchronous_answer() {
    run(async {
        let (tree, seen) = pair(Script::default()).await;
        let asked = tree
            .actor::<Doer>("a")
            .send(Answer(|| Box::pin(async { panic!("answer") })))
            .await;
        assert_eq!(asked, Err(RefError::Ended("a".into())));
        settle().await;
        let panic = seen.panic("a");
        assert_eq!(
            (&*panic.message, &*panic.message_type),
            ("answer", std::any::type_name::<Answer>())
        );
        assert!(
            tree.actor::<Doer>("a").send(Do(|_| 1)).await.is_ok(),
            "a is back"
        );
    });
}

#[test]
fn in_init() {
    run(async {
        let root = SupervisorSpec::new(flags());
        let tree = Tree::builder().start(root).await.expect("the tree starts");
        let script = Script {
            init: Some(|| panic!("init")),
            ..Script::default()
        };
        let started = tree
            .root()
            .start_child(ChildSpec::worker::<Doer>("a", script))
            .await;
        let Err(CallError::StartFailed { reason, .. }) = started else {
            panic!("a does not start")
        };
        let panic = reason.panic().expect("it panicked");
        assert_eq!((&*panic.message, &*panic.message_type), ("init", "init"));
    });
}

#[test]
fn in_started() {
    run(async {
        let script = Script {
            started: Some(|_| panic!("started")),
            ..Script::default()
        };
        let root = SupervisorSpec::new(flags()).child(ChildSpec::worker::<Doer>("a", script));
        let reason = Tree::builder()
            .start(root)
            .await
            .expect_err("a does not start");
        assert_eq!(reason.panic().expect("it panicked").message_type, "started");
    });
}

#[test]
fn in_the_clone_of_its_arguments() {
    run(async {
        let root = SupervisorSpec::new(flags());
        let tree = Tree::builder().start(root).await.expect("the tree starts");
        let spec =
            ChildSpec::worker_with::<Doer, _, std::future::Ready<_>>("a", |_| panic!("arguments"));
        let started = tree.root().start_child(spec).await;
        let Err(CallError::StartFailed { reason, .. }) = started else {
            panic!("a does not start")
        };
        assert_eq!(reason.panic().expect("it panicked").message, "arguments");
    });
}

#[test]
fn in_stopping_and_terminate() {
    run(async {
        for script in [
            Script {
                stopping: Some(|| panic!("cleanup")),
                ..Script::default()
            },
            Script {
                terminate: Some(|| panic!("cleanup")),
                ..Script::default()
            },
            Script {
                terminate: Some(|| Some(Box::pin(async { panic!("cleanup") }))),
                ..Script::default()
            },
        ] {
            let (tree, seen) = pair(script).await;
            tree.root()
                .terminate_child("a")
                .await
                .expect("stopped all the same");
            assert_eq!(seen.panic("a").message, "cleanup");
        }
    });
}

#[test]
fn in_its_destructor() {
    run(async {
        let dropped = || Script {
            dropped: Some(Arc::new(|| panic!("drop"))),
            ..Script::default()
        };
        let (tree, seen) = pair(dropped()).await;
        tree.root()
            .terminate_child("a")
            .await
            .expect("stopped all the same");
        assert_eq!(
            (&*seen.panic("a").message, &*seen.panic("a").message_type),
            ("drop", "drop")
        );

        let (tree, seen) = pair(dropped()).await;
        tree.kill("a");
        settle().await;
        assert_eq!(seen.ends("a"), [ExitReason::Killed], "killed all the same");
        assert!(tree.whereis("a").is_some());
    });
}

#[test]
fn in_the_destructor_of_a_message_that_waits() {
    #[derive(actix::Message)]
    #[rtype(result = "()")]
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("message");
        }
    }

    impl actix::Handler<Bomb> for Doer {
        type Result = ();

        fn handle(&mut self, bomb: Bomb, _: &mut Self::Context) {
            std::mem::forget(bomb);
        }
    }

    run(async {
        let (tree, seen) = pair(Script::default()).await;
        let a = tree.actor::<Doer>("a");
        a.do_send(Do(|ctx| {
            ctx.wait(wrap_future::<_, Doer>(std::future::pending::<()>()));
            0
        }))
        .expect("a runs");
        a.do_send(Bomb).expect("a runs");
        settle().await;
        tree.root()
            .terminate_child("a")
            .await
            .expect("stopped all the same");
        assert_eq!(seen.panic("a").message, "message");
    });
}

#[test]
fn of_an_observer_harms_nobody() {
    run(async {
        let root =
            SupervisorSpec::new(flags()).child(ChildSpec::worker::<Doer>("a", Script::default()));
        let watch = |_: &LifecycleEvent| panic!("observer");
        let tree = Tree::builder()
            .observer(watch)
            .start(root)
            .await
            .expect("the tree starts");
        tree.kill("a");
        settle().await;
        assert!(tree.whereis("a").is_some());
    });
}

#[test]
fn of_a_supervisor_callback_is_its_crash() {
    run(async {
        static FAIL: AtomicBool = AtomicBool::new(false);
        let below = ChildSpec::supervisor_with("s", || async {
            assert!(!FAIL.load(Ordering::Relaxed), "callback");
            Ok(SupervisorSpec::new(flags())
                .child(ChildSpec::worker::<Doer>("a", Script::default()))
                .into())
        });
        let root = SupervisorSpec::new(flags()).child(below);
        let seen = Seen::default();
        let tree = Tree::builder()
            .observer(seen.clone())
            .start(root)
            .await
            .expect("the tree starts");
        FAIL.store(true, Ordering::Relaxed);
        tree.kill("s");
        settle().await;
        assert!(seen.panic("s").message.contains("callback"));
        assert_eq!(tree.wait().await, ExitReason::Shutdown, "the root gave up");
    });
}

#[test]
fn a_value_that_panicked_is_only_dropped() {
    run(async {
        let script = Script::default();
        let log = script.log.clone();
        let (tree, _) = pair(script).await;
        let _ = tree.actor::<Doer>("a").send(Do(|_| panic!("crash"))).await;
        settle().await;
        assert_eq!(log.take(), ["dropped"]);
        tree.kill("a");
        settle().await;
        assert_eq!(log.take(), ["dropped"], "nor is one that is killed");
        tree.root().terminate_child("a").await.expect("stopped");
        assert_eq!(log.take(), ["stopping", "terminate", "stopped", "dropped"]);
    });
}

#[test]
fn tasks_end_with_their_incarnation() {
    struct Alive(Arc<AtomicBool>);

    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    #[derive(actix::Message)]
    #[rtype(result = "()")]
    struct Hold(Arc<AtomicBool>);

    impl actix::Handler<Hold> for Doer {
        type Result = actix::ResponseFuture<()>;

        fn handle(&mut self, Hold(flag): Hold, ctx: &mut Self::Context) -> Self::Result {
            let (task, answer) = (Alive(flag.clone()), Alive(flag));
            ctx.spawn_task(async move {
                let _held = task;
                std::future::pending::<()>().await;
            });
            Box::pin(async move {
                let _held = answer;
                std::future::pending::<()>().await;
            })
        }
    }

    run(async {
        let (tree, _) = pair(Script::default()).await;
        let alive = Arc::new(AtomicBool::new(true));
        tree.actor::<Doer>("a")
            .do_send(Hold(alive.clone()))
            .expect("a runs");
        settle().await;
        assert!(alive.load(Ordering::Relaxed));
        tree.kill("a");
        settle().await;
        assert!(!alive.load(Ordering::Relaxed));
        assert_eq!(
            Arc::strong_count(&alive),
            1,
            "task and answer are both gone"
        );
    });
}

#[test]
fn an_actor_may_refuse_to_stop_until_it_is_killed() {
    run(async {
        let script = Script {
            stopping: Some(|| Running::Continue),
            ..Script::default()
        };
        let seen = Seen::default();
        let spec = ChildSpec::worker::<Doer>("a", script)
            .shutdown(Shutdown::Timeout(Duration::from_secs(3)));
        let root = SupervisorSpec::new(flags()).child(spec);
        let tree = Tree::builder()
            .observer(seen.clone())
            .start(root)
            .await
            .expect("the tree starts");
        let a = tree.actor::<Doer>("a");
        let went_on = a.send(Do(|ctx| {
            ctx.stop();
            5
        }));
        assert_eq!(went_on.await, Ok(5));
        assert_eq!(a.send(Do(|_| 6)).await, Ok(6), "it stays");
        let before = tokio::time::Instant::now();
        tree.root()
            .terminate_child("a")
            .await
            .expect("killed in the end");
        assert_eq!(before.elapsed().as_secs(), 3);
        assert_eq!(seen.ends("a"), [ExitReason::Killed]);
    });
}

#[test]
fn a_handler_that_feeds_itself_lets_others_run() {
    #[derive(actix::Message)]
    #[rtype(result = "()")]
    struct Again;

    impl actix::Handler<Again> for Doer {
        type Result = ();

        fn handle(&mut self, _: Again, ctx: &mut Self::Context) {
            ctx.address().do_send(Again);
            ctx.notify(Again);
        }
    }

    run_in_real_time(async {
        let (tree, seen) = pair(Script::default()).await;
        tree.actor::<Doer>("a").do_send(Again).expect("a runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(
            tree.actor::<Doer>("b").send(Do(|_| 1)).await,
            Ok(1),
            "its neighbour answers"
        );
        tree.kill("a");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(seen.ends("a"), [ExitReason::Killed], "and orders reach it");
    });
}

#[test]
fn the_end_of_an_arbiter_is_the_loss_of_its_children() {
    run_in_real_time(async {
        let arbiter = actix::Arbiter::new();
        let spec = ChildSpec::worker::<Doer>("a", Script::default()).transient();
        let root = SupervisorSpec::new(flags().intensity(1, Duration::from_secs(5)))
            .child(spec.placement(Placement::On(arbiter.handle())));
        let seen = Seen::default();
        let tree = Tree::builder()
            .observer(seen.clone())
            .start(root)
            .await
            .expect("the tree starts");
        assert_eq!(
            tree.actor::<Doer>("a").send(Do(|_| 3)).await,
            Ok(3),
            "across threads"
        );
        arbiter.stop();
        assert_eq!(
            tree.wait().await,
            ExitReason::Shutdown,
            "it cannot start there again"
        );
        assert!(
            matches!(seen.ends("a")[..], [ExitReason::Lost(_), ..]),
            "{:?}",
            seen.ends("a")
        );
    });
}
