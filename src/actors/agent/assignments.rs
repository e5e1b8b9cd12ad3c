//! `assignments` (agent only): makes this node what the control host wants it to be.
//!
//! First child of an agent's root, so that all that it assigned is known before the engine is looked at.
//! What was assigned is kept on disk: an agent that starts while the control host is away goes on with it.
//! Level-triggered: a change is compared with what was assigned before, and only the difference is carried
//! out, for each container in the order in which it changed.

use crate::actors::agent::put_away::Removal;
use crate::actors::agent::{cell::ContainerCell, node, paths};
use crate::actors::control::operation::encode;
use crate::actors::control::world::{decode, list_all};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::ports::agent::{Assignment, Desired, Task, Want, tasks};
use crate::ports::store::Change;
use actix::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Where assignments are kept.
const KEPT: &str = "assigned/";
/// How long what was dropped without a word runs on, for clients whose list of addresses is from the leader before.
const LINGER: Duration = Duration::from_secs(2);
/// The pause before a failed task is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Take up assignments; see [`crate::link::message::ToAgent::Assign`].
#[derive(Message)]
#[rtype(result = "()")]
pub struct Apply {
    /// The revision.
    pub revision: u64,
    /// Changed, or all.
    pub put: Vec<Desired>,
    /// Not wanted any more.
    pub gone: Vec<String>,
    /// `put` is all.
    pub all: bool,
    /// To be left alone.
    pub keep: Vec<String>,
}

/// Stop what may run only once: the control host may start it elsewhere soon. Undone by [`Unfence`].
#[derive(Message)]
#[rtype(result = "()")]
pub struct Fence;

/// The control host is there: what is still assigned may run.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Unfence;

/// The actor.
pub struct Assignments {
    shared: Arc<Shared>,
    /// Tasks of each container that are not done; the first one is at work.
    queues: HashMap<String, VecDeque<Task>>,
    /// What the control host has dropped while it did not speak to this node, and when it is removed.
    lingering: HashMap<String, (SpawnHandle, Desired)>,
    fenced: bool,
}

impl Actor for Assignments {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for desired in self.shared.assigned.all() {
            let name = desired.assignment.container.name.clone();
            if desired.want == Want::Run {
                self.enqueue(&name, tasks(None, Some(&desired)), ctx);
            }
        }
    }
}

impl Child for Assignments {
    type Args = Arc<Shared>;

    async fn init(shared: Arc<Shared>, birth: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        shared.set_tree(birth.tree());
        let kept = list_all(&*shared.store, KEPT)
            .await
            .map_err(ExitReason::error)?;
        let mut desired = Vec::with_capacity(kept.len());
        for entry in kept {
            desired.push(decode::<Desired>(&entry).map_err(ExitReason::error)?);
        }
        shared.assigned.load(desired);
        Ok(Init::Ready(Self {
            shared,
            queues: HashMap::new(),
            lingering: HashMap::new(),
            fenced: false,
        }))
    }
}

impl Assignments {
    fn enqueue(&mut self, name: &str, tasks: Vec<Task>, ctx: &mut Context<Self>) {
        if tasks.is_empty() {
            return;
        }
        let queue = self.queues.entry(name.to_owned()).or_default();
        let idle = queue.is_empty();
        if matches!(tasks.first(), Some(Task::Remove | Task::Stop | Task::Fence)) {
            // What was to be done before is pointless now; what is at work ends by itself.
            queue.truncate(1);
        }
        queue.extend(tasks);
        if idle {
            self.next(name.to_owned(), ctx);
        }
    }

    fn next(&mut self, name: String, ctx: &mut Context<Self>) {
        let Some(task) = self.queues.get(&name).and_then(|q| q.front().cloned()) else {
            self.queues.remove(&name);
            return;
        };
        let shared = Arc::clone(&self.shared);
        let of = name.clone();
        let work = async move {
            let outcome = carry_out(&shared, &of, task).await;
            if let Err(reason) = &outcome {
                tracing::warn!(container = of, reason, "an assignment is tried again");
                tokio::time::sleep(RETRY).await;
            }
            outcome.is_ok()
        };
        ctx.spawn(work.into_actor(self).map(move |done, actor, ctx| {
            if let Some(queue) = actor.queues.get_mut(&name) {
                // A newer task makes one that fails pointless.
                if done || queue.len() > 1 {
                    queue.pop_front();
                }
            }
            actor.next(name, ctx);
        }));
    }

    /// Takes up one difference. `all`: everything that is wanted was told anew, as after a change of the leader.
    fn take_up(
        &mut self,
        name: &str,
        before: Option<Desired>,
        now: Option<&Desired>,
        all: bool,
        ctx: &mut Context<Self>,
    ) {
        let lingered = self.lingering.remove(name).map(|(timer, was)| {
            ctx.cancel_future(timer);
            was
        });
        match (lingered, before, now) {
            // Wanted again as it still is.
            (Some(was), _, Some(now)) if was.assignment.container == now.assignment.container => {
                self.enqueue(name, tasks(Some(&was), Some(now)), ctx);
            }
            (Some(_), _, now) => {
                self.enqueue(name, vec![Task::Remove], ctx);
                self.enqueue(name, tasks(None, now), ctx);
            }
            (None, Some(was), None) if all && may_linger(&was) => {
                let of = name.to_owned();
                let timer = ctx.run_later(LINGER, move |actor, ctx| {
                    actor.lingering.remove(&of);
                    actor.enqueue(&of, vec![Task::Remove], ctx);
                });
                self.lingering.insert(name.to_owned(), (timer, was));
            }
            // Told to be gone and not known here: said to be gone all the same.
            (None, None, None) => self.enqueue(name, vec![Task::Remove], ctx),
            (None, before, now) => self.enqueue(name, tasks(before.as_ref(), now), ctx),
        }
    }

