//! An instance changes its node: because that is lost, gave up on it, is being drained, or an operator says so.
//!
//! Called by `instance`. Each step is durable before it is acted on, and may be repeated. LAIN's drift count
//! goes up by one at each change, so that the old container and the new one never share a name.

use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::agent::node;
use crate::actors::agent::put_away::Removal;
use crate::actors::control::carry::{self, Failure};
use crate::actors::control::draining::retire_all;
use crate::actors::control::evict::{Eviction, evict};
use crate::actors::control::nodes::table::{Node, Presence};
use crate::actors::control::{placing, render};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::node_state::escalate::{self, Case, FailureKind, Remedy};
use crate::domain::placement::NodeState;
use crate::domain::plan::Step;
use crate::domain::record::{AppRecord, Placement};
use crate::domain::view::PlanAction;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Why an instance moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its node's lease has ended.
    NodeLost,
    /// Its node could not keep it alive: why.
    GaveUp(String),
    /// Its node is being emptied.
    Drain,
    /// Its place went to one of a higher priority.
    Evicted,
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
            Cause::Evicted => "its place went to one of a higher priority".to_owned(),
            Cause::Even(_, why) => why.clone(),
            Cause::Operator(_) => "an operator asked for it".to_owned(),
        }
    }
}

/// How patient lain is with instances that fail.
pub fn patience(shared: &Shared) -> escalate::Settings {
    escalate::Settings {
        retry: shared.settings.degraded_retry,
        max_retry: shared.settings.degraded_retry_max,
        ..escalate::Settings::default()
    }
}

/// What is done about an instance that its node gave up on. A step in progress is told of its failure by itself,
/// and its rollout goes back where there is something to go back to.
pub fn remedy(shared: &Shared, id: &InstanceId, fault: FailureKind) -> Remedy {
    let placement = shared.world.placement(id);
    let app = shared.world.app(&id.app);
    let (failed_on, here, retries) = match &placement {
        Some(p) => (p.failed_on.as_slice(), Some(&p.node), p.gave_up),
        None => (&[][..], None, 0),
    };
    let elsewhere = failed_on.iter().filter(|(node, _)| Some(node) != here);
    let nodes = shared.nodes.all();
    let fresh = nodes.iter().filter(|n| {
        n.state() == NodeState::Ready
            && Some(&n.name) != here
            && failed_on.iter().all(|(node, _)| node != &n.name)
    });
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let case = Case {
        failures_here: 1,
        nodes_failed: count(elsewhere.count()) + 1,
        fresh_nodes: count(fresh.count()),
        bound: app.is_some_and(|a| is_bound(&a.record, id)),
        rolling_out: false,
        kind: fault,
        retries,
    };
    escalate::escalate(&case, &patience(shared))
}

/// Whether an instance stays on its node whatever happens: what it wrote is there.
pub fn is_bound(record: &AppRecord, id: &InstanceId) -> bool {
    record
        .declared(&id.proc)
        .is_some_and(|p| p.stateful || !p.volumes.is_empty())
}

fn is_exclusive(record: &AppRecord, id: &InstanceId) -> bool {
    record.declared(&id.proc).is_some_and(|p| p.exclusive)
}

/// Whether an instance's node is lost, gone from the cluster, or has no place for it any more.
pub fn is_homeless(shared: &Shared, placement: &Placement) -> bool {
    if placement.evicted {
        return true;
    }
    let id = &placement.instance;
    let app = shared.world.app(&id.app);
    let exclusive = app.is_some_and(|a| is_exclusive(&a.record, id));
    let node = shared.nodes.get(&placement.node);
    node.is_none_or(|n| n.is_left(exclusive))
}

/// Whether an instance is placed, and [homeless](is_homeless).
pub fn has_no_place(shared: &Shared, id: &InstanceId) -> bool {
    let placement = shared.world.placement(id);
    placement.is_some_and(|p| is_homeless(shared, &p))
}

/// Why an instance that is homeless is so.
pub fn why_homeless(shared: &Shared, id: &InstanceId) -> Cause {
    match shared.world.placement(id) {
        Some(placement) if placement.evicted => Cause::Evicted,
        _ => Cause::NodeLost,
    }
}

