//! Making a cluster more even, gently: a bounded number of moves, each with a cause, none that could be
//! undone by the next.
//!
//! Each move makes one of these smaller without making one before it larger: how often a proc's instances
//! share a part of the cluster, how often they share a node, the loads of the fullest nodes. So repeated
//! calls come to an end, whatever the order in which moves are carried out.

use crate::domain::placement::cluster::{Cluster, FULL, Held, Instance, order};
use crate::domain::placement::drain::order_of;
use crate::domain::placement::model::{AntiAffinity, Demand, Move, MoveCause, NodeState, Strategy};
use crate::domain::placement::view::{Shared, View};
use std::cmp::Reverse;

/// How many instances one call looks for a better place for.
const MAX_LOOKS: u32 = 10_000;

impl Cluster {
    /// At most `budget` moves that make the cluster more even. They are entered in the cluster; the old
    /// copies stay until they are removed.
    ///
    /// Left alone are: instances that are stateful, exclusive, or bound to a node; all of a proc that has an
    /// instance that does not serve, or one that moves; nodes that are not ready.
    pub fn rebalance(&mut self, budget: usize) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut shared = Shared::default();
        let mut looks = MAX_LOOKS;
        self.even_out_groups(budget, &mut looks, &mut shared, &mut moves);
        if self.policy.strategy == Strategy::Spread {
            self.even_out_loads(budget, &mut looks, &mut shared, &mut moves);
        }
        moves
    }

    /// Moves what shares a node or a part of the cluster with others of its proc.
    fn even_out_groups(
        &mut self,
        budget: usize,
        looks: &mut u32,
        shared: &mut Shared,
        moves: &mut Vec<Move>,
    ) {
        let mut groups: Vec<usize> = (0..self.groups.len()).collect();
        groups.sort_by(|&a, &b| self.groups[a].group.cmp(&self.groups[b].group));
        for group in groups {
            if moves.len() >= budget {
                return;
            }
            let state = &self.groups[group];
            let copies: u32 = state.peers.values().sum();
            if copies < 2 || state.waiting > 0 {
                continue;
            }
            let crowded = state.peers.values().any(|&count| count > 1);
            if !crowded && !self.is_lopsided(group, shared) {
                continue;
            }
            // The most crowded node first, then the fullest.
            let mut nodes: Vec<usize> = state.peers.keys().copied().collect();
            nodes.sort_by_key(|&n| Reverse((state.peers[&n], self.nodes[n].load(), n)));
            for rank in nodes {
                let Some(held) = self.movable_of(rank, group) else {
                    continue;
                };
                let spreads = held.demand.needs.spread.is_some()
                    || self.policy.spread_label.is_some()
                    || (crowded && held.demand.needs.anti_affinity != AntiAffinity::None);
                if !spreads {
                    break;
                }
                let Some(left) = looks.checked_sub(1) else {
                    return;
                };
                *looks = left;
                let causes = [MoveCause::Domain, MoveCause::Peers];
                if let Some(moved) = self.improve(&held, &causes, shared) {
                    moves.push(moved);
                    break;
                }
            }
        }
    }

    /// Whether some part of the cluster has at least two more of a group's instances than another: only then
    /// can a move make that better.
    fn is_lopsided(&self, group: usize, shared: &mut Shared) -> bool {
        let state = &self.groups[group];
        let id = u32::try_from(group).unwrap_or(u32::MAX);
        let mut ranks = state.peers.keys();
        let Some(held) = ranks.find_map(|&rank| self.live_of(rank, id).next()) else {
            return false;
        };
        let label = held.demand.needs.spread.as_ref();
        let Some(label) = label.or(self.policy.spread_label.as_ref()) else {
            return false;
        };
        let domains = shared.domains(self, label);
        let mut counts = vec![0; domains.values.len()];
        for (&rank, &count) in &state.peers {
            counts[domains.of[rank]] += count;
        }
        counts.iter().max() > counts.iter().min().map(|min| min + 1).as_ref()
    }

    /// The first instance of a group on a node that may move.
    fn movable_of(&self, rank: usize, group: usize) -> Option<Held> {
        let group = u32::try_from(group).ok()?;
        let mut live = self.live_of(rank, group);
        live.find(|held| self.may_move((group, held.demand.no), held, rank))
            .cloned()
    }

    /// Moves what is on nodes that are much fuller than others.
    fn even_out_loads(
        &mut self,
        budget: usize,
        looks: &mut u32,
        shared: &mut Shared,
        moves: &mut Vec<Move>,
    ) {
        let gap = self.gap();
        let mut done = vec![false; self.nodes.len()];
        while moves.len() < budget {
            let ready = || {
                let nodes = self.nodes.iter().enumerate();
                nodes.filter(|(_, n)| n.facts.state == NodeState::Ready)
            };
            let emptiest = ready().map(|(_, n)| n.load()).min();
            let fullest = ready()
                .filter(|(rank, _)| !done[*rank])
                .max_by_key(|(rank, n)| (n.load(), Reverse(*rank)));
            let (Some(emptiest), Some((rank, node))) = (emptiest, fullest) else {
                return;
            };
            if node.load() <= emptiest + gap {
                return;
            }
            match self.unload(rank, looks, shared) {
                Some(moved) => moves.push(moved),
                None => done[rank] = true,
            }
        }
    }

    /// Moves one instance off a full node, the largest that helps.
    fn unload(&mut self, rank: usize, looks: &mut u32, shared: &mut Shared) -> Option<Move> {
        let live = self.live_on(rank);
        let may = live
            .iter()
            .filter(|(instance, held)| self.may_move(*instance, held, rank));
        let mut held: Vec<Held> = may.map(|(_, held)| (*held).clone()).collect();
        held.sort_by(|a, b| {
            let size = |h: &Held| Reverse((h.demand.needs.memory, h.demand.needs.cpu_millis));
            (size(a), order(&a.demand)).cmp(&(size(b), order(&b.demand)))
        });
        for held in held {
            *looks = looks.checked_sub(1)?;
            if let Some(moved) = self.improve(&held, &[MoveCause::Load], shared) {
                return Some(moved);
            }
        }
        None
    }

    fn may_move(&self, (group, _): Instance, held: &Held, rank: usize) -> bool {
        let needs = &held.demand.needs;
        self.nodes[rank].facts.state == NodeState::Ready
            && held.available
            && !needs.stateful
            && !needs.exclusive
            && held.demand.pin.is_none()
            && self.groups[group as usize].waiting == 0
    }

    fn gap(&self) -> u64 {
        u64::from(self.policy.rebalance_gap.max(1)) * (FULL / 100)
    }

    /// Moves an instance where that is good for one of `causes` and bad for nothing that counts more.
    fn improve(&mut self, held: &Held, causes: &[MoveCause], shared: &mut Shared) -> Option<Move> {
        let mut view = View::new(self, shared, &held.demand.needs);
        if !view.is_uniform() {
            view.count(self);
        }
        let next = Demand {
            drift: held.demand.drift + 1,
            ..held.demand.clone()
        };
        let home = held.node;
        let (best, possible) = view.best(self, &next, |rank| rank == home)?;
        let here = view.key(self, home, &view.seeker(self, &next));
        if best.failures > here.failures || best.soft > here.soft {
            return None;
        }
        let spread = (best.domain, best.peers).cmp(&(here.domain, here.peers));
        let cause = match spread {
            std::cmp::Ordering::Less if best.domain < here.domain => MoveCause::Domain,
            std::cmp::Ordering::Less => MoveCause::Peers,
            std::cmp::Ordering::Equal => {
                let now = self.nodes[home].load();
                let then = self.nodes[best.rank].load_with(view.weight);
                if then + self.gap() >= now {
                    return None;
                }
                MoveCause::Load
            }
            std::cmp::Ordering::Greater => return None,
        };
        if !causes.contains(&cause) {
            return None;
        }
        let why = view.why(self, &best, possible, false);
        self.hold(Held {
            demand: next.clone(),
            node: best.rank,
            available: false,
        });
        Some(Move {
            from: held.demand.copy(),
            from_node: self.nodes[home].facts.name.clone(),
            order: order_of(&held.demand),
            demand: next,
            to_node: self.nodes[best.rank].facts.name.clone(),
            cause,
            why,
        })
    }
}
