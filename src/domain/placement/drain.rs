//! Emptying a node: by and by where it is drained, at once where it is lost.

use crate::domain::id::NodeName;
use crate::domain::placement::cluster::{Cluster, Held, order};
use crate::domain::placement::model::{
    CopyId, Decision, Demand, Move, MoveCause, MoveOrder, NodeState,
};
use crate::domain::placement::reason::Rejections;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// What can be done now to empty a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drained {
    /// Moves to begin now. They are entered in the cluster; the old copies stay until they are removed.
    pub moves: Vec<Move>,
    /// What stays for now, and why.
    pub stays: Vec<(CopyId, Stay)>,
}

/// Why an instance does not leave a node now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stay {
    /// It is stateful, or its volumes are there: only an operator moves it.
    Bound,
    /// It is being moved already.
    Moving,
    /// As many of its proc are unavailable as may be.
    Budget,
    /// No other node takes it.
    Nowhere(Arc<Rejections>),
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stay::Bound => f.write_str(
                "its volumes or its state are on this node: move it with `lain drift` once that is safe",
            ),
            Stay::Moving => f.write_str("it is being moved"),
            Stay::Budget => {
                f.write_str("it waits until the other instances of its proc are available")
            }
            Stay::Nowhere(rejections) => rejections.fmt(f),
        }
    }
}

/// What a lost node leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost {
    /// To be placed anew: the same instances, with a higher drift. No longer in the cluster.
    pub demands: Vec<Demand>,
    /// What waits for the node to come back: its state or its volumes are there.
    pub stays: Vec<CopyId>,
}

impl Cluster {
    /// The next moves off a node, which is `draining` from now on. Called again whenever an instance has
    /// become available or gone, until nothing but [`Stay::Bound`] is left.
    ///
    /// At most `max_unavailable` instances of a proc are on their way or otherwise unavailable at a time. With
    /// 0 they move one at a time, and those that may not run twice for a moment stay. One that does not serve
    /// where it is may always move: that makes nothing worse.
    pub fn drain(&mut self, node: &NodeName, max_unavailable: u32) -> Drained {
        let mut drained = Drained::default();
        let Some(rank) = self.rank(node) else {
            return drained;
        };
        if matches!(
            self.nodes[rank].facts.state,
            NodeState::Ready | NodeState::Cordoned
        ) {
            self.nodes[rank].facts.state = NodeState::Draining;
        }
        let mut copies: Vec<Held> = self.copies_on(rank).cloned().collect();
        copies.sort_by(|a, b| {
            let priority = |h: &Held| Reverse(h.demand.needs.priority);
            (priority(a), order(&a.demand)).cmp(&(priority(b), order(&b.demand)))
        });
        for held in copies {
            let from = held.demand.copy();
            match self.leave_node(node, held, max_unavailable) {
                Ok(moved) => drained.moves.push(moved),
                Err(stay) => drained.stays.push((from, stay)),
            }
        }
        drained
    }

    fn leave_node(
        &mut self,
        node: &NodeName,
        held: Held,
        max_unavailable: u32,
    ) -> Result<Move, Stay> {
        let demand = &held.demand;
        let needs = &demand.needs;
        let group = self.group_id(&needs.group);
        let live = self.live((group, demand.no));
        if live.is_some_and(|live| order(&live.demand) != order(demand)) {
            return Err(Stay::Moving);
        }
        if needs.stateful || demand.pin.as_ref() == Some(node) {
            return Err(Stay::Bound);
        }
        let others = self.groups[group as usize].waiting - u32::from(!held.available);
        let stops_first = needs.exclusive;
        let spent = held.available && others >= max_unavailable.max(1);
        if spent || (stops_first && max_unavailable == 0) {
            return Err(Stay::Budget);
        }
        let next = Demand {
            drift: demand.drift + 1,
            ..demand.clone()
        };
        match self.place_one(&next) {
            Decision::Nowhere(rejections) => Err(Stay::Nowhere(rejections)),
            Decision::Place {
                node: to_node, why, ..
            } => Ok(Move {
                from: demand.copy(),
                from_node: node.clone(),
                order: order_of(demand),
                demand: next,
                to_node,
                cause: MoveCause::Drain,
                why,
            }),
        }
    }

    /// Places one demand without evicting anyone.
    fn place_one(&mut self, demand: &Demand) -> Decision {
        let preemption = std::mem::take(&mut self.policy.preemption);
        let decision = self.place(std::slice::from_ref(demand)).pop();
        self.policy.preemption = preemption;
        decision.unwrap_or_else(|| Decision::Nowhere(Arc::default()))
    }

    /// Takes from a node that is down what may run elsewhere, to be placed anew.
    pub fn lost(&mut self, node: &NodeName) -> Lost {
        let mut lost = Lost::default();
        let Some(rank) = self.rank(node) else {
            return lost;
        };
        let mut copies: Vec<Held> = self.copies_on(rank).cloned().collect();
        copies.sort_by(|a, b| order(&a.demand).cmp(&order(&b.demand)));
        for held in copies {
            let demand = held.demand;
            if demand.needs.stateful || demand.pin.as_ref() == Some(node) {
                lost.stays.push(demand.copy());
                continue;
            }
            let group = self.group_id(&demand.needs.group);
            let instance = (group, demand.no);
            let live = self.live(instance);
            let superseded = live.is_some_and(|live| order(&live.demand) != order(&demand));
            self.release(instance, (demand.version, demand.drift));
            if !superseded {
                lost.demands.push(Demand {
                    drift: demand.drift + 1,
                    ..demand
                });
            }
        }
        lost
    }
}

/// In which order an instance changes its node.
pub(super) fn order_of(demand: &Demand) -> MoveOrder {
    if demand.needs.exclusive {
        MoveOrder::StopFirst
    } else {
        MoveOrder::StartFirst
    }
}
