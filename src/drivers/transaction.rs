//! What a transaction does to an ordered map: conditions, changes, revisions and events.
//!
//! Shared by the embedded and the in-memory store, which bring the map; does no I/O of its own and
//! publishes nothing.

use crate::ports::store::{Change, Compare, Entry, Outcome, WatchEvent};

/// An ordered map that a transaction reads and changes.
pub trait Tree {
    /// Why the map could not be read or changed.
    type Error;

    /// One key.
    fn get(&self, key: &str) -> Result<Option<Entry>, Self::Error>;
    /// Writes one key.
    fn put(&mut self, entry: &Entry) -> Result<(), Self::Error>;
    /// Removes one key; `false` when it was not there.
    fn delete(&mut self, key: &str) -> Result<bool, Self::Error>;
    /// All keys with a prefix, ascending.
    fn keys(&self, prefix: &str) -> Result<Vec<String>, Self::Error>;
}

/// The result of [`apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What to tell the caller, once the changes are durable.
    pub outcome: Outcome,
    /// What to tell watchers, once the changes are durable.
    pub events: Vec<WatchEvent>,
    /// The store's revision after the transaction.
    pub revision: u64,
}

/// Checks `conditions` and, when all hold, makes `changes` in order.
///
/// A transaction that changes anything raises the revision by one, and all its changes carry that
/// revision (as in etcd); one that changes nothing, such as the removal of an absent key, is
/// committed at the current revision.
///
/// # Errors
/// Those of the tree; the tree may then be half changed and must be thrown away.
pub fn apply<T: Tree>(
    tree: &mut T,
    conditions: &[Compare],
    changes: &[Change],
    revision: u64,
) -> Result<Applied, T::Error> {
    for condition in conditions {
        if let Some((key, entry)) = violated(tree, condition)? {
            return Ok(Applied {
                outcome: Outcome::Refused(key, entry),
                events: Vec::new(),
                revision,
            });
        }
    }
    let mut events = Vec::with_capacity(changes.len());
    for change in changes {
        perform(tree, change, revision + 1, &mut events)?;
    }
    let revision = revision + u64::from(!events.is_empty());
    Ok(Applied {
        outcome: Outcome::Committed(revision),
        events,
        revision,
    })
}

/// The key of a condition that does not hold, and what is there instead.
fn violated<T: Tree>(
    tree: &T,
    condition: &Compare,
) -> Result<Option<(String, Option<Entry>)>, T::Error> {
    let (Compare::Absent(key) | Compare::RevisionIs(key, _)) = condition;
    let entry = tree.get(key)?;
    let holds = match (condition, &entry) {
        (Compare::Absent(_), entry) => entry.is_none(),
        (Compare::RevisionIs(_, wanted), Some(entry)) => entry.revision == *wanted,
        (Compare::RevisionIs(..), None) => false,
    };
    Ok((!holds).then(|| (key.clone(), entry)))
}

/// Makes one change at `revision`, noting what watchers will be told.
fn perform<T: Tree>(
    tree: &mut T,
    change: &Change,
    revision: u64,
    events: &mut Vec<WatchEvent>,
) -> Result<(), T::Error> {
    match change {
        Change::Put(key, value) => {
            let created = tree.get(key)?.map_or(revision, |old| old.created);
            let entry = Entry {
                key: key.clone(),
                value: value.clone(),
                revision,
                created,
            };
            tree.put(&entry)?;
            events.push(WatchEvent::Put(entry));
        }
        Change::Delete(key) => {
            if tree.delete(key)? {
                events.push(WatchEvent::Deleted(key.clone(), revision));
            }
        }
        Change::DeletePrefix(prefix) => {
            for key in tree.keys(prefix)? {
                if tree.delete(&key)? {
                    events.push(WatchEvent::Deleted(key, revision));
                }
            }
        }
    }
    Ok(())
}
