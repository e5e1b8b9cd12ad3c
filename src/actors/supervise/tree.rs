//! A running supervision tree: starting it, finding its actors, stopping it.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use actix::ArbiterHandle;
use tokio::sync::watch;

use super::cell::{Cell, Notice, Parent};
use super::child::Child;
use super::events::{Observer, Observers};
use super::group::{SupervisorInit, SupervisorSpec};
use super::machine::StartResult;
use super::node::Node;
use super::reason::ExitReason;
use super::refs::{ActorRef, SupervisorRef};
use super::snapshot::{self, TreeNode};
use super::spec::ChildSpec;
use super::sync::lock;
use super::{Pid, panics, watchdog};

/// How long a handler may run without returning before it counts as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// How a tree is set up before it starts.
pub struct TreeBuilder {
    name: String,
    observers: Vec<Arc<dyn Observer>>,
    stuck_after: Option<Duration>,
}

impl TreeBuilder {
    /// Names the root in reports (`root` by default).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds somebody who is told what happens.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Sets when a handler that does not return counts as stuck; `None` for never.
    pub fn stuck_after(mut self, limit: Option<Duration>) -> Self {
        self.stuck_after = limit;
        self
    }

    /// Takes a backtrace of panics, at most one a second; naming its frames holds
    /// the arbiter up for milliseconds. Once on, it is on for the whole program.
    pub fn backtraces(self) -> Self {
        panics::take_backtraces();
        self
    }

    /// Starts the tree on the present arbiter; returns when all initial children run.
    ///
    /// # Errors
    /// Why it could not start; everything that was started is stopped again. A
    /// root that ignores is [`ExitReason::Normal`].
    pub async fn start(self, root: SupervisorSpec) -> Result<Tree, ExitReason> {
        self.start_with(ChildSpec::supervisor("root", root)).await
    }

    /// As [`TreeBuilder::start`], with the root from a callback (see
    /// [`ChildSpec::supervisor_with`]).
    ///
    /// # Errors
    /// As [`TreeBuilder::start`].
    pub async fn start_root<F, Fut>(self, init: F) -> Result<Tree, ExitReason>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<SupervisorInit, ExitReason>> + 'static,
    {
        self.start_with(ChildSpec::supervisor_with("root", init))
            .await
    }

    async fn start_with(self, spec: ChildSpec) -> Result<Tree, ExitReason> {
        panics::install_hook();
        let start = spec.start.clone();
        let root = Node::root(self.name.as_str().into(), Arc::new(spec));
        let (state, mut watched) = watch::channel(Life::Starting);
        let guardian = Arc::new(Guardian { state });
        let inner = Inner {
            root: root.clone(),
            observers: Observers(self.observers.into()),
            stuck_after: self.stuck_after,
            watched: watched.clone(),
            cell: Mutex::new(None),
            system: actix::System::try_current(),
            spares: Mutex::new(Vec::new()),
        };
        let tree = Tree(Arc::new(inner));
        if let Some(limit) = self.stuck_after {
            watchdog::heed(limit);
        }
        watchdog::watch(&tree);
        let cell = Cell::new(root.clone(), super::machine::Key::ROOT, 1, guardian);
        *lock(&tree.0.cell) = Some(cell.clone());
        root.starting(&cell, super::clock::now());
        start.begin(cell, tree.clone(), None);
        let begun = watched
            .wait_for(|life| *life != Life::Starting)
            .await
            .map(|life| life.clone());
        match begun {
            Ok(Life::Over(reason)) => Err(reason),
            Ok(_) => {
                root.with(|live| live.state = super::State::Running);
                Ok(tree)
            }
            Err(_) => Err(ExitReason::NoProc),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Life {
    Starting,
    Running,
    Over(ExitReason),
}

/// The parent of the root: it only remembers how that fared.
struct Guardian {
    state: watch::Sender<Life>,
}

impl Parent for Guardian {
    fn notify(&self, notice: Notice) {
        let life = match notice {
            Notice::Started(_, _, StartResult::Ok(..)) => Life::Running,
            Notice::Started(_, _, StartResult::Ignore) => Life::Over(ExitReason::Normal),
            Notice::Started(_, _, StartResult::Err(reason)) | Notice::Exited(_, _, reason) => {
                Life::Over(reason)
            }
        };
        self.state.send_replace(life);
    }
}

pub(crate) struct Inner {
    root: Arc<Node>,
    observers: Observers,
    stuck_after: Option<Duration>,
    watched: watch::Receiver<Life>,
    cell: Mutex<Option<Arc<Cell>>>,
    /// The actix system to which new arbiters belong.
    system: Option<actix::System>,
    /// Arbiters that took over from blocked ones.
    spares: Mutex<Vec<ArbiterHandle>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for spare in lock(&self.spares).iter() {
            spare.stop();
        }
    }
}

/// A running supervision tree. Cheap to clone, and usable from any thread.
#[derive(Clone)]
pub struct Tree(Arc<Inner>);

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree")
            .field("root", self.0.root.id())
            .finish_non_exhaustive()
    }
}

