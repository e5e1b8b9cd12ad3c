//! The recent changes of a store, and the watchers that read them.
//!
//! One bounded ring serves everyone: a watcher is a place in it, so a slow watcher costs nothing
//! and is told [`WatchEvent::Lost`] when the ring has moved past it. Fed by the stores after their
//! changes are durable; never sees a change that could still be undone.

use crate::ports::store::WatchEvent;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How many events are kept at most.
const MAX_EVENTS: usize = 8192;
/// How many bytes of keys and values are kept at most.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The recent changes of one store.
#[derive(Debug)]
pub struct History {
    ring: Arc<Mutex<Ring>>,
    /// The place after the newest event; dropped with the store, which ends all watchers.
    end: watch::Sender<u64>,
}

/// The ring itself. An event's place is its number since the store was opened.
#[derive(Debug)]
struct Ring {
    events: VecDeque<WatchEvent>,
    bytes: usize,
    /// The place of the first event that is kept.
    start: u64,
    /// Changes at or before this revision are not kept.
    floor: u64,
    /// The newest revision published.
    newest: u64,
}

impl History {
    /// A history that begins after `revision`.
    pub fn new(revision: u64) -> Self {
        Self {
            ring: Arc::new(Mutex::new(Ring {
                events: VecDeque::new(),
                bytes: 0,
                start: 0,
                floor: revision,
                newest: revision,
            })),
            end: watch::Sender::new(0),
        }
    }

    /// Adds durable changes, in the order of their revisions, and wakes the watchers.
    pub fn publish(&self, events: Vec<WatchEvent>) {
        if events.is_empty() {
            return;
        }
        let end = {
            let mut ring = lock(&self.ring);
            for event in events {
                ring.push(event);
            }
            ring.end()
        };
        self.end.send_replace(end);
    }

    /// Forgets everything: the store stands at `revision` now, and how it came there is unknown.
    /// Every watcher is told [`WatchEvent::Lost`].
    pub fn reset(&self, revision: u64) {
        let end = {
            let mut ring = lock(&self.ring);
            // One place more than was ever given out, so that even those at the end fall behind.
            ring.start = ring.end() + 1;
            ring.events.clear();
            ring.bytes = 0;
            ring.floor = revision;
            ring.newest = revision;
            ring.end()
        };
        self.end.send_replace(end);
    }

    /// Changes of keys with `prefix` from now on, or after revision `since`.
    ///
    /// Where `since` is no longer (or not yet) known, the first event is [`WatchEvent::Lost`].
    /// After a `Lost` the stream goes on with what happens after that moment.
    pub fn watch(&self, prefix: &str, since: Option<u64>) -> BoxStream<'static, WatchEvent> {
        let (place, lost) = lock(&self.ring).place_after(since);
        let watcher = Watcher {
            ring: Arc::clone(&self.ring),
            end: self.end.subscribe(),
            prefix: prefix.to_owned(),
            place,
            ready: VecDeque::from_iter(lost.then_some(WatchEvent::Lost)),
        };
        stream::unfold(watcher, |mut watcher| async move {
            let event = watcher.next().await?;
            Some((event, watcher))
        })
        .boxed()
    }
}

impl Ring {
    fn end(&self) -> u64 {
        self.start + self.events.len() as u64
    }

    fn push(&mut self, event: WatchEvent) {
        self.newest = revision(&event);
        self.bytes += size(&event);
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(old) = self.events.pop_front() else {
                break;
            };
            self.bytes -= size(&old);
            self.start += 1;
            self.floor = revision(&old);
        }
    }

    /// Where a watcher begins, and whether something before that is lost to it.
    fn place_after(&self, since: Option<u64>) -> (u64, bool) {
        match since {
            None => (self.end(), false),
            Some(since) if since < self.floor || since > self.newest => (self.end(), true),
            Some(since) => {
                let seen = self.events.partition_point(|e| revision(e) <= since);
                (self.start + seen as u64, false)
            }
        }
    }
}

/// A place in the ring, moving on.
struct Watcher {
    ring: Arc<Mutex<Ring>>,
    end: watch::Receiver<u64>,
    prefix: String,
    place: u64,
    ready: VecDeque<WatchEvent>,
}