    fn exclusive(&self) -> Vec<Desired> {
        let mut all = self.shared.assigned.all();
        all.retain(|d| d.assignment.exclusive && d.want == Want::Run);
        all
    }
}

/// Whether a container may run on for a moment although it is not wanted any more: clients may not know that yet, as
/// nobody has drained it. What may run only once, or has data of its own, is stopped at once.
fn may_linger(desired: &Desired) -> bool {
    let assignment = &desired.assignment;
    let mounts = &assignment.container.mounts;
    desired.want == Want::Run
        && !assignment.exclusive
        && !assignment.container.ports.is_empty()
        && mounts.iter().all(|mount| mount.target == "/lain/logs")
}

async fn carry_out(shared: &Arc<Shared>, name: &str, task: Task) -> Result<(), String> {
    let cell = || shared.node.get(name);
    match task {
        Task::Run(assignment) => run(shared, assignment).await?,
        Task::Stop => {
            if let Some(cell) = cell() {
                put_away(shared, &cell, Removal::Stop).await?;
            }
        }
        Task::Fence => {
            if let Some(cell) = cell() {
                put_away(shared, &cell, Removal::Kill).await?;
            }
        }
        Task::Restart => {
            if let Some(cell) = cell() {
                node::restart(shared, &cell, "asked for by an operator");
            }
        }
        Task::Update(resources) => {
            if let Some(cell) = cell() {
                let updated = node::update(shared, &cell, resources).await;
                updated.map_err(|e| e.to_string())?;
            }
        }
        Task::Role(role) => {
            if let Some(cell) = cell() {
                node::set_role(shared, &cell, role);
            }
        }
        Task::Remove => {
            match cell() {
                Some(cell) => put_away(shared, &cell, Removal::Remove).await?,
                None => remove_unknown(shared, name).await?,
            }
            shared.assigned.is_gone(name.to_owned());
            return Ok(());
        }
    }
    shared.assigned.touch([name.to_owned()]);
    Ok(())
}

async fn run(shared: &Arc<Shared>, assignment: Arc<Assignment>) -> Result<(), String> {
    // This actor starts before the supervisor of containers does.
    while shared.tree().whereis(&paths::containers(shared)).is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node::assign(shared, assignment).await.map(drop)
}

async fn put_away(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    removal: Removal,
) -> Result<(), String> {
    let retired = node::retire(shared, cell, removal).await;
    retired.map_err(|e| e.to_string())
}

/// A container that no actor looks after: one that was stopped in place before this agent began.
async fn remove_unknown(shared: &Shared, name: &str) -> Result<(), String> {
    let listed = shared.runtime.list(&shared.owner_labels()).await;
    for found in listed.map_err(|e| e.to_string())? {
        if found.name == name {
            let removed = shared.runtime.remove(&found.id).await;
            removed.map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

impl Handler<Apply> for Assignments {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, apply: Apply, _: &mut Self::Context) -> Self::Result {
        let Apply {
            revision,
            put,
            gone,
            all,
            keep,
        } = apply;
        let changed = self.shared.assigned.apply(revision, put, gone, all, keep);
        let mut changes = Vec::with_capacity(changed.len());
        for (name, _, now) in &changed {
            let key = format!("{KEPT}{name}");
            changes.push(match now {
                None => Change::Delete(key),
                Some(desired) => match encode(desired) {
                    Ok(json) => Change::Put(key, json),
                    Err(error) => {
                        tracing::error!(name, %error, "an assignment cannot be kept");
                        continue;
                    }
                },
            });
        }
        let shared = Arc::clone(&self.shared);
        // Kept before it is acted on, so that a restart at any point takes it up again. A disk that is full
        // must not keep the node from doing as it is told.
        let keeping = async move {
            if !changes.is_empty()
                && let Err(error) = shared.store.transact(Vec::new(), changes).await
            {
                tracing::error!(%error, "assignments cannot be kept; this agent would not know them after a restart");
            }
        };
        Box::pin(keeping.into_actor(self).map(move |(), actor, ctx| {
            for (name, before, now) in changed {
                actor.take_up(&name, before, now.as_ref(), all, ctx);
            }
            if all {
                // The engine may hold what nobody wants: now that all is known, that is seen.
                actor.shared.settle();
                actor
                    .shared
                    .tell::<crate::actors::agent::engine::Engine, _>(
                        &crate::actors::agent::paths::engine(&actor.shared),
                        crate::actors::agent::engine::Reconcile,
                    );
            }
        }))
    }
}

impl Handler<Fence> for Assignments {
    type Result = ();
    fn handle(&mut self, _: Fence, ctx: &mut Self::Context) {
        if std::mem::replace(&mut self.fenced, true) {
            return;
        }
        for desired in self.exclusive() {
            let name = &desired.assignment.container.name;
            self.enqueue(name, vec![Task::Fence], ctx);
        }
    }
}

impl Handler<Unfence> for Assignments {
    type Result = ();
    fn handle(&mut self, _: Unfence, ctx: &mut Self::Context) {
        if !std::mem::replace(&mut self.fenced, false) {
            return;
        }
        for desired in self.exclusive() {
            let name = desired.assignment.container.name.clone();
            self.enqueue(&name, vec![Task::Run(desired.assignment)], ctx);
        }
    }
}
