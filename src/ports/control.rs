//! What the API asks of the control host.
//!
//! `web` calls this trait and nothing else; `actors::control` implements it over the actors, and
//! `drivers::memory` has a small in-memory form for the tests of `web`. Reads answer from state that
//! is kept for reading: they never wait for an actor.

use crate::domain::census::Census;
use crate::domain::crash::CrashReport;
use crate::domain::id::{AppName, CrashId, InstanceId, NodeName, OperationId, ProcName};
use crate::domain::view::{
    ActorView, AppView, AuditView, ChangeAnswer, DeployRequest, EventView, Finding, InputView,
    JoinTokenView, LogLineView, MovesView, NodeChange, NodeView, OperationView, Page, RevisionView,
    ScaleRequest, SinkView, SinksReloaded, VersionView, WhyView,
};
use crate::ports::log_index::LogsPort;
use crate::ports::log_intake::LogIntake;
use crate::ports::runtime::{ExecRequest, ExecSession, RuntimeError};
use crate::ports::store::StoreError;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use std::sync::Arc;

/// Why the control host refused or failed. `web` maps each to one HTTP status.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// 404.
    #[error("{kind} {name} does not exist{hint}")]
    NotFound {
        /// `app`, `proc`, `instance` …
        kind: &'static str,
        /// Its name.
        name: String,
        /// ` (did you mean hello?)` or empty.
        hint: String,
    },
    /// 422: the body is well formed, but what it says is wrong.
    #[error("{file} has {} problem(s)", problems.len())]
    Invalid {
        /// The file's name.
        file: String,
        /// Each problem.
        problems: Vec<Problem>,
    },
    /// 409: not in this state.
    #[error("{0}")]
    Conflict(String),
    /// 412: the caller's revision is stale.
    #[error(
        "app {app} was changed since it was read: its ETag is {current}, not {given}; read it again and repeat"
    )]
    Stale {
        /// The app.
        app: String,
        /// The number of the ETag given in `If-Match`.
        given: u64,
        /// That of the current one.
        current: u64,
    },
    /// 428: `If-Match` is missing.
    #[error(
        "app {0} exists: say by its ETag, in If-Match, which state of it is to be changed, or * for any"
    )]
    PreconditionRequired(String),
    /// 503: the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// 503 or 409: the engine failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// 503: shutting down, or not yet up.
    #[error("lain cannot do this now: {0}; repeat in a moment")]
    Unavailable(String),
    /// 500: a defect of lain.
    #[error("internal error: {0}; please report it with this text")]
    Internal(String),
}

/// What a control host that knows no other hosts answers.
fn one_host() -> ControlError {
    ControlError::Conflict("this control host has no nodes but itself".to_owned())
}

/// One problem of a body, with its place.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// Line of the file from 1, where there is one.
    pub line: Option<u32>,
    /// Column from 1.
    pub column: Option<u32>,
    /// Dotted key or JSON pointer, such as `proc.web.num_instances`.
    pub key: String,
    /// Stable snake_case word.
    pub code: String,
    /// What is wrong, what was expected, and the nearest right key.
    pub detail: String,
}

/// Who asks, for operations and audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's name.
    pub name: String,
    /// The address that the request came from.
    pub from: String,
}

/// What `If-Match` and `If-None-Match` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// `If-Match: *`.
    Any,
    /// `If-Match: "<etag>"`: its number.
    Revision(u64),
    /// `If-None-Match: *`: only if it does not exist.
    Absent,
}

/// Which instances a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The app.
    pub app: AppName,
    /// One proc; `None`: all.
    pub proc: Option<ProcName>,
    /// One instance; `None`: all.
    pub instance: Option<u32>,
}

/// Which crash reports are wanted; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashFilter {
    /// Of this app.
    pub app: Option<AppName>,
    /// Of this proc.
    pub proc: Option<ProcName>,
    /// Of this instance.
    pub instance: Option<u32>,
    /// At most this many.
    pub limit: usize,
    /// After this cursor.
    pub after: Option<String>,
}

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct LogsQuery {
    /// Whose.
    pub selector: Selector,
    /// At or after.
    pub since: Option<DateTime<Utc>>,
    /// Before.
    pub until: Option<DateTime<Utc>>,
    /// At most this many of the last lines of each instance.
    pub tail: Option<usize>,
    /// Go on as lines come, also over restarts and of new instances.
    pub follow: bool,
}

