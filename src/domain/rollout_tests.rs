//! Tables and properties of rollouts.

use super::*;
use crate::domain::id::ProcType;
use crate::domain::plan::{plan, stages};
use crate::domain::plan_tests::{placed, proc, record};
use crate::domain::record::Placement;
use crate::domain::view::InstanceRole;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const UP: Available<'static> = &|_| true;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn steps(count: u32) -> Vec<Step> {
    let record = record(vec![proc("web", ProcType::Web, count, 0)], 2);
    let placements: Vec<Placement> = (1..=count)
        .map(|n| placed(&format!("shop.web.web.i{n}"), 1, InstanceRole::Active))
        .collect();
    plan(&record, &placements, &BTreeMap::new())
}

fn machine_of(steps: Vec<Step>, surge: u32, unavailable: u32) -> Machine {
    let all: Vec<usize> = (0..steps.len()).collect();
    let window = Window { surge, unavailable };
    let stages = stages(&steps, &all, |_| window);
    let deadlines = vec![at(10); steps.len()];
    Machine::new(steps, stages, deadlines)
}

fn machine(count: u32) -> Machine {
    machine_of(steps(count), 1, 0)
}

fn stop_first(machine: &Machine) -> Vec<bool> {
    machine.steps.iter().map(|s| s.stop_first).collect()
}

#[test]
fn a_rollout_walks_its_stages() {
    let mut machine = machine(2);
    assert_eq!(machine.begin(at(0), UP), [Action::Begin(0)]);
    assert_eq!(machine.on(Event::Done(0), at(1), UP), [Action::Begin(1)]);
    assert_eq!(machine.on(Event::Done(0), at(1), UP), [], "late news");
    assert_eq!(
        machine.on(Event::Done(1), at(2), UP),
        [Action::Finish(OperationState::Succeeded, None)]
    );
    assert_eq!(machine.on(Event::Cancel("late".into()), at(3), UP), []);
}

#[test]
fn the_next_begins_when_a_new_one_serves_and_the_end_waits_for_the_old_ones() {
    let mut machine = machine(2);
    machine.begin(at(0), UP);
    let next = machine.on(Event::Serving(0), at(1), UP);
    assert_eq!(next, [Action::Begin(1)]);
    assert_eq!(machine.on(Event::Serving(0), at(1), UP), [], "told twice");
    assert_eq!(machine.on(Event::Serving(1), at(2), UP), []);
    assert_eq!(machine.on(Event::Done(1), at(2), UP), []);
    assert_eq!(
        machine.on(Event::Done(0), at(3), UP),
        [Action::Finish(OperationState::Succeeded, None)]
    );
}

#[test]
fn a_window_is_filled_and_its_two_parts_add_up() {
    use Action::Begin;
    // surge, unavailable, of five → begun, stopped first
    let rows = [
        (2, 0, vec![0, 1], [false, false, false, false, false]),
        (0, 2, vec![0, 1], [true, true, false, false, false]),
        (1, 1, vec![0, 1], [false, true, false, false, false]),
        (9, 0, vec![0, 1, 2, 3, 4], [false; 5]),
    ];
    for (surge, unavailable, begun, first) in rows {
        let mut machine = machine_of(steps(5), surge, unavailable);
        let begun: Vec<Action> = begun.into_iter().map(Begin).collect();
        assert_eq!(machine.begin(at(0), UP), begun, "{surge} {unavailable}");
        assert_eq!(stop_first(&machine), first, "{surge} {unavailable}");
    }
}

