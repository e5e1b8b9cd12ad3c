//! What is really so, whatever any part of lain believes, and the invariants that are checked with every change of it.
//!
//! Fed by the machines (containers that start and end), by the store (what is committed), by the operator (what was
//! acknowledged) and by the faults (who has an excuse). Knows nothing of how lain decides.

use super::trace::Trace;
use crate::actors::control::render;
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::record::{Placement, keys};
use crate::ports::store::Change;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What one level of `cpu` reserves, as `docs/placement.md` has it.
const CPU_OF_LEVEL: u64 = 125;
/// For how long after a fault what it led to may still be put right.
const SLACK: Duration = Duration::from_secs(15);
/// For how long after an injected crash an instance may be restarted or moved because of it.
const CRASH_SLACK: Duration = Duration::from_secs(60);

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// No exclusive instance runs twice at any moment.
    ExclusiveOnce,
    /// What is placed on a node never reserves more than the node has.
    CapacityKept,
    /// Once faults end, all becomes as it is wanted within a bound.
    Converges,
    /// What was acknowledged stays.
    AcknowledgedKept,
    /// What no fault and no command concerns runs on.
    BystandersRunOn,
    /// No actor panics.
    NoPanic,
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When, in milliseconds of virtual time.
    pub at_ms: u64,
    /// What was seen.
    pub what: String,
}

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A fault of the schedule.
    Fault,
    /// Its agent stopped it, since the control host could not be heard.
    Fence,
    /// Its agent stopped it as it was told.
    Asked,
}

/// A committed placement, as far as it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The instance.
    pub instance: InstanceId,
    /// Its node.
    pub node: NodeName,
    /// The container that it stands for.
    pub container: String,
    cpu: u64,
    memory: u64,
}

#[derive(Debug, Default)]
struct Host {
    cpu: u64,
    memory: u64,
    reserved: (u64, u64),
    /// Until when what runs there may be moved or restarted because of a fault.
    disturbed: Duration,
    draining: bool,
}

/// What is checked of a committed app.
#[derive(Debug, Default, Deserialize)]
struct AppLite {
    revision: u64,
    operation: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct NodeLite {
    draining: bool,
}

#[derive(Debug, Default)]
struct App {
    revision: u64,
    /// Until when its instances may be changed by an operation.
    busy: Duration,
}

/// See the module.
pub struct Truth {
    /// What happened.
    pub trace: Trace,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// Everything that is placed, by key.
    pub placed: BTreeMap<String, Placed>,
    hosts: BTreeMap<NodeName, Host>,
    running: BTreeMap<InstanceId, BTreeSet<(NodeName, String)>>,
    apps: BTreeMap<String, App>,
    crashed: BTreeMap<InstanceId, Duration>,
    control_away: Duration,
}

/// The truth, shared.
#[derive(Clone)]
pub struct Ground(Arc<Mutex<Truth>>);

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

impl Ground {
    /// Nothing is so yet.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Truth {
            trace: Trace::new(),
            violations: Vec::new(),
            placed: BTreeMap::new(),
            hosts: BTreeMap::new(),
            running: BTreeMap::new(),
            apps: BTreeMap::new(),
            crashed: BTreeMap::new(),
            control_away: Duration::ZERO,
        })))
    }

    /// Looks at it or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Truth) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a line to the trace.
    pub fn note(&self, text: impl Display) {
        self.with(|truth| truth.trace.note(text));
    }
}

impl Truth {
    fn now(&self) -> Duration {
        self.trace.now()
    }

    /// An invariant does not hold.
    pub fn violated(&mut self, invariant: Invariant, what: String) {
        self.trace.note(format!("VIOLATION {invariant:?}: {what}"));
        let at_ms = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        self.violations.push(Violation {
            invariant,
            at_ms,
            what,
        });
    }

    /// There is a node of this size: thousandths of a core, and bytes.
    pub fn add_host(&mut self, name: &NodeName, cpu: u64, memory: u64) {
        let host = self.hosts.entry(name.clone()).or_default();
        (host.cpu, host.memory) = (cpu, memory);
    }

