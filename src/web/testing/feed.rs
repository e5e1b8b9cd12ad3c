//! Events in a ring: the last thousand, numbered, and new ones as they come.

use crate::domain::view::EventView;
use crate::ports::control::EventStream;
use crate::web::limits::lock;
use chrono::Utc;
use futures_util::{StreamExt, stream};
use std::collections::VecDeque;
use std::future::ready;
use std::sync::Mutex;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// Events kept.
const KEPT: usize = 1000;
/// Events that a listener may lag behind before its stream ends.
const LAG: usize = 1000;

/// Events, numbered from 1.
pub struct Feed {
    ring: Mutex<Ring>,
    live: broadcast::Sender<EventView>,
}

#[derive(Default)]
struct Ring {
    last: u64,
    events: VecDeque<EventView>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            live: broadcast::channel(LAG).0,
        }
    }
}

impl Feed {
    /// Numbers an event, keeps it and tells who listens.
    pub fn emit(&self, mut event: EventView) {
        let mut ring = lock(&self.ring);
        ring.last += 1;
        event.seq = ring.last;
        if ring.events.len() == KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(event.clone());
        // Nobody has to listen.
        let _ = self.live.send(event);
    }

    /// The last ones, oldest first.
    pub fn recent(&self, limit: usize) -> Vec<EventView> {
        let ring = lock(&self.ring);
        let skipped = ring.events.len().saturating_sub(limit);
        ring.events.iter().skip(skipped).cloned().collect()
    }

    /// Those after `after`, then new ones.
    pub fn subscribe(&self, after: Option<u64>) -> EventStream {
        let ring = lock(&self.ring);
        let live = BroadcastStream::new(self.live.subscribe());
        let oldest = ring.events.front().map_or(ring.last + 1, |event| event.seq);
        if after.is_some_and(|after| after > ring.last || after.saturating_add(1) < oldest) {
            return EventStream::TooOld;
        }
        let missed = ring
            .events
            .iter()
            .filter(|e| after.is_some_and(|a| e.seq > a));
        let missed: Vec<EventView> = missed.cloned().collect();
        let live = live
            .take_while(|event| ready(event.is_ok()))
            .filter_map(|event| ready(event.ok()));
        EventStream::Events(stream::iter(missed).chain(live).boxed())
    }
}

/// An event about nothing in particular.
pub fn event(kind: &str, level: &str, message: &str) -> EventView {
    EventView {
        seq: 0,
        at: Utc::now(),
        kind: kind.to_owned(),
        level: level.to_owned(),
        app: None,
        proc: None,
        instance: None,
        node: Some("local".to_owned()),
        path: None,
        operation: None,
        crash: None,
        message: message.to_owned(),
    }
}
