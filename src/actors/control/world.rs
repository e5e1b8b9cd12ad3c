//! Desired state, placements and operations, mirrored from the store for reading.
//!
//! The store is the truth: a change is committed there first, then put here. Loaded whole at start.

use crate::actors::host_ports::HostPorts;
use crate::domain::id::{AppName, InstanceId, NodeName, OperationId};
use crate::domain::record::{AppRecord, Placement, keys};
use crate::domain::view::{OperationView, RunView};
use crate::ports::store::{Entry, Store, StoreError};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// Operations kept in memory; older ones are read from the store.
const OPERATIONS_KEPT: usize = 500;
/// Keys read from the store at a time.
const PAGE: usize = 500;

/// An app's record with the store's revision of it.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The record.
    pub record: Arc<AppRecord>,
    /// The store's revision.
    pub revision: u64,
}

#[derive(Default)]
struct State {
    apps: BTreeMap<AppName, Versioned>,
    placements: BTreeMap<AppName, BTreeMap<InstanceId, Arc<Placement>>>,
    ports: HostPorts,
    /// The instances on each node.
    on: HashMap<NodeName, BTreeSet<InstanceId>>,
    /// Instances whose placement or whose app has changed since this was last asked; `None`: nobody has asked yet.
    changed: Option<BTreeSet<InstanceId>>,
    /// By id, which sorts by time.
    operations: BTreeMap<String, Arc<OperationView>>,
    runs: BTreeMap<(AppName, String), Vec<RunView>>,
    retries: BTreeMap<InstanceId, DateTime<Utc>>,
    troubles: BTreeMap<AppName, String>,
}

fn ports_of(placement: &Placement) -> impl Iterator<Item = u16> {
    placement.ports.iter().map(|(_, host)| *host)
}

impl State {
    fn note(&mut self, id: &InstanceId) {
        if let Some(changed) = &mut self.changed {
            changed.insert(id.clone());
        }
    }

    fn put_placement(&mut self, placement: Arc<Placement>) {
        self.note(&placement.instance);
        let on = self.on.entry(placement.node.clone()).or_default();
        on.insert(placement.instance.clone());
        self.ports.hold(&placement.node, ports_of(&placement));
        let all = self
            .placements
            .entry(placement.instance.app.clone())
            .or_default();
        if let Some(before) = all.insert(placement.instance.clone(), placement) {
            self.release(&before);
        }
    }

    /// Gives back the place and the host ports of a placement that is gone or replaced.
    fn release(&mut self, placement: &Placement) {
        let id = &placement.instance;
        self.note(id);
        let now = self.placements.get(&id.app).and_then(|all| all.get(id));
        if now.is_none_or(|now| now.node != placement.node)
            && let Some(on) = self.on.get_mut(&placement.node)
        {
            on.remove(id);
            if on.is_empty() {
                self.on.remove(&placement.node);
            }
        }
        self.ports.release(&placement.node, ports_of(placement));
    }
}

/// The mirror; all its methods return at once.
pub struct World {
    state: RwLock<State>,
    operations: watch::Sender<u64>,
    endpoints: watch::Sender<u64>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            state: RwLock::default(),
            operations: watch::channel(0).0,
            endpoints: watch::channel(0).0,
        }
    }
}

/// Reads all entries under a prefix.
///
/// # Errors
/// As [`Store::list`].
pub async fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<Entry>, StoreError> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map(|e| e.key.clone());
        let page = store.list(prefix, after.as_deref(), PAGE).await?;
        let full = page.len() == PAGE;
        all.extend(page);
        if !full {
            return Ok(all);
        }
    }
}

/// Reads an entry's JSON.
///
/// # Errors
/// [`StoreError::Corrupt`] naming the key.
pub fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, StoreError> {
    serde_json::from_slice(&entry.value).map_err(|e| StoreError::Corrupt {
        path: entry.key.clone(),
        reason: e.to_string(),
        remedy: "it was written by another version of lain, or damaged; restore a backup of the data folder, or remove this key".to_owned(),
    })
}

