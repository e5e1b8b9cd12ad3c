//! What agent and control host say to each other.
//!
//! A field that is missing has its default, one that is unknown is passed over, and a kind of message that
//! is unknown is skipped: so ends that are one minor version apart understand each other. [`PROTOCOL`]
//! changes when that would not do.

use crate::domain::crash::CrashReport;
use crate::domain::id::{ContainerId, InstanceId, NodeName};
use crate::domain::node_state::probe::Report;
use crate::domain::view::{ActorView, EventView, InstanceRole, SinkView};
use crate::ports::agent::{CellReport, Desired, NodeFacts};
use crate::ports::control::SinkAction;
use crate::ports::runtime::{ContainerSpec, LogsRequest, OutputLine, OutputStream};
use serde::{Deserialize, Serialize};

/// The protocol that this build speaks.
pub const PROTOCOL: u32 = 1;
/// The oldest protocol that this build understands.
pub const PROTOCOL_MIN: u32 = 1;

/// The protocol that both ends speak: the newest that neither end finds too new or too old.
///
/// # Errors
/// A sentence for the operator, saying which end is to be brought up to date.
pub fn negotiate(theirs: (u32, u32), their_version: &str) -> Result<u32, String> {
    let (oldest, newest) = theirs;
    let common = newest.min(PROTOCOL);
    if common >= oldest && common >= PROTOCOL_MIN {
        return Ok(common);
    }
    let (who, what) = if newest < PROTOCOL_MIN {
        ("the agent", "bring the agent up to date")
    } else {
        (
            "the control host",
            "bring the control host up to date first",
        )
    };
    Err(format!(
        "{who} is too old: the agent is lain {their_version} and speaks link protocols {oldest} to {newest}, this control host {PROTOCOL_MIN} to {PROTOCOL}; {what}"
    ))
}

/// One thing to be kept by the control host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// A crash report.
    Crash(Box<CrashReport>),
    /// An instance's role changed by promotion.
    Role(
        #[serde(with = "crate::domain::crash::instance_text")] InstanceId,
        InstanceRole,
    ),
    /// An instance was restarted in place.
    Restarted(#[serde(with = "crate::domain::crash::instance_text")] InstanceId),
}

/// What an agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ToControl {
    /// First of all, without a certificate: let me join.
    Join {
        /// The single-use token.
        token: String,
        /// The name that the node wants.
        node: NodeName,
        /// A certificate signing request, PEM.
        csr: String,
    },
    /// First of all, with a certificate: here I am.
    Hello {
        /// Oldest and newest protocol.
        protocol: (u32, u32),
        /// Its name.
        node: NodeName,
        /// Made anew at each start of the agent.
        boot: String,
        /// What it is.
        facts: Box<NodeFacts>,
    },
    /// Still here. Sent at the interval that the welcome says.
    Beat {
        /// Counts up.
        seq: u64,
    },
    /// What it is has changed.
    Facts(Box<NodeFacts>),
    /// How it is has changed.
    Health(Report),
    /// What it sees of containers.
    Report {
        /// The revision of the assignments that it has taken up.
        revision: u64,
        /// Changed containers, or all.
        cells: Vec<CellReport>,
        /// Containers that it does not have any more.
        gone: Vec<String>,
        /// All containers are in `cells`.
        full: bool,
    },
    /// What is to be kept; repeated until acknowledged.
    Keep {
        /// The number of the first one; they count up from 1 at each boot.
        first: u64,
        /// In order.
        records: Vec<Kept>,
    },
    /// What happened.
    Events {
        /// In order.
        events: Vec<EventView>,
    },
    /// Its supervision tree as it is now.
    Tree(Box<ActorView>),
    /// An answer, or a part of one.
    Reply {
        /// To which request.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// Its sinks of log events, where they changed.
    Sinks {
        /// All of them.
        sinks: Vec<SinkView>,
    },
    /// Log events for the index: answered by [`ToAgent::Appended`].
    Append {
        /// Names the batch.
        id: u64,
        /// In order.
        events: Vec<FarEvent>,
    },
    /// Its certificate ends soon: a new one for this key.
    Renew {
        /// A certificate signing request, PEM.
        csr: String,
    },
    /// First of all, from a standby: what follows is a caller of the API, handed on.
    HandOn,
    /// It stops in good order and will be back; its containers run on.
    Goodbye,
    /// A kind of message that this build does not know.
    #[serde(other)]
    Unknown,
}

