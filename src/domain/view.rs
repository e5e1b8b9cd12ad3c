//! What the API serves and the CLI shows: plain serialisable views, the JSON contract of `/api/v1`.
//!
//! Made by the control actors, sent by `web`, read by `cli`. Version 1 of the API only grows: fields
//! may be added here, never renamed or removed.

use crate::domain::crash::CrashReport;
use crate::domain::spec::model::{Port, ProcSpec};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// A page of a list. `next` is passed as `after` to get the following page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items of this page, in a stable order.
    pub items: Vec<T>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An app as it is wanted and as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppView {
    /// Its name.
    pub name: String,
    /// `app` or `resource`.
    pub apptype: String,
    /// Counts the changes of what is wanted of it, from 1.
    pub revision: u64,
    /// The number in its `ETag`, which `If-Match` of a change names: another one after each change of what is wanted.
    #[serde(default)]
    pub etag: u64,
    /// The deployed meta version, where one was given.
    pub meta_version: Option<String>,
    /// What it is doing.
    pub state: AppState,
    /// Why, in a sentence, where `state` is not `running`.
    pub reason: Option<String>,
    /// When it was first deployed.
    pub created_at: DateTime<Utc>,
    /// When its desired state last changed.
    pub updated_at: DateTime<Utc>,
    /// The operation in progress, if any.
    pub operation: Option<String>,
    /// Where its web procs answer, such as `http://127.0.0.1:20001`.
    pub urls: Vec<String>,
    /// OTP's strategy among its procs: `one_for_one`, `one_for_all` or `rest_for_one`.
    pub strategy: String,
    /// The canary in progress.
    #[serde(default)]
    pub canary: Option<CanaryView>,
    /// Its procs, in the order of the file.
    pub procs: Vec<ProcView>,
}

/// What an app or proc is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// A rollout is in progress.
    Deploying,
    /// Everything wanted runs and is healthy, or has ended well; a cron proc at rest included.
    Running,
    /// All of it has ended well, and nothing of it is to run again: a oneshot proc that is done.
    Done,
    /// Something wanted is not running, and lain is at work on it.
    Recovering,
    /// A proc keeps failing and is retried slowly.
    Degraded,
    /// Stopped by an operator.
    Stopped,
    /// Being removed.
    Removing,
}

/// A proc as it is wanted and as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcView {
    /// `<type>.<name>`.
    pub full_name: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub proc_type: String,
    /// What it is doing.
    pub state: AppState,
    /// Why, in a sentence, where `state` is not `running`.
    pub reason: Option<String>,
    /// Instances wanted.
    pub wanted: u32,
    /// Active instances that run and are healthy, or have ended well. `cron`: the runs in progress.
    pub ready: u32,
    /// Those of them that have ended well.
    #[serde(default)]
    pub done: u32,
    /// Spares wanted.
    pub spares_wanted: u32,
    /// Spares ready for promotion.
    pub spares_ready: u32,
    /// LAIN's version: counts changes of the spec.
    pub version: u64,
    /// The image that it runs.
    pub image: String,
    /// Crashes since it was deployed.
    pub crashes: u64,
    /// `cron`: when it runs next.
    pub next_run: Option<DateTime<Utc>>,
    /// `cron` and `oneshot`: the last runs, newest first, at most ten.
    pub runs: Vec<RunView>,
    /// What the file says where an operator's scale differs from it, such as `num_instances: 3 in lain.yaml`.
    pub overrides: Vec<String>,
    /// Its spec.
    pub spec: ProcSpec,
    /// Its instances.
    pub instances: Vec<InstanceView>,
}

