//! `apps/app/<app>/proc/<type>.<name>/instance/<no>`: one instance, wherever it runs.
//!
//! Parent: the proc's supervisor. Keeps its assignment on a node, carries out the steps that the app's
//! rollout asks for, and takes "the node gave up" as its own crash: its next incarnation tries again, slowly.
//! A restart loses nothing: desired state comes from the store's mirror, observed state from the node.

use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::agent::node;
use crate::actors::control::carry::{self, Failure};
use crate::actors::control::nodes::balance::{self, Balance, Failed};
use crate::actors::control::relocate::{self, Cause};
use crate::actors::control::rollout::{InstanceCrashed, Rollout};
use crate::actors::control::{draining, half_done, job, paths, render};
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::{Record, Touch};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::id::{InstanceId, ProcType};
use crate::domain::node_state::escalate::{FailureKind, Remedy};
use crate::domain::plan::Step;
use crate::domain::record::Placement;
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, oneshot};

/// How often a node is looked for when none takes an instance.
const PLACE_AGAIN: Duration = Duration::from_secs(1);

/// Something about this instance has changed: look again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Look;

/// Carry out a step; see `steps::carry`. A newer step takes the place of one in progress.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Carry {
    /// What is to be done.
    pub step: Step,
    /// Told how it went. Apart from the message's own answer, since the instance may crash over the very
    /// failure that it reports: what was told is not lost with it.
    pub reply: oneshot::Sender<Result<(), Failure>>,
}

/// Give up the step in progress, and put back what it has not finished.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Withdraw;

/// The presence of a node has changed that this instance may have to do with.
#[derive(Message)]
#[rtype(result = "()")]
pub struct NodeChanged;

/// Move to another node, although it serves where it is: a drain, or an operator's wish.
#[derive(Message)]
#[rtype(result = "Result<(), Failure>")]
pub struct MoveAway(pub Cause);

/// Try again at once instead of waiting.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RetryNow;

/// What an [`Instance`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// Which instance.
    pub id: InstanceId,
}

/// The actor.
pub struct Instance {
    shared: Arc<Shared>,
    id: InstanceId,
    carrying: Option<Carrying>,
    retry: Option<SpawnHandle>,
    /// It is being moved to another node.
    moving: Option<SpawnHandle>,
    /// Held while the assignment of a start is on its way: a step must see the container that it puts on the
    /// node, or an update would leave that running beside the new one.
    assigning: Arc<Mutex<()>>,
    last_crash: Option<String>,
    recovering: bool,
}

/// A step that is being carried out.
struct Carrying {
    /// `None`: it was cut off, since its node was lost, and goes on when there is another.
    work: Option<SpawnHandle>,
    step: Step,
    reply: oneshot::Sender<Result<(), Failure>>,
}

impl Actor for Instance {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(placement) = self.placement() else {
            return;
        };
        self.last_crash = placement.last_crash.clone();
        if placement.finished.is_some() || placement.waits || self.is_stopped() {
            return;
        }
        match placement.gave_up {
            0 if relocate::has_no_place(&self.shared, &self.id) => {
                self.rehome(relocate::why_homeless(&self.shared, &self.id), ctx)
            }
            0 => self.assign(ctx),
            times => self.wait_to_retry(times, ctx),
        }
    }
}

impl Child for Instance {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let Args { shared, id } = args;
        Ok(Init::Ready(Self {
            shared,
            id,
            carrying: None,
            retry: None,
            moving: None,
            assigning: Arc::default(),
            last_crash: None,
            recovering: false,
        }))
    }
}

impl Instance {
    fn is_stopped(&self) -> bool {
        let full_name = self.id.full_name();
        self.shared
            .world
            .app(&self.id.app)
            .is_some_and(|app| app.record.is_stopped(&full_name, self.id.no))
    }

    fn placement(&self) -> Option<Arc<Placement>> {
        self.shared.world.placement(&self.id)
    }

    /// The container that counts: the one that is placed, or else the newest version.
    fn cell(&self) -> Option<Arc<ContainerCell>> {
        let mut cells = self.shared.node.of(&self.id);
        let placed = (cells.len() > 1).then(|| self.placement());
        let name = placed.flatten().map(|p| render::name_of(&p));
        let found = cells.iter().find(|c| Some(c.name()) == name.as_deref());
        found.cloned().or_else(|| cells.pop())
    }