/// What the control host says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ToAgent {
    /// Taken in: a certificate.
    Joined {
        /// The node's certificate, PEM.
        certificate: String,
        /// The authority's certificate, PEM.
        authority: String,
        /// The installation's id, on the label `lain.owner`.
        owner: String,
    },
    /// Not taken in, or not any more.
    Refused {
        /// Why, and what to do.
        reason: String,
        /// Trying again will not help.
        forever: bool,
    },
    /// Taken as this node's link.
    Welcome {
        /// The protocol that is spoken.
        protocol: u32,
        /// The installation's id, on the label `lain.owner`.
        owner: String,
        /// How often the agent says that it is there, in milliseconds.
        beat_ms: u64,
        /// How long after its last answered beat it begins to stop what may run only once, in milliseconds.
        fence_ms: u64,
    },
    /// The caller who is handed on may speak.
    HandedOn,
    /// Heard.
    BeatHeard {
        /// Which beat.
        seq: u64,
        /// The control host's time of day, in milliseconds since 1970.
        #[serde(default)]
        utc_ms: Option<i64>,
    },
    /// All that is to be on this node.
    Assign {
        /// Counts up; an older one than was taken up is passed over.
        revision: u64,
        /// The containers: all, or those that changed since `base`.
        put: Vec<Desired>,
        /// Containers that are not wanted any more since `base`.
        gone: Vec<String>,
        /// `None`: `put` is all. Else what changed since this revision.
        base: Option<u64>,
        /// Containers to leave as they are although `put` does not name them: it is not settled yet.
        #[serde(default)]
        keep: Vec<String>,
    },
    /// Kept, up to this number.
    KeptUpTo(Number),
    /// A request.
    Ask {
        /// Names it; answers carry it.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// More input for a request.
    Input {
        /// Which request.
        id: u64,
        /// What.
        input: Input,
    },
    /// The asker does not wait any more.
    Cancel {
        /// Which request.
        id: u64,
    },
    /// Where log events go.
    Logging {
        /// The sinks and what belongs to them.
        routing: Routing,
    },
    /// A batch of log events is durable in the index, or is not.
    Appended {
        /// Which batch.
        id: u64,
        /// New ones.
        added: usize,
        /// Those that were there already.
        duplicates: usize,
        /// Those that can never be indexed: id and reason.
        refused: Vec<(String, String)>,
        /// Why nothing of it was kept; it may be repeated.
        failed: Option<String>,
    },
    /// A new certificate.
    Renewed {
        /// PEM.
        certificate: String,
    },
    /// A kind of message that this build does not know.
    #[serde(other)]
    Unknown,
}

/// Where log events go, as only the log pipeline reads it. Not shown: it has passwords in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Routing(pub String);

impl std::fmt::Debug for Routing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(crate::domain::secret::MASK)
    }
}

/// A log event for the control host's index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FarEvent {
    /// Its id.
    pub id: String,
    /// When it happened.
    pub at: chrono::DateTime<chrono::Utc>,
    /// The event: one JSON object.
    pub json: String,
}

/// A number in a message of its own.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Number {
    /// The number.
    pub n: u64,
}

/// What the control host asks of a node, besides its assignments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Output of a container: [`Reply::Line`]s, then [`Reply::End`].
    Logs {
        /// Which.
        container: ContainerId,
        /// Which lines.
        request: LogsRequest,
    },
    /// A command in a container: [`Reply::Output`]s, [`Reply::Exit`].
    Exec {
        /// Which.
        container: ContainerId,
        /// The command.
        command: Command,
    },
    /// A one-off container: as [`Request::Exec`].
    RunOnce {
        /// What it is made from.
        spec: Box<ContainerSpec>,
        /// The command.
        command: Command,
    },
    /// An operator restarts or terminates an actor: [`Reply::Actor`].
    Act {
        /// Its path.
        path: String,
        /// Restart rather than terminate.
        restart: bool,
    },
    /// One actor in detail: [`Reply::Actor`].
    Actor {
        /// Its path.
        path: String,
    },
    /// An operator acts on a sink: [`Reply::Sink`].
    Sink {
        /// Its name.
        sink: String,
        /// What is done.
        action: SinkAction,
    },
}

/// A command to run. Its environment's values are not shown: they may be secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its words.
    pub words: Vec<String>,
    /// Extra environment.
    pub env: Vec<(String, String)>,
    /// Attach standard input.
    pub stdin: bool,
    /// Give it a terminal of this size (columns, rows).
    pub tty: Option<(u16, u16)>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command")
            .field("words", &self.words)
            .field("stdin", &self.stdin)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

/// More input for a command that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// For its standard input, in base 64.
    Bytes(String),
    /// Its standard input ends.
    Eof,
    /// The terminal's size (columns, rows).
    Resize(u16, u16),
}

/// An answer of a node, or a part of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A line of output.
    Line(OutputLine),
    /// A command has begun.
    Begun,
    /// Bytes of a command's output, in base 64.
    Output(OutputStream, String),
    /// A command's exit code. The last part.
    Exit(i32),
    /// An actor. The last part.
    Actor(Box<ActorView>),
    /// A sink. The last part.
    Sink(Box<SinkView>),
    /// There is no more. The last part.
    End,
    /// It failed. The last part.
    Failed(Failure),
}

/// Why a node could not do what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind, so that the API answers as it would for a local node.
    pub kind: FailureKind,
    /// In a sentence.
    pub reason: String,
}

/// Kinds of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// There is no such thing.
    NotFound,
    /// It cannot be done as things are.
    Conflict,
    /// The engine does not answer.
    Unreachable,
    /// Anything else.
    Failed,
}

impl Reply {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Reply::Exit(_) | Reply::Actor(_) | Reply::Sink(_) | Reply::End | Reply::Failed(_)
        )
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
