//! One batch on its way: sent, sorted by its answer, and what becomes of what was not taken.

use super::backoff;
use super::pump::Pump;
use crate::domain::log::LogEvent;
use crate::logging::spool::{Read, SpoolError};
use crate::ports::sink::{Delivery, SinkError};
use std::time::Duration;

/// The pause after a receiver has refused everything.
const REFUSED: Duration = Duration::from_secs(30);

impl Pump {
    /// Sends what was read; how long to wait then.
    pub(super) async fn deliver(&mut self, mut read: Read) -> Result<Duration, SpoolError> {
        let all = read.events.len();
        let mut events = std::mem::take(&mut read.events);
        if !self.parts.filter.takes_all() {
            events.retain(|event| self.parts.filter.takes(event));
        }
        if !self.parts.redaction.is_empty() {
            events
                .iter_mut()
                .for_each(|event| self.parts.redaction.apply(event));
        }
        let filtered = (all - events.len()) as u64;
        let (mut sent, mut dead) = (0, 0);
        while !events.is_empty() {
            let limit = self.parts.settings.timeout;
            let answer = tokio::time::timeout(limit, self.parts.sink.send(&events)).await;
            let answer = answer.unwrap_or_else(|_| {
                Err(SinkError::retry(format!(
                    "no answer within {}s",
                    limit.as_secs()
                )))
            });
            let delivery = match answer {
                Ok(delivery) => delivery,
                Err(error) => return self.failed(error, &events, (&read, sent, filtered, dead)),
            };
            let asked = events.len() as u64;
            let (again, gone) = self.sort(&delivery, events)?;
            let done = asked - again.len() as u64 - gone;
            self.parts
                .cell
                .sent(self.stamp(), self.now(), done, delivery.bytes);
            self.parts
                .cell
                .change(|view| view.duplicates += delivery.known);
            dead += gone;
            sent += done;
            if again.is_empty() {
                break;
            }
            // Those alone, after a pause.
            self.attempt += 1;
            let reason = delivery
                .retry
                .first()
                .map(|(_, r)| r.as_str())
                .unwrap_or_default();
            self.parts.cell.failed(self.stamp(), reason);
            self.state("retrying");
            tokio::time::sleep(self.backoff()).await;
            events = again;
        }
        self.attempt = 0;
        self.breaker.succeeded();
        self.limit = (self.limit * 2).min(self.parts.settings.batch_events);
        self.done(&read, (sent, filtered, dead))?;
        self.sent_at = Some(self.now());
        self.caught_up();
        Ok(Duration::ZERO)
    }

    /// The events to send again; dead letters are kept.
    fn sort(
        &mut self,
        delivery: &Delivery,
        events: Vec<LogEvent>,
    ) -> Result<(Vec<LogEvent>, u64), SpoolError> {
        let dead = delivery.dead.iter();
        let letters = dead.filter_map(|(at, reason)| Some((events.get(*at)?, reason.as_str())));
        self.bury(letters)?;
        let again = delivery
            .retry
            .iter()
            .filter_map(|(at, _)| events.get(*at).cloned())
            .collect();
        Ok((again, delivery.dead.len() as u64))
    }

    fn bury<'a>(
        &mut self,
        letters: impl Iterator<Item = (&'a LogEvent, &'a str)>,
    ) -> Result<(), SpoolError> {
        let letters: Vec<_> = letters.collect();
        if letters.is_empty() {
            return Ok(());
        }
        let (count, reason) = (letters.len() as u64, letters[0].1.to_owned());
        let at = self.parts.clock.now_utc().into();
        self.dead
            .keep(at, letters.into_iter())
            .map_err(|error| SpoolError::Io {
                action: "keep dead letters in",
                path: self.dead.path().to_owned(),
                error,
            })?;
        self.parts.cell.change(|view| {
            view.dead_letters += count;
            view.last_error = Some(reason);
            view.last_error_at = Some(at.into());
        });
        Ok(())
    }

    fn backoff(&self) -> Duration {
        let settings = &self.parts.settings;
        backoff::delay(
            self.attempt,
            settings.retry_first,
            settings.retry_most,
            rand::random(),
        )
    }

    /// A batch was not answered. Everything that is not settled is read again.
    fn failed(
        &mut self,
        error: SinkError,
        events: &[LogEvent],
        (read, sent, filtered, dead): (&Read, u64, u64, u64),
    ) -> Result<Duration, SpoolError> {
        let at = self.stamp();
        let reason = error.to_string();
        if let SinkError::Split { .. } = error {
            if events.len() == 1 {
                self.bury(events.iter().map(|event| (event, reason.as_str())))?;
                self.limit = (self.limit * 2).min(self.parts.settings.batch_events);
                self.done(read, (sent, filtered, dead + 1))?;
                return Ok(Duration::ZERO);
            }
            self.limit = (events.len() / 2).max(1);
            self.again();
            return Ok(Duration::ZERO);
        }
        self.parts.cell.failed(at, &reason);
        self.attempt += 1;
        self.breaker.failed(self.now());
        self.again();
        let pause = match error {
            SinkError::Refused { .. } => {
                self.state("refused");
                REFUSED
            }
            SinkError::Retry { after, .. } => {
                self.state("retrying");
                after
                    .unwrap_or_else(|| self.backoff())
                    .min(self.parts.settings.retry_most)
            }
            SinkError::Split { .. } => Duration::ZERO,
        };
        tracing::debug!(sink = self.parts.name, %reason, ?pause, "a batch of log events was not taken");
        Ok(pause)
    }
}
