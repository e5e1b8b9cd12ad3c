//! One container as the node's actors and the control actors share it: what it is to be, and what was seen.
//!
//! Written by the container's `process`, `health` and `logs` actors; read by its `instance` actor, by
//! the reconciler and by the views, none of which ever waits for an actor. Observed state is soft: a
//! restart of lain rebuilds it from the engine.

use crate::actors::agent::changes::{Changes, Subscription};
use crate::domain::crash::CrashReport;
use crate::domain::id::{ContainerId, InstanceId, NodeName};
use crate::domain::spec::model::{Port, Probe};
use crate::domain::view::InstanceRole;
pub use crate::ports::agent::{Assignment, CellReport, Health, Phase};
use crate::ports::runtime::Resources;
use chrono::{DateTime, Utc};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines kept for crash reports.
pub const LINES_KEPT: usize = 20;
/// Probe outputs kept for crash reports.
pub const PROBES_KEPT: usize = 5;

/// What was seen of a container.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The engine's id, once it was made.
    pub id: Option<ContainerId>,
    /// Where it is in its life.
    pub phase: Phase,
    /// What probes say.
    pub health: Health,
    /// Active or spare, now.
    pub role: InstanceRole,
    /// It is about to be stopped: clients are no longer sent to it. Known to the control host alone.
    pub draining: bool,
    /// The pid of its first process.
    pub pid: Option<u32>,
    /// Its address in the engine's network.
    pub ip: Option<IpAddr>,
    /// When it was last started, by the engine's clock.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was last started, by the monotonic clock.
    pub running_since: Option<Duration>,
    /// When it last became ready, by the monotonic clock.
    pub ready_since: Option<Duration>,
    /// When the next restart is due, while it waits for one.
    pub restart_at: Option<DateTime<Utc>>,
    /// How it last ended.
    pub last_exit: Option<String>,
    /// Its newest crash report.
    pub last_crash: Option<Arc<CrashReport>>,
    /// When it crashed lately, by the monotonic clock.
    pub crash_times: VecDeque<Duration>,
    /// Restarts in place since this cell was made.
    pub restarts: u64,
    /// The last lines of output.
    pub lines: VecDeque<String>,
    /// The last probe outputs.
    pub probes: VecDeque<String>,
    /// Lines seen in all.
    pub lines_seen: u64,
    /// Limits in force.
    pub resources: Resources,
}

/// Told that something about an instance has changed.
pub type Poke = Arc<dyn Fn(&InstanceId) + Send + Sync>;

/// One container, shared.
pub struct ContainerCell {
    /// What it is to be.
    pub assignment: Arc<Assignment>,
    observed: Mutex<Observed>,
    changed: Changes,
    poke: Poke,
}

impl ContainerCell {
    /// A cell for an assignment; `known` is the engine's id where the container exists already.
    pub fn new(assignment: Arc<Assignment>, known: Option<ContainerId>, poke: Poke) -> Arc<Self> {
        let observed = Observed {
            id: known,
            phase: Phase::Pending("its turn".to_owned()),
            health: if assignment.health.is_some() {
                Health::Starting
            } else {
                Health::None
            },
            role: assignment.role,
            draining: false,
            pid: None,
            ip: None,
            started_at: None,
            running_since: None,
            ready_since: None,
            restart_at: None,
            last_exit: None,
            last_crash: None,
            crash_times: VecDeque::new(),
            restarts: 0,
            lines: VecDeque::new(),
            probes: VecDeque::new(),
            lines_seen: 0,
            resources: assignment.container.resources,
        };
        Arc::new(Self {
            assignment,
            observed: Mutex::new(observed),
            changed: Changes::default(),
            poke,
        })
    }

    /// The container's name, which is also its key on the node.
    pub fn name(&self) -> &str {
        &self.assignment.container.name
    }

    /// Which instance.
    pub fn instance(&self) -> &InstanceId {
        &self.assignment.instance
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen, as it is now.
    pub fn seen(&self) -> Observed {
        self.lock().clone()
    }

    /// Looks without copying.
    pub fn look<T>(&self, look: impl FnOnce(&Observed) -> T) -> T {
        look(&self.lock())
    }

    /// Changes what was seen, then tells all who wait and the instance's actor.
    pub fn change<T>(&self, change: impl FnOnce(&mut Observed) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.tell();
        (self.poke)(&self.assignment.instance);
        result
    }

    /// Changes what was seen without telling anybody: lines and probe outputs.
    pub fn note<T>(&self, change: impl FnOnce(&mut Observed) -> T) -> T {
        change(&mut self.lock())
    }

    /// Wakes at each change.
    pub fn subscribe(&self) -> Subscription<'_> {
        self.changed.subscribe()
    }