/// One run of a `cron` or `oneshot` proc.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// When it started, or was due if it was skipped.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// `running`, `succeeded`, `failed` or `skipped`.
    pub result: String,
    /// The exit code, or why it was skipped.
    pub detail: Option<String>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// `<app>.<type>.<proc>.i<no>`.
    pub id: String,
    /// The instance number, from 1.
    pub no: u32,
    /// What it is doing.
    pub state: InstanceState,
    /// Why it does not run, in a sentence.
    pub reason: Option<String>,
    /// `none`, `starting`, `healthy` or `unhealthy`.
    pub health: String,
    /// What it is for.
    pub role: InstanceRole,
    /// It was updated first, and is watched: see the app's `canary`.
    #[serde(default)]
    pub canary: bool,
    /// The node that it is on.
    pub node: String,
    /// The container's name.
    pub container: Option<String>,
    /// The engine's id of the container.
    pub container_id: Option<String>,
    /// LAIN's version of the spec that it runs.
    pub version: u64,
    /// Its address in the engine's network.
    pub ip: Option<String>,
    /// Where its ports are published on the host.
    pub endpoints: Vec<Endpoint>,
    /// When the container was last started.
    pub started_at: Option<DateTime<Utc>>,
    /// Restarts in all, since lain first ran it.
    pub restarts: u64,
    /// When the next restart is due, while it waits for one.
    pub restart_at: Option<DateTime<Utc>>,
    /// How it ended, once it has.
    pub last_exit: Option<String>,
    /// Its newest crash report.
    pub last_crash: Option<String>,
    /// The path of its actor in the tree.
    pub path: String,
}

/// A port of an instance, published on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// The port in the container.
    pub port: Port,
    /// `address:port` on the host.
    pub address: String,
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Waiting for something: its turn, its image, the engine.
    Pending,
    /// Its container is being made or started, or is not healthy yet.
    Starting,
    /// It runs, and is healthy where health is checked.
    Running,
    /// A spare that is healthy and idle.
    Idle,
    /// It crashed and waits for its next restart.
    Backoff,
    /// Its node gave up; retried slowly.
    Degraded,
    /// It is being stopped.
    Stopping,
    /// It was stopped by an operator.
    Stopped,
    /// It ended well and is not to run again (oneshot, cron, or a restart type other than permanent).
    Done,
    /// It ended otherwise, and is not to run again by itself.
    Failed,
}

/// What an instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceRole {
    /// It does the work.
    Active,
    /// It stands by.
    Spare,
}

/// The body of a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The text of the `lain.yaml`.
    pub lain_yaml: String,
    /// Its name, for errors.
    #[serde(default = "default_file_name")]
    pub file_name: String,
    /// The meta version (`<unix seconds>-<commit>`); picks the app's release image.
    #[serde(default)]
    pub meta_version: Option<String>,
    /// The image for procs that name none, instead of the release image of `meta_version`.
    #[serde(default)]
    pub image: Option<String>,
    /// Instances of each web and worker proc that are updated first and watched, until the change is promoted or
    /// aborted; instead of what the file says with `update.canary`. 0: all are updated at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<u32>,
}

fn default_file_name() -> String {
    "lain.yaml".to_owned()
}

/// The body of a rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The revision to go back to; absent: the newest that was rolled out to its end and differs from what is wanted.
    #[serde(default)]
    pub to: Option<u64>,
}

/// One revision of an app: a release that was deployed, or gone back to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevisionView {
    /// Its number: that of the app's `revision` when it was accepted. Scaling and commands take numbers too, so that
    /// those of releases have gaps.
    pub revision: u64,
    /// What became of it.
    pub outcome: RevisionOutcome,
    /// It is what is wanted now.
    pub current: bool,
    /// `deploy`, `rollback` or `abort`.
    pub kind: String,
    /// Who asked for it; `lain` where it went back by itself.
    pub by: String,
    /// When it was accepted.
    pub at: DateTime<Utc>,
    /// When its operation ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The operation that rolled it out.
    pub operation: String,
    /// Why it ended so, where it did not end well.
    pub reason: Option<String>,
    /// The revision that it goes back to.
    pub back_to: Option<u64>,
    /// Its meta version, where one was given.
    pub meta_version: Option<String>,
    /// The image of each proc by full name.
    pub images: BTreeMap<String, String>,
    /// Its file; only where a single revision is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lain_yaml: Option<String>,
}

/// What became of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevisionOutcome {
    /// It is being rolled out.
    Deploying,
    /// It was rolled out to its end.
    Deployed,
    /// It failed, and nothing was put back.
    Failed,
    /// It failed, or was given up, and the last good release was put back.
    RolledBack,
    /// It was a canary, and was given up.
    Aborted,
    /// An operator cancelled it, or a newer change took its place.
    Cancelled,
}

