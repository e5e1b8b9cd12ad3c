//! The real parts behind [`crate::ports`], one file or folder each.
//!
//! Made by `roles`, handed to actors as trait objects; no driver knows an actor.

pub mod docker;
pub mod pidfd;
pub mod process;
mod signal;
pub mod simulated;
