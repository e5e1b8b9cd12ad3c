//! Is it the node? Many different instances that its agent gives up on, while other nodes are well.
//!
//! One app that fails everywhere is the app's fault, and so is one proc that fails often. A shared
//! dependency that is gone makes instances fail on all nodes alike, and no node is to blame.

use crate::domain::id::{InstanceId, NodeName};
use crate::domain::placement::Group;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// When a node is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What happened longer ago is forgotten.
    pub window: Duration,
    /// So many different instances must have failed there.
    pub instances: usize,
    /// Of so many different procs.
    pub procs: usize,
    /// That must be so many times what failed on the median of the other nodes.
    pub times_others: usize,
    /// At most so many percent of the nodes are blamed at a time: beyond that the fault is elsewhere.
    pub at_most_percent: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(300),
            instances: 5,
            procs: 3,
            times_others: 3,
            at_most_percent: 34,
        }
    }
}

/// Why a node is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Different instances that failed there.
    pub instances: usize,
    /// Different procs.
    pub procs: usize,
    /// What failed on the median of the other nodes.
    pub others: usize,
    /// In this time.
    pub window: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} instances of {} procs failed on it within {} s, {} on other nodes; find out why, then uncordon it",
            self.instances,
            self.procs,
            self.window.as_secs(),
            self.others
        )
    }
}

/// What failed where lately.
#[derive(Debug, Clone, Default)]
pub struct Book {
    failures: BTreeMap<NodeName, BTreeMap<InstanceId, Duration>>,
}

impl Book {
    /// An agent gave up on an instance at `at`.
    pub fn failed(&mut self, node: &NodeName, instance: &InstanceId, at: Duration) {
        let on = self.failures.entry(node.clone()).or_default();
        on.insert(instance.clone(), at);
    }

    /// A node has been dealt with, or an operator says that it is well.
    pub fn forget(&mut self, node: &NodeName) {
        self.failures.remove(node);
    }

    /// Which of `nodes` are to blame at `now`, the worst first. `blamed` of them are blamed already.
    ///
    /// Never the last node, and never more than [`Settings::at_most_percent`] of them.
    pub fn to_blame(
        &mut self,
        nodes: &BTreeSet<NodeName>,
        blamed: usize,
        now: Duration,
        settings: &Settings,
    ) -> Vec<(NodeName, Verdict)> {
        for failures in self.failures.values_mut() {
            failures.retain(|_, at| now.saturating_sub(*at) <= settings.window);
        }
        self.failures.retain(|_, failures| !failures.is_empty());
        let counts: BTreeMap<&NodeName, usize> = nodes
            .iter()
            .map(|n| (n, self.failures.get(n).map_or(0, BTreeMap::len)))
            .collect();
        let mut found = Vec::new();
        for (node, &count) in &counts {
            let mut others: Vec<usize> = counts
                .iter()
                .filter(|(n, _)| *n != node)
                .map(|(_, c)| *c)
                .collect();
            if others.is_empty() {
                continue;
            }
            others.sort_unstable();
            let median = others[others.len() / 2];
            let procs = self.failures.get(*node).map_or(0, |failures| {
                failures
                    .keys()
                    .map(Group::of)
                    .collect::<BTreeSet<_>>()
                    .len()
            });
            let bad = count >= settings.instances
                && procs >= settings.procs
                && count >= median * settings.times_others;
            if bad {
                let verdict = Verdict {
                    instances: count,
                    procs,
                    others: median,
                    window: settings.window,
                };
                found.push(((*node).clone(), verdict));
            }
        }
        found.sort_by(|(a, va), (b, vb)| vb.instances.cmp(&va.instances).then_with(|| a.cmp(b)));
        // One may always be blamed where there is another.
        let total = nodes.len() + blamed;
        let most = (total * settings.at_most_percent / 100).max(1);
        found.truncate(most.saturating_sub(blamed));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> NodeName {
        NodeName::new(format!("n{n}")).unwrap()
    }

    fn instance(proc: usize, no: usize) -> InstanceId {
        format!("app{proc}.web.web.i{no}").parse().unwrap()
    }

    /// Who is blamed, of so many nodes, when these failures (node, proc, instance, second) have happened.
    fn blamed(
        nodes: usize,
        failures: &[(usize, usize, usize, u64)],
        already: usize,
    ) -> Vec<String> {
        let mut book = Book::default();
        for (node, proc, no, at) in failures {
            book.failed(
                &name(*node),
                &instance(*proc, *no),
                Duration::from_secs(*at),
            );
        }
        let all = (0..nodes).map(name).collect();
        let now = Duration::from_secs(1000);
        let found = book.to_blame(&all, already, now, &Settings::default());
        found
            .into_iter()
            .map(|(node, _)| node.to_string())
            .collect()
    }

    fn many(node: usize, procs: usize, each: usize, at: u64) -> Vec<(usize, usize, usize, u64)> {
        (0..procs)
            .flat_map(|p| (1..=each).map(move |no| (node, p, no, at)))
            .collect()
    }

    #[test]
    fn many_different_instances_on_one_node_are_its_fault() {
        assert_eq!(blamed(3, &many(1, 3, 2, 900), 0), ["n1"]);
        assert_eq!(blamed(3, &many(1, 5, 1, 900), 0), ["n1"]);
    }

    #[test]
    fn what_is_not_a_nodes_fault() {
        let everywhere: Vec<_> = (0..3).flat_map(|n| many(n, 3, 2, 900)).collect();
        let one_again_and_again: Vec<_> = (0..20).map(|s| (1, 0, 1, 900 + s)).collect();
        let table = [
            ("few instances", many(1, 4, 1, 900), 3),
            ("one proc", many(1, 1, 9, 900), 3),
            ("two procs", many(1, 2, 9, 900), 3),
            ("long ago", many(1, 5, 1, 600), 3),
            ("one instance", one_again_and_again, 3),
            ("everywhere", everywhere, 3),
            ("the only node", many(0, 5, 5, 900), 1),
        ];
        for (what, failures, nodes) in table {
            assert_eq!(blamed(nodes, &failures, 0), Vec::<String>::new(), "{what}");
        }
    }

    #[test]
    fn only_a_part_of_the_nodes_is_blamed_the_worst_first() {
        let mut two = many(1, 3, 2, 900);
        two.extend(many(4, 4, 2, 900));
        assert_eq!(blamed(9, &two, 0), ["n4", "n1"]);
        assert_eq!(blamed(5, &two, 0), ["n4"]);
        assert_eq!(blamed(9, &two, 2), ["n4"]);
        assert_eq!(blamed(9, &two, 3), ["n4"], "a third of twelve is four");
        assert_eq!(blamed(6, &two, 3), Vec::<String>::new());
    }

    #[test]
    fn a_node_that_was_dealt_with_starts_anew() {
        let mut book = Book::default();
        for (_, proc, no, at) in many(0, 5, 1, 900) {
            book.failed(&name(0), &instance(proc, no), Duration::from_secs(at));
        }
        book.forget(&name(0));
        let all = (0..3).map(name).collect();
        let now = Duration::from_secs(900);
        assert_eq!(book.to_blame(&all, 0, now, &Settings::default()), []);
    }
}
