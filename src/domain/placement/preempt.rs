//! Preemption: a demand takes the place of what matters less, where the policy allows it.
//!
//! Only instances of a strictly lower priority leave, never stateful ones, and as few as will do.

use crate::domain::placement::cluster::{Held, Instance, order};
use crate::domain::placement::model::{CopyId, Demand};
use crate::domain::placement::place::Placer;
use crate::domain::placement::reason::Reason;
use crate::domain::placement::view::View;

/// The copies that would have to leave one node, the least important first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// The highest priority among them.
    priority: i32,
    count: usize,
    rank: usize,
    victims: Vec<(Instance, (u64, u64))>,
}

impl Placer<'_> {
    /// Places a demand where the least has to leave for it.
    pub(super) fn preempt(&mut self, view: &mut View, index: usize) -> bool {
        if !self.cluster.policy.preemption {
            return false;
        }
        let demand = &self.demands[index];
        let costs = view.open.iter();
        let Some(cost) = costs.filter_map(|&r| self.cost(view, demand, r)).min() else {
            return false;
        };
        let mut evicts: Vec<CopyId> = Vec::new();
        for (instance, age) in cost.victims {
            let gone = self.cluster.release(instance, age);
            evicts.extend(gone.map(|held| held.demand.copy()));
        }
        view.count(self.cluster);
        let seeker = view.seeker(self.cluster, demand);
        let key = view.key(self.cluster, cost.rank, &seeker);
        let why = view.why(self.cluster, &key, 1, demand.pin.is_some());
        self.settle(view, index, cost.rank, why, evicts);
        true
    }

    /// What would have to leave a node; `None` where that would not help.
    fn cost(&self, view: &View, demand: &Demand, rank: usize) -> Option<Cost> {
        let lacks_room = matches!(
            view.obstacle(self.cluster, rank, demand),
            Some(Reason::Cpu { .. } | Reason::Memory { .. })
        );
        if !lacks_room {
            return None;
        }
        let node = &self.cluster.nodes[rank];
        let needs = &demand.needs;
        let fresh: Vec<CopyId> = self.fresh[rank]
            .iter()
            .map(|&i| self.demands[i].copy())
            .collect();
        let mut less: Vec<&Held> = self
            .cluster
            .copies_on(rank)
            .filter(|h| h.demand.needs.priority < needs.priority && !h.demand.needs.stateful)
            .filter(|h| !fresh.contains(&h.demand.copy()))
            .collect();
        // The least important first; of those the largest, so that few are enough.
        less.sort_by(|a, b| {
            let size = |h: &Held| (h.demand.needs.memory, h.demand.needs.cpu_millis);
            let priority = |h: &Held| h.demand.needs.priority;
            priority(a)
                .cmp(&priority(b))
                .then_with(|| size(b).cmp(&size(a)))
                .then_with(|| order(&a.demand).cmp(&order(&b.demand)))
        });
        let fits = |victims: &[&Held]| {
            let cpu: u64 = victims.iter().map(|h| h.demand.needs.cpu_millis).sum();
            let memory: u64 = victims.iter().map(|h| h.demand.needs.memory).sum();
            node.used_cpu - cpu + needs.cpu_millis <= node.facts.cpu_millis
                && node.used_memory - memory + needs.memory <= node.facts.memory
        };
        let enough = (1..=less.len()).find(|&n| fits(&less[..n]))?;
        let mut victims = less[..enough].to_vec();
        // Whoever turns out not to be needed stays, the most important first.
        for at in (0..victims.len()).rev() {
            let spared = victims.remove(at);
            if !fits(&victims) {
                victims.insert(at, spared);
            }
        }
        Some(Cost {
            priority: victims.iter().map(|h| h.demand.needs.priority).max()?,
            count: victims.len(),
            rank,
            victims: victims
                .iter()
                .filter_map(|h| {
                    let group = self.cluster.known_group(&h.demand.needs.group)?;
                    Some(((group, h.demand.no), (h.demand.version, h.demand.drift)))
                })
                .collect(),
        })
    }
}
