//! Rows 90 to 100: significant children and the automatic shutdown.

use lain::actors::supervise::*;

use super::support::*;

const MODES: [AutoShutdown; 3] = [
    AutoShutdown::Never,
    AutoShutdown::AnySignificant,
    AutoShutdown::AllSignificant,
];

fn mode(mode: AutoShutdown) -> Flags {
    flags(Strategy::OneForOne, 10).auto_shutdown(mode)
}

/// A supervisor with significant children `a` and `b` and an insignificant `c`.
async fn with(auto: AutoShutdown, restart: Restart) -> Rig {
    Rig::start(mode(auto), |stage| {
        let significant = |id: &str| stage.worker(id).restart(restart).significant(true);
        vec![
            significant("a"),
            significant("b"),
            stage.worker("c").restart(restart),
        ]
    })
    .await
}

fn ended(rig: &Rig) -> bool {
    let ended = rig.exit() == Some(ExitReason::Shutdown);
    assert_eq!(ended, rig.running("c").is_none(), "all children go with it");
    ended
}

/// The four ways in which a child can end.
async fn end_in_every_way(auto: AutoShutdown, restart: Restart) -> Vec<Rig> {
    let one = || {
        Rig::start(mode(auto), |stage| {
            vec![stage.worker("a").restart(restart), stage.worker("c")]
        })
    };
    let stopped = one().await;
    stopped.s.terminate_child("a").await.expect("stopped");
    let killed = one().await;
    killed.kill("a").await;
    let crashed = one().await;
    crashed.crash("a").await;
    let normal = one().await;
    normal.end("a", ExitReason::Normal).await;
    vec![stopped, killed, crashed, normal]
}

#[test]
fn row_090_nonsignificant_temporary() {
    run(async {
        for auto in MODES {
            for rig in end_in_every_way(auto, Restart::Temporary).await {
                assert!(!ended(&rig), "{auto:?}");
                assert_eq!(rig.running("a"), None);
            }
        }
    });
}

#[test]
fn row_091_nonsignificant_transient() {
    run(async {
        for auto in MODES {
            let rigs = end_in_every_way(auto, Restart::Transient).await;
            let runs: Vec<bool> = rigs.iter().map(|rig| rig.running("a").is_some()).collect();
            assert!(rigs.iter().all(|rig| !ended(rig)), "{auto:?}");
            assert_eq!(
                runs,
                [false, true, true, false],
                "stopped, killed, crashed, normal"
            );
        }
    });
}

#[test]
fn row_092_any_significant_temporary() {
    run(async {
        let any = || with(AutoShutdown::AnySignificant, Restart::Temporary);
        let rig = any().await;
        rig.s.terminate_child("a").await.expect("stopped");
        assert!(!ended(&rig), "stopped by the API");
        let rig = any().await;
        rig.kill("a").await;
        assert!(ended(&rig), "killed");
        let rig = any().await;
        rig.crash("a").await;
        assert!(ended(&rig), "crashed");
        let rig = any().await;
        rig.end("a", ExitReason::Normal).await;
        assert!(ended(&rig), "normal");
    });
}

#[test]
fn row_093_all_significant_temporary() {
    run(async {
        let rig = with(AutoShutdown::AllSignificant, Restart::Temporary).await;
        rig.crash("a").await;
        assert!(!ended(&rig), "the first");
        rig.end("b", ExitReason::Normal).await;
        assert!(ended(&rig), "the second");
    });
}

#[test]
fn row_094_any_significant_transient() {
    run(async {
        let rig = with(AutoShutdown::AnySignificant, Restart::Transient).await;
        rig.s.terminate_child("b").await.expect("stopped");
        assert!(!ended(&rig), "stopped by the API");
        rig.kill("a").await;
        rig.crash("a").await;
        assert!(!ended(&rig), "killed and crashed: replaced");
        rig.pid("a");
        rig.end("a", ExitReason::Normal).await;
        assert!(ended(&rig), "normal");
    });
}

