//! `apps/app/<app>/rollout`: carries out the app's operation in progress, step by step.
//!
//! First child of the app. A restart, of this actor or of lain, takes the operation up again: the plan is made
//! anew from what is desired and what is placed, so that a step that was done is not done twice. At rest it
//! applies the app's supervision strategy when an instance crashes.

use crate::actors::control::carry::{self, Failure};
use crate::actors::control::operation::{self, Change};
use crate::actors::control::{app, group, instance};
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::Record;
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::crash::CrashReport;
use crate::domain::id::{AppName, InstanceId, OperationId, ProcType};
use crate::domain::plan::{Step, batches};
use crate::domain::rollout::{self, Action, Machine};
use crate::domain::spec::model::ProcSpec;
use crate::domain::view::{OperationState, OperationView, PlanAction};
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// How often the progress deadline is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often what runs is compared with what is wanted while nothing is in progress.
const COMPARE: Duration = Duration::from_secs(30);
/// How soon a change of a step is shown; what comes within it is shown together.
const SHOW_WITHIN: Duration = Duration::from_millis(25);
/// The deadline for what is no longer in the file.
const GONE_DEADLINE: Duration = Duration::from_secs(300);
/// What a oneshot proc is given to be stopped in, besides its `kill_timeout`.
const ENDING_WITHIN: Duration = Duration::from_secs(30);
/// How often a step is handed to its instance again when that crashes over it.
const ATTEMPTS: u32 = 5;

/// Begin the operation that the app's record names.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin;

