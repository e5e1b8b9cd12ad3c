//! The embedded store: one `redb` file, written by one thread, read by many.
//!
//! Made by the roles; the actors see only [`Store`]. Transactions that wait at the same moment
//! share one commit and so one `fsync` (group commit); a call returns after that `fsync`, and a
//! caller that goes away before does not undo its change. Reads see the last commit and never wait
//! for a write. Files are 0600, a directory made here is 0700.
//!
//! # Failure
//! Every open verifies every page's checksum, so a damaged file is refused rather than believed.
//! After a failed write (a full disk above all) the file is reopened, and what readers see is the
//! last commit again. Panics of the library are caught and reported as damage.

mod backend;
mod error;
mod file;
mod lock;
mod tables;
mod writer;

pub use lock::{LockError, Owner, StoreLock};

use crate::drivers::history::History;
use crate::ports::store::{Change, Compare, Entry, Outcome, Store, StoreError};
use crate::ports::store::{StoreInfo, WatchEvent};
use async_trait::async_trait;
use file::StoreFile;
use futures_util::stream::BoxStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use writer::{Job, Transaction, Writer};

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "lain.redb";

/// A [`Store`] in one file. Dropping it waits for the transaction at work, then closes the file.
#[derive(Debug)]
pub struct RedbStore {
    shared: Arc<Shared>,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer and the readers share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// The open file, or why it is not open; replaced only by the writer.
    file: RwLock<Result<StoreFile, StoreError>>,
    history: History,
    revision: AtomicU64,
    lock: StoreLock,
}

impl RedbStore {
    /// Opens the store in the file `path`, making the file and its directory where absent.
    ///
    /// Blocks while the file is verified (measured: 1.3 s per GiB) and compacted where it is mostly
    /// empty; call it before serving.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process has it open, [`StoreError::Corrupt`] when the
    /// file is damaged or not a store, [`StoreError::DiskFull`], and [`StoreError::Failed`] for
    /// all else, such as a missing permission or a format of a newer lain.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let lock = StoreLock::acquire(&path).map_err(|e| e.into_store_error(&path))?;
        let (file, revision) = StoreFile::open_compacted(&path)?;
        let shared = Arc::new(Shared {
            path,
            file: RwLock::new(Ok(file)),
            history: History::new(revision),
            revision: AtomicU64::new(revision),
            lock,
        });
        let (jobs, queue) = channel();
        let writer = Writer::new(Arc::clone(&shared), revision);
        let thread = std::thread::Builder::new()
            .name("lain-store".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|e| error::failed("start the writer", &e))?;
        Ok(Self {
            shared,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Notes the URL at which this process serves, for the message that a second lain on the same
    /// data shows.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the lock file cannot be written.
    pub fn note_url(&self, url: &str) -> Result<(), StoreError> {
        let noted = self.shared.lock.note_url(url);
        noted.map_err(|e| error::failed("note the URL", &e))
    }

    /// Runs a read on a thread that may block; once more on the reopened file when a failure of
    /// another call had made this one's useless.
    async fn read<T, R>(&self, read: R) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: Fn(&StoreFile) -> Result<T, ::redb::Error> + Clone + Send + 'static,
    {
        match self.read_once(read.clone()).await {
            Err(ReadFault::Stale) => {}
            Err(ReadFault::Failed(why)) => return Err(why),
            Ok(value) => return Ok(value),
        }
        let (reply, reopened) = oneshot::channel();
        self.send(Job::Reopen(reply))?;
        reopened.await.unwrap_or_else(|_| Err(writer_gone()))?;
        self.read_once(read).await.map_err(|fault| match fault {
            ReadFault::Stale => error::failed("read", &"the file fails again and again"),
            ReadFault::Failed(why) => why,
        })
    }

    async fn read_once<T, R>(&self, read: R) -> Result<T, ReadFault>
    where
        T: Send + 'static,
        R: Fn(&StoreFile) -> Result<T, ::redb::Error> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || shared.read(&read));
        match task.await {
            Ok(result) => result,
            Err(e) => Err(ReadFault::Failed(error::failed("read", &e))),
        }
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or_else(writer_gone)?;
        jobs.send(job).map_err(|_| writer_gone())
    }
}

/// Why a read failed.
enum ReadFault {
    /// An earlier failure of the file; reopening it may help.
    Stale,
    /// This read.
    Failed(StoreError),
}

fn writer_gone() -> StoreError {
    error::failed(
        "reach the file",
        &"its writer has ended; restart lain".to_owned(),
    )
}

impl Shared {
    fn read<T>(
        &self,
        read: &impl Fn(&StoreFile) -> Result<T, ::redb::Error>,
    ) -> Result<T, ReadFault> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let file = file
            .as_ref()
            .map_err(|why| ReadFault::Failed(why.clone()))?;
        match error::catching(&self.path, || Ok(read(file))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(::redb::Error::PreviousIo | ::redb::Error::DatabaseClosed)) => {
                Err(ReadFault::Stale)
            }
            Ok(Err(e)) => Err(ReadFault::Failed(error::redb(&self.path, "read", e))),
            Err(why) => Err(ReadFault::Failed(why)),
        }
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // The writer catches panics; were it to die of one all the same, there is nothing left to close.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.read(move |file| file.get(&key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.read(move |file| file.list(&prefix, after.as_deref(), limit))
            .await
    }

    async fn list_back(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (prefix, before) = (prefix.to_owned(), before.map(str::to_owned));
        self.read(move |file| file.list_back(&prefix, before.as_deref(), limit))
            .await
    }

    async fn transact(
        &self,
        conditions: Vec<Compare>,
        changes: Vec<Change>,
    ) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Transact(Transaction {
            conditions,
            changes,
            reply,
        }))?;
        answer.await.unwrap_or_else(|_| Err(writer_gone()))
    }

    fn watch(&self, prefix: &str, since: Option<u64>) -> BoxStream<'static, WatchEvent> {
        self.shared.history.watch(prefix, since)
    }

    async fn describe(&self) -> Result<StoreInfo, StoreError> {
        let path = self.shared.path.clone();
        let size = tokio::fs::metadata(&path).await;
        let size = size.map_err(|e| error::failed("read the size", &e))?;
        Ok(StoreInfo {
            kind: "redb",
            location: path.display().to_string(),
            bytes: size.len(),
            revision: self.shared.revision.load(Ordering::Acquire),
        })
    }
}
