//! What the end of a child leads to: a restart of whom, giving up, or nothing
//! (rules 4, 5, 7 to 10).

use std::time::Duration;

use super::operation::{Op, Then};
use super::{ChildState, Effect, Incarnation, Key, Machine, Message, Note, Payload, Why};
use crate::actors::supervise::reason::ExitReason;
use crate::actors::supervise::report::Context;
use crate::actors::supervise::spec::{AutoShutdown, Flags, OnExhausted, Restart, Strategy};

/// The reason of the report when a budget is spent.
const SPENT: &str = "reached_max_restart_intensity";

impl<P: Payload> Machine<P> {
    /// Serves the exit of a child that nobody asked to end.
    pub(super) fn serve_exit(
        &mut self,
        key: Key,
        incarnation: Incarnation,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(slot) = self.children.get_mut(key) else {
            return;
        };
        if slot.incarnation != incarnation {
            return;
        }
        let Some(reason) = slot.dead.take() else {
            return;
        };
        slot.count_attempt(now);
        let (restart, significant) = (slot.spec.restart, slot.spec.significant);
        out.push(Effect::Note(key, Note::Exited(reason.clone())));
        let clean = reason.is_clean();
        if restart == Restart::Permanent || !clean {
            self.report(Context::ChildTerminated, reason.clone(), key, out);
        }
        self.set_state(key, ChildState::Undefined);
        let restarted = match restart {
            Restart::Permanent => true,
            Restart::Transient => !clean,
            Restart::Temporary => false,
        };
        if restarted {
            return self.restart(key, &reason, now, out);
        }
        if restart == Restart::Temporary || self.is_simple() {
            self.forget(key, out);
        }
        if significant {
            self.consider_auto_shutdown();
        }
    }

    /// Serves a retry, unless the child was stopped or restarted since.
    pub(super) fn serve_retry(
        &mut self,
        key: Key,
        incarnation: Incarnation,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(slot) = self.children.get(key) else {
            return;
        };
        if slot.incarnation == incarnation && slot.is_restarting() {
            self.attempt(key, now, out);
        }
    }

    fn restart(&mut self, key: Key, reason: &ExitReason, now: Duration, out: &mut Vec<Effect<P>>) {
        // A neighbour of a stuck child is moved, not punished.
        if matches!(reason, ExitReason::Displaced { .. }) {
            self.op = Some(Op::Starting {
                at: Some(key),
                only: true,
                why: Why::Restart(1),
            });
            return;
        }
        match self.delay(key) {
            Duration::ZERO => self.attempt(key, now, out),
            delay => self.wait_until(key, now, delay, out),
        }
    }

    /// One restart attempt: it costs budget, then follows the strategy.
    fn attempt(&mut self, key: Key, now: Duration, out: &mut Vec<Effect<P>>) {
        match self.spend(key, now, out) {
            Ok(()) => self.restart_by_strategy(key),
            Err(OnExhausted::Escalate) => {
                self.report(Context::Shutdown, ExitReason::error(SPENT), key, out);
                self.begin_shutdown(ExitReason::Shutdown);
            }
            Err(OnExhausted::Abandon) => {
                self.set_state(key, ChildState::Undefined);
                out.push(Effect::Note(key, Note::Abandoned));
            }
        }
    }

    fn spend(
        &mut self,
        key: Key,
        now: Duration,
        out: &mut Vec<Effect<P>>,
    ) -> Result<(), OnExhausted> {
        if let Some(slot) = self.children.get_mut(key)
            && let (Some(rule), Some(own)) = (slot.spec.budget, slot.own_budget.as_mut())
        {
            return if own.spend(now, rule.intensity, rule.period) {
                Ok(())
            } else {
                Err(rule.then)
            };
        }
        out.push(Effect::Spent);
        let Flags {
            intensity, period, ..
        } = self.flags;
        match self.budget.spend(now, intensity, period) {
            true => Ok(()),
            false => Err(OnExhausted::Escalate),
        }
    }

    fn restart_by_strategy(&mut self, key: Key) {
        let why = Why::Restart(self.children.get(key).map_or(1, |slot| slot.attempts));
        let newest = self.children.last();
        self.op = Some(match self.flags.strategy {
            Strategy::OneForOne | Strategy::SimpleOneForOne => Op::Starting {
                at: Some(key),
                only: true,
                why,
            },
            Strategy::OneForAll => Op::Stopping {
                at: newest,
                last: None,
                then: Then::Start { from: None, why },
            },
            Strategy::RestForOne => match self.children.after(key) {
                None => Op::Starting {
                    at: Some(key),
                    only: true,
                    why,
                },
                last => Op::Stopping {
                    at: newest,
                    last,
                    then: Then::Start {
                        from: Some(key),
                        why,
                    },
                },
            },
        });
    }

    /// A restart failed to start: mark the child and try again behind what waits (rule 9).
    pub(super) fn retry_later(&mut self, key: Key, now: Duration, out: &mut Vec<Effect<P>>) {
        let Some(slot) = self.children.get_mut(key) else {
            return;
        };
        slot.attempts = slot.attempts.saturating_add(1);
        let (incarnation, attempts) = (slot.incarnation, slot.attempts);
        match self.delay(key) {
            Duration::ZERO => {
                self.set_state(key, ChildState::Restarting { due: None });
                out.push(Effect::Note(key, Note::Restarting(attempts, None)));
                out.push(Effect::Retry(key, incarnation));
            }
            delay => self.wait_until(key, now, delay, out),
        }
    }

    fn wait_until(&mut self, key: Key, now: Duration, delay: Duration, out: &mut Vec<Effect<P>>) {
        let attempts = self.children.get(key).map_or(1, |slot| slot.attempts);
        self.set_state(
            key,
            ChildState::Restarting {
                due: Some(now + delay),
            },
        );
        out.push(Effect::Note(key, Note::Restarting(attempts, Some(delay))));
    }

    fn delay(&mut self, key: Key) -> Duration {
        let noise = self.next_noise();
        let slot = self.children.get(key);
        slot.and_then(|slot| Some(slot.spec.backoff?.delay(slot.attempts, noise)))
            .unwrap_or_default()
    }

    /// Queues the restarts whose waiting time is over.
    pub(super) fn queue_due_retries(&mut self, now: Duration) {
        while let Some((at, key)) = self.due.first().copied() {
            if at > now {
                return;
            }
            self.set_state(key, ChildState::Restarting { due: None });
            if let Some(slot) = self.children.get(key) {
                self.queue.push_back(Message::Retry(key, slot.incarnation));
            }
        }
    }

    /// A significant child ended by itself and stays down (rule 10).
    fn consider_auto_shutdown(&mut self) {
        let over = match self.flags.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self
                .children
                .iter()
                .any(|(_, slot)| slot.spec.significant && slot.state != ChildState::Undefined),
        };
        if over {
            self.begin_shutdown(ExitReason::Shutdown);
        }
    }
}
