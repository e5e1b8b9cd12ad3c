//! References that outlive restarts: by path, to whoever lives there now.

use std::any::type_name;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::SendError;
use actix::{Addr, Handler, MailboxError, Message};

use super::child::{Child, Extra};
use super::group::SupervisorInit;
use super::machine::{CallError, ChildInfo, Counts, Reply, Request};
use super::mailbox::Mailbox;
use super::node::{Node, Target};
use super::reason::{ExitReason, Info};
use super::spec::{ChildId, ChildSpec, Flags};
use super::supervisor::{Shared, Shell};
use super::sync::lock;
use super::{Pid, Tree};

/// Why a message did not reach an actor, or its answer did not come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// Nobody lives at this path right now.
    #[error("no actor runs at {0:?}; it may be restarting, or have been stopped")]
    NoProc(Arc<str>),
    /// Somebody of another type lives there.
    #[error("{path:?} is not a {wanted}")]
    WrongType {
        /// The path.
        path: Arc<str>,
        /// The type that was expected.
        wanted: &'static str,
    },
    /// The actor ended before it answered.
    #[error("the actor at {0:?} ended before it answered")]
    Ended(Arc<str>),
    /// The mailbox is full; try again later.
    #[error("the mailbox of {0:?} is full")]
    Full(Arc<str>),
    /// No answer within the time given.
    #[error("{path:?} did not answer within {limit:?}")]
    Timeout {
        /// The path.
        path: Arc<str>,
        /// The time given.
        limit: Duration,
    },
}

struct Known<A: Child> {
    node: Arc<Node>,
    pid: u64,
    address: Addr<A>,
}

/// A reference to an actor by its path; resolves the current incarnation at each use.
pub struct ActorRef<A: Child> {
    tree: Tree,
    path: Arc<str>,
    known: Mutex<Option<Known<A>>>,
}

impl<A: Child> ActorRef<A> {
    pub(crate) fn new(tree: Tree, path: Arc<str>) -> Self {
        Self {
            tree,
            path,
            known: Mutex::new(None),
        }
    }

    /// The path.
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// Whether anybody can be addressed right now.
    pub fn is_running(&self) -> bool {
        self.with(|_| ()).is_ok()
    }

    /// The address of the current incarnation; dead once that one has ended.
    ///
    /// # Errors
    /// [`RefError::NoProc`] or [`RefError::WrongType`].
    pub fn address(&self) -> Result<Addr<A>, RefError> {
        self.with(Addr::clone)
    }

    /// Sends a message and gives its answer; the message is queued at once.
    ///
    /// # Errors
    /// [`RefError`]; after [`RefError::Ended`] it is unknown whether the message was handled.
    pub fn send<M>(
        &self,
        message: M,
    ) -> impl Future<Output = Result<M::Result, RefError>> + use<A, M>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let request = self.with(|address| address.send(message));
        let path = self.path.clone();
        async move { request?.await.map_err(|_| RefError::Ended(path)) }
    }

    /// As [`ActorRef::send`], for at most `limit`.
    ///
    /// # Errors
    /// Also [`RefError::Timeout`]; the message may still be handled later.
    pub fn send_within<M>(
        &self,
        message: M,
        limit: Duration,
    ) -> impl Future<Output = Result<M::Result, RefError>> + use<A, M>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let request = self.with(|address| address.send(message));
        let path = self.path.clone();
        async move {
            request?.timeout(limit).await.map_err(|error| match error {
                MailboxError::Timeout => RefError::Timeout { path, limit },
                MailboxError::Closed => RefError::Ended(path),
            })
        }
    }

    /// Queues a message without waiting, whatever the length of the mailbox.
    ///
    /// # Errors
    /// [`RefError::NoProc`] or [`RefError::WrongType`].
    pub fn do_send<M>(&self, message: M) -> Result<(), RefError>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.with(|address| address.do_send(message))
    }

    /// Queues a message unless the mailbox is full.
    ///
    /// # Errors
    /// Also [`RefError::Full`] and [`RefError::Ended`].
    pub fn try_send<M>(&self, message: M) -> Result<(), RefError>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.with(|address| address.try_send(message))?
            .map_err(|error| match error {
                SendError::Full(_) => RefError::Full(self.path.clone()),
                SendError::Closed(_) => RefError::Ended(self.path.clone()),
            })
    }

    /// Uses the address of the current incarnation, remembered from the last time.
    fn with<R>(&self, run: impl FnOnce(&Addr<A>) -> R) -> Result<R, RefError> {
        let mut known = lock(&self.known);
        match &*known {
            Some(Known { node, pid, address }) if node.pid() == *pid && address.connected() => {
                Ok(run(address))
            }
            _ => {
                let fresh = self.resolve()?;
                Ok(run(&known.insert(fresh).address))
            }
        }
    }

    fn resolve(&self) -> Result<Known<A>, RefError> {
        let noproc = || RefError::NoProc(self.path.clone());
        let node = self.tree.find(&self.path).ok_or_else(noproc)?;
        let (pid, target) = node.target();
        let Some(Target::Actor(probe)) = target else {
            return Err(if target.is_none() {
                noproc()
            } else {
                self.wrong_type()
            });
        };
        let mailbox = probe
            .any()
            .downcast::<Mailbox<A>>()
            .map_err(|_| self.wrong_type())?;
        let address = mailbox.address().ok_or_else(noproc)?;
        Ok(Known { node, pid, address })
    }

    fn wrong_type(&self) -> RefError {
        RefError::WrongType {
            path: self.path.clone(),
            wanted: type_name::<A>(),
        }
    }
}

