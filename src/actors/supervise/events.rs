//! Lifecycle events, and those who watch them.
//!
//! Every supervisor tells its observers what happens to its children, at the
//! moment it decides; observers must be quick and must not block.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Pid;
use super::panics;
use super::reason::{ExitReason, StuckInfo};
use super::report::{Progress, Report};
use super::spec::ChildType;

/// Something happened to a child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LifecycleEvent {
    /// Path of the child.
    pub path: Arc<str>,
    /// Path of its supervisor; empty for the root.
    pub supervisor: Arc<str>,
    /// Worker or supervisor.
    pub child_type: ChildType,
    /// The process it is about, if there is one.
    pub pid: Option<Pid>,
    /// How often the child was started under this path.
    pub incarnation: u64,
    /// When.
    pub at: SystemTime,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// It became known to its supervisor.
    Added,
    /// Its init begins.
    Starting,
    /// It runs, after a first or asked start that took this long.
    Started {
        /// From the beginning of init.
        took: Duration,
    },
    /// It runs again.
    Restarted {
        /// From the end of the last incarnation.
        took: Duration,
        /// Number of the attempt that succeeded.
        attempt: u32,
    },
    /// Its init found nothing to do.
    Ignored,
    /// It could not start.
    StartFailed {
        /// Why.
        reason: ExitReason,
    },
    /// It ended by itself.
    Exited {
        /// Why.
        reason: ExitReason,
    },
    /// It will be restarted.
    RestartScheduled {
        /// In this time; zero when it is next in the queue.
        r#in: Duration,
        /// Number of the attempt.
        attempt: u32,
    },
    /// It is asked to stop.
    Stopping,
    /// It has stopped, as asked.
    Stopped {
        /// Why, as it said itself.
        reason: ExitReason,
    },
    /// Its pending restart was cancelled.
    Cancelled,
    /// Its own restart budget is spent; it stays down.
    Abandoned,
    /// Its supervisor's restart budget is spent because of it; the supervisor ends.
    GaveUp {
        /// Restarts borne.
        intensity: u32,
        /// Within this time.
        period: Duration,
    },
    /// One of its handlers does not return. It is left behind.
    Stuck {
        /// What it was doing.
        info: Arc<StuckInfo>,
    },
    /// An arbiter that was given up came back; this child, left behind on it, was dropped.
    Unstuck,
    /// Its supervisor forgot it.
    Removed,
}

/// Somebody who is told what happens, on the thread where it happens.
pub trait Observer: Send + Sync {
    /// Something happened to a child.
    fn event(&self, event: &LifecycleEvent) {
        let _ = event;
    }

    /// A supervisor reports an error.
    fn report(&self, report: &Report) {
        let _ = report;
    }

    /// A supervisor reports a successful start.
    fn progress(&self, progress: &Progress) {
        let _ = progress;
    }
}

impl<F: Fn(&LifecycleEvent) + Send + Sync> Observer for F {
    fn event(&self, event: &LifecycleEvent) {
        self(event);
    }
}

/// Those who watch a tree.
#[derive(Clone, Default)]
pub(crate) struct Observers(pub(crate) Arc<[Arc<dyn Observer>]>);

impl Observers {
    /// Whether anybody watches.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Tells them; one that panics is not told on, and harms nobody.
    pub(crate) fn tell(&self, tell: impl Fn(&dyn Observer)) {
        for observer in self.0.iter() {
            if let Err(payload) = panics::contain(|| tell(&**observer)) {
                tracing::error!(
                    "an observer of the supervision tree panicked: {}",
                    panics::describe(payload, "observer")
                );
            }
        }
    }
}

/// Writes reports to the log: errors as errors, progress as debug.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogReports;

impl Observer for LogReports {
    fn report(&self, report: &Report) {
        tracing::error!("supervisor report: {report}");
    }

    fn progress(&self, progress: &Progress) {
        let Progress {
            supervisor,
            started,
        } = progress;
        tracing::debug!(
            "supervisor {supervisor}: started {} as {}",
            started.id,
            started.who
        );
    }
}