impl World {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads everything from the store, replacing what was here.
    ///
    /// # Errors
    /// What the store said, or [`StoreError::Corrupt`] for a value that cannot be read.
    pub async fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut fresh = State::default();
        for entry in list_all(store, keys::APPS).await? {
            let record: AppRecord = decode(&entry)?;
            let name = record.current.spec.appname.clone();
            fresh.apps.insert(
                name,
                Versioned {
                    record: Arc::new(record),
                    revision: entry.revision,
                },
            );
        }
        for entry in list_all(store, keys::INSTANCES).await? {
            fresh.put_placement(Arc::new(decode(&entry)?));
        }
        for entry in store
            .list_back(keys::OPERATIONS, None, OPERATIONS_KEPT)
            .await?
        {
            let operation: OperationView = decode(&entry)?;
            fresh
                .operations
                .insert(operation.id.clone(), Arc::new(operation));
        }
        for entry in list_all(store, keys::RUNS).await? {
            if let Some((app, proc)) = entry.key.trim_start_matches(keys::RUNS).split_once('/')
                && let Ok(app) = AppName::new(app)
            {
                fresh.runs.insert((app, proc.to_owned()), decode(&entry)?);
            }
        }
        *self.write() = fresh;
        Ok(())
    }

    /// All apps by name.
    pub fn apps(&self) -> Vec<(AppName, Versioned)> {
        self.read()
            .apps
            .iter()
            .map(|(name, app)| (name.clone(), app.clone()))
            .collect()
    }

    /// One app.
    pub fn app(&self, name: &AppName) -> Option<Versioned> {
        self.read().apps.get(name).cloned()
    }

    /// Puts an app that was committed at this revision.
    pub fn put_app(&self, record: AppRecord, revision: u64) -> Versioned {
        let versioned = Versioned {
            record: Arc::new(record),
            revision,
        };
        let name = versioned.record.current.spec.appname.clone();
        let mut state = self.write();
        let ids = state.placements.get(&name).into_iter().flatten();
        for id in ids.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            state.note(&id);
        }
        state.apps.insert(name, versioned.clone());
        drop(state);
        versioned
    }

    /// Forgets an app and what belongs to it.
    pub fn remove_app(&self, name: &AppName) {
        let mut state = self.write();
        state.apps.remove(name);
        for placement in state
            .placements
            .remove(name)
            .unwrap_or_default()
            .into_values()
        {
            state.release(&placement);
        }
        state.runs.retain(|(app, _), _| app != name);
        state.retries.retain(|id, _| &id.app != name);
        state.troubles.remove(name);
    }

    /// The placements of one app, in order.
    pub fn placements(&self, app: &AppName) -> Vec<Placement> {
        self.read()
            .placements
            .get(app)
            .map(|all| all.values().map(|p| Placement::clone(p)).collect())
            .unwrap_or_default()
    }

    /// Shows each placement of one app, in order, with the time of its next try where one is set; copies nothing.
    pub fn each_placement(
        &self,
        app: &AppName,
        mut look: impl FnMut(&Placement, Option<DateTime<Utc>>),
    ) {
        let state = self.read();
        for (id, placement) in state.placements.get(app).into_iter().flatten() {
            look(placement, state.retries.get(id).copied());
        }
    }

    /// All placements.
    pub fn all_placements(&self) -> Vec<Placement> {
        self.read()
            .placements
            .values()
            .flat_map(BTreeMap::values)
            .map(|p| Placement::clone(p))
            .collect()
    }

    /// The placements on one node.
    pub fn placements_on(&self, node: &NodeName) -> Vec<Placement> {
        let state = self.read();
        let on = state.on.get(node).into_iter().flatten();
        on.filter_map(|id| state.placements.get(&id.app)?.get(id))
            .map(|p| Placement::clone(p))
            .collect()
    }

    /// The instances whose placement or whose app has changed since this was last asked; `None`: any may have.
    pub fn take_changed(&self) -> Option<BTreeSet<InstanceId>> {
        self.write().changed.replace(BTreeSet::new())
    }

    /// One placement.
    pub fn placement(&self, id: &InstanceId) -> Option<Arc<Placement>> {
        self.read().placements.get(&id.app)?.get(id).cloned()
    }

    /// Puts a placement that was committed.
    pub fn put_placement(&self, placement: Placement) {
        self.write().put_placement(Arc::new(placement));
        self.touch_endpoints();
    }

    /// Changes a placement in memory; returns it as it is now, or nothing when it is gone.
    pub fn change_placement(
        &self,
        id: &InstanceId,
        change: impl FnOnce(&mut Placement),
    ) -> Option<Arc<Placement>> {
        let mut state = self.write();
        let before = state.placements.get(&id.app)?.get(id)?;
        let mut placement = Placement::clone(before);
        change(&mut placement);
        let placement = Arc::new(placement);
        state.put_placement(Arc::clone(&placement));
        drop(state);
        self.touch_endpoints();
        Some(placement)
    }

    /// When a degraded instance is tried again; `None`: it is not waiting.
    pub fn set_retry(&self, id: &InstanceId, due: Option<DateTime<Utc>>) {
        let mut state = self.write();
        match due {
            Some(due) => state.retries.insert(id.clone(), due),
            None => state.retries.remove(id),
        };
    }

    /// When a degraded instance is tried again.
    pub fn retry(&self, id: &InstanceId) -> Option<DateTime<Utc>> {
        self.read().retries.get(id).copied()
    }

    /// Why an app as a whole is degraded; `None`: it is not.
    pub fn set_trouble(&self, app: &AppName, trouble: Option<String>) {
        let mut state = self.write();
        match trouble {
            Some(trouble) => state.troubles.insert(app.clone(), trouble),
            None => state.troubles.remove(app),
        };
    }

    /// Why an app as a whole is degraded.
    pub fn trouble(&self, app: &AppName) -> Option<String> {
        self.read().troubles.get(app).cloned()
    }

    /// Forgets a placement.
    pub fn remove_placement(&self, id: &InstanceId) {
        let mut state = self.write();
        let gone = state
            .placements
            .get_mut(&id.app)
            .and_then(|all| all.remove(id));
        if let Some(gone) = gone {
            state.release(&gone);
        }
        drop(state);
        self.touch_endpoints();
    }

    /// The addresses at which instances answer may have changed: wakes those who follow them.
    pub fn touch_endpoints(&self) {
        self.endpoints.send_modify(|n| *n += 1);
    }

    /// Wakes whenever the addresses at which instances answer may have changed.
    pub fn watch_endpoints(&self) -> watch::Receiver<u64> {
        self.endpoints.subscribe()
    }

    /// Whether a host port of a node is given to some instance.
    pub fn is_port_allocated(&self, node: &NodeName, port: u16) -> bool {
        self.read().ports.is_held(node, port)
    }

    /// The last runs of a cron or oneshot proc, newest first.
    pub fn runs(&self, app: &AppName, full_name: &str) -> Vec<RunView> {
        self.read()
            .runs
            .get(&(app.clone(), full_name.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    /// Replaces the runs of a proc.
    pub fn put_runs(&self, app: &AppName, full_name: &str, runs: Vec<RunView>) {
        self.write()
            .runs
            .insert((app.clone(), full_name.to_owned()), runs);
    }

    /// Puts an operation, new or changed, and wakes those who watch operations.
    pub fn put_operation(&self, operation: OperationView) {
        {
            let all = &mut self.write().operations;
            all.insert(operation.id.clone(), Arc::new(operation));
            // What is in progress stays, however much that is: whoever carries it out looks for it here.
            if all.len() > OPERATIONS_KEPT
                && let Some(oldest) = all.values().find(|o| o.state.is_final())
            {
                let oldest = oldest.id.clone();
                all.remove(&oldest);
            }
        }
        self.operations.send_modify(|n| *n += 1);
    }

    /// An operation that is in memory.
    pub fn operation(&self, id: &OperationId) -> Option<Arc<OperationView>> {
        self.read().operations.get(id.as_str()).cloned()
    }

    /// Operations in memory, newest first.
    pub fn operations(&self) -> Vec<Arc<OperationView>> {
        self.read().operations.values().rev().cloned().collect()
    }

    /// Wakes at each change of an operation.
    pub fn watch_operations(&self) -> watch::Receiver<u64> {
        self.operations.subscribe()
    }
}
