//! One node's state machine: heartbeats, probes and operators → ready, suspect, down, cordoned, draining.
//!
//! Kept in the control host's table of nodes and fed by the node's link and its `node` actor. A node that is to
//! blame ([`super::blame`]) is cordoned and drained in its record, which counts as an operator's wish. A control host that was paused or had no CPU alarms nobody: what it
//! could not hear does not count against the nodes.

use crate::domain::node_state::lease::Times;
use crate::domain::node_state::probe::{Health, Limits, Problem, Report, Severity};
use crate::domain::placement::NodeState;
use std::fmt;
use std::time::Duration;

/// How patient the control host is with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The times of the lease.
    pub times: Times,
    /// When a probe finds a problem.
    pub limits: Limits,
    /// A node that was down is ready after being heard without a gap for this long.
    pub settle_after: Duration,
    /// Two calls of [`Monitor::on`] that lie further apart than this mean that the control host itself stood still.
    pub stall: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            times: Times::default(),
            limits: Limits::default(),
            settle_after: Duration::from_secs(1),
            stall: Duration::from_millis(500),
        }
    }
}

/// What happens to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A heartbeat arrived.
    Heard,
    /// Its connection was closed.
    LinkClosed,
    /// It is waited for this long: its agent stops in good order and its containers run on, or this control
    /// host has just begun and its agent has to find the way.
    Away(Duration),
    /// Its agent reports how the node is.
    Probed(Report),
    /// An operator wants nothing new there.
    Cordon,
    /// An operator wants it empty.
    Drain,
    /// An operator says that it may be used again.
    Uncordon,
    /// Time has passed. Due at least once a heartbeat.
    Tick,
}

/// What the control host has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The node's state is another one now.
    State {
        /// What it was.
        from: NodeState,
        /// What it is.
        to: NodeState,
        /// Why.
        cause: Cause,
    },
    /// Whoever was on the node has let go: what may not run twice may be started elsewhere.
    TakeOver,
}

/// Why a node is in its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It is heard, and nothing is wrong.
    Well,
    /// It is heard again, but not yet for long.
    Returning,
    /// It has not been heard for this long.
    Silent(Duration),
    /// Its connection was closed.
    LinkClosed,
    /// An operator wants it so.
    Operator,
    /// A probe has found something.
    Problem(Problem),
}

/// Whether a node can be counted on, whatever operators and probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It is heard.
    Up,
    /// It is not heard, or not for long enough after it was down; nothing is taken from it yet.
    Suspect,
    /// It is lost: what runs on it is to run elsewhere.
    Down,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Well => f.write_str("it is heard, and nothing is wrong with it"),
            Cause::Returning => f.write_str("it has just come back"),
            Cause::Silent(silent) => {
                write!(f, "not heard for {:.1} s", silent.as_secs_f64())
            }
            Cause::LinkClosed => f.write_str("its agent is not connected"),
            Cause::Operator => f.write_str("an operator wants it so"),
            Cause::Problem(problem) => problem.fmt(f),
        }
    }
}

/// What an operator wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wish {
    #[default]
    Use,
    Cordon,
    Drain,
}

/// Whether a node is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Suspect,
    Down,
    /// Heard again after being down, without a gap since then.
    Returning(Duration),
}

/// One node.
#[derive(Debug, Clone)]
pub struct Monitor {
    settings: Settings,
    link: Link,
    closed: bool,
    heard: Duration,
    called: Duration,
    taken_over: bool,
    health: Health,
    wish: Wish,
}

impl Monitor {
    /// A node of which nothing is known yet: it is suspect until it is heard, and has as long for that as if it
    /// had been heard `now`. So a control host that has just started, or just become leader, takes nothing from
    /// a node that may still hold its lease.
    pub fn new(settings: Settings, now: Duration) -> Self {
        Self {
            settings,
            link: Link::Suspect,
            closed: false,
            heard: now,
            called: now,
            taken_over: false,
            health: Health::default(),
            wish: Wish::Use,
        }
    }

    /// Whether it is heard.
    pub fn presence(&self) -> Presence {
        match self.link {
            Link::Up => Presence::Up,
            Link::Suspect | Link::Returning(_) => Presence::Suspect,
            Link::Down => Presence::Down,
        }
    }

    /// Whether what is on it is to run elsewhere: what may run twice (`exclusive: false`), or what may not.
    ///
    /// A node whose engine is dead is left only by what may run twice: the rest may still run there.
    pub fn is_left(&self, exclusive: bool) -> bool {
        match self.link {
            Link::Down => !exclusive || self.taken_over,
            Link::Up => !exclusive && self.severity() == Some(Severity::Empty),
            Link::Suspect | Link::Returning(_) => false,
        }
    }