impl Tree {
    /// Sets up a tree. It has to be started within an actix system.
    pub fn builder() -> TreeBuilder {
        TreeBuilder {
            name: "root".into(),
            observers: Vec::new(),
            stuck_after: Some(STUCK_AFTER),
        }
    }

    /// The root supervisor.
    pub fn root(&self) -> SupervisorRef {
        self.supervisor("")
    }

    /// A reference to the supervisor at this path, whether or not it runs now.
    pub fn supervisor(&self, path: impl Into<Arc<str>>) -> SupervisorRef {
        SupervisorRef::new(self.clone(), path.into())
    }

    /// A reference to the actor at this path, whether or not it runs now.
    pub fn actor<A: Child>(&self, path: impl Into<Arc<str>>) -> ActorRef<A> {
        ActorRef::new(self.clone(), path.into())
    }

    /// Kills whoever lives at this path, as an operator would: nothing of it runs
    /// but destructors, and its supervisor's rules decide what comes next.
    /// False when nobody does.
    pub fn kill(&self, path: &str) -> bool {
        let cell = self
            .find(path)
            .and_then(|node| node.with(|live| live.cell.clone()));
        match cell {
            Some(cell) => {
                cell.kill();
                true
            }
            None => false,
        }
    }

    /// The process that lives at this path.
    pub fn whereis(&self, path: &str) -> Option<Pid> {
        self.find(path)?.current_pid()
    }

    /// Stops the tree in reverse start order and waits for its end.
    pub async fn stop(&self) -> ExitReason {
        let cell = lock(&self.0.cell).clone();
        if let Some(cell) = cell {
            cell.stop(ExitReason::Shutdown);
        }
        self.wait().await
    }

    /// Whether the tree has ended.
    pub fn has_ended(&self) -> bool {
        matches!(*self.0.watched.borrow(), Life::Over(_))
    }

    /// Waits for the end of the tree, by `stop` or because its root gave up.
    pub async fn wait(&self) -> ExitReason {
        let mut watched = self.0.watched.clone();
        let over = watched.wait_for(|life| matches!(life, Life::Over(_))).await;
        match over.as_deref() {
            Ok(Life::Over(reason)) => reason.clone(),
            _ => ExitReason::NoProc,
        }
    }

    /// The tree as it is now: the place at `path` and `depth` levels below it.
    /// Waits for no actor. `None` when there is no such place.
    pub fn snapshot(&self, path: &str, depth: usize) -> Option<TreeNode> {
        Some(snapshot::of(&self.find(path)?, depth))
    }

    /// Whether a process of this identity is alive anywhere in the tree.
    pub fn is_alive(&self, pid: Pid) -> bool {
        self.cell_of(pid).is_some()
    }

    /// The life of this identity.
    pub(crate) fn cell_of(&self, pid: Pid) -> Option<Arc<Cell>> {
        fn search(node: &Arc<Node>, pid: Pid) -> Option<Arc<Cell>> {
            let cell = node
                .with(|live| live.cell.clone())
                .filter(|cell| cell.pid == pid);
            cell.or_else(|| {
                node.any_children()
                    .iter()
                    .find_map(|child| search(child, pid))
            })
        }
        search(&self.0.root, pid)
    }

    /// A new arbiter in place of a blocked one; none outside of an actix system.
    pub(crate) fn spare_arbiter(&self) -> Option<ArbiterHandle> {
        actix::System::set_current(self.0.system.clone()?);
        match actix::Arbiter::try_new() {
            Ok(arbiter) => {
                lock(&self.0.spares).push(arbiter.handle());
                Some(arbiter.handle())
            }
            Err(error) => {
                tracing::error!("cannot start a thread in place of a blocked one: {error}");
                None
            }
        }
    }

    pub(crate) fn find(&self, path: &str) -> Option<Arc<Node>> {
        self.0.root.find(path)
    }

    pub(crate) fn root_node(&self) -> &Arc<Node> {
        &self.0.root
    }

    pub(crate) fn stuck_after(&self) -> Option<Duration> {
        self.0.stuck_after
    }

    pub(crate) fn observers(&self) -> &Observers {
        &self.0.observers
    }

    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}
