//! What is left of a step that was given up on its way: an instance whose placement is as it is wanted, and whose
//! container is not there.
//!
//! Called by `instance` when its step is withdrawn. Nothing here changes anything.

use crate::actors::control::{operation, relocate, render};
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, ProcType};
use crate::domain::plan::Step;
use crate::domain::view::PlanAction;

/// Whether a step was given up on its way between two states, and the instance is wanted: it was to be stopped, or
/// the placement is as the step wants it, and no container is.
pub fn is_so(shared: &Shared, id: &InstanceId, step: &Step) -> bool {
    let runs_on = !matches!(id.proc_type, ProcType::Oneshot | ProcType::Cron);
    let Some(placement) = shared.world.placement(id).filter(|_| runs_on) else {
        return false;
    };
    let app = shared.world.app(&id.app);
    let stopped = app.is_some_and(|a| a.record.is_stopped(&id.full_name(), id.no));
    if placement.waits || placement.finished.is_some() || stopped {
        return false;
    }
    if !relocate::needs_a_node(step) {
        return operation::is_wanted(shared, id);
    }
    let name = render::name_of(&placement);
    let absent = shared.node.of(id).iter().all(|c| c.name() != name);
    absent && placement.version == step.version
}

/// What completes it: what has to be seen to its end first, and what comes then.
pub fn rest_of(step: Step) -> (Option<Step>, Step) {
    if relocate::needs_a_node(&step) {
        return (None, step);
    }
    let first = Step {
        action: PlanAction::Delete,
        ..step.clone()
    };
    let then = Step {
        action: PlanAction::Start,
        ..step
    };
    (Some(first), then)
}
