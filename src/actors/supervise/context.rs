//! The context of a supervised actor: actix's, with hooks.
//!
//! Everything that handlers know from `actix::Context` works: `address`,
//! `spawn`, `wait`, `run_later`, `notify`, `stop`. On top come an exit with a
//! reason, tasks that end with the actor, and the count and name of what is
//! being handled. The task that drives it is in [`super::task`].

use std::any::{Any, type_name};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::dev::{Envelope, EnvelopeProxy, MessageResponse, OneshotSender, ToEnvelope};
use actix::fut::ActorFuture;
use actix::{
    Actor, ActorContext, ActorState, Addr, AsyncContext, Handler, Message, ResponseFuture,
    SpawnHandle,
};
use tokio::task::JoinSet;

use super::cell::Cell;
use super::clock;
use super::mailbox::Mailbox;
use super::reason::ExitReason;
use super::stats::Histogram;
use super::sync::lock;
use super::{ActorRef, Pid, SupervisorRef, Tree, panics};

pub(crate) type Work<A> = Pin<Box<dyn ActorFuture<A, Output = ()>>>;

/// A future spawned into the context, with the name shown if it panics.
pub(crate) struct Item<A: Actor> {
    pub(crate) handle: SpawnHandle,
    pub(crate) name: &'static str,
    pub(crate) work: Work<A>,
}

/// Whether the actor goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Running,
    /// `stop` was called: `stopping` is asked whether it agrees.
    Stopping,
    /// `exit` or `terminate` was called: it ends.
    Ending,
}

/// The context of a supervised actor.
pub struct Context<A: Actor<Context = Self>> {
    pub(crate) cell: Arc<Cell>,
    pub(crate) mailbox: Arc<Mailbox<A>>,
    pub(crate) tree: Tree,
    pub(crate) flow: Flow,
    pub(crate) exit: Option<ExitReason>,
    /// The panic of a handler; it ends the actor before anything else of it runs.
    pub(crate) crash: Option<ExitReason>,
    /// What is being run, for the attribution of a panic.
    pub(crate) phase: &'static str,
    pub(crate) waits: Vec<Item<A>>,
    pub(crate) items: Vec<Item<A>>,
    pub(crate) cancelled: Vec<SpawnHandle>,
    pub(crate) tasks: Option<Box<JoinSet<&'static str>>>,
    last_handle: SpawnHandle,
    /// The last message type that was published in the cell.
    published: &'static str,
}

impl<A: Actor<Context = Self>> std::fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

impl<A: Actor<Context = Self>> Context<A> {
    pub(crate) fn new(cell: Arc<Cell>, mailbox: Arc<Mailbox<A>>, tree: Tree) -> Self {
        Self {
            cell,
            mailbox,
            tree,
            flow: Flow::Running,
            exit: None,
            crash: None,
            phase: "init",
            waits: Vec::new(),
            items: Vec::new(),
            cancelled: Vec::new(),
            tasks: None,
            last_handle: SpawnHandle::default(),
            published: "",
        }
    }

    /// Ends the actor with this reason once the handler returns; queued messages are dropped.
    ///
    /// `terminate` of [`super::Child`] runs, `stopping` is not asked.
    pub fn exit(&mut self, reason: ExitReason) {
        self.exit.get_or_insert(reason);
        self.flow = Flow::Ending;
    }

    /// The path of this actor, which every incarnation shares.
    pub fn path(&self) -> &Arc<str> {
        self.cell.node.path()
    }

    /// The identity of this incarnation.
    pub fn pid(&self) -> Pid {
        self.cell.pid
    }

    /// A reference to this actor that outlives its restarts.
    pub fn reference(&self) -> ActorRef<A>
    where
        A: super::Child,
    {
        self.tree.actor(self.path().clone())
    }

    /// The supervisor of this actor.
    pub fn supervisor(&self) -> SupervisorRef {
        self.tree.supervisor(self.cell.node.parent_path())
    }

    /// The tree that this actor is part of.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Runs a future beside the actor, for as long as this incarnation lives.
    ///
    /// It cannot touch the actor's state; send a message to [`Context::reference`]
    /// for that. A panic in it is a crash of the actor.
    pub fn spawn_task<F>(&mut self, task: F)
    where
        F: Future<Output = ()> + 'static,
    {
        self.spawn_named(type_name::<F>(), task);
    }

    pub(crate) fn spawn_named<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + 'static,
    {
        let tasks = self.tasks.get_or_insert_with(Box::default);
        tasks.spawn_local(Named {
            name,
            task: Box::pin(task),
        });
    }

    /// Sets how many messages `try_send` lets in before it pushes back (16 by default).
    pub fn set_mailbox_capacity(&mut self, capacity: usize) {
        self.mailbox.set_capacity(capacity);
    }

    fn next_handle(&mut self) -> SpawnHandle {
        self.last_handle = self.last_handle.next();
        self.last_handle
    }