/// Which instances are to change their node; LAIN's drift.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftRequest {
    /// Those on this node.
    pub from: Option<NodeName>,
    /// To this node; `None`: wherever placement sees fit.
    pub to: Option<NodeName>,
    /// Those of this app.
    pub app: Option<AppName>,
    /// Those of this proc.
    pub proc: Option<ProcName>,
    /// This instance.
    pub instance: Option<u32>,
}

/// What an operator does to a child in the supervision tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildAction {
    /// Terminate it and start it again.
    Restart,
    /// Terminate it; it stays down until restarted.
    Terminate,
}

/// What an operator does to a sink of log events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkAction {
    /// Tell whether its receiver is there.
    Test,
    /// Send nothing until resumed.
    Pause,
    /// Go on at once.
    Resume,
    /// Go on at this instant; `None`: at the oldest event in the spool.
    Rewind(Option<DateTime<Utc>>),
    /// Go on with what comes next.
    Skip,
    /// Send again from this instant on; never skips anything.
    Resend(DateTime<Utc>),
}

/// Resumable events: those after `after` that are still known, then new ones.
pub enum EventStream {
    /// They follow.
    Events(BoxStream<'static, EventView>),
    /// `after` is too old: list again (HTTP 410).
    TooOld,
}

/// The control host.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Version, role, node.
    fn version(&self) -> VersionView;

    /// `Ok` when the store answers and the tree is up; else why not. For `/readyz`.
    async fn ready(&self) -> Result<(), ControlError>;

    /// All apps by name.
    async fn apps(&self) -> Result<Vec<AppView>, ControlError>;

    /// One app.
    async fn app(&self, app: &AppName) -> Result<AppView, ControlError>;

