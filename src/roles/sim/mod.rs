//! `lain sim`: the real control host in virtual time, and faults by chance from a seed.
//!
//! ```text
//! schedule ── control   the real actors of `lain server`
//!    │          │ store     in memory, with errors and delays
//!    │          │ wire      connections that are cut, broken, slow
//!    │        agent     one a node, over the link's own messages ── machine   containers, power, clocks
//!    ├── faults    begun and ended by chance
//!    ├── operator  deploys, scales, removes, cordons, drains
//!    └── truth     what is really so; the invariants, checked with each change of it
//! ```
//!
//! One thread, one runtime whose clock stands still until everybody waits, all chance from one seed: the same seed
//! gives the same trace. `docs/simulation.md` says what that needs.

pub mod agent;
pub mod chance;
pub mod clock;
pub mod command;
pub mod control;
pub mod converge;
pub mod faults;
pub mod machine;
pub mod operator;
pub mod scale;
mod scale_node;
pub mod schedule;
pub mod store;
mod talk;
pub mod trace;
pub mod truth;
pub mod wire;

pub use faults::Fault;
pub use schedule::{Outcome, run};
pub use truth::{Invariant, Violation};

use std::collections::BTreeSet;
use std::time::Duration;

/// What a schedule is made from, besides its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Nodes.
    pub nodes: u32,
    /// Instances, on average.
    pub instances: u32,
    /// Faults that may happen.
    pub faults: BTreeSet<Fault>,
    /// For how long faults go on, in virtual time.
    pub span: Duration,
    /// A bug that is to be found.
    pub plant: Option<Plant>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 4,
            instances: 12,
            faults: Fault::ALL.into(),
            span: Duration::from_secs(10),
            plant: None,
        }
    }
}

/// A bug that is planted to show that its invariant finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Agents stop nothing when the control host cannot be heard: [`Invariant::ExclusiveOnce`].
    NoFence,
    /// Nodes are taken to be eight times as large as they are: [`Invariant::CapacityKept`].
    IgnoresCapacity,
    /// The store acknowledges changes of apps and forgets some of them: [`Invariant::AcknowledgedKept`].
    StoreForgets,
    /// Agents leave some instances out: [`Invariant::Converges`].
    AgentForgets,
    /// A control host that is back restarts what runs: [`Invariant::BystandersRunOn`].
    ResumeRestarts,
}

/// Memory of a node: what is wanted at most fits twice on all of them together, less what chance leaves over.
fn memory_of_a_node(options: &Options) -> u64 {
    let most = u64::from(options.instances) * 2 * (64 << 20);
    most * 8 / 5 / u64::from(options.nodes.max(1)) + (256 << 20)
}
