//! Rows 1 to 15, 70 and 101: starting, ignoring, failing to start.

use std::future::ready;

use lain::actors::supervise::raw::{Functions, start_result};
use lain::actors::supervise::*;
use serde_json::{Value, json};

use super::support::*;

fn ofo() -> Flags {
    flags(Strategy::OneForOne, 1)
}

fn failed(id: &str, reason: ExitReason) -> ExitReason {
    ExitReason::FailedToStartChild {
        id: id.into(),
        reason: Box::new(reason),
    }
}

#[test]
fn row_001_no_children_then_shutdown() {
    run(async {
        let rig = Rig::start(ofo(), |_| vec![]).await;
        assert_eq!(rig.shut_down().await, ExitReason::Shutdown);
    });
}

#[test]
fn row_002_init_ignores() {
    run(async {
        let s = ChildSpec::supervisor_with("s", || ready(Ok(SupervisorInit::Ignore)));
        let (rig, started) = Rig::try_start_child(Stage::default(), s).await;
        assert_eq!(started.expect("ignore is no error").pid, None);
        assert_eq!(
            error(rig.s.count_children().await),
            CallError::NoProc,
            "s has ended"
        );
        let ignored = rig
            .watcher
            .events()
            .iter()
            .any(|event| event.kind == EventKind::Ignored);
        assert!(ignored);
        let alone = Tree::builder()
            .start_root(|| ready(Ok(SupervisorInit::Ignore)))
            .await;
        assert_eq!(
            alone.expect_err("a root that ignores does not run"),
            ExitReason::Normal
        );
    });
}

#[test]
fn row_003_permanent_child_ignores() {
    run(async {
        let rig = Rig::start(ofo(), |_| vec![]).await;
        rig.stage.next_start("a", Begin::Ignore);
        let a = rig
            .s
            .start_child(rig.stage.worker("a"))
            .await
            .expect("ignored");
        assert_eq!(a.pid, None);
        let b = rig
            .s
            .start_child(rig.stage.worker("b"))
            .await
            .expect("started");
        let expected = [
            ("b".into(), ChildState::Running(b.pid.expect("b runs"))),
            ("a".into(), ChildState::Undefined),
        ];
        assert_eq!(rig.listed().await, expected);
        assert_eq!(rig.counts().await, (2, 1, 0, 2));
    });
}

#[test]
fn row_004_temporary_initial_child_ignores() {
    run(async {
        let stage = Stage::default();
        stage.next_start("a", Begin::Ignore);
        let children = vec![stage.worker("a").temporary(), stage.worker("b")];
        let (rig, started) = Rig::try_start(
            stage,
            SupervisorSpec {
                flags: ofo(),
                children,
            },
        )
        .await;
        started.expect("s starts");
        assert_eq!(rig.ids().await, ["b"]);
        assert_eq!(rig.counts().await, (1, 1, 0, 1));
    });
}

#[test]
fn row_005_temporary_child_ignores_start_child() {
    run(async {
        let rig = Rig::start(ofo(), |_| vec![]).await;
        rig.stage.next_start("a", Begin::Ignore);
        let a = rig
            .s
            .start_child(rig.stage.worker("a").temporary())
            .await
            .expect("ignored");
        assert_eq!(a.pid, None);
        assert_eq!(rig.counts().await, (0, 0, 0, 0));
    });
}

#[test]
fn row_006_instance_ignores() {
    run(async {
        let rig = Rig::start(flags(Strategy::SimpleOneForOne, 1), |stage| {
            vec![stage.template().temporary()]
        })
        .await;
        rig.stage.next_start("i1", Begin::Ignore);
        assert_eq!(rig.s.start_instance(1u32).await.expect("ignored").pid, None);
        assert!(rig.ids().await.is_empty());
        assert!(
            rig.s
                .start_instance(2u32)
                .await
                .expect("started")
                .pid
                .is_some()
        );
        assert_eq!(rig.counts().await, (1, 1, 0, 1));
    });
}

