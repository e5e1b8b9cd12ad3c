//! Operations that take several steps: ordered starts and stops.
//!
//! An operation is a cursor over the ordered children, so that a group of any
//! size needs no list of its own.

use std::time::Duration;

use super::stop::StopAll;
use super::{ChildState, Effect, Incarnation, Key, Machine, Note, Payload, StartResult, Why};
use crate::actors::supervise::reason::ExitReason;
use crate::actors::supervise::report::Context;
use crate::actors::supervise::spec::Restart;

/// What is going on; `Machine::wait` says which answer it needs next.
pub(super) enum Op<P: Payload> {
    /// Start what does not run, from `at` towards the newest, or only `at`.
    Starting {
        at: Option<Key>,
        only: bool,
        why: Why,
    },
    /// Stop what runs, from `at` towards the oldest, down to `last` or to the end.
    Stopping {
        at: Option<Key>,
        last: Option<Key>,
        then: Then,
    },
    /// `start_child`, or `restart_child` when `known`.
    AskedStart {
        caller: P::Caller,
        key: Key,
        known: bool,
    },
    /// `terminate_child`.
    AskedStop { caller: P::Caller, key: Key },
    /// The end of a simple_one_for_one supervisor: all at once.
    StoppingAll(StopAll),
}

/// What follows an ordered stop.
pub(super) enum Then {
    /// Start again, from this child or from the oldest.
    Start { from: Option<Key>, why: Why },
    /// The supervisor ends.
    Exit(ExitReason),
}

/// The answer that the operation in progress needs.
#[derive(Debug)]
pub(super) enum Wait {
    /// The end of this start.
    Start(Key, Incarnation),
    /// The death of this child; it is killed at the deadline.
    Stop {
        key: Key,
        incarnation: Incarnation,
        deadline: Option<Duration>,
    },
    /// The death of all that are left.
    All { deadline: Option<Duration> },
}

impl Wait {
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Start(..) => None,
            Self::Stop { deadline, .. } | Self::All { deadline } => *deadline,
        }
    }

    pub(super) fn key(&self) -> Option<Key> {
        match self {
            Self::Start(key, _) | Self::Stop { key, .. } => Some(*key),
            Self::All { .. } => None,
        }
    }
}

impl<P: Payload> Machine<P> {
    /// Takes one step of an operation whose last answer has come.
    pub(super) fn step(&mut self, op: Op<P>, now: Duration, out: &mut Vec<Effect<P>>) {
        match op {
            Op::Starting {
                at: Some(key),
                only,
                why,
            } => self.step_starting(key, only, why, out),
            Op::Starting {
                at: None,
                why: Why::Boot,
                ..
            } => out.push(Effect::Ready),
            Op::Starting { at: None, .. } => {}
            Op::Stopping {
                at: Some(key),
                last,
                then,
            } => {
                self.step_stopping(key, last, then, now, out);
            }
            Op::Stopping { at: None, then, .. } => self.after_stopping(then, out),
            Op::AskedStart { caller, key, known } => {
                self.begin_start(key, Why::Asked, out);
                self.op = Some(Op::AskedStart { caller, key, known });
            }
            Op::AskedStop { caller, key } => self.step_asked_stop(caller, key, now, out),
            Op::StoppingAll(all) => self.step_stopping_all(all, now, out),
        }
    }

    fn step_starting(&mut self, key: Key, only: bool, why: Why, out: &mut Vec<Effect<P>>) {
        let startable = self
            .children
            .get(key)
            .is_some_and(|slot| slot.pid().is_none());
        if startable {
            self.begin_start(key, why, out);
            self.op = Some(Op::Starting {
                at: Some(key),
                only,
                why,
            });
        } else {
            self.advance_start(self.children.after(key), only, why);
        }
    }

    fn advance_start(&mut self, next: Option<Key>, only: bool, why: Why) {
        if !only {
            self.op = Some(Op::Starting {
                at: next,
                only,
                why,
            });
        }
    }

