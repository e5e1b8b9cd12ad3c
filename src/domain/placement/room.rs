//! Making room for a demand by moving what the same call has placed: nothing that runs is touched.
//!
//! Greedy placing can put an instance where another could have gone, who then has no other place. This
//! looks for a chain of moves that ends on a node with room, as matching algorithms do (Kuhn's augmenting
//! paths), within a bounded number of attempts.

use crate::domain::placement::place::Placer;
use crate::domain::placement::reason::Why;
use crate::domain::placement::view::View;

/// The longest chain of moves.
const MAX_CHAIN: u32 = 8;
/// Attempts for one demand: the others want a chance too.
const MAX_ATTEMPTS_EACH: u32 = 2_000;

impl Placer<'_> {
    /// Places a demand by moving others that this call has placed.
    pub(super) fn make_room(&mut self, view: &mut View, index: usize) -> bool {
        if self.attempts == 0 || self.has_affinities {
            return false;
        }
        let mut search = Search {
            visited: vec![false; self.cluster.nodes.len()],
            attempts: MAX_ATTEMPTS_EACH.min(self.attempts),
        };
        let before = search.attempts;
        let freed = self.free_a_place(index, &mut search, MAX_CHAIN);
        self.attempts -= before - search.attempts;
        let Some(rank) = freed else {
            return false;
        };
        view.count(self.cluster);
        let why = self.told(view, index, rank);
        self.settle(view, index, rank, why, Vec::new());
        true
    }

    /// Frees a place for a demand that has none; returns the node.
    fn free_a_place(&mut self, index: usize, search: &mut Search, chain: u32) -> Option<usize> {
        if chain == 0 {
            return None;
        }
        let demand = &self.demands[index];
        let view = self.view(&demand.needs);
        for &rank in view.open.iter() {
            let pinned = demand.pin.as_ref();
            let elsewhere = pinned.is_some_and(|p| *p != self.cluster.nodes[rank].facts.name);
            if search.visited[rank] || elsewhere {
                continue;
            }
            search.visited[rank] = true;
            for other in self.fresh[rank].clone() {
                if search.attempts == 0 {
                    return None;
                }
                if self.demands[other].pin.is_some() || self.evicts(other) {
                    continue;
                }
                search.attempts -= 1;
                self.leave(other, rank);
                if self.fits_now(index, rank) && self.move_on(other, search, chain - 1) {
                    return Some(rank);
                }
                self.enter(other, rank);
            }
        }
        None
    }

    fn fits_now(&mut self, index: usize, rank: usize) -> bool {
        let demand = &self.demands[index];
        let view = self.view(&demand.needs);
        view.obstacle(self.cluster, rank, demand).is_none()
    }

    /// Places what had to leave its node, on one that was not visited, moving others where it must.
    fn move_on(&mut self, index: usize, search: &mut Search, chain: u32) -> bool {
        let demand = &self.demands[index];
        let view = self.view(&demand.needs);
        let found = view.best(self.cluster, demand, |rank| search.visited[rank]);
        let found = match found {
            Some((key, _)) => Some(key.rank),
            None => self.free_a_place(index, search, chain),
        };
        let Some(rank) = found else {
            return false;
        };
        let view = self.view(&demand.needs);
        let why = self.told(&view, index, rank);
        self.enter(index, rank);
        self.decide(index, rank, why, Vec::new());
        true
    }

    /// What is told of a node that was found by moving others: it was the only one.
    pub(super) fn told(&self, view: &View, index: usize, rank: usize) -> Why {
        let demand = &self.demands[index];
        let seeker = view.seeker(self.cluster, demand);
        let key = view.key(self.cluster, rank, &seeker);
        view.why(self.cluster, &key, 1, demand.pin.is_some())
    }
}

/// The nodes that a search has seen, and the attempts that it has left.
struct Search {
    visited: Vec<bool>,
    attempts: u32,
}