#[test]
fn what_is_down_is_replaced_first_and_counts_as_unavailable() {
    let third: InstanceId = "shop.web.web.i3".parse().expect("an id");
    let available = |id: &InstanceId| *id != third;
    let mut machine = machine_of(steps(4), 0, 1);
    assert_eq!(machine.begin(at(0), &available), [Action::Begin(2)]);
    assert_eq!(stop_first(&machine), [false, false, true, false]);
    assert_eq!(machine.on(Event::Done(2), at(1), UP), [Action::Begin(0)]);
    // Replaced, and down again: nobody else may be taken away until it is back.
    assert_eq!(machine.on(Event::Done(0), at(2), &available), []);
    assert_eq!(machine.on(Event::Tick(at(5)), at(5), &available), []);
    assert_eq!(
        machine.on(Event::Tick(at(6)), at(6), UP),
        [Action::Begin(1)]
    );
    machine.on(Event::Done(1), at(7), &available);
    let ended = machine.on(Event::Tick(at(20)), at(20), &available);
    assert!(
        matches!(&ended[..], [Action::Finish(OperationState::Failed, Some(why))] if why.contains("too few instances")),
        "{ended:?}"
    );
}

#[test]
fn restarts_go_one_after_another_where_none_may_be_unavailable() {
    let mut all = steps(3);
    for step in &mut all {
        step.action = PlanAction::Restart;
    }
    let mut machine = machine_of(all, 2, 0);
    assert_eq!(machine.begin(at(0), UP), [Action::Begin(0)]);
    assert_eq!(machine.on(Event::Done(0), at(1), UP), [Action::Begin(1)]);
}

#[test]
fn a_failed_step_fails_the_rollout_and_the_rest_is_not_done() {
    let mut machine = machine_of(steps(4), 2, 0);
    machine.begin(at(0), UP);
    let actions = machine.on(Event::Failed(0, "no image".into()), at(0), UP);
    assert_eq!(
        actions,
        [Action::Finish(
            OperationState::Failed,
            Some("no image".into())
        )]
    );
    use OperationState::{Cancelled, Failed};
    assert_eq!(machine.states, [Failed, Cancelled, Cancelled, Cancelled]);
    assert_eq!(machine.cut_off, [1]);
}

#[test]
fn the_deadline_counts_from_the_last_progress() {
    let mut machine = machine(2);
    machine.begin(at(0), UP);
    machine.on(Event::Done(0), at(9), UP);
    assert_eq!(machine.on(Event::Tick(at(18)), at(18), UP), []);
    let late = machine.on(Event::Tick(at(20)), at(20), UP);
    assert!(
        matches!(&late[..], [Action::Finish(OperationState::Failed, Some(why))] if why.contains("shop.web.web.i2"))
    );
    assert_eq!(machine.cut_off, [1]);
}

#[test]
fn an_empty_rollout_succeeds_at_once() {
    let mut machine = Machine::new(vec![], vec![], vec![]);
    assert_eq!(
        machine.begin(at(0), UP),
        [Action::Finish(OperationState::Succeeded, None)]
    );
}

#[test]
fn the_most_patient_step_in_progress_sets_the_deadline() {
    let record = record(
        vec![
            proc("migrate", ProcType::Oneshot, 1, 0),
            proc("web", ProcType::Web, 1, 0),
        ],
        1,
    );
    let steps = plan(&record, &[], &BTreeMap::new());
    let window = Window {
        surge: 1,
        unavailable: 0,
    };
    let stages = stages(&steps, &[0, 1], |_| window);
    let mut machine = Machine::new(steps, stages, vec![at(100), at(10)]);
    machine.begin(at(0), UP);
    assert_eq!(machine.on(Event::Tick(at(99)), at(99), UP), []);
    assert_eq!(machine.on(Event::Done(0), at(99), UP), [Action::Begin(1)]);
    assert_eq!(machine.on(Event::Tick(at(109)), at(109), UP), []);
    assert!(matches!(
        machine.on(Event::Tick(at(110)), at(110), UP)[..],
        [Action::Finish(OperationState::Failed, Some(_))]
    ));
}

