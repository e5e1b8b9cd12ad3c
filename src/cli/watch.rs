//! Follows server-sent events over lost connections: reconnects, resumes, and says that it did.

use crate::cli::client::{Client, Stream};
use crate::cli::error::{Exit, Result};
use crate::cli::problem::Problem;
use crate::cli::request::Target;
use crate::cli::sse::Event;
use std::time::Duration;

/// What a watch yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// An event.
    Event(Event),
    /// The connection broke, for this reason; the watch goes on trying.
    Lost(String),
    /// It is back after it was lost. What was missed follows, or is to be read again if the stream has
    /// no ids.
    Back,
}

/// A stream of events that outlives its connection.
pub struct Watch<'c> {
    client: &'c Client,
    target: Target,
    last_id: Option<String>,
    stream: Option<Stream>,
    opened: bool,
    lost: bool,
    failures: u32,
}

impl<'c> Watch<'c> {
    /// A watch of this target; connects at the first [`Watch::next`].
    pub fn new(client: &'c Client, target: Target) -> Self {
        Self {
            client,
            target,
            last_id: None,
            stream: None,
            opened: false,
            lost: false,
            failures: 0,
        }
    }

    /// Forgets where it was: the next connection begins anew.
    pub fn restart(&mut self) {
        self.last_id = None;
        self.stream = None;
    }

    /// The next signal. May be cancelled at any time without losing an event.
    ///
    /// # Errors
    /// Where the server refuses, ends the stream with a problem, or does not answer the first time.
    pub async fn next(&mut self) -> Result<Signal> {
        loop {
            if let Some(stream) = &mut self.stream {
                match stream.next().await {
                    Ok(Some(event)) => return self.took(event),
                    // Streams have a longest life: the next one goes on where this one ended.
                    Ok(None) => self.failed(),
                    Err(why) => return Ok(self.lost(why)),
                }
            }
            if self.opened {
                tokio::time::sleep(pause(self.failures)).await;
            }
            match self
                .client
                .stream(&self.target, self.last_id.as_deref())
                .await
            {
                Ok(stream) => {
                    self.stream = Some(stream);
                    self.opened = true;
                    if std::mem::take(&mut self.lost) {
                        return Ok(Signal::Back);
                    }
                }
                Err(error) if self.opened && error.exit == Exit::Unreachable => match self.lost {
                    true => self.failed(),
                    false => return Ok(self.lost(error.message)),
                },
                Err(error) => return Err(error),
            }
        }
    }

    fn took(&mut self, event: Event) -> Result<Signal> {
        self.failures = 0;
        if event.name == "error" {
            self.stream = None;
            return Err(Problem::read(500, event.data.as_bytes(), None).into_error());
        }
        if event.id.is_some() {
            self.last_id.clone_from(&event.id);
        }
        Ok(Signal::Event(event))
    }

    fn failed(&mut self) {
        self.stream = None;
        self.failures = self.failures.saturating_add(1);
    }

    fn lost(&mut self, why: String) -> Signal {
        self.failed();
        self.lost = true;
        Signal::Lost(why)
    }
}

/// How long to wait before the next attempt.
fn pause(failures: u32) -> Duration {
    Duration::from_millis((100u64 << failures.min(6)).min(3000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_three_seconds() {
        let pauses: Vec<u128> = (0..8).map(|n| pause(n).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000, 3000]);
    }
}
