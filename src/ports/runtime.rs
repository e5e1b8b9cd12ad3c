//! What lain asks of a container runtime.
//!
//! Three implementations, in `drivers`: Docker Engine, local processes, simulated. Called by the
//! agent's actors only. Every call may be cancelled by dropping its future; the caller then knows
//! nothing about its outcome and reconciles by [`Runtime::list`] and [`Runtime::inspect`].

use crate::domain::crash::Exit;
use crate::domain::id::{ContainerId, InstanceId};
use crate::domain::spec::model::Port;
use crate::domain::texts::Text;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::AsyncWrite;

/// Why a runtime call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// The engine does not answer at all.
    #[error("{engine} does not answer: {reason}; {remedy}")]
    Unreachable {
        /// Which engine, and where.
        engine: String,
        /// What the attempt said.
        reason: String,
        /// What to do next.
        remedy: String,
    },
    /// No such container.
    #[error("container {0} does not exist")]
    NoContainer(String),
    /// No such image, here or at its registry.
    #[error(
        "image {image} cannot be had: {reason}; check the name and tag, or load it with `docker load`"
    )]
    NoImage {
        /// The image as named.
        image: String,
        /// What the engine said.
        reason: String,
    },
    /// A host port that the container wants is taken.
    #[error("host port {port} is taken: {reason}")]
    PortTaken {
        /// The host port.
        port: u16,
        /// What the engine said.
        reason: String,
    },
    /// A container of that name exists already.
    #[error("a container named {0} exists already")]
    NameTaken(String),
    /// The disk is full.
    #[error(
        "no space left on the device: {0}; free space, for instance with `docker system prune`"
    )]
    DiskFull(String),
    /// The engine refused the request, which will not get better by repeating it.
    #[error("the engine refused to {action}: {reason}")]
    Refused {
        /// What was asked.
        action: String,
        /// What the engine said.
        reason: String,
    },
    /// Anything else; may get better by itself.
    #[error("failed to {action}: {reason}")]
    Failed {
        /// What was asked.
        action: String,
        /// What went wrong.
        reason: String,
    },
    /// This runtime cannot do that at all.
    #[error("the {runtime} runtime cannot {action}")]
    Unsupported {
        /// Which runtime.
        runtime: &'static str,
        /// What was asked.
        action: &'static str,
    },
}

/// Which runtime this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// Docker Engine.
    Docker,
    /// Local processes; not for production.
    Process,
    /// Simulated, in virtual time.
    Simulated,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// Which runtime.
    pub kind: RuntimeKind,
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// Where it is reached, such as `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// CPUs of the node.
    pub cpus: u32,
    /// Memory of the node in bytes.
    pub memory: u64,
    /// Whether idle containers can be frozen (cgroup freezer).
    pub can_pause: bool,
    /// What an operator should know, such as "no memory limit support".
    pub warnings: Vec<String>,
}

/// Everything that a container is made from. Shown without the environment's values: they may be secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Docker's container name, LAIN's form `<group>.v<version>-i<no>-d<drift>`.
    pub name: String,
    /// The image; must exist locally (see [`Runtime::ensure_image`]).
    pub image: String,
    /// Docker's entrypoint; `None` leaves the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Docker's command; `None` leaves the image's.
    pub cmd: Option<Vec<String>>,
    /// `K=V` pairs, in order.
    pub env: Vec<(Text, Text)>,
    /// Labels.
    pub labels: BTreeMap<Text, Text>,
    /// Docker's user; empty leaves the image's.
    pub user: String,
    /// Docker's working directory; empty leaves the image's.
    pub workdir: String,
    /// Host name in the container.
    pub hostname: String,
    /// Limits.
    pub resources: Resources,
    /// Ports published on the host.
    pub ports: Vec<PublishedPort>,
    /// Directories of the host mounted into the container; created when absent.
    pub mounts: Vec<Mount>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// From SIGTERM to SIGKILL.
    pub kill_timeout: Duration,
}

impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSpec")
            .field("name", &self.name)
            .field("image", &self.image)
            .field("entrypoint", &self.entrypoint)
            .field("cmd", &self.cmd)
            .field("env", &names(&self.env))
            .field("labels", &self.labels)
            .field("resources", &self.resources)
            .field("ports", &self.ports)
            .field("mounts", &self.mounts)
            .finish_non_exhaustive()
    }
}

