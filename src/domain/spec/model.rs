//! The typed form of a `lain.yaml`: what the parser yields and everything else reads.
//!
//! Plain data. Only `parse` makes an [`AppSpec`] from text, so one that exists obeys every
//! rule of the schema. Serialised as JSON in the store and in the API.

pub use super::duration_text;
pub use super::filter::{Filter, FilterKind, FilterOperator};
pub use super::update::{Share, UpdateOrder, UpdateSpec, Window};

use crate::domain::id::{AppName, ProcName, ProcType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// An app: everything that one `lain.yaml` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppSpec {
    /// The app's name, unique in the cluster.
    #[schema(value_type = String)]
    pub appname: AppName,
    /// App or resource template.
    pub apptype: AppType,
    /// Binds the app to one repository: the first deployed one counts.
    pub giturl: Option<String>,
    /// How the build image is made; absent only where each proc names its own image.
    pub build: Option<BuildSpec>,
    /// How the release image is made; absent: the build image.
    pub release: Option<ReleaseSpec>,
    /// Test steps, run on the build image.
    pub test: Option<TestSpec>,
    /// Channels to notify: `slack`, `bearychat` and others.
    pub notify: BTreeMap<String, String>,
    /// Services used: app → service names.
    pub use_services: BTreeMap<String, Vec<String>>,
    /// Resources used: resource app → services and template variables.
    pub use_resources: BTreeMap<String, ResourceUse>,
    /// Supervision among the app's procs (ours).
    pub supervision: Supervision,
    /// The procs, in the order of the file: the start order for supervision.
    pub procs: Vec<ProcSpec>,
}

/// What kind of app a `lain.yaml` describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AppType {
    /// An ordinary app.
    App,
    /// A template; each client gets an instance of its own.
    Resource,
}

/// `build`: from the source tree to the build image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BuildSpec {
    /// The base image.
    pub base: String,
    /// Lines, each run in its own subshell in `/lain/app`.
    pub script: Vec<String>,
    /// `K=V`; a V that starts with `$` comes from the caller's environment.
    pub build_arg: Vec<String>,
    /// The cached dependency layer.
    pub prepare: Option<PrepareSpec>,
    /// Absolute paths kept between builds.
    pub volumes: Vec<String>,
}

/// `build.prepare`: a cached layer of dependencies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PrepareSpec {
    /// The layer's version; newest wins. Absent: derived from the inputs.
    pub version: Option<String>,
    /// Lines, as in `build.script`.
    pub script: Vec<String>,
    /// Names in `/lain/app` that survive.
    pub keep: Vec<String>,
    /// As in `build`.
    pub build_arg: Vec<String>,
}

/// `release`: from the build image to the release image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseSpec {
    /// The base of the release image.
    pub dest_base: String,
    /// Lines run in `dest_base` before the copy.
    pub script: Vec<String>,
    /// What is copied from the build image.
    pub copy: Vec<CopySpec>,
}

/// One item of `release.copy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CopySpec {
    /// Path in the build image.
    pub src: String,
    /// Path in the release image.
    pub dest: String,
}

/// `test`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TestSpec {
    /// Lines, as in `build.script`.
    pub script: Vec<String>,
}

/// One entry of `use_resources`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourceUse {
    /// The services of the resource that this app uses.
    pub services: Vec<String>,
    /// Template variables, as written.
    #[schema(value_type = Object)]
    pub variables: BTreeMap<String, serde_json::Value>,
}

/// How one proc's crash touches the app's other procs: OTP's strategies, at the level of procs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Supervision {
    /// Who else is restarted when a proc's instance crashes.
    pub strategy: ProcStrategy,
    /// Crashes allowed within `period`; one more and the app is degraded.
    pub intensity: u32,
    /// The window of `intensity`.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub period: Duration,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            strategy: ProcStrategy::OneForOne,
            intensity: 5,
            period: Duration::from_secs(60),
        }
    }
}