    /// The state, as placement takes it.
    pub fn state(&self) -> NodeState {
        match self.link {
            Link::Down => NodeState::Down,
            Link::Suspect | Link::Returning(_) => NodeState::Suspect,
            Link::Up => match (self.wish, self.severity()) {
                (Wish::Drain, _) | (_, Some(Severity::Empty)) => NodeState::Draining,
                (Wish::Cordon, _) | (_, Some(Severity::NothingNew)) => NodeState::Cordoned,
                (Wish::Use, None) => NodeState::Ready,
            },
        }
    }

    /// Why it is in that state at `now`.
    pub fn cause(&self, now: Duration) -> Cause {
        let silent = Cause::Silent(now.saturating_sub(self.heard));
        match self.link {
            Link::Down => silent,
            Link::Returning(_) => Cause::Returning,
            Link::Suspect if self.closed => Cause::LinkClosed,
            Link::Suspect => silent,
            Link::Up => match (self.wish, self.health.worst()) {
                (Wish::Drain, _) => Cause::Operator,
                (_, Some(problem)) if problem.severity() == Severity::Empty => {
                    Cause::Problem(problem.clone())
                }
                (Wish::Cordon, _) => Cause::Operator,
                (_, Some(problem)) => Cause::Problem(problem.clone()),
                (Wish::Use, None) => Cause::Well,
            },
        }
    }

    /// What is wrong with it.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Whether what may not run twice has been given to others since it was last heard without doubt.
    pub fn taken_over(&self) -> bool {
        self.taken_over
    }

    /// Takes one event at `now` on the control host's monotonic clock.
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Notice> {
        let before = self.state();
        self.forgive_stall(now);
        match event {
            Event::Heard => self.hear(now),
            Event::LinkClosed => self.closed = true,
            Event::Away(patience) => {
                self.heard = self.heard.max(now + patience);
                self.closed = true;
            }
            Event::Probed(report) => self.health.take(&report, &self.settings.limits),
            Event::Cordon => self.wish = Wish::Cordon,
            Event::Drain => self.wish = Wish::Drain,
            Event::Uncordon => self.wish = Wish::Use,
            Event::Tick => {}
        }
        let mut notices = Vec::new();
        let over = self.look(now);
        let after = self.state();
        if after != before {
            notices.push(Notice::State {
                from: before,
                to: after,
                cause: self.cause(now),
            });
        }
        if over {
            notices.push(Notice::TakeOver);
        }
        notices
    }

    fn severity(&self) -> Option<Severity> {
        self.health.worst().map(Problem::severity)
    }

    /// Time in which this process did not run is no silence of the node; what arrived meanwhile is read next.
    fn forgive_stall(&mut self, now: Duration) {
        let gap = now.saturating_sub(self.called);
        if gap > self.settings.stall {
            let forgiven = gap.saturating_sub(self.settings.times.heartbeat);
            // Whoever has said that it will be away is not waited for any longer than that.
            self.heard = (self.heard + forgiven).min(now).max(self.heard);
        }
        self.called = self.called.max(now);
    }

    fn hear(&mut self, now: Duration) {
        // Whoever said that it will be away, and is back, is waited for no longer than others.
        self.heard = self.called;
        self.closed = false;
        match self.link {
            Link::Up | Link::Returning(_) => {}
            Link::Suspect => self.link = Link::Up,
            Link::Down => self.link = Link::Returning(now),
        }
    }

    /// Draws the conclusions from how long it has been silent; `true` when what may not run twice is free now.
    fn look(&mut self, now: Duration) -> bool {
        let times = &self.settings.times;
        let silent = now.saturating_sub(self.heard);
        let quiet = silent >= times.suspect_after || self.closed;
        self.link = match self.link {
            Link::Up | Link::Suspect | Link::Returning(_) if silent >= times.down_after => {
                Link::Down
            }
            // Whoever has been down and falls silent again is down, not suspect: its instances are elsewhere.
            Link::Returning(_) if quiet => Link::Down,
            Link::Returning(since) if now.saturating_sub(since) >= self.settings.settle_after => {
                self.taken_over = false;
                Link::Up
            }
            Link::Up if quiet => Link::Suspect,
            link => link,
        };
        let over = self.link == Link::Down && silent >= times.takeover_after && !self.taken_over;
        self.taken_over |= over;
        over
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod monitor_tests;
