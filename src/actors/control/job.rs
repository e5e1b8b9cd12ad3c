//! Procs that run to their end: waiting for it, and what is kept of it. Called by `carry` and `instance`.
//!
//! A oneshot proc is done when it exits with code 0. What else ends it follows its `restart`; when that allows no
//! more, the run has failed, for good: it is not tried again until somebody asks for it.

use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::agent::node;
use crate::actors::agent::put_away::Removal;
use crate::actors::control::carry::{self, Failure};
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::{Record, Touch};
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, ProcType};
use crate::domain::record::ended_well;
use crate::domain::view::RunView;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;

/// Runs kept of each proc.
pub const RUNS_KEPT: usize = 10;

/// Resolves once a oneshot proc's container has ended with exit code 0. One that has not within `limit`, restarts
/// included, is stopped.
///
/// # Errors
/// How else it ended, that its node gave up on it, or that the time is up.
pub async fn wait_ended(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    limit: Duration,
) -> Result<(), Failure> {
    let outcome = match tokio::time::timeout(limit, wait(cell)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let reason = format!("it did not end within {}s and was stopped", limit.as_secs());
            let stopped = node::retire(shared, cell, Removal::Stop).await;
            let instance = cell.instance();
            fail(shared, instance, &reason, cell.look(|o| o.started_at));
            match stopped {
                Ok(()) => Err(Failure::from(reason)),
                Err(error) => Err(Failure::from(format!(
                    "it did not end within {}s, and: {error}",
                    limit.as_secs()
                ))),
            }
        }
    };
    outcome.map_err(|failure| failure.of(cell))
}

async fn wait(cell: &ContainerCell) -> Result<(), Failure> {
    carry::wait_for(cell, |o| {
        let failed = |reason: String| {
            Some(Err(Failure {
                reason,
                crash: o.last_crash.clone(),
            }))
        };
        match &o.phase {
            Phase::Finished(exit) if exit.is_clean() => Some(Ok(())),
            Phase::Finished(exit) => failed(format!("it ended with {exit}")),
            Phase::GaveUp(reason) => failed(reason.clone()),
            Phase::Stopped => failed("it was stopped before it ended".to_owned()),
            Phase::Pending(_)
            | Phase::Starting(_)
            | Phase::Running
            | Phase::Frozen
            | Phase::Crashed(_) => None,
        }
    })
    .await
}

/// Keeps that an instance has ended for good, and how.
pub fn end(shared: &Shared, id: &InstanceId, how: String, started_at: Option<DateTime<Utc>>) {
    keep_run(shared, id, &how, started_at);
    let text = Some(how);
    shared
        .world
        .change_placement(id, |p| p.finished = text.clone());
    shared
        .recorder
        .send(Record::Placement(id.clone(), Touch::Finished(text)));
}

/// As [`end`], for what did not end well, and tells of it.
pub fn fail(shared: &Shared, id: &InstanceId, reason: &str, started_at: Option<DateTime<Utc>>) {
    end(shared, id, reason.to_owned(), started_at);
    let next = match id.proc_type {
        ProcType::Cron => "; the next run is due as its schedule says".to_owned(),
        _ => format!(
            "; it is not tried again by itself: `lain start {} -a {}`, or deploy",
            id.proc, id.app
        ),
    };
    let event = Event::new(
        "run_failed",
        Level::Error,
        format!("{id} has failed: {reason}{next}"),
    );
    shared.hub.emit(event.instance(id));
}

/// As [`fail`], unless it has ended already.
pub fn fail_once(shared: &Shared, id: &InstanceId, cell: Option<&ContainerCell>, reason: &str) {
    let placement = shared.world.placement(id);
    if placement.is_some_and(|p| p.finished.is_none()) {
        fail(
            shared,
            id,
            reason,
            cell.and_then(|c| c.look(|o| o.started_at)),
        );
    }
}

/// Keeps a run of a oneshot proc. Those of cron procs are kept by `time`, which began them.
fn keep_run(shared: &Shared, id: &InstanceId, how: &str, started_at: Option<DateTime<Utc>>) {
    if id.proc_type != ProcType::Oneshot {
        return;
    }
    let now = shared.clock.now_utc();
    let run = RunView {
        started_at: started_at.unwrap_or(now),
        ended_at: Some(now),
        result: if ended_well(how) {
            "succeeded"
        } else {
            "failed"
        }
        .to_owned(),
        detail: Some(how.to_owned()),
    };
    let full_name = id.full_name();
    let mut runs = shared.world.runs(&id.app, &full_name);
    runs.insert(0, run);
    runs.truncate(RUNS_KEPT);
    shared.world.put_runs(&id.app, &full_name, runs.clone());
    shared
        .recorder
        .send(Record::Runs(id.app.clone(), full_name, runs));
}