    fn step_stopping(
        &mut self,
        key: Key,
        last: Option<Key>,
        then: Then,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        if self.begin_stop(key, now, out) {
            self.op = Some(Op::Stopping {
                at: Some(key),
                last,
                then,
            });
            return;
        }
        let next = if Some(key) == last {
            None
        } else {
            self.children.before(key)
        };
        self.settle_stopped(key, out);
        self.op = Some(Op::Stopping {
            at: next,
            last,
            then,
        });
    }

    fn after_stopping(&mut self, then: Then, out: &mut Vec<Effect<P>>) {
        match then {
            Then::Start { from, why } => {
                let at = from.or_else(|| self.children.first());
                self.op = Some(Op::Starting {
                    at,
                    only: false,
                    why,
                });
            }
            Then::Exit(reason) => self.end(reason, out),
        }
    }

    /// Forgets a temporary child that was stopped; cancels a pending restart.
    pub(super) fn settle_stopped(&mut self, key: Key, out: &mut Vec<Effect<P>>) {
        let Some(slot) = self.children.get(key) else {
            return;
        };
        let restarting = slot.is_restarting();
        if slot.spec.restart == Restart::Temporary || self.is_simple() {
            self.forget(key, out);
        } else if restarting {
            self.set_state(key, ChildState::Undefined);
            out.push(Effect::Note(key, Note::Cancelled));
        }
    }

    pub(super) fn begin_start(&mut self, key: Key, why: Why, out: &mut Vec<Effect<P>>) {
        self.set_state(key, ChildState::Undefined);
        let Some(slot) = self.children.get_mut(key) else {
            return;
        };
        let start = slot.spec.start.clone();
        self.last_incarnation += 1;
        slot.incarnation = self.last_incarnation;
        slot.dead = None;
        let incarnation = slot.incarnation;
        let extra = slot.extra.clone();
        self.wait = Some(Wait::Start(key, incarnation));
        out.push(Effect::Start {
            key,
            incarnation,
            start,
            extra,
            why,
        });
    }

    /// The awaited start came to its end; anything else is old news.
    pub(super) fn on_started(
        &mut self,
        key: Key,
        incarnation: Incarnation,
        result: StartResult,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        match self.wait {
            Some(Wait::Start(awaited, number)) if (awaited, number) == (key, incarnation) => {}
            _ => return,
        }
        self.wait = None;
        match self.op.take() {
            Some(Op::Starting { only, why, .. }) => self.started(key, result, only, why, now, out),
            Some(Op::AskedStart { caller, known, .. }) => {
                self.started_as_asked(caller, key, known, result, now, out);
            }
            other => self.op = other,
        }
    }

    fn started(
        &mut self,
        key: Key,
        result: StartResult,
        only: bool,
        why: Why,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        let next = self.children.after(key);
        match result {
            StartResult::Ok(pid, _) => {
                self.mark_up(key, pid, why, now, out);
                self.advance_start(next, only, why);
            }
            StartResult::Ignore => {
                out.push(Effect::Note(key, Note::Ignored));
                self.settle_stopped(key, out);
                self.advance_start(next, only, why);
            }
            StartResult::Err(reason) => {
                out.push(Effect::Note(key, Note::StartFailed(reason.clone())));
                self.report(Context::StartError, reason.clone(), key, out);
                match why {
                    Why::Boot => self.fail_boot(key, reason),
                    _ => self.retry_later(key, now, out),
                }
            }
        }
    }

    /// A failed initial start is final (rule 2).
    fn fail_boot(&mut self, key: Key, reason: ExitReason) {
        let Some(slot) = self.children.get(key) else {
            return;
        };
        let reason = ExitReason::FailedToStartChild {
            id: slot.spec.id.clone(),
            reason: Box::new(reason),
        };
        let at = self.children.last();
        self.op = Some(Op::Stopping {
            at,
            last: None,
            then: Then::Exit(reason),
        });
    }

    pub(super) fn mark_up(
        &mut self,
        key: Key,
        pid: crate::actors::supervise::Pid,
        why: Why,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        self.set_state(key, ChildState::Running(pid));
        if let Some(slot) = self.children.get_mut(key) {
            slot.up_since = now;
        }
        out.push(Effect::Note(key, Note::Up(pid, why)));
    }
}
