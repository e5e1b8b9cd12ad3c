//! Desired state × placements → ordered steps. Plan, then execute: the plan leaves no choice open.
//!
//! A dry run prints the very steps that a run carries out. Called by the control handle (to answer) and
//! by the rollout (to act, and to take up again after a restart of lain).

use crate::domain::id::{InstanceId, ProcName, ProcType};
use crate::domain::record::{AppRecord, Placement, size_text};
use crate::domain::spec::model::{ProcSpec, Window};
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
    /// The old container goes before the new one comes, whatever the proc's `order` says: the instance serves
    /// nobody, or is one of those that may be unavailable.
    #[serde(default)]
    pub stop_first: bool,
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
        stop_first: false,
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
            stop_first: false,
        };
        match placement {
            None => steps.push(step(PlanAction::Create, Vec::new())),
            Some(p) if p.version != version => {
                let why = match goes_back(&instance, p.version, version) {
                    true => vec![NOT_REPEATED.to_owned()],
                    false => changes.get(&full_name).cloned().unwrap_or_default(),
                };
                steps.push(step(PlanAction::Recreate, why));
            }
            // An earlier change has placed it, and ended before it came to it.
            Some(p) if p.waits => steps.push(step(PlanAction::Create, Vec::new())),
            Some(p) if must_run_again(p) && !record.is_stopped(&full_name, no) => {
                let how = p.finished.iter().map(|how| format!("failed: {how}"));
                steps.push(step(PlanAction::Start, how.collect()));
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

/// What a plan says of a oneshot proc that goes back to a version before.
const NOT_REPEATED: &str = "back to the version before; not run again";

/// Whether a change has to run what ran before: a oneshot proc that has not succeeded.
fn must_run_again(placement: &Placement) -> bool {
    placement.instance.proc_type == ProcType::Oneshot && placement.has_failed()
}

/// The steps that lain takes by itself to put right what is not as it is wanted. What a failed change did not come
/// to, or a run that failed, waits for somebody who asks for it.
pub fn without_asking(steps: Vec<Step>, placements: &[Placement]) -> Vec<Step> {
    let placed = |id: &InstanceId| placements.iter().any(|p| &p.instance == id);
    let mut steps = steps;
    steps.retain(|step| match step.action {
        PlanAction::Start => false,
        PlanAction::Create => !placed(&step.instance),
        _ => true,
    });
    steps
}

/// Whether a step takes a oneshot proc back to a version before. That version has run already, and running it
/// again would not undo what the newer one did: it is put back as ended. Versions only rise with deploys, so that
/// only a rollback goes back.
pub fn goes_back(instance: &InstanceId, placed: u64, wanted: u64) -> bool {
    instance.proc_type == ProcType::Oneshot && wanted < placed
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

/// Steps that are begun after those of the stage before have all ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Which steps.
    pub steps: Vec<usize>,
    /// How many of them may be on their way at a time; `None`: all of them.
    pub window: Option<Window>,
}

/// Groups the steps of `chosen` into stages.
///
/// Creations, restarts of stopped ones and in-place changes first, all at once; then each proc's instances
/// are replaced or restarted through the proc's window, in the order of the steps; deletions last.
///
/// The run of a oneshot proc divides what is before it from what is after it in the file: the former is up
/// before it runs, the latter waits until it has ended. A migration comes before those that need it.
pub fn stages(
    steps: &[Step],
    chosen: &[usize],
    window: impl Fn(&InstanceId) -> Window,
) -> Vec<Stage> {
    let mut all = Vec::new();
    let mut part = Part::default();
    let mut last = Vec::new();
    for &index in chosen {
        let step = &steps[index];
        match step.action {
            PlanAction::Delete | PlanAction::Stop => last.push(index),
            _ if runs_to_its_end(step) => part.run(index, steps, &mut all),
            PlanAction::Create | PlanAction::UpdateInPlace | PlanAction::Start => {
                part.close_run(&mut all);
                part.first.push(index);
            }
            PlanAction::Recreate | PlanAction::Restart => {
                part.close_run(&mut all);
                part.roll(index, steps, window(&step.instance));
            }
        }
    }
    part.close(&mut all);
    all.push(at_once(last));
    all.retain(|stage| !stage.steps.is_empty());
    all
}

fn at_once(steps: Vec<usize>) -> Stage {
    Stage {
        steps,
        window: None,
    }
}

/// Divides steps into those that are done before a canary is judged and those that wait for its promotion.
///
/// `left` says how many instances of a proc are still to be updated first. What the new version needs comes with
/// them: runs of oneshot procs, and procs that are new. More instances of a proc that is being replaced wait, as do
/// the other replacements, deletions and changes in place.
pub fn canaries(
    steps: &[Step],
    left: impl Fn(&InstanceId) -> u32,
    is_placed: impl Fn(&InstanceId) -> bool,
) -> (Vec<usize>, Vec<usize>) {
    let mut taken: BTreeMap<&ProcName, u32> = BTreeMap::new();
    let replaced = |id: &InstanceId| {
        let mut all = steps.iter().filter(|s| s.action == PlanAction::Recreate);
        all.any(|s| s.instance.proc == id.proc)
    };
    let mut first = |step| is_first(step, &mut taken, &left, &replaced, &is_placed);
    let all = steps.iter().enumerate();
    let (first, rest): (Vec<_>, Vec<_>) = all.partition(|(_, step)| first(step));
    let indices = |part: Vec<(usize, &Step)>| part.into_iter().map(|(index, _)| index).collect();
    (indices(first), indices(rest))
}

fn is_first<'s>(
    step: &'s Step,
    taken: &mut BTreeMap<&'s ProcName, u32>,
    left: &impl Fn(&InstanceId) -> u32,
    replaced: &impl Fn(&InstanceId) -> bool,
    is_placed: &impl Fn(&InstanceId) -> bool,
) -> bool {
    let id = &step.instance;
    match step.action {
        _ if runs_to_its_end(step) => true,
        PlanAction::Recreate if id.proc_type.has_canaries() => {
            let taken = taken.entry(&id.proc).or_default();
            let room = *taken < left(id);
            *taken += u32::from(room);
            room
        }
        // One that is placed was begun, and is waited for.
        PlanAction::Create => is_placed(id) || !replaced(id),
        PlanAction::Start => true,
        PlanAction::Recreate
        | PlanAction::Restart
        | PlanAction::UpdateInPlace
        | PlanAction::Stop
        | PlanAction::Delete => false,
    }
}

/// Whether a step is the run of a oneshot proc, which others wait for.
pub fn runs_to_its_end(step: &Step) -> bool {
    let runs = matches!(
        step.action,
        PlanAction::Create | PlanAction::Recreate | PlanAction::Start | PlanAction::Restart
    );
    step.instance.proc_type == ProcType::Oneshot && runs
}

/// The stages between two runs of oneshot procs, and the run after them.
#[derive(Default)]
struct Part {
    first: Vec<usize>,
    rolling: Vec<Stage>,
    run: Vec<usize>,
}

impl Part {
    /// Adds an instance that runs to its end: those of one proc run side by side.
    fn run(&mut self, index: usize, steps: &[Step], all: &mut Vec<Stage>) {
        let other = |&i: &usize| steps[i].instance.proc != steps[index].instance.proc;
        if self.run.first().is_some_and(other) {
            self.close_run(all);
        }
        self.run.push(index);
    }

    /// Adds an instance that is replaced or restarted, through its proc's window.
    fn roll(&mut self, index: usize, steps: &[Step], window: Window) {
        match self.rolling.last_mut() {
            Some(stage) if steps[stage.steps[0]].instance.proc == steps[index].instance.proc => {
                stage.steps.push(index);
            }
            _ => self.rolling.push(Stage {
                steps: vec![index],
                window: Some(window),
            }),
        }
    }

    /// What comes next waits for the run, if there is one.
    fn close_run(&mut self, all: &mut Vec<Stage>) {
        if !self.run.is_empty() {
            self.close(all);
        }
    }

    fn close(&mut self, all: &mut Vec<Stage>) {
        all.push(at_once(std::mem::take(&mut self.first)));
        all.append(&mut self.rolling);
        all.push(at_once(std::mem::take(&mut self.run)));
    }
}
