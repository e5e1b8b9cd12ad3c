//! Idempotency keys: the first answer to a change, given again to a repetition of it.
//!
//! Bounded bookkeeping in memory over a clock that is passed in; `gate` asks it before a change and
//! tells it the answer. What it forgets (a restart of lain, too many keys) is carried out again.

use super::error::Problem;
use super::limits::lock;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The longest key, in characters.
pub const MAX_KEY: usize = 255;

/// A token's name and the key that it gave.
pub type Key = (String, String);
/// What makes two requests the same.
pub type Fingerprint = [u8; 32];

/// An answer as it was given.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A success.
    Done {
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: HeaderMap,
        /// The body.
        body: Bytes,
    },
    /// A problem; rendered anew, with the id of the request that repeats it.
    Failed(Problem),
}

/// What is to be done with a request that has a key.
#[derive(Debug)]
pub enum Decision {
    /// It is the first: carry it out, and say how it ended.
    CarryOut(Pending),
    /// Give this answer again.
    Repeat(Answer),
    /// The first one has not ended.
    InProgress,
    /// The key belongs to another request.
    OtherRequest,
}

/// The hash of everything that makes a request what it is.
pub fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[derive(Debug)]
struct Entry {
    fingerprint: Fingerprint,
    at: Instant,
    /// `None`: in progress.
    answer: Option<Answer>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    /// Keys of ended requests, oldest first.
    order: VecDeque<(Instant, Key)>,
    bytes: usize,
}

/// The answers of the last 24 hours, within bounds.
#[derive(Debug)]
pub struct Answers {
    max_keys: usize,
    max_bytes: usize,
    inner: Mutex<Inner>,
}

impl Answers {
    /// At most this many keys, and bytes of answers.
    pub fn new(max_keys: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_keys,
            max_bytes,
            inner: Mutex::default(),
        })
    }

    /// Looks a key up, and notes it as in progress where it is new.
    pub fn begin(self: &Arc<Self>, key: Key, fingerprint: Fingerprint, now: Instant) -> Decision {
        let mut inner = lock(&self.inner);
        inner.forget(now, self.max_keys.saturating_sub(1), self.max_bytes);
        if let Some(entry) = inner.entries.get(&key) {
            return match &entry.answer {
                _ if entry.fingerprint != fingerprint => Decision::OtherRequest,
                Some(answer) => Decision::Repeat(answer.clone()),
                None => Decision::InProgress,
            };
        }
        let entry = Entry {
            fingerprint,
            at: now,
            answer: None,
            bytes: 0,
        };
        inner.entries.insert(key.clone(), entry);
        Decision::CarryOut(Pending {
            answers: Arc::clone(self),
            key: Some(key),
        })
    }
}

impl Inner {
    /// Drops what is too old, then the oldest until the bounds hold.
    fn forget(&mut self, now: Instant, max_keys: usize, max_bytes: usize) {
        while let Some((at, _)) = self.order.front() {
            let old = now.saturating_duration_since(*at) >= KEPT;
            let full = self.order.len() > max_keys || self.bytes > max_bytes;
            if !old && !full {
                break;
            }
            if let Some((at, key)) = self.order.pop_front()
                && self.entries.get(&key).is_some_and(|entry| entry.at == at)
                && let Some(entry) = self.entries.remove(&key)
            {
                self.bytes -= entry.bytes;
            }
        }
    }
}

/// A request in progress. Dropped without an answer, its key is free again.
#[derive(Debug)]
pub struct Pending {
    answers: Arc<Answers>,
    key: Option<Key>,
}

impl Pending {
    /// Keeps the answer for repetitions.
    pub fn keep(mut self, answer: Answer) {
        let Some(key) = self.key.take() else { return };
        let size = size_of(&answer) + key.0.len() + key.1.len();
        let mut inner = lock(&self.answers.inner);
        let inner = &mut *inner;
        if let Some(entry) = inner.entries.get_mut(&key) {
            entry.answer = Some(answer);
            entry.bytes = size;
            inner.bytes += size;
            inner.order.push_back((entry.at, key));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            lock(&self.answers.inner).entries.remove(&key);
        }
    }
}

fn size_of(answer: &Answer) -> usize {
    /// What an entry costs besides its texts, roughly.
    const OVERHEAD: usize = 512;
    OVERHEAD
        + match answer {
            Answer::Done { body, .. } => body.len(),
            Answer::Failed(problem) => {
                let errors = problem.errors.iter();
                problem.detail.len() + errors.map(|e| e.detail.len() + 128).sum::<usize>()
            }
        }
}

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;
