//! Nodes, needs and demands for the tests of placement.

use crate::domain::id::{AppName, NodeName, ProcName, ProcType};
use crate::domain::placement::{Demand, Group, Needs, NodeFacts, NodeState};
use crate::domain::spec::filter::{Filter, FilterKind, FilterOperator};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A ready node without labels.
pub fn node(name: &str, cpu_millis: u64, memory: u64) -> NodeFacts {
    NodeFacts {
        name: NodeName::new(name).unwrap(),
        state: NodeState::Ready,
        cpu_millis,
        memory,
        labels: BTreeMap::new(),
    }
}

/// A ready node with one label.
pub fn labelled(name: &str, cpu_millis: u64, memory: u64, key: &str, value: &str) -> NodeFacts {
    let mut node = node(name, cpu_millis, memory);
    node.labels.insert(key.to_owned(), value.to_owned());
    node
}

/// The needs of `<app>.web.web`.
pub fn needs(app: &str, cpu_millis: u64, memory: u64) -> Needs {
    let group = Group {
        app: AppName::new(app).unwrap(),
        proc_type: ProcType::Web,
        proc: ProcName::new("web").unwrap(),
    };
    Needs::new(group, cpu_millis, memory)
}

/// Demands for instances 1 to `count`.
pub fn demands(needs: Needs, count: u32) -> Vec<Demand> {
    let needs = Arc::new(needs);
    (1..=count)
        .map(|no| Demand::new(Arc::clone(&needs), no, 1))
        .collect()
}

/// A filter as it is written.
pub fn filter(text: &str) -> Filter {
    let (kind, rest) = text.split_once(':').unwrap();
    let kind = match kind {
        "constraint" => FilterKind::Constraint,
        _ => FilterKind::Affinity,
    };
    let at = rest.find("==").or_else(|| rest.find("!=")).unwrap();
    let (key, rest) = rest.split_at(at);
    let (operator, value) = rest.split_at(2);
    let (soft, value) = value
        .strip_prefix('~')
        .map_or((false, value), |v| (true, v));
    let operator = match (operator, soft) {
        ("==", false) => FilterOperator::Equal,
        ("==", true) => FilterOperator::SoftEqual,
        (_, false) => FilterOperator::NotEqual,
        (_, true) => FilterOperator::SoftNotEqual,
    };
    Filter {
        kind,
        key: key.to_owned(),
        operator,
        value: value.to_owned(),
    }
}