impl<A: Child> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self::new(self.tree.clone(), self.path.clone())
    }
}

impl<A: Child> std::fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ActorRef<{}>({:?})", type_name::<A>(), self.path)
    }
}

/// A child that a call has started.
#[derive(Clone)]
pub struct Started {
    /// Its process; `None` when it ignored.
    pub pid: Option<Pid>,
    /// What its start had to tell.
    pub info: Option<Info>,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started")
            .field("pid", &self.pid)
            .field("info", &self.info.is_some())
            .finish()
    }
}

/// A reference to a supervisor by its path; calls have no time limit, as in OTP.
#[derive(Clone)]
pub struct SupervisorRef {
    tree: Tree,
    path: Arc<str>,
    only: PhantomData<fn()>,
}

impl std::fmt::Debug for SupervisorRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SupervisorRef({:?})", self.path)
    }
}

type CallResult<T> = Result<T, CallError>;

impl SupervisorRef {
    pub(crate) fn new(tree: Tree, path: Arc<str>) -> Self {
        Self {
            tree,
            path,
            only: PhantomData,
        }
    }

    /// The path; empty for the root.
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// A reference to a child of it.
    pub fn actor<A: Child>(&self, id: impl Into<ChildId>) -> ActorRef<A> {
        self.tree.actor(self.below(&id.into()))
    }

    /// A reference to a supervisor among its children.
    pub fn supervisor(&self, id: impl Into<ChildId>) -> SupervisorRef {
        self.tree.supervisor(self.below(&id.into()))
    }

    fn below(&self, id: &ChildId) -> String {
        match self.path.is_empty() {
            true => id.to_string(),
            false => format!("{}/{id}", self.path),
        }
    }

    /// Adds a child and starts it; returns when its start is complete.
    ///
    /// # Errors
    /// [`CallError`]: already started or present, an invalid specification, a
    /// failed start (then nothing is kept), or a supervisor that is gone.
    pub async fn start_child(&self, spec: ChildSpec) -> CallResult<Started> {
        self.started(Request::StartChild(Box::new(spec))).await
    }

