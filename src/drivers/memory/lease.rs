//! Leases over the in-memory store, on tokio's clock, so that a test can let them end in no time.

use crate::drivers::memory::MemoryStore;
use crate::ports::lease::{Lease, Leases};
use crate::ports::store::{Change, Compare, Outcome, Store, StoreError};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The leases of one store. Shared by all that stand for its clients.
#[derive(Debug)]
pub struct MemoryLeases {
    store: Arc<MemoryStore>,
    state: Mutex<State>,
    me: Weak<MemoryLeases>,
}

#[derive(Debug, Default)]
struct State {
    last: i64,
    leases: BTreeMap<i64, Held>,
}

#[derive(Debug)]
struct Held {
    ttl: Duration,
    ends: Instant,
    keys: Vec<String>,
}

impl MemoryLeases {
    /// No leases yet.
    pub fn new(store: Arc<MemoryStore>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            store,
            state: Mutex::default(),
            me: me.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of a lease, however often that is put off, and removes what goes with it.
    async fn outlive(leases: Weak<Self>, id: i64) {
        loop {
            let Some(this) = leases.upgrade() else { return };
            let ends = this.state().leases.get(&id).map(|held| held.ends);
            let Some(ends) = ends else { return };
            if ends <= Instant::now() {
                // In memory a transaction fails only where a test wants it to; the keys then stay.
                let _ = this.end(id).await;
                return;
            }
            drop(this);
            tokio::time::sleep_until(ends).await;
        }
    }

    async fn end(&self, id: i64) -> Result<(), StoreError> {
        let Some(held) = self.state().leases.remove(&id) else {
            return Ok(());
        };
        let changes = held.keys.into_iter().map(Change::Delete).collect();
        self.store.transact(Vec::new(), changes).await.map(drop)
    }
}

#[async_trait]
impl Leases for MemoryLeases {
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let id = {
            let mut state = self.state();
            state.last += 1;
            let id = state.last;
            let held = Held {
                ttl,
                ends: Instant::now() + ttl,
                keys: Vec::new(),
            };
            state.leases.insert(id, held);
            id
        };
        tokio::spawn(Self::outlive(self.me.clone(), id));
        Ok(Lease { id, ttl })
    }

    async fn keep_alive(&self, lease: Lease) -> Result<bool, StoreError> {
        let mut state = self.state();
        let now = Instant::now();
        let held = state.leases.get_mut(&lease.id).filter(|h| h.ends > now);
        Ok(held.is_some_and(|held| {
            held.ends = now + held.ttl;
            true
        }))
    }

    async fn revoke(&self, lease: Lease) -> Result<(), StoreError> {
        self.end(lease.id).await
    }

    async fn attach(&self, lease: Lease, key: &str, value: Vec<u8>) -> Result<Outcome, StoreError> {
        let gone = || StoreError::Failed {
            action: format!("write {key}"),
            reason: "the lease has ended".to_owned(),
        };
        if !self.state().leases.contains_key(&lease.id) {
            return Err(gone());
        }
        let absent = vec![Compare::Absent(key.to_owned())];
        let put = vec![Change::Put(key.to_owned(), value)];
        let outcome = self.store.transact(absent, put).await?;
        if matches!(outcome, Outcome::Committed(_)) {
            let noted = self.state().leases.get_mut(&lease.id).map(|held| {
                held.keys.push(key.to_owned());
            });
            if noted.is_none() {
                // It ended meanwhile, and would leave the key behind.
                let delete = vec![Change::Delete(key.to_owned())];
                self.store.transact(Vec::new(), delete).await?;
                return Err(gone());
            }
        }
        Ok(outcome)
    }

    async fn holds(&self, lease: Lease, key: &str) -> Result<bool, StoreError> {
        let state = self.state();
        let held = state.leases.get(&lease.id);
        Ok(held.is_some_and(|held| held.keys.iter().any(|k| k == key)))
    }
}
