//! References by path: they outlive restarts and say clearly when nobody is there.

use std::time::Duration;

use actix::prelude::Actor;

use super::support::*;
use crate::actors::supervise::*;

struct Other;

impl Actor for Other {
    type Context = Context<Self>;
}

impl Child for Other {
    type Args = ();

    async fn init(_: (), _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self))
    }
}

impl actix::Handler<Do> for Other {
    type Result = u32;

    fn handle(&mut self, _: Do, _: &mut Self::Context) -> u32 {
        0
    }
}

#[test]
fn a_reference_outlives_restarts() {
    run(async {
        let (tree, _) = pair(Script::default()).await;
        let a = tree.actor::<Doer>("a");
        let copy = a.clone();
        for _ in 0..3 {
            assert_eq!(a.send(Do(|_| 1)).await, Ok(1));
            assert_eq!(
                copy.send(Do(|_| panic!("crash"))).await,
                Err(RefError::Ended("a".into()))
            );
            settle().await;
        }
        assert_eq!(
            copy.send_within(Do(|_| 2), Duration::from_secs(1)).await,
            Ok(2)
        );
    });
}

#[test]
fn nobody_there_is_told() {
    run(async {
        let (tree, _) = pair(Script::default()).await;
        let nobody = tree.actor::<Doer>("nobody");
        assert_eq!(
            nobody.send(Do(|_| 1)).await,
            Err(RefError::NoProc("nobody".into()))
        );
        assert_eq!(
            nobody.do_send(Do(|_| 1)),
            Err(RefError::NoProc("nobody".into()))
        );
        assert!(!nobody.is_running());
        tree.root().terminate_child("a").await.expect("stopped");
        assert_eq!(
            tree.actor::<Doer>("a").try_send(Do(|_| 1)),
            Err(RefError::NoProc("a".into()))
        );
        let wrong = tree
            .actor::<Other>("b")
            .try_send(Do(|_| 1))
            .expect_err("b is a Doer");
        assert!(matches!(wrong, RefError::WrongType { .. }), "{wrong}");
    });
}

#[test]
fn a_full_mailbox_pushes_back() {
    run(async {
        let (tree, _) = pair(Script::default()).await;
        let a = tree.actor::<Doer>("a");
        let full = (0..100).map(|_| a.try_send(Do(|_| 1))).find(Result::is_err);
        assert_eq!(full, Some(Err(RefError::Full("a".into()))));
        settle().await;
        assert_eq!(a.try_send(Do(|_| 1)), Ok(()), "room again");
    });
}

#[test]
fn a_late_answer_is_a_timeout() {
    run(async {
        let (tree, _) = pair(Script::default()).await;
        let late = Answer(|| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                7
            })
        });
        let limit = Duration::from_secs(1);
        let asked = tree.actor::<Doer>("a").send_within(late, limit).await;
        assert_eq!(
            asked,
            Err(RefError::Timeout {
                path: "a".into(),
                limit
            })
        );
    });
}

#[test]
fn ids_may_hold_slashes() {
    run(async {
        let proc = ChildSpec::supervisor(
            "proc/web.web",
            SupervisorSpec::new(flags())
                .child(ChildSpec::worker::<Doer>("instance/2", Script::default())),
        );
        let app = ChildSpec::supervisor("app/hello", SupervisorSpec::new(flags()).child(proc));
        let apps = ChildSpec::supervisor("apps", SupervisorSpec::new(flags()).child(app));
        let tree = Tree::builder()
            .start(SupervisorSpec::new(flags()).child(apps))
            .await
            .expect("the tree starts");
        let path = "apps/app/hello/proc/web.web/instance/2";
        assert_eq!(tree.actor::<Doer>(path).send(Do(|_| 4)).await, Ok(4));
        assert_eq!(
            tree.snapshot(path, 0).map(|node| node.path),
            Some(path.into())
        );
        let above = tree
            .supervisor("apps")
            .supervisor("app/hello")
            .supervisor("proc/web.web");
        assert_eq!(
            above.actor::<Doer>("instance/2").send(Do(|_| 5)).await,
            Ok(5)
        );
        assert_eq!(
            tree.whereis("apps/app/hello/proc"),
            None,
            "half an id is nobody"
        );
    });
}

#[test]
fn an_actor_knows_its_place() {
    run(async {
        let (tree, _) = pair(Script::default()).await;
        let asked = tree.actor::<Doer>("a").send(Do(|ctx| {
            assert_eq!(&**ctx.path(), "a");
            assert_eq!(&**ctx.supervisor().path(), "");
            assert_eq!(ctx.tree().whereis("a"), Some(ctx.pid()));
            let me = ctx.reference();
            ctx.spawn_task(async move {
                assert_eq!(me.send(Do(|_| 9)).await, Ok(9));
            });
            1
        }));
        assert_eq!(asked.await, Ok(1));
        settle().await;
        assert_eq!(
            tree.snapshot("a", 0).map(|a| a.restarts),
            Some(0),
            "no assertion failed"
        );
    });
}

#[test]
fn a_killed_supervisor_takes_its_children_along() {
    run(async {
        let script = Script::default();
        let log = script.log.clone();
        let below = SupervisorSpec::new(flags()).child(ChildSpec::worker::<Doer>("a", script));
        let root = SupervisorSpec::new(flags()).child(ChildSpec::supervisor("s", below));
        let tree = Tree::builder().start(root).await.expect("the tree starts");
        let old = tree.whereis("s/a").expect("it runs");
        tree.kill("s");
        settle().await;
        assert_eq!(
            log.take(),
            ["stopping", "terminate", "stopped", "dropped"],
            "those that clean up may"
        );
        assert!(tree.whereis("s/a").is_some_and(|new| new != old));
    });
}

#[test]
fn a_call_that_a_killed_supervisor_was_at_fails_with_its_reason() {
    run(async {
        let root = SupervisorSpec::new(flags())
            .child(ChildSpec::supervisor("s", SupervisorSpec::new(flags())));
        let tree = Tree::builder().start(root).await.expect("the tree starts");
        let s = tree.supervisor("s");
        let slow = ChildSpec::worker_with::<Doer, _, _>("a", |_| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Ok(Init::Ignore)
        });
        let kill = async {
            settle().await;
            tree.kill("s");
        };
        let (started, ()) = tokio::join!(s.start_child(slow), kill);
        assert_eq!(
            started.expect_err("lost"),
            CallError::Exited(ExitReason::Killed)
        );
    });
}

#[test]
fn stop_of_a_supervisor_follows_its_parents_rules() {
    run(async {
        let s = ChildSpec::supervisor("s", SupervisorSpec::new(flags())).transient();
        let tree = Tree::builder()
            .start(SupervisorSpec::new(flags()).child(s))
            .await
            .expect("the tree starts");
        tree.supervisor("s")
            .stop(ExitReason::Shutdown)
            .await
            .expect("it ran");
        settle().await;
        assert_eq!(tree.whereis("s"), None, "transient, and a clean end");
        let missing = tree.supervisor("s").stop(ExitReason::Shutdown).await;
        assert_eq!(missing.expect_err("gone"), CallError::NoProc);
    });
}
