//! Why a child ended: OTP's exit reasons, plus what a Rust program adds.
//!
//! Made by the task that runs a child and by supervisors; read by the state
//! machine, by reports and by whoever looks at the tree. Decides nothing.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Pid;
use super::spec::ChildId;

/// Extra information that a start hands to whoever asked for it, never stored.
pub type Info = Arc<dyn Any + Send + Sync>;

/// Why a child ended, or why it could not start.
///
/// `Normal`, `Shutdown`, `ShutdownWith` and `FailedToStartChild` are clean
/// (OTP's `normal`, `shutdown` and `{shutdown, _}`); everything else counts as
/// a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum ExitReason {
    /// It had nothing more to do.
    Normal,
    /// It was asked to stop, or a supervisor gave up.
    Shutdown,
    /// A clean end that carries a word for the reader.
    ShutdownWith(String),
    /// A supervisor ended because this child could not start. Clean, because
    /// OTP wraps it as `{shutdown, {failed_to_start_child, Id, Reason}}`.
    FailedToStartChild {
        /// The child that did not start.
        id: ChildId,
        /// Why it did not.
        reason: Box<ExitReason>,
    },
    /// It was killed without being asked: `brutal_kill`, an overdue stop, or an operator.
    Killed,
    /// It ended itself with an error.
    Error(String),
    /// It panicked.
    Panic(Arc<PanicInfo>),
    /// A synchronous handler did not return; the child was left behind, not killed.
    Stuck(Arc<StuckInfo>),
    /// It shared an arbiter with a stuck child and was given up with it.
    Displaced {
        /// Path of the child that is stuck.
        by: Arc<str>,
    },
    /// Its task vanished: the arbiter stopped or the task was aborted.
    Lost(Cow<'static, str>),
    /// Its own start found the work already done by another incarnation.
    AlreadyStarted(Pid),
    /// A supervisor's init callback returned flags or specs that are not valid.
    BadSpec(String),
    /// The child or supervisor addressed does not exist.
    NoProc,
}

impl ExitReason {
    /// Whether OTP calls this end clean: a transient child is not restarted after it.
    pub fn is_clean(&self) -> bool {
        matches!(
            self,
            Self::Normal | Self::Shutdown | Self::ShutdownWith(_) | Self::FailedToStartChild { .. }
        )
    }

    /// An error reason from anything that can be shown.
    pub fn error(what: impl fmt::Display) -> Self {
        Self::Error(what.to_string())
    }

    /// The panic behind this reason, looking through failed starts.
    pub fn panic(&self) -> Option<&PanicInfo> {
        match self {
            Self::Panic(info) => Some(info),
            Self::FailedToStartChild { reason, .. } => reason.panic(),
            _ => None,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ShutdownWith(word) => write!(f, "shutdown: {word}"),
            Self::FailedToStartChild { id, reason } => {
                write!(f, "shutdown: failed to start child {id}: {reason}")
            }
            Self::Killed => f.write_str("killed"),
            Self::Error(what) => write!(f, "error: {what}"),
            Self::Panic(info) => write!(f, "panic: {info}"),
            Self::Stuck(info) => write!(f, "stuck: {info}"),
            Self::Displaced { by } => write!(f, "displaced: its arbiter is blocked by {by}"),
            Self::Lost(why) => write!(f, "lost: {why}"),
            Self::AlreadyStarted(pid) => write!(f, "already started as {pid}"),
            Self::BadSpec(what) => write!(f, "bad specification: {what}"),
            Self::NoProc => f.write_str("no such process"),
        }
    }
}

impl std::error::Error for ExitReason {}

/// Where a child was when it panicked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicInfo {
    /// The panic's message, or a note that its payload was no text.
    pub message: String,
    /// File, line and column, when the panic hook saw it.
    pub location: Option<String>,
    /// Type of the message in hand, or the phase (`init`, `started`, `terminate`, `drop`, `task`).
    pub message_type: Cow<'static, str>,
    /// A backtrace, if the tree takes them ([`super::TreeBuilder::backtraces`]): at most one a second.
    pub backtrace: Option<String>,
}

impl fmt::Display for PanicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.message, self.message_type)?;
        match &self.location {
            Some(location) => write!(f, " at {location}"),
            None => Ok(()),
        }
    }
}

/// What a stuck child was doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckInfo {
    /// Type of the message whose handler did not return, or the phase.
    pub message_type: Cow<'static, str>,
    /// For how long the handler had not returned when it was given up.
    pub blocked_for: Duration,
    /// Name of the thread that it still occupies.
    pub thread: String,
}

impl fmt::Display for StuckInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            message_type,
            blocked_for,
            thread,
        } = self;
        write!(
            f,
            "{message_type} has not returned for {blocked_for:?}; thread {thread:?} is lost to it"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_reasons_are_otps() {
        let failed = ExitReason::FailedToStartChild {
            id: "web".into(),
            reason: Box::new(ExitReason::Killed),
        };
        for clean in [
            ExitReason::Normal,
            ExitReason::Shutdown,
            ExitReason::ShutdownWith("x".into()),
            failed,
        ] {
            assert!(clean.is_clean(), "{clean}");
        }
        for crash in [
            ExitReason::Killed,
            ExitReason::error("x"),
            ExitReason::Lost("x".into()),
            ExitReason::NoProc,
        ] {
            assert!(!crash.is_clean(), "{crash}");
        }
    }

    #[test]
    fn a_reason_survives_json() {
        let reason = ExitReason::Panic(Arc::new(PanicInfo {
            message: "boom".into(),
            location: Some("a.rs:1:2".into()),
            message_type: "Ping".into(),
            backtrace: None,
        }));
        let text = serde_json::to_string(&reason).expect("reasons serialize");
        assert_eq!(
            serde_json::from_str::<ExitReason>(&text).expect("and come back"),
            reason
        );
    }
}
