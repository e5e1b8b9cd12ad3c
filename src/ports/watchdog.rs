//! What stops the containers that may run only once when their agent cannot: a process of its own beside it.
//!
//! An agent that is stopped (`SIGSTOP`), stuck or killed does not notice that its lease has ended. Its watchdog
//! does, since it was told until when the lease lasts.

use crate::domain::id::ContainerId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A container that may run only once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// Its name.
    pub name: String,
    /// The engine's id.
    pub id: ContainerId,
    /// The pid of its first process, once that is known.
    pub pid: Option<u32>,
}

/// What an agent's incarnation before this one has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// For how long its lease still lasts.
    pub left: Duration,
    /// What it ran under it.
    pub guarded: Vec<Guarded>,
}

/// An agent's watchdog.
pub trait Watchdog: Send + Sync + 'static {
    /// What the incarnation before has left, where its lease has not ended; given once.
    fn inherited(&self) -> Option<Inherited>;

    /// From now on these containers are stopped once the lease has ended, which lasts for `left`; `None`: there
    /// is no lease.
    ///
    /// # Errors
    /// Why the watchdog cannot be told: what it was told before stands, and that ends sooner.
    fn tell(&self, left: Option<Duration>, guarded: &[Guarded]) -> Result<(), String>;
}
