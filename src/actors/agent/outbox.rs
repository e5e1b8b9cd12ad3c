//! What an agent has for the control host to keep, until that says that it is kept; and what happened.
//!
//! Owned by `link`. Crash reports and promotions are sent at least once: the control host passes over those
//! whose number it has seen. The oldest go when too many wait.

use crate::actors::recorder::Record;
use crate::actors::shared::Shared;
use crate::domain::view::EventView;
use crate::link::message::{Kept, ToControl};
use crate::ports::control::EventStream;
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Records that wait, at most.
const WAITING: usize = 10_000;
/// Records and events in one message, at most.
const BATCH: usize = 256;
/// Events are gathered for this long.
const GATHER: Duration = Duration::from_millis(20);

/// See the module.
pub struct Outbox {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

struct State {
    /// The number of the first record that waits.
    first: u64,
    waiting: VecDeque<Kept>,
    /// The newest event that was sent.
    event: Option<u64>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            state: Mutex::new(State {
                first: 1,
                waiting: VecDeque::new(),
                event: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The control host has kept all up to this number.
    pub fn kept_up_to(&self, number: u64) {
        let mut state = self.lock();
        while state.first <= number && state.waiting.pop_front().is_some() {
            state.first += 1;
        }
    }

    fn push(&self, record: Record) {
        let kept = match record {
            Record::Crash(report) => Kept::Crash(report),
            Record::Role(id, role) => Kept::Role(id, role),
            Record::Restarted(id) => Kept::Restarted(id),
            // The control host writes these itself; an agent makes none.
            Record::Placement(..) | Record::Operation(_) | Record::Runs(..) | Record::Audit(_) => {
                return;
            }
        };
        let mut state = self.lock();
        if state.waiting.len() == WAITING {
            state.waiting.pop_front();
            state.first += 1;
            tracing::warn!("the oldest record that waited for the control host is lost");
        }
        state.waiting.push_back(kept);
    }

    /// Records from a number on.
    fn from(&self, number: u64) -> (u64, Vec<Kept>) {
        let state = self.lock();
        let first = number.max(state.first);
        let skip = usize::try_from(first - state.first).unwrap_or(usize::MAX);
        let records = state.waiting.iter().skip(skip).take(BATCH);
        (first, records.cloned().collect())
    }

    /// Sends on one connection what waits and what comes, until it breaks.
    pub async fn send_for_ever(&self, outgoing: &mpsc::Sender<ToControl>) {
        tokio::join!(self.send_records(outgoing), self.send_events(outgoing));
    }

    async fn send_records(&self, outgoing: &mpsc::Sender<ToControl>) {
        // What was sent on the connection before and not acknowledged goes again.
        let mut next = 0;
        loop {
            let (first, records) = self.from(next);
            if records.is_empty() {
                let record = self.shared.recorder.receive().await;
                self.push(record);
                continue;
            }
            next = first + u64::try_from(records.len()).unwrap_or(0);
            let message = ToControl::Keep { first, records };
            if outgoing.send(message).await.is_err() {
                return;
            }
        }
    }

    async fn send_events(&self, outgoing: &mpsc::Sender<ToControl>) {
        loop {
            let after = self.lock().event;
            let events = match self.shared.hub.subscribe(after.or(Some(0))) {
                EventStream::Events(events) => events,
                // Too much happened meanwhile: from now on, then.
                EventStream::TooOld => match self.shared.hub.subscribe(None) {
                    EventStream::Events(events) => events,
                    EventStream::TooOld => return,
                },
            };
            let mut batches = events.ready_chunks(BATCH);
            while let Some(batch) = batches.next().await {
                tokio::time::sleep(GATHER).await;
                let last = batch.last().map(|e| e.seq);
                let told: Vec<EventView> = batch.into_iter().filter(worth_telling).collect();
                if !told.is_empty()
                    && outgoing
                        .send(ToControl::Events { events: told })
                        .await
                        .is_err()
                {
                    return;
                }
                self.lock().event = last;
            }
        }
    }
}

/// The link's own coming and going is the control host's to tell.
fn worth_telling(event: &EventView) -> bool {
    !event.kind.starts_with("link_")
}
