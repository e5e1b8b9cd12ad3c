//! Drains and drifts: several instances that change their node, a few at a time.
//!
//! Called by the handle and, for a drain that a restart of lain interrupted, by the node's actor. Progress is
//! soft; that a node is being drained is in its record.

use crate::actors::agent::crash::new_id;
use crate::actors::control::instance::{Instance, MoveAway};
use crate::actors::control::relocate::{self, Cause};
use crate::actors::control::{paths, placing};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::placement::Stay;
use crate::domain::view::{MovedView, MovesView};
use crate::ports::control::DriftRequest;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Drains and drifts whose outcome is remembered.
const KEPT: usize = 100;

/// How often it is looked at what may leave a node that is being drained.
const DRAIN_LOOK: Duration = Duration::from_millis(250);
/// A drain ends when nothing could be moved for this long.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// Drains and drifts, newest last.
#[derive(Default)]
pub struct Moves(Mutex<VecDeque<MovesView>>);

impl Moves {
    fn lock(&self) -> MutexGuard<'_, VecDeque<MovesView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<MovesView> {
        self.lock().iter().find(|m| m.id == id).cloned()
    }

    fn begin(&self, kind: &str, total: usize) -> MovesView {
        let view = MovesView {
            id: new_id(),
            kind: kind.to_owned(),
            total: u32::try_from(total).unwrap_or(u32::MAX),
            done: total == 0,
            moved: Vec::new(),
        };
        let mut all = self.lock();
        if all.len() == KEPT {
            all.pop_front();
        }
        all.push_back(view.clone());
        view
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut MovesView)) {
        if let Some(view) = self.lock().iter_mut().find(|m| m.id == id) {
            change(view);
        }
    }
}

/// Begins to move what runs on a node away: `domain::placement` says what may leave it now, so that at most
/// `unavailable` instances of a proc do not serve at a time, whatever the reason.
pub fn drain(shared: &Arc<Shared>, name: &NodeName, unavailable: u32) -> MovesView {
    let text = format!("node {name} is being drained");
    let event = Event::new("node_draining", Level::Info, text);
    shared.hub.emit(event.node(name));
    let placed = shared.world.placements_on(name);
    let view = shared.moves.begin("drain", placed.len());
    let (shared, id, name) = (Arc::clone(shared), view.id.clone(), name.clone());
    actix_rt::spawn(async move {
        let left = empty(&shared, &id, &name, unavailable).await;
        shared.moves.change(&id, |m| m.done = true);
        let (level, text) = match left {
            0 => (Level::Info, format!("node {name} is drained")),
            n => (
                Level::Warn,
                format!("{n} instances stay on node {name}; `lain why` says why"),
            ),
        };
        let event = Event::new("node_drained", level, text);
        shared.hub.emit(event.node(&name));
    });
    view
}

