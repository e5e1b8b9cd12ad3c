//! The one thread that writes: group commit, and reopening after a failure.
//!
//! Started and ended by [`super::RedbStore`]. While one batch is being synced, the transactions
//! that arrive wait, and together form the next batch: the more callers, the fewer syncs each.

use crate::drivers::redb::file::StoreFile;
use crate::drivers::redb::{Shared, error};
use crate::drivers::transaction::Applied;
use crate::ports::store::{Change, Compare, Outcome, StoreError};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// At most so many transactions share a commit, so that the first of them does not wait for long.
const MAX_BATCH: usize = 512;
/// At most so many bytes share a commit, so that one large value does not fail many callers.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How often a file that could not be reopened is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How soon a full disk is tried again when no space has become free.
const RETRY_FULL: Duration = Duration::from_millis(250);

/// What the writer is asked for.
#[derive(Debug)]
pub enum Job {
    /// A transaction.
    Transact(Transaction),
    /// To look whether the file is usable and to reopen it if it is not.
    Reopen(oneshot::Sender<Result<(), StoreError>>),
}

/// A transaction and who waits for it.
#[derive(Debug)]
pub struct Transaction {
    /// All must hold.
    pub conditions: Vec<Compare>,
    /// All happen, or none.
    pub changes: Vec<Change>,
    /// Told once the changes are durable.
    pub reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// The writer's state.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    /// The revision of the last durable commit.
    revision: u64,
    /// Set while the disk was full at the last attempt.
    full: Option<FullDisk>,
}

/// When and how the disk was found full.
#[derive(Debug)]
struct FullDisk {
    since: Instant,
    /// Bytes that were available then.
    available: u64,
    /// How long transactions are refused without another attempt.
    pause: Duration,
}

impl Writer {
    /// A writer for a file that stands at `revision`.
    pub fn new(shared: Arc<Shared>, revision: u64) -> Self {
        Self {
            shared,
            revision,
            full: None,
        }
    }

    /// Works until the last sender is gone, then closes the file.
    pub fn run(mut self, queue: &Receiver<Job>) {
        let mut waiting = VecDeque::new();
        while self.wait(queue, &mut waiting) {
            while let Some(batch) = next_batch(&mut waiting) {
                self.transact(batch);
            }
        }
        let file = &self.shared.file;
        let mut file = file.write().unwrap_or_else(PoisonError::into_inner);
        close(&mut file, &self.shared.path);
    }