    fn is_bound(&self) -> bool {
        let app = self.shared.world.app(&self.id.app);
        app.is_some_and(|app| relocate::is_bound(&app.record, &self.id))
    }

    /// Finds another node, then goes on with what it was at: the step in progress, or just running.
    fn rehome(&mut self, cause: Cause, ctx: &mut Context<Self>) {
        if self.moving.is_some() {
            return;
        }
        if self.is_bound() {
            // What it wrote is on that node: it waits for it.
            let reason = "its data is on a node that is down; it goes on when that is back, or move it with `lain drift`";
            self.set_unplaced(Some(reason.to_owned()));
            return;
        }
        // Kept without its work: it goes on at the other node.
        self.carrying = self.cut_off(ctx);
        let (shared, id) = (Arc::clone(&self.shared), self.id.clone());
        let turn = Arc::clone(&self.assigning);
        let work = async move { relocate::rehome_in_turn(&shared, &id, &cause, turn).await };
        let handle = ctx.spawn(work.into_actor(self).map(|outcome, actor, ctx| {
            actor.moving = None;
            match outcome {
                Ok(_) => actor.go_on(ctx),
                Err(reason) => {
                    actor.set_unplaced(Some(reason));
                    // Nodes come and go; each look costs little.
                    ctx.run_later(PLACE_AGAIN, |_, ctx| ctx.notify(NodeChanged));
                }
            }
        }));
        self.moving = Some(handle);
    }

