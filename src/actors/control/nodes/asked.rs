//! The connection to a node's agent as those see it who ask the node something.

use crate::link::message::{Input, Reply, Request, ToAgent};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Parts of an answer that may wait for their reader before the request is given up.
const REPLIES_WAITING: usize = 4096;

/// A connection to a node's agent.
pub struct Link {
    /// What is to be sent.
    pub outgoing: mpsc::Sender<ToAgent>,
    pending: Mutex<HashMap<u64, mpsc::Sender<Reply>>>,
}

impl Link {
    /// A link whose messages go to `outgoing`.
    pub fn new(outgoing: mpsc::Sender<ToAgent>) -> Arc<Self> {
        Arc::new(Self {
            outgoing,
            pending: Mutex::default(),
        })
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Reply>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that were open on it are answered by its end.
    pub fn end(&self) {
        self.pending().clear();
    }

    /// Hands an answer to whoever asked. A reader that is too slow loses its answer, not the link.
    pub fn answered(&self, id: u64, reply: Reply) {
        let last = reply.is_last();
        let mut pending = self.pending();
        let Some(asker) = pending.get(&id) else {
            return;
        };
        let failed = asker.try_send(reply).is_err();
        if last || failed {
            pending.remove(&id);
        }
        if failed && !last {
            // Full or gone: the agent need not go on. A full queue of ours cannot lose the link either.
            let _ = self.outgoing.try_send(ToAgent::Cancel { id });
        }
    }
}

/// A request to a node that is being answered.
pub struct Asked {
    link: Arc<Link>,
    id: u64,
    replies: mpsc::Receiver<Reply>,
}

impl Asked {
    /// Sends a request; `None` when the link is gone.
    pub async fn of(link: Arc<Link>, id: u64, request: Request) -> Option<Self> {
        let (sender, replies) = mpsc::channel(REPLIES_WAITING);
        link.pending().insert(id, sender);
        let asked = Self { link, id, replies };
        let ask = ToAgent::Ask { id, request };
        let sent = asked.link.outgoing.send(ask).await;
        sent.is_ok().then_some(asked)
    }

    /// The next part of the answer; `None` when the link broke.
    pub async fn next(&mut self) -> Option<Reply> {
        self.replies.recv().await
    }

    /// The input side alone.
    pub fn inputs(&self) -> (Arc<Link>, u64) {
        (Arc::clone(&self.link), self.id)
    }
}

/// Sends more input for a request.
///
/// # Errors
/// When the link is gone.
pub async fn send_input(link: &Link, id: u64, input: Input) -> Result<(), String> {
    let message = ToAgent::Input { id, input };
    let sent = link.outgoing.send(message).await;
    sent.map_err(|_| "the link to the node is gone".to_owned())
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.link.pending().remove(&self.id).is_some() {
            // Best effort: an agent that goes on answering is told again by the next part.
            let _ = self.link.outgoing.try_send(ToAgent::Cancel { id: self.id });
        }
    }
}