impl RevisionOutcome {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            RevisionOutcome::Deploying => "deploying",
            RevisionOutcome::Deployed => "deployed",
            RevisionOutcome::Failed => "failed",
            RevisionOutcome::RolledBack => "rolled back",
            RevisionOutcome::Aborted => "aborted",
            RevisionOutcome::Cancelled => "cancelled",
        }
    }
}

/// A canary in progress: some instances run the new version and are watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CanaryView {
    /// The revision that is tried.
    pub revision: u64,
    /// The revision that is gone back to if it is aborted.
    pub back_to: Option<u64>,
    /// All of them are up: it waits for `promote` or `abort`.
    pub waiting: bool,
    /// The instances that run the new version.
    pub instances: Vec<String>,
}

/// Where an instance answers: one line of the list that clients and routers follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndpointView {
    /// `<app>.<type>.<proc>.i<no>`.
    pub instance: String,
    /// `<type>.<name>` of its proc.
    pub proc: String,
    /// LAIN's version of the spec that it runs.
    pub version: u64,
    /// Its node.
    pub node: String,
    /// The port in the container.
    pub port: Port,
    /// `address:port` where it is reached.
    pub address: String,
}

/// Where the active instances of an app answer that are ready for requests. One that is about to be stopped is left
/// out for its proc's `drain_time` before it is.
pub fn endpoints(app: &AppView) -> Vec<EndpointView> {
    let ready =
        |i: &&InstanceView| i.role == InstanceRole::Active && i.state == InstanceState::Running;
    let of = |proc: &ProcView, instance: &InstanceView| -> Vec<EndpointView> {
        let one = |endpoint: &Endpoint| EndpointView {
            instance: instance.id.clone(),
            proc: proc.full_name.clone(),
            version: instance.version,
            node: instance.node.clone(),
            port: endpoint.port,
            address: endpoint.address.clone(),
        };
        instance.endpoints.iter().map(one).collect()
    };
    let procs = app.procs.iter();
    procs
        .flat_map(|p| p.instances.iter().filter(ready).flat_map(move |i| of(p, i)))
        .collect()
}

/// The answer to a change: what will be done, and the operation that does it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangeAnswer {
    /// The operation to follow; absent for a dry run and where there was nothing to do.
    pub operation: Option<OperationView>,
    /// What is done, step by step.
    pub plan: PlanView,
    /// The app's revision after the change is accepted (unchanged for a dry run).
    pub revision: u64,
    /// The number in the app's `ETag` then; 0 for a dry run of an app that does not exist.
    #[serde(default)]
    pub etag: u64,
    /// What the file gave cause to warn of.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The steps of a change, in order. The very data that is carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// The app.
    pub app: String,
    /// The steps.
    pub steps: Vec<PlanStep>,
}

impl PlanView {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanStep {
    /// What happens.
    pub action: PlanAction,
    /// To what: an instance id, or `<app>.<type>.<proc>`, or the app.
    pub target: String,
    /// Field changes: `memory: 32m → 64m`.
    pub changes: Vec<String>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanAction {
    /// `+ create`
    Create,
    /// `~ update (recreate)`
    Recreate,
    /// `~ update (in place)`
    UpdateInPlace,
    /// `~ restart`
    Restart,
    /// `~ stop`
    Stop,
    /// `~ start`
    Start,
    /// `- delete`
    Delete,
}

/// A scale of one proc. Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Instances wanted, 0 to 1000.
    #[serde(default)]
    pub num_instances: Option<u32>,
    /// CPU level, 0 to 8.
    #[serde(default)]
    pub cpu: Option<u32>,
    /// Memory, such as `64m` or a number of bytes as text.
    #[serde(default)]
    pub memory: Option<String>,
    /// Spares wanted.
    #[serde(default)]
    pub spares: Option<u32>,
}

/// Work that takes time: a deploy, a scale, a restart …
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OperationView {
    /// Its id; sorts by time.
    pub id: String,
    /// `deploy`, `undeploy`, `scale`, `restart`, `stop`, `start`, `rollback`, `abort`, `reconcile`.
    pub kind: String,
    /// The app.
    pub app: String,
    /// Where it stands.
    pub state: OperationState,
    /// Who asked for it.
    pub actor: String,
    /// When it was accepted.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its steps.
    pub steps: Vec<OperationStep>,
    /// Why it failed.
    pub error: Option<String>,
    /// The revision that it brings.
    #[serde(default)]
    pub revision: Option<u64>,
    /// What it waits for that somebody has to say: a canary is up, and is to be promoted or aborted.
    #[serde(default)]
    pub waiting: Option<String>,
    /// Crash reports that belong to it, newest first, at most three.
    #[serde(default)]
    pub crashes: Vec<CrashReport>,
}

/// Where an operation or one of its steps stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Accepted, not begun.
    Pending,
    /// In progress.
    Running,
    /// Ended as wanted.
    Succeeded,
    /// Ended otherwise; see `error`.
    Failed,
    /// Ended by an operator, or superseded by a newer operation.
    Cancelled,
}

