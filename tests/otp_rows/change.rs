//! Rows 81 to 87: flags and specifications replaced at run time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lain::actors::supervise::raw::Functions;
use lain::actors::supervise::*;
use serde_json::{Value, json};

use super::support::*;

fn ofo() -> Flags {
    flags(Strategy::OneForOne, 1)
}

fn functions(stage: &Stage) -> Functions {
    let stage = stage.clone();
    Functions::default().register("echo", move |_| stage.worker("echo"))
}

#[test]
fn row_081_flags_change() {
    run(async {
        let rig = Rig::start(ofo(), |stage| vec![stage.worker("a")]).await;
        let a = rig.pid("a");
        let new = Flags::new(Strategy::RestForOne).intensity(7, Duration::from_secs(60));
        rig.s.change(new, vec![]).await.expect("accepted");
        let shown = rig
            .tree
            .snapshot("s", 0)
            .and_then(|s| s.supervises)
            .expect("s supervises");
        assert_eq!(
            (shown.strategy, shown.intensity, shown.period),
            (Strategy::RestForOne, 7, Duration::from_secs(60))
        );
        assert_eq!(rig.pid("a"), a, "no process is touched");
    });
}

#[test]
fn row_082_a_malformed_spec_is_an_error() {
    run(async {
        let rig = Rig::start(ofo(), |stage| vec![stage.worker("a")]).await;
        let faulty = json!({"flags": {}, "children": [{"id": "b"}]});
        let failure = error(rig.s.change_raw(&functions(&rig.stage), &faulty).await);
        assert_eq!(
            failure,
            CallError::Init(InitError::StartSpec(SpecError::MissingStart))
        );
        assert_eq!(rig.ids().await, ["a"], "nothing changed");
    });
}

#[test]
fn row_083_added_ids_are_not_started() {
    run(async {
        let rig = Rig::start(ofo(), |_| vec![]).await;
        let specs = vec![rig.stage.worker("a"), rig.stage.worker("b")];
        rig.s.change(ofo(), specs).await.expect("accepted");
        assert!(rig.stage.take_starts().is_empty());
        let undefined = |id: &str| (id.to_owned(), ChildState::Undefined);
        assert_eq!(rig.listed().await, [undefined("b"), undefined("a")]);
        for id in ["a", "b"] {
            rig.s.restart_child(id).await.expect("started");
        }
        assert_eq!(rig.stage.take_starts(), ["a", "b"]);
    });
}

#[test]
fn row_084_replaced_dropped_and_added() {
    run(async {
        let rig = Rig::start(ofo(), |stage| {
            vec![stage.worker("one"), stage.worker("two")]
        })
        .await;
        let (one, two) = (rig.pid("one"), rig.pid("two"));
        let specs = vec![
            rig.stage.worker("one").transient(),
            rig.stage.worker("three"),
        ];
        rig.s.change(ofo(), specs).await.expect("accepted");
        assert_eq!(
            rig.ids().await,
            ["two", "three", "one"],
            "dropped but kept, added, replaced"
        );
        assert_eq!((rig.pid("one"), rig.pid("two")), (one, two));
        assert_eq!(
            rig.s.get_childspec("one").await.expect("known").restart,
            Restart::Transient
        );
    });
}

#[test]
fn row_085_ignore_changes_nothing_and_errors_are_told() {
    run(async {
        let rig = Rig::start(ofo(), |stage| vec![stage.worker("a")]).await;
        let functions = functions(&rig.stage);
        let change = async |value: Value| rig.s.change_raw(&functions, &value).await;
        change(json!("ignore")).await.expect("no change");
        let failure = error(change(json!({"what": 1})).await);
        assert!(
            matches!(failure, CallError::Init(InitError::BadReturn(_))),
            "{failure}"
        );
        let failure =
            error(change(json!({"flags": {"intensity": "faulty"}, "children": []})).await);
        assert_eq!(
            failure.to_string(),
            "supervisor_data: invalid_intensity: \"faulty\""
        );
        let failure = error(change(json!({"flags": 1, "children": []})).await);
        assert_eq!(failure.to_string(), "supervisor_data: invalid_type: 1");
        let shown = rig
            .tree
            .snapshot("s", 0)
            .and_then(|s| s.supervises)
            .expect("s supervises");
        assert_eq!(shown.intensity, 1);
        assert_eq!(rig.ids().await, ["a"]);
    });
}

/// The init callback is evaluated again, as in OTP.
#[test]
fn row_086_a_replaced_shutdown_shows_at_once() {
    run(async {
        let stage = Stage::default();
        let shutdown = Arc::new(Mutex::new(Shutdown::Timeout(Duration::from_secs(1))));
        let evaluated = Arc::new(AtomicUsize::new(0));
        let s = {
            let (stage, shutdown, evaluated) = (stage.clone(), shutdown.clone(), evaluated.clone());
            ChildSpec::supervisor_with("s", move || {
                evaluated.fetch_add(1, Ordering::Relaxed);
                let child = stage
                    .worker("a")
                    .shutdown(*shutdown.lock().expect("no panic"));
                std::future::ready(Ok(SupervisorSpec::new(ofo()).child(child).into()))
            })
        };
        let (rig, started) = Rig::try_start_child(stage, s).await;
        started.expect("s starts");
        let a = rig.pid("a");
        *shutdown.lock().expect("no panic") = Shutdown::BrutalKill;
        rig.s.reload().await.expect("accepted");
        assert_eq!(evaluated.load(Ordering::Relaxed), 2);
        assert_eq!(
            rig.s.get_childspec("a").await.expect("known").shutdown,
            Shutdown::BrutalKill
        );
        assert_eq!(rig.pid("a"), a);
    });
}

#[test]
fn row_087_one_template_replaces_another() {
    run(async {
        let simple = flags(Strategy::SimpleOneForOne, 1);
        let rig = Rig::start(simple, |stage| vec![stage.template()]).await;
        rig.s.start_instance(1u32).await.expect("started");
        let (_, pid) = rig.instances()[0].clone();
        let new = rig.stage.template().shutdown(Shutdown::BrutalKill);
        rig.s
            .change(simple, vec![new.clone()])
            .await
            .expect("accepted");
        assert_eq!(
            rig.s
                .get_childspec_of(pid)
                .await
                .expect("an instance")
                .shutdown,
            Shutdown::BrutalKill
        );
        for wrong in [vec![], vec![new.clone(), new]] {
            let count = wrong.len();
            let failure = error(rig.s.change(simple, wrong).await);
            assert_eq!(failure, CallError::Init(InitError::BadStartSpec(count)));
        }
    });
}
