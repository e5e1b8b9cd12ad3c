//! How an instance ended, and the report that is kept of a crash.
//!
//! Plain data, made by the agent, stored and served by the control host.

use crate::domain::id::{CrashId, InstanceId, NodeName};
use crate::domain::node_state::escalate::FailureKind;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// How a container's process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    /// The exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// The signal that ended it, when one did.
    pub signal: Option<i32>,
    /// The kernel ended it for want of memory.
    pub oom_killed: bool,
    /// When it ended, by the engine's clock.
    pub at: Option<DateTime<Utc>>,
}

impl Exit {
    /// An exit by code alone, the signal derived from it as shells do (128 + n).
    pub fn from_code(code: i32, oom_killed: bool, at: Option<DateTime<Utc>>) -> Self {
        let signal = (code > 128 && code <= 128 + 64).then(|| code - 128);
        Self {
            code,
            signal,
            oom_killed,
            at,
        }
    }

    /// Exit code 0.
    pub fn is_clean(&self) -> bool {
        self.code == 0 && !self.oom_killed
    }
}

/// The usual name of a signal number on Linux.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    usize::try_from(signal)
        .ok()
        .and_then(|n| NAMES.get(n.checked_sub(1)?))
        .copied()
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.code)?;
        if let Some(name) = self.signal.and_then(signal_name) {
            write!(f, " ({name})")?;
        }
        if self.oom_killed {
            f.write_str(", out of memory")?;
        }
        Ok(())
    }
}

/// What a crash report blames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum CrashCause {
    /// The process ended by itself or by a signal.
    Exited {
        /// How.
        exit: Exit,
    },
    /// The kernel ended it for want of memory.
    OutOfMemory {
        /// How.
        exit: Exit,
    },
    /// Its health check failed too often in a row.
    Unhealthy {
        /// Failures in a row.
        failures: u32,
        /// What the last probe said.
        probe_output: String,
    },
    /// It could not be made or started.
    StartFailed {
        /// What the engine said.
        reason: String,
        /// Whose fault that may be.
        #[serde(default)]
        fault: FailureKind,
    },
    /// Its container vanished.
    Vanished,
}

impl CrashCause {
    /// Whose fault it may be.
    pub fn fault(&self) -> FailureKind {
        match self {
            CrashCause::StartFailed { fault, .. } => *fault,
            _ => FailureKind::Crashed,
        }
    }
}

impl fmt::Display for CrashCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CrashCause::Exited { exit } => exit.fmt(f),
            CrashCause::OutOfMemory { exit } => {
                write!(f, "killed by the kernel for want of memory ({exit})")
            }
            CrashCause::Unhealthy {
                failures,
                probe_output,
            } => {
                write!(
                    f,
                    "unhealthy after {failures} failed probes: {probe_output}"
                )
            }
            CrashCause::StartFailed { reason, .. } => write!(f, "could not start: {reason}"),
            CrashCause::Vanished => f.write_str("its container vanished"),
        }
    }
}

/// What is kept of one crash of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CrashReport {
    /// Its id; sorts by time.
    #[schema(value_type = String)]
    pub id: CrashId,
    /// When it was noticed.
    pub at: DateTime<Utc>,
    /// Which instance, `<app>.<type>.<proc>.i<no>`.
    #[schema(value_type = String)]
    #[serde(with = "instance_text")]
    pub instance: InstanceId,
    /// Where.
    #[schema(value_type = String)]
    pub node: NodeName,
    /// The actor's path in the supervision tree.
    pub path: String,
    /// LAIN's version of the spec that ran.
    pub version: u64,
    /// The container's name.
    pub container: String,
    /// Why.
    pub cause: CrashCause,
    /// How long it had run, in milliseconds.
    pub uptime_ms: u64,
    /// Crashes within the restart window, this one included.
    pub crashes_in_window: u32,
    /// What was done: restarted at once, restarted in 4s, promoted spare 3, given up …
    pub action: String,
    /// The last lines of output.
    pub last_lines: Vec<String>,
    /// The last outputs of the health probe, oldest first.
    pub probes: Vec<String>,
}

/// serde: an [`InstanceId`] as its text form.
pub mod instance_text {
    use crate::domain::id::InstanceId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the text form.
    pub fn serialize<S: Serializer>(id: &InstanceId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    /// Reads the text form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InstanceId, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
