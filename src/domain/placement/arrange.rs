//! The last resort of placing: all that the call has placed so far is taken up and put down anew, together
//! with the demand that found no room.
//!
//! Exact as far as its steps reach: where few demands of different sizes fit in some way, that way is found.
//! Chains of moves ([`room`](super::room)) come first, since they disturb less and cost nothing in large
//! calls.

use crate::domain::placement::cluster::order;
use crate::domain::placement::model::{AntiAffinity, Group};
use crate::domain::placement::place::Placer;
use crate::domain::placement::view::View;
use std::cmp::Reverse;

/// Calls that have placed more than this are not arranged anew.
const MAX_ITEMS: usize = 16;
/// Steps of all searches of one call; a step costs some nanoseconds.
pub(super) const MAX_STEPS: u32 = 200_000;

/// A demand to be put down.
struct Item<'d> {
    index: usize,
    /// Where the call had put it; none for the one that found no room.
    from: Option<usize>,
    cpu: u64,
    memory: u64,
    group: &'d Group,
    /// Never beside another of its group.
    apart: bool,
    /// The nodes that may take it, its own first.
    open: Vec<usize>,
}

impl<'a> Placer<'a> {
    /// Places a demand by arranging anew what this call has placed.
    pub(super) fn rearrange(&mut self, view: &mut View, index: usize) -> bool {
        if self.has_affinities || self.steps == 0 {
            return false;
        }
        let fresh = self.fresh.clone();
        let mut held: Vec<(usize, usize)> = Vec::new();
        for (rank, others) in fresh.iter().enumerate() {
            let movable = |i: &&usize| self.demands[**i].pin.is_none() && !self.evicts(**i);
            held.extend(others.iter().filter(movable).map(|&i| (i, rank)));
        }
        if held.is_empty() || held.len() >= MAX_ITEMS {
            return false;
        }
        for &(other, rank) in &held {
            self.leave(other, rank);
        }
        let items = self.items(&held, index);
        let nodes = self.cluster.nodes.iter();
        let mut free: Vec<(u64, u64)> = nodes.map(|n| n.free()).collect();
        let mut ranks = Vec::with_capacity(items.len());
        if !put_down(&items, &mut free, &mut ranks, &mut self.steps) {
            for &(other, rank) in &held {
                self.enter(other, rank);
            }
            self.fresh = fresh;
            return false;
        }
        let mut place = None;
        for (item, rank) in items.iter().zip(ranks) {
            if item.from.is_none() {
                place = Some(rank);
                continue;
            }
            self.enter(item.index, rank);
            if item.from != Some(rank) {
                let view = self.view(&self.demands[item.index].needs);
                let why = self.told(&view, item.index, rank);
                self.decide(item.index, rank, why, Vec::new());
            }
        }
        let Some(rank) = place else { return false };
        view.count(self.cluster);
        let why = self.told(view, index, rank);
        self.settle(view, index, rank, why, Vec::new());
        true
    }

    /// What is to be put down, the most difficult first; the same whatever the order in which it came.
    fn items(&mut self, held: &[(usize, usize)], index: usize) -> Vec<Item<'a>> {
        let demands = self.demands;
        let held = held.iter().map(|&(other, rank)| (other, Some(rank)));
        let mut items = Vec::new();
        for (index, from) in held.chain([(index, None)]) {
            let demand = &demands[index];
            let view = self.view(&demand.needs);
            let takes = |rank: &usize| view.obstacle(self.cluster, *rank, demand).is_none();
            let mut open: Vec<usize> = view.open.iter().copied().filter(takes).collect();
            open.sort_by_key(|&rank| (Some(rank) != from, rank));
            items.push(Item {
                index,
                from,
                cpu: demand.needs.cpu_millis,
                memory: demand.needs.memory,
                group: &demand.needs.group,
                apart: demand.needs.anti_affinity == AntiAffinity::Require,
                open,
            });
        }
        items.sort_by_key(|item| {
            let size = Reverse((item.cpu, item.memory));
            (item.open.len(), size, order(&demands[item.index]))
        });
        items
    }
}

/// Puts down what comes after the first `ranks.len()` items; whether all of them found a node.
fn put_down(
    items: &[Item<'_>],
    free: &mut [(u64, u64)],
    ranks: &mut Vec<usize>,
    steps: &mut u32,
) -> bool {
    let Some(item) = items.get(ranks.len()) else {
        return true;
    };
    for &rank in &item.open {
        if *steps == 0 {
            return false;
        }
        *steps -= 1;
        let (cpu, memory) = free[rank];
        let beside = |(other, at): (&Item<'_>, &usize)| {
            *at == rank && other.group == item.group && (other.apart || item.apart)
        };
        if item.cpu > cpu || item.memory > memory || items.iter().zip(&*ranks).any(beside) {
            continue;
        }
        free[rank] = (cpu - item.cpu, memory - item.memory);
        ranks.push(rank);
        if put_down(items, free, ranks, steps) {
            return true;
        }
        ranks.pop();
        free[rank] = (cpu, memory);
    }
    false
}