    /// A fault begins that concerns a node; it ends with [`Truth::undisturb`].
    pub fn disturb(&mut self, node: &NodeName) {
        if let Some(host) = self.hosts.get_mut(node) {
            host.disturbed = Duration::MAX;
        }
    }

    /// A fault of a node is over.
    pub fn undisturb(&mut self, node: &NodeName) {
        let until = self.now() + SLACK;
        if let Some(host) = self.hosts.get_mut(node) {
            host.disturbed = until;
        }
    }

    /// The control host is away until [`Truth::control_is_back`].
    pub fn control_is_away(&mut self) {
        self.control_away = Duration::MAX;
    }

    /// The control host is there.
    pub fn control_is_back(&mut self) {
        self.control_away = self.now() + SLACK;
    }

    /// A crash of an instance is injected.
    pub fn crash(&mut self, instance: &InstanceId) {
        let until = self.now() + CRASH_SLACK;
        self.crashed.insert(instance.clone(), until);
    }

    fn is_disturbed(&self, node: &NodeName) -> bool {
        let now = self.now();
        let excused = |h: &Host| h.disturbed >= now || h.draining;
        self.hosts.get(node).is_none_or(excused)
    }

    fn is_busy(&self, instance: &InstanceId) -> bool {
        let now = self.now();
        let app = self.apps.get(instance.app.as_str());
        app.is_none_or(|a| a.busy >= now) || self.crashed.get(instance).is_some_and(|c| *c >= now)
    }

    /// A container runs from now on.
    pub fn started(&mut self, node: &NodeName, container: &str, instance: &InstanceId, once: bool) {
        self.trace.note(format!("{node}: {container} runs"));
        if !once {
            return;
        }
        let running = self.running.entry(instance.clone()).or_default();
        running.insert((node.clone(), container.to_owned()));
        if running.len() > 1 {
            let all: Vec<String> = running.iter().map(|(n, c)| format!("{c} on {n}")).collect();
            let what = format!("{instance} runs as {}", all.join(" and "));
            self.violated(Invariant::ExclusiveOnce, what);
        }
    }

    /// A container does not run any more.
    pub fn ended(&mut self, node: &NodeName, container: &str, instance: &InstanceId, why: Why) {
        self.trace
            .note(format!("{node}: {container} ends ({why:?})"));
        if let Some(running) = self.running.get_mut(instance) {
            running.remove(&(node.clone(), container.to_owned()));
        }
        let placed = self.placed.get(&keys::instance(instance));
        let counts = placed.is_some_and(|p| &p.node == node && p.container == container);
        let excused = match why {
            Why::Fault => true,
            Why::Fence => self.is_disturbed(node) || self.control_away >= self.now(),
            Why::Asked => !counts || self.is_disturbed(node) || self.is_busy(instance),
        };
        if !excused {
            let what = format!("{container} on {node} was stopped, and nothing called for it");
            self.violated(Invariant::BystandersRunOn, what);
        }
    }

    /// The store has taken these changes.
    pub fn committed(&mut self, changes: &[Change]) {
        let mut grown = BTreeSet::new();
        for change in changes {
            match change {
                Change::Put(key, value) if key.starts_with(keys::INSTANCES) => {
                    if let Ok(placement) = serde_json::from_slice::<Placement>(value) {
                        grown.insert(placement.node.clone());
                        self.place(key, &placement);
                    }
                }
                Change::Put(key, value) => self.put(key, value),
                Change::Delete(key) => self.delete(key),
                Change::DeletePrefix(prefix) => {
                    let all = self.placed.keys().filter(|k| k.starts_with(prefix));
                    for key in all.cloned().collect::<Vec<_>>() {
                        self.delete(&key);
                    }
                }
            }
        }
        for node in grown {
            self.check_capacity(&node);
        }
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        let now = self.now();
        if let Some(name) = key.strip_prefix(keys::APPS) {
            let Ok(lite) = serde_json::from_slice::<AppLite>(value) else {
                return;
            };
            let app = self.apps.entry(name.to_owned()).or_default();
            let was_busy = app.busy == Duration::MAX;
            app.revision = lite.revision;
            app.busy = match lite.operation {
                Some(_) => Duration::MAX,
                None if was_busy => now + SLACK,
                None => app.busy,
            };
            let (revision, busy) = (lite.revision, lite.operation.is_some());
            self.trace
                .note(format!("store: app {name} revision {revision} busy {busy}"));
        } else if let Some(name) = key.strip_prefix(keys::NODES) {
            let lite = serde_json::from_slice::<NodeLite>(value).unwrap_or_default();
            let until = now + SLACK;
            if let Ok(name) = NodeName::new(name)
                && let Some(host) = self.hosts.get_mut(&name)
            {
                if host.draining && !lite.draining && host.disturbed < until {
                    host.disturbed = until;
                }
                host.draining = lite.draining;
            }
        }
    }

