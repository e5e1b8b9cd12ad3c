//! A store that forgets everything with the process, and fails when told to.
//!
//! Used by tests and by the simulation; keeps the semantics of the embedded store, as the shared
//! conformance suite (`tests/store_conformance.rs`) checks.

use crate::drivers::history::History;
use crate::drivers::transaction::{Tree, apply};
use crate::ports::store::{Change, Compare, Entry, Outcome, Store, StoreError};
use crate::ports::store::{StoreInfo, WatchEvent};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An in-memory [`Store`] with fault injection.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    history: History,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, Kept>,
    revision: u64,
    faults: Faults,
}

/// An entry without its key.
#[derive(Debug)]
struct Kept {
    value: Box<[u8]>,
    revision: u64,
    created: u64,
}

impl Kept {
    fn entry(&self, key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            value: self.value.to_vec(),
            revision: self.revision,
            created: self.created,
        }
    }
}

/// How the next calls misbehave.
#[derive(Debug, Default)]
struct Faults {
    reads: VecDeque<StoreError>,
    writes: VecDeque<StoreError>,
    lasting_write: Option<StoreError>,
    delay: Duration,
}

impl MemoryStore {
    /// An empty store at revision 0.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State::default()),
            history: History::new(0),
        }
    }

    /// The next `count` transactions fail with `error` and change nothing.
    pub fn fail_next_writes(&self, count: usize, error: StoreError) {
        let repeated = std::iter::repeat_n(error, count);
        self.state().faults.writes.extend(repeated);
    }

    /// The next `count` calls of `get`, `list`, `list_back` and `describe` fail with `error`.
    pub fn fail_next_reads(&self, count: usize, error: StoreError) {
        let repeated = std::iter::repeat_n(error, count);
        self.state().faults.reads.extend(repeated);
    }

    /// Every transaction fails with `error` until this is set to `None`, like a full disk.
    pub fn fail_writes(&self, error: Option<StoreError>) {
        self.state().faults.lasting_write = error;
    }

    /// Every call takes `delay` longer, by tokio's clock.
    pub fn delay(&self, delay: Duration) {
        self.state().faults.delay = delay;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self) {
        let delay = self.state().faults.delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// The state for a read, or the fault that is due.
    async fn read(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        self.wait().await;
        let mut state = self.state();
        match state.faults.reads.pop_front() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree for BTreeMap<String, Kept> {
    type Error = Infallible;

    fn get(&self, key: &str) -> Result<Option<Entry>, Infallible> {
        Ok(BTreeMap::get(self, key).map(|kept| kept.entry(key)))
    }

    fn put(&mut self, entry: &Entry) -> Result<(), Infallible> {
        let kept = Kept {
            value: entry.value.as_slice().into(),
            revision: entry.revision,
            created: entry.created,
        };
        self.insert(entry.key.clone(), kept);
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<bool, Infallible> {
        Ok(self.remove(key).is_some())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, Infallible> {
        let from = self.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let within = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(within.map(|(key, _)| key.clone()).collect())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let state = self.read().await?;
        Ok(state.entries.get(key).map(|kept| kept.entry(key)))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let state = self.read().await?;
        let low = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let from = state.entries.range::<str, _>((low, Bound::Unbounded));
        let within = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(within
            .take(limit)
            .map(|(key, kept)| kept.entry(key))
            .collect())
    }

    async fn list_back(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let state = self.read().await?;
        let high = before.map_or(Bound::Unbounded, Bound::Excluded);
        let below = state
            .entries
            .range::<str, _>((Bound::Unbounded, high))
            .rev();
        let within = below
            .skip_while(|(key, _)| key.as_str() > prefix && !key.starts_with(prefix))
            .take_while(|(key, _)| key.starts_with(prefix));
        Ok(within
            .take(limit)
            .map(|(key, kept)| kept.entry(key))
            .collect())
    }

    async fn transact(
        &self,
        conditions: Vec<Compare>,
        changes: Vec<Change>,
    ) -> Result<Outcome, StoreError> {
        self.wait().await;
        let mut state = self.state();
        if let Some(error) = state.faults.next_write() {
            return Err(error);
        }
        let revision = state.revision;
        let Ok(applied) = apply(&mut state.entries, &conditions, &changes, revision);
        state.revision = applied.revision;
        // Published under the lock, so that watchers see the order of the revisions.
        self.history.publish(applied.events);
        Ok(applied.outcome)
    }

    fn watch(&self, prefix: &str, since: Option<u64>) -> BoxStream<'static, WatchEvent> {
        self.history.watch(prefix, since)
    }

    async fn describe(&self) -> Result<StoreInfo, StoreError> {
        let state = self.read().await?;
        let sizes = state
            .entries
            .iter()
            .map(|(key, e)| key.len() + e.value.len());
        Ok(StoreInfo {
            kind: "memory",
            location: "memory".to_owned(),
            bytes: sizes.sum::<usize>() as u64,
            revision: state.revision,
        })
    }
}

impl Faults {
    fn next_write(&mut self) -> Option<StoreError> {
        let next = self.writes.pop_front();
        next.or_else(|| self.lasting_write.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> StoreError {
        StoreError::DiskFull {
            path: "memory".to_owned(),
        }
    }

    async fn put(store: &MemoryStore) -> Result<Outcome, StoreError> {
        let change = Change::Put("k".to_owned(), b"v".to_vec());
        store.transact(Vec::new(), vec![change]).await
    }

    #[tokio::test]
    async fn faults_come_in_the_number_asked_for() {
        let store = MemoryStore::new();
        store.fail_next_writes(2, full());
        for _ in 0..2 {
            assert!(matches!(
                put(&store).await,
                Err(StoreError::DiskFull { .. })
            ));
        }
        assert_eq!(put(&store).await.unwrap(), Outcome::Committed(1));
        store.fail_next_reads(1, full());
        assert!(store.get("k").await.is_err());
        assert!(store.get("k").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_lasting_fault_ends_when_lifted() {
        let store = MemoryStore::new();
        store.fail_writes(Some(full()));
        assert!(put(&store).await.is_err());
        assert!(put(&store).await.is_err());
        store.fail_writes(None);
        assert!(put(&store).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_is_on_tokios_clock() {
        let store = MemoryStore::new();
        store.delay(Duration::from_secs(60));
        let start = tokio::time::Instant::now();
        put(&store).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(60));
    }
}