    /// Deploys or updates an app; `dry_run` only plans. Durable when it returns.
    async fn deploy(
        &self,
        app: &AppName,
        request: DeployRequest,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// Removes an app; `dry_run` only plans. Durable when it returns.
    async fn undeploy(
        &self,
        app: &AppName,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// Changes instances, CPU, memory or spares of one proc, all or nothing.
    async fn scale(
        &self,
        app: &AppName,
        proc: &ProcName,
        request: ScaleRequest,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// The last revisions of an app, newest first.
    async fn revisions(&self, app: &AppName) -> Result<Vec<RevisionView>, ControlError>;

    /// One revision of an app, with its file.
    async fn revision(&self, app: &AppName, revision: u64) -> Result<RevisionView, ControlError>;

    /// Goes back to an earlier revision (`None`: the newest good one that differs); `dry_run` only plans. Durable when
    /// it returns.
    async fn rollback(
        &self,
        app: &AppName,
        to: Option<u64>,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// Goes on with a change of which some instances were updated first. Durable when it returns.
    async fn promote(
        &self,
        app: &AppName,
        precondition: Precondition,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// Gives such a change up and restores what was there before; `dry_run` only plans. Durable when it returns.
    async fn abort(
        &self,
        app: &AppName,
        precondition: Precondition,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// Yields whenever the addresses at which apps answer may have changed.
    fn endpoint_changes(&self) -> BoxStream<'static, ()>;

    /// Restarts instances one after another.
    async fn restart(
        &self,
        selector: Selector,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// Stops instances until they are started again; survives a restart of lain.
    async fn stop(
        &self,
        selector: Selector,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// Starts what was stopped, or retries at once what is degraded or waits.
    async fn start(
        &self,
        selector: Selector,
        dry_run: bool,
        caller: Caller,
    ) -> Result<ChangeAnswer, ControlError>;

    /// Queries over log events; `None` where there is no index.
    fn log_port(&self) -> Option<LogsPort> {
        None
    }

    /// The output of instances, in order of time.
    async fn logs(
        &self,
        query: LogsQuery,
    ) -> Result<BoxStream<'static, Result<LogLineView, ControlError>>, ControlError>;

    /// Runs a command inside a running instance.
    async fn exec(
        &self,
        instance: &InstanceId,
        request: ExecRequest,
        caller: Caller,
    ) -> Result<ExecSession, ControlError>;

    /// Runs a one-off command in a new container made like an instance of this proc; removed when it ends.
    async fn run(
        &self,
        app: &AppName,
        proc: &ProcName,
        request: ExecRequest,
        caller: Caller,
    ) -> Result<ExecSession, ControlError>;

    /// Crash reports, newest first.
    async fn crashes(&self, filter: CrashFilter) -> Result<Page<CrashReport>, ControlError>;

    /// One crash report.
    async fn crash(&self, id: &CrashId) -> Result<CrashReport, ControlError>;

    /// The nodes.
    async fn nodes(&self) -> Result<Vec<NodeView>, ControlError>;

    /// A single-use token with which another host joins.
    async fn join_token(
        &self,
        lifetime: Option<std::time::Duration>,
        caller: Caller,
    ) -> Result<JoinTokenView, ControlError> {
        let _ = (lifetime, caller);
        Err(one_host())
    }

    /// Cordons, uncordons or labels a node.
    async fn change_node(
        &self,
        node: &NodeName,
        change: NodeChange,
        caller: Caller,
    ) -> Result<NodeView, ControlError> {
        let _ = (node, change, caller);
        Err(one_host())
    }

    /// Takes a node out of the cluster.
    async fn remove_node(
        &self,
        node: &NodeName,
        force: bool,
        caller: Caller,
    ) -> Result<(), ControlError> {
        let _ = (node, force, caller);
        Err(one_host())
    }

    /// Begins to move what runs on a node away, at most `unavailable` instances of a proc at a time.
    async fn drain(
        &self,
        node: &NodeName,
        unavailable: u32,
        caller: Caller,
    ) -> Result<MovesView, ControlError> {
        let _ = (node, unavailable, caller);
        Err(one_host())
    }

    /// How far moves are that were begun.
    async fn moves(&self, id: &str) -> Result<MovesView, ControlError> {
        let _ = id;
        Err(one_host())
    }

    /// Begins to move instances.
    async fn drift(
        &self,
        request: DriftRequest,
        caller: Caller,
    ) -> Result<MovesView, ControlError> {
        let _ = (request, caller);
        Err(one_host())
    }

    /// Why an instance is where it is, or nowhere.
    async fn why(&self, instance: &InstanceId) -> Result<WhyView, ControlError> {
        let _ = instance;
        Err(one_host())
    }

    /// Operations, newest first.
    async fn operations(
        &self,
        app: Option<AppName>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<OperationView>, ControlError>;

    /// One operation.
    async fn operation(&self, id: &OperationId) -> Result<OperationView, ControlError>;

    /// Cancels an operation that has not ended: what it did stays, the rest is not done.
    async fn cancel(&self, id: &OperationId, caller: Caller)
    -> Result<OperationView, ControlError>;

    /// The last events, oldest first, at most `limit`.
    fn recent_events(&self, limit: usize) -> Vec<EventView>;

    /// Events as they come. `after: None`: only new ones.
    fn events(&self, after: Option<u64>) -> EventStream;

    /// How many there are of what, for `/metrics`: cheap, however many there are.
    fn census(&self) -> Result<Census, ControlError>;

    /// The supervision tree below `path` (empty: the root), `depth` levels (`None`: all).
    fn tree(&self, path: &str, depth: Option<u32>) -> Result<ActorView, ControlError>;

    /// One actor with its detail, without children.
    async fn actor(&self, path: &str) -> Result<ActorView, ControlError>;

    /// Restarts or terminates one child of the tree, with audit.
    async fn act_on_child(
        &self,
        path: &str,
        action: ChildAction,
        caller: Caller,
    ) -> Result<ActorView, ControlError>;

    /// Changes made through the API, newest first.
    async fn audit(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<AuditView>, ControlError>;

    /// The sinks of log events on all nodes, by name and node.
    async fn sinks(&self) -> Result<Vec<SinkView>, ControlError>;

    /// The inputs of log events, by name.
    async fn inputs(&self) -> Result<Vec<InputView>, ControlError> {
        Ok(Vec::new())
    }

    /// Takes log events in; `None` where there is no spool for them.
    fn log_intake(&self) -> Option<Arc<dyn LogIntake>> {
        None
    }

    /// Acts on a sink, with audit; on all nodes that have it unless one is named. Returns it on each.
    async fn act_on_sink(
        &self,
        sink: &str,
        node: Option<NodeName>,
        action: SinkAction,
        caller: Caller,
    ) -> Result<Vec<SinkView>, ControlError>;

    /// Reads the configuration of the sinks again, with audit: here, and for all nodes.
    async fn reload_sinks(&self, caller: Caller) -> Result<SinksReloaded, ControlError>;

    /// Checks of this host: engine, kernel, disk, clock, ports.
    async fn doctor(&self) -> Result<Vec<Finding>, ControlError>;
}
