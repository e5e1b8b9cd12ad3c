//! The control host's store with faults: errors before and after the change, slowness, and a host that dies
//! between asking and hearing.

use super::Plant;
use super::chance::Chance;
use super::truth::Ground;
use crate::drivers::memory::MemoryStore;
use crate::ports::store::{
    Change, Compare, Entry, Outcome, Store, StoreError, StoreInfo, WatchEvent,
};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the store behaves now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manners {
    /// So many calls in a hundred fail.
    pub errors: u32,
    /// Each call takes up to this long.
    pub delay: Duration,
}

/// What outlives a control host: the data, and how the store behaves.
pub struct Disk {
    /// The data.
    pub data: MemoryStore,
    state: Mutex<(Manners, Chance)>,
    ground: Ground,
    plant: Option<Plant>,
}

impl Disk {
    /// An empty store.
    pub fn new(chance: Chance, ground: Ground, plant: Option<Plant>) -> Arc<Self> {
        Arc::new(Self {
            data: MemoryStore::new(),
            state: Mutex::new((Manners::default(), chance)),
            ground,
            plant,
        })
    }

    fn state(&self) -> MutexGuard<'_, (Manners, Chance)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how the store behaves.
    pub fn behave(&self, manners: Manners) {
        self.state().0 = manners;
    }

    /// What this call meets: how long it takes, and whether it fails before or after it was carried out.
    fn fate(&self) -> (Duration, Option<bool>) {
        let mut state = self.state();
        let (manners, chance) = &mut *state;
        let most = u64::try_from(manners.delay.as_millis()).unwrap_or(0);
        let took = match most {
            0 => Duration::ZERO,
            most => chance.millis(0, most),
        };
        let fails = manners.errors > 0 && chance.percent(manners.errors);
        (took, fails.then(|| chance.percent(50)))
    }
}

/// The store as one life of a control host sees it.
pub struct SimStore {
    disk: Arc<Disk>,
    alive: Arc<AtomicBool>,
}

impl SimStore {
    /// For a control host that lives as long as `alive` says so.
    pub fn new(disk: Arc<Disk>, alive: Arc<AtomicBool>) -> Self {
        Self { disk, alive }
    }

    /// Whoever died waits for ever: what a task that outlived its host would do never happens.
    async fn living(&self) {
        if !self.alive.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    }

    async fn before(&self, action: &str) -> Result<(), StoreError> {
        self.living().await;
        let (took, fails) = self.disk.fate();
        if !took.is_zero() {
            tokio::time::sleep(took).await;
            self.living().await;
        }
        match fails {
            Some(_) => Err(failed(action)),
            None => Ok(()),
        }
    }

    fn forgets(&self, changes: &[Change]) -> bool {
        let of_an_app = |c: &Change| matches!(c, Change::Put(key, _) if key.starts_with("apps/"));
        self.disk.plant == Some(Plant::StoreForgets)
            && changes.iter().any(of_an_app)
            && self.disk.state().1.percent(30)
    }
}

fn failed(action: &str) -> StoreError {
    StoreError::Failed {
        action: action.to_owned(),
        reason: "a fault of the simulation".to_owned(),
    }
}

#[async_trait]
impl Store for SimStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.before("read").await?;
        self.disk.data.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.before("list").await?;
        self.disk.data.list(prefix, after, limit).await
    }

    async fn list_back(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.before("list").await?;
        self.disk.data.list_back(prefix, before, limit).await
    }

    async fn transact(
        &self,
        conditions: Vec<Compare>,
        changes: Vec<Change>,
    ) -> Result<Outcome, StoreError> {
        self.living().await;
        let (took, fails) = self.disk.fate();
        // Asking takes time, and so does hearing the answer: a host may die in between.
        let halves = took / 2;
        if !halves.is_zero() {
            tokio::time::sleep(halves).await;
            self.living().await;
        }
        if fails == Some(false) {
            return Err(failed("write; nothing was changed"));
        }
        if self.forgets(&changes) {
            let revision = self.disk.data.describe().await?.revision;
            return Ok(Outcome::Committed(revision + 1));
        }
        let outcome = self.disk.data.transact(conditions, changes.clone()).await?;
        if matches!(outcome, Outcome::Committed(_)) {
            self.disk.ground.with(|truth| truth.committed(&changes));
        }
        if !halves.is_zero() {
            tokio::time::sleep(halves).await;
            self.living().await;
        }
        match fails {
            Some(_) => Err(failed("write; whether it did is not known")),
            None => Ok(outcome),
        }
    }

    fn watch(&self, prefix: &str, since: Option<u64>) -> BoxStream<'static, WatchEvent> {
        self.disk.data.watch(prefix, since)
    }

    async fn describe(&self) -> Result<StoreInfo, StoreError> {
        self.living().await;
        self.disk.data.describe().await
    }
}
