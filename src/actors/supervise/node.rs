//! One place in the tree: a path, whoever lives there now, and its history.
//!
//! Written by the supervisor of the place, read by anybody at any time: no lock
//! here is held while code of an actor runs.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::machine::Budget;
use super::mailbox::Probe;
use super::reason::ExitReason;
use super::spec::{ChildId, ChildSpec, ChildType, Flags};
use super::supervisor::Shared;
use super::sync::lock;
use super::{Pid, Start, panics};

/// How many restarts a place remembers.
const HISTORY: usize = 32;

/// What a child is doing, as the tree shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its init runs.
    Starting,
    /// It runs.
    Running,
    /// A restart is pending.
    Restarting,
    /// It is being stopped.
    Stopping,
    /// It does not run: stopped, ended, ignored or not started.
    Undefined,
}

/// One restart that a place remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastRestart {
    /// When the child ended.
    pub at: SystemTime,
    /// Why.
    pub reason: ExitReason,
    /// From the end to running again; `None` while it is not.
    pub took: Option<Duration>,
}

/// Who lives at a place.
#[derive(Clone)]
pub(crate) enum Target {
    Actor(Arc<dyn Probe>),
    Supervisor(Arc<Shared>),
}

pub(crate) struct Live {
    pub(crate) spec: Arc<ChildSpec<Start>>,
    pub(crate) state: State,
    pub(crate) cell: Option<Arc<Cell>>,
    pub(crate) target: Option<Target>,
    pub(crate) restarts: u64,
    #[expect(
        clippy::box_collection,
        reason = "most places never restart: a pointer instead of a whole queue, times 100,000"
    )]
    pub(crate) history: Option<Box<VecDeque<PastRestart>>>,
    pub(crate) last_crash: Option<Box<(SystemTime, ExitReason)>>,
    /// When the pending restart is due, on the lifecycle clock.
    pub(crate) due: Option<Duration>,
    /// When the present state began, on the lifecycle clock.
    pub(crate) since: Duration,
    /// Its rank in start order.
    pub(crate) position: u64,
    /// Of a supervisor: its flags, and the restarts that count against them.
    pub(crate) supervises: Option<Box<(Flags, Budget)>>,
    /// Of a supervisor: the child whose start or stop it waits for, and since when.
    pub(crate) awaiting: Option<(ChildId, Duration)>,
}

type Children = Mutex<HashMap<ChildId, Arc<Node>>>;

/// A place in the tree.
pub(crate) struct Node {
    path: Arc<str>,
    parent_path: Arc<str>,
    id: ChildId,
    pid: AtomicU64,
    incarnation: AtomicU64,
    live: Mutex<Live>,
    children: OnceLock<Box<Children>>,
}

impl Node {
    pub(crate) fn new(
        parent_path: Arc<str>,
        id: ChildId,
        spec: Arc<ChildSpec<Start>>,
        position: u64,
        now: Duration,
    ) -> Arc<Self> {
        let path = match parent_path.is_empty() {
            true => id.as_str().into(),
            false => [&*parent_path, "/", id.as_str()].concat().into(),
        };
        Self::at((path, parent_path), id, spec, position, now)
    }

    /// The root, whose path is empty.
    pub(crate) fn root(id: ChildId, spec: Arc<ChildSpec<Start>>) -> Arc<Self> {
        Self::at(("".into(), "".into()), id, spec, 0, super::clock::now())
    }

    fn at(
        (path, parent_path): (Arc<str>, Arc<str>),
        id: ChildId,
        spec: Arc<ChildSpec<Start>>,
        position: u64,
        now: Duration,
    ) -> Arc<Self> {
        let live = Live {
            spec,
            state: State::Undefined,
            cell: None,
            target: None,
            restarts: 0,
            history: None,
            last_crash: None,
            due: None,
            since: now,
            position,
            supervises: None,
            awaiting: None,
        };
        Arc::new(Self {
            path,
            parent_path,
            id,
            pid: AtomicU64::new(0),
            incarnation: AtomicU64::new(0),
            live: Mutex::new(live),
            children: OnceLock::new(),
        })
    }

    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(crate) fn parent_path(&self) -> Arc<str> {
        self.parent_path.clone()
    }

    pub(crate) fn id(&self) -> &ChildId {
        &self.id
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// The incarnation that can be addressed, 0 when there is none.
    pub(crate) fn pid(&self) -> u64 {
        self.pid.load(Ordering::Acquire)
    }

    pub(crate) fn spec(&self) -> Arc<ChildSpec<Start>> {
        lock(&self.live).spec.clone()
    }

    /// Reads or changes what is known; `look` must not run code of an actor.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut Live) -> R) -> R {
        look(&mut lock(&self.live))
    }

