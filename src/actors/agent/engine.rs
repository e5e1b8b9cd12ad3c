//! `nodes/node/<name>/engine`: the container engine, as this node sees it.
//!
//! First child of the node. Knows whether the engine answers, passes its events on, and at intervals
//! compares what runs with what is to run: the truth of last resort. Its crash restarts the actors of the
//! node, never a container.

use crate::actors::agent::process::{Check, Process};
use crate::actors::agent::{logs, paths};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::{EngineState, Shared};
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::ports::runtime::{ContainerStatus, EngineEvent, RuntimeError};
use actix::prelude::*;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often an engine that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How often an engine that answers is asked whether it still does.
const ASK: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Compare what runs with what is to run, now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconcile;

/// The actor.
pub struct Engine {
    shared: Arc<Shared>,
}

impl Actor for Engine {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { ask_for_ever(&shared).await }.into_actor(self));
        let events = self.shared.runtime.events(self.shared.owner_labels());
        ctx.spawn(
            events
                .into_actor(self)
                .map(|event, actor, ctx| actor.event(event, ctx))
                .finish(),
        );
        ctx.run_interval(self.shared.settings.reconcile_every, |_, ctx| {
            ctx.notify(Reconcile)
        });
    }
}

impl Child for Engine {
    type Args = Arc<Shared>;

    /// Asks the engine once, and lists what runs, so that adoption asks nothing more. An engine that does
    /// not answer is no reason not to start.
    async fn init(shared: Arc<Shared>, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        ask(&shared).await;
        if let Ok(found) = shared.runtime.list(&shared.owner_labels()).await {
            // Before anything is started: what is left over from a change that was cut off holds host ports.
            // Desired state is loaded whole by now.
            if let Some(pipeline) = shared.pipeline() {
                // What was removed while lain was away.
                let there: Vec<String> = found.iter().map(|c| c.id.to_string()).collect();
                pipeline.retain(&there);
            }
            let (wanted, orphans) = found.into_iter().partition(|c| is_wanted(&shared, c));
            shared.node.set_found(wanted);
            let removals = Vec::from_iter(orphans)
                .into_iter()
                .map(|o| remove_orphan(&shared, o));
            join_all(removals).await;
        }
        Ok(Init::Ready(Self { shared }))
    }
}

impl Engine {
    fn event(&mut self, event: EngineEvent, ctx: &mut Context<Self>) {
        match event {
            // Starts are mostly our own, and never call for action.
            EngineEvent::Changed { action, .. }
                if matches!(action.as_str(), "create" | "start") => {}
            EngineEvent::Died { id } | EngineEvent::Changed { id, .. } => {
                if let Some(cell) = self.shared.node.by_engine_id(&id) {
                    check(&self.shared, cell.name());
                }
            }
            EngineEvent::Resynchronise => ctx.notify(Reconcile),
        }
    }
}

fn check(shared: &Shared, name: &str) {
    shared.tell::<Process, _>(&paths::process(shared, name), Check);
}

impl Handler<Reconcile> for Engine {
    type Result = ();
    fn handle(&mut self, _: Reconcile, ctx: &mut Self::Context) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { reconcile(&shared).await }.into_actor(self));
    }
}

/// Compares the engine's containers with the cells: deaths that went unnoticed are checked; containers that
/// nobody wants any more are removed, once all that is wanted is known.
pub async fn reconcile(shared: &Arc<Shared>) {
    let listed = match shared.runtime.list(&shared.owner_labels()).await {
        Ok(listed) => listed,
        Err(error) => {
            note_trouble(shared, &error);
            return;
        }
    };
    let by_name: HashMap<&str, &ContainerStatus> =
        listed.iter().map(|c| (c.name.as_str(), c)).collect();
    for cell in shared.node.all() {
        use crate::ports::runtime::ContainerState::Running;
        let status = by_name.get(cell.name());
        let as_seen = status.is_some_and(|s| s.state == Running);
        if !as_seen && cell.look(crate::actors::agent::cell::Observed::is_alive) {
            check(shared, cell.name());
        }
    }
    if shared.is_settled() {
        for orphan in listed.into_iter().filter(|c| !is_wanted(shared, c)) {
            remove_orphan(shared, orphan).await;
        }
    }
}

/// Whether a container has a cell, or belongs to an instance that operators stopped in place.
fn is_wanted(shared: &Shared, status: &ContainerStatus) -> bool {
    if shared.node.get(&status.name).is_some() || shared.assigned.is_known(&status.name) {
        return true;
    }
    shared
        .world
        .all_placements()
        .iter()
        .any(|p| crate::actors::control::render::name_of(p) == status.name)
}

async fn remove_orphan(shared: &Arc<Shared>, orphan: ContainerStatus) {
    // A cell may have been made since the list was taken.
    if is_wanted(shared, &orphan) {
        return;
    }
    let outcome = logs::remove(shared, &orphan.id).await;
    let (level, text) = match outcome {
        Ok(()) => (
            Level::Info,
            format!(
                "container {} is no longer wanted and was removed",
                orphan.name
            ),
        ),
        Err(error) => (
            Level::Warn,
            format!(
                "container {} is no longer wanted, but: {error}",
                orphan.name
            ),
        ),
    };
    shared
        .hub
        .emit(Event::new("orphan_removed", level, text).node(&shared.settings.node));
}

fn note_trouble(shared: &Shared, error: &RuntimeError) {
    match error {
        RuntimeError::Unreachable { .. } => shared.engine_lost(error),
        other => tracing::warn!(error = %other, "the engine's containers could not be listed"),
    }
}

async fn ask_for_ever(shared: &Arc<Shared>) {
    let mut state = shared.engine.subscribe();
    // What was known before this incarnation has been announced by it.
    let mut announced = !matches!(*state.borrow_and_update(), EngineState::Down(_));
    loop {
        let up = matches!(*state.borrow_and_update(), EngineState::Up(_));
        if up != announced {
            announced = up;
            announce(shared);
            if up {
                reconcile(shared).await;
            }
        }
        let pause = if up { ASK } else { ASK_AGAIN };
        // A call that finds no engine wakes this before the pause is over.
        let _ = tokio::time::timeout(pause, state.changed()).await;
        ask(shared).await;
    }
}

async fn ask(shared: &Shared) {
    let state = match tokio::time::timeout(ANSWER_WITHIN, shared.runtime.info()).await {
        Ok(Ok(info)) => EngineState::Up(info),
        Ok(Err(error)) => EngineState::Down(error.to_string()),
        Err(_) => EngineState::Down(format!("no answer within {}s", ANSWER_WITHIN.as_secs())),
    };
    shared.engine.send_if_modified(|now| {
        let changed = *now != state;
        *now = state;
        changed
    });
}

fn announce(shared: &Shared) {
    let event = match &*shared.engine.borrow() {
        EngineState::Up(info) => Event::new(
            "engine_up",
            Level::Info,
            format!("{} answers at {}", info.version, info.endpoint),
        ),
        EngineState::Down(reason) => Event::new(
            "engine_down",
            Level::Error,
            format!("the container engine is away: {reason}"),
        ),
        EngineState::Unknown => return,
    };
    shared.hub.emit(event.node(&shared.settings.node));
}
