//! `nodes/node/<name>/containers/container/<container>/process`: the container itself.
//!
//! Parent: the container's supervisor. Its exit is the container's exit: this actor ends when the process
//! in the container does, and starting it again is starting the container again. A restart of this actor
//! loses nothing: it adopts what runs. When lain stops, it leaves the container running.

use crate::actors::agent::bring_up::{Up, bring_up, is_last};
use crate::actors::agent::cell::{ContainerCell, Health, Phase};
use crate::actors::agent::crash;
use crate::actors::agent::put_away::{Removal, put_away};
use crate::actors::agent::spares;
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::crash::{CrashCause, Exit};
use crate::domain::id::ContainerId;
use crate::domain::node_state::escalate::FailureKind;
use crate::domain::spec::model::RestartPolicy;
use crate::domain::view::InstanceRole;
use crate::ports::runtime::RuntimeError;
use actix::prelude::*;
use std::sync::Arc;

/// Stop the container in good order; answers when that is done.
#[derive(Message)]
#[rtype(result = "Result<(), RuntimeError>")]
pub struct Retire(pub Removal);

/// Stop the container in good order and start it again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RestartInPlace(pub String);

/// The health actor's verdict: a crash.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Unhealthy {
    /// Failures in a row.
    pub failures: u32,
    /// What the last probe said.
    pub output: String,
}

/// Look at the engine: something may have happened that went unnoticed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Check;

/// The spare has become, or is again, active: it must run.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Promoted;

/// Readiness was reached or roles changed: freeze the spare if that is what it is.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Settle;

/// What a [`Process`] is made from.
#[derive(Clone)]
pub struct Args {
    /// The environment.
    pub shared: Arc<Shared>,
    /// The container.
    pub cell: Arc<ContainerCell>,
}

/// What the actor is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// Keep it running.
    Run,
    /// It is being put away: its end is no crash.
    Retire,
    /// It is being restarted on request: its end is no crash.
    Restart,
}

/// The actor.
pub struct Process {
    shared: Arc<Shared>,
    cell: Arc<ContainerCell>,
    intent: Intent,
    /// What to blame in place of the exit, when this actor itself ends the container.
    blame: Option<CrashCause>,
    /// Notices the container's end.
    watch: Option<SpawnHandle>,
    /// Brings the container up.
    bringing: Option<SpawnHandle>,
}

impl Actor for Process {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.bring_up(ctx);
    }
}

impl Child for Process {
    type Args = Args;

    async fn init(args: Args, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        let Args { shared, cell } = args;
        Ok(Init::Ready(Self {
            shared,
            cell,
            intent: Intent::Run,
            blame: None,
            watch: None,
            bringing: None,
        }))
    }
}

impl Process {
    fn bring_up(&mut self, ctx: &mut Context<Self>) {
        let (shared, cell) = (Arc::clone(&self.shared), Arc::clone(&self.cell));
        let first = cell.look(|o| o.running_since.is_none());
        let work = async move { bring_up(&shared, &cell, first).await };
        let handle = ctx.spawn(
            work.into_actor(self)
                .map(|outcome, actor, ctx| actor.brought_up(outcome, ctx)),
        );
        self.bringing = Some(handle);
    }

    fn brought_up(&mut self, outcome: Result<Up, RuntimeError>, ctx: &mut Context<Self>) {
        self.bringing = None;
        if self.intent == Intent::Retire {
            return;
        }
        match outcome {
            Ok(Up::Running {
                id,
                started,
                adopted,
                frozen,
            }) => {
                let now = self.shared.clock.monotonic();
                let pid = started.pid;
                self.cell.change(|o| {
                    if o.running_since.is_some() {
                        o.restarts += 1;
                    }
                    o.id = Some(id.clone());
                    o.phase = if frozen {
                        Phase::Frozen
                    } else {
                        Phase::Running
                    };
                    o.health = match (o.health, frozen) {
                        (Health::None, _) => Health::None,
                        (_, true) => Health::Healthy,
                        (_, false) => Health::Starting,
                    };
                    (o.pid, o.ip, o.started_at) = (pid, started.ip, Some(started.at));
                    o.running_since = Some(now);
                    o.ready_since = (o.health == Health::None).then_some(now);
                });
                crash::announce_start(&self.shared, &self.cell, adopted);
                self.watch_end(id, pid, ctx);
                ctx.notify(Settle);
            }
            Ok(Up::Finished(id, exit)) => {
                self.cell.note(|o| o.id = Some(id));
                self.finish(exit, ctx);
            }
            // Trying again will not help: the node gives up at once, and says why.
            Err(error @ (RuntimeError::NoImage { .. } | RuntimeError::Refused { .. })) => {
                self.hopeless(start_failed(&error));
            }
            Err(error) => self.crashed(start_failed(&error), ctx),
        }
    }

