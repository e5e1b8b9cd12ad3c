//! What the store keeps of apps and instances: desired state and placements.
//!
//! Plain data and pure changes to it. Written by the control actors, read back at every start.

use crate::domain::id::{InstanceId, NodeName, OperationId, ProcName};
use crate::domain::spec::model::{AppSpec, Port, ProcSpec};
use crate::domain::texts::Texts;
use crate::domain::view::InstanceRole;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Store keys.
pub mod keys {
    use crate::domain::id::{AppName, InstanceId, NodeName};

    /// All apps.
    pub const APPS: &str = "apps/";
    /// All placements.
    pub const INSTANCES: &str = "instances/";
    /// All crash reports; their ids sort by time.
    pub const CRASHES: &str = "crashes/";
    /// All operations; their ids sort by time.
    pub const OPERATIONS: &str = "operations/";
    /// All audit records; their ids sort by time.
    pub const AUDIT: &str = "audit/";
    /// All runs of cron and oneshot procs.
    pub const RUNS: &str = "runs/";
    /// The history of all apps: the last revisions of each.
    pub const REVISIONS: &str = "revisions/";
    /// All nodes on other hosts.
    pub const NODES: &str = "nodes/";
    /// The installation's own id.
    pub const OWNER: &str = "meta/owner";

    /// One app.
    pub fn app(app: &AppName) -> String {
        format!("{APPS}{app}")
    }

    /// The placements of one app.
    pub fn instances_of(app: &AppName) -> String {
        format!("{INSTANCES}{app}/")
    }

    /// One placement.
    pub fn instance(id: &InstanceId) -> String {
        format!(
            "{INSTANCES}{}/{}.{}/{}",
            id.app, id.proc_type, id.proc, id.no
        )
    }

    /// The history of one app.
    pub fn revisions_of(app: &AppName) -> String {
        format!("{REVISIONS}{app}/")
    }

    /// One revision of an app; the keys sort by its number.
    pub fn revision(app: &AppName, revision: u64) -> String {
        format!("{REVISIONS}{app}/{revision:020}")
    }

    /// One node.
    pub fn node(name: &NodeName) -> String {
        format!("{NODES}{name}")
    }

    /// One crash report.
    pub fn crash(id: &str) -> String {
        format!("{CRASHES}{id}")
    }

    /// One operation.
    pub fn operation(id: &str) -> String {
        format!("{OPERATIONS}{id}")
    }

    /// One audit record.
    pub fn audit(id: &str) -> String {
        format!("{AUDIT}{id}")
    }

    /// The runs of one proc.
    pub fn runs(app: &AppName, full_name: &str) -> String {
        format!("{RUNS}{app}/{full_name}")
    }
}

/// One version of an app as it was deployed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// What the file says.
    pub spec: AppSpec,
    /// The file.
    pub lain_yaml: String,
    /// The meta version that picks the release image.
    pub meta_version: Option<String>,
    /// The image for procs that name none.
    pub image: Option<String>,
    /// LAIN's version of each proc (by full name): counts changes that need a new container.
    pub versions: BTreeMap<String, u64>,
    /// The app's revision that brought it; 0 for one that was kept before that was noted.
    #[serde(default)]
    pub revision: u64,
    /// It was rolled out to its end. One that was kept before that was noted is taken for good.
    #[serde(default = "yes")]
    pub good: bool,
    /// What was computed of it before.
    #[serde(skip)]
    pub texts: Texts,
}

/// That of a release which was kept before its end was noted.
fn yes() -> bool {
    true
}

impl Release {
    /// Whether both say the same, whenever that was.
    pub fn same_as(&self, other: &Release) -> bool {
        self.spec == other.spec
            && self.meta_version == other.meta_version
            && self.image == other.image
    }
}

/// A change of which a few instances are updated first and watched, until somebody promotes or aborts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Instances of each web and worker proc that are updated first, instead of what their `update.canary` says.
    pub instances: Option<u32>,
    /// It was found good: the others follow.
    pub promoted: bool,
}

/// What an operator changed by `scale`; survives deploys, as LAIN has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Instances wanted.
    pub num_instances: Option<u32>,
    /// CPU level.
    pub cpu: Option<u32>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Spares wanted.
    pub spares: Option<u32>,
}

/// What an operator stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The whole proc.
    pub all: bool,
    /// Single instances.
    pub instances: BTreeSet<u32>,
}

impl Stopped {
    /// Whether this instance is to stay down.
    pub fn covers(&self, no: u32) -> bool {
        self.all || self.instances.contains(&no)
    }
}