/// The names of environment variables, without their values.
fn names<T: AsRef<str>>(env: &[(T, T)]) -> Vec<&str> {
    env.iter().map(|(name, _)| name.as_ref()).collect()
}

/// CPU and memory limits; changeable in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU quota in thousandths of one CPU; 0 is no limit.
    pub cpu_millis: u32,
    /// Memory limit in bytes, swap not allowed; 0 is no limit.
    pub memory: u64,
}

/// A container port published on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The port in the container.
    pub container: Port,
    /// The address on the host.
    pub host_ip: std::net::IpAddr,
    /// The port on the host.
    pub host_port: u16,
}

/// A directory of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Refuse writes.
    pub read_only: bool,
}

/// What the engine says of one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// The engine's id.
    pub id: ContainerId,
    /// Its name, without a leading slash.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// The pid of its first process as this host sees it, while it runs.
    pub pid: Option<u32>,
    /// When it was last started.
    pub started_at: Option<DateTime<Utc>>,
    /// Its address in the engine's network, while it runs.
    pub ip: Option<std::net::IpAddr>,
    /// Its image, as named at creation.
    pub image: String,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running,
    /// Its process is frozen.
    Paused,
    /// Its process has ended.
    Exited(Exit),
}

/// A container that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The pid of its first process as this host sees it; `None` for a remote engine.
    pub pid: Option<u32>,
    /// Its address in the engine's network.
    pub ip: Option<std::net::IpAddr>,
    /// When it was started, by the engine's clock.
    pub at: DateTime<Utc>,
}

/// Something that the engine reports by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineEvent {
    /// A container's process ended.
    Died {
        /// Which.
        id: ContainerId,
    },
    /// A container was started, paused, unpaused or removed, perhaps by somebody else.
    Changed {
        /// Which.
        id: ContainerId,
        /// The engine's word, such as `pause` or `destroy`.
        action: String,
    },
    /// The stream was cut and is back: what happened meanwhile is unknown, look again.
    Resynchronise,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLine {
    /// When the engine took it.
    pub at: DateTime<Utc>,
    /// Which stream.
    pub stream: OutputStream,
    /// The line without its newline; bytes that are no UTF-8 are replaced.
    pub line: String,
}

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogsRequest {
    /// Only what is at or after this instant.
    pub since: Option<DateTime<Utc>>,
    /// Only what is before this instant.
    pub until: Option<DateTime<Utc>>,
    /// At most this many of the last lines; `None`: all.
    pub tail: Option<usize>,
    /// Go on as lines come.
    pub follow: bool,
}

/// How an engine writes a container's output to a file that this host can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Docker's `json-file`: one object a line with `log`, `stream` and `time`.
    DockerJson,
    /// The process runtime's: `<instant> <O|E> <place> <line>`.
    Process,
}

/// Where the output of a container comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct LogOrigin {
    /// When the container was made.
    pub created_at: Option<DateTime<Utc>>,
    /// Its image, as named at creation.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The file that the engine writes to, where this host can read it; rotated files have `.1`, `.2` … added.
    /// `None`: [`Runtime::logs`] is the only way.
    pub file: Option<(std::path::PathBuf, LogFormat)>,
}

/// A command to run inside a container. Shown without the environment's values: they may be secrets.
#[derive(Clone, PartialEq)]
pub struct ExecRequest {
    /// The words of the command.
    pub command: Vec<String>,
    /// Extra environment.
    pub env: Vec<(String, String)>,
    /// Attach standard input.
    pub stdin: bool,
    /// Give it a terminal of this size (columns, rows).
    pub tty: Option<(u16, u16)>,
}

impl fmt::Debug for ExecRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecRequest")
            .field("command", &self.command)
            .field("env", &names(&self.env))
            .field("stdin", &self.stdin)
            .field("tty", &self.tty)
            .finish()
    }
}

/// A command running inside a container.
pub struct ExecSession {
    /// Its standard input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// Its output as it comes.
    pub output: BoxStream<'static, Result<(OutputStream, Vec<u8>), RuntimeError>>,
    /// Changes the terminal's size and tells the exit code.
    pub control: Box<dyn ExecControl>,
}

/// The side channel of an [`ExecSession`].
#[async_trait]
pub trait ExecControl: Send + Sync {
    /// Sets the terminal's size (columns, rows).
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), RuntimeError>;
    /// The exit code, once the output has ended.
    async fn exit_code(&self) -> Result<i32, RuntimeError>;
}