    fn begin_message(&mut self, name: &'static str) -> u64 {
        let now = clock::nanos();
        self.phase = name;
        let stats = &self.cell.stats;
        if !std::ptr::eq(self.published, name) {
            self.published = name;
            *lock(&stats.message) = name;
        }
        stats.busy_since.store(now, Ordering::Relaxed);
        now
    }

    fn end_message(&mut self, begun: u64) {
        let stats = &self.cell.stats;
        let took = clock::nanos().saturating_sub(begun);
        stats
            .times
            .get_or_init(|| Box::new(Histogram::default()))
            .add(took);
        let handled = stats.handled.load(Ordering::Relaxed);
        stats.handled.store(handled + 1, Ordering::Relaxed);
        stats.busy_since.store(0, Ordering::Relaxed);
    }
}

/// A task that keeps its name for when it panics.
struct Named<F> {
    name: &'static str,
    task: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Named<F> {
    type Output = &'static str;

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<&'static str> {
        let name = self.name;
        match panics::contain(|| self.task.as_mut().poll(cx)) {
            Ok(poll) => poll.map(|()| name),
            Err(payload) => std::panic::resume_unwind(Box::new(panics::describe(payload, name))),
        }
    }
}

impl<A: Actor<Context = Self>> ActorContext for Context<A> {
    fn stop(&mut self) {
        if self.flow == Flow::Running {
            self.flow = Flow::Stopping;
        }
    }

    fn terminate(&mut self) {
        self.exit(ExitReason::Normal);
    }

    fn state(&self) -> ActorState {
        match self.flow {
            Flow::Running => ActorState::Running,
            Flow::Stopping => ActorState::Stopping,
            Flow::Ending => ActorState::Stopped,
        }
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for Context<A> {
    fn address(&self) -> Addr<A> {
        self.mailbox.address().unwrap_or_else(|| {
            // Only after its end: an address that is closed from birth.
            let (sender, _) = actix::dev::channel::channel(1);
            Addr::new(sender)
        })
    }

    fn spawn<F>(&mut self, work: F) -> SpawnHandle
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        let handle = self.next_handle();
        self.items.push(Item {
            handle,
            name: type_name::<F>(),
            work: Box::pin(work),
        });
        handle
    }

    fn wait<F>(&mut self, work: F)
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        let handle = self.next_handle();
        self.waits.push(Item {
            handle,
            name: type_name::<F>(),
            work: Box::pin(work),
        });
    }

    fn waiting(&self) -> bool {
        !self.waits.is_empty() || self.flow != Flow::Running
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.cancelled.push(handle);
        true
    }
}

impl<A, M> ToEnvelope<A, M> for Context<A>
where
    A: Actor<Context = Self> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, reply: Option<OneshotSender<M::Result>>) -> Envelope<A> {
        Envelope::with_proxy(Box::new(Hooked {
            message: Some(message),
            reply,
            sent: clock::nanos(),
        }))
    }
}

/// A message on its way, with the time it was sent.
struct Hooked<M: Message> {
    message: Option<M>,
    reply: Option<OneshotSender<M::Result>>,
    sent: u64,
}

impl<A, M> EnvelopeProxy<A> for Hooked<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        let reply = self.reply.take();
        let Some(message) = self.message.take() else {
            return;
        };
        // As in actix: a caller that no longer waits is not served.
        if reply.as_ref().is_some_and(OneshotSender::is_closed) {
            return;
        }
        let name = type_name::<M>();
        let begun = ctx.begin_message(name);
        ctx.cell
            .stats
            .last_wait
            .store(begun.saturating_sub(self.sent), Ordering::Relaxed);
        // Caught here rather than by the task alone: each frame that a panic has to
        // leave costs a good part of a microsecond.
        let handled = catch_unwind(AssertUnwindSafe(|| {
            <A as Handler<M>>::handle(actor, message, ctx)
        }));
        match handled {
            Ok(result) => {
                respond::<A, M>(result, reply, name, ctx);
                ctx.end_message(begun);
            }
            Err(payload) => {
                ctx.crash = Some(panics::describe(payload, name));
                ctx.flow = Flow::Ending;
            }
        }
    }
}

/// Gives the response its way; a plain future becomes a task of this incarnation,
/// where actix would let it outlive the actor and lose its panics.
fn respond<A, M>(
    result: <A as Handler<M>>::Result,
    reply: Option<OneshotSender<M::Result>>,
    name: &'static str,
    ctx: &mut Context<A>,
) where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let mut result = Some(result);
    let future = (&mut result as &mut dyn Any)
        .downcast_mut::<Option<ResponseFuture<M::Result>>>()
        .and_then(Option::take);
    if let Some(future) = future {
        ctx.spawn_named(name, async move {
            let value = future.await;
            if let Some(reply) = reply {
                // The caller may have gone; then nobody wants the value.
                let _ = reply.send(value);
            }
        });
    } else if let Some(result) = result {
        result.handle(ctx, reply);
    }
}