/// An app's desired state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppRecord {
    /// What is wanted.
    pub current: Release,
    /// The last release that was good, to go back to; also what instances not yet updated still run.
    pub previous: Option<Release>,
    /// Releases before those, newest first: the last few, and all that some instance still runs.
    #[serde(default)]
    pub history: Vec<Release>,
    /// Operators' changes by proc (full name).
    pub overrides: BTreeMap<String, Overrides>,
    /// What operators stopped, by proc (full name).
    pub stopped: BTreeMap<String, Stopped>,
    /// Counts the changes of what is wanted, from 1.
    #[serde(default = "first_revision")]
    pub revision: u64,
    /// When it was first deployed.
    pub created_at: DateTime<Utc>,
    /// When its desired state last changed.
    pub updated_at: DateTime<Utc>,
    /// It is being removed.
    pub removing: bool,
    /// The operation in progress.
    pub operation: Option<OperationId>,
    /// What is in progress is a canary.
    #[serde(default)]
    pub canary: Option<Canary>,
}

/// That of a record which was kept before revisions were counted.
fn first_revision() -> u64 {
    1
}

impl AppRecord {
    /// The number in the app's `ETag`: another one after each change of what is wanted, also when an app of this
    /// name was removed and deployed anew. 0 for a record that is not kept yet.
    pub fn etag(&self) -> u64 {
        match self.revision {
            0 => 0,
            revision => {
                let born = u64::try_from(self.created_at.timestamp_micros());
                born.unwrap_or(0).saturating_add(revision)
            }
        }
    }

    /// The proc of the current release by its name, as the file has it.
    pub fn declared(&self, name: &ProcName) -> Option<&ProcSpec> {
        self.current.spec.procs.iter().find(|p| &p.name == name)
    }

    /// The proc of the current release by its name, with operators' changes applied.
    pub fn proc(&self, name: &ProcName) -> Option<ProcSpec> {
        let declared = self.declared(name)?;
        Some(self.effective(declared).into_owned())
    }

    /// All procs of the current release with operators' changes applied, in the order of the file.
    pub fn procs(&self) -> Vec<ProcSpec> {
        self.current
            .spec
            .procs
            .iter()
            .map(|p| self.effective(p).into_owned())
            .collect()
    }

    /// `proc` with operators' changes applied.
    pub fn effective<'a>(&self, proc: &'a ProcSpec) -> Cow<'a, ProcSpec> {
        let over = (!self.overrides.is_empty()).then(|| self.overrides.get(&proc.full_name()));
        let Some(over) = over.flatten() else {
            return Cow::Borrowed(proc);
        };
        let mut proc = proc.clone();
        proc.num_instances = over.num_instances.unwrap_or(proc.num_instances);
        proc.cpu = over.cpu.unwrap_or(proc.cpu);
        proc.memory = over.memory.unwrap_or(proc.memory);
        proc.spares = over.spares.unwrap_or(proc.spares);
        Cow::Owned(proc)
    }

    /// What operators' changes hide of the file, such as `num_instances: 3 in lain.yaml`.
    pub fn drift(&self, proc: &ProcSpec) -> Vec<String> {
        let Some(over) = self.overrides.get(&proc.full_name()) else {
            return Vec::new();
        };
        let mut drift = Vec::new();
        let mut note = |key: &str, file: String, changed: bool| {
            if changed {
                drift.push(format!("{key}: {file} in lain.yaml"));
            }
        };
        let differs = |over: Option<u32>, file: u32| over.is_some_and(|o| o != file);
        note(
            "num_instances",
            proc.num_instances.to_string(),
            differs(over.num_instances, proc.num_instances),
        );
        note("cpu", proc.cpu.to_string(), differs(over.cpu, proc.cpu));
        note(
            "memory",
            size_text(proc.memory),
            over.memory.is_some_and(|m| m != proc.memory),
        );
        note(
            "spares",
            proc.spares.to_string(),
            differs(over.spares, proc.spares),
        );
        drift
    }

    /// Whether operators stopped this instance.
    pub fn is_stopped(&self, full_name: &str, no: u32) -> bool {
        self.stopped.get(full_name).is_some_and(|s| s.covers(no))
    }

    /// The version of a proc in the current release; 0 for one that is not in it.
    pub fn version(&self, full_name: &str) -> u64 {
        self.current.versions.get(full_name).copied().unwrap_or(0)
    }

    /// The release that holds `version` of a proc, the newest one if several do.
    pub fn release_of(&self, full_name: &str, version: u64) -> Option<&Release> {
        let all = std::iter::once(&self.current)
            .chain(&self.previous)
            .chain(&self.history);
        all.into_iter()
            .find(|release| release.versions.get(full_name) == Some(&version))
    }

    /// The highest version that a proc ever had, as far as is known; 0 for a new one.
    pub fn highest_version(&self, full_name: &str) -> u64 {
        let all = std::iter::once(&self.current)
            .chain(&self.previous)
            .chain(&self.history);
        all.into_iter()
            .filter_map(|release| release.versions.get(full_name))
            .max()
            .copied()
            .unwrap_or(0)
    }

    /// Makes `next` the current release and the one before it `previous`, if that was good or no better one is known;
    /// what is neither goes to the history, of which [`HISTORY_KEPT`] releases are kept, and all that `placements`
    /// still run.
    pub fn succeed(&mut self, next: Release, placements: &[Placement]) {
        let last = std::mem::replace(&mut self.current, next);
        if last.versions == self.current.versions {
            return;
        }
        let keeps_previous = !last.good && self.previous.as_ref().is_some_and(|p| p.good);
        let older = match keeps_previous {
            true => Some(last),
            false => self.previous.replace(last),
        };
        if let Some(older) = older {
            self.history.insert(0, older);
        }
        let runs = |release: &Release, placement: &Placement| {
            let id = &placement.instance;
            let full_name = id.full_name();
            release.versions.get(&full_name) == Some(&placement.version)
        };
        let mut kept = 0;
        self.history.retain(|release| {
            kept += 1;
            kept <= HISTORY_KEPT || placements.iter().any(|p| runs(release, p))
        });
    }
}

