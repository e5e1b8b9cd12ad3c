//! The nodes as the control host knows them, kept for reading; and what is to be on each.
//!
//! Written by the node's actor, by its link and by whoever assigns containers; read by placement and by the
//! views, none of which ever waits for an actor. Desired containers are soft: `instance` actors assign them
//! anew after a restart.

pub use crate::actors::control::nodes::asked::{Asked, Link, send_input};
pub use crate::actors::control::nodes::roll::Nodes;

use crate::domain::id::NodeName;
use crate::domain::node_state::{self, Event, Monitor, NodeState, Notice};
use crate::domain::view::{ActorView, SinkView};
use crate::link::message::Request;
use crate::ports::agent::{Desired, NodeFacts, NodeRecord};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

pub use crate::domain::node_state::Presence;

/// One node.
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// It is in this very process.
    pub local: bool,
    state: Mutex<State>,
    revision: watch::Sender<u64>,
    changed: watch::Sender<u64>,
    /// Counts the changes of all nodes.
    all_changes: OnceLock<Arc<AtomicU64>>,
    next_request: AtomicU64,
    /// Held from the reading of the record to the writing of the changed one.
    pub changing: tokio::sync::Mutex<()>,
}

struct State {
    record: NodeRecord,
    monitor: Monitor,
    /// When its presence last changed.
    since: Duration,
    /// What its actor has not made known yet.
    notices: VecDeque<Notice>,
    facts: Option<Arc<NodeFacts>>,
    tree: Option<Arc<ActorView>>,
    sinks: Vec<SinkView>,
    desired: BTreeMap<String, Desired>,
    /// The revision at which each container's desired state last changed, also of those that are gone.
    touched: BTreeMap<String, u64>,
    /// The same by revision.
    by_revision: BTreeMap<u64, String>,
    link: Option<Arc<Link>>,
}

/// What of the desired containers changed since a revision.
#[derive(Debug, PartialEq)]
pub struct Delta {
    /// Up to this revision.
    pub revision: u64,
    /// Changed or new.
    pub put: Vec<Desired>,
    /// Not wanted any more.
    pub gone: Vec<String>,
}

impl Node {
    /// A node that is known and was not heard of yet, judged by the usual times.
    pub fn new(record: NodeRecord, local: bool, now: Duration) -> Arc<Self> {
        Self::judged(record, local, now, node_state::Settings::default())
    }

