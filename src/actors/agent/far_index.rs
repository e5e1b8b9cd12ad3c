//! The control host's log index, as the index sink of a node on another host sees it.
//!
//! Batches go over the link and are answered once they are durable there. Without a link they are refused,
//! and stay in the spool.

use crate::link::message::{FarEvent, ToControl};
use crate::ports::log_index::{Appended, IndexEvent, IndexStatus, LogIndex, LogIndexError};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

type Answer = Result<Appended, String>;

/// See the module.
#[derive(Default)]
pub struct FarIndex {
    outgoing: Mutex<Option<mpsc::Sender<ToControl>>>,
    pending: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    next: AtomicU64,
}

impl FarIndex {
    fn pending(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self) -> MutexGuard<'_, Option<mpsc::Sender<ToControl>>> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a link, or there is none any more; what was not answered is refused.
    pub fn set_link(&self, outgoing: Option<mpsc::Sender<ToControl>>) {
        *self.outgoing() = outgoing;
        self.pending().clear();
    }

    /// The control host has answered.
    pub fn answered(&self, id: u64, answer: Answer) {
        if let Some(waiting) = self.pending().remove(&id) {
            // Who asked may be gone: it will ask again.
            let _ = waiting.send(answer);
        }
    }
}

fn away() -> LogIndexError {
    LogIndexError::Unavailable("there is no link to the control host".to_owned())
}

#[async_trait]
impl LogIndex for FarIndex {
    async fn append(&self, events: Vec<IndexEvent>) -> Result<Appended, LogIndexError> {
        let outgoing = self.outgoing().clone().ok_or_else(away)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.pending().insert(id, answer);
        let events = events.into_iter().map(|event| FarEvent {
            id: event.id,
            at: event.at,
            json: String::from_utf8_lossy(&event.json).into_owned(),
        });
        let events = events.collect();
        let sent = outgoing.send(ToControl::Append { id, events }).await;
        if sent.is_err() {
            self.pending().remove(&id);
            return Err(away());
        }
        match answered.await {
            Ok(answer) => answer.map_err(LogIndexError::Unavailable),
            Err(_) => Err(away()),
        }
    }

    async fn tend(&self) -> LogIndexError {
        std::future::pending().await
    }

    async fn open(&self) -> Result<(), LogIndexError> {
        Ok(())
    }

    fn status(&self) -> IndexStatus {
        IndexStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_batch_is_answered_or_refused_but_never_forgotten() {
        let index = FarIndex::default();
        assert!(index.append(Vec::new()).await.is_err());
        let (sender, mut sent) = mpsc::channel(4);
        index.set_link(Some(sender));
        let answers = async {
            let Some(ToControl::Append { id, .. }) = sent.recv().await else {
                panic!("nothing was sent");
            };
            index.answered(id, Ok(Appended::default()));
            // The next one meets a link that breaks.
            sent.recv().await;
            index.set_link(None);
        };
        let asks = async {
            assert!(index.append(Vec::new()).await.is_ok());
            assert!(index.append(Vec::new()).await.is_err());
        };
        futures_util::future::join(answers, asks).await;
    }
}
