//! How many there are of what: the figures behind `/metrics`, counted without a view of each.
//!
//! The control host counts where things are; [`Census::of`] counts the same from views, for tests and for a control
//! host that has nothing else.

use crate::domain::view::{ActorView, AppState, AppView, InstanceState, ProcView};
use std::collections::BTreeMap;

/// Figures of a whole installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// The state of each app.
    pub apps: Vec<AppState>,
    /// Each proc of each app.
    pub procs: Vec<ProcCensus>,
    /// The supervision tree.
    pub actors: ActorCensus,
}

/// Figures of a proc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcCensus {
    /// Its app.
    pub app: String,
    /// `<type>.<name>`.
    pub proc: String,
    /// Instances wanted.
    pub wanted: u32,
    /// Restarts of the instances that it has now.
    pub restarts: u64,
    /// Crashes since it was deployed.
    pub crashes: u64,
    /// How many of its instances are in each state; states of none are left out.
    pub instances: Vec<(InstanceState, u64)>,
}

/// Figures of the supervision tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActorCensus {
    /// Actors by the word of their state.
    pub by_state: BTreeMap<String, u64>,
    /// Restarts of the actors that there are now.
    pub restarts: u64,
    /// Messages that wait.
    pub waiting: u64,
}

impl Census {
    /// Counts views.
    pub fn of(apps: &[AppView], root: &ActorView) -> Self {
        let of_app = |app: &AppView| {
            let count = |proc: &ProcView| ProcCensus::of(app, proc);
            app.procs.iter().map(count).collect::<Vec<_>>()
        };
        Self {
            apps: apps.iter().map(|app| app.state).collect(),
            procs: apps.iter().flat_map(of_app).collect(),
            actors: ActorCensus::of(root),
        }
    }
}

impl ProcCensus {
    fn of(app: &AppView, proc: &ProcView) -> Self {
        let mut instances = StateCounts::default();
        proc.instances.iter().for_each(|i| instances.add(i.state));
        Self {
            app: app.name.clone(),
            proc: proc.full_name.clone(),
            wanted: proc.wanted,
            restarts: proc.instances.iter().map(|i| i.restarts).sum(),
            crashes: proc.crashes,
            instances: instances.0,
        }
    }
}

impl ActorCensus {
    fn of(root: &ActorView) -> Self {
        let (mut census, mut stack) = (Self::default(), vec![root]);
        while let Some(actor) = stack.pop() {
            *census.by_state.entry(actor.state.clone()).or_default() += 1;
            census.restarts += actor.restarts;
            census.waiting += actor.mailbox.as_ref().map_or(0, |mailbox| mailbox.length);
            stack.extend(&actor.children);
        }
        census
    }
}

/// Counts by state, in the order in which states first came up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateCounts(Vec<(InstanceState, u64)>);

impl StateCounts {
    /// Counts one.
    pub fn add(&mut self, state: InstanceState) {
        match self.0.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => self.0.push((state, 1)),
        }
    }

    /// How many are in a state.
    pub fn of(&self, state: InstanceState) -> u64 {
        let found = self.0.iter().find(|(known, _)| *known == state);
        found.map_or(0, |(_, count)| *count)
    }

    /// The counts, as a census holds them.
    pub fn into_counts(self) -> Vec<(InstanceState, u64)> {
        self.0
    }
}