    /// A new incarnation is about to be started; tells what it is.
    pub(crate) fn starting(&self, cell: &Arc<Cell>, now: Duration) -> ChildType {
        self.incarnation.fetch_add(1, Ordering::AcqRel);
        let (old, child_type) = self.with(|live| {
            (live.state, live.since, live.due) = (State::Starting, now, None);
            (live.cell.replace(cell.clone()), live.spec.child_type)
        });
        drop(old);
        child_type
    }

    /// The incarnation goes on in another state.
    pub(crate) fn change(&self, state: State, now: Duration) {
        self.with(|live| (live.state, live.since) = (state, now));
    }

    /// The incarnation runs, after a restart that took this long.
    pub(crate) fn restarted(&self, took: Duration, now: Duration) {
        self.with(|live| {
            (live.state, live.since) = (State::Running, now);
            live.restarts += 1;
            if let Some(last) = live.history.as_mut().and_then(|history| history.back_mut()) {
                last.took = Some(took);
            }
        });
    }

    /// A restart is pending, and due at this time if not at once.
    pub(crate) fn restarting(&self, due: Option<Duration>, now: Duration) {
        self.with(|live| (live.state, live.since, live.due) = (State::Restarting, now, due));
    }

    /// The incarnation of `cell` can be addressed from now on, unless it is outdated.
    pub(crate) fn publish(&self, cell: &Arc<Cell>, target: Target) {
        let old = self.with(|live| match &live.cell {
            Some(current) if Arc::ptr_eq(current, cell) => {
                self.pid.store(cell.pid.as_u64(), Ordering::Release);
                live.target.replace(target)
            }
            _ => Some(target),
        });
        panics::discard(old);
    }

    /// Who lives here.
    pub(crate) fn target(&self) -> (u64, Option<Target>) {
        self.with(|live| (self.pid(), live.target.clone()))
    }

    /// Nobody lives here any more, and a kept mailbox is closed.
    pub(crate) fn down(&self, state: State, now: Duration) {
        self.pid.store(0, Ordering::Release);
        let old = self.with(|live| {
            (live.state, live.since, live.due) = (state, now, None);
            (live.cell.take(), live.target.take())
        });
        // With the mailbox go messages whose destructors are not ours.
        panics::discard(old);
    }

    /// The incarnation ended by itself, and another may follow: remembers it, and
    /// leaves a mailbox that is to be kept.
    pub(crate) fn exited(&self, reason: &ExitReason, now: Duration, at: SystemTime) {
        self.pid.store(0, Ordering::Release);
        let old = self.with(|live| {
            (live.state, live.since, live.due) = (State::Undefined, now, None);
            if !reason.is_clean() {
                live.last_crash = Some(Box::new((at, reason.clone())));
            }
            let history = live.history.get_or_insert_default();
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(PastRestart {
                at,
                reason: reason.clone(),
                took: None,
            });
            let keep = live.spec.start.keep_mailbox && !reason.is_clean();
            (
                live.cell.take(),
                if keep { None } else { live.target.take() },
            )
        });
        panics::discard(old);
    }

    /// The places below, in start order.
    pub(crate) fn children(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.any_children();
        nodes.sort_by_cached_key(|node| node.with(|live| live.position));
        nodes
    }

    /// The places below, in any order.
    pub(crate) fn any_children(&self) -> Vec<Arc<Node>> {
        let children = self.children.get();
        children.map_or_else(Vec::new, |children| {
            lock(children).values().cloned().collect()
        })
    }

    pub(crate) fn child_count(&self) -> usize {
        self.children
            .get()
            .map_or(0, |children| lock(children).len())
    }

    pub(crate) fn add_child(&self, node: Arc<Node>) {
        let children = self.children.get_or_init(Box::default);
        let old = lock(children).insert(node.id.clone(), node);
        drop(old);
    }

    pub(crate) fn remove_child(&self, id: &ChildId) {
        let old = self
            .children
            .get()
            .and_then(|children| lock(children).remove(id));
        drop(old);
    }

    pub(crate) fn clear_children(&self) {
        let old = self
            .children
            .get()
            .map(|children| std::mem::take(&mut *lock(children)));
        drop(old);
    }

    /// The place at `path` below this one. Ids may hold `/`, so that every cut is tried.
    pub(crate) fn find(self: &Arc<Self>, path: &str) -> Option<Arc<Node>> {
        if path.is_empty() {
            return Some(self.clone());
        }
        let children = self.children.get()?;
        let ends = path
            .match_indices('/')
            .map(|(end, _)| end)
            .chain([path.len()]);
        for end in ends {
            let child = lock(children).get(&path[..end]).cloned();
            let rest = path.get(end + 1..).unwrap_or("");
            if let Some(found) = child.and_then(|child| child.find(rest)) {
                return Some(found);
            }
        }
        None
    }

    pub(crate) fn child_type(&self) -> ChildType {
        self.with(|live| live.spec.child_type)
    }

    /// The identity of whoever lives here.
    pub(crate) fn current_pid(&self) -> Option<Pid> {
        self.with(|live| live.cell.as_ref().map(|cell| cell.pid))
    }
}