/// Moves what may be moved off a node until nothing is left, or nothing has moved for a while. Gives how many
/// instances stay.
async fn empty(shared: &Arc<Shared>, moves: &str, name: &NodeName, unavailable: u32) -> usize {
    let mut moving = FuturesUnordered::new();
    let mut failed: BTreeMap<InstanceId, String> = BTreeMap::new();
    let mut under_way: BTreeSet<InstanceId> = BTreeSet::new();
    let mut progress = shared.clock.monotonic();
    loop {
        let (next, stays) = may_leave(shared, name, unavailable, &failed);
        for id in next {
            if under_way.insert(id.clone()) {
                moving.push(async move {
                    let outcome = move_one(shared, moves, &id, Cause::Drain).await;
                    (id, outcome)
                });
            }
        }
        let waits = stays.iter().any(|(id, stay)| {
            !under_way.contains(id) && matches!(stay, Stay::Budget | Stay::Moving)
        });
        let patient = shared.clock.monotonic().saturating_sub(progress) < DRAIN_PATIENCE;
        if moving.is_empty() && !(waits && patient) {
            for (id, stay) in &stays {
                note_stay(shared, moves, id, stay.to_string());
            }
            return stays.len() + failed.len();
        }
        // Whatever changes elsewhere is looked for, too.
        let done = tokio::time::timeout(DRAIN_LOOK, moving.next()).await;
        if let Ok(Some((id, outcome))) = done {
            under_way.remove(&id);
            match outcome {
                Ok(()) => progress = shared.clock.monotonic(),
                Err(reason) => drop(failed.insert(id, reason)),
            }
        } else if done.is_ok() {
            // Nothing is under way: what stays waits for others.
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }
}

/// What may leave a node now, and why the rest stays. What could not be moved before is not tried again.
fn may_leave(
    shared: &Shared,
    name: &NodeName,
    unavailable: u32,
    failed: &BTreeMap<InstanceId, String>,
) -> (Vec<InstanceId>, Vec<(InstanceId, Stay)>) {
    if !shared.nodes.get(name).is_some_and(|n| n.record().draining) {
        // An operator has changed their mind.
        return (Vec::new(), Vec::new());
    }
    let mut cluster = placing::cluster(shared);
    for placed in cluster.on(name) {
        if failed.contains_key(&placed.demand.instance()) {
            cluster.remove(&placed.demand.copy());
        }
    }
    let drained = cluster.drain(name, unavailable);
    let next = drained.moves.into_iter().map(|m| m.from.instance);
    let stays = drained.stays.into_iter();
    (
        next.collect(),
        stays.map(|(copy, stay)| (copy.instance, stay)).collect(),
    )
}

fn note_stay(shared: &Shared, moves: &str, id: &InstanceId, reason: String) {
    let node = shared.world.placement(id).map(|p| p.node.to_string());
    let node = node.unwrap_or_default();
    let stayed = MovedView {
        instance: id.to_string(),
        from: node.clone(),
        to: node,
        error: Some(reason),
    };
    shared.moves.change(moves, |m| m.moved.push(stayed));
}

/// Begins to move instances, one after another.
pub fn drift(shared: &Arc<Shared>, request: DriftRequest) -> MovesView {
    let mut wanted = shared.world.all_placements();
    wanted.retain(|p| {
        request.from.as_ref().is_none_or(|n| &p.node == n)
            && request.to.as_ref() != Some(&p.node)
            && request.app.as_ref().is_none_or(|a| &p.instance.app == a)
            && request.proc.as_ref().is_none_or(|a| &p.instance.proc == a)
            && request.instance.is_none_or(|no| p.instance.no == no)
    });
    let view = shared.moves.begin("drift", wanted.len());
    let (shared, id) = (Arc::clone(shared), view.id.clone());
    actix_rt::spawn(async move {
        for placement in wanted {
            let cause = Cause::Operator(request.to.clone());
            // How it went is told in what was begun above.
            drop(move_one(&shared, &id, &placement.instance, cause).await);
        }
        shared.moves.change(&id, |m| m.done = true);
    });
    view
}

/// Moves one instance that serves.
///
/// # Errors
/// Why it stays where it is.
pub async fn move_instance(
    shared: &Arc<Shared>,
    id: &InstanceId,
    cause: Cause,
) -> Result<(), String> {
    let app = shared.world.app(&id.app);
    let bound = app.is_some_and(|a| relocate::is_bound(&a.record, id));
    if bound && !matches!(cause, Cause::Operator(_)) {
        return Err(
            "its data is on this node: move it with `lain drift` once that is safe".to_owned(),
        );
    }
    let idle = shared.world.placement(id).is_some_and(|p| {
        let app = shared.world.app(&id.app);
        !placing::is_to_run(app.as_ref().map(|a| &*a.record), &p)
    });
    if idle && matches!(cause, Cause::Drain) {
        // Nothing is to run: its place is another one from now on.
        return relocate::rehome(shared, id, &cause).await.map(drop);
    }
    let actor = shared.actor::<Instance>(&paths::instance(id));
    match actor.send(MoveAway(cause)).await {
        Ok(outcome) => outcome.map_err(|failure| failure.reason),
        Err(error) => Err(error.to_string()),
    }
}

async fn move_one(
    shared: &Arc<Shared>,
    moves: &str,
    id: &InstanceId,
    cause: Cause,
) -> Result<(), String> {
    let from = shared.world.placement(id).map(|p| p.node.clone());
    let outcome = move_instance(shared, id, cause).await;
    let to = shared.world.placement(id).map(|p| p.node.clone());
    let moved = MovedView {
        instance: id.to_string(),
        from: from.map(|n| n.to_string()).unwrap_or_default(),
        to: to.map(|n| n.to_string()).unwrap_or_default(),
        error: outcome.clone().err(),
    };
    shared.moves.change(moves, |m| m.moved.push(moved));
    outcome
}
