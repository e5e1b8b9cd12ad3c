//! A sink in memory, for tests: keeps what it gets, and fails as it is told to.

use crate::domain::log::LogEvent;
use crate::ports::freshness::{Freshness, Keeper};
use crate::ports::sink::{Delivery, Sink, SinkError, SinkFactory};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a memory sink keeps and does; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<LogEvent>,
    answers: VecDeque<Result<Delivery, SinkError>>,
    settles_after: Duration,
    gathers: Option<(Duration, Arc<Freshness>)>,
    lost: bool,
}

struct MemorySink {
    memory: Memory,
    keeper: Option<Keeper>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has got so far.
    pub fn events(&self) -> Vec<LogEvent> {
        self.lock().events.clone()
    }

    /// The next batches are answered with these, in order; later ones are taken.
    pub fn answer(&self, answers: impl IntoIterator<Item = Result<Delivery, SinkError>>) {
        self.lock().answers.extend(answers);
    }

    /// From now on it acknowledges nothing.
    pub fn settle_after(&self, wait: Duration) {
        self.lock().settles_after = wait;
    }

    /// It would rather have batches this far apart, but for those who ask `freshness`.
    pub fn gather(&self, pause: Duration, freshness: &Arc<Freshness>) {
        self.lock().gathers = Some((pause, Arc::clone(freshness)));
    }

    /// The connection ends, and with it the last `events` that were sent.
    pub fn lose(&self, events: usize) {
        let mut state = self.lock();
        let kept = state.events.len().saturating_sub(events);
        state.events.truncate(kept);
        state.lost = true;
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError> {
        let mut state = self.memory.lock();
        let answer = state
            .answers
            .pop_front()
            .unwrap_or_else(|| Ok(Delivery::default()))?;
        let refused = |n: usize| {
            answer
                .retry
                .iter()
                .chain(&answer.dead)
                .any(|(at, _)| *at == n)
        };
        let taken: Vec<_> = events
            .iter()
            .enumerate()
            .filter(|(n, _)| !refused(*n))
            .map(|(_, e)| e.clone())
            .collect();
        state.events.extend(taken);
        Ok(answer)
    }

    async fn check(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn settles_after(&self) -> Duration {
        self.memory.lock().settles_after
    }

    fn still_there(&mut self) -> bool {
        !std::mem::take(&mut self.memory.lock().lost)
    }

    fn gathers_for(&self) -> Duration {
        let state = self.memory.lock();
        state.gathers.as_ref().map_or(Duration::ZERO, |(p, _)| *p)
    }

    fn keeper(&mut self) -> Option<&mut Keeper> {
        self.keeper.as_mut()
    }
}

impl SinkFactory for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn make(&self) -> Result<Box<dyn Sink>, SinkError> {
        let keeper = self.lock().gathers.as_ref().map(|(_, f)| f.keep());
        Ok(Box::new(MemorySink {
            memory: self.clone(),
            keeper,
        }))
    }
}
