//! Where log events go: one implementation a kind of receiver, in `logging::sinks`, and one in memory.
//!
//! Driven by `logging::pipe`, which reads the spool, retries, and notes how far the sink has come. An event
//! counts as sent only once its receiver has acknowledged it, as far as its protocol can.

use crate::domain::log::LogEvent;
use crate::ports::freshness::Keeper;
use async_trait::async_trait;
use std::time::Duration;

/// What became of a batch that the receiver answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Events to send again: their places in the batch, and why.
    pub retry: Vec<(usize, String)>,
    /// Events that the receiver will never take: their places in the batch, and why.
    pub dead: Vec<(usize, String)>,
    /// Events that the receiver had already.
    pub known: u64,
    /// Bytes that were sent.
    pub bytes: u64,
}

/// Why a batch was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The receiver is away or overloaded: the same batch again, later.
    #[error("{reason}")]
    Retry {
        /// What happened, on what.
        reason: String,
        /// How long the receiver asked to wait.
        after: Option<Duration>,
    },
    /// The receiver does not take this batch as it is: half of it at a time. A single event that is not taken
    /// is a dead letter.
    #[error("{reason}")]
    Split {
        /// What the receiver said.
        reason: String,
    },
    /// The receiver refuses everything until somebody changes something: credentials, rights, a name.
    #[error("{reason}")]
    Refused {
        /// What the receiver said, and what to do next.
        reason: String,
    },
}

impl SinkError {
    /// The receiver is away.
    pub fn retry(reason: impl Into<String>) -> Self {
        SinkError::Retry {
            reason: reason.into(),
            after: None,
        }
    }
}

/// A receiver of log events.
#[async_trait]
pub trait Sink: Send {
    /// Sends events in order and waits for the answer. May be repeated with the same events.
    ///
    /// # Errors
    /// [`SinkError`]; which events arrived is then unknown.
    async fn send(&mut self, events: &[LogEvent]) -> Result<Delivery, SinkError>;

    /// Whether the receiver is there and takes events, as far as that can be told without sending one.
    ///
    /// # Errors
    /// What is in the way.
    async fn check(&mut self) -> Result<(), SinkError>;

    /// How long after [`Sink::send`] a batch is taken as arrived, if [`Sink::still_there`] says so then. Zero
    /// where the receiver acknowledges.
    fn settles_after(&self) -> Duration {
        Duration::ZERO
    }

    /// How long events are gathered between one batch and the next, where a receiver would rather have few large
    /// ones. Zero: what there is is sent at once; so it is while somebody asks [`Sink::keeper`].
    fn gathers_for(&self) -> Duration {
        Duration::ZERO
    }

    /// By whom readers have what was gathered sent first, where they can.
    fn keeper(&mut self) -> Option<&mut Keeper> {
        None
    }

    /// Whether the connection over which the last batches went is still the same one.
    fn still_there(&mut self) -> bool {
        true
    }
}

/// Makes a sink; called again whenever its actor starts.
pub trait SinkFactory: Send + Sync {
    /// The kind, such as `kafka`.
    fn kind(&self) -> &'static str;

    /// A sink that is not connected yet.
    ///
    /// # Errors
    /// [`SinkError::Refused`] for what the configuration cannot mean.
    fn make(&self) -> Result<Box<dyn Sink>, SinkError>;
}