/// Releases kept besides the current one and the one before it.
pub const HISTORY_KEPT: usize = 10;

/// Bytes as LAIN writes them: `64m`, `1g`, else bytes.
pub fn size_text(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match bytes {
        b if b > 0 && b % GIB == 0 => format!("{}g", b / GIB),
        b if b > 0 && b % MIB == 0 => format!("{}m", b / MIB),
        b => b.to_string(),
    }
}

/// Where an instance runs and as what: durable, so that a restart of lain finds it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Which instance.
    #[serde(with = "crate::domain::crash::instance_text")]
    pub instance: InstanceId,
    /// Its node.
    pub node: NodeName,
    /// The version that it runs or is to run.
    pub version: u64,
    /// LAIN's drift count: counts re-placements.
    pub drift: u64,
    /// Active or spare.
    pub role: InstanceRole,
    /// CPU level and memory in bytes that were last applied.
    pub resources: (u32, u64),
    /// The host port of each of its ports.
    pub ports: Vec<(Port, u16)>,
    /// Restarts in all.
    pub restarts: u64,
    /// Crashes in all.
    #[serde(default)]
    pub crashes: u64,
    /// Its newest crash report.
    pub last_crash: Option<String>,
    /// How often its node gave up on it in a row; 0 once it was healthy for a while.
    pub gave_up: u32,
    /// How it ended, where it is not to run again: an exit, or why it was given up for good.
    pub finished: Option<String>,
    /// Nodes that gave up on it, and how often; forgotten once it was healthy for a while.
    #[serde(default)]
    pub failed_on: Vec<(NodeName, u32)>,
    /// Why it could not be placed anywhere, while that is so.
    #[serde(default)]
    pub unplaced: Option<String>,
    /// Its place went to another one, of a higher priority: it is to go to another node, if there is one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evicted: bool,
    /// Its turn in a change has not come: nothing was begun for it yet.
    #[serde(default)]
    pub waits: bool,
    /// Higher for each container of it than for all before: what an instance that may run only once is known by
    /// where it writes.
    #[serde(default)]
    pub generation: u64,
}

impl Placement {
    /// Whether it has ended for good, and well: exit code 0.
    pub fn is_done(&self) -> bool {
        self.finished.as_deref().is_some_and(ended_well)
    }

    /// Whether it has ended for good, and not well.
    pub fn has_failed(&self) -> bool {
        self.finished.as_deref().is_some_and(|how| !ended_well(how))
    }
}

/// How an instance ended that a rollback put back as ended, without another run.
pub const NOT_REPEATED: &str = "done by an earlier run; a rollback does not repeat it";

/// Whether the text of [`Placement::finished`] tells of a good end.
pub fn ended_well(how: &str) -> bool {
    how == "exit code 0" || how == NOT_REPEATED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_lain_writes_them() {
        for (bytes, text) in [(32 << 20, "32m"), (1 << 30, "1g"), (1000, "1000"), (0, "0")] {
            assert_eq!(size_text(bytes), text);
        }
    }

    #[test]
    fn an_ending_is_good_only_with_exit_code_0() {
        for (how, good) in [
            ("exit code 0", true),
            (NOT_REPEATED, true),
            ("exit code 0, out of memory", false),
            ("exit code 1", false),
            ("replaced by the next run", false),
        ] {
            assert_eq!(ended_well(how), good, "{how}");
        }
    }

    #[test]
    fn a_stopped_proc_covers_every_instance() {
        let some = Stopped {
            all: false,
            instances: [2].into(),
        };
        assert!(!some.covers(1) && some.covers(2));
        assert!(
            Stopped {
                all: true,
                instances: BTreeSet::new()
            }
            .covers(7)
        );
    }
}
