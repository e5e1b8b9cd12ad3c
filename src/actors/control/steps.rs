//! What a rollout does with a single step, and how it tells of its end.

use crate::actors::control::carry::{Failure, carry_out};
use crate::actors::control::instance::{Carry, Instance, Withdraw};
use crate::actors::control::{app, paths};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, ProcType};
use crate::domain::plan::Step;
use crate::domain::spec::model::ProcSpec;
use crate::domain::view::{OperationState, OperationView, PlanAction};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The deadline for what is no longer in the file.
const GONE_DEADLINE: Duration = Duration::from_secs(300);
/// What a oneshot proc is given to be stopped in, besides its `kill_timeout`.
const ENDING_WITHIN: Duration = Duration::from_secs(30);
/// How often a step is handed to its instance again when that crashes over it.
const ATTEMPTS: u32 = 5;

/// How long a step may take. A oneshot proc's own time is watched where it is waited for, which stops it: this
/// only has to be later.
pub fn deadline(proc: Option<&ProcSpec>) -> Duration {
    let deadline = proc.map(|p| p.update.progress_deadline);
    let deadline = deadline.unwrap_or(GONE_DEADLINE);
    match proc {
        Some(proc) if proc.proc_type == ProcType::Oneshot => {
            deadline + proc.kill_timeout + ENDING_WITHIN
        }
        _ => deadline,
    }
}

/// Tells how an operation ended.
pub fn announce(shared: &Shared, view: &OperationView) {
    let took = view
        .ended_at
        .map_or(0, |end| (end - view.started_at).num_milliseconds());
    let (level, text) = match (view.state, &view.error) {
        (OperationState::Failed, Some(why)) => (
            Level::Error,
            format!("{} of {} failed: {why}", view.kind, view.app),
        ),
        (_, Some(why)) => (
            Level::Warn,
            format!("{} of {} ended: {why}", view.kind, view.app),
        ),
        (_, None) => (
            Level::Info,
            format!("{} of {} is done, in {took} ms", view.kind, view.app),
        ),
    };
    shared.hub.emit(
        Event::new("operation_done", level, text)
            .app(&view.app)
            .operation(&view.id),
    );
}

/// Hands a step to its instance; one that crashes over it gets it again.
///
/// # Errors
/// Why the step failed.
pub async fn carry_step(shared: &Arc<Shared>, step: Step) -> Result<(), Failure> {
    let ends = matches!(step.action, PlanAction::Delete | PlanAction::Stop);
    for attempt in 1..=ATTEMPTS {
        // Its supervisor may be on its way down or up: that is no failure of the step.
        let there = match ends {
            true => Ok(()),
            false => Box::pin(app::ensure_instance(shared, &step.instance)).await,
        };
        let outcome = match there {
            Ok(()) => carry(shared, step.clone()).await,
            Err(failure) => Err(failure.reason),
        };
        match outcome {
            Ok(Ok(())) => break,
            Ok(Err(failure)) => return Err(failure),
            Err(_) if ends => {
                // No actor to ask: what is left of the instance is put away here.
                Box::pin(carry_out(Arc::clone(shared), step.clone())).await?;
                break;
            }
            Err(error) if attempt == ATTEMPTS => {
                return Err(Failure::from(format!("{}: {error}", step.instance)));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50) * attempt).await,
        }
    }
    if step.action == PlanAction::Delete {
        Box::pin(app::drop_instance(shared, &step.instance)).await?;
    }
    Ok(())
}

/// Hands a step to its instance and waits until it is done, or why it cannot be.
///
/// # Errors
/// That the instance has no actor, or that it crashed over the step: it may be handed to the next one.
pub async fn carry(shared: &Arc<Shared>, step: Step) -> Result<Result<(), Failure>, String> {
    let (reply, answer) = oneshot::channel();
    let path = paths::instance(&step.instance);
    let instance = shared.actor::<Instance>(&path);
    let taken = instance.send(Carry { step, reply }).await;
    taken.map_err(|e| e.to_string())?;
    answer
        .await
        .map_err(|_| format!("the actor at {path:?} crashed over it"))
}

/// Lets an instance give up its step; one that has no actor has nothing in progress.
async fn withdraw(shared: &Arc<Shared>, id: &InstanceId) {
    let instance = shared.actor::<Instance>(&paths::instance(id));
    if let Err(error) = instance.send(Withdraw).await {
        tracing::debug!(instance = %id, %error, "nobody to give up its step");
    }
}

/// Lets instances give up their steps, all told at once: a step that comes later is not meant.
pub async fn withdraw_all(shared: &Arc<Shared>, ids: &[InstanceId]) {
    join_all(ids.iter().map(|id| withdraw(shared, id))).await;
}