    /// A node that is known and was not heard of yet: it is waited for as if it had been heard `now`.
    pub fn judged(
        record: NodeRecord,
        local: bool,
        now: Duration,
        settings: node_state::Settings,
    ) -> Arc<Self> {
        let mut monitor = Monitor::new(settings, now);
        monitor.on(wish_of(&record), now);
        Arc::new(Self {
            name: record.name.clone(),
            local,
            state: Mutex::new(State {
                facts: record.facts.clone().map(Arc::new),
                record,
                monitor,
                since: now,
                notices: VecDeque::new(),
                tree: None,
                sinks: Vec::new(),
                desired: BTreeMap::new(),
                touched: BTreeMap::new(),
                by_revision: BTreeMap::new(),
                link: None,
            }),
            revision: watch::channel(1).0,
            changed: watch::channel(0).0,
            all_changes: OnceLock::new(),
            next_request: AtomicU64::new(1),
            changing: tokio::sync::Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
        if let Some(all) = self.all_changes.get() {
            all.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Its changes count in `all`, too, from now on.
    pub fn counts_in(&self, all: Arc<AtomicU64>) {
        // A node is added to one roll, once.
        let _ = self.all_changes.set(all);
    }

    /// How often it has changed.
    pub fn changes(&self) -> u64 {
        *self.changed.borrow()
    }

    /// Wakes when its presence changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes when what is to be on it changes.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// What is durable of it.
    pub fn record(&self) -> NodeRecord {
        self.lock().record.clone()
    }

    /// Replaces what is durable of it, once that was committed.
    pub fn set_record(&self, record: NodeRecord, now: Duration) {
        let wish = wish_of(&record);
        self.lock().record = record;
        self.on(wish, now);
        self.tell();
    }

    /// Takes what happened to it. What follows is kept until [`Node::notices`] is asked.
    pub fn on(&self, event: Event, now: Duration) {
        if self.local {
            // In this very process: there as long as anybody asks.
            return;
        }
        let changed = {
            let mut state = self.lock();
            let before = state.monitor.presence();
            let notices = state.monitor.on(event, now);
            let changed = !notices.is_empty();
            if state.monitor.presence() != before {
                state.since = now;
            }
            state.notices.extend(notices);
            changed
        };
        if changed {
            self.tell();
        }
    }

    /// What has changed since this was last asked; told once.
    pub fn notices(&self) -> Vec<Notice> {
        self.lock().notices.drain(..).collect()
    }

    /// Whether it can be counted on.
    pub fn presence(&self) -> Presence {
        match self.local {
            true => Presence::Up,
            false => self.lock().monitor.presence(),
        }
    }

    /// Its state as placement has it. Whatever the engine of a node in this very process does is waited for.
    pub fn state(&self) -> NodeState {
        let state = self.lock();
        match (self.local, &state.record) {
            (false, _) => state.monitor.state(),
            (true, record) if record.draining => NodeState::Draining,
            (true, record) if record.cordoned.is_some() => NodeState::Cordoned,
            (true, _) => NodeState::Ready,
        }
    }

    /// Whether what is on it, and may run twice or may not, is to run elsewhere; see [`Monitor::is_left`].
    pub fn is_left(&self, exclusive: bool) -> bool {
        !self.local && self.lock().monitor.is_left(exclusive)
    }

    /// Whether what may not run twice has been given to others, and it has not been back for long: what it
    /// says is not acknowledged.
    pub fn is_taken_over(&self) -> bool {
        self.lock().monitor.taken_over()
    }

    /// What is wrong with it, in words: why it is not heard, and what probes found.
    pub fn troubles(&self, now: Duration) -> Vec<String> {
        let state = self.lock();
        if self.local {
            return Vec::new();
        }
        let mut all = Vec::new();
        if state.monitor.presence() != Presence::Up {
            all.push(state.monitor.cause(now).to_string());
        }
        let problems = state.monitor.health().problems();
        all.extend(problems.map(|(_, problem)| problem.to_string()));
        all
    }

    /// When its presence last changed, by the monotonic clock.
    pub fn steady_since(&self) -> Duration {
        self.lock().since
    }

    /// What it is, as it last said.
    pub fn facts(&self) -> Option<Arc<NodeFacts>> {
        self.lock().facts.clone()
    }

    /// What it is, as it says now.
    pub fn set_facts(&self, facts: NodeFacts) {
        self.lock().facts = Some(Arc::new(facts));
        self.tell();
    }

    /// Its supervision tree, as it last said.
    pub fn tree(&self) -> Option<Arc<ActorView>> {
        self.lock().tree.clone()
    }

    /// Its supervision tree, as it says now.
    pub fn set_tree(&self, tree: ActorView) {
        self.lock().tree = Some(Arc::new(tree));
    }

    /// Its sinks of log events, as it last said.
    pub fn sinks(&self) -> Vec<SinkView> {
        self.lock().sinks.clone()
    }

    /// Its sinks of log events, as it says now.
    pub fn set_sinks(&self, sinks: Vec<SinkView>) {
        self.lock().sinks = sinks;
    }

    /// The connection to its agent, while there is one.
    pub fn link(&self) -> Option<Arc<Link>> {
        self.lock().link.clone()
    }

    /// Puts or takes away the connection. Requests that were open on the one before are answered by its end.
    pub fn set_link(&self, link: Option<Arc<Link>>, now: Duration) {
        let gone = link.is_none();
        let before = std::mem::replace(&mut self.lock().link, link);
        if let Some(before) = before {
            before.end();
        }
        if gone {
            self.on(Event::LinkClosed, now);
        }
        self.tell();
    }

    /// Takes away this connection, unless another has taken its place.
    pub fn drop_link(&self, link: &Arc<Link>, now: Duration) {
        let mine = self.link().is_some_and(|now| Arc::ptr_eq(&now, link));
        if mine {
            self.set_link(None, now);
        }
    }

    /// Changes what is to be of one container; nothing is sent when nothing changes.
    pub fn desire(&self, desired: Desired) -> u64 {
        let mut state = self.lock();
        let name = desired.assignment.container.name.clone();
        if state.desired.get(&name) == Some(&desired) {
            return *self.revision.borrow();
        }
        state.desired.insert(name.clone(), desired);
        self.touch(&mut state, name)
    }

    /// Changes a container that is desired; `None` when it is not.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Desired)) -> Option<u64> {
        let mut state = self.lock();
        let desired = state.desired.get_mut(name)?;
        let before = desired.clone();
        change(desired);
        if *desired == before {
            return Some(*self.revision.borrow());
        }
        Some(self.touch(&mut state, name.to_owned()))
    }

    /// The node itself changed a role, by promotion: that is not to be undone, nor told to it.
    pub fn adopt_role(&self, name: &str, role: crate::domain::view::InstanceRole) {
        if let Some(desired) = self.lock().desired.get_mut(name)
            && desired.assignment.role != role
        {
            Arc::make_mut(&mut desired.assignment).role = role;
        }
    }

    /// A container is not wanted any more.
    pub fn undesire(&self, name: &str) -> u64 {
        let mut state = self.lock();
        state.desired.remove(name);
        self.touch(&mut state, name.to_owned())
    }

    fn touch(&self, state: &mut State, name: String) -> u64 {
        let next = *self.revision.borrow() + 1;
        if let Some(before) = state.touched.insert(name.clone(), next) {
            state.by_revision.remove(&before);
        }
        state.by_revision.insert(next, name);
        self.revision.send_replace(next);
        next
    }

    /// What is to be of a container.
    pub fn desired(&self, name: &str) -> Option<Desired> {
        self.lock().desired.get(name).cloned()
    }

    /// Whether a container is to be on it.
    pub fn desires(&self, name: &str) -> bool {
        self.lock().desired.contains_key(name)
    }

    /// All that is to be on it, and what is not wanted there any more and was not said to be gone yet.
    pub fn all(&self) -> Delta {
        let state = self.lock();
        let unwanted = state.touched.keys();
        let unwanted = unwanted.filter(|name| !state.desired.contains_key(*name));
        Delta {
            revision: *self.revision.borrow(),
            put: state.desired.values().cloned().collect(),
            gone: unwanted.cloned().collect(),
        }
    }

    /// What changed after a revision.
    pub fn since(&self, revision: u64) -> Delta {
        let state = self.lock();
        let mut delta = Delta {
            revision: *self.revision.borrow(),
            put: Vec::new(),
            gone: Vec::new(),
        };
        for (_, name) in state.by_revision.range(revision.saturating_add(1)..) {
            match state.desired.get(name) {
                Some(desired) => delta.put.push(desired.clone()),
                None => delta.gone.push(name.clone()),
            }
        }
        delta
    }

    /// Whether a container that is not wanted any more was not said to be gone yet.
    pub fn awaits_end(&self, name: &str) -> bool {
        let state = self.lock();
        state.touched.contains_key(name) && !state.desired.contains_key(name)
    }

    /// At which revision what is wanted of a container last changed.
    pub fn touched_at(&self, name: &str) -> Option<u64> {
        self.lock().touched.get(name).copied()
    }

    /// The agent said that a container is gone: its name need not be kept.
    pub fn forget(&self, name: &str) {
        let mut state = self.lock();
        if !state.desired.contains_key(name)
            && let Some(at) = state.touched.remove(name)
        {
            state.by_revision.remove(&at);
        }
    }

    /// Whether its certificate has this fingerprint.
    pub fn has_certificate(&self, fingerprint: &str) -> bool {
        let state = self.lock();
        state.record.certificates.iter().any(|c| c == fingerprint)
    }

    /// Asks the node something.
    ///
    /// # Errors
    /// A sentence when it has no link.
    pub async fn ask(&self, request: Request) -> Result<Asked, String> {
        let link = self
            .link()
            .ok_or_else(|| format!("node {} is not connected", self.name))?;
        let id = self.next_request.fetch_add(1, Ordering::Relaxed);
        let asked = Asked::of(link, id, request).await;
        asked.ok_or_else(|| format!("node {} is not connected any more", self.name))
    }
}

/// What operators want of a node, or [`node_state::blame`] in their place.
fn wish_of(record: &NodeRecord) -> Event {
    match (record.draining, &record.cordoned) {
        (true, _) => Event::Drain,
        (false, Some(_)) => Event::Cordon,
        (false, None) => Event::Uncordon,
    }
}
