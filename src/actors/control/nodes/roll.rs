//! All nodes by name, and by certificate.

use crate::actors::control::nodes::table::Node;
use crate::domain::id::NodeName;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// All nodes.
#[derive(Default)]
pub struct Nodes {
    nodes: RwLock<BTreeMap<NodeName, Arc<Node>>>,
    /// How often any of them has changed, come or gone.
    changes: Arc<AtomicU64>,
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

    /// How often any of them has changed, come or gone: while this is the same, so is what placement reads of them.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Adds a node; one of the same name is replaced.
    pub fn insert(&self, node: Arc<Node>) {
        node.counts_in(Arc::clone(&self.changes));
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(node.name.clone(), node);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets a node.
    pub fn remove(&self, name: &NodeName) -> Option<Arc<Node>> {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let removed = nodes.remove(name);
        self.changes.fetch_add(1, Ordering::AcqRel);
        removed
    }

    /// The node whose certificate has this fingerprint.
    pub fn by_fingerprint(&self, fingerprint: &str) -> Option<Arc<Node>> {
        let all = self.all();
        all.into_iter().find(|n| n.has_certificate(fingerprint))
    }
}