    /// It has a node: the step that was cut off when it had none goes on, or else it just runs.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        match self.cut_off(ctx) {
            Some(Carrying { step, reply, .. }) => self.begin(None, step, reply, ctx),
            None => self.assign(ctx),
        }
    }

    /// Takes the step in progress, and ends the work for it.
    fn cut_off(&mut self, ctx: &mut Context<Self>) -> Option<Carrying> {
        let mut carrying = self.carrying.take()?;
        if let Some(work) = carrying.work.take() {
            ctx.cancel_future(work);
        }
        Some(carrying)
    }

    fn set_unplaced(&self, reason: Option<String>) {
        let mut changed = false;
        self.shared.world.change_placement(&self.id, |p| {
            changed = p.unplaced != reason;
            p.unplaced = reason.clone();
        });
        if let (true, Some(reason)) = (changed, reason) {
            let text = format!("{} waits: {reason}", self.id);
            self.shared
                .hub
                .emit(Event::new("instance_unplaced", Level::Error, text).instance(&self.id));
        }
    }

    fn assign(&mut self, ctx: &mut Context<Self>) {
        self.retry = None;
        let (shared, id) = (Arc::clone(&self.shared), self.id.clone());
        let turn = Arc::clone(&self.assigning).try_lock_owned();
        let work = async move {
            let _turn = turn;
            let app = shared.world.app(&id.app).ok_or("the app is gone")?;
            let placement = shared.world.placement(&id).ok_or("it has no placement")?;
            let assignment = carry::assignment(&shared, &app.record, &placement, false)?;
            node::assign(&shared, assignment).await.map(drop)
        };
        ctx.spawn(work.into_actor(self).map(
            |outcome: Result<(), String>, actor, ctx| match outcome {
                Ok(()) => ctx.notify(Look),
                Err(reason) => actor.give_up(reason, ctx),
            },
        ));
    }

    fn wait_to_retry(&mut self, times: u32, ctx: &mut Context<Self>) {
        let pause = relocate::patience(&self.shared).pause(times.saturating_sub(1));
        let due = self.shared.clock.now_utc() + pause;
        self.shared.world.set_retry(&self.id, Some(due));
        self.retry = Some(ctx.run_later(pause, |actor, ctx| {
            actor.shared.world.set_retry(&actor.id, None);
            actor.assign(ctx);
        }));
    }

    /// The node gave up: it is tried on another one, or waits.
    fn escalate(&mut self, reason: String, ctx: &mut Context<Self>) {
        let crash = self.cell().and_then(|c| c.look(|o| o.last_crash.clone()));
        let fault = crash.map_or(FailureKind::Crashed, |c| c.cause.fault());
        if let Some(placement) = self.placement()
            && fault.may_be_the_nodes()
        {
            let failed = Failed {
                node: placement.node.clone(),
                instance: self.id.clone(),
            };
            self.shared.tell::<Balance, _>(balance::PATH, failed);
        }
        match relocate::remedy(&self.shared, &self.id, fault) {
            Remedy::OtherNode => self.rehome(Cause::GaveUp(reason), ctx),
            Remedy::RestartThere { .. } | Remedy::RollBack | Remedy::Degraded { .. } => {
                self.give_up(reason, ctx);
            }
        }
    }

    /// All that can be tried was tried: this actor crashes, and its next incarnation waits before it tries
    /// again. A run of a proc that runs to its end has failed instead.
    fn give_up(&mut self, reason: String, ctx: &mut Context<Self>) {
        if matches!(self.id.proc_type, ProcType::Oneshot | ProcType::Cron) {
            job::fail_once(&self.shared, &self.id, self.cell().as_deref(), &reason);
            return;
        }
        let times = self.placement().map_or(1, |p| p.gave_up.saturating_add(1));
        self.shared
            .world
            .change_placement(&self.id, |p| p.gave_up = times);
        self.shared
            .recorder
            .send(Record::Placement(self.id.clone(), Touch::GaveUp(times)));
        let placement = self.placement();
        let node = placement.map_or_else(|| self.shared.settings.node.clone(), |p| p.node.clone());
        let message = format!("{} is degraded: node {node} gave up: {reason}", self.id);
        let mut event = Event::new("proc_degraded", Level::Error, message)
            .instance(&self.id)
            .node(&node)
            .path(paths::instance(&self.id));
        if let Some(crash) = &self.last_crash {
            event = event.crash(crash);
        }
        self.shared.hub.emit(event);
        ctx.exit(ExitReason::Error(format!("node {node} gave up: {reason}")));
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(cell) = self.cell() else { return };
        let seen = cell.look(|o| (o.phase.clone(), o.last_crash.clone(), o.is_ready()));
        let (phase, crash, ready) = seen;
        if let Some(crash) = crash
            && self.last_crash.as_deref() != Some(crash.id.as_str())
        {
            self.last_crash = Some(crash.id.to_string());
            self.shared.tell::<Rollout, _>(
                &paths::rollout(&self.id.app),
                InstanceCrashed(self.id.clone()),
            );
        }
        match phase {
            Phase::GaveUp(reason)
                if self.carrying.is_none() && self.retry.is_none() && self.moving.is_none() =>
            {
                self.escalate(reason, ctx)
            }
            Phase::Finished(exit) if self.placement().is_some_and(|p| p.finished.is_none()) => {
                let started = cell.look(|o| o.started_at);
                job::end(&self.shared, &self.id, exit.to_string(), started);
            }
            _ if ready && !self.recovering => self.watch_recovery(ctx),
            _ => {}
        }
    }

    /// After it was ready for long enough, an instance that was given up counts as recovered.
    fn watch_recovery(&mut self, ctx: &mut Context<Self>) {
        if self
            .placement()
            .is_none_or(|p| p.gave_up == 0 && p.failed_on.is_empty())
        {
            return;
        }
        self.recovering = true;
        ctx.run_later(self.shared.settings.recovered_after, |actor, _| {
            actor.recovering = false;
            let settings = &actor.shared.settings;
            let now = actor.shared.clock.monotonic();
            let lasted = actor.cell().is_some_and(|c| {
                c.look(|o| {
                    o.is_ready()
                        && o.ready_since
                            .is_some_and(|at| now.saturating_sub(at) >= settings.recovered_after)
                })
            });
            if lasted {
                actor.shared.world.change_placement(&actor.id, |p| {
                    p.gave_up = 0;
                    p.failed_on.clear();
                });
                actor
                    .shared
                    .recorder
                    .send(Record::Placement(actor.id.clone(), Touch::GaveUp(0)));
                let message = format!("{} has recovered", actor.id);
                actor
                    .shared
                    .hub
                    .emit(Event::new("proc_recovered", Level::Info, message).instance(&actor.id));
            }
        });
    }
}

