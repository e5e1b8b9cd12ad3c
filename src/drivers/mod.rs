//! The real parts behind the ports, one file or folder each, and their in-memory counterparts.
//!
//! Imports `ports`, `domain` and `config`. Made by `roles` and tests, handed to actors as trait
//! objects; no driver knows an actor.

pub mod docker;
pub mod election;
pub mod etcd;
pub mod guarded;
pub mod history;
pub mod memory;
pub mod none;
pub mod pages;
pub mod pidfd;
pub mod process;
pub mod redb;
mod signal;
pub mod simulated;
pub mod transaction;
pub mod watchdog;

/// Which start of the machine this is: pids, ticks and clocks since then mean nothing in another.
pub(in crate::drivers) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
