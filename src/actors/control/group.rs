//! Supervision among an app's procs, carried out: a crash takes along whom the strategy says.
//!
//! Called by the app's `rollout`. The crashed instance restarts where it is, by its own supervisor; this only
//! stops the others, last of the file first, and starts them again, first of the file first, each proc after
//! the one before it is ready.

use crate::actors::control::{carry, steps};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::group::group_restart;
use crate::domain::id::{AppName, InstanceId, ProcType};
use crate::domain::plan::Step;
use crate::domain::record::{AppRecord, Placement};
use crate::domain::spec::model::ProcStrategy;
use crate::domain::view::{InstanceRole, PlanAction};
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Decides when a crash becomes a group restart.
#[derive(Default)]
pub struct Coordinator {
    busy: bool,
    crashes: VecDeque<Duration>,
}

/// A group restart that was decided.
pub struct GroupPlan {
    app: AppName,
    crashed: InstanceId,
    /// Instances to stop, proc by proc.
    stop: Vec<Vec<Step>>,
    /// Instances to start, proc by proc.
    start: Vec<Vec<Step>>,
}

impl Coordinator {
    /// Takes a crash at `now`; returns the group restart that it calls for, if any.
    ///
    /// The app's own budget counts: one crash more than `intensity` within `period`, and the group is left
    /// alone until the window has passed, the app being degraded.
    pub fn on_crash(
        &mut self,
        shared: &Shared,
        id: &InstanceId,
        now: Duration,
    ) -> Option<GroupPlan> {
        let app = shared.world.app(&id.app)?;
        let supervision = app.record.current.spec.supervision;
        if supervision.strategy == ProcStrategy::OneForOne || self.busy {
            return None;
        }
        self.crashes
            .retain(|&at| now.saturating_sub(at) <= supervision.period);
        self.crashes.push_back(now);
        let limit = usize::try_from(supervision.intensity).unwrap_or(usize::MAX);
        if self.crashes.len() > limit {
            let trouble = format!(
                "more than {} crashes within {}s: its procs are no longer restarted together",
                supervision.intensity,
                supervision.period.as_secs()
            );
            shared.hub.emit(
                Event::new(
                    "app_degraded",
                    Level::Error,
                    format!("app {} is degraded: {trouble}", id.app),
                )
                .app(&id.app),
            );
            shared.world.set_trouble(&id.app, Some(trouble));
            return None;
        }
        shared.world.set_trouble(&id.app, None);
        let plan = plan(&app.record, &shared.world.placements(&id.app), id)?;
        self.busy = true;
        Some(plan)
    }

    /// The group restart is over.
    pub fn done(&mut self) {
        self.busy = false;
    }
}

/// The group restart that a crash of `id` calls for; nothing when it touches nobody else. Pure.
fn plan(record: &AppRecord, placements: &[Placement], id: &InstanceId) -> Option<GroupPlan> {
    let procs = &record.current.spec.procs;
    let crashed = procs.iter().position(|p| p.name == id.proc)?;
    let runs_for_ever =
        |i: usize| !matches!(procs[i].proc_type, ProcType::Cron | ProcType::Oneshot);
    // What runs to its end takes no part, its failures neither.
    if !runs_for_ever(crashed) {
        return None;
    }
    let group = group_restart(
        record.current.spec.supervision.strategy,
        procs.len(),
        crashed,
        runs_for_ever,
    );
    let steps = |action: PlanAction, indices: &[usize]| -> Vec<Vec<Step>> {
        let of = |i: &usize| {
            placements
                .iter()
                .filter(|p| p.instance.proc == procs[*i].name)
                .map(|p| step(action, p))
                .collect()
        };
        indices
            .iter()
            .map(of)
            .filter(|steps: &Vec<Step>| !steps.is_empty())
            .collect()
    };
    let (stop, start) = (
        steps(PlanAction::Stop, &group.stop),
        steps(PlanAction::Start, &group.start),
    );
    (!start.is_empty()).then(|| GroupPlan {
        app: id.app.clone(),
        crashed: id.clone(),
        stop,
        start,
    })
}

fn step(action: PlanAction, placement: &Placement) -> Step {
    Step {
        action,
        instance: placement.instance.clone(),
        role: InstanceRole::Active,
        version: placement.version,
        changes: Vec::new(),
        stop_first: false,
    }
}

/// Carries out a group restart.
pub async fn carry_out(shared: &Arc<Shared>, plan: GroupPlan) {
    let others: Vec<String> = plan
        .start
        .iter()
        .flatten()
        .map(|s| s.instance.to_string())
        .collect();
    let text = format!(
        "{} crashed: its strategy restarts {} too",
        plan.crashed,
        others.join(", ")
    );
    shared.hub.emit(
        Event::new("group_restart", Level::Warn, text)
            .app(&plan.app)
            .instance(&plan.crashed),
    );
    for steps in plan.stop {
        carry_all(shared, steps).await;
    }
    if let Some(cell) = shared.node.of(&plan.crashed).pop() {
        let _ = carry::wait_ready(&cell).await;
    }
    for steps in plan.start {
        carry_all(shared, steps).await;
    }
    shared.hub.emit(
        Event::new(
            "group_restarted",
            Level::Info,
            format!("app {}: its procs are up again", plan.app),
        )
        .app(&plan.app),
    );
}

async fn carry_all(shared: &Arc<Shared>, steps: Vec<Step>) {
    let sends = steps.into_iter().map(|step| async move {
        let name = step.instance.clone();
        match steps::carry(shared, step).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                tracing::warn!(instance = %name, "group restart: {}", failure.reason)
            }
            Err(error) => tracing::warn!(instance = %name, "group restart: {error}"),
        }
    });
    join_all(sends).await;
}
