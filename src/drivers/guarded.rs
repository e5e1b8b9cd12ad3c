//! A store that only a leader may write: each transaction carries the leadership as a condition.
//!
//! A control host that was paused while another took its place believes that it leads. Its writes are
//! refused by the store itself, and it is told that it leads no longer.

use crate::ports::store::{
    Change, Compare, Entry, Outcome, Store, StoreError, StoreInfo, WatchEvent,
};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use tokio::sync::watch;

/// See the module.
pub struct GuardedStore {
    inner: Arc<dyn Store>,
    guard: Compare,
    lost: watch::Sender<bool>,
}

impl GuardedStore {
    /// `inner`, written only while `guard` holds.
    pub fn new(inner: Arc<dyn Store>, guard: Compare) -> Self {
        Self {
            inner,
            guard,
            lost: watch::channel(false).0,
        }
    }

    /// Becomes true once a write was refused because the leadership has ended.
    pub fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    fn guarded_key(&self) -> &str {
        match &self.guard {
            Compare::Absent(key) | Compare::RevisionIs(key, _) => key,
        }
    }
}

#[async_trait]
impl Store for GuardedStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn list_back(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.list_back(prefix, before, limit).await
    }

    async fn transact(
        &self,
        mut conditions: Vec<Compare>,
        changes: Vec<Change>,
    ) -> Result<Outcome, StoreError> {
        conditions.push(self.guard.clone());
        match self.inner.transact(conditions, changes).await? {
            Outcome::Refused(key, _) if key == self.guarded_key() => {
                self.lost.send_replace(true);
                Err(StoreError::Failed {
                    action: "write".to_owned(),
                    reason: "this control host leads no longer, another one has taken its place"
                        .to_owned(),
                })
            }
            outcome => Ok(outcome),
        }
    }

    fn watch(&self, prefix: &str, since: Option<u64>) -> BoxStream<'static, WatchEvent> {
        self.inner.watch(prefix, since)
    }

    async fn describe(&self) -> Result<StoreInfo, StoreError> {
        self.inner.describe().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::memory::MemoryStore;

    #[actix_rt::test]
    async fn who_leads_no_longer_writes_no_longer() {
        let store = Arc::new(MemoryStore::default());
        let put = |key: &str| vec![Change::Put(key.to_owned(), b"x".to_vec())];
        let seat = store.transact(Vec::new(), put("seat")).await;
        let Ok(Outcome::Committed(revision)) = seat else {
            panic!("{seat:?}");
        };
        let guard = Compare::RevisionIs("seat".to_owned(), revision);
        let guarded = GuardedStore::new(store.clone(), guard);
        let lost = guarded.lost();
        guarded
            .transact(Vec::new(), put("a"))
            .await
            .expect("it leads");
        // Another one takes the seat.
        store
            .transact(Vec::new(), put("seat"))
            .await
            .expect("taken");
        let refused = guarded.transact(Vec::new(), put("b")).await;
        let refused = refused.expect_err("it leads no longer");
        assert!(refused.to_string().contains("leads no longer"), "{refused}");
        assert!(*lost.borrow());
        assert_eq!(store.get("b").await.expect("read"), None);
    }
}
