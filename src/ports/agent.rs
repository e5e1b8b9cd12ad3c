//! What the control host and a node say to each other about containers: what is to be, and what is.
//!
//! Plain data of the link between them (and, in one process, of the cells that both look at).

use crate::domain::crash::{CrashReport, Exit};
use crate::domain::id::{ContainerId, InstanceId, NodeName};
use crate::domain::spec::model::{HealthCheck, RestartSpec};
use crate::domain::view::InstanceRole;
use crate::ports::runtime::{ContainerSpec, EngineInfo, Resources};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// lain's version on it.
    pub version: String,
    /// What its engine said; `None`: the engine does not answer.
    pub engine: Option<EngineInfo>,
    /// Why the engine does not answer.
    #[serde(default)]
    pub engine_trouble: Option<String>,
    /// CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Where clients reach what its containers publish.
    pub address: IpAddr,
    /// The address on which containers' ports are published.
    pub publish: IpAddr,
    /// Host ports that may be published, both ends included.
    pub ports: (u16, u16),
    /// Where volumes live.
    pub volumes: String,
    /// Labels from its own configuration; those that operators give win.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What the store keeps of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its name.
    pub name: NodeName,
    /// Labels that operators gave it; they win over its own.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Nothing new is placed on it, and why.
    #[serde(default)]
    pub cordoned: Option<String>,
    /// What runs on it is moved away.
    #[serde(default)]
    pub draining: bool,
    /// When it joined.
    pub joined_at: DateTime<Utc>,
    /// Fingerprints of its certificates: the one in use, and for a while the one before.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// What it was when it last said so.
    #[serde(default)]
    pub facts: Option<NodeFacts>,
}

impl NodeRecord {
    /// Its own labels, and over them those that operators gave it.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self
            .facts
            .as_ref()
            .map(|f| f.labels.clone())
            .unwrap_or_default();
        labels.extend(self.labels.clone());
        labels
    }
}

/// This instance at this version belongs on this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Which instance.
    #[serde(with = "crate::domain::crash::instance_text")]
    pub instance: InstanceId,
    /// The node.
    pub node: NodeName,
    /// LAIN's version.
    pub version: u64,
    /// What the container is made from; its name is unique in the cluster.
    pub container: ContainerSpec,
    /// How its health is known.
    pub health: Option<HealthCheck>,
    /// When it is restarted, and when the node gives up.
    pub restart: RestartSpec,
    /// Active or spare, at first.
    pub role: InstanceRole,
    /// Start it even if its last run ended well: another run of a cron proc.
    pub fresh: bool,
    /// It must run at most once at any moment: a node that lost the control host stops it in time.
    #[serde(default)]
    pub exclusive: bool,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting, and what for.
    Pending(String),
    /// Being made or started, and how far that is.
    Starting(String),
    /// Its process runs.
    Running,
    /// A healthy spare, frozen until it is promoted.
    Frozen,
    /// It crashed and is about to be restarted.
    Crashed(String),
    /// It ended well and is not to run again.
    Finished(Exit),
    /// It could not be kept alive here.
    GaveUp(String),
    /// It was stopped on request.
    Stopped,
}

/// What health probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// No health check: running is healthy.
    None,
    /// No success yet.
    Starting,
    /// The last word was good.
    Healthy,
    /// Too many failures in a row.
    Unhealthy,
}

impl Health {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::None => "none",
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        }
    }
}

/// What is to be of one container on a node. A node compares each with the one it was told before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// The container; shared with the cell that mirrors it.
    pub assignment: Arc<Assignment>,
    /// Run it, or keep it stopped in place.
    pub want: Want,
    /// Changes whenever it is to be tried again although it was given up or ended; 0 at first.
    pub attempt: u64,
    /// Changes whenever it is to be stopped and started in place; 0 at first.
    pub restarts: u64,
}

/// Whether a container is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// It is to run.
    Run,
    /// It is to be stopped, and kept for a start in place.
    Stop,
}

/// What a node sees of one container. Instants of its monotonic clock are told as ages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellReport {
    /// The container's name.
    pub name: String,
    /// The engine's id, once it was made.
    pub id: Option<ContainerId>,
    /// Where it is in its life.
    pub phase: Phase,
    /// What probes say.
    pub health: Health,
    /// Active or spare, now.
    pub role: InstanceRole,
    /// The pid of its first process.
    pub pid: Option<u32>,
    /// Its address in the engine's network.
    pub ip: Option<IpAddr>,
    /// When it was last started, by the engine's clock.
    pub started_at: Option<DateTime<Utc>>,
    /// For how long it has run, in milliseconds.
    pub running_ms: Option<u64>,
    /// For how long it has been ready, in milliseconds.
    pub ready_ms: Option<u64>,
    /// When the next restart is due, while it waits for one.
    pub restart_at: Option<DateTime<Utc>>,
    /// How it last ended.
    pub last_exit: Option<String>,
    /// Its newest crash report.
    pub last_crash: Option<Box<CrashReport>>,
    /// Restarts in place since the node began with it.
    pub restarts: u64,
    /// The last probe's output.
    pub probe: Option<String>,
    /// Lines of output seen in all.
    pub lines_seen: u64,
    /// Limits in force.
    pub resources: Resources,
}

/// What a node has to do about one container, from what it was told before to what it is told now.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Run it: make, start or adopt it, and keep it alive.
    Run(Arc<Assignment>),
    /// Stop it and keep it.
    Stop,
    /// Kill it at once and keep it: the control host may start it elsewhere.
    Fence,
    /// Stop and start it in place.
    Restart,
    /// Change its limits in place.
    Update(Resources),
    /// It is active, or a spare, from now on.
    Role(InstanceRole),
    /// Stop and remove it.
    Remove,
}

/// The tasks of one container; in order. Pure: nothing is to be done where nothing differs.
pub fn tasks(before: Option<&Desired>, now: Option<&Desired>) -> Vec<Task> {
    let Some(now) = now else {
        return before.map(|_| Task::Remove).into_iter().collect();
    };
    let run = || Task::Run(Arc::clone(&now.assignment));
    let Some(before) = before else {
        return vec![match now.want {
            Want::Run => run(),
            Want::Stop => Task::Stop,
        }];
    };
    match (before.want, now.want) {
        (Want::Run, Want::Stop) => return vec![Task::Stop],
        (Want::Stop, Want::Stop) => return Vec::new(),
        (Want::Stop, Want::Run) => return vec![run()],
        (Want::Run, Want::Run) => {}
    }
    let mut tasks = Vec::new();
    let (old, new) = (&before.assignment, &now.assignment);
    if old.container.resources != new.container.resources {
        tasks.push(Task::Update(new.container.resources));
    }
    if old.role != new.role {
        tasks.push(Task::Role(new.role));
    }
    if now.attempt != 0 && before.attempt != now.attempt {
        tasks.push(run());
    }
    if now.restarts != 0 && before.restarts != now.restarts {
        tasks.push(Task::Restart);
    }
    tasks
}

#[cfg(test)]
#[path = "agent_tests.rs"]
pub(crate) mod tests_support;
