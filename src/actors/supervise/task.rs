//! The task that runs one incarnation of an actor.
//!
//! Polls the actor inside a catch, looks at its orders before its mailbox, and
//! sends exactly one notice when it is over. A value that has panicked is only
//! ever dropped. Made by [`super::start`]; knows nothing of strategies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::dev::EnvelopeProxy;
use actix::{AsyncContext, Running};

use super::arbiter;
use super::cell::{Cell, Life};
use super::child::{Child, Cleanup, Init};
use super::context::{Context, Flow, Item};
use super::events::EventKind;
use super::mailbox::Mailbox;
use super::panics;
use super::reason::{ExitReason, Info};
use super::start::Dedicated;
use super::{Tree, teller};

/// Messages and futures that one poll serves before it lets others run.
const FAIR_SHARE: usize = 128;

/// The future that makes an actor.
pub(crate) type InitFuture<A> = Pin<Box<dyn Future<Output = Result<Init<A>, ExitReason>>>>;

/// What the specification says about the task itself.
pub(crate) struct Options {
    /// Leave the mailbox for the next incarnation after a crash.
    pub(crate) keep_mailbox: bool,
    /// The arbiter that ends with the actor.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) dedicated: Option<Dedicated>,
}

/// Where the incarnation is in its life.
enum Stage {
    /// `init` runs. Its end moves on to `Starting`, or ends the task.
    Init,
    /// `started` was called; what it waits for moves on to `Running`.
    Starting,
    /// Messages are served. An order, an exit or a panic moves on.
    Running,
    /// `terminate` was called; its future is waited for, then it is over.
    Cleaning,
}

pub(crate) struct ActorTask<A: Child> {
    life: Life,
    stage: Stage,
    init: Option<InitFuture<A>>,
    actor: Option<A>,
    info: Option<Info>,
    ctx: Context<A>,
    waits: Vec<Item<A>>,
    items: Vec<Item<A>>,
    cleanup: Cleanup,
    reason: Option<ExitReason>,
    options: Options,
    over: bool,
}

/// The actor has ended for this reason.
struct Ended(ExitReason);

type Step = Result<Poll<()>, Ended>;

impl<A: Child> ActorTask<A> {
    pub(crate) fn new(
        life: Life,
        mailbox: Arc<Mailbox<A>>,
        tree: Tree,
        options: Options,
        init: InitFuture<A>,
    ) -> Self {
        let ctx = Context::new(life.cell.clone(), mailbox, tree);
        Self {
            life,
            stage: Stage::Init,
            init: Some(init),
            actor: None,
            info: None,
            ctx,
            waits: Vec::new(),
            items: Vec::new(),
            cleanup: None,
            reason: None,
            options,
            over: false,
        }
    }

    fn cell(&self) -> &Cell {
        &self.life.cell
    }

    fn run(&mut self, task: &mut TaskContext<'_>) -> Step {
        self.cell().waker.register(task.waker());
        loop {
            if self.cell().has_orders() {
                self.obey()?;
            }
            let poll = match self.stage {
                Stage::Init => self.run_init(task)?,
                Stage::Starting => self.run_starting(task)?,
                Stage::Running => self.run_actor(task)?,
                Stage::Cleaning => self.run_cleanup(task)?,
            };
            if poll.is_pending() {
                return Ok(Poll::Pending);
            }
        }
    }

