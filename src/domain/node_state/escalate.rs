//! An agent has given up on an instance: there again, on another node, rolled back, or degraded.
//!
//! The chain of `docs/architecture.md`, as one function. By the time it is asked, the agent has used up the
//! restarts in place that the proc's `restart` allows.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use utoipa::ToSchema;

/// What is known of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// How often in a row this node has given up on the instance, this time included.
    pub failures_here: u32,
    /// On how many different nodes it has failed in a row, this one included.
    pub nodes_failed: u32,
    /// Nodes that could take it now and on which it has not failed.
    pub fresh_nodes: u32,
    /// It may only run here: stateful, or its volumes are here.
    pub bound: bool,
    /// A rollout of this version is in progress, and there is one to go back to.
    pub rolling_out: bool,
    /// What ended it.
    pub kind: FailureKind,
    /// Times it was retried as degraded, in a row.
    pub retries: u32,
}

/// Whose fault a failure may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It crashed, or its health checks failed: the app's or the node's.
    #[default]
    Crashed,
    /// The engine refuses it: the app's, on every node.
    Refused,
    /// The node could not do it: no space, a port that is taken, an image that it does not get.
    NodeUnable,
}

impl FailureKind {
    /// Whether it says anything of the node.
    pub fn may_be_the_nodes(self) -> bool {
        self != FailureKind::Refused
    }
}

/// How patient lain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A node may give up so often before another is tried.
    pub tries_per_node: u32,
    /// After failing on so many nodes the app is at fault.
    pub nodes: u32,
    /// The first pause of a degraded instance; it doubles.
    pub retry: Duration,
    /// The longest.
    pub max_retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tries_per_node: 1,
            nodes: 3,
            retry: Duration::from_secs(30),
            max_retry: Duration::from_secs(600),
        }
    }
}

impl Settings {
    /// The pause before retry number `retries`, from 0: doubled each time, up to the longest.
    pub fn pause(&self, retries: u32) -> Duration {
        let doubled = 2u32.checked_pow(retries);
        let pause = doubled.and_then(|factor| self.retry.checked_mul(factor));
        pause.map_or(self.max_retry, |pause| pause.min(self.max_retry))
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Started on the same node again, after a pause.
    RestartThere {
        /// How long.
        after: Duration,
    },
    /// Placed on another node; this one is avoided.
    OtherNode,
    /// The rollout has failed: back to the version before.
    RollBack,
    /// The proc is degraded; the instance is retried, wherever it failed least, after a pause.
    Degraded {
        /// How long.
        retry: Duration,
    },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::RestartThere { after } => {
                write!(f, "started on the same node again in {} s", after.as_secs())
            }
            Remedy::OtherNode => f.write_str("placed on another node"),
            Remedy::RollBack => f.write_str("the rollout is rolled back"),
            Remedy::Degraded { retry } => {
                write!(f, "degraded, tried again in {} s", retry.as_secs())
            }
        }
    }
}

/// What is done about a failure.
pub fn escalate(case: &Case, settings: &Settings) -> Remedy {
    let degraded = if case.rolling_out {
        Remedy::RollBack
    } else {
        Remedy::Degraded {
            retry: settings.pause(case.retries),
        }
    };
    match case.kind {
        // Another node would refuse it too.
        FailureKind::Refused => degraded,
        _ if case.bound => match case.failures_here {
            n if n < settings.tries_per_node => again(n, settings),
            _ => degraded,
        },
        // What the node cannot do says nothing of the app.
        FailureKind::NodeUnable if case.fresh_nodes > 0 => Remedy::OtherNode,
        FailureKind::NodeUnable => Remedy::Degraded {
            retry: settings.pause(case.retries),
        },
        FailureKind::Crashed if case.failures_here < settings.tries_per_node => {
            again(case.failures_here, settings)
        }
        FailureKind::Crashed if case.nodes_failed < settings.nodes && case.fresh_nodes > 0 => {
            Remedy::OtherNode
        }
        FailureKind::Crashed => degraded,
    }
}

