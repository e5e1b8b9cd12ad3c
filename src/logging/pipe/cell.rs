//! What is shown of a sink: written by its pump, read by the API and the metrics, which wait for nobody.

use crate::domain::log::Stamp;
use crate::domain::view::SinkView;
use crate::logging::spool::{Figures, Progress};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The time over which the rate is averaged.
const WINDOW: f64 = 10.0;

/// One sink, shared.
#[derive(Debug)]
pub struct SinkCell {
    view: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    view: SinkView,
    rate_at: Duration,
    progress: Option<Progress>,
}

impl SinkCell {
    /// A sink that has done nothing yet.
    pub fn new(name: &str, kind: &str) -> Self {
        let view = SinkView {
            name: name.to_owned(),
            kind: kind.to_owned(),
            state: "starting".to_owned(),
            breaker: "closed".to_owned(),
            ..SinkView::default()
        };
        Self {
            view: Mutex::new(Inner {
                view,
                rate_at: Duration::ZERO,
                progress: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is shown now on `node`; `spool` tells how far the sink is behind.
    pub fn view(&self, spool: &Figures, node: &str) -> SinkView {
        let inner = self.lock();
        let mut view = inner.view.clone();
        node.clone_into(&mut view.node);
        if let Some(progress) = inner.progress {
            view.lag_events = spool.events.saturating_sub(progress.index);
            view.lag_bytes = spool.end.saturating_sub(progress.position);
            (view.sent, view.filtered) = (progress.sent, progress.filtered);
            view.discarded = progress.discarded;
        } else {
            // Not known yet: everything may be waiting for it.
            (view.lag_events, view.lag_bytes) = (spool.events, spool.size);
        }
        view
    }

    /// Notes how far the sink has come.
    pub fn progress(&self, progress: Progress) {
        self.lock().progress = Some(progress);
    }

    /// The lowest position that the sink still needs; `None` while that is not known.
    pub fn needs(&self) -> Option<u64> {
        self.lock().progress.map(|p| p.position)
    }

    /// Changes it.
    pub fn change(&self, change: impl FnOnce(&mut SinkView)) {
        change(&mut self.lock().view);
    }

    /// Notes a failure.
    pub fn failed(&self, at: Stamp, reason: &str) {
        self.change(|view| {
            view.retries += 1;
            view.last_error = Some(reason.to_owned());
            view.last_error_at = Some(at.into());
        });
    }

    /// Notes a batch of `events` sent at `now`, and averages the rate.
    pub fn sent(&self, at: Stamp, now: Duration, events: u64, bytes: u64) {
        let mut inner = self.lock();
        let passed = now.saturating_sub(inner.rate_at).as_secs_f64().max(1e-6);
        inner.rate_at = now;
        let view = &mut inner.view;
        let weight = (-passed / WINDOW).exp();
        let present = events as f64 / passed;
        view.rate = view.rate * weight + present * (1.0 - weight);
        view.batches += 1;
        view.bytes += bytes;
        view.last_sent_at = Some(at.into());
    }
}