/// Rust's types leave an init callback no nonsense to return, so it returns
/// data that is none of what is known.
#[test]
fn row_007_init_returns_nonsense() {
    run(async {
        let s = Functions::default().supervisor("s", || json!("invalid"));
        let (rig, started) = Rig::try_start_child(Stage::default(), s).await;
        let reason = ExitReason::BadSpec("bad_return: \"invalid\"".into());
        assert_eq!(
            error(started),
            CallError::StartFailed {
                reason: reason.clone(),
                child: "s".into()
            }
        );
        let told = rig.watcher.events().into_iter().find(|event| {
            &*event.path == "s" && matches!(event.kind, EventKind::StartFailed { .. })
        });
        assert_eq!(
            told.expect("the end of s is told").kind,
            EventKind::StartFailed { reason }
        );
    });
}

#[test]
fn row_008_init_crashes() {
    run(async {
        let s = ChildSpec::supervisor_with("s", || async { panic!("init crashed") });
        let (_, started) = Rig::try_start_child(Stage::default(), s).await;
        let CallError::StartFailed { reason, child } = error(started) else {
            panic!("s does not start")
        };
        assert_eq!(child, "s".into());
        assert_eq!(reason.panic().expect("it panicked").message, "init crashed");
    });
}

#[test]
fn row_009_start_returns_error() {
    run(async {
        let rig = Rig::start(ofo(), |_| vec![]).await;
        rig.stage.next_start("a", Begin::Fail(boom()));
        let failure = error(rig.s.start_child(rig.stage.worker("a")).await);
        assert_eq!(
            failure,
            CallError::StartFailed {
                reason: boom(),
                child: "a".into()
            }
        );
        assert!(rig.ids().await.is_empty());
    });
}

/// A worker whose start function returns data.
struct Told;

impl actix::Actor for Told {
    type Context = Context<Self>;
}

impl Child for Told {
    type Args = Value;

    async fn init(value: Value, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        start_result(&value, Self)
    }
}

/// A start function in Rust has no unknown value to return, so it speaks data.
#[test]
fn row_010_start_returns_unknown_value() {
    run(async {
        let rig = Rig::start(ofo(), |_| vec![]).await;
        let failure = error(
            rig.s
                .start_child(ChildSpec::worker::<Told>("a", json!({"what": 7})))
                .await,
        );
        let reason = ExitReason::Error("{\"what\":7}".into());
        assert_eq!(
            failure,
            CallError::StartFailed {
                reason,
                child: "a".into()
            }
        );
        assert!(rig.ids().await.is_empty());
    });
}

#[test]
fn row_011_instance_errors_come_bare() {
    run(async {
        let rig = Rig::start(flags(Strategy::SimpleOneForOne, 1), |_| {
            vec![ChildSpec::template::<Told, Value, _>("t", Clone::clone)]
        })
        .await;
        let failure = error(rig.s.start_instance(json!({"error": "no"})).await);
        assert_eq!(
            failure,
            CallError::Start(ExitReason::Error("\"no\"".into()))
        );
        let failure = error(rig.s.start_instance(json!("what")).await);
        assert_eq!(
            failure,
            CallError::Start(ExitReason::Error("\"what\"".into()))
        );
        assert!(rig.ids().await.is_empty());
    });
}

fn functions(stage: &Stage) -> Functions {
    let stage = stage.clone();
    Functions::default().register("echo", move |args| {
        stage.worker(args.first().and_then(Value::as_str).unwrap_or("echo"))
    })
}

#[test]
fn row_012_defaults_of_a_minimal_spec() {
    run(async {
        let rig = Rig::start(ofo(), |_| vec![]).await;
        let minimal = json!({"id": "a", "start": {"function": "echo"}});
        rig.s
            .start_child_raw(&functions(&rig.stage), &minimal)
            .await
            .expect("started");
        let spec = rig.s.get_childspec("a").await.expect("known");
        assert_eq!(spec.restart, Restart::Permanent);
        assert_eq!(
            spec.shutdown,
            Shutdown::Timeout(std::time::Duration::from_millis(5000))
        );
        assert_eq!(spec.child_type, ChildType::Worker);
        assert!(!spec.significant);
        assert_eq!(spec.module_names(), ["otp_rows::support::Actor"]);
    });
}

