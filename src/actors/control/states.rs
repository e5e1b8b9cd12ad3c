//! What apps, procs and instances are doing, as one word each. Pure; `views` adds the reasons, `census` counts.

use crate::actors::agent::cell::{Observed, Phase};
use crate::domain::id::ProcType;
use crate::domain::record::{AppRecord, Placement, ended_well};
use crate::domain::spec::model::ProcSpec;
use crate::domain::view::{AppState, InstanceRole, InstanceState};

/// How many of a proc's instances are as they should be, or are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Active ones that run and are healthy.
    pub running: u32,
    /// Active ones that have ended well.
    pub done: u32,
    /// Spares that may be promoted.
    pub spares: u32,
    degraded: u32,
    failed: u32,
}

impl Readiness {
    /// Counts an instance.
    pub fn add(&mut self, role: InstanceRole, state: InstanceState) {
        let counter = match (state, role) {
            (InstanceState::Running, InstanceRole::Active) => &mut self.running,
            (InstanceState::Done, InstanceRole::Active) => &mut self.done,
            (InstanceState::Running | InstanceState::Idle, InstanceRole::Spare) => &mut self.spares,
            (InstanceState::Degraded, _) => &mut self.degraded,
            (InstanceState::Failed, _) => &mut self.failed,
            _ => return,
        };
        *counter += 1;
    }

    /// Those that have ended well, as far as that is what they are for. The instances of a cron proc are its runs:
    /// those that have ended are history.
    pub fn done_of(&self, proc: &ProcSpec) -> u32 {
        match proc.proc_type {
            ProcType::Cron => 0,
            _ => self.done,
        }
    }

    /// Those that run or have ended well.
    pub fn ready_of(&self, proc: &ProcSpec) -> u32 {
        self.running + self.done_of(proc)
    }
}

/// Instances that a proc has at rest.
pub fn wanted(proc: &ProcSpec) -> u32 {
    match proc.proc_type {
        ProcType::Cron => 0,
        _ => proc.num_instances,
    }
}

/// The worst of the procs' states, operations and removal first. `troubled`: its procs crash too often together.
pub fn app_state(record: &AppRecord, procs: &[AppState], troubled: bool) -> AppState {
    if record.removing {
        return AppState::Removing;
    }
    if record.operation.is_some() {
        return AppState::Deploying;
    }
    if troubled {
        return AppState::Degraded;
    }
    let worst = [AppState::Degraded, AppState::Recovering];
    if let Some(state) = worst.into_iter().find(|state| procs.contains(state)) {
        return state;
    }
    let same = [AppState::Stopped, AppState::Done];
    let all = |state: &AppState| !procs.is_empty() && procs.iter().all(|p| p == state);
    same.into_iter().find(all).unwrap_or(AppState::Running)
}

/// A proc's state from its instances'.
pub fn proc_state(record: &AppRecord, proc: &ProcSpec, readiness: &Readiness) -> AppState {
    let stopped = record.stopped.get(&proc.full_name());
    if stopped.is_some_and(|s| s.all) {
        return AppState::Stopped;
    }
    if readiness.degraded > 0 {
        return AppState::Degraded;
    }
    if proc.proc_type == ProcType::Cron {
        return AppState::Running;
    }
    if readiness.failed > 0 {
        return AppState::Degraded;
    }
    let stopped = stopped.map_or(0, |s| u32::try_from(s.instances.len()).unwrap_or(u32::MAX));
    let (ready, done) = (readiness.ready_of(proc), readiness.done);
    if ready.saturating_add(stopped) < proc.num_instances {
        return AppState::Recovering;
    }
    match done > 0 && done.saturating_add(stopped) >= proc.num_instances {
        true => AppState::Done,
        false => AppState::Running,
    }
}

/// An instance's state. `retried`: its node gave up, and a time is set for the next try.
pub fn instance_state(
    record: &AppRecord,
    placement: &Placement,
    retried: bool,
    seen: Option<&Observed>,
) -> InstanceState {
    if placement.unplaced.is_some() {
        return InstanceState::Pending;
    }
    if retried {
        return InstanceState::Degraded;
    }
    if let Some(how) = &placement.finished
        && seen.is_none_or(|o| !o.is_alive())
    {
        return ended(how);
    }
    let Some(seen) = seen else {
        return match record.is_stopped(&placement.instance.full_name(), placement.instance.no) {
            true => InstanceState::Stopped,
            false => InstanceState::Pending,
        };
    };
    match &seen.phase {
        Phase::Pending(_) => InstanceState::Pending,
        Phase::Starting(_) => InstanceState::Starting,
        Phase::Running if !seen.is_ready() => InstanceState::Starting,
        Phase::Running if seen.draining => InstanceState::Stopping,
        Phase::Running if seen.role == InstanceRole::Spare => InstanceState::Idle,
        Phase::Running => InstanceState::Running,
        Phase::Frozen => InstanceState::Idle,
        Phase::Crashed(_) => InstanceState::Backoff,
        Phase::Finished(exit) => ended(&exit.to_string()),
        Phase::GaveUp(_) => InstanceState::Degraded,
        Phase::Stopped => InstanceState::Stopped,
    }
}

/// The state of what has ended for good.
fn ended(how: &str) -> InstanceState {
    match ended_well(how) {
        true => InstanceState::Done,
        false => InstanceState::Failed,
    }
}
