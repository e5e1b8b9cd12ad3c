//! Backups of the store: to a file, back from it, and from one store to another.
//!
//! Called by `lain server backup|restore|migrate-store`. A backup is one moment of the store: one list of all keys,
//! which every store gives as of one revision. What is read is checked as a whole before anything is written, and
//! what was written is read again and compared. Left out is what only makes sense while its writer lives: the
//! keys of elections.

mod file;
mod format;

pub use file::{back_up_to_file, restore_from_file};
pub use format::{Header, Item, decode, encode};

use crate::ports::store::{Change, Compare, Entry, Outcome, Store, StoreError};
use chrono::{DateTime, Utc};
use std::path::PathBuf;

/// Keys that no backup holds: they belong to a process, not to the installation.
const EPHEMERAL: &[&str] = &["election/"];
/// There while a store is being filled: a store with it is not complete.
const MARKER: &str = "meta/restoring";
/// So many keys are written at a time: etcd takes 128 changes in a transaction.
const BATCH: usize = 100;
/// So many bytes are written at a time: etcd takes 1.5 MiB.
const BATCH_BYTES: usize = 512 * 1024;

/// What to do with what is in the store already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse to restore.
    Refuse,
    /// Remove it.
    Replace,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Keys.
    pub entries: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
    /// When the backup was made, for one that was read from a file.
    pub created_at: Option<DateTime<Utc>>,
}

/// Why a backup or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read or written.
    #[error("failed to {action} {path}: {source}")]
    Io {
        /// A verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is there already.
    #[error("{0} is there already; a backup never overwrites another: name a new file")]
    Exists(PathBuf),
    /// It is no backup, or not a whole one.
    #[error("this is no complete backup of lain: line {line}: {reason}; nothing was changed")]
    Format {
        /// Which line of the text inside.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// What is in it is not what was written.
    #[error("the backup is damaged: its checksum is wrong; nothing was changed; use another copy")]
    Checksum,
    /// A later lain wrote it.
    #[error("the backup has format {0}, and this lain knows {known}; restore it with the lain that wrote it", known = format::VERSION)]
    Newer(u32),
    /// There is something in the store.
    #[error(
        "the store {location} is not empty: it has {key}, for example; nothing was changed; choose an empty one, or say that what is in it is to be replaced"
    )]
    NotEmpty {
        /// The store.
        location: String,
        /// The first key in it.
        key: String,
    },
    /// Someone else fills or empties the store.
    #[error(
        "the store {0} was changed by someone else meanwhile; stop every lain that uses it, and repeat"
    )]
    Interfered(String),
    /// What was read back is not what was written.
    #[error(
        "the store {location} does not hold what was written to it: {key} differs; do not use it"
    )]
    Differs {
        /// The store.
        location: String,
        /// The first key that differs.
        key: String,
    },
}

/// All that a backup of `store` holds, as of one moment, and the revision of that moment or a later one.
///
/// # Errors
/// Those of the store.
pub async fn snapshot(store: &dyn Store) -> Result<Vec<Item>, StoreError> {
    // One call, so that it is of one moment.
    let entries = store.list("", None, usize::MAX).await?;
    Ok(entries
        .into_iter()
        .filter(is_kept)
        .map(Item::from)
        .collect())
}

fn is_kept(entry: &Entry) -> bool {
    entry.key != MARKER && !EPHEMERAL.iter().any(|prefix| entry.key.starts_with(prefix))
}

/// Whether a restore of this store was begun and not ended: it must not be used.
///
/// # Errors
/// Those of the store.
pub async fn is_incomplete(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store.get(MARKER).await?.is_some())
}

/// Copies all of `from` to `to`, and compares.
///
/// # Errors
/// [`BackupError::NotEmpty`] unless `existing` says otherwise, and what can happen to either store.
pub async fn migrate(
    from: &dyn Store,
    to: &dyn Store,
    existing: Existing,
) -> Result<Summary, BackupError> {
    let items = snapshot(from).await?;
    fill(to, &items, existing).await?;
    Ok(summary(&items, None))
}