/// As [`rehome`], once nobody else is putting containers of the instance on nodes.
///
/// # Errors
/// As [`rehome`].
pub async fn rehome_in_turn(
    shared: &Arc<Shared>,
    id: &InstanceId,
    cause: &Cause,
    turn: Arc<tokio::sync::Mutex<()>>,
) -> Result<Placement, String> {
    let _turn = turn.lock_owned().await;
    match shared.world.placement(id) {
        // A move that was in progress has put it elsewhere meanwhile.
        Some(now) if *cause == Cause::NodeLost && !is_homeless(shared, &now) => {
            Ok(Arc::unwrap_or_clone(now))
        }
        _ => rehome(shared, id, cause).await,
    }
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
    let exclusive = is_exclusive(&record, id);
    if exclusive && *cause == Cause::Evicted {
        // As in a move, see `move_stopped`; it has lost its place already.
        let gone = retire_all(shared, &shared.node.of(id), Removal::Remove).await;
        gone.map_err(|f| f.reason)?;
    }
    let turn = shared.placing.lock().await;
    let (target, evictions) = choose(shared, &record, &before, cause)?;
    let after = moved(shared, &record, &before, &target, cause)?;
    carry::commit(shared, &after).await.map_err(|f| f.reason)?;
    evict(shared, &evictions).await?;
    drop(turn);
    announce(shared, &before, &after, cause);
    for cell in shared.node.of(id) {
        if cell.node() != &before.node {
            continue;
        }
        if exclusive {
            // The node may have come back meanwhile: then it is waited for until it has let go.
            let retired = node::retire(shared, &cell, Removal::Remove).await;
            retired.map_err(|e| e.to_string())?;
        } else {
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
    let (target, evictions) = choose(shared, &record, &before, cause)?;
    if is_exclusive(&record, id) || is_bound(&record, id) {
        // There is a place: it is not stopped for nothing. Which one is chosen once it has ended.
        drop(turn);
        return move_stopped(shared, &record, &before, cause).await;
    }
    let after = moved(shared, &record, &before, &target, cause)?;
    evict(shared, &evictions).await?;
    let assignment = carry::assignment(shared, &record, &after, false)?;
    let cell = node::assign(shared, assignment).await?;
    drop(turn);
    carry::make_count(shared, &cell, &after, steady_or_lost(&cell, &target)).await?;
    announce(shared, &before, &after, cause);
    retire_others(shared, id, &after).await
}

/// Moves what may run only once: it has ended before it is noted that it is elsewhere, so that a control host that
/// starts anew in between finds it where it was, and not in two places.
async fn move_stopped(
    shared: &Arc<Shared>,
    record: &AppRecord,
    before: &Placement,
    cause: &Cause,
) -> Result<(), Failure> {
    retire_all(shared, &shared.node.of(&before.instance), Removal::Remove).await?;
    let placed = async {
        let _turn = shared.placing.lock().await;
        // Other places may be free than when it was decided to move.
        let (target, evictions) = choose(shared, record, before, cause)?;
        let after = moved(shared, record, before, &target, cause)?;
        evict(shared, &evictions).await?;
        carry::commit(shared, &after).await?;
        Ok::<_, Failure>((target, after))
    };
    let (target, after) = match placed.await {
        Ok(placed) => placed,
        Err(failure) => {
            // Back to where it was.
            let assignment = carry::assignment(shared, record, before, false)?;
            node::assign(shared, assignment).await?;
            return Err(failure);
        }
    };
    let assignment = carry::assignment(shared, record, &after, false)?;
    let cell = node::assign(shared, assignment).await?;
    announce(shared, before, &after, cause);
    steady_or_lost(&cell, &target).await
}

/// As [`carry::wait_steady`], but a node that is lost is not waited for.
async fn steady_or_lost(cell: &ContainerCell, node: &Node) -> Result<(), Failure> {
    let lost = async {
        let mut changed = node.subscribe();
        while node.presence() != Presence::Down && changed.changed().await.is_ok() {}
    };
    tokio::select! {
        biased;
        steady = carry::wait_steady(cell, Duration::ZERO) => steady,
        () = lost => Err(Failure::from(format!("node {} was lost meanwhile", node.name))),
    }
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
) -> Result<(Arc<Node>, Vec<Eviction>), String> {
    if let Cause::Operator(Some(name)) | Cause::Even(name, _) = cause {
        let node = shared
            .nodes
            .get(name)
            .ok_or_else(|| format!("node {name} does not exist; see `lain node list`"))?;
        if node.presence() != Presence::Up {
            return Err(format!("node {name} is not ready; see `lain node list`"));
        }
        return Ok((node, Vec::new()));
    }
    match cause {
        Cause::NodeLost => placing::place_lost(shared, record, before),
        _ => placing::place_again(shared, record, before),
    }
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
        generation: carry::next_generation(shared, before.generation),
        unplaced: None,
        evicted: false,
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
pub async fn give_up(shared: &Arc<Shared>, cell: &Arc<ContainerCell>) {
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
        Cause::NodeLost | Cause::GaveUp(_) | Cause::Evicted => Level::Warn,
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
