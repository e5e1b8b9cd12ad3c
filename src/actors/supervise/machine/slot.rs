//! One child as the state machine knows it.

use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::{Incarnation, Payload};
use crate::actors::supervise::Pid;
use crate::actors::supervise::reason::ExitReason;
use crate::actors::supervise::spec::{ChildSpec, Shutdown};

/// What a child is doing, as `which_children` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildState {
    /// It runs. Its exit, or a stop, moves it on.
    Running(Pid),
    /// A restart failed or waits its time; the retry moves it on, or a stop.
    Restarting {
        /// When the retry is due; `None` when it is queued already.
        due: Option<Duration>,
    },
    /// Not running: stopped, ended, ignored, or not started yet. A start moves it on.
    Undefined,
}

pub(super) struct Slot<P: Payload> {
    pub(super) spec: Arc<ChildSpec<P::Start>>,
    pub(super) extra: Option<P::Extra>,
    pub(super) state: ChildState,
    pub(super) incarnation: Incarnation,
    /// The exit that arrived while another operation was going on; served in turn.
    pub(super) dead: Option<ExitReason>,
    /// Restart attempts since it last ran well.
    pub(super) attempts: u32,
    pub(super) up_since: Duration,
    pub(super) own_budget: Option<Box<Budget>>,
}

impl<P: Payload> Slot<P> {
    pub(super) fn new(spec: Arc<ChildSpec<P::Start>>, extra: Option<P::Extra>) -> Self {
        Self {
            own_budget: spec.budget.map(|_| Box::default()),
            spec,
            extra,
            state: ChildState::Undefined,
            incarnation: 0,
            dead: None,
            attempts: 0,
            up_since: Duration::ZERO,
        }
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        match self.state {
            ChildState::Running(pid) => Some(pid),
            _ => None,
        }
    }

    pub(super) fn is_restarting(&self) -> bool {
        matches!(self.state, ChildState::Restarting { .. })
    }

    /// Whether a stop that ended like this went as it should (rule 6).
    pub(super) fn expects(&self, reason: &ExitReason) -> bool {
        use crate::actors::supervise::spec::Restart;
        let asked_for = match self.spec.shutdown {
            Shutdown::BrutalKill => ExitReason::Killed,
            _ => ExitReason::Shutdown,
        };
        *reason == asked_for || (self.spec.restart != Restart::Permanent && reason.is_clean())
    }

    /// Counts one more restart attempt for a child that ended at `now`.
    pub(super) fn count_attempt(&mut self, now: Duration) {
        let ran_well = match &self.spec.backoff {
            Some(backoff) => now.saturating_sub(self.up_since) >= backoff.reset_after,
            None => true,
        };
        self.attempts = if ran_well {
            1
        } else {
            self.attempts.saturating_add(1)
        };
    }
}