impl OperationState {
    /// Whether it has ended.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            OperationState::Succeeded | OperationState::Failed | OperationState::Cancelled
        )
    }
}

/// A step of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OperationStep {
    /// What is done; the same in each state that is shown of it.
    #[serde(flatten)]
    #[schema(value_type = PlanStep)]
    pub step: Arc<PlanStep>,
    /// Where it stands.
    pub state: OperationState,
    /// What it is doing now, or why it failed: `pulling image`, `waiting for health`.
    pub detail: String,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// `ready`, `suspect`, `down`, `cordoned`, `draining`, or `unfit` (connected, and unable to run anything).
    pub state: String,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// `docker`, `process` or `simulated`.
    pub engine: String,
    /// The engine's version.
    pub engine_version: String,
    /// CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Memory reserved by instances, in bytes.
    pub memory_reserved: u64,
    /// Containers that lain runs there.
    pub containers: u32,
    /// The node's labels.
    pub labels: BTreeMap<String, String>,
    /// lain's version.
    pub version: String,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// How another host joins as a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JoinTokenView {
    /// The token: good once, and only for a while.
    pub token: String,
    /// When it is not good any more.
    pub expires_at: DateTime<Utc>,
    /// Where agents connect, `host:port`.
    pub server: String,
    /// The fingerprint of the installation's authority, `sha256:` and hexadecimal digits.
    pub authority: String,
}

/// A change of a node; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeChange {
    /// `true`: it takes nothing new; `false`: it takes instances again, and a drain ends.
    #[serde(default)]
    pub cordoned: Option<bool>,
    /// Why it is cordoned.
    #[serde(default)]
    pub reason: Option<String>,
    /// Labels to set; `null` removes one.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, Option<String>>>,
}

/// Instances that are moving, or have moved, together: a drain, a drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MovesView {
    /// Names it; sorts by time.
    pub id: String,
    /// `drain` or `drift`.
    pub kind: String,
    /// How many instances there are to move.
    pub total: u32,
    /// Nothing more will move.
    pub done: bool,
    /// What became of each instance, as far as that is known.
    pub moved: Vec<MovedView>,
}

/// Which instances are to change their node; LAIN's drift. At least one of `from`, `app` is needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DriftBody {
    /// Those on this node.
    #[serde(default)]
    pub from: Option<String>,
    /// To this node; absent: wherever placement sees fit.
    #[serde(default)]
    pub to: Option<String>,
    /// Those of this app.
    #[serde(default)]
    pub app: Option<String>,
    /// Those of this proc.
    #[serde(default)]
    pub proc: Option<String>,
    /// This instance.
    #[serde(default)]
    pub instance: Option<u32>,
}

/// What became of one instance that was to move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MovedView {
    /// The instance.
    pub instance: String,
    /// Where it was.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// Why it stays.
    pub error: Option<String>,
}

/// Why an instance is where it is, or nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// The instance.
    pub instance: String,
    /// Its state.
    pub state: InstanceState,
    /// Why it is in that state.
    pub reason: Option<String>,
    /// Its node.
    pub node: String,
    /// How often it was re-placed.
    pub drift: u64,
    /// Nodes that gave up on it, and how often.
    pub gave_up: Vec<String>,
    /// Nodes that do not take it now, and why; those that would are left out.
    pub nodes: Vec<NodeReason>,
}

