//! Figures of a whole tree, counted place by place: nothing is copied, however large it is.

use super::node::{Node, State, Target};
use super::tree::Tree;
use std::sync::Arc;

/// How many places of a tree are in which state, and what they have to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Places by state, in the order of [`Totals::STATES`].
    pub by_state: [u64; 5],
    /// Restarts of those that there are now.
    pub restarts: u64,
    /// Messages that wait.
    pub waiting: u64,
}

impl Totals {
    /// The states that are counted.
    pub const STATES: [State; 5] = [
        State::Starting,
        State::Running,
        State::Restarting,
        State::Stopping,
        State::Undefined,
    ];

    fn add(&mut self, node: &Arc<Node>) {
        let (state, restarts, target) =
            node.with(|live| (live.state, live.restarts, live.target.clone()));
        if let Some(index) = Self::STATES.iter().position(|known| *known == state) {
            self.by_state[index] += 1;
        }
        self.restarts += restarts;
        if let Some(Target::Actor(probe)) = target {
            self.waiting += u64::try_from(probe.probe().0).unwrap_or(u64::MAX);
        }
    }
}

impl Tree {
    /// Counts the whole tree, the root included. Waits for no actor.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        let mut open = vec![Arc::clone(self.root_node())];
        while let Some(node) = open.pop() {
            totals.add(&node);
            open.extend(node.any_children());
        }
        totals
    }
}