/// Fills a store with `items`, and compares.
///
/// # Errors
/// As [`migrate`].
pub async fn fill(
    store: &dyn Store,
    items: &[Item],
    existing: Existing,
) -> Result<(), BackupError> {
    let location = store.describe().await?.location;
    let present = store.list("", None, usize::MAX).await?;
    let ours = present
        .iter()
        .find(|entry| is_kept(entry) || entry.key == MARKER);
    if let (Existing::Refuse, Some(entry)) = (existing, ours) {
        return Err(BackupError::NotEmpty {
            location,
            key: entry.key.clone(),
        });
    }
    let interfered = || BackupError::Interfered(location.clone());
    // What is there goes key by key: the keys of elections stay.
    let marker = present.iter().find(|entry| entry.key == MARKER);
    let condition = match marker {
        Some(entry) => Compare::RevisionIs(MARKER.to_owned(), entry.revision),
        None => Compare::Absent(MARKER.to_owned()),
    };
    let begun = vec![Change::Put(MARKER.to_owned(), b"true".to_vec())];
    let mut mark = commit(store, condition, begun)
        .await?
        .ok_or_else(interfered)?;
    let gone = present.into_iter().filter(is_kept);
    let gone = gone.map(|entry| (entry.key.len(), Change::Delete(entry.key)));
    let written = items.iter().map(|item| {
        let size = item.key.len() + item.value.len();
        (size, Change::Put(item.key.clone(), item.value.clone()))
    });
    for changes in batches(gone).into_iter().chain(batches(written)) {
        // The marker is written again with each batch, so that two who fill one store notice.
        let condition = Compare::RevisionIs(MARKER.to_owned(), mark);
        let mut changes = changes;
        changes.push(Change::Put(MARKER.to_owned(), b"true".to_vec()));
        mark = commit(store, condition, changes)
            .await?
            .ok_or_else(interfered)?;
    }
    let there = snapshot(store).await?;
    if let Some(key) = difference(items, &there) {
        return Err(BackupError::Differs { location, key });
    }
    let condition = Compare::RevisionIs(MARKER.to_owned(), mark);
    let done = vec![Change::Delete(MARKER.to_owned())];
    commit(store, condition, done)
        .await?
        .ok_or_else(interfered)?;
    Ok(())
}

/// The revision; `None` where the condition does not hold.
async fn commit(
    store: &dyn Store,
    condition: Compare,
    changes: Vec<Change>,
) -> Result<Option<u64>, StoreError> {
    match store.transact(vec![condition], changes).await? {
        Outcome::Committed(revision) => Ok(Some(revision)),
        Outcome::Refused(..) => Ok(None),
    }
}

/// Changes with their sizes, in transactions that every store takes.
fn batches(changes: impl Iterator<Item = (usize, Change)>) -> Vec<Vec<Change>> {
    let mut batches: Vec<Vec<Change>> = Vec::new();
    let mut bytes = 0;
    for (size, change) in changes {
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes + size <= BATCH_BYTES => {
                bytes += size;
                batch.push(change);
            }
            _ => {
                bytes = size;
                batches.push(vec![change]);
            }
        }
    }
    batches
}

/// The first key that is not the same in both, which are in the order of their keys.
fn difference(wanted: &[Item], there: &[Item]) -> Option<String> {
    let pairs = wanted.iter().zip(there);
    let differing = pairs
        .filter(|(a, b)| a != b)
        .map(|(a, b)| a.key.clone().min(b.key.clone()));
    let longer = if wanted.len() > there.len() {
        wanted
    } else {
        there
    };
    let rest = longer
        .get(wanted.len().min(there.len()))
        .map(|item| item.key.clone());
    differing.chain(rest).next()
}

fn summary(items: &[Item], created_at: Option<DateTime<Utc>>) -> Summary {
    Summary {
        entries: items.len(),
        bytes: items
            .iter()
            .map(|item| item.key.len() + item.value.len())
            .sum(),
        created_at,
    }
}
