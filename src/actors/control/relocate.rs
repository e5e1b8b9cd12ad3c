//! An instance changes its node: because that is lost, gave up on it, is being drained, or an operator says so.
//!
//! Called by `instance`. Each step is durable before it is acted on, and may be repeated. LAIN's drift count
//! goes up by one at each change, so that the old container and the new one never share a name.

use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::agent::node;
use crate::actors::agent::put_away::Removal;
use crate::actors::control::carry::{self, Failure};
use crate::actors::control::draining::retire_all;
use crate::actors::control::nodes::table::{Node, Presence};
use crate::actors::control::{placing, render};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::plan::Step;
use crate::domain::record::{AppRecord, Placement};
use crate::domain::view::PlanAction;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Nodes on which an instance may fail before the app is held to be at fault, not the node.
pub const NODES_TRIED: usize = 3;

/// Why an instance moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its node's lease has ended.
    NodeLost,
    /// Its node could not keep it alive: why.
    GaveUp(String),
    /// Its node is being emptied.
    Drain,
    /// The cluster is more even with it on this node: how so.
    Even(NodeName, String),
    /// An operator wants it elsewhere; on this node if one is named.
    Operator(Option<NodeName>),
}

impl Cause {
    fn words(&self) -> String {
        match self {
            Cause::NodeLost => "its node is down".to_owned(),
            Cause::GaveUp(reason) => format!("its node gave up on it: {reason}"),
            Cause::Drain => "its node is being drained".to_owned(),
            Cause::Even(_, why) => why.clone(),
            Cause::Operator(_) => "an operator asked for it".to_owned(),
        }
    }
}

/// Whether an instance that its node gave up on is tried elsewhere, or the app is at fault. Pure.
///
/// `failed` counts the nodes that gave up on it, this one included; `others` those that might take it.
pub fn try_elsewhere(failed: usize, others: usize) -> bool {
    others > 0 && failed < NODES_TRIED
}

/// Whether an instance stays on its node whatever happens: what it wrote is there.
pub fn is_bound(record: &AppRecord, id: &InstanceId) -> bool {
    record
        .proc(&id.proc)
        .is_some_and(|p| p.stateful || !p.volumes.is_empty())
}

/// Chooses another node and makes the choice durable. The containers on the old one are given up: a node
/// that is lost puts them away when it is back. Gives the placement as it is now.
///
/// # Errors
/// A sentence with each node's reason when none takes it.
pub async fn rehome(
    shared: &Arc<Shared>,
    id: &InstanceId,
    cause: &Cause,
) -> Result<Placement, String> {
    let (record, before) = carry::desired(shared, id).map_err(|f| f.reason)?;
    let turn = shared.placing.lock().await;
    let target = choose(shared, &record, &before, cause)?;
    let after = moved(shared, &record, &before, &target, cause)?;
    carry::commit(shared, &after).await.map_err(|f| f.reason)?;
    drop(turn);
    announce(shared, &before, &after, cause);
    for cell in shared.node.of(id) {
        if cell.node() == &before.node {
            give_up(shared, &cell).await;
        }
    }
    Ok(after)
}

/// Moves an instance that serves: the new one is ready before the old one stops, unless it is bound to be
/// stopped first.
///
/// # Errors
/// Why it stays where it is.
pub async fn move_away(
    shared: &Arc<Shared>,
    id: &InstanceId,
    cause: &Cause,
) -> Result<(), Failure> {
    let (record, before) = carry::desired(shared, id)?;
    let turn = shared.placing.lock().await;
    let target = choose(shared, &record, &before, cause)?;
    let after = moved(shared, &record, &before, &target, cause)?;
    let exclusive = record.proc(&id.proc).is_some_and(|p| p.exclusive);
    if exclusive || is_bound(&record, id) {
        carry::commit(shared, &after).await?;
        drop(turn);
        retire_others(shared, id, &after).await?;
        let assignment = carry::assignment(shared, &record, &after, false)?;
        let cell = node::assign(shared, assignment).await?;
        announce(shared, &before, &after, cause);
        return carry::wait_steady(&cell, Duration::ZERO).await;
    }
    let assignment = carry::assignment(shared, &record, &after, false)?;
    let cell = node::assign(shared, assignment).await?;
    drop(turn);
    if let Err(failure) = carry::wait_steady(&cell, Duration::ZERO).await {
        // The old one still serves; the new one goes.
        let _ = node::retire(shared, &cell, Removal::Remove).await;
        return Err(failure);
    }
    carry::commit(shared, &after).await?;
    announce(shared, &before, &after, cause);
    retire_others(shared, id, &after).await
}

