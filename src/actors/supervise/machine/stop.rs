//! Stopping: one child, the rest in reverse order, or all at once (rules 6, 8, 11).

use std::collections::BTreeMap;
use std::time::Duration;

use super::operation::{Op, Then, Wait};
use super::{ChildState, Effect, Incarnation, Key, Machine, Message, Note, Payload, Report};
use crate::actors::supervise::reason::ExitReason;
use crate::actors::supervise::report::{Context, Who};
use crate::actors::supervise::spec::Shutdown;

/// The end of a simple_one_for_one supervisor, in progress.
pub(super) struct StopAll {
    reason: ExitReason,
    begun: bool,
    /// Unexpected ends, by their text: reason and how many.
    errors: BTreeMap<String, (ExitReason, usize)>,
}

impl<P: Payload> Machine<P> {
    /// Asks a running child to end, or kills it; false when it does not run.
    pub(super) fn begin_stop(&mut self, key: Key, now: Duration, out: &mut Vec<Effect<P>>) -> bool {
        let Some(slot) = self.children.get_mut(key) else {
            return false;
        };
        if slot.pid().is_none() {
            return false;
        }
        if let Some(reason) = slot.dead.take() {
            self.stopped(key, reason, out);
            return false;
        }
        let incarnation = slot.incarnation;
        let deadline = match slot.spec.shutdown {
            Shutdown::Timeout(limit) => Some(now + limit),
            _ => None,
        };
        out.push(Effect::Note(key, Note::Stopping));
        out.push(match slot.spec.shutdown {
            Shutdown::BrutalKill => Effect::Kill(key, incarnation),
            _ => Effect::Terminate(key, incarnation),
        });
        self.wait = Some(Wait::Stop {
            key,
            incarnation,
            deadline,
        });
        true
    }

    /// Takes note of the death of a child that was being stopped.
    fn stopped(&mut self, key: Key, reason: ExitReason, out: &mut Vec<Effect<P>>) {
        let Some(slot) = self.children.get(key) else {
            return;
        };
        if !slot.expects(&reason) {
            self.report(Context::ShutdownError, reason.clone(), key, out);
        }
        self.set_state(key, ChildState::Undefined);
        out.push(Effect::Note(key, Note::Stopped(reason)));
    }

    /// An exit: the awaited one goes to its operation, others queue.
    pub(super) fn on_exit(
        &mut self,
        key: Key,
        incarnation: Incarnation,
        reason: ExitReason,
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(slot) = self.children.get_mut(key) else {
            return;
        };
        if slot.incarnation != incarnation || slot.pid().is_none() || slot.dead.is_some() {
            return;
        }
        match self.wait {
            Some(Wait::Stop { key: awaited, .. }) if awaited == key => {
                self.wait = None;
                self.stopped(key, reason, out);
            }
            Some(Wait::All { .. }) => self.stopped_in_all(key, reason, out),
            _ => {
                slot.dead = Some(reason);
                self.queue.push_back(Message::Exited(key, incarnation));
            }
        }
    }

    pub(super) fn on_tick(&mut self, now: Duration, out: &mut Vec<Effect<P>>) {
        match &mut self.wait {
            Some(Wait::Stop {
                key,
                incarnation,
                deadline,
            }) if deadline.is_some_and(|at| at <= now) => {
                *deadline = None;
                out.push(Effect::Kill(*key, *incarnation));
            }
            Some(Wait::All { deadline }) if deadline.is_some_and(|at| at <= now) => {
                *deadline = None;
                for (key, slot) in self
                    .children
                    .iter()
                    .filter(|(_, slot)| slot.pid().is_some())
                {
                    out.push(Effect::Kill(key, slot.incarnation));
                }
            }
            _ => {}
        }
        self.queue_due_retries(now);
    }

    /// Stops everything that runs, then ends with `reason`.
    pub(super) fn begin_shutdown(&mut self, reason: ExitReason) {
        self.op = Some(if self.is_simple() {
            Op::StoppingAll(StopAll {
                reason,
                begun: false,
                errors: BTreeMap::new(),
            })
        } else {
            let at = self.children.last();
            Op::Stopping {
                at,
                last: None,
                then: Then::Exit(reason),
            }
        });
    }

    /// All at once under one timer; when none is left, the grouped reports and the end.
    pub(super) fn step_stopping_all(
        &mut self,
        mut all: StopAll,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        if !all.begun {
            all.begun = true;
            self.op = Some(Op::StoppingAll(all));
            self.ask_all(now, out);
            return;
        }
        if let Some(template) = self.template.clone() {
            for (reason, count) in all.errors.into_values() {
                let spec = template.clone();
                out.push(Effect::Report(Report {
                    context: Context::ShutdownError,
                    reason,
                    who: Who::Count(count),
                    spec,
                }));
            }
        }
        self.end(all.reason, out);
    }

    fn ask_all(&mut self, now: Duration, out: &mut Vec<Effect<P>>) {
        let shutdown = self
            .template
            .as_ref()
            .map_or(Shutdown::BrutalKill, |spec| spec.shutdown);
        let deadline = match shutdown {
            Shutdown::Timeout(limit) => Some(now + limit),
            _ => None,
        };
        self.wait = Some(Wait::All { deadline });
        let mut already_dead = Vec::new();
        for (key, slot) in self.children.iter() {
            if slot.pid().is_none() || slot.dead.is_some() {
                already_dead.push(key);
                continue;
            }
            out.push(Effect::Note(key, Note::Stopping));
            out.push(match shutdown {
                Shutdown::BrutalKill => Effect::Kill(key, slot.incarnation),
                _ => Effect::Terminate(key, slot.incarnation),
            });
        }
        for key in already_dead {
            match self.children.get_mut(key).and_then(|slot| slot.dead.take()) {
                Some(reason) => self.stopped_in_all(key, reason, out),
                None => self.forget(key, out),
            }
        }
        if self.children.len() == 0 {
            self.wait = None;
        }
    }

    fn stopped_in_all(&mut self, key: Key, reason: ExitReason, out: &mut Vec<Effect<P>>) {
        let expected = self
            .children
            .get(key)
            .is_some_and(|slot| slot.expects(&reason));
        if let (false, Some(Op::StoppingAll(all))) = (expected, &mut self.op) {
            all.errors
                .entry(reason.to_string())
                .or_insert_with(|| (reason.clone(), 0))
                .1 += 1;
        }
        out.push(Effect::Note(key, Note::Stopped(reason)));
        self.forget(key, out);
        if self.children.len() == 0 {
            self.wait = None;
        }
    }

    pub(super) fn report(
        &self,
        context: Context,
        reason: ExitReason,
        key: Key,
        out: &mut Vec<Effect<P>>,
    ) {
        if let Some(slot) = self.children.get(key) {
            let who = match slot.state {
                ChildState::Running(pid) => Who::Pid(pid),
                ChildState::Restarting { .. } => Who::Restarting,
                ChildState::Undefined => Who::Undefined,
            };
            out.push(Effect::Report(Report {
                context,
                reason,
                who,
                spec: slot.spec.clone(),
            }));
        }
    }
}
