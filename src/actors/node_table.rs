//! The containers of this node, and on a control host those of all nodes: by name, by instance, by node.
//!
//! Written by whoever assigns containers, read by everybody; nobody waits for an actor.

use crate::actors::agent::cell::ContainerCell;
use crate::actors::host_ports::HostPorts;
use crate::domain::id::{ContainerId, InstanceId, NodeName};
use crate::ports::runtime::ContainerStatus;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The containers that are to run, or still run, on this node: by name, by instance and by engine id.
#[derive(Default)]
pub struct NodeTable {
    cells: RwLock<Cells>,
    found: Mutex<HashMap<String, ContainerStatus>>,
    /// Held while a container is assigned.
    pub assigning: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Cells {
    /// Ordered, so that whoever goes through all of them does so in the same order at each run.
    by_name: BTreeMap<String, Arc<ContainerCell>>,
    /// As `by_name`, of each node.
    by_node: BTreeMap<NodeName, BTreeMap<String, Arc<ContainerCell>>>,
    /// Ordered, so that the instances of a proc lie together.
    by_instance: BTreeMap<InstanceId, Vec<Arc<ContainerCell>>>,
    ports: HostPorts,
    /// Instances of which one came or went since this was last asked; `None`: nobody has asked yet.
    changed: Option<BTreeSet<InstanceId>>,
}

impl Cells {
    fn note(&mut self, id: &InstanceId) {
        if let Some(changed) = &mut self.changed {
            changed.insert(id.clone());
        }
    }
}

fn ports_of(cell: &ContainerCell) -> impl Iterator<Item = u16> {
    cell.assignment.container.ports.iter().map(|p| p.host_port)
}

impl NodeTable {
    fn read(&self) -> RwLockReadGuard<'_, Cells> {
        self.cells.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cells> {
        self.cells.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell of a container.
    pub fn get(&self, name: &str) -> Option<Arc<ContainerCell>> {
        self.read().by_name.get(name).cloned()
    }

    /// All cells.
    pub fn all(&self) -> Vec<Arc<ContainerCell>> {
        self.read().by_name.values().cloned().collect()
    }

    /// The cell whose container has this engine id.
    pub fn by_engine_id(&self, id: &ContainerId) -> Option<Arc<ContainerCell>> {
        self.read()
            .by_name
            .values()
            .find(|c| c.look(|o| o.id.as_ref() == Some(id)))
            .cloned()
    }

    /// Whether a cell of a node has this host port.
    pub fn publishes(&self, node: &NodeName, port: u16) -> bool {
        self.read().ports.is_held(node, port)
    }

    /// All cells of a node.
    pub fn on(&self, node: &NodeName) -> Vec<Arc<ContainerCell>> {
        let cells = self.read();
        let on = cells.by_node.get(node).into_iter().flatten();
        on.map(|(_, cell)| Arc::clone(cell)).collect()
    }

    /// The instances of which a cell came or went since this was last asked; `None`: any may have.
    pub fn take_changed(&self) -> Option<BTreeSet<InstanceId>> {
        self.write().changed.replace(BTreeSet::new())
    }

    /// The cells of one instance, oldest version first: two while a new version takes over.
    pub fn of(&self, id: &InstanceId) -> Vec<Arc<ContainerCell>> {
        self.read().by_instance.get(id).cloned().unwrap_or_default()
    }

    /// The cells of all instances of a proc.
    pub fn of_proc(&self, id: &InstanceId) -> Vec<Arc<ContainerCell>> {
        let from = InstanceId {
            no: 0,
            ..id.clone()
        };
        let to = InstanceId {
            no: u32::MAX,
            ..id.clone()
        };
        self.read()
            .by_instance
            .range(from..=to)
            .flat_map(|(_, cells)| cells)
            .cloned()
            .collect()
    }

    /// Adds a cell; one of the same name is replaced.
    pub fn insert(&self, cell: Arc<ContainerCell>) {
        let mut cells = self.write();
        cells.note(cell.instance());
        let mine = cells
            .by_instance
            .entry(cell.instance().clone())
            .or_default();
        mine.retain(|c| c.name() != cell.name());
        mine.push(Arc::clone(&cell));
        mine.sort_by_key(|c| c.assignment.version);
        let name = cell.name().to_owned();
        let on = cells.by_node.entry(cell.node().clone()).or_default();
        on.insert(name.clone(), Arc::clone(&cell));
        cells.ports.hold(cell.node(), ports_of(&cell));
        if let Some(before) = cells.by_name.insert(name, Arc::clone(&cell)) {
            cells.ports.release(before.node(), ports_of(&before));
            if before.node() != cell.node()
                && let Some(on) = cells.by_node.get_mut(before.node())
            {
                on.remove(before.name());
            }
        }
    }

    /// Forgets a cell.
    pub fn remove(&self, name: &str) -> Option<Arc<ContainerCell>> {
        let mut cells = self.write();
        let cell = cells.by_name.remove(name)?;
        cells.note(cell.instance());
        cells.ports.release(cell.node(), ports_of(&cell));
        if let Some(on) = cells.by_node.get_mut(cell.node()) {
            on.remove(name);
            if on.is_empty() {
                cells.by_node.remove(cell.node());
            }
        }
        if let Some(mine) = cells.by_instance.get_mut(cell.instance()) {
            mine.retain(|c| c.name() != name);
            if mine.is_empty() {
                cells.by_instance.remove(cell.instance());
            }
        }
        Some(cell)
    }

    /// Keeps what the engine listed, so that actors adopt without asking one by one.
    pub fn set_found(&self, found: Vec<ContainerStatus>) {
        let found = found.into_iter().map(|c| (c.name.clone(), c)).collect();
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// A container that the engine listed at start, taken once.
    pub fn take_found(&self, name: &str) -> Option<ContainerStatus> {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::spec::model::{Port, Protocol};
    use crate::ports::agent::tests_support::desired;
    use crate::ports::runtime::PublishedPort;
    use std::net::{IpAddr, Ipv4Addr};

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn cell(name: &str, on: &str, ports: &[u16]) -> Arc<ContainerCell> {
        let mut assignment = desired(64).assignment;
        let changed = Arc::make_mut(&mut assignment);
        changed.node = node(on);
        name.clone_into(&mut changed.container.name);
        let published = ports.iter().map(|&host_port| PublishedPort {
            container: Port {
                port: 80,
                protocol: Protocol::Tcp,
            },
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host_port,
        });
        changed.container.ports = published.collect();
        ContainerCell::new(assignment, None, Arc::new(|_| {}))
    }

    #[test]
    fn a_host_port_is_held_until_the_last_cell_with_it_is_gone() {
        let table = NodeTable::default();
        let held = |on: &str, port| table.publishes(&node(on), port);
        table.insert(cell("a", "n1", &[7000, 7001]));
        table.insert(cell("b", "n1", &[7000]));
        assert!(held("n1", 7000) && held("n1", 7001) && !held("n2", 7000));
        table.remove("a");
        assert!(held("n1", 7000) && !held("n1", 7001));
        // Replaced by one of the same name, on another node.
        table.insert(cell("b", "n2", &[7002]));
        assert!(!held("n1", 7000) && held("n2", 7002));
        assert_eq!(table.on(&node("n1")).len(), 0);
        table.remove("b");
        assert!(!held("n2", 7002));
        assert!(table.read().ports.is_empty());
    }
}
