//! The lock file beside a store: one process at a time, and who it is.
//!
//! The lock itself is the kernel's (`flock`) and ends with the process, however it ends; the text
//! in the file only names the owner for the message that a second lain shows.

use crate::drivers::redb::error;
use crate::ports::store::StoreError;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who has a store open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its process id.
    pub pid: u32,
    /// Where it serves, once it does.
    pub url: Option<String>,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("held by another lain")]
    Held(Option<Owner>),
    /// The directory cannot be made.
    #[error("failed to make the directory {0}: {1}")]
    Directory(PathBuf, io::Error),
    /// The lock file cannot be made or locked.
    #[error("failed to lock {0}: {1}")]
    Io(PathBuf, io::Error),
}

/// The right to use a store; given up when dropped.
#[derive(Debug)]
pub struct StoreLock {
    file: File,
}

impl StoreLock {
    /// Locks the store at `store` for this process, making its directory (0700) where absent.
    ///
    /// # Errors
    /// [`LockError::Held`] with the owner where it is known, [`LockError::Io`].
    pub fn acquire(store: &Path) -> Result<Self, LockError> {
        let path = lock_path(store);
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|e| LockError::Directory(parent.to_owned(), e))?;
        }
        let file = open(&path).map_err(|e| LockError::Io(path.clone(), e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(read_owner(&file))),
            Err(TryLockError::Error(e)) => return Err(LockError::Io(path, e)),
        }
        let lock = Self { file };
        // A disk that is full must not keep lain from starting: the text is for a message only.
        let _ = lock.write(None);
        Ok(lock)
    }

    /// Adds the URL at which this process serves.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub fn note_url(&self, url: &str) -> io::Result<()> {
        self.write(Some(url.to_owned()))
    }

    fn write(&self, url: Option<String>) -> io::Result<()> {
        let pid = std::process::id();
        let text = serde_json::to_string(&Owner { pid, url })?;
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())
    }
}

impl LockError {
    /// What the store's caller is told.
    pub fn into_store_error(self, store: &Path) -> StoreError {
        match self {
            LockError::Held(owner) => StoreError::InUse {
                path: store.display().to_string(),
                owner: owner.map_or_else(String::new, |o| describe(&o)),
            },
            LockError::Directory(path, e) => error::io(&path, "make the directory", &e),
            LockError::Io(path, e) => error::io(&path, "lock", &e),
        }
    }
}

/// ` (pid 12, serving http://…)`.
fn describe(owner: &Owner) -> String {
    match &owner.url {
        Some(url) => format!(" (pid {}, serving {url})", owner.pid),
        None => format!(" (pid {})", owner.pid),
    }
}

/// The lock file of a store: its name with `.lock` appended.
fn lock_path(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn read_owner(file: &File) -> Option<Owner> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
