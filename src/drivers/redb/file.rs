//! The tables in the file: reading them, and committing a batch of transactions to them.
//!
//! Blocking; called by the writer and by reads on threads that may block. Knows nothing of
//! watchers, queues or the lock file.

use crate::drivers::redb::backend::ClaimingBackend;
use crate::drivers::redb::error;
use crate::drivers::transaction::{Applied, Tree, apply};
use crate::ports::store::{Change, Compare, Entry, StoreError};
use ::redb::{AccessGuard, StorageBackend, StorageError, Table, TableDefinition};
use ::redb::{Builder, Database, Durability, Error, ReadableDatabase, ReadableTable};
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Key → created, revision (both `u64`, little endian), value.
const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");
/// `format` and `revision`.
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// The layout above. A file with a greater number was written by a newer lain.
const FORMAT: u64 = 1;
/// The bytes before each value.
const HEADER: usize = 16;
/// The page cache. The desired state of a large host is a few MiB; the system caches the rest.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// A file below this size is never compacted.
const WASTE_BYTES: u64 = 1024 * 1024;
/// A file this many times larger than what is stored in it is compacted when it is opened.
const WASTE_FACTOR: u64 = 4;

/// An open store file.
#[derive(Debug)]
pub struct StoreFile {
    db: Database,
}

impl StoreFile {
    /// Opens and verifies `path`, making it where it does not exist; also its revision.
    ///
    /// # Errors
    /// As [`super::RedbStore::open`].
    pub fn open(path: &Path) -> Result<(Self, u64), StoreError> {
        error::catching(path, || {
            if !exists(path)? {
                create(path)?;
            }
            let file = Self::open_existing(path)?;
            file.check_format(path)?;
            let revision = file.revision();
            let revision = revision.map_err(|e| error::redb(path, "read the revision of", e))?;
            Ok((file, revision))
        })
    }

    /// Opens `path` as [`StoreFile::open`] does, and gives back what its past has left unused.
    ///
    /// # Errors
    /// As [`super::RedbStore::open`].
    pub fn open_compacted(path: &Path) -> Result<(Self, u64), StoreError> {
        let (mut file, revision) = Self::open(path)?;
        let compacted = error::catching(path, || {
            let compacted = file.compact_if_wasteful(path);
            compacted.map_err(|e| error::redb(path, "compact", e))
        });
        match compacted {
            Ok(()) => Ok((file, revision)),
            // The content is safe; a failed attempt only leaves the open file unusable.
            Err(why) => {
                tracing::warn!(store = %path.display(), error = %why, "store not compacted");
                file.close(path);
                Self::open(path)
            }
        }
    }

    fn compact_if_wasteful(&mut self, path: &Path) -> Result<(), Error> {
        let write = self.db.begin_write()?;
        let stats = write.stats()?;
        write.abort()?;
        let used = stats.stored_bytes() + stats.metadata_bytes();
        let size = std::fs::metadata(path)?.len();
        if size > WASTE_BYTES && size / WASTE_FACTOR > used {
            self.db.compact()?;
        }
        Ok(())
    }

    fn open_existing(path: &Path) -> Result<Self, StoreError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| error::io(path, "open", &e))?;
        protect(&file, path)?;
        // The library would make a new store of an empty file, and lain would then take everything
        // that runs for unwanted.
        if file.metadata().is_ok_and(|m| m.len() == 0) {
            return Err(error::corrupt(path, &"the file is empty"));
        }
        Self::with_file(file, path)
    }

    fn with_file(file: File, path: &Path) -> Result<Self, StoreError> {
        let backend = ClaimingBackend::new(file);
        let backend = backend.map_err(|e| error::redb(path, "open", e))?;
        Self::with_backend(backend, path)
    }

    fn with_backend(backend: impl StorageBackend, path: &Path) -> Result<Self, StoreError> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        builder.set_check_integrity_on_open(true);
        let db = builder.create_with_backend(backend);
        let db = db.map_err(|e| error::redb(path, "open", e))?;
        Ok(Self { db })
    }

    fn check_format(&self, path: &Path) -> Result<(), StoreError> {
        let found = self.meta("format");
        match found.map_err(|e| error::redb(path, "read the format of", e))? {
            Some(FORMAT) => Ok(()),
            Some(newer) if newer > FORMAT => Err(error::failed(
                &format!("open {}", path.display()),
                &format!(
                    "it has format {newer}, and this lain knows {FORMAT}; start the newer lain that wrote it"
                ),
            )),
            _ => Err(error::corrupt(
                path,
                &"it is a redb file, but no store of lain",
            )),
        }
    }

    fn meta(&self, name: &str) -> Result<Option<u64>, Error> {
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

    /// Closes the file, whatever state it is in.
    pub fn close(self, path: &Path) {
        // What fails here has failed before and was reported then; the next open repairs.
        let _ = error::catching(path, || {
            self.db.close().map_err(|e| error::redb(path, "close", e))
        });
    }
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists()
        .map_err(|e| error::io(path, "look for", &e))
}

/// Makes an empty store under another name and moves it into place, so that no crash leaves half a one.
fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |e: &io::Error| error::io(path, "make", e);
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(|e| failed(&e))?;
    let store = StoreFile::with_file(file, path)?;
    store
        .initialise()
        .map_err(|e| error::redb(path, "make", e))?;
    let closed = store.db.close();
    closed.map_err(|e| error::redb(path, "make", e))?;
    std::fs::rename(&new, path).map_err(|e| failed(&e))?;
    sync_directory(path).map_err(|e| failed(&e))
}

impl StoreFile {
    fn initialise(&self) -> Result<(), Error> {
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
}

/// Makes the file's name durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Takes away what others may do with the file.
fn protect(file: &File, path: &Path) -> Result<(), StoreError> {
    let failed = |e: &io::Error| error::io(path, "protect", e);
    let mode = file
        .metadata()
        .map_err(|e| failed(&e))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let only_ours = Permissions::from_mode(mode & 0o700);
    file.set_permissions(only_ours).map_err(|e| failed(&e))
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

#[cfg(test)]
#[path = "power_loss_tests.rs"]
mod power_loss_tests;
