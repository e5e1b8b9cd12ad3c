//! Saved searches, in the store.

use crate::logging::filter::read;
use crate::ports::log_index::{LogFilter, LogIndexError, SavedSearch, SavedSearches};
use crate::ports::store::{Change, Store, StoreError};
use async_trait::async_trait;
use std::sync::Arc;

/// Where they lie.
const PREFIX: &str = "log-searches/";
/// As many as are kept at most.
const MOST: usize = 1000;

/// Saved searches over a store.
pub struct Saved {
    store: Arc<dyn Store>,
}

impl Saved {
    /// Over this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

fn failed(error: &StoreError) -> LogIndexError {
    LogIndexError::Failed {
        action: "keep saved searches".to_owned(),
        reason: error.to_string(),
    }
}

fn parsed(bytes: &[u8]) -> Result<SavedSearch, LogIndexError> {
    serde_json::from_slice(bytes).map_err(|error| LogIndexError::Failed {
        action: "read a saved search".to_owned(),
        reason: error.to_string(),
    })
}

/// Letters, digits, `-`, `_`, `.` and spaces within; at most 100 characters.
fn check_name(name: &str) -> Result<(), LogIndexError> {
    let right = !name.is_empty()
        && name.chars().count() <= 100
        && name.trim() == name
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '));
    right.then_some(()).ok_or_else(|| {
        let rule = "a name has 1 to 100 letters, digits, -, _, . and spaces within";
        LogIndexError::Request(format!("{name:?} is no name of a search: {rule}"))
    })
}

#[async_trait]
impl SavedSearches for Saved {
    async fn list(&self) -> Result<Vec<SavedSearch>, LogIndexError> {
        let all = self
            .store
            .list(PREFIX, None, MOST)
            .await
            .map_err(|e| failed(&e))?;
        all.iter().map(|entry| parsed(&entry.value)).collect()
    }

    async fn get(&self, name: &str) -> Result<SavedSearch, LogIndexError> {
        check_name(name)?;
        let entry = self
            .store
            .get(&format!("{PREFIX}{name}"))
            .await
            .map_err(|e| failed(&e))?;
        let entry = entry
            .ok_or_else(|| LogIndexError::NotFound(format!("there is no saved search {name:?}")))?;
        parsed(&entry.value)
    }

    async fn put(&self, search: SavedSearch) -> Result<(), LogIndexError> {
        check_name(&search.name)?;
        let filter = LogFilter {
            query: search.query.clone(),
            language: search.language,
            from: search.from.clone(),
            to: search.to.clone(),
            ..LogFilter::default()
        };
        // What cannot be read today cannot be read tomorrow; fields may still come.
        read(&filter, chrono::DateTime::UNIX_EPOCH)?;
        let all = self
            .store
            .list(PREFIX, None, MOST)
            .await
            .map_err(|e| failed(&e))?;
        let key = format!("{PREFIX}{}", search.name);
        if all.len() >= MOST && !all.iter().any(|entry| entry.key == key) {
            return Err(LogIndexError::Request(format!(
                "{MOST} searches are kept already; delete one first"
            )));
        }
        let json = serde_json::to_vec(&search)
            .map_err(|error| LogIndexError::Request(error.to_string()))?;
        let put = self
            .store
            .transact(Vec::new(), vec![Change::Put(key, json)])
            .await;
        put.map(drop).map_err(|e| failed(&e))
    }

    async fn delete(&self, name: &str) -> Result<(), LogIndexError> {
        self.get(name).await?;
        let delete = vec![Change::Delete(format!("{PREFIX}{name}"))];
        self.store
            .transact(Vec::new(), delete)
            .await
            .map(drop)
            .map_err(|e| failed(&e))
    }
}
