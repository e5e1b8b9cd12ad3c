//! What the control host's actors ask of a node: run this container, put that one away.
//!
//! On a node in this process these are calls on its supervision tree; on another host they change what is
//! desired there (`control::nodes::remote`), and its agent makes the same calls. All of them are idempotent.

use crate::actors::agent::cell::{Assignment, ContainerCell, Phase};
use crate::actors::agent::process::{Process, Promoted, RestartInPlace, Retire, Settle};
use crate::actors::agent::put_away::{Removal, put_away};
use crate::actors::agent::{container, paths};
use crate::actors::control::nodes::remote;
use crate::actors::shared::Shared;
use crate::actors::supervise::CallError;
use crate::domain::view::InstanceRole;
use crate::ports::runtime::{Resources, RuntimeError};
use std::sync::Arc;

/// Runs a container: makes, starts or adopts it, and keeps it alive from then on. One that is assigned
/// already stays as it is.
///
/// # Errors
/// A sentence when the node's tree cannot take it, which is lain's own fault and passes.
pub async fn assign(
    shared: &Arc<Shared>,
    assignment: impl Into<Arc<Assignment>>,
) -> Result<Arc<ContainerCell>, String> {
    let assignment = assignment.into();
    if let Some(node) = remote::node_of(shared, &assignment.node) {
        return Ok(remote::assign(shared, &node, assignment));
    }
    let name = assignment.container.name.clone();
    // One at a time: whoever asks second for the same container finds the first one's cell and actors.
    let _turn = shared.node.assigning.lock().await;
    let containers = shared.supervisor(&paths::containers(shared));
    let existing = shared.node.get(&name);
    if let Some(cell) = &existing
        && !cell.look(|o| {
            matches!(
                o.phase,
                Phase::GaveUp(_) | Phase::Finished(_) | Phase::Stopped
            )
        })
        && shared
            .tree()
            .whereis(&paths::container(shared, &name))
            .is_some()
    {
        return Ok(Arc::clone(cell));
    }
    // What is known of the container outlives its supervisor: the engine's id makes the next start quick.
    let known = match &existing {
        Some(cell) => cell.look(|o| o.id.clone()),
        None => shared.node.take_found(&name).map(|c| c.id),
    };
    let cell = ContainerCell::new(assignment, known, shared.poke());
    if let Some(existing) = existing {
        let before = existing.seen();
        cell.note(|o| (o.last_crash, o.last_exit) = (before.last_crash, before.last_exit));
    }
    shared.node.insert(Arc::clone(&cell));
    match containers.start_child(container::spec(shared, &cell)).await {
        Ok(_) | Err(CallError::AlreadyStarted(_)) => Ok(cell),
        Err(error) => Err(format!(
            "node {} cannot take {name}: {error}",
            shared.settings.node
        )),
    }
}

/// Stops a container in good order, and removes it or keeps it for a start in place; then ends its actors.
///
/// # Errors
/// What the engine refused.
pub async fn retire(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    removal: Removal,
) -> Result<(), RuntimeError> {
    if let Some(node) = remote::node_of(shared, cell.node()) {
        return remote::retire(shared, &node, cell, removal).await;
    }
    let process = shared.actor::<Process>(&paths::process(shared, cell.name()));
    if let Ok(outcome) = process.send(Retire(removal)).await {
        outcome?;
    } else {
        // No actor, or it went down meanwhile: what it would have done is done here.
        put_away(shared, cell, removal).await?;
    }
    drop_actors(shared, cell).await;
    if removal == Removal::Remove {
        shared.node.remove(cell.name());
    }
    Ok(())
}

/// Ends the actors of a container and leaves the container alone.
pub async fn drop_actors(shared: &Arc<Shared>, cell: &Arc<ContainerCell>) {
    let containers = shared.supervisor(&paths::containers(shared));
    // Temporary: terminated is forgotten. One that is gone already is no error.
    if let Err(error) = containers
        .terminate_child(paths::container_id(cell.name()))
        .await
        && error != CallError::NotFound
    {
        tracing::debug!(container = cell.name(), %error, "container supervisor could not be ended");
    }
}

/// Stops and starts a container in place, which is no crash.
pub fn restart(shared: &Shared, cell: &ContainerCell, why: &str) {
    if let Some(node) = remote::node_of(shared, cell.node()) {
        remote::restart(shared, &node, cell);
        return;
    }
    shared.tell::<Process, _>(
        &paths::process(shared, cell.name()),
        RestartInPlace(why.to_owned()),
    );
}

/// Changes CPU and memory in place.
///
/// # Errors
/// What the engine refused.
pub async fn update(
    shared: &Shared,
    cell: &ContainerCell,
    resources: Resources,
) -> Result<(), RuntimeError> {
    if let Some(node) = remote::node_of(shared, cell.node()) {
        remote::update(&node, cell, resources);
        return Ok(());
    }
    if let Some(id) = cell.look(|o| o.id.clone()) {
        shared.runtime.update(&id, resources).await?;
    }
    cell.note(|o| o.resources = resources);
    Ok(())
}

/// Makes an instance active or a spare, as a scale has it.
pub fn set_role(shared: &Shared, cell: &ContainerCell, role: InstanceRole) {
    if let Some(node) = remote::node_of(shared, cell.node()) {
        remote::set_role(&node, cell, role);
        return;
    }
    cell.change(|o| o.role = role);
    let message = match role {
        InstanceRole::Active => {
            shared.tell::<Process, _>(&paths::process(shared, cell.name()), Promoted);
            return;
        }
        InstanceRole::Spare => Settle,
    };
    shared.tell::<Process, _>(&paths::process(shared, cell.name()), message);
}