    /// Where a port of the container is reached from this host: published, else by its own address.
    pub fn address_of(&self, port: u16) -> Option<(IpAddr, u16)> {
        let published = self
            .assignment
            .container
            .ports
            .iter()
            .find(|p| p.container.port == port);
        match published {
            Some(p) => Some((p.host_ip, p.host_port)),
            None => self.lock().ip.map(|ip| (ip, port)),
        }
    }

    /// The node that it is on.
    pub fn node(&self) -> &NodeName {
        &self.assignment.node
    }

    /// What was seen, as a node tells it to the control host. `now` is the monotonic clock's.
    pub fn report(&self, now: Duration) -> CellReport {
        let seen = self.lock();
        let age = |at: Option<Duration>| {
            at.map(|at| u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX))
        };
        CellReport {
            name: self.name().to_owned(),
            id: seen.id.clone(),
            phase: seen.phase.clone(),
            health: seen.health,
            role: seen.role,
            pid: seen.pid,
            ip: seen.ip,
            started_at: seen.started_at,
            running_ms: age(seen.running_since),
            ready_ms: age(seen.ready_since),
            restart_at: seen.restart_at,
            last_exit: seen.last_exit.clone(),
            last_crash: seen.last_crash.as_deref().cloned().map(Box::new),
            restarts: seen.restarts,
            probe: seen.probes.back().cloned(),
            lines_seen: seen.lines_seen,
            resources: seen.resources,
        }
    }

    /// Takes over what its node reported. `now` is this host's monotonic clock.
    pub fn take(&self, report: CellReport, now: Duration) {
        let since = |age: Option<u64>| age.map(|ms| now.saturating_sub(Duration::from_millis(ms)));
        self.change(|o| {
            o.id = report.id;
            o.phase = report.phase;
            o.health = report.health;
            o.role = report.role;
            (o.pid, o.ip, o.started_at) = (report.pid, report.ip, report.started_at);
            o.running_since = since(report.running_ms);
            o.ready_since = since(report.ready_ms);
            o.restart_at = report.restart_at;
            o.last_exit = report.last_exit;
            let known = o.last_crash.as_ref().map(|c| &c.id);
            if known != report.last_crash.as_ref().map(|c| &c.id) {
                o.last_crash = report.last_crash.map(|c| Arc::new(*c));
            }
            o.restarts = report.restarts;
            if let Some(probe) = report.probe.filter(|p| o.probes.back() != Some(p)) {
                o.push_probe(probe);
            }
            o.lines_seen = report.lines_seen;
            o.resources = report.resources;
        });
    }

    /// The published ports.
    pub fn published(&self) -> impl Iterator<Item = (Port, String)> + '_ {
        self.assignment
            .container
            .ports
            .iter()
            .map(|p| (p.container, format!("{}:{}", p.host_ip, p.host_port)))
    }
}

impl Observed {
    /// Whether it does, or can at once do, its work.
    pub fn is_ready(&self) -> bool {
        match self.phase {
            Phase::Running => matches!(self.health, Health::None | Health::Healthy),
            Phase::Frozen => true,
            Phase::Pending(_)
            | Phase::Starting(_)
            | Phase::Crashed(_)
            | Phase::Finished(_)
            | Phase::GaveUp(_)
            | Phase::Stopped => false,
        }
    }

    /// Whether a process of it exists.
    pub fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Frozen)
    }

    /// Notes a crash at `now` and counts those within `period`, this one included.
    pub fn push_crash(&mut self, now: Duration, period: Duration) -> u32 {
        self.crash_times
            .retain(|&at| now.saturating_sub(at) <= period);
        self.crash_times.push_back(now);
        u32::try_from(self.crash_times.len()).unwrap_or(u32::MAX)
    }

    /// Keeps a line for crash reports.
    pub fn push_line(&mut self, line: String) {
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.lines_seen += 1;
    }

    /// Keeps a probe's output for crash reports.
    pub fn push_probe(&mut self, output: String) {
        if self.probes.len() == PROBES_KEPT {
            self.probes.pop_front();
        }
        self.probes.push_back(output);
    }
}

/// What a probe looks at, in words.
pub fn probe_name(probe: &Probe) -> String {
    match probe {
        Probe::Http { port, path } => format!("GET :{port}{path}"),
        Probe::Tcp { port } => format!("connect :{port}"),
        Probe::Command { command } => shell_words::join(command),
    }
}
