//! What an actor implements to be supervised.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix::{Actor, Addr};

use super::cell::Cell;
use super::context::Context;
use super::mailbox::Mailbox;
use super::reason::{ExitReason, Info};
use super::{ActorRef, Pid, SupervisorRef, Tree};

/// Arguments that an instance of a template adds to the template's own.
pub type Extra = Arc<dyn Any + Send + Sync>;

/// A supervised worker: an actix actor that can be started again.
///
/// ```
/// use lain::actors::supervise::{Child, Context, ExitReason, Init, Start};
/// use actix::prelude::*;
///
/// struct Counter(u64);
///
/// impl Actor for Counter {
///     type Context = Context<Self>;
/// }
///
/// impl Child for Counter {
///     type Args = u64;
///     async fn init(from: u64, _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
///         Ok(Init::Ready(Counter(from)))
///     }
/// }
/// # use lain::actors::supervise::Birth;
/// ```
pub trait Child: Actor<Context = Context<Self>> {
    /// What every incarnation is made from; kept by the supervisor.
    type Args: Clone + Send + Sync + 'static;

    /// Makes a new incarnation. Its supervisor waits for the end of this, then
    /// for `started` and any `ctx.wait` begun there.
    ///
    /// # Errors
    /// Why it cannot start; a panic in here is the same.
    fn init(
        args: Self::Args,
        birth: Birth<Self>,
    ) -> impl Future<Output = Result<Init<Self>, ExitReason>> + 'static;

    /// Cleans up before the end, when there is one to prepare for: not after a
    /// panic and not when killed. The future that it returns is waited for
    /// within the shutdown time of its specification.
    fn terminate(&mut self, reason: &ExitReason, ctx: &mut Context<Self>) -> Cleanup {
        let _ = (reason, ctx);
        None
    }
}

/// What remains to be waited for at an actor's end.
pub type Cleanup = Option<Pin<Box<dyn Future<Output = ()>>>>;

/// How an init ended, when it did not fail.
pub enum Init<A> {
    /// The actor runs from here.
    Ready(A),
    /// The same, with something to tell whoever asked for the start.
    ReadyWith(A, Info),
    /// There is nothing to do; the child is not started (rule 3).
    Ignore,
}

impl<A> std::fmt::Debug for Init<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready",
            Self::ReadyWith(..) => "ReadyWith",
            Self::Ignore => "Ignore",
        })
    }
}

/// What an actor knows while it is being made.
pub struct Birth<A: Actor<Context = Context<A>>> {
    pub(crate) cell: Arc<Cell>,
    pub(crate) mailbox: Arc<Mailbox<A>>,
    pub(crate) tree: Tree,
}

impl<A: Child> Birth<A> {
    /// Its path.
    pub fn path(&self) -> &Arc<str> {
        self.cell.node.path()
    }

    /// The identity of this incarnation.
    pub fn pid(&self) -> Pid {
        self.cell.pid
    }

    /// How often it was started under this path before, this time included.
    pub fn incarnation(&self) -> u64 {
        self.cell.node.incarnation()
    }

    /// The address of this incarnation; messages wait until it runs.
    pub fn address(&self) -> Option<Addr<A>> {
        self.mailbox.address()
    }

    /// A reference that outlives restarts.
    pub fn reference(&self) -> ActorRef<A> {
        self.tree.actor(self.path().clone())
    }

    /// Its supervisor.
    pub fn supervisor(&self) -> SupervisorRef {
        self.tree.supervisor(self.cell.node.parent_path())
    }

    /// The tree that it is part of.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl<A: Actor<Context = Context<A>>> std::fmt::Debug for Birth<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Birth")
            .field("path", self.cell.node.path())
            .finish_non_exhaustive()
    }
}
