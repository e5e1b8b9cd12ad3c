//! Deterministic simulation of whole clusters: the real control host in virtual time, faults from a seed.
//!
//! The seeds that are run are the same each time. `LAIN_SIM_SECONDS` runs all seeds from `LAIN_SIM_SEED` on for so long
//! instead.

use lain::roles::sim::{Fault, Invariant, Options, Outcome, Plant, run};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Seeds that are run.
const COUNT: u64 = 150;
/// Later seeds that have found a defect, now mended.
const FOUND: [u64; 25] = [
    403, 453, 510, 516, 590, 767, 806, 842, 847, 1879, 2433, 3359, 4504, 6308, 8441, 8871, 9644,
    9849, 10122, 1280, 2259, 2486, 2649, 4631, 13945,
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

fn once(seed: u64, options: &Options) -> Outcome {
    run(seed, options).expect("a runtime")
}

/// The last lines of a trace, and how to see it all again.
fn story(outcome: &Outcome) -> String {
    let from = outcome.trace.len().saturating_sub(200);
    format!(
        "seed {}: {:#?}\n{}\nreplay with: lain sim --seed {} --schedules 1 --trace",
        outcome.seed,
        outcome.violations,
        outcome.trace[from..].join("\n"),
        outcome.seed
    )
}

#[test]
fn no_schedule_breaks_an_invariant() {
    let seconds = number("LAIN_SIM_SECONDS");
    let first = number("LAIN_SIM_SEED").unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let (mut seed, mut passed) = (first, Duration::ZERO);
    while Instant::now() < end || seed < first + COUNT {
        let outcome = once(seed, &Options::default());
        assert!(outcome.violations.is_empty(), "{}", story(&outcome));
        (seed, passed) = (seed + 1, passed + outcome.took);
    }
    for seed in FOUND {
        let outcome = once(seed, &Options::default());
        assert!(outcome.violations.is_empty(), "{}", story(&outcome));
    }
    println!(
        "{} schedules, {} s of virtual time",
        seed - first,
        passed.as_secs()
    );
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in 1..=6 {
        let (one, two) = (
            once(seed, &Options::default()),
            once(seed, &Options::default()),
        );
        if let Some(at) = (0..one.trace.len().max(two.trace.len()))
            .find(|i| one.trace.get(*i) != two.trace.get(*i))
        {
            let from = at.saturating_sub(5);
            panic!(
                "seed {seed}, line {at}:\n{}\nand\n{}",
                one.trace[from..(at + 1).min(one.trace.len())].join("\n"),
                two.trace[from..(at + 1).min(two.trace.len())].join("\n")
            );
        }
        assert_eq!(one.fingerprint, two.fingerprint);
    }
    assert_ne!(
        once(1, &Options::default()).fingerprint,
        once(2, &Options::default()).fingerprint
    );
}

/// Runs schedules with a planted bug until one finds it.
fn finds(plant: Plant, faults: &[Fault], invariant: Invariant) {
    let options = Options {
        plant: Some(plant),
        faults: faults.iter().copied().collect::<BTreeSet<_>>(),
        ..Options::default()
    };
    let mut others = Vec::new();
    for seed in 1..=60 {
        let outcome = once(seed, &options);
        if outcome.violations.iter().any(|v| v.invariant == invariant) {
            return;
        }
        others.extend(outcome.violations);
    }
    panic!("{plant:?} was not found by {invariant:?}, but {others:#?}");
}

#[test]
fn an_agent_that_does_not_fence_itself_is_found() {
    finds(
        Plant::NoFence,
        &[Fault::Partition],
        Invariant::ExclusiveOnce,
    );
}

#[test]
fn a_placement_that_ignores_capacity_is_found() {
    finds(
        Plant::IgnoresCapacity,
        &[Fault::NodeLoss],
        Invariant::CapacityKept,
    );
}

#[test]
fn a_store_that_acknowledges_and_forgets_is_found() {
    finds(
        Plant::StoreForgets,
        &[Fault::ControlRestart],
        Invariant::AcknowledgedKept,
    );
}

#[test]
fn an_agent_that_leaves_instances_out_is_found() {
    finds(Plant::AgentForgets, &[Fault::Crash], Invariant::Converges);
}

#[test]
fn a_control_host_that_restarts_bystanders_is_found() {
    finds(
        Plant::ResumeRestarts,
        &[Fault::ControlRestart],
        Invariant::BystandersRunOn,
    );
}