/// A step of a pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullProgress {
    /// What the engine says, such as `Downloading`.
    pub status: String,
    /// Which layer.
    pub layer: Option<String>,
    /// Bytes done.
    pub current: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
}

/// Told of each step of a pull.
pub type PullObserver = Box<dyn Fn(PullProgress) + Send + Sync>;

/// A container runtime. The label [`crate::domain::labels::OWNER`] marks what belongs to one lain.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Which runtime this is; never fails.
    fn kind(&self) -> RuntimeKind;

    /// Asks the engine who it is; doubles as its health check.
    async fn info(&self) -> Result<EngineInfo, RuntimeError>;

    /// Makes sure that the image is there, pulling it if it is not.
    async fn ensure_image(&self, image: &str, progress: PullObserver) -> Result<(), RuntimeError>;

    /// Makes a container without starting it.
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError>;

    /// Starts a container that was made or has ended. One that runs already is no error.
    ///
    /// Called at once after a death was noticed by pidfd, this waits until the engine itself has
    /// noticed, then starts again: it never takes the engine's stale "running" for an answer.
    async fn start(&self, id: &ContainerId) -> Result<Started, RuntimeError>;

    /// SIGTERM, then SIGKILL after `kill_timeout`; returns once it has ended. One that has ended is no error.
    async fn stop(&self, id: &ContainerId, kill_timeout: Duration) -> Result<Exit, RuntimeError>;

    /// Sends a signal by name, such as `SIGKILL`.
    async fn signal(&self, id: &ContainerId, signal: &str) -> Result<(), RuntimeError>;

    /// Freezes all processes.
    async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Thaws all processes.
    async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Ends it if it runs, then removes it. One that is gone is no error.
    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Changes CPU and memory without a restart.
    async fn update(&self, id: &ContainerId, resources: Resources) -> Result<(), RuntimeError>;

    /// What the engine says of one container.
    async fn inspect(&self, id: &ContainerId) -> Result<ContainerStatus, RuntimeError>;

    /// All containers whose labels contain all of `labels`, running or not.
    async fn list(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerStatus>, RuntimeError>;

    /// Resolves when the process of a running container has ended, as early as this runtime can know:
    /// by pidfd (about 1 ms) where `pid` can be seen here, else by the engine. Says only *that* it
    /// ended; [`Runtime::exit_of`] says how. Resolves at once when it does not run.
    async fn ended(&self, id: &ContainerId, pid: Option<u32>) -> Result<(), RuntimeError>;

    /// How the last run of a container ended; waits until the engine knows it.
    async fn exit_of(&self, id: &ContainerId) -> Result<Exit, RuntimeError>;

    /// The engine's events for containers with these labels; reconnects for ever.
    fn events(&self, labels: BTreeMap<String, String>) -> BoxStream<'static, EngineEvent>;

    /// Output of a container.
    fn logs(
        &self,
        id: &ContainerId,
        request: LogsRequest,
    ) -> BoxStream<'static, Result<OutputLine, RuntimeError>>;

    /// Where the output of a container comes from. Reading the engine's file costs it nothing, where
    /// [`Runtime::logs`] costs Docker a multiple of what it costs us.
    async fn log_origin(&self, id: &ContainerId) -> Result<LogOrigin, RuntimeError> {
        let status = self.inspect(id).await?;
        Ok(LogOrigin {
            created_at: status.started_at,
            image: status.image,
            labels: status.labels,
            file: None,
        })
    }

    /// Makes a container from `spec`, but with the command of `request`, starts it attached, and removes
    /// it when it has ended.
    async fn run(
        &self,
        spec: &ContainerSpec,
        request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError> {
        let _ = (spec, request);
        Err(RuntimeError::Unsupported {
            runtime: "this",
            action: "run one-off containers",
        })
    }

    /// Runs a command inside a running container.
    async fn exec(
        &self,
        id: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecSession, RuntimeError>;
}

/// What identifies a container as an instance's, read back from its labels after a restart of lain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Which instance.
    pub instance: InstanceId,
    /// LAIN's version: counts changes of the spec.
    pub version: u64,
    /// LAIN's drift count: counts re-placements.
    pub drift: u64,
    /// The hash of what the container was made from.
    pub spec_hash: String,
}