impl Instance {
    /// Begins a step, once what has to be done `first` is.
    fn begin(
        &mut self,
        first: Option<Step>,
        step: Step,
        reply: oneshot::Sender<Result<(), Failure>>,
        ctx: &mut Context<Self>,
    ) {
        let (shared, assigning) = (Arc::clone(&self.shared), Arc::clone(&self.assigning));
        let (begun, cause) = (step.clone(), relocate::why_homeless(&self.shared, &self.id));
        let work = async move {
            // What puts it on a node, or moves it, ends first.
            drop(assigning.lock().await);
            if let Some(first) = first {
                carry::carry_out(Arc::clone(&shared), first).await?;
            }
            let placement = shared.world.placement(&begun.instance);
            let homeless = placement.is_some_and(|p| relocate::is_homeless(&shared, &p));
            if homeless && relocate::needs_a_node(&begun) {
                // Its node was lost before the step began.
                Box::pin(relocate::rehome(&shared, &begun.instance, &cause)).await?;
            }
            carry::carry_out(shared, begun).await
        };
        let work = ctx.spawn(work.into_actor(self).map(|outcome, actor, ctx| {
            if let Some(Carrying { reply, .. }) = actor.carrying.take() {
                let _ = reply.send(outcome);
            }
            actor.look(ctx);
        }));
        let work = Some(work);
        self.carrying = Some(Carrying { work, step, reply });
    }
}

impl Handler<Look> for Instance {
    type Result = ();
    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<RetryNow> for Instance {
    type Result = ();
    fn handle(&mut self, _: RetryNow, ctx: &mut Self::Context) {
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
            self.shared.world.set_retry(&self.id, None);
            self.assign(ctx);
        }
    }
}

impl Handler<Carry> for Instance {
    type Result = ();
    fn handle(&mut self, Carry { step, reply }: Carry, ctx: &mut Self::Context) {
        if let Some(Carrying { reply, .. }) = self.cut_off(ctx) {
            // Whoever asked may be gone: the newer step stands all the same. So below.
            let _ = reply.send(Err(Failure::from(
                "a newer change took its place".to_owned(),
            )));
        }
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
        }
        self.shared.world.set_retry(&self.id, None);
        if let Some(moving) = self.moving.take() {
            ctx.cancel_future(moving);
        }
        self.begin(None, step, reply, ctx);
    }
}

impl Handler<NodeChanged> for Instance {
    type Result = ();
    fn handle(&mut self, _: NodeChanged, ctx: &mut Self::Context) {
        if relocate::has_no_place(&self.shared, &self.id) {
            if self.retry.is_none() && !self.is_stopped() {
                self.rehome(relocate::why_homeless(&self.shared, &self.id), ctx);
            }
        } else if self.placement().is_some_and(|p| p.unplaced.is_some()) {
            self.set_unplaced(None);
            // What is in progress goes on by itself.
            let at_work = self.carrying.as_ref().is_some_and(|c| c.work.is_some());
            if !at_work && self.moving.is_none() {
                self.go_on(ctx);
            }
        }
    }
}

impl Handler<MoveAway> for Instance {
    type Result = ResponseActFuture<Self, Result<(), Failure>>;
    fn handle(&mut self, MoveAway(cause): MoveAway, _: &mut Self::Context) -> Self::Result {
        if self.carrying.is_some() || self.moving.is_some() || self.retry.is_some() {
            let busy = Failure::from(format!("{} is being changed already", self.id));
            return Box::pin(std::future::ready(Err(busy)).into_actor(self));
        }
        let (shared, id) = (Arc::clone(&self.shared), self.id.clone());
        let assigning = Arc::clone(&self.assigning);
        let work = async move {
            let _turn = assigning.lock_owned().await;
            relocate::move_away(&shared, &id, &cause).await
        };
        Box::pin(work.into_actor(self))
    }
}

impl Handler<Withdraw> for Instance {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, _: Withdraw, ctx: &mut Self::Context) -> Self::Result {
        let Some(Carrying { reply, step, .. }) = self.cut_off(ctx) else {
            return Box::pin(std::future::ready(()).into_actor(self));
        };
        let _ = reply.send(Err(Failure::from("it was given up".to_owned())));
        let (shared, id) = (Arc::clone(&self.shared), self.id.clone());
        let putting_back = async move { draining::put_back(&shared, &id).await };
        Box::pin(putting_back.into_actor(self).map(|(), actor, ctx| {
            if actor.carrying.is_none() && half_done::is_so(&actor.shared, &actor.id, &step) {
                // Nobody waits for it, and no plan sees it: its placement is as it is wanted.
                let (first, step) = half_done::rest_of(step);
                actor.begin(first, step, oneshot::channel().0, ctx);
            }
        }))
    }
}
