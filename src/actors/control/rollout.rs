//! `apps/app/<app>/rollout`: carries out the app's operation in progress, step by step.
//!
//! First child of the app. A restart, of this actor or of lain, takes the operation up again: the plan is made
//! anew from what is desired and what is placed, so that a step that was done is not done twice. At rest it
//! applies the app's supervision strategy when an instance crashes.

use crate::actors::control::carry::Failure;
use crate::actors::control::conclude::{self, Change};
use crate::actors::control::steps::{announce, carry_step, withdraw_all};
use crate::actors::control::{canary, carry, group, operation};
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::Record;
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::crash::CrashReport;
use crate::domain::id::{AppName, InstanceId, OperationId};
use crate::domain::plan::Step;
use crate::domain::rollout::{self, Action, Machine};
use crate::domain::view::{OperationState, OperationView, PlanAction};
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the progress deadline is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often what runs is compared with what is wanted while nothing is in progress.
const COMPARE: Duration = Duration::from_secs(30);
/// How soon a change of a step is shown; what comes within it is shown together.
const SHOW_WITHIN: Duration = Duration::from_millis(25);
/// Begin the operation that the app's record names.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin;

/// End the operation in progress as cancelled.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Cancel(pub String);

/// What was updated first is found good: go on with the others.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Promote;

/// A step has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stepped {
    /// Of which plan, counted since the actor began: what an earlier one began is over.
    plan: u64,
    /// Which one.
    index: usize,
    outcome: Result<(), Failure>,
}

/// A new container of an instance serves, and the old one is on its way out.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Serving(pub InstanceId);

/// An instance has crashed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct InstanceCrashed(pub InstanceId);

/// What a [`Rollout`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// The app.
    pub app: AppName,
}

/// The actor.
pub struct Rollout {
    shared: Arc<Shared>,
    app: AppName,
    running: Option<Running>,
    /// Work for the operation in progress, dropped when it ends.
    work: Vec<SpawnHandle>,
    /// Ends the work for its steps.
    steps: CancellationToken,
    /// Plans that were begun.
    plans: u64,
    group: group::Coordinator,
    /// A newer operation takes the place of the one in progress.
    superseded: bool,
    /// Instances that the one before was at work on then.
    cut_off: Vec<InstanceId>,
    /// A change that is not yet shown.
    unshown: bool,
    /// A change that is shown and not yet kept.
    unkept: bool,
}

/// The operation in progress.
struct Running {
    machine: Machine,
    view: OperationView,
}

impl Running {
    /// Notes in what is shown where each step stands.
    fn mark(&mut self) {
        for (shown, state) in self.view.steps.iter_mut().zip(&self.machine.states) {
            shown.state = *state;
        }
    }
}

impl Actor for Rollout {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |actor, ctx| actor.tick(ctx));
        ctx.run_interval(COMPARE, |actor, ctx| actor.compare(ctx));
        ctx.notify(Begin);
    }
}

impl Child for Rollout {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let Args { shared, app } = args;
        Ok(Init::Ready(Self {
            shared,
            app,
            running: None,
            work: Vec::new(),
            steps: CancellationToken::new(),
            plans: 0,
            group: group::Coordinator::default(),
            superseded: false,
            cut_off: Vec::new(),
            unshown: false,
            unkept: false,
        }))
    }
}