    fn hopeless(&mut self, cause: CrashCause) {
        self.intent = Intent::Retire;
        let reason = match &cause {
            CrashCause::StartFailed { reason, .. } => reason.clone(),
            cause => cause.to_string(),
        };
        crash::report_hopeless(&self.shared, &self.cell, cause);
        self.cell.change(|o| {
            o.phase = Phase::GaveUp(reason);
            (o.pid, o.ip, o.ready_since) = (None, None, None);
        });
        let (shared, cell) = (Arc::clone(&self.shared), Arc::clone(&self.cell));
        // Outlives this actor on purpose: it ends this actor's supervisor.
        actix_rt::spawn(
            async move { crate::actors::agent::node::drop_actors(&shared, &cell).await },
        );
    }

    fn watch_end(&mut self, id: ContainerId, pid: Option<u32>, ctx: &mut Context<Self>) {
        let shared = Arc::clone(&self.shared);
        let waited = id.clone();
        let work = async move { shared.runtime.ended(&waited, pid).await };
        let handle = ctx.spawn(work.into_actor(self).map(move |outcome, actor, ctx| {
            if let Err(error) = outcome
                && matches!(error, RuntimeError::Unreachable { .. })
            {
                actor.shared.engine_lost(&error);
            }
            actor.ended(id, ctx);
        }));
        self.watch = Some(handle);
    }

    /// The process is gone, or the engine is: find out which.
    fn ended(&mut self, id: ContainerId, ctx: &mut Context<Self>) {
        if self.intent != Intent::Run {
            return;
        }
        // A spare takes over before anything else is asked or written.
        spares::promote_for(&self.shared, &self.cell);
        let shared = Arc::clone(&self.shared);
        let work = async move { shared.runtime.exit_of(&id).await };
        ctx.spawn(
            work.into_actor(self)
                .map(|exit, actor, ctx| actor.exited(exit, ctx)),
        );
    }

    fn exited(&mut self, exit: Result<Exit, RuntimeError>, ctx: &mut Context<Self>) {
        if self.intent != Intent::Run {
            return;
        }
        match exit {
            Ok(exit) if exit.is_clean() && self.blame.is_none() && is_last(&self.cell, &exit) => {
                self.finish(exit, ctx)
            }
            Ok(exit) => {
                let cause = self.blame.take().unwrap_or_else(|| match exit.oom_killed {
                    true => CrashCause::OutOfMemory { exit: exit.clone() },
                    false => CrashCause::Exited { exit: exit.clone() },
                });
                // A temporary proc is never restarted: this crash is its end.
                if self.cell.assignment.restart.policy == RestartPolicy::Temporary {
                    crash::report_last(&self.shared, &self.cell, cause);
                    self.finish(exit, ctx);
                    return;
                }
                self.cell.note(|o| o.last_exit = Some(exit.to_string()));
                self.crashed(cause, ctx);
            }
            Err(RuntimeError::NoContainer(_)) => {
                self.cell.note(|o| o.id = None);
                self.crashed(CrashCause::Vanished, ctx);
            }
            Err(error @ RuntimeError::Unreachable { .. }) => {
                // The engine went away and may have taken the container along. That is no crash of the app:
                // look again, in place, once the engine is back.
                self.shared.engine_lost(&error);
                self.cell.change(|o| {
                    o.phase = Phase::Pending("the container engine to answer".to_owned());
                    o.running_since = None;
                });
                self.bring_up(ctx);
            }
            Err(error) => self.crashed(start_failed(&error), ctx),
        }
    }