#[test]
fn row_095_all_significant_transient() {
    run(async {
        let rig = with(AutoShutdown::AllSignificant, Restart::Transient).await;
        rig.end("a", ExitReason::Normal).await;
        assert!(!ended(&rig), "the first");
        rig.crash("b").await;
        assert!(!ended(&rig), "replaced");
        rig.end("b", ExitReason::Normal).await;
        assert!(ended(&rig), "the second");
    });
}

#[test]
fn row_096_significant_instances() {
    run(async {
        for (auto, last) in [
            (AutoShutdown::AnySignificant, 1),
            (AutoShutdown::AllSignificant, 3),
        ] {
            let flags = flags(Strategy::SimpleOneForOne, 1).auto_shutdown(auto);
            let rig = Rig::start(flags, |stage| {
                vec![stage.template().transient().significant(true)]
            })
            .await;
            for number in 0..3u32 {
                rig.s.start_instance(number).await.expect("started");
            }
            for (number, (id, _)) in rig.instances().into_iter().enumerate().take(last) {
                assert_eq!(rig.exit(), None, "{auto:?} after {number}");
                rig.end(&id, ExitReason::Normal).await;
            }
            assert_eq!(rig.exit(), Some(ExitReason::Shutdown), "{auto:?}");
        }
    });
}

fn refused() -> CallError {
    CallError::Spec(SpecError::BadCombination(
        "significant with auto_shutdown never".into(),
    ))
}

#[test]
fn row_097_never_to_any() {
    run(async {
        let rig = Rig::start(mode(AutoShutdown::Never), |stage| vec![stage.worker("c")]).await;
        let spec = || rig.stage.worker("a").transient().significant(true);
        assert_eq!(error(rig.s.start_child(spec()).await), refused());
        rig.s
            .change(mode(AutoShutdown::AnySignificant), vec![])
            .await
            .expect("accepted");
        rig.s.start_child(spec()).await.expect("accepted now");
        rig.end("a", ExitReason::Normal).await;
        assert!(ended(&rig));
    });
}

#[test]
fn row_098_any_to_never() {
    run(async {
        let rig = with(AutoShutdown::AnySignificant, Restart::Transient).await;
        rig.s
            .change(mode(AutoShutdown::Never), vec![])
            .await
            .expect("accepted");
        rig.end("a", ExitReason::Normal).await;
        assert!(!ended(&rig));
        let spec = rig.stage.worker("d").transient().significant(true);
        assert_eq!(error(rig.s.start_child(spec).await), refused());
        rig.s
            .restart_child("a")
            .await
            .expect("the old one can be restarted");
    });
}

#[test]
fn row_099_never_to_all_and_back() {
    run(async {
        let rig = Rig::start(mode(AutoShutdown::Never), |stage| vec![stage.worker("c")]).await;
        let spec = |id: &str| rig.stage.worker(id).transient().significant(true);
        assert_eq!(error(rig.s.start_child(spec("a")).await), refused());
        rig.s
            .change(mode(AutoShutdown::AllSignificant), vec![])
            .await
            .expect("accepted");
        for id in ["a", "b"] {
            rig.s.start_child(spec(id)).await.expect("accepted now");
        }
        rig.end("a", ExitReason::Normal).await;
        assert!(!ended(&rig), "b is left");
        rig.end("b", ExitReason::Normal).await;
        assert!(ended(&rig));

        let rig = with(AutoShutdown::AllSignificant, Restart::Transient).await;
        rig.s
            .change(mode(AutoShutdown::Never), vec![])
            .await
            .expect("accepted");
        rig.end("a", ExitReason::Normal).await;
        rig.end("b", ExitReason::Normal).await;
        assert!(!ended(&rig));
        rig.s
            .restart_child("a")
            .await
            .expect("the old one can be restarted");
    });
}

#[test]
fn row_100_all_to_any() {
    run(async {
        let rig = with(AutoShutdown::AllSignificant, Restart::Transient).await;
        rig.s
            .change(mode(AutoShutdown::AnySignificant), vec![])
            .await
            .expect("accepted");
        rig.end("a", ExitReason::Normal).await;
        assert!(ended(&rig));
    });
}
