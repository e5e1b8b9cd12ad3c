//! Putting a container away: stopped in good order, then removed or kept.
//!
//! Called by the `process` actor, and by `node` where there is no such actor any more. Idempotent: a
//! container that is gone is what was wanted.

use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::agent::logs;
use crate::actors::shared::Shared;
use crate::ports::runtime::RuntimeError;

/// How a container is put away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Stop it and remove it.
    Remove,
    /// Stop it and keep it, so that it can be started again in place.
    Stop,
    /// As [`Removal::Stop`], at once: it must not run for another moment.
    Kill,
}

/// Stops, and perhaps removes, a container. Waits as long as the engine does not answer.
pub async fn put_away(
    shared: &Shared,
    cell: &ContainerCell,
    removal: Removal,
) -> Result<(), RuntimeError> {
    loop {
        match put_away_once(shared, cell, removal).await {
            Err(error @ RuntimeError::Unreachable { .. }) => {
                shared.engine_lost(&error);
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                shared.engine_up().await;
            }
            Ok(()) | Err(RuntimeError::NoContainer(_)) => {
                cell.change(|o| {
                    o.phase = Phase::Stopped;
                    (o.pid, o.ip) = (None, None);
                });
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

async fn put_away_once(
    shared: &Shared,
    cell: &ContainerCell,
    removal: Removal,
) -> Result<(), RuntimeError> {
    // One that is being made right now is known by its name only.
    let id = match cell.look(|o| o.id.clone()) {
        Some(id) => id,
        None => {
            let all = shared.runtime.list(&shared.owner_labels()).await?;
            match all.into_iter().find(|c| c.name == cell.name()) {
                Some(found) => found.id,
                None => return Ok(()),
            }
        }
    };
    if cell.look(|o| o.phase == Phase::Frozen) {
        shared.runtime.unpause(&id).await?;
    }
    let patience = match removal {
        Removal::Remove | Removal::Stop => cell.assignment.container.kill_timeout,
        Removal::Kill => std::time::Duration::ZERO,
    };
    shared.runtime.stop(&id, patience).await?;
    match removal {
        Removal::Remove => logs::remove(shared, &id).await,
        Removal::Stop | Removal::Kill => Ok(()),
    }
}