fn again(failures: u32, settings: &Settings) -> Remedy {
    Remedy::RestartThere {
        after: settings.pause(failures.saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A first crash of a free instance, with two more nodes to go to.
    const FIRST: Case = Case {
        failures_here: 1,
        nodes_failed: 1,
        fresh_nodes: 2,
        bound: false,
        rolling_out: false,
        kind: FailureKind::Crashed,
        retries: 0,
    };

    fn degraded(secs: u64) -> Remedy {
        Remedy::Degraded {
            retry: Duration::from_secs(secs),
        }
    }

    #[test]
    fn the_chain_is_climbed_step_by_step() {
        let second = Case {
            nodes_failed: 2,
            fresh_nodes: 1,
            ..FIRST
        };
        let third = Case {
            nodes_failed: 3,
            fresh_nodes: 9,
            ..FIRST
        };
        let rollout = |case: Case| Case {
            rolling_out: true,
            ..case
        };
        let refused = Case {
            kind: FailureKind::Refused,
            ..FIRST
        };
        let unable = Case {
            kind: FailureKind::NodeUnable,
            ..FIRST
        };
        let bound = Case {
            bound: true,
            ..FIRST
        };
        let table = [
            ("first crash", FIRST, Remedy::OtherNode),
            ("second node", second, Remedy::OtherNode),
            ("third node", third, degraded(30)),
            (
                "no node left",
                Case {
                    fresh_nodes: 0,
                    ..FIRST
                },
                degraded(30),
            ),
            (
                "fifth retry",
                Case {
                    retries: 4,
                    ..third
                },
                degraded(480),
            ),
            (
                "sixth retry",
                Case {
                    retries: 5,
                    ..third
                },
                degraded(600),
            ),
            (
                "for ever",
                Case {
                    retries: 99,
                    ..third
                },
                degraded(600),
            ),
            ("rollout, one node", rollout(FIRST), Remedy::OtherNode),
            ("rollout, three nodes", rollout(third), Remedy::RollBack),
            (
                "rollout, only node",
                rollout(Case {
                    fresh_nodes: 0,
                    ..FIRST
                }),
                Remedy::RollBack,
            ),
            ("refused", refused, degraded(30)),
            ("refused in a rollout", rollout(refused), Remedy::RollBack),
            ("node unable", unable, Remedy::OtherNode),
            (
                "node unable again and again",
                Case {
                    nodes_failed: 7,
                    ..unable
                },
                Remedy::OtherNode,
            ),
            (
                "all nodes unable, rollout",
                rollout(Case {
                    fresh_nodes: 0,
                    ..unable
                }),
                degraded(30),
            ),
            ("bound", bound, degraded(30)),
            ("bound, rollout", rollout(bound), Remedy::RollBack),
            (
                "bound, node unable",
                Case {
                    kind: FailureKind::NodeUnable,
                    ..bound
                },
                degraded(30),
            ),
        ];
        for (what, case, expected) in table {
            assert_eq!(escalate(&case, &Settings::default()), expected, "{what}");
        }
    }

    #[test]
    fn more_tries_on_each_node_may_be_allowed() {
        let patient = Settings {
            tries_per_node: 3,
            ..Settings::default()
        };
        let there = |secs| Remedy::RestartThere {
            after: Duration::from_secs(secs),
        };
        let table = [(1, there(30)), (2, there(60)), (3, Remedy::OtherNode)];
        for (failures_here, expected) in table {
            assert_eq!(
                escalate(
                    &Case {
                        failures_here,
                        ..FIRST
                    },
                    &patient
                ),
                expected
            );
        }
        let bound = Case {
            failures_here: 2,
            bound: true,
            ..FIRST
        };
        assert_eq!(escalate(&bound, &patient), there(60));
    }
}
