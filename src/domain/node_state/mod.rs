//! What the control host thinks of a node: whether it is there, whether it is well, whether it is to blame.
//!
//! Pure: time is a monotonic reading that the caller passes in, and no reading of one machine is ever
//! compared with one of another. `docs/placement.md` has the reasons for the figures.
//!
//! - [`lease`]: when an agent must have stopped what may not run twice, and when the control host may
//!   start it elsewhere.
//! - [`Monitor`]: heartbeats, probes and operators → ready, suspect, down, cordoned, draining.
//! - [`probe`]: disk, memory, engine and clock of a node → problems.
//! - [`blame`]: many different instances fail on one node → that node is at fault.
//! - [`escalate`]: one instance failed again → there, elsewhere, rolled back, or degraded.

pub mod blame;
pub mod escalate;
pub mod lease;
mod monitor;
pub mod probe;

pub use crate::domain::placement::NodeState;
pub use monitor::{Cause, Event, Monitor, Notice, Presence, Settings};
