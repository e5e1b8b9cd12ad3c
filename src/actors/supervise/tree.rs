//! A running supervision tree: starting it, finding its actors, stopping it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::cell::{Cell, Notice, Parent};
use super::child::Child;
use super::events::{Observer, Observers};
use super::machine::StartResult;
use super::node::Node;
use super::reason::ExitReason;
use super::refs::{ActorRef, SupervisorRef};
use super::spec::ChildSpec;
use super::supervisor::{SupervisorInit, SupervisorSpec};
use super::sync::lock;
use super::{Pid, panics};

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
        let Some(start) = spec.start.clone() else {
            return Err(ExitReason::NoProc);
        };
        let root = Node::root(self.name.as_str().into(), Arc::new(spec));
        let (state, mut watched) = watch::channel(Life::Starting);
        let guardian = Arc::new(Guardian { state });
        let inner = Inner {
            root: root.clone(),
            observers: Observers(self.observers.into()),
            stuck_after: self.stuck_after,
            watched: watched.clone(),
            cell: Mutex::new(None),
        };
        let tree = Tree(Arc::new(inner));
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

struct Inner {
    root: Arc<Node>,
    observers: Observers,
    #[expect(dead_code, reason = "read by the watchdog")]
    stuck_after: Option<Duration>,
    watched: watch::Receiver<Life>,
    cell: Mutex<Option<Arc<Cell>>>,
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

    /// Waits for the end of the tree, by `stop` or because its root gave up.
    pub async fn wait(&self) -> ExitReason {
        let mut watched = self.0.watched.clone();
        let over = watched.wait_for(|life| matches!(life, Life::Over(_))).await;
        match over.as_deref() {
            Ok(Life::Over(reason)) => reason.clone(),
            _ => ExitReason::NoProc,
        }
    }

    /// Whether a process of this identity is alive anywhere in the tree.
    pub fn is_alive(&self, pid: Pid) -> bool {
        fn search(node: &Arc<Node>, pid: Pid) -> bool {
            node.current_pid() == Some(pid)
                || node.children().iter().any(|child| search(child, pid))
        }
        search(&self.0.root, pid)
    }

    pub(crate) fn find(&self, path: &str) -> Option<Arc<Node>> {
        self.0.root.find(path)
    }

    pub(crate) fn observers(&self) -> &Observers {
        &self.0.observers
    }
}