#[test]
fn row_013_brutal_kill_is_kept_and_supervisors_wait() {
    run(async {
        let rig = Rig::start(ofo(), |_| vec![]).await;
        let functions = functions(&rig.stage);
        let brutal = json!({"id": "a", "start": {"function": "echo"}, "shutdown": "brutal_kill"});
        let supervisor = json!({"id": "b", "start": {"function": "echo"}, "type": "supervisor"});
        rig.s
            .start_child_raw(&functions, &brutal)
            .await
            .expect("started");
        rig.s
            .start_child_raw(&functions, &supervisor)
            .await
            .expect("started");
        assert_eq!(
            rig.s.get_childspec("a").await.expect("known").shutdown,
            Shutdown::BrutalKill
        );
        let spec = rig.s.get_childspec("b").await.expect("known");
        assert_eq!(
            (spec.child_type, spec.shutdown),
            (ChildType::Supervisor, Shutdown::Infinity)
        );
        let typed = ChildSpec::supervisor("c", SupervisorSpec::new(ofo()));
        assert_eq!(typed.shutdown, Shutdown::Infinity);
    });
}

#[test]
fn row_014_spec_of_an_unknown_id() {
    run(async {
        let rig = Rig::start(ofo(), |stage| vec![stage.worker("a")]).await;
        assert_eq!(error(rig.s.get_childspec("b").await), CallError::NotFound);
    });
}

#[test]
fn row_015_template_by_pid_of_instances() {
    run(async {
        let rig = Rig::start(flags(Strategy::SimpleOneForOne, 1), |stage| {
            vec![stage.template()]
        })
        .await;
        for number in 1..=2u32 {
            rig.s.start_instance(number).await.expect("started");
        }
        for (_, pid) in rig.instances() {
            let spec = rig.s.get_childspec_of(pid).await.expect("an instance");
            assert_eq!(
                (spec.id.as_str(), spec.restart),
                ("template", Restart::Permanent)
            );
        }
        let foreign = rig.tree.whereis("s").expect("s runs");
        assert_eq!(
            error(rig.s.get_childspec_of(foreign).await),
            CallError::NotFound
        );
    });
}

#[test]
fn row_070_top_supervisor_reports_the_crash_of_an_init() {
    run(async {
        let stage = Stage::default();
        stage.next_start("a", Begin::Panic);
        let root = SupervisorSpec::new(ofo()).child(stage.worker("a"));
        let reason = Tree::builder()
            .start(root)
            .await
            .expect_err("the tree does not start");
        let ExitReason::FailedToStartChild { id, reason: crash } = &reason else {
            panic!("{reason}")
        };
        assert_eq!(id.as_str(), "a");
        assert_eq!(
            crash.panic().expect("it panicked").message,
            "start of a crashed"
        );
        assert!(reason.is_clean(), "it counts as a shutdown");
    });
}

#[test]
fn row_101_third_of_four_initial_children_fails() {
    run(async {
        let stage = Stage::default();
        stage.next_start("c", Begin::Fail(boom()));
        let children = ["a", "b", "c", "d"].map(|id| stage.worker(id)).into();
        let (rig, started) = Rig::try_start(
            stage,
            SupervisorSpec {
                flags: ofo(),
                children,
            },
        )
        .await;
        let reason = failed("c", boom());
        assert_eq!(
            error(started),
            CallError::StartFailed {
                reason,
                child: "s".into()
            }
        );
        assert_eq!(
            rig.stage.take_starts(),
            ["a", "b", "c"],
            "d was never started"
        );
        let ends = [
            ("b".into(), ExitReason::Shutdown),
            ("a".into(), ExitReason::Shutdown),
        ];
        assert_eq!(rig.stage.take_ends(), ends);
    });
}