/// OTP's strategy among an app's procs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcStrategy {
    /// Only the crashed instance.
    OneForOne,
    /// All instances of all other procs too: last proc stopped first, first started first.
    OneForAll,
    /// All instances of the procs after it in the file too.
    RestForOne,
}

/// One proc.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcSpec {
    /// Its name, unique in the app.
    #[schema(value_type = String)]
    pub name: ProcName,
    /// Its type.
    #[schema(value_type = String)]
    pub proc_type: ProcType,
    /// An image of its own; absent: the app's release image.
    pub image: Option<String>,
    /// Docker's entrypoint as words; `None` leaves the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Docker's command as words; `None` leaves the image's.
    pub cmd: Option<Vec<String>>,
    /// Docker's user; empty leaves the image's.
    pub user: String,
    /// Docker's working directory; empty leaves the image's.
    pub workdir: String,
    /// Instances, numbered from 1.
    pub num_instances: u32,
    /// More instances, started, healthy and idle, to be promoted at a crash (ours).
    pub spares: u32,
    /// CPU level 0 to 8: the quota is level/8 of half the node's CPU; 0 counts as 2.
    pub cpu: u32,
    /// Hard memory limit in bytes, no swap.
    pub memory: u64,
    /// Exposed ports.
    pub ports: Vec<Port>,
    /// Ports for the stream router (LAIN's `ports`).
    pub stream_ports: Vec<StreamPort>,
    /// Where a web proc is reachable, as written.
    pub mountpoint: Vec<String>,
    /// Answer plain HTTP by 301.
    pub https_only: bool,
    /// How its health is known; `None`: running is healthy.
    pub health: Option<HealthCheck>,
    /// Environment, in order.
    pub env: Vec<EnvVar>,
    /// Volumes that stay on the node.
    pub volumes: Vec<VolumeSpec>,
    /// Volumes on a network filesystem.
    pub cloud_volumes: Option<CloudVolumes>,
    /// Files taken from the secret store, as absolute paths.
    pub secret_files: Vec<String>,
    /// Deploy even if a secret file is missing.
    pub secret_files_bypass: bool,
    /// Log file names under `/lain/logs`.
    pub logs: Vec<String>,
    /// What form the lines of some of them have: `nginx`, `metrics`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub log_formats: BTreeMap<String, String>,
    /// Container labels.
    pub labels: BTreeMap<String, String>,
    /// Placement filters.
    pub filters: Vec<Filter>,
    /// Never re-placed automatically; never runs twice.
    pub stateful: bool,
    /// Runs at most once at any moment, wherever: a node that lost the control host stops it, before it is
    /// started on another one.
    #[serde(default)]
    pub exclusive: bool,
    /// Higher is placed first where several wait for room.
    #[serde(default)]
    pub priority: i32,
    /// How its instances keep away from each other on nodes.
    #[serde(default)]
    pub anti_affinity: AntiAffinity,
    /// How long to wait after a start before going on with the next instance of an update.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub setup_time: Duration,
    /// From leaving the published list of addresses to SIGTERM (ours).
    #[serde(default, with = "duration_text")]
    #[schema(value_type = String)]
    pub drain_time: Duration,
    /// From SIGTERM to SIGKILL.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub kill_timeout: Duration,
    /// DNS search domains, before `<app domain>.lain`.
    pub dns_search: Vec<String>,
    /// Portals: the service that they stand for.
    pub service_name: Option<String>,
    /// Portals: who may connect.
    pub allow_clients: Option<String>,
    /// What happens when an instance ends, and when to give up (ours, OTP's words).
    pub restart: RestartSpec,
    /// `cron`: when to run (ours).
    pub schedule: Option<Schedule>,
    /// How a new version replaces the old one (ours).
    pub update: UpdateSpec,
}

impl ProcSpec {
    /// `<type>.<name>`, the proc's name in paths such as `apps/app/hello/proc/web.web`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.proc_type, self.name)
    }
}

