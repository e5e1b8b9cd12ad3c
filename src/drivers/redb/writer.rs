//! The one thread that writes: group commit, and reopening after a failure.
//!
//! Started and ended by [`super::RedbStore`]. While one batch is being synced, the transactions
//! that arrive wait, and together form the next batch: the more callers, the fewer syncs each.

use crate::drivers::redb::file::StoreFile;
use crate::drivers::redb::{Shared, error};
use crate::drivers::transaction::Applied;
use crate::ports::store::{Change, Compare, Outcome, StoreError};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// At most so many transactions share a commit, so that the first of them does not wait for long.
const MAX_BATCH: usize = 512;
/// At most so many bytes share a commit, so that one large value does not fail many callers.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How often a file that could not be reopened is tried again.
const RETRY: Duration = Duration::from_secs(1);

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
}

impl Writer {
    /// A writer for a file that stands at `revision`.
    pub fn new(shared: Arc<Shared>, revision: u64) -> Self {
        Self { shared, revision }
    }

    /// Works until the last sender is gone, then closes the file.
    pub fn run(mut self, queue: &Receiver<Job>) {
        let mut waiting = VecDeque::new();
        while self.wait(queue, &mut waiting) {
            while let Some(batch) = next_batch(&mut waiting) {
                self.transact(batch);
            }
        }
        let closed = Err(error::failed("read", &"it is closed"));
        self.replace(closed);
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
        if self.worth_reopening() {
            self.reopen();
        }
        let attempt = self.attempt(batch);
        let results = attempt.map_err(|why| self.recover(why))?;
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
        let before = self.revision;
        if self.is_open() {
            self.reopen();
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

    /// Closes the file and opens it again. Where its revision is not the one that was known, the
    /// watchers are told that they have lost changes.
    fn reopen(&mut self) {
        self.replace(Err(error::failed("read", &"it is being reopened")));
        let path = &self.shared.path;
        match StoreFile::open(path) {
            Ok((file, revision)) => {
                tracing::warn!(store = %path.display(), revision, "store reopened after a failure");
                if revision != self.revision {
                    self.revision = revision;
                    self.shared.revision.store(revision, Ordering::Release);
                    self.shared.history.reset(revision);
                }
                self.replace(Ok(file));
            }
            Err(why) => {
                tracing::error!(store = %path.display(), error = %why, "store cannot be reopened");
                self.replace(Err(why));
            }
        }
    }

    /// Puts another file in place, closing the one that was open.
    fn replace(&self, with: Result<StoreFile, StoreError>) {
        let shared = &self.shared;
        let mut file = shared.file.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(old) = std::mem::replace(&mut *file, with) {
            old.close(&shared.path);
        }
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