/// Three instances, the first of them a canary.
fn gated() -> Machine {
    let steps = steps(3);
    let window = |_: &InstanceId| Window {
        surge: 1,
        unavailable: 0,
    };
    let mut all = stages(&steps, &[0], window);
    let gate = all.len();
    all.extend(stages(&steps, &[1, 2], window));
    Machine::new(steps, all, vec![at(10); 3]).gated(gate)
}

#[test]
fn a_canary_is_waited_for_then_promoted() {
    let mut machine = gated();
    assert_eq!(machine.begin(at(0), UP), [Action::Begin(0)]);
    let early = Event::CanaryFailed("early".into());
    assert_eq!(
        machine.on(early, at(0), UP),
        [],
        "its step says how it went"
    );
    assert_eq!(machine.on(Event::Done(0), at(1), UP), [Action::Wait]);
    assert!(machine.is_waiting());
    // Nobody hurries whoever judges it.
    assert_eq!(machine.on(Event::Tick(at(9999)), at(9999), UP), []);
    assert_eq!(machine.on(Event::Promote, at(9999), UP), [Action::Begin(1)]);
    assert!(!machine.is_waiting());
    assert_eq!(machine.on(Event::Tick(at(10_000)), at(10_000), UP), []);
    assert_eq!(
        machine.on(Event::Done(1), at(10_001), UP),
        [Action::Begin(2)]
    );
}

#[test]
fn a_canary_that_fails_ends_it_and_one_that_is_up_already_is_waited_for_at_once() {
    let mut machine = gated();
    machine.begin(at(0), UP);
    machine.on(Event::Done(0), at(1), UP);
    let ended = machine.on(Event::CanaryFailed("it crashed".into()), at(2), UP);
    let failed = Action::Finish(OperationState::Failed, Some("it crashed".into()));
    assert_eq!(ended, [failed]);
    assert!(!machine.is_waiting());
    let mut resumed = Machine::new(vec![], vec![], vec![]).gated(0);
    assert_eq!(resumed.begin(at(0), UP), [Action::Wait]);
    assert_eq!(
        resumed.on(Event::Promote, at(1), UP),
        [Action::Finish(OperationState::Succeeded, None)]
    );
}

proptest! {
    /// Whatever comes when: never more than the window allows, every step once, and an end.
    #[test]
    fn a_window_is_never_overdrawn(
        count in 1u32..12, surge in 0u32..5, unavailable in 0u32..5, choices in proptest::collection::vec(0usize..1000, 200),
    ) {
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let mut machine = machine_of(steps(count), surge, unavailable);
        let mut actions = machine.begin(at(0), UP);
        let (mut starting, mut leaving, mut begun) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut finished = false;
        for choice in choices {
            for action in actions.drain(..) {
                match action {
                    Action::Begin(index) => {
                        prop_assert!(begun.insert(index), "step {index} twice");
                        starting.insert(index);
                    }
                    Action::Finish(state, _) => {
                        prop_assert_eq!(state, OperationState::Succeeded);
                        finished = true;
                    }
                    Action::Wait => prop_assert!(false, "nothing to wait for"),
                }
            }
            let down = starting.iter().filter(|&&i: &&usize| machine.steps[i].stop_first).count();
            prop_assert!(down <= unavailable as usize);
            prop_assert!(starting.len() - down <= surge as usize);
            if finished {
                break;
            }
            // One that starts serves now, or one that leaves is gone.
            let open = starting.len() + leaving.len();
            prop_assert!(open > 0, "nothing goes on");
            let chosen = choice % open;
            actions = match starting.iter().nth(chosen).copied() {
                Some(index) => {
                    starting.remove(&index);
                    leaving.insert(index);
                    machine.on(Event::Serving(index), at(1), UP)
                }
                None => {
                    let index = *leaving.iter().nth(chosen - starting.len()).expect("one");
                    leaving.remove(&index);
                    machine.on(Event::Done(index), at(1), UP)
                }
            };
        }
        prop_assert!(finished);
        prop_assert_eq!(begun.len(), count as usize);
    }
}
