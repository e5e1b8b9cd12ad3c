//! PURE: identifiers, specs, decisions and views. No async, no clock, no I/O.

pub mod census;
pub mod crash;
pub mod cron;
pub mod group;
pub mod health;
pub mod id;
pub mod labels;
pub mod log;
pub mod node_state;
pub mod placement;
pub mod plan;
#[cfg(test)]
pub(crate) mod plan_tests;
pub mod record;
pub mod revision;
pub mod rollout;
pub mod secret;
pub mod spec;
pub mod texts;
pub mod view;