/// Why a node does not take an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeReason {
    /// The node.
    pub node: String,
    /// Why not.
    pub reason: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Rises by one for each event; the SSE `id`.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Stable word, such as `instance_crashed`, `instance_started`, `spare_promoted`, `proc_degraded`, `operation_done`, `engine_down`.
    pub kind: String,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// The app concerned.
    pub app: Option<String>,
    /// The proc concerned, `<type>.<name>`.
    pub proc: Option<String>,
    /// The instance concerned.
    pub instance: Option<u32>,
    /// The node concerned.
    pub node: Option<String>,
    /// The actor's path in the tree.
    pub path: Option<String>,
    /// The operation that it belongs to.
    pub operation: Option<String>,
    /// The crash report that it belongs to.
    pub crash: Option<String>,
    /// What happened, in a sentence that reads alone.
    pub message: String,
}

/// A node of the supervision tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActorView {
    /// Its path: ids of children from the root, joined by `/`; the root's is empty.
    pub path: String,
    /// Its id among its siblings.
    pub id: String,
    /// `supervisor` or `worker`.
    pub kind: String,
    /// Supervisors: OTP's strategy.
    pub strategy: Option<String>,
    /// `permanent`, `transient` or `temporary`.
    pub restart: String,
    /// How it is stopped: `brutal_kill`, `5s`, `infinity`.
    pub shutdown: String,
    /// OTP's `significant`.
    pub significant: bool,
    /// `running`, `starting`, `restarting`, `stopping`, `undefined`, `stuck`.
    pub state: String,
    /// What it is about, in a few words: a container's name, health, an address.
    pub note: Option<String>,
    /// Counts its starts, from 1.
    pub incarnation: u64,
    /// When this incarnation started.
    pub started_at: Option<DateTime<Utc>>,
    /// Restarts in all.
    pub restarts: u64,
    /// Supervisors: restarts in the current window.
    pub restarts_in_window: Option<u32>,
    /// Supervisors: OTP's intensity.
    pub intensity: Option<u32>,
    /// Supervisors: OTP's period in milliseconds.
    pub period_ms: Option<u64>,
    /// When the next restart is due, while it waits for one.
    pub restart_at: Option<DateTime<Utc>>,
    /// While it stops: which child is awaited, and since when.
    pub awaiting: Option<String>,
    /// Its mailbox and messages.
    pub mailbox: Option<MailboxView>,
    /// Its last restarts, newest first.
    pub history: Vec<RestartRecord>,
    /// The reason of its last abnormal exit.
    pub last_crash: Option<ActorCrash>,
    /// The lifecycle state of the actor in its own words, as JSON, where it offers one (detail only).
    #[schema(value_type = Object)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
    /// How many children it has, also where `children` was cut by `depth`.
    pub child_count: u32,
    /// Its children in start order.
    #[schema(no_recursion)]
    #[serde(default)]
    pub children: Vec<ActorView>,
}

/// An actor's mailbox and message figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MailboxView {
    /// Messages that wait.
    pub length: u64,
    /// Age of the oldest waiting message in milliseconds.
    pub oldest_age_ms: Option<u64>,
    /// Messages handled by this incarnation.
    pub handled: u64,
    /// Messages handled per second, over about the last ten seconds.
    pub rate: f64,
    /// The type of the message being handled.
    pub current: Option<String>,
    /// For how long it has been, in milliseconds.
    pub current_ms: Option<u64>,
    /// The longest time in a handler, in microseconds.
    pub handler_max_us: u64,
    /// The 99th percentile of the time in a handler, in microseconds.
    pub handler_p99_us: u64,
}

/// One restart of an actor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RestartRecord {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// From the exit to the new start, in microseconds.
    pub took_us: u64,
}

/// The last crash of an actor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActorCrash {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// The type of the message being handled.
    pub message_type: Option<String>,
    /// Source file and line of a panic.
    pub location: Option<String>,
    /// The crash report of the instance, where there is one.
    pub crash: Option<String>,
}