    /// Fills `waiting` with all transactions that have arrived; `false` at the end.
    fn wait(&mut self, queue: &Receiver<Job>, waiting: &mut VecDeque<Transaction>) -> bool {
        let first = if self.worth_reopening() {
            match queue.recv_timeout(RETRY) {
                Err(RecvTimeoutError::Timeout) => {
                    self.reopen();
                    return true;
                }
                other => other.ok(),
            }
        } else {
            queue.recv().ok()
        };
        let Some(first) = first else {
            return false;
        };
        for job in std::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Transact(transaction) => waiting.push_back(transaction),
                Job::Reopen(reply) => {
                    let usable = self.ensure_usable();
                    // Whoever asked may have gone.
                    let _ = reply.send(usable);
                }
            }
        }
        true
    }

    /// Commits a batch and answers each caller.
    fn transact(&mut self, batch: Vec<Transaction>) {
        match self.commit(&batch) {
            Ok(results) => {
                for (transaction, applied) in batch.into_iter().zip(results) {
                    let _ = transaction.reply.send(Ok(applied));
                }
            }
            Err(why) => {
                for transaction in batch {
                    let _ = transaction.reply.send(Err(why.clone()));
                }
            }
        }
    }

    /// Commits a batch; on failure the file is as it was, or the error says that this is unknown.
    fn commit(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        self.refuse_while_full()?;
        if self.worth_reopening() {
            self.reopen();
        }
        let attempt = self.attempt(batch);
        let results = attempt.map_err(|why| self.recover(why))?;
        self.full = None;
        let mut events = Vec::new();
        let mut outcomes = Vec::with_capacity(results.len());
        for applied in results {
            self.revision = applied.revision;
            events.extend(applied.events);
            outcomes.push(applied.outcome);
        }
        self.shared.revision.store(self.revision, Ordering::Release);
        self.shared.history.publish(events);
        Ok(outcomes)
    }

    fn attempt(&self, batch: &[Transaction]) -> Result<Vec<Applied>, StoreError> {
        let shared = &self.shared;
        let file = shared.file.read().unwrap_or_else(PoisonError::into_inner);
        let file = file.as_ref().map_err(Clone::clone)?;
        let requests = batch
            .iter()
            .map(|t| (t.conditions.as_slice(), t.changes.as_slice()));
        error::catching(&shared.path, || {
            let committed = file.commit(requests, self.revision);
            committed.map_err(|e| error::redb(&shared.path, "commit", e))
        })
    }

    /// After a failed commit: reopens the file, and looks whether the commit is in it after all.
    fn recover(&mut self, why: StoreError) -> StoreError {
        let (before, started) = (self.revision, Instant::now());
        if self.is_open() {
            self.reopen();
        }
        if matches!(why, StoreError::DiskFull { .. }) {
            self.full = Some(FullDisk {
                since: Instant::now(),
                available: self.available(),
                // However long a reopening takes, most of the time goes to something else.
                pause: RETRY_FULL.max(started.elapsed() * 4),
            });
        }
        if self.revision == before {
            return why;
        }
        error::failed(
            "commit",
            &format!(
                "it is unknown whether the change is durable, look before repeating it ({why})"
            ),
        )
    }

    /// An attempt on a full disk costs a reopening; without more space it would only fail again.
    fn refuse_while_full(&self) -> Result<(), StoreError> {
        match &self.full {
            Some(full)
                if full.since.elapsed() < full.pause && self.available() <= full.available =>
            {
                Err(StoreError::DiskFull {
                    path: self.shared.path.display().to_string(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Bytes that the file system has for us; 0 when it does not say.
    fn available(&self) -> u64 {
        let directory = self.shared.path.parent().unwrap_or(Path::new("."));
        rustix::fs::statvfs(directory).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
    }

    /// Reopens the file when it does not answer.
    fn ensure_usable(&mut self) -> Result<(), StoreError> {
        if self.probe().is_err() {
            self.reopen();
        }
        self.probe()
    }

    /// Asks the file for its revision.
    fn probe(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let file = shared.file.read().unwrap_or_else(PoisonError::into_inner);
        let file = file.as_ref().map_err(Clone::clone)?;
        error::catching(&shared.path, || {
            let revision = file.revision();
            revision.map_err(|e| error::redb(&shared.path, "read", e))
        })
        .map(drop)
    }

    /// Closes the file and opens it again, while readers wait. Where its revision is not the one
    /// that was known, the watchers are told that they have lost changes.
    fn reopen(&mut self) {
        let shared = Arc::clone(&self.shared);
        let path = &shared.path;
        let mut file = shared.file.write().unwrap_or_else(PoisonError::into_inner);
        close(&mut file, path);
        *file = match StoreFile::open(path) {
            Ok((reopened, revision)) => {
                tracing::warn!(store = %path.display(), revision, "store reopened after a failure");
                if revision != self.revision {
                    self.revision = revision;
                    shared.revision.store(revision, Ordering::Release);
                    shared.history.reset(revision);
                }
                Ok(reopened)
            }
            Err(why) => {
                tracing::error!(store = %path.display(), error = %why, "store cannot be reopened");
                Err(why)
            }
        };
    }

    fn is_open(&self) -> bool {
        let file = &self.shared.file;
        file.read().unwrap_or_else(PoisonError::into_inner).is_ok()
    }

    /// The file is not open, and time may change that. Damage stays until somebody acts.
    fn worth_reopening(&self) -> bool {
        let file = &self.shared.file;
        let file = file.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*file, Err(why) if !matches!(why, StoreError::Corrupt { .. }))
    }
}

/// Closes a file that is open.
fn close(file: &mut Result<StoreFile, StoreError>, path: &Path) {
    let closed = error::failed("read", &"it is closed");
    if let Ok(open) = std::mem::replace(file, Err(closed)) {
        open.close(path);
    }
}

/// Takes the next transactions that share a commit, in the order of their arrival.
fn next_batch(waiting: &mut VecDeque<Transaction>) -> Option<Vec<Transaction>> {
    let mut bytes = 0;
    let mut batch = vec![waiting.pop_front()?];
    while let Some(next) = waiting.front() {
        bytes += size(next);
        if batch.len() == MAX_BATCH || bytes > MAX_BATCH_BYTES {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    Some(batch)
}

/// The bytes of the values that a transaction writes.
fn size(transaction: &Transaction) -> usize {
    let sizes = transaction.changes.iter().map(|change| match change {
        Change::Put(key, value) => key.len() + value.len(),
        Change::Delete(key) | Change::DeletePrefix(key) => key.len(),
    });
    sizes.sum()
}
