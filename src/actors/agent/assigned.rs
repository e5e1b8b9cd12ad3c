//! What the control host wants on this node, and what this node has to tell it: the state of an agent that
//! outlives its actors.
//!
//! Written by the `assignments` and `link` actors and by cells; empty where control host and node are one
//! process.

use crate::domain::node_state::lease::AgentLease;
use crate::ports::agent::Desired;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// See the module.
#[derive(Default)]
pub struct Assigned {
    state: Mutex<State>,
    /// Wakes the link: there is something to report.
    pub to_report: Notify,
    /// Until when what may run only once may run here.
    lease: Mutex<AgentLease>,
    /// The agent stops in good order, and has said so to the control host.
    leaving: watch::Sender<Leaving>,
}

/// How far the farewell of an agent that stops in good order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leaving {
    /// It stays.
    #[default]
    No,
    /// It is to be said.
    Asked,
    /// It was said.
    Said,
}

#[derive(Default)]
struct State {
    desired: BTreeMap<String, Desired>,
    keep: BTreeSet<String>,
    revision: u64,
    dirty: BTreeSet<String>,
    gone: BTreeSet<String>,
    all: bool,
}

/// What changed since the last report.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Containers to be reported.
    pub dirty: BTreeSet<String>,
    /// Containers that are gone.
    pub gone: BTreeSet<String>,
    /// All containers are to be reported.
    pub all: bool,
    /// The revision that was taken up.
    pub revision: u64,
}

/// One container's desired state, before and after.
pub type Changed = (String, Option<Desired>, Option<Desired>);

impl Assigned {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was assigned before this process began; not a change.
    pub fn load(&self, desired: impl IntoIterator<Item = Desired>) {
        let mut state = self.lock();
        state.desired = desired
            .into_iter()
            .map(|d| (d.assignment.container.name.clone(), d))
            .collect();
    }

    /// All that is assigned.
    pub fn all(&self) -> Vec<Desired> {
        self.lock().desired.values().cloned().collect()
    }

    /// What is assigned under a name.
    pub fn get(&self, name: &str) -> Option<Desired> {
        self.lock().desired.get(name).cloned()
    }

    /// Whether a container is assigned, or to be left alone.
    pub fn is_known(&self, name: &str) -> bool {
        let state = self.lock();
        state.desired.contains_key(name) || state.keep.contains(name)
    }

    /// Takes up all assignments, or what changed of them; gives what is different from before. How each of them is is
    /// reported, also where nothing is different. An older revision than was taken up on this connection changes
    /// nothing.
    pub fn apply(
        &self,
        revision: u64,
        put: Vec<Desired>,
        gone: Vec<String>,
        all: bool,
        keep: Vec<String>,
    ) -> Vec<Changed> {
        let mut state = self.lock();
        if !all && revision <= state.revision {
            return Vec::new();
        }
        state.revision = revision;
        let mut changed = Vec::new();
        if all {
            state.keep = keep.into_iter().collect();
            let named: BTreeSet<String> = put
                .iter()
                .map(|d| d.assignment.container.name.clone())
                .collect();
            let dropped: Vec<String> = state
                .desired
                .keys()
                .filter(|n| !named.contains(*n) && !state.keep.contains(*n))
                .cloned()
                .collect();
            for name in dropped {
                let before = state.desired.remove(&name);
                changed.push((name, before, None));
            }
        }
        for now in put {
            let name = now.assignment.container.name.clone();
            let before = state.desired.insert(name.clone(), now.clone());
            // A control host that took over, or restarted, may assign what runs already: it has to hear how that is.
            state.dirty.insert(name.clone());
            if before.as_ref() != Some(&now) {
                changed.push((name, before, Some(now)));
            }
        }
        for name in gone {
            let before = state.desired.remove(&name);
            state.keep.remove(&name);
            changed.push((name, before, None));
        }
        drop(state);
        self.to_report.notify_one();
        changed
    }

    /// A new connection begins: revisions of the one before mean nothing on it.
    pub fn connected(&self) {
        self.lock().revision = 0;
    }

    /// A container looks different.
    pub fn touch(&self, names: impl IntoIterator<Item = String>) {
        self.lock().dirty.extend(names);
        self.to_report.notify_one();
    }

    /// Everything is to be reported.
    pub fn report_all(&self) {
        self.lock().all = true;
        self.to_report.notify_one();
    }

    /// A container is gone.
    pub fn is_gone(&self, name: String) {
        let mut state = self.lock();
        state.dirty.remove(&name);
        state.gone.insert(name);
        drop(state);
        self.to_report.notify_one();
    }

    /// What is to be reported; taken once.
    pub fn take_news(&self) -> News {
        let mut state = self.lock();
        News {
            dirty: std::mem::take(&mut state.dirty),
            gone: std::mem::take(&mut state.gone),
            all: std::mem::take(&mut state.all),
            revision: state.revision,
        }
    }

    /// Until when what may run only once may run here.
    pub fn lease(&self) -> AgentLease {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the lease.
    pub fn change_lease(&self, change: impl FnOnce(&mut AgentLease)) {
        change(&mut self.lease.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks for the farewell to the control host, or notes that it was said.
    pub fn leave(&self, how_far: Leaving) {
        self.leaving.send_replace(how_far);
    }

    /// How far the farewell is.
    pub fn leaving(&self) -> watch::Receiver<Leaving> {
        self.leaving.subscribe()
    }
}

#[cfg(test)]
#[path = "assigned_tests.rs"]
mod tests;