    /// Adds an instance of the template, with arguments of its own.
    ///
    /// # Errors
    /// [`CallError`], the instance's own start error bare.
    pub async fn start_instance<X: Send + Sync + 'static>(&self, extra: X) -> CallResult<Started> {
        let extra: Extra = Arc::new(extra);
        self.started(Request::StartInstance(Some(extra))).await
    }

    /// Stops a child; a temporary one is forgotten, others can be restarted.
    ///
    /// # Errors
    /// [`CallError::NotFound`], [`CallError::SimpleOneForOne`], or a supervisor that is gone.
    pub async fn terminate_child(&self, id: impl Into<ChildId>) -> CallResult<()> {
        self.done(Request::Terminate(id.into())).await
    }

    /// Stops an instance of the template.
    ///
    /// # Errors
    /// [`CallError::NotFound`] for a live process that is not an instance of it.
    pub async fn terminate_pid(&self, pid: Pid) -> CallResult<()> {
        match self.call(Request::TerminatePid(pid)).await? {
            Reply::Stranger if self.tree.is_alive(pid) => Err(CallError::NotFound),
            _ => Ok(()),
        }
    }

    /// Starts a child that is known and does not run.
    ///
    /// # Errors
    /// [`CallError`]: running, restarting, not found, or the start's reason (the
    /// specification is kept, there is no retry).
    pub async fn restart_child(&self, id: impl Into<ChildId>) -> CallResult<Started> {
        self.started(Request::Restart(id.into())).await
    }

    /// Forgets a child that does not run.
    ///
    /// # Errors
    /// [`CallError`]: running, restarting or not found.
    pub async fn delete_child(&self, id: impl Into<ChildId>) -> CallResult<()> {
        self.done(Request::Delete(id.into())).await
    }

    /// The children, newest start position first.
    ///
    /// # Errors
    /// [`CallError`] when the supervisor is gone.
    pub async fn which_children(&self) -> CallResult<Vec<ChildInfo>> {
        match self.call(Request::Which).await? {
            Reply::Children(children) => Ok(children),
            _ => Err(CallError::NoProc),
        }
    }

    /// The children, counted.
    ///
    /// # Errors
    /// [`CallError`] when the supervisor is gone.
    pub async fn count_children(&self) -> CallResult<Counts> {
        match self.call(Request::Count).await? {
            Reply::Counts(counts) => Ok(counts),
            _ => Err(CallError::NoProc),
        }
    }

    /// The specification of a child, with its defaults filled in.
    ///
    /// # Errors
    /// [`CallError::NotFound`], or a supervisor that is gone.
    pub async fn get_childspec(&self, id: impl Into<ChildId>) -> CallResult<Arc<ChildSpec>> {
        self.spec(Request::GetSpec(id.into())).await
    }

    /// The template, by the pid of an instance.
    ///
    /// # Errors
    /// [`CallError::NotFound`], or a supervisor that is gone.
    pub async fn get_childspec_of(&self, pid: Pid) -> CallResult<Arc<ChildSpec>> {
        self.spec(Request::GetSpecOf(pid)).await
    }

    /// Replaces flags and specifications at run time; no process is touched (rule 13).
    ///
    /// # Errors
    /// [`CallError::Init`]; then nothing changes.
    pub async fn change(&self, flags: Flags, specs: Vec<ChildSpec>) -> CallResult<()> {
        self.done(Request::Change(flags, specs)).await
    }

    /// Evaluates the init callback again and applies what it returns; `Ignore`
    /// changes nothing (rule 13).
    ///
    /// # Errors
    /// [`CallError::Init`], or [`CallError::Start`] with what the callback failed of.
    pub async fn reload(&self) -> CallResult<()> {
        let shared = self.shared()?;
        match (shared.init)().await.map_err(CallError::Start)? {
            SupervisorInit::Ignore => Ok(()),
            SupervisorInit::Run(spec) => self.change(spec.flags, spec.children).await,
        }
    }

    /// Ends the supervisor as its parent would, and waits for it. Its parent's
    /// rules decide what comes next.
    ///
    /// # Errors
    /// [`CallError::NoProc`] when there is none.
    pub async fn stop(&self, reason: ExitReason) -> CallResult<()> {
        let shared = self.shared()?;
        shared.cell.stop(reason);
        shared.closed().await;
        Ok(())
    }

    /// The name of the callback behind the running supervisor.
    ///
    /// # Errors
    /// [`CallError::NoProc`] when there is none.
    pub fn callback(&self) -> CallResult<&'static str> {
        let shared = self.shared()?;
        Ok(shared.cell.start().name())
    }

    async fn started(&self, request: Request<Shell>) -> CallResult<Started> {
        match self.call(request).await? {
            Reply::Started(pid, info) => Ok(Started { pid, info }),
            _ => Err(CallError::NoProc),
        }
    }

    async fn done(&self, request: Request<Shell>) -> CallResult<()> {
        self.call(request).await.map(drop)
    }

    async fn spec(&self, request: Request<Shell>) -> CallResult<Arc<ChildSpec>> {
        match self.call(request).await? {
            Reply::Spec(spec) => Ok(spec),
            _ => Err(CallError::NoProc),
        }
    }

    async fn call(&self, request: Request<Shell>) -> CallResult<Reply<Shell>> {
        self.shared()?.call(request).await
    }

    fn shared(&self) -> CallResult<Arc<Shared>> {
        match self.tree.find(&self.path).map(|node| node.target().1) {
            Some(Some(Target::Supervisor(shared))) => Ok(shared),
            _ => Err(CallError::NoProc),
        }
    }
}
