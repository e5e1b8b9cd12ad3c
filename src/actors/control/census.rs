//! Counts apps, instances and actors where they are, for `/metrics`: no view is made of any of them.

use crate::actors::agent::cell::Observed;
use crate::actors::control::states::{self, Readiness};
use crate::actors::control::views;
use crate::actors::control::world::Versioned;
use crate::actors::shared::Shared;
use crate::actors::supervise::{State, Totals, Tree};
use crate::domain::census::{ActorCensus, Census, ProcCensus, StateCounts};
use crate::domain::id::AppName;
use crate::domain::record::{AppRecord, Placement};
use crate::domain::spec::model::ProcSpec;
use crate::domain::view::AppState;
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// Counts everything.
pub fn take(shared: &Shared) -> Census {
    let mut census = Census {
        actors: actors(shared.tree()),
        ..Census::default()
    };
    for (name, app) in shared.world.apps() {
        let state = count_app(shared, &name, &app, &mut census.procs);
        census.apps.push(state);
    }
    census
}

fn actors(tree: &Tree) -> ActorCensus {
    let totals = tree.totals();
    let states = Totals::STATES.iter().zip(totals.by_state);
    ActorCensus {
        by_state: states
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| (word(*state).to_owned(), count))
            .collect(),
        restarts: totals.restarts,
        waiting: totals.waiting,
    }
}

/// The word of the API for an actor's state.
pub fn word(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Running => "running",
        State::Restarting => "restarting",
        State::Stopping => "stopping",
        State::Undefined => "undefined",
    }
}

/// A proc as it is counted.
struct Counted {
    spec: ProcSpec,
    states: StateCounts,
    readiness: Readiness,
    restarts: u64,
    crashes: u64,
}

fn count_app(
    shared: &Shared,
    name: &AppName,
    app: &Versioned,
    procs: &mut Vec<ProcCensus>,
) -> AppState {
    let record: &Arc<AppRecord> = &app.record;
    let fresh = |spec| Counted {
        spec,
        states: StateCounts::default(),
        readiness: Readiness::default(),
        restarts: 0,
        crashes: 0,
    };
    let mut counted: Vec<Counted> = record.procs().into_iter().map(fresh).collect();
    shared.world.each_placement(name, |placement, retry| {
        let id = &placement.instance;
        let mine = counted
            .iter_mut()
            .find(|c| c.spec.name == id.proc && c.spec.proc_type == id.proc_type);
        if let Some(counted) = mine {
            count(shared, record, placement, retry, counted);
        }
    });
    let states: Vec<AppState> = counted
        .iter()
        .map(|c| states::proc_state(record, &c.spec, &c.readiness))
        .collect();
    procs.extend(counted.into_iter().map(|c| ProcCensus {
        app: name.to_string(),
        proc: c.spec.full_name(),
        wanted: states::wanted(&c.spec),
        restarts: c.restarts,
        crashes: c.crashes,
        instances: c.states.into_counts(),
    }));
    states::app_state(record, &states, shared.world.trouble(name).is_some())
}

fn count(
    shared: &Shared,
    record: &AppRecord,
    placement: &Placement,
    retry: Option<DateTime<Utc>>,
    counted: &mut Counted,
) {
    let cell = views::cell(shared, placement);
    let look = |seen: Option<&Observed>| {
        let state = states::instance_state(record, placement, retry.is_some(), seen);
        (state, seen.map_or(placement.role, |o| o.role))
    };
    let (state, role) = match &cell {
        Some(cell) => cell.look(|seen| look(Some(seen))),
        None => look(None),
    };
    counted.restarts += placement.restarts;
    counted.crashes += placement.crashes;
    counted.states.add(state);
    counted.readiness.add(role, state);
}
