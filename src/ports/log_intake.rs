//! Events that others send: what the API takes, and puts into the spool.

use async_trait::async_trait;

/// Why events were not taken. Nothing of the request is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// It is no event, or none that can be.
    #[error("{0}")]
    NotAnEvent(String),
    /// An event is of an app that the sender may not write for.
    #[error("{0}")]
    OtherApp(String),
    /// The spool is full, or its disk fails: send it again, later.
    #[error("{0}")]
    NotNow(String),
}

/// For whom events may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// For any app, or none.
    All,
    /// For this app only, which is also put where none is named.
    App(String),
}

/// Takes events in.
#[async_trait]
pub trait LogIntake: Send + Sync + 'static {
    /// Reads a body of JSON (an object, an array, or an object a line) and stores its events. When it returns their
    /// number, they survive SIGKILL and power loss.
    ///
    /// # Errors
    /// [`IntakeError`]; nothing is stored.
    async fn take(&self, body: Vec<u8>, writes: Writes) -> Result<u64, IntakeError>;
}
