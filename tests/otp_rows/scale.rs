//! Rows 71, 72 and 74 to 76: many children.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use lain::actors::supervise::*;

use super::support::*;

/// Adds instances until there are this many.
async fn grow(rig: &Rig, from: u32, to: u32) {
    for number in from..to {
        rig.s.start_instance(number).await.expect("started");
    }
}

#[test]
fn row_071_counts_of_many_workers() {
    run(async {
        let rig = Rig::start(flags(Strategy::SimpleOneForOne, 0), |stage| {
            vec![stage.template().temporary()]
        })
        .await;
        grow(&rig, 0, 1000).await;
        for (from, to) in [(1000, 1000), (1000, 2000)] {
            grow(&rig, from, to).await;
            let to = to as usize;
            for _ in 0..2 {
                assert_eq!(rig.counts().await, (1, to, 0, to), "repeatable");
                assert_eq!(rig.ids().await.len(), to);
            }
        }
        for (id, _) in rig.instances() {
            rig.tree.kill(&format!("s/{id}"));
        }
        settle().await;
        assert_eq!(rig.counts().await, (1, 0, 0, 0));
    });
}

#[test]
fn row_072_counts_of_many_supervisors() {
    run(async {
        let rig = Rig::start(flags(Strategy::SimpleOneForOne, 0), |_| {
            let below = |_: &u32| SupervisorSpec::new(Flags::default());
            vec![ChildSpec::supervisor_template::<u32, _>("t", below).temporary()]
        })
        .await;
        for (from, to) in [(0, 1000), (1000, 2000)] {
            grow(&rig, from, to).await;
            let to = to as usize;
            assert_eq!(rig.counts().await, (1, to, to, 0));
            assert_eq!(rig.ids().await.len(), to);
        }
        for (id, _) in rig.instances() {
            rig.tree.kill(&format!("s/{id}"));
        }
        settle().await;
        assert_eq!(rig.counts().await, (1, 0, 0, 0));
    });
}

/// A worker that does not keep the big arguments it was made from.
struct Forgetful;

impl actix::Actor for Forgetful {
    type Context = Context<Self>;
}

impl Child for Forgetful {
    type Args = Arc<Vec<u8>>;

    async fn init(_: Arc<Vec<u8>>, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self))
    }
}

/// How many of 100 children's arguments are still in memory once all run.
async fn kept_arguments(strategy: Strategy, restart: Restart) -> usize {
    let simple = strategy == Strategy::SimpleOneForOne;
    let rig = Rig::start(flags(strategy, 1), |_| match simple {
        true => vec![
            ChildSpec::template::<Forgetful, Arc<Vec<u8>>, _>("t", Arc::clone).restart(restart),
        ],
        false => vec![],
    })
    .await;
    let mut kept: Vec<Weak<Vec<u8>>> = Vec::new();
    for number in 0..100 {
        let arguments = Arc::new(vec![7; 100_000]);
        kept.push(Arc::downgrade(&arguments));
        let started = match simple {
            true => rig.s.start_instance(arguments).await,
            false => {
                let spec = ChildSpec::worker::<Forgetful>(format!("c{number}"), arguments);
                rig.s.start_child(spec.restart(restart)).await
            }
        };
        started.expect("started");
    }
    settle().await;
    kept.iter()
        .filter(|arguments| arguments.strong_count() > 0)
        .count()
}

/// OTP compares the size of the state; here the arguments themselves are counted.
#[test]
fn row_074_arguments_of_temporary_children_are_not_kept() {
    run(async {
        use Strategy::{OneForAll, OneForOne, RestForOne, SimpleOneForOne};
        for strategy in [OneForOne, OneForAll, RestForOne, SimpleOneForOne] {
            assert_eq!(
                kept_arguments(strategy, Restart::Temporary).await,
                0,
                "{strategy:?}"
            );
            assert_eq!(
                kept_arguments(strategy, Restart::Transient).await,
                100,
                "{strategy:?}"
            );
            assert_eq!(
                kept_arguments(strategy, Restart::Permanent).await,
                100,
                "{strategy:?}"
            );
        }
    });
}

/// The time it takes to stop this many instances by pid.
async fn stop_instances(count: u32) -> Duration {
    let rig = Rig::start(flags(Strategy::SimpleOneForOne, 0), |stage| {
        vec![stage.template().temporary()]
    })
    .await;
    let mut pids = Vec::new();
    for number in 0..count {
        pids.push(
            rig.s
                .start_instance(number)
                .await
                .expect("started")
                .pid
                .expect("it runs"),
        );
    }
    let before = Instant::now();
    for pid in pids {
        rig.s.terminate_pid(pid).await.expect("stopped");
    }
    before.elapsed()
}

#[test]
fn row_075_stopping_by_pid_scales() {
    run(async {
        let small = stop_instances(1_000).await;
        let large = stop_instances(10_000).await;
        assert!(
            large < small * 50,
            "1,000 in {small:?}, 10,000 in {large:?}"
        );
    });
}

/// The time it takes to start and stop this many ids.
async fn start_and_stop(count: usize) -> Duration {
    let started = Arc::new(Mutex::new(Vec::new()));
    let rig = Rig::start(flags(Strategy::OneForOne, 0), |_| vec![]).await;
    let before = Instant::now();
    for number in 0..count {
        let spec = ChildSpec::worker::<Forgetful>(format!("c{number}"), Arc::new(Vec::new()));
        let child = rig.s.start_child(spec).await.expect("started");
        started.lock().expect("no panic").push(child.pid);
    }
    for number in 0..count {
        rig.s
            .terminate_child(format!("c{number}"))
            .await
            .expect("stopped");
        rig.s
            .delete_child(format!("c{number}"))
            .await
            .expect("deleted");
    }
    before.elapsed()
}

#[test]
fn row_076_starting_and_stopping_ids_scales() {
    run(async {
        let small = start_and_stop(1_000).await;
        let large = start_and_stop(100_000).await;
        assert!(
            large < small * 100 * 10,
            "1,000 in {small:?}, 100,000 in {large:?}"
        );
    });
}
