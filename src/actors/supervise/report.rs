//! Error and progress reports (section 4), and their two formats.
//!
//! Made by a supervisor's shell from the facts of the state machine; given to
//! observers and to the log. Never holds start arguments, which may be secret.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Pid;
use super::reason::ExitReason;
use super::spec::{ChildId, ChildType, Restart, Shutdown};

/// What an error report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// A child ended: any exit of a permanent one, an abnormal one of others.
    ChildTerminated,
    /// A child could not start.
    StartError,
    /// A child did not stop as it should.
    ShutdownError,
    /// The restart budget is spent.
    Shutdown,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChildTerminated => "child_terminated",
            Self::StartError => "start_error",
            Self::ShutdownError => "shutdown_error",
            Self::Shutdown => "shutdown",
        })
    }
}

/// Which process a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Who {
    /// This one.
    Pid(Pid),
    /// None: a restart is pending.
    Restarting,
    /// None.
    Undefined,
    /// That many instances of a template.
    Count(usize),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "{pid}"),
            Self::Restarting => f.write_str("restarting"),
            Self::Undefined => f.write_str("undefined"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// The child that a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offender {
    /// Its process, or the number of them.
    pub who: Who,
    /// Its id.
    pub id: ChildId,
    /// What starts it: a type or function name, never its arguments.
    pub start: Cow<'static, str>,
    /// When it is restarted.
    pub restart: Restart,
    /// Whether it is significant.
    pub significant: bool,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// Worker or supervisor.
    pub child_type: ChildType,
}

/// An error report of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Path of the supervisor.
    pub supervisor: Arc<str>,
    /// What went wrong.
    pub context: Context,
    /// Why.
    pub reason: ExitReason,
    /// The child.
    pub offender: Offender,
}

/// An info-level report: a child has started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Path of the supervisor.
    pub supervisor: Arc<str>,
    /// The child.
    pub started: Offender,
}

/// Limits on how much of a big reason is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest text of one field, in characters.
    pub field: usize,
    /// How many failed starts inside each other are shown.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            field: 4_096,
            depth: 16,
        }
    }
}

impl Report {
    /// The report over several lines, one field each.
    pub fn format(&self, limits: Limits) -> String {
        let Self {
            supervisor,
            context,
            reason,
            offender,
        } = self;
        let Offender {
            who,
            id,
            start,
            restart,
            significant,
            shutdown,
            child_type,
        } = offender;
        let label = who_label(*who);
        [
            format!("    supervisor: {supervisor}"),
            format!("    errorContext: {context}"),
            format!(
                "    reason: {}",
                cut(&shown(reason, limits.depth), limits.field)
            ),
            format!("    offender: {label}: {who}"),
            format!("              id: {}", cut(id.as_str(), limits.field)),
            format!("              start: {}", cut(start, limits.field)),
            format!("              restart: {restart:?}"),
            format!("              significant: {significant}"),
            format!("              shutdown: {shutdown:?}"),
            format!("              type: {child_type:?}"),
        ]
        .join("\n")
    }

    /// The report in one line: supervisor, context, reason, id and pid.
    pub fn one_line(&self, limits: Limits) -> String {
        let Self {
            supervisor,
            context,
            reason,
            offender: Offender { who, id, .. },
        } = self;
        let reason = cut(
            &shown(reason, limits.depth).replace('\n', " "),
            limits.field,
        );
        let id = cut(id.as_str(), limits.field);
        format!(
            "supervisor: {supervisor}, errorContext: {context}, reason: {reason}, offender: {id} {}: {who}",
            who_label(*who)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one_line(Limits::default()))
    }
}

fn who_label(who: Who) -> &'static str {
    match who {
        Who::Count(_) => "nb_children",
        _ => "pid",
    }
}

fn shown(reason: &ExitReason, depth: usize) -> String {
    match reason {
        ExitReason::FailedToStartChild { id, .. } if depth == 0 => {
            format!("shutdown: failed to start child {id}: ...")
        }
        ExitReason::FailedToStartChild { id, reason } => {
            format!(
                "shutdown: failed to start child {id}: {}",
                shown(reason, depth - 1)
            )
        }
        other => other.to_string(),
    }
}

/// `text` within `limit` characters, marked when something was cut off.
fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
