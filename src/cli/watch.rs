//! Follows server-sent events over lost connections: reconnects, resumes, and says that it did.

use crate::cli::client::{Client, Stream, Target};
use crate::cli::error::{Exit, Result};
use crate::cli::sse::Event;
use std::time::Duration;

/// What a watch yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// An event.
    Event(Event),
    /// The connection broke, for this reason; the watch goes on trying.
    Lost(String),
    /// It is back; what was missed follows, or is to be read again if the stream has no ids.
    Back,
}

/// A stream of events that outlives its connection.
pub struct Watch<'c> {
    client: &'c Client,
    target: Target,
    last_id: Option<String>,
    stream: Option<Stream>,
    opened: bool,
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
            failures: 0,
        }
    }

    /// Where it reconnects to from now on; for streams that resume by a query parameter.
    pub fn retarget(&mut self, target: Target) {
        self.target = target;
    }

    /// Forgets where it was: the next connection begins anew.
    pub fn restart(&mut self) {
        self.last_id = None;
        self.stream = None;
    }

    /// The next signal. May be cancelled at any time without losing an event.
    ///
    /// # Errors
    /// Where the server refuses, or does not answer the very first time.
    pub async fn next(&mut self) -> Result<Signal> {
        loop {
            if let Some(stream) = &mut self.stream {
                return Ok(match stream.next().await {
                    Ok(Some(event)) => self.took(event),
                    Ok(None) => self.lost("the server ended the stream".to_owned()),
                    Err(why) => self.lost(why),
                });
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
                    if std::mem::replace(&mut self.opened, true) {
                        return Ok(Signal::Back);
                    }
                }
                Err(error) if self.opened && error.exit == Exit::Unreachable => self.failures += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn took(&mut self, event: Event) -> Signal {
        self.failures = 0;
        if event.id.is_some() {
            self.last_id.clone_from(&event.id);
        }
        Signal::Event(event)
    }

    fn lost(&mut self, why: String) -> Signal {
        self.stream = None;
        self.failures += 1;
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
