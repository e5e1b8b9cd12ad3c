//! Drains and drifts: several instances that change their node, a few at a time.
//!
//! Called by the handle and, for a drain that a restart of lain interrupted, by the node's actor. Progress is
//! soft; that a node is being drained is in its record.

use crate::actors::agent::crash::new_id;
use crate::actors::control::instance::{Instance, MoveAway};
use crate::actors::control::paths;
use crate::actors::control::relocate::{self, Cause};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::view::{MovedView, MovesView};
use crate::ports::control::DriftRequest;
use futures_util::future::join_all;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Drains and drifts whose outcome is remembered.
const KEPT: usize = 100;

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

/// Begins to move what runs on a node away: at most `unavailable` instances of a proc at a time.
pub fn drain(shared: &Arc<Shared>, name: &NodeName, unavailable: u32) -> MovesView {
    let text = format!("node {name} is being drained");
    let event = Event::new("node_draining", Level::Info, text);
    shared.hub.emit(event.node(name));
    let placed = shared.world.placements_on(name);
    let view = shared.moves.begin("drain", placed.len());
    let mut by_proc: BTreeMap<(String, String), Vec<InstanceId>> = BTreeMap::new();
    for placement in placed {
        let id = placement.instance;
        let key = (id.app.to_string(), id.full_name());
        by_proc.entry(key).or_default().push(id);
    }
    let at_once = usize::try_from(unavailable.max(1)).unwrap_or(1);
    let (shared, id, name) = (Arc::clone(shared), view.id.clone(), name.clone());
    actix_rt::spawn(async move {
        let procs = by_proc.into_values().map(|ids| {
            let (shared, moves) = (&shared, &id);
            async move {
                for batch in ids.chunks(at_once) {
                    let moving = batch
                        .iter()
                        .map(|i| move_one(shared, moves, i, Cause::Drain));
                    join_all(moving).await;
                }
            }
        });
        join_all(procs).await;
        shared.moves.change(&id, |m| m.done = true);
        let left = shared
            .moves
            .get(&id)
            .map_or(0, |m| m.moved.iter().filter(|m| m.error.is_some()).count());
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
            move_one(&shared, &id, &placement.instance, cause).await;
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
    let actor = shared.actor::<Instance>(&paths::instance(id));
    match actor.send(MoveAway(cause)).await {
        Ok(outcome) => outcome.map_err(|failure| failure.reason),
        Err(error) => Err(error.to_string()),
    }
}

async fn move_one(shared: &Arc<Shared>, moves: &str, id: &InstanceId, cause: Cause) {
    let from = shared.world.placement(id).map(|p| p.node);
    let outcome = move_instance(shared, id, cause).await;
    let to = shared.world.placement(id).map(|p| p.node);
    let moved = MovedView {
        instance: id.to_string(),
        from: from.map(|n| n.to_string()).unwrap_or_default(),
        to: to.map(|n| n.to_string()).unwrap_or_default(),
        error: outcome.err(),
    };
    shared.moves.change(moves, |m| m.moved.push(moved));
}
