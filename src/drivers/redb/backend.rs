//! The file below `redb`, with one difference to the library's own: growth claims its blocks.
//!
//! The library grows the file before it writes there. With blocks claimed at that moment, a full
//! disk shows as a failed growth, while nothing has been changed yet, and never as a failed write
//! or `fsync` in the middle of a commit.

use ::redb::backends::FileBackend;
use ::redb::{BackendError, DatabaseError, StorageBackend};
use std::fs::File;
use std::io;
use std::ops::Bound;

/// The file of a store.
#[derive(Debug)]
pub struct ClaimingBackend {
    inner: FileBackend,
    /// The same open file, for the one call that the library's backend does not make.
    file: File,
}

impl ClaimingBackend {
    /// Wraps an open file.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn new(file: File) -> Result<Self, DatabaseError> {
        let twin = file.try_clone().map_err(::redb::StorageError::Io)?;
        Ok(Self {
            inner: FileBackend::new(file)?,
            file: twin,
        })
    }

    /// Claims the blocks from the present end to `len`; leaves the file as it was on failure.
    fn grow(&self, from: u64, len: u64) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(&self.file, flags, from, len - from) {
            Ok(()) => Ok(()),
            // Not every file system can; there the blocks are claimed as they are written.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.file.set_len(len),
            Err(e) => {
                // Some file systems keep the part that they could claim.
                let _ = self.file.set_len(from);
                Err(e.into())
            }
        }
    }
}

impl StorageBackend for ClaimingBackend {
    fn len(&self) -> Result<u64, io::Error> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let now = self.inner.len()?;
        if len > now {
            self.grow(now, len)
        } else {
            self.inner.set_len(len)
        }
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
