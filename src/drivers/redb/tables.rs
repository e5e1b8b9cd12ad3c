//! The tables in the file: reading them, and committing a batch of transactions to them.
//!
//! Blocking; called by the writer, and by reads on threads that may block. Knows nothing of
//! watchers, queues, opening and closing.

use crate::drivers::redb::file::StoreFile;
use crate::drivers::transaction::{Applied, Tree, apply};
use crate::ports::store::{Change, Compare, Entry};
use ::redb::{AccessGuard, StorageError, Table, TableDefinition};
use ::redb::{Durability, Error, ReadableDatabase, ReadableTable};
use std::ops::Bound;

/// Key → created, revision (both `u64`, little endian), value.
pub(super) const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");
/// `format` and `revision`.
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// The layout of these. A file with a greater number was written by a newer lain.
pub(super) const FORMAT: u64 = 1;
/// The bytes before each value.
const HEADER: usize = 16;

impl StoreFile {
    /// Makes the tables of an empty store.
    ///
    /// # Errors
    /// Those of the library.
    pub fn initialise(&self) -> Result<(), Error> {
        let write = self.db.begin_write()?;
        write.open_table(ENTRIES)?;
        {
            let mut meta = write.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("revision", 0)?;
        }
        write.commit()?;
        Ok(())
    }

    /// A number that is kept beside the entries; `None` when this is no store of ours.
    ///
    /// # Errors
    /// Those of the library.
    pub fn meta(&self, name: &str) -> Result<Option<u64>, Error> {
        let read = self.db.begin_read()?;
        match read.open_table(META) {
            Ok(table) => Ok(table.get(name)?.map(|value| value.value())),
            Err(::redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The revision of the last commit.
    ///
    /// # Errors
    /// Those of the library.
    pub fn revision(&self) -> Result<u64, Error> {
        let revision = self.meta("revision")?;
        revision.ok_or_else(|| Error::Corrupted("the revision is missing".to_owned()))
    }

    /// One key.
    ///
    /// # Errors
    /// Those of the library.
    pub fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let table = self.db.begin_read()?.open_table(ENTRIES)?;
        lookup(&table, key)
    }

    /// As [`crate::ports::store::Store::list`].
    ///
    /// # Errors
    /// Those of the library.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let table = self.db.begin_read()?.open_table(ENTRIES)?;
        let low = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.as_bytes()),
            _ => Bound::Included(prefix.as_bytes()),
        };
        collect(
            table.range::<&[u8]>((low, Bound::Unbounded))?,
            prefix,
            limit,
        )
    }

    /// As [`crate::ports::store::Store::list_back`].
    ///
    /// # Errors
    /// Those of the library.
    pub fn list_back(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let table = self.db.begin_read()?.open_table(ENTRIES)?;
        let end = after_prefix(prefix);
        let high = match (before, &end) {
            (Some(before), Some(end)) if before.as_bytes() < end.as_slice() => {
                Bound::Excluded(before.as_bytes())
            }
            (Some(before), None) => Bound::Excluded(before.as_bytes()),
            (_, Some(end)) => Bound::Excluded(end.as_slice()),
            (None, None) => Bound::Unbounded,
        };
        let below = table.range::<&[u8]>((Bound::Unbounded, high))?;
        collect(below.rev(), prefix, limit)
    }

    /// Applies transactions in order and makes them durable together, with one `fsync`.
    ///
    /// # Errors
    /// Those of the library. It is then unknown whether the batch is durable; the file must be
    /// reopened, and its revision tells.
    pub fn commit<'a>(
        &self,
        batch: impl Iterator<Item = (&'a [Compare], &'a [Change])>,
        mut revision: u64,
    ) -> Result<Vec<Applied>, Error> {
        let mut write = self.db.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        let before = revision;
        let mut results = Vec::new();
        {
            let mut entries = Entries(write.open_table(ENTRIES)?);
            for (conditions, changes) in batch {
                let applied = apply(&mut entries, conditions, changes, revision)?;
                revision = applied.revision;
                results.push(applied);
            }
        }
        if revision == before {
            write.abort()?;
            return Ok(results);
        }
        write.open_table(META)?.insert("revision", revision)?;
        write.commit()?;
        Ok(results)
    }
}

/// The entries inside a write transaction.
struct Entries<'t>(Table<'t, &'static [u8], &'static [u8]>);

impl Tree for Entries<'_> {
    type Error = Error;

    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        lookup(&self.0, key)
    }

    fn put(&mut self, entry: &Entry) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(HEADER + entry.value.len());
        bytes.extend_from_slice(&entry.created.to_le_bytes());
        bytes.extend_from_slice(&entry.revision.to_le_bytes());
        bytes.extend_from_slice(&entry.value);
        self.0.insert(entry.key.as_bytes(), bytes.as_slice())?;
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<bool, Error> {
        Ok(self.0.remove(key.as_bytes())?.is_some())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let low = Bound::Included(prefix.as_bytes());
        let all = collect(
            self.0.range::<&[u8]>((low, Bound::Unbounded))?,
            prefix,
            usize::MAX,
        )?;
        Ok(all.into_iter().map(|entry| entry.key).collect())
    }
}

fn lookup(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &str,
) -> Result<Option<Entry>, Error> {
    let value = table.get(key.as_bytes())?;
    value.map(|v| decode(key.as_bytes(), v.value())).transpose()
}

/// An item of a table's range.
type Item<'t> = Result<
    (
        AccessGuard<'t, &'static [u8]>,
        AccessGuard<'t, &'static [u8]>,
    ),
    StorageError,
>;

/// The first `limit` entries while they have the prefix.
fn collect<'t>(
    range: impl Iterator<Item = Item<'t>>,
    prefix: &str,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for item in range {
        let (key, value) = item?;
        if entries.len() == limit || !key.value().starts_with(prefix.as_bytes()) {
            break;
        }
        entries.push(decode(key.value(), value.value())?);
    }
    Ok(entries)
}

fn decode(key: &[u8], bytes: &[u8]) -> Result<Entry, Error> {
    let damaged = || Error::Corrupted(format!("the entry {}", String::from_utf8_lossy(key)));
    let key = std::str::from_utf8(key).map_err(|_| damaged())?;
    let (created, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
    let (revision, value) = rest.split_first_chunk().ok_or_else(damaged)?;
    Ok(Entry {
        key: key.to_owned(),
        value: value.to_vec(),
        revision: u64::from_le_bytes(*revision),
        created: u64::from_le_bytes(*created),
    })
}

/// The least key above all keys with `prefix`; `None` when there is none. The last byte of UTF-8
/// is never 255, so it can always be raised.
fn after_prefix(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut()? += 1;
    Some(end)
}