    fn finish(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.cell.change(|o| {
            o.last_exit = Some(exit.to_string());
            o.phase = Phase::Finished(exit.clone());
            (o.pid, o.ip) = (None, None);
        });
        crash::announce_finish(&self.shared, &self.cell, &exit);
        ctx.exit(ExitReason::Normal);
    }

    fn crashed(&mut self, cause: CrashCause, ctx: &mut Context<Self>) {
        if self.cell.assignment.restart.policy == RestartPolicy::Temporary {
            // It has no exit to end with, and nobody starts it again.
            self.hopeless(cause);
            return;
        }
        let text = cause.to_string();
        self.cell.change(|o| {
            o.phase = Phase::Crashed(text.clone());
            o.health = if o.health == Health::None {
                Health::None
            } else {
                Health::Starting
            };
            (o.pid, o.ip, o.ready_since) = (None, None, None);
        });
        crash::report(&self.shared, &self.cell, cause);
        ctx.exit(ExitReason::Error(text));
    }

    fn freeze(&mut self, ctx: &mut Context<Self>) {
        let Some(id) = self.cell.look(|o| o.id.clone()) else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let work = async move { shared.runtime.pause(&id).await };
        ctx.spawn(work.into_actor(self).map(|outcome, actor, ctx| {
            match outcome {
                Ok(()) => actor.cell.change(|o| o.phase = Phase::Frozen),
                // A spare that cannot be frozen stands by running: dearer, and quicker.
                Err(error) => {
                    tracing::debug!(container = actor.cell.name(), %error, "spare stays unfrozen")
                }
            }
            // It may have been promoted meanwhile.
            if actor.cell.look(|o| o.role) == InstanceRole::Active {
                ctx.notify(Promoted);
            }
        }));
    }
}

/// It could not be started; whose fault that may be.
fn start_failed(error: &RuntimeError) -> CrashCause {
    CrashCause::StartFailed {
        reason: error.to_string(),
        fault: match error {
            RuntimeError::Refused { .. } => FailureKind::Refused,
            RuntimeError::NoImage { .. }
            | RuntimeError::DiskFull(_)
            | RuntimeError::PortTaken { .. } => FailureKind::NodeUnable,
            _ => FailureKind::Crashed,
        },
    }
}

impl Handler<Settle> for Process {
    type Result = ();
    fn handle(&mut self, _: Settle, ctx: &mut Self::Context) {
        let idle = self
            .cell
            .look(|o| o.role == InstanceRole::Spare && o.phase == Phase::Running && o.is_ready());
        if self.intent == Intent::Run && idle && spares::may_freeze(&self.shared) {
            self.freeze(ctx);
        }
    }
}

impl Handler<Promoted> for Process {
    type Result = ();
    fn handle(&mut self, _: Promoted, ctx: &mut Self::Context) {
        let frozen = self
            .cell
            .look(|o| (o.phase == Phase::Frozen).then(|| o.id.clone()).flatten());
        let Some(id) = frozen else { return };
        let shared = Arc::clone(&self.shared);
        let work = async move { shared.runtime.unpause(&id).await };
        ctx.spawn(work.into_actor(self).map(|outcome, actor, ctx| match outcome {
            Ok(()) => {
                let now = actor.shared.clock.monotonic();
                actor.cell.change(|o| {
                    o.phase = Phase::Running;
                    o.ready_since = Some(now);
                });
            }
            Err(error) => {
                tracing::warn!(container = actor.cell.name(), %error, "spare could not be thawed");
                ctx.notify(Check);
            }
        }));
    }
}