    /// Orders come before anything that waits in the mailbox.
    fn obey(&mut self) -> Result<(), Ended> {
        if self.cell().is_killed() || self.cell().is_abandoned() {
            return Err(Ended(ExitReason::Killed));
        }
        let Some(reason) = self.cell().take_stop() else {
            return Ok(());
        };
        match self.stage {
            // Nobody waits for a start that is called off: only a dying supervisor does so.
            Stage::Init | Stage::Starting => Err(Ended(reason)),
            Stage::Cleaning => Ok(()),
            Stage::Running => {
                self.ctx.phase = "stopping";
                let agreed = self.with_actor(|actor, ctx| actor.stopping(ctx) == Running::Stop);
                if agreed {
                    self.begin_cleanup(reason)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn run_init(&mut self, task: &mut TaskContext<'_>) -> Step {
        let Some(init) = self.init.as_mut() else {
            return Err(Ended(ExitReason::Lost(
                "init was polled after its end".into(),
            )));
        };
        let Poll::Ready(made) = init.as_mut().poll(task) else {
            return Ok(Poll::Pending);
        };
        self.init = None;
        match made.map_err(Ended)? {
            Init::Ready(actor) => self.actor = Some(actor),
            Init::ReadyWith(actor, info) => (self.actor, self.info) = (Some(actor), Some(info)),
            Init::Ignore => {
                self.life.cell.ignore();
                return Err(Ended(ExitReason::Normal));
            }
        }
        self.ctx.phase = "started";
        self.with_actor(|actor, ctx| actor.started(ctx));
        self.stage = Stage::Starting;
        Ok(Poll::Ready(()))
    }

    fn run_starting(&mut self, task: &mut TaskContext<'_>) -> Step {
        if self.ctx.flow != Flow::Running {
            return self.leave();
        }
        if self.run_waits(task).is_pending() {
            return Ok(Poll::Pending);
        }
        if self.ctx.flow != Flow::Running {
            return self.leave();
        }
        self.stage = Stage::Running;
        let info = self.info.take();
        self.cell().acknowledge(info);
        Ok(Poll::Ready(()))
    }

    fn run_actor(&mut self, task: &mut TaskContext<'_>) -> Step {
        let mut share = FAIR_SHARE;
        loop {
            if self.cell().has_orders() {
                return Ok(Poll::Ready(()));
            }
            if self.ctx.flow != Flow::Running {
                return self.leave();
            }
            if self.run_waits(task).is_pending() {
                return self.run_tasks(task).map(|()| Poll::Pending);
            }
            self.run_messages(task, &mut share);
            if !self.ctx.waiting() {
                self.run_items(task, &mut share);
            }
            if self.ctx.waiting() {
                continue;
            }
            self.run_tasks(task)?;
            if self.life.cell.has_orders() || (self.merge() && share > 0) {
                continue;
            }
            if share == 0 {
                task.waker().wake_by_ref();
            }
            return Ok(Poll::Pending);
        }
    }

    /// What the actor waits for, the latest first, as in actix.
    fn run_waits(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            self.waits.append(&mut self.ctx.waits);
            let Some(mut item) = self.waits.pop() else {
                return Poll::Ready(());
            };
            let poll = self.poll_item(&mut item, task);
            if poll.is_pending() {
                let begun_meanwhile = !self.ctx.waits.is_empty();
                self.waits.push(item);
                if !begun_meanwhile {
                    return Poll::Pending;
                }
            }
            if self.ctx.flow != Flow::Running {
                return Poll::Ready(());
            }
        }
    }

    fn run_messages(&mut self, task: &mut TaskContext<'_>, share: &mut usize) {
        while *share > 0 && !self.ctx.waiting() && !self.life.cell.has_orders() {
            let Some(mut message) = self.ctx.mailbox.next(task) else {
                return;
            };
            *share -= 1;
            if let Some(actor) = self.actor.as_mut() {
                EnvelopeProxy::handle(&mut message, actor, &mut self.ctx);
            }
        }
    }

    fn run_items(&mut self, task: &mut TaskContext<'_>, share: &mut usize) {
        self.merge();
        let mut index = 0;
        while index < self.items.len() && !self.ctx.waiting() {
            let mut item = self.items.swap_remove(index);
            match self.poll_item(&mut item, task) {
                Poll::Ready(()) => *share = share.saturating_sub(1),
                Poll::Pending => {
                    // Back in its place, so that the order of polling stays.
                    self.items.push(item);
                    let last = self.items.len() - 1;
                    self.items.swap(index, last);
                    index += 1;
                }
            }
            if !self.ctx.cancelled.is_empty() {
                self.merge();
                index = 0;
            }
        }
    }

    fn poll_item(&mut self, item: &mut Item<A>, task: &mut TaskContext<'_>) -> Poll<()> {
        self.ctx.phase = item.name;
        match self.actor.as_mut() {
            Some(actor) => item.work.as_mut().poll(actor, &mut self.ctx, task),
            None => Poll::Ready(()),
        }
    }

    /// Tasks beside the actor: the panic of one is the actor's crash.
    fn run_tasks(&mut self, task: &mut TaskContext<'_>) -> Result<(), Ended> {
        let Some(tasks) = self.ctx.tasks.as_mut() else {
            return Ok(());
        };
        loop {
            match tasks.poll_join_next(task) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => match error.try_into_panic() {
                    Ok(payload) => return Err(Ended(of_task(payload))),
                    Err(_) => {
                        return Err(Ended(ExitReason::Lost("a task of it was aborted".into())));
                    }
                },
                Poll::Ready(None) | Poll::Pending => return Ok(()),
            }
        }
    }

    /// Takes in new futures, drops cancelled ones; true when there are new ones.
    fn merge(&mut self) -> bool {
        let fresh = !self.ctx.items.is_empty();
        self.items.append(&mut self.ctx.items);
        for handle in std::mem::take(&mut self.ctx.cancelled) {
            if let Some(index) = self.items.iter().position(|item| item.handle == handle) {
                self.items.swap_remove(index);
            }
        }
        fresh
    }

    /// The actor asked to stop (it may still refuse) or to exit.
    fn leave(&mut self) -> Step {
        if let Some(crash) = self.ctx.crash.take() {
            return Err(Ended(crash));
        }
        if self.ctx.flow == Flow::Stopping {
            self.ctx.phase = "stopping";
            if self.with_actor(|actor, ctx| actor.stopping(ctx) == Running::Continue) {
                self.ctx.flow = Flow::Running;
                return Ok(Poll::Ready(()));
            }
        }
        let reason = self.ctx.exit.take().unwrap_or(ExitReason::Normal);
        self.begin_cleanup(reason)?;
        Ok(Poll::Ready(()))
    }

    fn begin_cleanup(&mut self, reason: ExitReason) -> Result<(), Ended> {
        self.ctx.flow = Flow::Ending;
        self.ctx.phase = "terminate";
        self.cleanup = self.with_actor(|actor, ctx| actor.terminate(&reason, ctx));
        self.reason = Some(reason);
        self.stage = Stage::Cleaning;
        Ok(())
    }

    fn run_cleanup(&mut self, task: &mut TaskContext<'_>) -> Step {
        if let Some(cleanup) = self.cleanup.as_mut()
            && cleanup.as_mut().poll(task).is_pending()
        {
            return Ok(Poll::Pending);
        }
        self.cleanup = None;
        self.ctx.phase = "stopped";
        self.with_actor(|actor, ctx| actor.stopped(ctx));
        Err(Ended(self.reason.take().unwrap_or(ExitReason::Normal)))
    }

    fn with_actor<R: Default>(&mut self, run: impl FnOnce(&mut A, &mut Context<A>) -> R) -> R {
        match self.actor.as_mut() {
            Some(actor) => run(actor, &mut self.ctx),
            None => R::default(),
        }
    }

    /// Over: drops everything the actor had, then tells why it ended.
    fn end(&mut self, mut reason: ExitReason) {
        self.over = true;
        let keep = self.options.keep_mailbox && !reason.is_clean() && self.cell().is_acknowledged();
        let closed = (!keep).then(|| self.ctx.mailbox.close());
        let parts = (
            self.init.take(),
            self.cleanup.take(),
            self.ctx.tasks.take(),
            closed,
        );
        let items = [
            &mut self.waits,
            &mut self.items,
            &mut self.ctx.waits,
            &mut self.ctx.items,
        ]
        .map(std::mem::take);
        let abandoned = self.cell().is_abandoned();
        let crashes = [
            panics::discard(self.actor.take()),
            panics::discard(items),
            panics::discard(parts),
        ];
        for crash in crashes.into_iter().flatten() {
            if reason.is_clean() {
                reason = crash;
            }
        }
        if abandoned {
            teller::tell_of(&self.ctx.tree, &self.life.cell, || EventKind::Unstuck);
        }
        self.life.cell.finish(reason);
    }
}

/// The crash of a task beside the actor; it was described where it happened.
fn of_task(payload: Box<dyn std::any::Any + Send>) -> ExitReason {
    match payload.downcast::<ExitReason>() {
        Ok(reason) => *reason,
        Err(payload) => panics::describe(payload, "task"),
    }
}

impl<A: Child> Future for ActorTask<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(());
        }
        let _busy = arbiter::enter(this.cell());
        match panics::contain(|| this.run(task)) {
            Ok(Ok(poll)) if poll.is_pending() => return Poll::Pending,
            Ok(Ok(_)) => this.end(ExitReason::Lost("its task ended without a reason".into())),
            Ok(Err(Ended(reason))) => this.end(reason),
            Err(payload) => {
                let phase = this.ctx.phase;
                this.end(panics::describe(payload, phase));
            }
        }
        Poll::Ready(())
    }
}

impl<A: Child> Drop for ActorTask<A> {
    fn drop(&mut self) {
        if !self.over {
            self.end(ExitReason::Lost(
                "its task was dropped by the arbiter".into(),
            ));
        }
    }
}

impl<A: Child> Unpin for ActorTask<A> {}
