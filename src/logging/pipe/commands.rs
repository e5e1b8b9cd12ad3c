//! What an operator asks of a sink, carried out between two batches.

use super::pump::{Command, Next, Pump, To};
use crate::domain::log::Stamp;
use crate::logging::spool::{From, Progress, SpoolError};
use std::time::Duration;

/// How long a graceful stop waits for what was sent to settle.
const SETTLE_AT_STOP: Duration = Duration::from_secs(3);

impl Pump {
    pub(super) async fn obey(&mut self, command: Command) -> Result<Next, SpoolError> {
        match command {
            Command::Pause => {
                self.paused = true;
                self.state("paused");
            }
            Command::Resume => {
                (self.paused, self.attempt) = (false, 0);
                self.breaker.succeeded();
                self.state("idle");
            }
            Command::Rewind(to, answer) => {
                let outcome = self.rewind(to).map_err(|e| e.to_string());
                // Whoever asked may be gone.
                let _ = answer.send(outcome);
            }
            Command::Check(answer) => {
                let limit = self.parts.settings.timeout.min(Duration::from_secs(10));
                let outcome = match tokio::time::timeout(limit, self.parts.sink.check()).await {
                    Ok(outcome) => outcome.map_err(|e| e.to_string()),
                    Err(_) => Err(format!("no answer within {}s", limit.as_secs())),
                };
                // Whoever asked may be gone.
                let _ = answer.send(outcome);
            }
            Command::Stop(answer) => {
                let until = self.now() + SETTLE_AT_STOP;
                while !self.unsettled.is_empty() && self.now() < until {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    self.settle()?;
                }
                self.cursor.sync()?;
                // Whoever asked may be gone.
                let _ = answer.send(());
                return Ok(Next::Stop);
            }
        }
        Ok(Next::Go)
    }

    fn rewind(&mut self, to: To) -> Result<(), SpoolError> {
        let (position, index) = match to {
            To::Oldest => self.parts.spool.bound(From::Oldest),
            To::Now => self.parts.spool.bound(From::Now),
            To::At(at) => self.find(at)?,
            To::BackTo(at) => {
                let progress = self.cursor.progress();
                self.find(at)?.min((progress.position, progress.index))
            }
        };
        self.tell_oldest()?;
        let progress = Progress {
            position,
            index,
            ..self.cursor.progress()
        };
        self.unsettled.clear();
        self.commit(progress)?;
        self.reader.seek(position, index);
        Ok(())
    }

    /// Shows how far back the spool reaches.
    pub(super) fn tell_oldest(&mut self) -> Result<(), SpoolError> {
        let (position, index) = self.parts.spool.bound(From::Oldest);
        let read = self.parts.spool.reader(position, index).next(1, 4096)?;
        let oldest = read.events.first().map(|event| event.at.into());
        self.parts.cell.change(|view| view.oldest_at = oldest);
        Ok(())
    }

    /// The place of the first event at or after an instant.
    fn find(&self, at: Stamp) -> Result<(u64, u64), SpoolError> {
        let (position, index) = self.parts.spool.bound(From::Oldest);
        let mut reader = self.parts.spool.reader(position, index);
        let mut place = (position, index);
        loop {
            let read = reader.next(1000, 1 << 20)?;
            if read.events.is_empty() {
                return Ok((read.position, read.index));
            }
            for (event, after) in read.events.iter().zip(&read.after) {
                if event.at >= at {
                    return Ok(place);
                }
                place = *after;
            }
        }
    }
}