impl Watcher {
    /// The next event; `None` once the store is gone.
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            // Marked as seen before the ring is read, so that nothing published meanwhile is missed.
            self.end.borrow_and_update();
            self.collect();
            if self.ready.is_empty() {
                self.end.changed().await.ok()?;
            }
        }
    }

    /// Copies what is new and wanted out of the ring.
    fn collect(&mut self) {
        let ring = lock(&self.ring);
        if self.place < ring.start {
            self.ready.push_back(WatchEvent::Lost);
        } else {
            let skip = usize::try_from(self.place - ring.start).unwrap_or(usize::MAX);
            let new = ring.events.iter().skip(skip);
            self.ready
                .extend(new.filter(|e| key(e).starts_with(&self.prefix)).cloned());
        }
        self.place = ring.end();
    }
}

/// A panic while the lock was held leaves a ring that is still in order.
fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(event: &WatchEvent) -> &str {
    match event {
        WatchEvent::Put(entry) => &entry.key,
        WatchEvent::Deleted(key, _) => key,
        WatchEvent::Lost => "",
    }
}

fn revision(event: &WatchEvent) -> u64 {
    match event {
        WatchEvent::Put(entry) => entry.revision,
        WatchEvent::Deleted(_, revision) => *revision,
        WatchEvent::Lost => 0,
    }
}

fn size(event: &WatchEvent) -> usize {
    match event {
        WatchEvent::Put(entry) => entry.key.len() + entry.value.len(),
        WatchEvent::Deleted(key, _) => key.len(),
        WatchEvent::Lost => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::store::Entry;
    use futures_util::FutureExt;

    fn put(key: &str, revision: u64) -> WatchEvent {
        WatchEvent::Put(Entry {
            key: key.to_owned(),
            value: vec![1; 10],
            revision,
            created: revision,
        })
    }

    fn ready(stream: &mut BoxStream<'static, WatchEvent>) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        while let Some(Some(event)) = stream.next().now_or_never() {
            events.push(event);
        }
        events
    }

    #[test]
    fn a_watcher_sees_its_prefix_from_the_moment_it_was_made() {
        let history = History::new(7);
        history.publish(vec![put("a/1", 8)]);
        let mut watch = history.watch("a/", None);
        history.publish(vec![put("a/2", 9), put("b/1", 9)]);
        history.publish(vec![WatchEvent::Deleted("a/1".into(), 10)]);
        assert_eq!(
            ready(&mut watch),
            [put("a/2", 9), WatchEvent::Deleted("a/1".into(), 10)]
        );
    }

    #[test]
    fn since_replays_what_is_kept_and_says_when_it_cannot() {
        let history = History::new(7);
        history.publish(vec![put("a", 8), put("b", 8)]);
        history.publish(vec![put("c", 9)]);
        assert_eq!(ready(&mut history.watch("", Some(8))), [put("c", 9)]);
        assert_eq!(ready(&mut history.watch("", Some(7))).len(), 3);
        assert_eq!(ready(&mut history.watch("", Some(9))), []);
        for unknown in [6, 10] {
            let mut watch = history.watch("", Some(unknown));
            assert_eq!(ready(&mut watch), [WatchEvent::Lost], "since {unknown}");
        }
    }

    #[test]
    fn a_watcher_that_falls_behind_is_told_once_and_goes_on() {
        let history = History::new(0);
        let mut watch = history.watch("", None);
        for revision in 1..=MAX_EVENTS as u64 + 1 {
            history.publish(vec![put("k", revision)]);
        }
        assert_eq!(ready(&mut watch), [WatchEvent::Lost]);
        history.publish(vec![put("k", 99_999)]);
        assert_eq!(ready(&mut watch), [put("k", 99_999)]);
        assert_eq!(ready(&mut history.watch("", Some(0))), [WatchEvent::Lost]);
    }

    #[test]
    fn large_values_are_bounded_by_bytes() {
        let history = History::new(0);
        for revision in 1..=8 {
            let mut event = put("k", revision);
            if let WatchEvent::Put(entry) = &mut event {
                entry.value = vec![0; 1024 * 1024];
            }
            history.publish(vec![event]);
        }
        assert!(lock(&history.ring).bytes <= MAX_BYTES);
        assert_eq!(ready(&mut history.watch("", Some(5))).len(), 3);
    }

    #[test]
    fn a_reset_is_told_to_every_watcher() {
        let history = History::new(3);
        let mut watch = history.watch("", Some(3));
        history.reset(9);
        assert_eq!(ready(&mut watch), [WatchEvent::Lost]);
        assert_eq!(ready(&mut history.watch("", Some(9))), []);
        assert_eq!(ready(&mut history.watch("", Some(3))), [WatchEvent::Lost]);
    }

    #[test]
    fn watchers_end_with_the_store() {
        let history = History::new(0);
        let mut watch = history.watch("", None);
        drop(history);
        assert_eq!(watch.next().now_or_never(), Some(None));
    }
}