/// A port that a proc listens on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub struct Port {
    /// Port number in the container.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// How instances of one proc keep away from each other on nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AntiAffinity {
    /// They do not care.
    None,
    /// On different nodes where possible (LAIN's rule).
    #[default]
    Prefer,
    /// On different nodes or not at all.
    Require,
}

/// A transport protocol.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the stream router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamPort {
    /// The router's port, 9500 to 10000.
    pub source: u16,
    /// The instance's port.
    pub dest: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvVar {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A health check: `retries` failures in a row make the instance unhealthy, which is a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// What is probed.
    pub probe: Probe,
    /// From the end of one probe to the start of the next.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub interval: Duration,
    /// A probe that takes longer has failed.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub timeout: Duration,
    /// Failures in a row that count as a crash.
    pub retries: u32,
    /// Failures do not count for this long after a start, until the first success.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub start_period: Duration,
}

/// What a health check does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Probe {
    /// GET; 2xx and 3xx are healthy.
    Http {
        /// The port in the container.
        port: u16,
        /// Path and query.
        path: String,
    },
    /// A TCP connection that opens is healthy.
    Tcp {
        /// The port in the container.
        port: u16,
    },
    /// A command in the container that exits 0 is healthy.
    Command {
        /// The words of the command.
        command: Vec<String>,
    },
}

/// A volume on the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VolumeSpec {
    /// Absolute path in the container.
    pub path: String,
    /// `backup_full`: archive as a whole.
    pub backup_full: Option<BackupPolicy>,
    /// `backup_increment`: copy what changed.
    pub backup_increment: Option<BackupPolicy>,
}

/// A volume's backup policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackupPolicy {
    /// Five-field cron expression; empty disables.
    pub schedule: String,
    /// How long a backup is kept.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub expire: Duration,
    /// Run in the container before; absolute path.
    pub pre_run: Option<String>,
    /// Run in the container after; absolute path.
    pub post_run: Option<String>,
}

/// Volumes on a network filesystem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CloudVolumes {
    /// One directory an instance, or one for all.
    #[serde(rename = "type")]
    pub kind: CloudVolumeKind,
    /// Absolute paths in the container.
    pub dirs: Vec<String>,
}

/// Who shares a cloud volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CloudVolumeKind {
    /// A directory for each instance.
    Multi,
    /// One directory for all.
    Single,
}

/// OTP's restart type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RestartPolicy {
    /// Restarted after any exit.
    Permanent,
    /// Restarted after an abnormal exit only.
    Transient,
    /// Never restarted.
    Temporary,
}

/// When an instance is restarted, and when its node gives up on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartSpec {
    /// Which exits are followed by a restart.
    pub policy: RestartPolicy,
    /// Restarts allowed within `period`; one more is given up and escalated.
    pub intensity: u32,
    /// The window of `intensity`.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub period: Duration,
    /// The longest pause between restarts.
    #[serde(with = "duration_text")]
    #[schema(value_type = String)]
    pub max_backoff: Duration,
}

impl RestartSpec {
    /// The default for a proc type: oneshot and cron transient, the rest permanent.
    pub fn default_for(proc_type: ProcType) -> Self {
        let policy = match proc_type {
            ProcType::Oneshot | ProcType::Cron => RestartPolicy::Transient,
            ProcType::Web | ProcType::Worker | ProcType::Portal => RestartPolicy::Permanent,
        };
        Self {
            policy,
            intensity: 5,
            period: Duration::from_secs(60),
            max_backoff: Duration::from_secs(30),
        }
    }
}

/// When a `cron` proc runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Five-field cron expression, in UTC.
    pub cron: String,
    /// What happens when a run is due while another one runs.
    pub overlap: Overlap,
}

/// What a `cron` proc does when its last run has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// The new run is skipped, and that is recorded.
    Skip,
    /// The new run starts when the old one ends; at most one waits.
    Queue,
    /// The old run is stopped.
    Replace,
    /// Both run.
    Allow,
}
