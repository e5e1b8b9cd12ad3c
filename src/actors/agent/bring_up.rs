//! From an assignment to a running container: adopt what runs, start what exists, make what is missing.
//!
//! Called by the `process` actor at each of its starts. Idempotent: cancelled or repeated at any point it
//! finds what it made before.

use crate::actors::agent::cell::{ContainerCell, Observed, Phase};
use crate::actors::agent::logs;
use crate::actors::shared::Shared;
use crate::domain::crash::Exit;
use crate::domain::id::ContainerId;
use crate::domain::labels;
use crate::domain::spec::model::RestartPolicy;
use crate::domain::view::InstanceRole;
use crate::ports::runtime::{ContainerState, RuntimeError, Started};
use std::sync::Arc;

/// What was found or made.
#[derive(Debug)]
pub enum Up {
    /// It runs; `adopted` if it did already.
    Running {
        /// The engine's id.
        id: ContainerId,
        /// What the engine says of the start.
        started: Started,
        /// It ran before: nothing was started.
        adopted: bool,
        /// It is frozen.
        frozen: bool,
    },
    /// It ended while nobody looked, and is not to run again.
    Finished(ContainerId, Exit),
}

/// Brings the container up. Waits as long as the engine does not answer.
///
/// # Errors
/// What the engine refused; never [`RuntimeError::Unreachable`].
pub async fn bring_up(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    first: bool,
) -> Result<Up, RuntimeError> {
    loop {
        // What may run only once does not begin while the control host cannot be heard.
        while cell.assignment.exclusive && !shared.may_run_exclusive() {
            cell.change(|o| o.phase = Phase::Pending("the control host to be heard".to_owned()));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        // Nor while another container of it runs here: a control host that started anew may not know of that one yet,
        // and has it put away once it does.
        while cell.assignment.exclusive && another_runs(shared, cell) {
            cell.change(|o| o.phase = Phase::Pending("the container before it to end".to_owned()));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        if !matches!(
            *shared.engine.borrow(),
            crate::actors::shared::EngineState::Up(_)
        ) {
            cell.change(|o| o.phase = Phase::Pending("the container engine to answer".to_owned()));
            shared.engine_up().await;
        }
        match attempt(shared, cell, first).await {
            Err(error @ RuntimeError::Unreachable { .. }) => {
                shared.engine_lost(&error);
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Whether another container of the same instance is alive on this node.
fn another_runs(shared: &Shared, cell: &ContainerCell) -> bool {
    let mine = shared.node.of(cell.instance());
    let runs = |o: &Observed| o.is_alive() || matches!(o.phase, Phase::Starting(_));
    mine.iter().any(|c| c.name() != cell.name() && c.look(runs))
}

async fn attempt(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    first: bool,
) -> Result<Up, RuntimeError> {
    let known = cell.look(|o| o.id.clone());
    // A restart in place starts the container that has just ended: no question asked before.
    if let (Some(id), false) = (&known, first) {
        return match start(shared, cell, id).await {
            Err(RuntimeError::NoContainer(_)) => {
                cell.note(|o| o.id = None);
                make(shared, cell).await
            }
            outcome => outcome,
        };
    }
    match known {
        Some(id) => match adopt(shared, cell, &id).await {
            Err(RuntimeError::NoContainer(_)) => {
                cell.note(|o| o.id = None);
                make(shared, cell).await
            }
            outcome => outcome,
        },
        None => make(shared, cell).await,
    }
}

async fn adopt(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    id: &ContainerId,
) -> Result<Up, RuntimeError> {
    let status = shared.runtime.inspect(id).await?;
    let running = |frozen| Up::Running {
        id: id.clone(),
        started: Started {
            pid: status.pid,
            ip: status.ip,
            at: status.started_at.unwrap_or_else(|| shared.clock.now_utc()),
        },
        adopted: true,
        frozen,
    };
    match status.state {
        ContainerState::Running => Ok(running(false)),
        ContainerState::Paused if cell.look(|o| o.role) == InstanceRole::Spare => Ok(running(true)),
        ContainerState::Paused => {
            shared.runtime.unpause(id).await?;
            Ok(running(false))
        }
        ContainerState::Exited(exit) if is_last(cell, &exit) && !cell.assignment.fresh => {
            Ok(Up::Finished(id.clone(), exit))
        }
        ContainerState::Exited(_) | ContainerState::Created => start(shared, cell, id).await,
    }
}

/// Whether no restart follows such an exit: OTP's restart types.
pub fn is_last(cell: &ContainerCell, exit: &Exit) -> bool {
    match cell.assignment.restart.policy {
        RestartPolicy::Permanent => false,
        RestartPolicy::Transient => exit.is_clean(),
        RestartPolicy::Temporary => true,
    }
}

async fn start(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    id: &ContainerId,
) -> Result<Up, RuntimeError> {
    cell.change(|o| o.phase = Phase::Starting("starting the container".to_owned()));
    let _turn = shared.starts.acquire().await;
    let started = shared.runtime.start(id).await?;
    Ok(Up::Running {
        id: id.clone(),
        started,
        adopted: false,
        frozen: false,
    })
}

async fn make(shared: &Arc<Shared>, cell: &Arc<ContainerCell>) -> Result<Up, RuntimeError> {
    let spec = &cell.assignment.container;
    cell.change(|o| o.phase = Phase::Starting("looking for the image".to_owned()));
    let watcher = Arc::clone(cell);
    let progress = Box::new(move |p: crate::ports::runtime::PullProgress| {
        watcher.change(|o| o.phase = Phase::Starting(format!("pulling the image: {}", p.status)));
    });
    let _turn = shared.starts.acquire().await;
    shared.runtime.ensure_image(&spec.image, progress).await?;
    cell.change(|o| o.phase = Phase::Starting("making the container".to_owned()));
    let id = match shared.runtime.create(spec).await {
        Err(RuntimeError::NameTaken(name)) => made_before(shared, cell, name).await?,
        outcome => outcome?,
    };
    cell.note(|o| o.id = Some(id.clone()));
    cell.change(|o| o.phase = Phase::Starting("starting the container".to_owned()));
    let started = shared.runtime.start(&id).await?;
    Ok(Up::Running {
        id,
        started,
        adopted: false,
        frozen: false,
    })
}

/// A container of our name exists: ours from before (cut off between making and noting), or a stranger's.
async fn made_before(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    name: String,
) -> Result<ContainerId, RuntimeError> {
    let hash = cell.assignment.container.labels.get(labels::SPEC_HASH);
    let ours = shared.runtime.list(&shared.owner_labels()).await?;
    let Some(existing) = ours.into_iter().find(|c| c.name == name) else {
        return Err(RuntimeError::Refused {
            action: format!("make container {name}"),
            reason: "a container of that name exists and is not this lain's; remove or rename it"
                .to_owned(),
        });
    };
    let made_from = existing.labels.get(labels::SPEC_HASH);
    if made_from.map(String::as_str) == hash.map(|h| h.as_str()) {
        return Ok(existing.id);
    }
    logs::remove(shared, &existing.id).await?;
    shared.runtime.create(&cell.assignment.container).await
}