/// A line of an app's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLineView {
    /// When the engine took it.
    pub at: DateTime<Utc>,
    /// `<app>.<type>.<proc>.i<no>`.
    pub instance: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line.
    pub line: String,
}

/// A sink of log events, on one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SinkView {
    /// Its name in the configuration.
    pub name: String,
    /// The node that it is on.
    #[serde(default)]
    pub node: String,
    /// `syslog`, `kafka`, `elasticsearch`, `file`, `http` …
    pub kind: String,
    /// `running`, `idle`, `retrying`, `paused`, `refused` or `starting`.
    pub state: String,
    /// The circuit breaker: `closed`, `open` or `half_open`.
    pub breaker: String,
    /// Events that the receiver acknowledged, over the life of the spool.
    pub sent: u64,
    /// Events that its filter or sampling left out.
    pub filtered: u64,
    /// Events that it did not get and will not: dead letters, dropped when the spool was full, damaged on disk.
    pub discarded: u64,
    /// Events that wait for it in the spool.
    pub lag_events: u64,
    /// Bytes that wait for it in the spool.
    pub lag_bytes: u64,
    /// The age of the event that is sent next, in milliseconds; 0 when none waits.
    pub lag_ms: u64,
    /// Events a second, averaged over ten seconds.
    pub rate: f64,
    /// Batches sent.
    pub batches: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Attempts that failed.
    pub retries: u64,
    /// Events that the receiver had already.
    pub duplicates: u64,
    /// Dead letters written.
    pub dead_letters: u64,
    /// Where the dead letters are, on the node.
    pub dead_letter_file: Option<String>,
    /// The last failure.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
    /// The time of the oldest event in the spool, when its cursor was last opened or moved: how far back it can go.
    #[serde(default)]
    pub oldest_at: Option<DateTime<Utc>>,
    /// When the receiver last acknowledged something.
    pub last_sent_at: Option<DateTime<Utc>>,
}

/// What reading the sinks' configuration again changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SinksReloaded {
    /// Sinks that are new on this host.
    pub added: Vec<String>,
    /// Sinks with other settings: they go on where they were.
    pub changed: Vec<String>,
    /// Sinks that are gone.
    pub removed: Vec<String>,
    /// Sinks that were left alone.
    pub kept: Vec<String>,
    /// Other nodes that are connected and are told.
    pub nodes: Vec<String>,
}

/// An input of log events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InputView {
    /// Its name in the configuration; `http` is the API's own.
    pub name: String,
    /// `syslog`, `file` or `http`.
    pub kind: String,
    /// Where it takes events in: an address, files.
    pub at: String,
    /// `starting`, `running`, `waiting` (the spool is full) or `failed`.
    pub state: String,
    /// Events that it put into the spool since lain started.
    pub events: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Messages that are of no known form; they are events all the same, as they came.
    pub malformed: u64,
    /// Messages that were longer than allowed, and cut.
    pub truncated: u64,
    /// Messages that were lost: UDP, while the spool was full.
    pub dropped: u64,
    /// Connections or requests that were refused.
    pub refused: u64,
    /// Connections that are open.
    pub connections: u64,
    /// When the last event was taken.
    pub last_event_at: Option<DateTime<Utc>>,
    /// The last failure.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
}

/// A record of a change made through the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// When.
    pub at: DateTime<Utc>,
    /// Who: the token's name.
    pub actor: String,
    /// From which address.
    pub from: String,
    /// What: `deploy`, `scale`, `restart_child` …
    pub action: String,
    /// On what.
    pub target: String,
    /// In a sentence, with the difference.
    pub detail: String,
    /// `ok`, or why it was refused.
    pub outcome: String,
}

/// What `lain version` and `/api/v1/version` say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// lain's version.
    pub version: String,
    /// The API's version.
    pub api: String,
    /// The role: `dev`, `server` or `agent`.
    pub role: String,
    /// The node's name.
    pub node: String,
    /// When this process started.
    pub started_at: DateTime<Utc>,
}

/// One finding of `lain doctor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// `ok`, `warn` or `fail`.
    pub result: String,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}
