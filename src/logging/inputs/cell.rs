//! What is shown of an input: written by whoever takes events in, read by the API and the metrics.

use crate::domain::log::Stamp;
use crate::domain::view::InputView;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One input, shared.
#[derive(Debug)]
pub struct InputCell {
    view: Mutex<InputView>,
}

impl InputCell {
    /// An input that has taken nothing yet.
    pub fn new(name: &str, kind: &str, at: String) -> Self {
        Self {
            view: Mutex::new(InputView {
                name: name.to_owned(),
                kind: kind.to_owned(),
                at,
                state: "starting".to_owned(),
                ..InputView::default()
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, InputView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is shown now.
    pub fn view(&self) -> InputView {
        self.lock().clone()
    }

    /// Changes it.
    pub fn change(&self, change: impl FnOnce(&mut InputView)) {
        change(&mut self.lock());
    }

    /// Notes its state, a word.
    pub fn state(&self, state: &str) {
        self.change(|view| state.clone_into(&mut view.state));
    }

    /// Notes events that are in the spool.
    pub fn took(&self, at: Stamp, events: u64) {
        self.change(|view| {
            view.events += events;
            view.last_event_at = Some(at.into());
        });
    }

    /// Notes a failure.
    pub fn failed(&self, at: Stamp, reason: &str) {
        self.change(|view| {
            view.last_error = Some(reason.to_owned());
            view.last_error_at = Some(at.into());
        });
    }
}