async fn retire_others(
    shared: &Arc<Shared>,
    id: &InstanceId,
    kept: &Placement,
) -> Result<(), Failure> {
    let name = render::name_of(kept);
    let mut others = shared.node.of(id);
    others.retain(|cell| cell.name() != name);
    retire_all(shared, &others, Removal::Remove).await
}

fn choose(
    shared: &Shared,
    record: &AppRecord,
    before: &Placement,
    cause: &Cause,
) -> Result<Arc<Node>, String> {
    if let Cause::Operator(Some(name)) | Cause::Even(name, _) = cause {
        let node = shared
            .nodes
            .get(name)
            .ok_or_else(|| format!("node {name} does not exist; see `lain node list`"))?;
        if node.presence() != Presence::Up {
            return Err(format!("node {name} is not ready; see `lain node list`"));
        }
        return Ok(node);
    }
    placing::place_again(shared, record, before)
}

/// The placement on another node.
fn moved(
    shared: &Shared,
    record: &AppRecord,
    before: &Placement,
    target: &Node,
    cause: &Cause,
) -> Result<Placement, String> {
    let id = &before.instance;
    let proc = record
        .proc(&id.proc)
        .ok_or_else(|| format!("proc {} is gone", id.proc))?;
    let fresh = carry::allocate(shared, target, id, &proc, &HashSet::new())?;
    let mut after = Placement {
        node: target.name.clone(),
        ports: fresh.ports,
        drift: before.drift + 1,
        unplaced: None,
        ..before.clone()
    };
    if let Cause::GaveUp(_) = cause {
        match after.failed_on.iter_mut().find(|f| f.0 == before.node) {
            Some((_, times)) => *times += 1,
            None => after.failed_on.push((before.node.clone(), 1)),
        }
    }
    Ok(after)
}

/// A container that nobody waits for: it goes when its node hears of it.
async fn give_up(shared: &Arc<Shared>, cell: &Arc<ContainerCell>) {
    let node = shared.nodes.get(cell.node()).filter(|n| !n.local);
    match node {
        Some(node) => {
            node.undesire(cell.name());
            cell.change(|o| o.phase = Phase::Stopped);
            shared.node.remove(cell.name());
        }
        None => {
            if let Err(error) = node::retire(shared, cell, Removal::Remove).await {
                tracing::warn!(container = cell.name(), %error, "container could not be put away");
            }
        }
    }
}

fn announce(shared: &Shared, before: &Placement, after: &Placement, cause: &Cause) {
    let text = format!(
        "{} moves from node {} to {}: {}",
        after.instance,
        before.node,
        after.node,
        cause.words()
    );
    let level = match cause {
        Cause::NodeLost | Cause::GaveUp(_) => Level::Warn,
        Cause::Drain | Cause::Even(..) | Cause::Operator(_) => Level::Info,
    };
    let mut event = Event::new("instance_moved", level, text)
        .instance(&after.instance)
        .node(&after.node);
    if let Some(crash) = &after.last_crash {
        event = event.crash(crash);
    }
    shared.hub.emit(event);
}

/// Whether a step leads to something that runs.
pub fn needs_a_node(step: &Step) -> bool {
    match step.action {
        PlanAction::Create
        | PlanAction::Start
        | PlanAction::Recreate
        | PlanAction::Restart
        | PlanAction::UpdateInPlace => true,
        PlanAction::Stop | PlanAction::Delete => false,
    }
}

/// The pause before attempt `times`: doubles from `first` up to `most`.
pub fn retry_pause(times: u32, first: Duration, most: Duration) -> Duration {
    first
        .saturating_mul(
            1u32.checked_shl(times.saturating_sub(1))
                .unwrap_or(u32::MAX),
        )
        .min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_tried_on_some_nodes_before_the_app_is_held_to_be_at_fault() {
        for (failed, others, elsewhere) in [
            (1, 0, false),
            (1, 1, true),
            (2, 5, true),
            (3, 5, false),
            (4, 0, false),
        ] {
            assert_eq!(
                try_elsewhere(failed, others),
                elsewhere,
                "{failed} {others}"
            );
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = Duration::from_secs;
        for (times, pause) in [(0, 10), (1, 10), (2, 20), (3, 40), (6, 300), (40, 300)] {
            assert_eq!(
                retry_pause(times, seconds(10), seconds(300)),
                seconds(pause),
                "{times}"
            );
        }
    }
}