impl Rollout {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let Some(app) = self.shared.world.app(&self.app) else {
            return;
        };
        let Some(id) = app.record.operation.clone() else {
            // Nothing in progress: what is placed and what is desired agree, or are made to.
            return;
        };
        if self
            .running
            .as_ref()
            .is_some_and(|r| r.view.id == id.as_str())
        {
            return;
        }
        let cut_off = self.supersede(&id, ctx);
        let Some(view) = self.shared.world.operation(&id) else {
            tracing::warn!(app = %self.app, operation = %id, "operation is not known; taken as done");
            return;
        };
        let (shared, name) = (Arc::clone(&self.shared), self.app.clone());
        let work = async move {
            // What the one before did not finish is put back, so that the plan is made from what is there.
            withdraw_all(&shared, &cut_off).await;
            operation::prepare(&shared, &name, (*view).clone()).await
        };
        let handle = ctx.spawn(work.into_actor(self).map(|prepared, actor, ctx| {
            actor.cut_off.clear();
            match prepared {
                Ok((steps, view)) => actor.run(steps, view, ctx),
                Err((view, reason)) => actor.refuse(view, reason, ctx),
            }
        }));
        self.work.push(handle);
    }

    /// Nothing in progress, yet something is not as it is wanted (a rollback that failed, a change that was cut
    /// off): that is put right.
    fn compare(&mut self, ctx: &mut Context<Self>) {
        if self.running.is_some() {
            return;
        }
        let (shared, app) = (Arc::clone(&self.shared), self.app.clone());
        let work = async move {
            if let Err(error) = conclude::reconcile(&shared, &app).await {
                tracing::warn!(app = %app, %error, "what runs cannot be compared with what is wanted");
            }
        };
        ctx.spawn(work.into_actor(self));
    }

    /// Ends the operation in progress for a newer one; tells which instances it was at work on.
    fn supersede(&mut self, by: &OperationId, ctx: &mut Context<Self>) -> Vec<InstanceId> {
        let why = format!("operation {by} took its place");
        self.superseded = true;
        self.feed(rollout::Event::Cancel(why), ctx);
        self.drop_work(ctx);
        self.superseded = false;
        self.cut_off.clone()
    }

    /// Feeds the operation in progress an event and does what follows.
    fn feed(&mut self, event: rollout::Event, ctx: &mut Context<Self>) {
        let now = self.now();
        let shared = Arc::clone(&self.shared);
        let available = |id: &InstanceId| carry::is_available(&shared, id);
        let actions = match &mut self.running {
            Some(running) => running.machine.on(event, now, &available),
            None => Vec::new(),
        };
        self.act(actions, ctx);
    }

    fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    fn drop_work(&mut self, ctx: &mut Context<Self>) {
        for handle in self.work.drain(..) {
            ctx.cancel_future(handle);
        }
        std::mem::take(&mut self.steps).cancel();
    }

    fn run(&mut self, steps: Vec<Step>, mut view: OperationView, ctx: &mut Context<Self>) {
        let Some(app) = self.shared.world.app(&self.app) else {
            return;
        };
        let machine = operation::machine(&self.shared, &app.record, steps);
        view.state = OperationState::Running;
        view.waiting = None;
        let mut running = Running { machine, view };
        let shared = Arc::clone(&self.shared);
        let available = |id: &InstanceId| carry::is_available(&shared, id);
        let actions = running.machine.begin(self.now(), &available);
        self.running = Some(running);
        self.plans += 1;
        self.act(actions, ctx);
    }

    fn refuse(&mut self, view: OperationView, reason: String, ctx: &mut Context<Self>) {
        let machine = Machine::new(Vec::new(), Vec::new(), Vec::new());
        self.running = Some(Running { machine, view });
        self.act(
            vec![Action::Finish(OperationState::Failed, Some(reason))],
            ctx,
        );
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.feed(rollout::Event::Tick(self.now()), ctx);
        self.watch_canaries(ctx);
        if std::mem::take(&mut self.unkept) {
            self.keep();
        }
    }

    fn act(&mut self, actions: Vec<Action>, ctx: &mut Context<Self>) {
        for action in actions {
            match action {
                Action::Begin(index) => self.begin_step(index, ctx),
                Action::Wait => self.wait(),
                Action::Finish(state, why) => self.finish(state, why, ctx),
            }
        }
        if self.running.is_some() && !std::mem::replace(&mut self.unshown, true) {
            ctx.run_later(SHOW_WITHIN, |actor, _| {
                if std::mem::take(&mut actor.unshown) {
                    actor.show();
                }
            });
        }
    }

    /// What is updated first is up: somebody has to judge it.
    fn wait(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let app = &self.app;
        running.view.waiting = Some(format!(
            "its canary is up: `lain promote -a {app}` goes on, `lain abort -a {app}` goes back"
        ));
        let text = format!("the canary of {app} is up and waits to be promoted or aborted");
        let event = Event::new("canary_waiting", Level::Info, text);
        self.shared
            .hub
            .emit(event.app(app).operation(&running.view.id));
    }

    /// While a canary waits to be judged, what lain sees of it is judged at once.
    fn watch_canaries(&mut self, ctx: &mut Context<Self>) {
        let waits = |r: &Running| r.machine.is_waiting();
        if self.running.as_ref().is_some_and(waits)
            && let Some(why) = canary::failed(&self.shared, &self.app)
        {
            self.feed(rollout::Event::CanaryFailed(why), ctx);
        }
    }

    fn begin_step(&mut self, index: usize, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now_utc();
        let Some(running) = &mut self.running else {
            return;
        };
        let step = running.machine.steps[index].clone();
        if let Some(shown) = running.view.steps.get_mut(index) {
            shown.started_at = Some(now);
        }
        let shared = Arc::clone(&self.shared);
        let (me, plan) = (ctx.address(), self.plans);
        let ended = self.steps.clone();
        // A task each: futures of an actor are all looked at whenever one of them goes on.
        ctx.spawn_task(async move {
            let carrying = ended.run_until_cancelled(carry_step(&shared, step));
            if let Some(outcome) = carrying.await {
                me.do_send(Stepped {
                    plan,
                    index,
                    outcome,
                });
            }
        });
    }

    fn stepped(&mut self, index: usize, outcome: Result<(), Failure>, ctx: &mut Context<Self>) {
        let ended = self.shared.clock.now_utc();
        let Some(running) = &mut self.running else {
            return;
        };
        if let Some(shown) = running.view.steps.get_mut(index) {
            shown.ended_at = Some(ended);
            // The step names its instance already.
            let name = format!("{}: ", shown.step.target);
            let reason = outcome.as_ref().err().map_or("", |f| f.reason.as_str());
            shown.detail = reason.strip_prefix(&name).unwrap_or(reason).to_owned();
        }
        let event = match outcome {
            Ok(()) => rollout::Event::Done(index),
            Err(failure) => {
                if let Some(crash) = &failure.crash {
                    running.view.crashes.push(CrashReport::clone(crash));
                }
                rollout::Event::Failed(index, failure.reason)
            }
        };
        self.feed(event, ctx);
    }

    /// Shows where the operation stands.
    fn show(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.mark();
        self.shared.world.put_operation(running.view.clone());
        self.unkept = true;
    }

    /// Keeps where the operation stands, for whoever reads it after a restart of lain.
    fn keep(&self) {
        if let Some(running) = &self.running {
            self.shared
                .recorder
                .send(Record::Operation(Box::new(running.view.clone())));
        }
    }

    fn finish(&mut self, state: OperationState, why: Option<String>, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now_utc();
        let Some(running) = &mut self.running else {
            return;
        };
        running.view.state = state;
        running.view.ended_at = Some(now);
        running.view.error = why;
        running.view.waiting = None;
        running.mark();
        // After what the recorder may still have of it: the last one stays.
        self.keep();
        (self.unshown, self.unkept) = (false, false);
        let Some(running) = self.running.take() else {
            return;
        };
        self.drop_work(ctx);
        let steps = &running.machine.steps;
        // Only a replacement has something to put back, and only what was to go may have to come back.
        let cut_off = running.machine.cut_off.iter().map(|&index| &steps[index]);
        let cut_off =
            cut_off.filter(|step| matches!(step.action, PlanAction::Recreate | PlanAction::Delete));
        let cut_off: Vec<InstanceId> = cut_off.map(|step| step.instance.clone()).collect();
        // Whoever takes its place puts that back, before it plans.
        let cut_off = match self.superseded {
            true => {
                self.cut_off = cut_off;
                Vec::new()
            }
            false => cut_off,
        };
        let change = Change {
            app: self.app.clone(),
            operation: running.view,
            cut_off,
        };
        let shared = Arc::clone(&self.shared);
        // Outlives this actor where the app is removed: it ends this actor's supervisor. Shown as ended
        // only when it is: whoever waits for the end of an undeploy may deploy anew at once.
        actix_rt::spawn(async move {
            conclude::conclude(&shared, &change).await;
            announce(&shared, &change.operation);
            shared.world.put_operation(change.operation);
        });
    }
}

