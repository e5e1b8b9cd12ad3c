//! All nodes by name, and by certificate.

use crate::actors::control::nodes::table::Node;
use crate::domain::id::NodeName;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// All nodes.
#[derive(Default)]
pub struct Nodes {
    nodes: RwLock<BTreeMap<NodeName, Arc<Node>>>,
}

impl Nodes {
    /// One node.
    pub fn get(&self, name: &NodeName) -> Option<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.get(name).cloned()
    }

    /// All nodes, by name.
    pub fn all(&self) -> Vec<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.values().cloned().collect()
    }

    /// Adds a node; one of the same name is replaced.
    pub fn insert(&self, node: Arc<Node>) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(node.name.clone(), node);
    }

    /// Forgets a node.
    pub fn remove(&self, name: &NodeName) -> Option<Arc<Node>> {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.remove(name)
    }

    /// The node whose certificate has this fingerprint.
    pub fn by_fingerprint(&self, fingerprint: &str) -> Option<Arc<Node>> {
        let all = self.all();
        all.into_iter().find(|n| n.has_certificate(fingerprint))
    }
}