    fn delete(&mut self, key: &str) {
        if let Some(before) = self.placed.remove(key) {
            self.release(&before);
            self.trace
                .note(format!("store: {} is gone", before.instance));
        } else if let Some(name) = key.strip_prefix(keys::APPS) {
            self.apps.remove(name);
            self.trace.note(format!("store: app {name} is gone"));
        }
    }

    fn release(&mut self, placed: &Placed) {
        if let Some(host) = self.hosts.get_mut(&placed.node) {
            host.reserved.0 -= placed.cpu;
            host.reserved.1 -= placed.memory;
        }
    }

    fn place(&mut self, key: &str, placement: &Placement) {
        let (level, memory) = placement.resources;
        let now = Placed {
            instance: placement.instance.clone(),
            node: placement.node.clone(),
            container: render::name_of(placement),
            cpu: u64::from(level) * CPU_OF_LEVEL,
            memory,
        };
        let before = self.placed.insert(key.to_owned(), now.clone());
        if let Some(host) = self.hosts.get_mut(&now.node) {
            host.reserved.0 += now.cpu;
            host.reserved.1 += now.memory;
        }
        if let Some(before) = &before {
            self.release(before);
        }
        if before.as_ref() == Some(&now) {
            return;
        }
        self.trace
            .note(format!("store: {} on {}", now.container, now.node));
        let moved = before.filter(|b| b.node != now.node);
        if let Some(before) = moved
            && !self.is_disturbed(&before.node)
            && !self.is_busy(&now.instance)
        {
            let what = format!(
                "{} was moved from {} to {}, and nothing called for it",
                now.instance, before.node, now.node
            );
            self.violated(Invariant::BystandersRunOn, what);
        }
    }

    fn check_capacity(&mut self, node: &NodeName) {
        let Some(host) = self.hosts.get(node) else {
            return;
        };
        let (cpu, memory) = host.reserved;
        if cpu > host.cpu || memory > host.memory {
            let what = format!(
                "{node} has {} of CPU and {} MiB, and {cpu} and {} MiB are placed on it",
                host.cpu,
                host.memory >> 20,
                memory >> 20
            );
            self.violated(Invariant::CapacityKept, what);
        }
    }

    /// A change of an app at this revision was acknowledged: the store has it.
    pub fn acknowledged(&mut self, app: &str, revision: u64) {
        let kept = self.apps.get(app).map_or(0, |a| a.revision);
        if kept < revision {
            let what = format!(
                "revision {revision} of app {app} was acknowledged, and the store has {kept}"
            );
            self.violated(Invariant::AcknowledgedKept, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_exclusive_instance_on_two_nodes_is_seen_at_once() {
        let ground = Ground::new();
        let id: InstanceId = "shop.worker.only.i1".parse().expect("an id");
        let node = |n: &str| n.parse::<NodeName>().expect("a name");
        ground.with(|t| t.started(&node("n1"), "a", &id, true));
        assert!(ground.with(|t| t.violations.is_empty()));
        ground.with(|t| t.started(&node("n2"), "b", &id, true));
        let seen = ground.with(|t| t.violations.clone());
        assert_eq!(seen[0].invariant, Invariant::ExclusiveOnce);
    }
}
