//! What lain asks of a durable store: an ordered map of keys with revisions, as etcd has it.
//!
//! Implemented by `drivers::redb` (embedded), `drivers::memory`, and etcd for a cluster. Keys are
//! slash-separated paths (`apps/hello`); values are JSON.

use async_trait::async_trait;
use futures_util::stream::BoxStream;

/// Why a store call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file is damaged.
    #[error("the store {path} is damaged: {reason}; {remedy}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// Another process has it open.
    #[error(
        "the store {path} is in use by another lain{owner}; stop it, or give this one another --data-dir"
    )]
    InUse {
        /// The file.
        path: String,
        /// ` (pid 123)` where that is known, else empty.
        owner: String,
    },
    /// The disk is full: nothing was changed.
    #[error("no space left for the store {path}; nothing was changed; free space and repeat")]
    DiskFull {
        /// The file.
        path: String,
    },
    /// Anything else: nothing was changed, or it is unknown whether it was.
    #[error("the store failed to {action}: {reason}")]
    Failed {
        /// What was asked.
        action: String,
        /// What went wrong.
        reason: String,
    },
}

/// A key's value and its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The store's revision at which it was last written.
    pub revision: u64,
    /// The store's revision at which it was made.
    pub created: u64,
}

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key was last written at this revision.
    RevisionIs(String, u64),
}

/// A change in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a key.
    Put(String, Vec<u8>),
    /// Removes a key; one that is absent is no error.
    Delete(String),
    /// Removes all keys with a prefix.
    DeletePrefix(String),
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All changes are durable, at this revision of the store.
    Committed(u64),
    /// A condition did not hold, and nothing was changed; the current entry of that key.
    Refused(String, Option<Entry>),
}

/// A change seen by a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// A key was written.
    Put(Entry),
    /// A key was removed, at this revision.
    Deleted(String, u64),
    /// The watcher was too slow, or the revision asked for is gone: list again. The stream goes on
    /// with what happens after this moment, so a list made now misses nothing.
    Lost,
}

/// A durable, ordered map with revisions. When a transaction returns, its changes survive SIGKILL and power loss.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// One key.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// All keys with a prefix in ascending order, after `after`, at most `limit`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// All keys with a prefix in descending order, before `before`, at most `limit`.
    async fn list_back(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// All conditions hold and all changes happen, or none.
    async fn transact(
        &self,
        conditions: Vec<Compare>,
        changes: Vec<Change>,
    ) -> Result<Outcome, StoreError>;

    /// Changes of keys with a prefix from now on, or after revision `since` where that is still known.
    fn watch(&self, prefix: &str, since: Option<u64>) -> BoxStream<'static, WatchEvent>;

    /// What to tell an operator: kind, path or endpoints, size in bytes, revision.
    async fn describe(&self) -> Result<StoreInfo, StoreError>;
}

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// `redb`, `memory` or `etcd`.
    pub kind: &'static str,
    /// Where it is.
    pub location: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// The current revision.
    pub revision: u64,
}
