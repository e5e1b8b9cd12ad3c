//! The state machine against a plain reference model, over random schedules:
//! random trees, crashes, failing starts, slow stops and concurrent calls.
//!
//! `SUPERVISE_SCHEDULES` sets how many (100,000 by default; `SUPERVISE_REAL` how
//! many more on real actors, 400), `SUPERVISE_SEED` repeats a run whose seed was
//! printed. A failing schedule is shrunk.

mod letters;
mod plan;
mod real;
mod real_worker;
mod reference;
mod reference_brain;
mod reference_calls;
mod stimuli;
mod subject;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;

use letters::{Deed, Trace};
use plan::{Plan, plan};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use world::World;

/// Schedules in CI.
const SCHEDULES: u32 = 100_000;
/// The schedules are shared out over threads.
const SHARES: u32 = 2;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
    )
}

fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("seed")
}

/// The seed of one share.
fn seed_bytes(seed: u64, share: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..12].copy_from_slice(&share.to_le_bytes());
    bytes
}

/// The first difference between what the two did.
fn compare(plan: &Plan) -> Result<(), TestCaseError> {
    let machine = World::live(plan, subject::subject).trace;
    let model = World::live(plan, reference_brain::reference).trace;
    if machine == model {
        return Ok(());
    }
    let same = machine
        .iter()
        .zip(&model)
        .take_while(|(a, b)| a == b)
        .count();
    let show = |trace: &Trace| match trace.get(same) {
        Some(deed) => format!("{deed:?}"),
        None => "nothing more".to_owned(),
    };
    let before: Vec<String> = machine[same.saturating_sub(12)..same]
        .iter()
        .map(|deed| format!("{deed:?}"))
        .collect();
    Err(TestCaseError::fail(format!(
        "after\n  {}\nthe machine did\n  {}\nthe reference\n  {}",
        before.join("\n  "),
        show(&machine),
        show(&model)
    )))
}

/// Runs one share of the schedules.
fn share(nth: u32) {
    let schedules =
        number("SUPERVISE_SCHEDULES").map_or(SCHEDULES, |n| u32::try_from(n).unwrap_or(u32::MAX));
    let seed = number("SUPERVISE_SEED").unwrap_or_else(random_seed);
    println!("share {nth} of {schedules} schedules, SUPERVISE_SEED={seed}");
    let config = Config {
        cases: schedules / SHARES,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(
        config,
        TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes(seed, nth)),
    );
    if let Err(error) = runner.run(&plan(), |plan| compare(&plan)) {
        panic!("SUPERVISE_SEED={seed}, share {nth}: {error}");
    }
}

#[test]
fn random_schedules_share_0() {
    share(0);
}

#[test]
fn random_schedules_share_1() {
    share(1);
}

/// What a deed exercises, in a word.
fn word(deed: &Deed) -> String {
    let kind = |debug: String| {
        debug
            .split(['(', ' ', '{'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    match deed {
        Deed::Reply(_, answer) => format!("answer {}", kind(format!("{answer:?}"))),
        Deed::Report(_, context, _) => format!("report {context}"),
        Deed::Down(_, reason) => format!("down {}", kind(format!("{reason:?}"))),
        other => kind(format!("{other:?}")),
    }
}

/// The schedules would prove little if they left parts of the rules alone.
#[test]
fn schedules_reach_every_part() {
    let config = Config {
        cases: 3_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let reached = RefCell::new(BTreeMap::<String, usize>::new());
    let ran = runner.run(&plan(), |plan| {
        for (_, deed) in World::live(&plan, subject::subject).trace {
            *reached.borrow_mut().entry(word(&deed)).or_default() += 1;
        }
        Ok(())
    });
    ran.expect("nothing is compared here");
    let reached = reached.into_inner();
    for wanted in [
        "Start",
        "Up",
        "Terminate",
        "Kill",
        "down Normal",
        "down Shutdown",
        "down Killed",
        "down Error",
        "down FailedToStartChild",
        "report child_terminated",
        "report start_error",
        "report shutdown_error",
        "report shutdown",
        "answer Done",
        "answer Started",
        "answer Children",
        "answer Counts",
        "answer AlreadyStarted",
        "answer AlreadyPresent",
        "answer NotFound",
        "answer Running",
        "answer Restarting",
        "answer Simple",
        "answer NotSimple",
        "answer StartFailed",
        "answer Invalid",
        "answer Exited",
    ] {
        let count = reached.get(wanted).copied().unwrap_or_default();
        assert!(count >= 20, "{wanted} only {count} times: {reached:#?}");
    }
}