/// End the operation in progress as cancelled.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Cancel(pub String);

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
    /// Work for the steps in progress, dropped when the operation ends.
    work: Vec<SpawnHandle>,
    group: group::Coordinator,
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
            group: group::Coordinator::default(),
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
        self.supersede(&id, ctx);
        let Some(view) = self.shared.world.operation(&id) else {
            tracing::warn!(app = %self.app, operation = %id, "operation is not known; taken as done");
            return;
        };
        let (shared, name) = (Arc::clone(&self.shared), self.app.clone());
        let work = async move { operation::prepare(&shared, &name, (*view).clone()).await };
        let handle = ctx.spawn(
            work.into_actor(self)
                .map(|prepared, actor, ctx| match prepared {
                    Ok((steps, view)) => actor.run(steps, view, ctx),
                    Err((view, reason)) => actor.refuse(view, reason, ctx),
                }),
        );
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
            if let Err(error) = operation::reconcile(&shared, &app).await {
                tracing::warn!(app = %app, %error, "what runs cannot be compared with what is wanted");
            }
        };
        ctx.spawn(work.into_actor(self));
    }

    fn supersede(&mut self, by: &OperationId, ctx: &mut Context<Self>) {
        let now = self.now();
        let actions = match &mut self.running {
            Some(r) => r.machine.on(
                rollout::Event::Cancel(format!("operation {by} took its place")),
                now,
            ),
            None => Vec::new(),
        };
        self.act(actions, ctx);
        self.drop_work(ctx);
    }

    fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    fn drop_work(&mut self, ctx: &mut Context<Self>) {
        for handle in self.work.drain(..) {
            ctx.cancel_future(handle);
        }
    }

    fn run(&mut self, steps: Vec<Step>, mut view: OperationView, ctx: &mut Context<Self>) {
        let Some(app) = self.shared.world.app(&self.app) else {
            return;
        };
        let record = Arc::clone(&app.record);
        let proc = |id: &InstanceId| record.proc(&id.proc);
        let parallelism = |id: &InstanceId| proc(id).map_or(1, |p| p.update.parallelism);
        let deadlines = steps.iter().map(|s| deadline(proc(&s.instance)));
        let deadlines = deadlines.collect();
        let batches = batches(&steps, parallelism);
        let machine = Machine::new(steps, batches, deadlines);
        view.state = OperationState::Running;
        let mut running = Running { machine, view };
        let actions = running.machine.begin(self.now());
        self.running = Some(running);
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
        let now = self.now();
        let actions = match &mut self.running {
            Some(running) => running.machine.on(rollout::Event::Tick(now), now),
            None => Vec::new(),
        };
        self.act(actions, ctx);
        if std::mem::take(&mut self.unkept) {
            self.keep();
        }
    }

    fn act(&mut self, actions: Vec<Action>, ctx: &mut Context<Self>) {
        for action in actions {
            match action {
                Action::Begin(index) => self.begin_step(index, ctx),
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
        let work = async move { carry_step(&shared, step).await };
        let handle = ctx.spawn(
            work.into_actor(self)
                .map(move |outcome, actor, ctx| actor.stepped(index, outcome, ctx)),
        );
        self.work.push(handle);
    }

    fn stepped(&mut self, index: usize, outcome: Result<(), Failure>, ctx: &mut Context<Self>) {
        let (now, ended) = (self.now(), self.shared.clock.now_utc());
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
        let actions = running.machine.on(event, now);
        self.act(actions, ctx);
    }

    /// Shows where the operation stands.
    fn show(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        for (shown, state) in running.view.steps.iter_mut().zip(&running.machine.states) {
            shown.state = *state;
        }
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
        for (shown, state) in running.view.steps.iter_mut().zip(&running.machine.states) {
            shown.state = *state;
        }
        self.keep();
        (self.unshown, self.unkept) = (false, false);
        let Some(running) = self.running.take() else {
            return;
        };
        self.drop_work(ctx);
        let change = Change {
            app: self.app.clone(),
            operation: running.view,
            steps: running.machine.steps,
        };
        let shared = Arc::clone(&self.shared);
        // Outlives this actor where the app is removed: it ends this actor's supervisor. Shown as ended
        // only when it is: whoever waits for the end of an undeploy may deploy anew at once.
        actix_rt::spawn(async move {
            operation::conclude(&shared, &change).await;
            announce(&shared, &change.operation);
            shared.world.put_operation(change.operation);
        });
    }
}

/// How long a step may take. A oneshot proc's own time is watched where it is waited for, which stops it: this
/// only has to be later.
fn deadline(proc: Option<ProcSpec>) -> Duration {
    let deadline = proc.as_ref().map(|p| p.update.progress_deadline);
    let deadline = deadline.unwrap_or(GONE_DEADLINE);
    match proc {
        Some(proc) if proc.proc_type == ProcType::Oneshot => {
            deadline + proc.kill_timeout + ENDING_WITHIN
        }
        _ => deadline,
    }
}

fn announce(shared: &Shared, view: &OperationView) {
    let took = view
        .ended_at
        .map_or(0, |end| (end - view.started_at).num_milliseconds());
    let (level, text) = match (view.state, &view.error) {
        (OperationState::Failed, Some(why)) => (
            Level::Error,
            format!("{} of {} failed: {why}", view.kind, view.app),
        ),
        (_, Some(why)) => (
            Level::Warn,
            format!("{} of {} ended: {why}", view.kind, view.app),
        ),
        (_, None) => (
            Level::Info,
            format!("{} of {} is done, in {took} ms", view.kind, view.app),
        ),
    };
    shared.hub.emit(
        Event::new("operation_done", level, text)
            .app(&view.app)
            .operation(&view.id),
    );
}

/// Hands a step to its instance; one that crashes over it gets it again.
async fn carry_step(shared: &Arc<Shared>, step: Step) -> Result<(), Failure> {
    let ends = matches!(step.action, PlanAction::Delete | PlanAction::Stop);
    if !ends {
        app::ensure_instance(shared, &step.instance).await?;
    }
    for attempt in 1..=ATTEMPTS {
        match instance::carry(shared, step.clone()).await {
            Ok(Ok(())) => break,
            Ok(Err(failure)) => return Err(failure),
            Err(_) if ends => {
                // No actor to ask: what is left of the instance is put away here.
                carry::carry_out(Arc::clone(shared), step.clone()).await?;
                break;
            }
            Err(error) if attempt == ATTEMPTS => {
                return Err(Failure::from(format!("{}: {error}", step.instance)));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50) * attempt).await,
        }
    }
    if step.action == PlanAction::Delete {
        app::drop_instance(shared, &step.instance).await?;
    }
    Ok(())
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
        let now = self.now();
        let actions = match &mut self.running {
            Some(running) => running.machine.on(rollout::Event::Cancel(why), now),
            None => Vec::new(),
        };
        self.act(actions, ctx);
    }
}

impl Handler<InstanceCrashed> for Rollout {
    type Result = ();
    fn handle(&mut self, InstanceCrashed(id): InstanceCrashed, ctx: &mut Self::Context) {
        // While an operation is in progress, it alone decides what runs.
        if self.running.is_some() {
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
