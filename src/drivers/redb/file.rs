//! The store's file: making, opening, verifying, compacting and closing it.
//!
//! Blocking; called by the writer and when the store is opened. What is in the file is the business
//! of [`super::tables`].

use crate::drivers::redb::backend::ClaimingBackend;
use crate::drivers::redb::error;
use crate::drivers::redb::tables::FORMAT;
use crate::ports::store::StoreError;
use ::redb::{Builder, Database, Error, StorageBackend};
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The page cache. The desired state of a large host is a few MiB; the system caches the rest.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// A file below this size is never compacted.
const WASTE_BYTES: u64 = 1024 * 1024;
/// A file this many times larger than what is stored in it is compacted when it is opened.
const WASTE_FACTOR: u64 = 4;

/// An open store file.
#[derive(Debug)]
pub struct StoreFile {
    pub(super) db: Database,
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

#[cfg(test)]
#[path = "power_loss_tests.rs"]
mod power_loss_tests;
