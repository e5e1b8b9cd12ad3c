//! One simulated container, and what was asked of the engine that holds it.
//!
//! Called by the simulated world, which alone changes it.

use super::strings::Labels;
use crate::domain::crash::Exit;
use crate::ports::runtime::{OutputLine, PublishedPort, Resources, RuntimeError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Lines of output kept of a container.
const LINES: usize = 1000;

/// What was asked of the engine so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Containers made.
    pub creates: u64,
    /// Starts asked for of containers that did not run.
    pub starts: u64,
    /// Stops asked for of containers that ran.
    pub stops: u64,
    /// Containers removed.
    pub removes: u64,
    /// Signals sent.
    pub signals: u64,
    /// Freezes.
    pub pauses: u64,
    /// Thaws.
    pub unpauses: u64,
    /// Changes of limits.
    pub updates: u64,
    /// Commands run.
    pub execs: u64,
    /// Images pulled.
    pub pulls: u64,
    /// Listings.
    pub lists: u64,
    /// Inspections.
    pub inspects: u64,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Life {
    Created,
    Running,
    Paused,
    Exited(Exit),
}

/// One container. Small: there may be 100,000.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) name: Arc<str>,
    pub(super) image: Arc<str>,
    pub(super) labels: Labels,
    pub(super) ports: Box<[PublishedPort]>,
    pub(super) resources: Resources,
    pub(super) life: Life,
    /// When the start that is under way is done.
    pub(super) starts_at: Option<Duration>,
    /// Why the last start failed.
    pub(super) start_error: Option<Box<RuntimeError>>,
    pub(super) started_at: Option<Duration>,
    /// Starts that were asked for.
    pub(super) attempts: u32,
    /// Starts that succeeded.
    pub(super) starts: u32,
    /// What is due before this changed is void.
    pub(super) epoch: u32,
    /// When it ends by itself, as far as is known.
    pub(super) ends_at: Option<Duration>,
    pub(super) changed: Option<Arc<Notify>>,
    pub(super) lines: VecDeque<OutputLine>,
    /// Lines ever printed: a follower's place.
    pub(super) printed: u64,
}

impl Container {
    pub(super) fn runs(&self) -> bool {
        matches!(self.life, Life::Running | Life::Paused)
    }

    pub(super) fn starting(&self) -> bool {
        self.starts_at.is_some()
    }

    /// When it starts or ends by itself, as far as is known.
    pub(super) fn due(&self) -> Option<Duration> {
        self.starts_at.or(self.ends_at)
    }

    /// Told of every change.
    pub(super) fn changed(&mut self) -> Arc<Notify> {
        Arc::clone(self.changed.get_or_insert_default())
    }

    pub(super) fn tell(&self) {
        if let Some(changed) = &self.changed {
            changed.notify_waiters();
        }
    }

    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &OutputLine> + ExactSizeIterator {
        self.lines.iter()
    }

    pub(super) fn take_start_error(&mut self) -> Option<RuntimeError> {
        self.start_error.take().map(|error| *error)
    }

    /// Keeps a line; the oldest goes when there are too many.
    pub(super) fn print(&mut self, line: OutputLine) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.printed += 1;
        self.tell();
    }
}
