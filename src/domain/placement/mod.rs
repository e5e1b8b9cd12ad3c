//! Which instance runs on which node: from the state of the cluster to placements and moves.
//!
//! Called by the control actors when there is something to place, a node is drained or a node has come
//! back; `docs/placement.md` has the rules. The same cluster and the same demands, in whatever order, give
//! the same answer. Nothing here moves what runs without a cause that it names.
//!
//! ```text
//! Cluster::new(policy, nodes, placed)     from records and reports; kept up by put, remove, set_node
//!   .place(&demands) -> Vec<Decision>      new ones, updates, and what a lost node left behind
//!   .lost(node) -> Lost                    what a node that is down leaves to be placed anew
//!   .drain(node, max_unavailable)          the next moves off a node
//!   .rebalance(budget)                     at most so many moves that make the cluster more even
//!   .rejections(&demand)                   why each node does not take it
//! ```
//! What these decide is entered in the cluster at once, so that the next call reckons with it; whoever
//! does not carry a decision out removes it again.

mod affinity;
mod arrange;
mod cluster;
mod drain;
mod filters;
#[cfg(test)]
pub(crate) mod fixtures;
mod model;
mod place;
#[cfg(test)]
mod place_tests;
mod preempt;
#[cfg(test)]
mod property_tests;
mod reason;
mod rebalance;
#[cfg(test)]
mod rebalance_tests;
mod room;
mod view;

pub use cluster::Cluster;
pub use drain::{Drained, Lost, Stay};
pub use model::{
    AntiAffinity, CopyId, Decision, Demand, Group, Move, MoveCause, MoveOrder, Needs, NodeFacts,
    NodeState, Placed, Policy, Strategy,
};
pub use place::MAX_REASONS;
pub use reason::{Reason, ReasonKind, Rejections, Why};