impl Handler<Unhealthy> for Process {
    type Result = ();
    fn handle(&mut self, message: Unhealthy, ctx: &mut Self::Context) {
        let Unhealthy { failures, output } = message;
        let Some(id) = self
            .cell
            .look(|o| o.is_alive().then(|| o.id.clone()).flatten())
        else {
            return;
        };
        if self.intent != Intent::Run || self.blame.is_some() {
            return;
        }
        self.cell.change(|o| o.health = Health::Unhealthy);
        self.blame = Some(CrashCause::Unhealthy {
            failures,
            probe_output: output,
        });
        spares::promote_for(&self.shared, &self.cell);
        let shared = Arc::clone(&self.shared);
        let grace = self.cell.assignment.container.kill_timeout;
        // Its end is noticed by the watch, which finds the blame.
        let work = async move { shared.runtime.stop(&id, grace).await };
        ctx.spawn(work.into_actor(self).map(|outcome, actor, ctx| {
            if let Err(error) = outcome {
                tracing::warn!(container = actor.cell.name(), %error, "unhealthy container could not be stopped");
                actor.blame = None;
                ctx.notify(Check);
            }
        }));
    }
}

impl Handler<Check> for Process {
    type Result = ();
    fn handle(&mut self, _: Check, ctx: &mut Self::Context) {
        let Some((id, alive)) = self
            .cell
            .look(|o| o.id.clone().map(|id| (id, o.is_alive())))
        else {
            return;
        };
        if self.intent != Intent::Run || !alive {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let looked = id.clone();
        let work = async move { shared.runtime.inspect(&looked).await };
        ctx.spawn(work.into_actor(self).map(move |status, actor, ctx| {
            use crate::ports::runtime::ContainerState::{Created, Exited, Paused, Running};
            let gone = match status {
                Ok(status) => match status.state {
                    Exited(_) | Created => true,
                    Running => false,
                    Paused => {
                        // Frozen behind our back, while it should work.
                        if actor.cell.look(|o| o.role) == InstanceRole::Active {
                            actor.cell.change(|o| o.phase = Phase::Frozen);
                            ctx.notify(Promoted);
                        }
                        false
                    }
                },
                Err(RuntimeError::NoContainer(_)) => true,
                Err(_) => false,
            };
            if gone
                && actor
                    .cell
                    .look(crate::actors::agent::cell::Observed::is_alive)
            {
                if let Some(watch) = actor.watch.take() {
                    ctx.cancel_future(watch);
                }
                actor.ended(id, ctx);
            }
        }));
    }
}

impl Handler<RestartInPlace> for Process {
    type Result = ();
    fn handle(&mut self, message: RestartInPlace, ctx: &mut Self::Context) {
        let Some(id) = self
            .cell
            .look(|o| o.is_alive().then(|| o.id.clone()).flatten())
        else {
            return;
        };
        if self.intent != Intent::Run {
            return;
        }
        self.intent = Intent::Restart;
        self.cell
            .change(|o| o.phase = Phase::Starting(format!("restarting: {}", message.0)));
        let shared = Arc::clone(&self.shared);
        let grace = self.cell.assignment.container.kill_timeout;
        let work = async move { shared.runtime.stop(&id, grace).await };
        ctx.spawn(work.into_actor(self).map(|outcome, actor, ctx| {
            if let Err(error) = outcome {
                tracing::warn!(container = actor.cell.name(), %error, "container could not be stopped for a restart");
            }
            if actor.intent == Intent::Restart {
                actor.intent = Intent::Run;
                actor.cell.note(|o| o.health = if o.health == Health::None { o.health } else { Health::Starting });
                actor.bring_up(ctx);
            }
        }));
    }
}

impl Handler<Retire> for Process {
    type Result = ResponseFuture<Result<(), RuntimeError>>;
    fn handle(&mut self, Retire(removal): Retire, ctx: &mut Self::Context) -> Self::Result {
        self.intent = Intent::Retire;
        if let Some(bringing) = self.bringing.take() {
            ctx.cancel_future(bringing);
        }
        let (shared, cell) = (Arc::clone(&self.shared), Arc::clone(&self.cell));
        Box::pin(async move { put_away(&shared, &cell, removal).await })
    }
}
