//! Desired state × placements → ordered steps. Plan, then execute: the plan leaves no choice open.
//!
//! A dry run prints the very steps that a run carries out. Called by the control handle (to answer) and
//! by the rollout (to act, and to take up again after a restart of lain).

use crate::domain::id::{InstanceId, ProcType};
use crate::domain::record::{AppRecord, Placement, size_text};
use crate::domain::spec::model::ProcSpec;
use crate::domain::view::{InstanceRole, PlanAction, PlanStep};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is done to one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub action: PlanAction,
    /// To which instance.
    #[serde(with = "crate::domain::crash::instance_text")]
    pub instance: InstanceId,
    /// Active or spare.
    pub role: InstanceRole,
    /// The version that it has afterwards.
    pub version: u64,
    /// Field changes, for people.
    pub changes: Vec<String>,
}

impl Step {
    /// The step as the API shows it.
    pub fn view(&self) -> PlanStep {
        PlanStep {
            action: self.action,
            target: self.instance.to_string(),
            changes: self.changes.clone(),
        }
    }
}

/// An instance that the desired state wants: its number and role.
fn wanted(proc: &ProcSpec) -> Vec<(u32, InstanceRole)> {
    // A cron proc has no instance at rest: each run makes its own.
    if proc.proc_type == ProcType::Cron {
        return Vec::new();
    }
    let active = (1..=proc.num_instances).map(|no| (no, InstanceRole::Active));
    let spares = (1..=proc.spares).map(|n| (proc.num_instances + n, InstanceRole::Spare));
    active.chain(spares).collect()
}

/// The steps from `placements` to what `record` wants. `changes` says, by proc full name, why a proc needs
/// new containers. Deterministic, and empty when nothing is to be done.
pub fn plan(
    record: &AppRecord,
    placements: &[Placement],
    changes: &BTreeMap<String, Vec<String>>,
) -> Vec<Step> {
    let procs = if record.removing {
        Vec::new()
    } else {
        record.procs()
    };
    let mut steps = Vec::new();
    let mut kept = BTreeSet::new();
    for proc in &procs {
        plan_proc(record, proc, placements, changes, &mut kept, &mut steps);
    }
    let mut gone: Vec<&Placement> = placements
        .iter()
        .filter(|p| !kept.contains(&p.instance))
        .collect();
    // LAIN: a scale-down takes the highest numbers; they go first.
    gone.sort_by(|a, b| {
        (&a.instance.proc, std::cmp::Reverse(a.instance.no))
            .cmp(&(&b.instance.proc, std::cmp::Reverse(b.instance.no)))
    });
    steps.extend(gone.into_iter().map(|placement| Step {
        action: PlanAction::Delete,
        instance: placement.instance.clone(),
        role: placement.role,
        version: placement.version,
        changes: Vec::new(),
    }));
    steps
}

fn plan_proc(
    record: &AppRecord,
    proc: &ProcSpec,
    placements: &[Placement],
    changes: &BTreeMap<String, Vec<String>>,
    kept: &mut BTreeSet<InstanceId>,
    steps: &mut Vec<Step>,
) {
    let full_name = proc.full_name();
    let version = record.version(&full_name);
    let resources = (proc.cpu, proc.memory);
    if proc.proc_type == ProcType::Cron {
        // Runs come and go by the clock; each run takes the version of its hour.
        kept.extend(
            placements
                .iter()
                .map(|p| &p.instance)
                .filter(|id| id.proc == proc.name)
                .cloned(),
        );
    }
    for (no, role) in wanted(proc) {
        let instance = InstanceId {
            app: record.current.spec.appname.clone(),
            proc_type: proc.proc_type,
            proc: proc.name.clone(),
            no,
        };
        let placement = placements.iter().find(|p| p.instance == instance);
        kept.insert(instance.clone());
        // Promotion swaps roles between numbers: a placed instance keeps the role that it has.
        let role = placement.map_or(role, |p| p.role);
        let step = |action, changes| Step {
            action,
            instance: instance.clone(),
            role,
            version,
            changes,
        };
        match placement {
            None => steps.push(step(PlanAction::Create, Vec::new())),
            Some(p) if p.version != version => {
                let why = changes.get(&full_name).cloned().unwrap_or_default();
                steps.push(step(PlanAction::Recreate, why));
            }
            Some(p) if p.resources != resources => {
                steps.push(step(
                    PlanAction::UpdateInPlace,
                    resource_changes(p.resources, resources),
                ));
            }
            Some(_) => {}
        }
    }
}

fn resource_changes(from: (u32, u64), to: (u32, u64)) -> Vec<String> {
    let mut changes = Vec::new();
    if from.0 != to.0 {
        changes.push(format!("cpu: {} → {}", from.0, to.0));
    }
    if from.1 != to.1 {
        changes.push(format!(
            "memory: {} → {}",
            size_text(from.1),
            size_text(to.1)
        ));
    }
    changes
}

/// Roles after a scale: promotion may have left a spare among the low numbers, and a change of counts must
/// leave `num_instances` active ones. Returns the placements whose role changes.
pub fn rebalance_roles(
    active_wanted: u32,
    placements: &[Placement],
) -> Vec<(InstanceId, InstanceRole)> {
    let mut sorted: Vec<&Placement> = placements.iter().collect();
    sorted.sort_by_key(|p| (p.role == InstanceRole::Spare, p.instance.no));
    sorted
        .into_iter()
        .enumerate()
        .filter_map(|(index, p)| {
            let active = u32::try_from(index).is_ok_and(|i| i < active_wanted);
            let role = if active {
                InstanceRole::Active
            } else {
                InstanceRole::Spare
            };
            (p.role != role).then(|| (p.instance.clone(), role))
        })
        .collect()
}

/// Groups steps into batches: the steps of a batch run side by side, batches one after another.
///
/// Creations, restarts of stopped ones and in-place changes first, all at once; then each proc's instances
/// are replaced or restarted `parallelism` at a time, in the order of the steps; deletions last.
pub fn batches(steps: &[Step], parallelism: impl Fn(&InstanceId) -> u32) -> Vec<Vec<usize>> {
    let mut first = Vec::new();
    let mut rolling: Vec<Vec<usize>> = Vec::new();
    let mut last = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match step.action {
            PlanAction::Create | PlanAction::UpdateInPlace | PlanAction::Start => first.push(index),
            PlanAction::Delete | PlanAction::Stop => last.push(index),
            PlanAction::Recreate | PlanAction::Restart => {
                let room =
                    usize::try_from(parallelism(&step.instance).max(1)).unwrap_or(usize::MAX);
                let joins = rolling.last().is_some_and(|batch: &Vec<usize>| {
                    batch.len() < room && steps[batch[0]].instance.proc == step.instance.proc
                });
                match rolling.last_mut() {
                    Some(batch) if joins => batch.push(index),
                    _ => rolling.push(vec![index]),
                }
            }
        }
    }
    std::iter::once(first)
        .chain(rolling)
        .chain(std::iter::once(last))
        .filter(|batch| !batch.is_empty())
        .collect()
}
