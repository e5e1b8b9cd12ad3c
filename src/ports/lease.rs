//! What lain asks of a store besides keys: leases that end by themselves, and who leads.
//!
//! Implemented by `drivers::etcd` for a cluster and by `drivers::memory` for tests and simulation;
//! `drivers::election` makes an election of any store with leases, and one for a store that only one process
//! can open, whose leader is always that process.

use crate::ports::store::{Compare, Outcome, StoreError};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::time::Duration;

/// A span of time that its holder keeps extending; when it ends, so do the keys that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The store's number of it.
    pub id: i64,
    /// For how long it was granted, which may be longer than was asked for.
    pub ttl: Duration,
}

/// Leases of a store.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// A new lease.
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError>;

    /// Begins its time anew; `false` when it has ended. The holder may count on it from the moment *before* the
    /// call on.
    async fn keep_alive(&self, lease: Lease) -> Result<bool, StoreError>;

    /// Ends it, and removes the keys that go with it. One that has ended is no error.
    async fn revoke(&self, lease: Lease) -> Result<(), StoreError>;

    /// Writes a key that is not there, to go when `lease` ends. [`Outcome::Refused`] with what is there.
    async fn attach(&self, lease: Lease, key: &str, value: Vec<u8>) -> Result<Outcome, StoreError>;

    /// Whether `key` is there and goes with `lease`.
    async fn holds(&self, lease: Lease, key: &str) -> Result<bool, StoreError>;
}

/// The one that leads, as all see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Which process: a name that is unique among the candidates.
    pub name: String,
    /// Where its API is.
    pub url: String,
    /// The fencing token: higher for each later leader.
    pub token: u64,
}

/// What the leader itself holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// As others see it.
    pub leader: Leader,
    /// The lease that it has to keep alive; `None` where nobody else can lead.
    pub lease: Option<Lease>,
    /// The condition to put into each transaction that only a leader may make: the store refuses it when the
    /// leadership has ended, whatever the leader itself believes. `None` where nobody else can lead.
    pub guard: Option<Compare>,
}

/// An election: at most one leads at any moment of the store's history.
#[async_trait]
pub trait Election: Send + Sync + 'static {
    /// Waits until `name` leads. A caller that goes away is no longer a candidate, at the latest when a lease
    /// that it was granted meanwhile ends.
    async fn campaign(&self, name: &str, url: &str) -> Result<Leadership, StoreError>;

    /// Extends the leadership; `false` when it has ended. Due several times within the lease's `ttl`.
    async fn renew(&self, leadership: &Leadership) -> Result<bool, StoreError>;

    /// Gives the leadership up, so that another leads at once.
    async fn resign(&self, leadership: Leadership) -> Result<(), StoreError>;

    /// Who leads now.
    async fn leader(&self) -> Result<Option<Leader>, StoreError>;

    /// Who leads, from now on: at first the present state, then each change.
    fn observe(&self) -> BoxStream<'static, Option<Leader>>;
}
