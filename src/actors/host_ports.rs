//! How many have each host port of each node: of placements in the mirror, of cells in the table.
//!
//! Plain counts; two hold one port while a new version takes over.

use crate::domain::id::NodeName;
use std::collections::HashMap;

/// See the module.
#[derive(Debug, Default)]
pub struct HostPorts(HashMap<NodeName, HashMap<u16, u32>>);

impl HostPorts {
    /// One more has these ports of a node.
    pub fn hold(&mut self, node: &NodeName, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            let held = self.0.entry(node.clone()).or_default();
            *held.entry(port).or_default() += 1;
        }
    }

    /// One less has them.
    pub fn release(&mut self, node: &NodeName, ports: impl IntoIterator<Item = u16>) {
        let Some(held) = self.0.get_mut(node) else {
            return;
        };
        for port in ports {
            if let Some(count) = held.get_mut(&port) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&port);
                }
            }
        }
        if held.is_empty() {
            self.0.remove(node);
        }
    }

    /// Whether any has this port.
    pub fn is_held(&self, node: &NodeName, port: u16) -> bool {
        self.0
            .get(node)
            .is_some_and(|held| held.contains_key(&port))
    }

    /// Whether none has any.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