impl Handler<Begin> for Rollout {
    type Result = ();
    fn handle(&mut self, _: Begin, ctx: &mut Self::Context) {
        self.begin(ctx);
    }
}

impl Handler<Cancel> for Rollout {
    type Result = ();
    fn handle(&mut self, Cancel(why): Cancel, ctx: &mut Self::Context) {
        self.feed(rollout::Event::Cancel(why), ctx);
    }
}

impl Handler<Promote> for Rollout {
    type Result = ();
    fn handle(&mut self, _: Promote, ctx: &mut Self::Context) {
        if let Some(running) = &mut self.running {
            running.view.waiting = None;
        }
        self.feed(rollout::Event::Promote, ctx);
        self.show();
    }
}

impl Handler<Stepped> for Rollout {
    type Result = ();
    fn handle(&mut self, stepped: Stepped, ctx: &mut Self::Context) {
        if stepped.plan == self.plans {
            self.stepped(stepped.index, stepped.outcome, ctx);
        }
    }
}

impl Handler<Serving> for Rollout {
    type Result = ();
    fn handle(&mut self, Serving(id): Serving, ctx: &mut Self::Context) {
        let running = self.running.as_mut();
        let Some((running, index)) = running.and_then(|r| {
            let index = r.machine.running(&id)?;
            Some((r, index))
        }) else {
            return;
        };
        if let Some(shown) = running.view.steps.get_mut(index) {
            "the new one serves; the old one is drained and stopped".clone_into(&mut shown.detail);
        }
        self.feed(rollout::Event::Serving(index), ctx);
    }
}

impl Handler<InstanceCrashed> for Rollout {
    type Result = ();
    fn handle(&mut self, InstanceCrashed(id): InstanceCrashed, ctx: &mut Self::Context) {
        // While an operation is in progress, it alone decides what runs; one that waits to be promoted decides nothing.
        if self
            .running
            .as_ref()
            .is_some_and(|r| !r.machine.is_waiting())
        {
            return;
        }
        if self.running.is_some() && canary::is_canary(&self.shared, &id) {
            let why = format!("{id}, which runs the new version, has crashed");
            self.feed(rollout::Event::CanaryFailed(why), ctx);
            return;
        }
        let now = self.now();
        if let Some(restart) = self.group.on_crash(&self.shared, &id, now) {
            let shared = Arc::clone(&self.shared);
            let work = async move { group::carry_out(&shared, restart).await };
            let handle = ctx.spawn(work.into_actor(self).map(|(), actor, _| actor.group.done()));
            self.work.push(handle);
        }
    }
}
