//! The beginning of an operation: its plan, and what it makes durable before its first step.
//!
//! Called by `rollout` and the control handle. Everything here may be repeated after a crash at any point.

use crate::actors::agent::cell::ContainerCell;
use crate::actors::agent::node;
use crate::actors::control::evict::evict;
use crate::actors::control::steps::deadline;
use crate::actors::control::{carry, placing, render, reread};
use crate::actors::recorder::{Record, Touch};
use crate::actors::shared::Shared;
use crate::domain::id::{AppName, InstanceId, OperationId, ProcName, ProcType};
use crate::domain::plan::{self, Step, stages};
use crate::domain::record::{AppRecord, Placement, Release, keys};
use crate::domain::rollout::Machine;
use crate::domain::spec::model::{ProcSpec, UpdateSpec};
use crate::domain::view::{OperationState, OperationStep, OperationView, PlanAction};
use crate::ports::agent::Want;
use crate::ports::store::{self, Compare, Outcome, StoreError};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Why each proc needs new containers, by full name.
pub fn changes(from: &Release, to: &Release, registry: &str) -> BTreeMap<String, Vec<String>> {
    let image = |proc, release| render::image_of(proc, release, registry).unwrap_or_default();
    to.spec
        .procs
        .iter()
        .filter_map(|new| {
            let old = from.spec.procs.iter().find(|p| p.name == new.name)?;
            let why = render::container_changes((old, &image(old, from)), (new, &image(new, to)));
            (!why.is_empty()).then(|| (new.full_name(), why))
        })
        .collect()
}

/// The steps that lead from what is placed to what a record wants.
pub fn plan_for(record: &AppRecord, placements: &[Placement], registry: &str) -> Vec<Step> {
    let mut steps = plan::plan(record, placements, &reasons(record, placements, registry));
    let first = match record.canary_in_progress().is_some() {
        true => canaries_of(record, placements, &steps).0,
        false => Vec::new(),
    };
    for index in first {
        if steps[index].action == PlanAction::Recreate {
            steps[index].changes.push(CANARY.to_owned());
        }
    }
    steps
}

/// What a plan says of a step that others wait for.
const CANARY: &str = "canary: the others wait until it is promoted";

/// Why each proc needs new containers, by full name: what its instances run that do not run what is wanted.
fn reasons(
    record: &AppRecord,
    placements: &[Placement],
    registry: &str,
) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for placement in placements {
        let name = placement.instance.full_name();
        let known = all.contains_key(&name) || placement.version == record.version(&name);
        if let (false, Some(runs)) = (known, record.release_of(&name, placement.version))
            && let Some(why) = changes(runs, &record.current, registry).remove(&name)
        {
            all.insert(name, why);
        }
    }
    all
}

/// The steps that come before a canary is judged, and those that wait for its promotion.
pub fn canaries_of(
    record: &AppRecord,
    placements: &[Placement],
    steps: &[Step],
) -> (Vec<usize>, Vec<usize>) {
    let left = |id: &InstanceId| record.canaries_left(&id.proc, placements);
    let is_placed = |id: &InstanceId| placements.iter().any(|p| &p.instance == id);
    plan::canaries(steps, left, is_placed)
}

/// The procs that a record wants, with operators' changes applied, by name: of each there are many instances.
fn procs_of(record: &AppRecord) -> BTreeMap<ProcName, Arc<ProcSpec>> {
    let procs = record.procs().into_iter();
    procs.map(|p| (p.name.clone(), Arc::new(p))).collect()
}

/// How the steps of an operation are carried out: in which stages, and by when; what waits for a canary's judgement
/// comes last.
pub fn machine(shared: &Shared, record: &AppRecord, steps: Vec<Step>) -> Machine {
    let procs = procs_of(record);
    let proc = |id: &InstanceId| procs.get(&id.proc).map(|proc| &**proc);
    let window = |id: &InstanceId| match proc(id) {
        Some(proc) => proc
            .update
            .window(proc.num_instances, carry::may_overlap(proc)),
        None => UpdateSpec::default().window(1, false),
    };
    let deadlines = steps.iter().map(|s| deadline(proc(&s.instance)));
    let deadlines = deadlines.collect();
    if record.canary_in_progress().is_none() {
        let all: Vec<usize> = (0..steps.len()).collect();
        let all = stages(&steps, &all, window);
        return Machine::new(steps, all, deadlines);
    }
    let placements = shared.world.placements(&record.current.spec.appname);
    let (first, rest) = canaries_of(record, &placements, &steps);
    let mut all = stages(&steps, &first, window);
    let gate = all.len();
    all.extend(stages(&steps, &rest, window));
    Machine::new(steps, all, deadlines).gated(gate)
}

/// A step as an operation shows it before it has begun.
pub fn pending(step: &Step) -> OperationStep {
    OperationStep {
        step: Arc::new(step.view()),
        state: OperationState::Pending,
        detail: String::new(),
        started_at: None,
        ended_at: None,
    }
}

/// The steps of an operation, and everything durable that they need: placements with their host ports.
///
/// # Errors
/// The operation and why it cannot begin.
pub async fn prepare(
    shared: &Arc<Shared>,
    app: &AppName,
    mut view: OperationView,
) -> Result<(Vec<Step>, OperationView), (OperationView, String)> {
    let Some(versioned) = shared.world.app(app) else {
        return Err((view, format!("app {app} is gone")));
    };
    drop(shared.dropping.write().await);
    let placements = shared.world.placements(app);
    let steps = match view.kind.as_str() {
        "restart" | "stop" | "start" => remaining(&view, &placements),
        kind => {
            let registry = &shared.settings.site.registry;
            let steps = plan_for(&versioned.record, &placements, registry);
            match kind {
                "reconcile" => {
                    let mut steps = plan::without_asking(steps, &placements);
                    steps.extend(absent(shared, &versioned.record, &placements, &steps));
                    steps
                }
                _ => {
                    let mut steps = with_begun(steps, &view, &versioned.record, &placements);
                    steps.extend(absent(shared, &versioned.record, &placements, &steps));
                    steps
                }
            }
        }
    };
    if let Err(reason) = place(shared, &versioned.record, &steps).await {
        return Err((view, reason));
    }
    view.steps = steps.iter().map(pending).collect();
    Ok((steps, view))
}

/// Steps for what is to run and is on no node, since what was at work on it was given up or failed.
pub fn absent(
    shared: &Shared,
    record: &AppRecord,
    placements: &[Placement],
    steps: &[Step],
) -> Vec<Step> {
    let runs_on = |p: &&Placement| {
        let id = &p.instance;
        let ends = matches!(id.proc_type, ProcType::Oneshot | ProcType::Cron);
        let waits = p.gave_up > 0 || p.unplaced.is_some() || p.evicted;
        !ends && !waits && placing::is_to_run(Some(record), p) && !record.removing
    };
    // One that was being put away when its step was given up may still be known, and is desired by nobody.
    let is_desired = |cell: &Arc<ContainerCell>| {
        let node = shared.nodes.get(cell.node());
        node.is_some_and(|n| n.desired(cell.name()).is_some_and(|d| d.want == Want::Run))
    };
    let absent = placements.iter().filter(runs_on).filter(|p| {
        let planned = steps.iter().any(|s| s.instance == p.instance);
        // On this very host its own actor looks after that, and may only have begun to adopt it.
        let remote = shared.nodes.get(&p.node).is_some_and(|n| !n.local);
        remote && !planned && !shared.node.of(&p.instance).iter().any(is_desired)
    });
    let absent = absent.map(|p| Step {
        action: PlanAction::Create,
        instance: p.instance.clone(),
        role: p.role,
        version: p.version,
        changes: Vec::new(),
        stop_first: false,
    });
    absent.collect()
}

/// Whether an instance is among those that its app is to have.
pub fn is_wanted(shared: &Shared, id: &InstanceId) -> bool {
    let Some(app) = shared.world.app(&id.app).filter(|a| !a.record.removing) else {
        return false;
    };
    let placements = shared.world.placements(&id.app);
    let steps = plan_for(&app.record, &placements, &shared.settings.site.registry);
    let gone = |s: &Step| &s.instance == id && s.action == PlanAction::Delete;
    !steps.iter().any(gone)
}

/// Adds what a lain that died had begun and not seen to its end: it is waited for, as the operation would have.
fn with_begun(
    mut steps: Vec<Step>,
    view: &OperationView,
    record: &AppRecord,
    placements: &[Placement],
) -> Vec<Step> {
    let open = view.steps.iter().filter(|shown| {
        let brings_up = matches!(
            shown.step.action,
            PlanAction::Create | PlanAction::Recreate | PlanAction::Start
        );
        brings_up && shown.state != OperationState::Succeeded
    });
    for shown in open {
        let placement = placements
            .iter()
            .find(|p| p.instance.to_string() == shown.step.target);
        let Some(placement) = placement else { continue };
        let id = &placement.instance;
        let current = record.version(&id.full_name()) == placement.version;
        if current && placement.finished.is_none() && !steps.iter().any(|s| &s.instance == id) {
            steps.push(Step {
                action: PlanAction::Create,
                instance: id.clone(),
                role: placement.role,
                version: placement.version,
                changes: Vec::new(),
                stop_first: false,
            });
        }
    }
    // As in the file, so that what waits for a oneshot proc waits for it again.
    let procs = &record.current.spec.procs;
    let place = |step: &Step| procs.iter().position(|p| p.name == step.instance.proc);
    steps.sort_by_key(|step| {
        let last = step.action == PlanAction::Delete;
        (last, if last { None } else { place(step) })
    });
    steps
}

/// The steps of a command that have not been done, rebuilt from what the operation shows.
fn remaining(view: &OperationView, placements: &[Placement]) -> Vec<Step> {
    let open = view
        .steps
        .iter()
        .filter(|s| s.state != OperationState::Succeeded);
    open.filter_map(|shown| {
        let instance: InstanceId = shown.step.target.parse().ok()?;
        let placement = placements.iter().find(|p| p.instance == instance)?;
        let (role, version) = (placement.role, placement.version);
        Some(Step {
            action: shown.step.action,
            instance,
            role,
            version,
            changes: shown.step.changes.clone(),
            stop_first: false,
        })
    })
    .collect()
}

/// Commits the placements of all instances that are to be created, and roles that a scale changes.
async fn place(shared: &Arc<Shared>, record: &AppRecord, steps: &[Step]) -> Result<(), String> {
    let mut taken = HashSet::new();
    let mut fresh = Vec::new();
    let creates = steps.iter().filter(|s| s.action == PlanAction::Create);
    let creates = creates.filter(|s| shared.world.placement(&s.instance).is_none());
    let creates: Vec<&Step> = creates.collect();
    let mut wanted = Vec::with_capacity(creates.len());
    let procs = procs_of(record);
    for step in &creates {
        let name = &step.instance.proc;
        let proc = procs
            .get(name)
            .ok_or_else(|| format!("proc {name} is gone"))?;
        wanted.push((step.instance.clone(), Arc::clone(proc), step.version));
    }
    // From the choice of nodes to the mirror that the next choice looks at, nobody else chooses.
    let _turn = shared.placing.lock().await;
    let (nodes, evictions) = match wanted.is_empty() {
        true => (Vec::new(), Vec::new()),
        false => placing::place_new(shared, &wanted)?,
    };
    // Where all begin at once none has to wait for its turn, and a write for each is saved. What is cut off before it
    // began is found by `absent`, on other hosts.
    let begins = |s: &Step| s.action == PlanAction::Create && !plan::runs_to_its_end(s);
    let at_once = record.canary_in_progress().is_none() && steps.iter().all(begins);
    for ((step, (id, proc, _)), node) in creates.iter().zip(&wanted).zip(&nodes) {
        let mut placement = carry::allocate(shared, node, id, proc, &taken)?;
        taken.extend(placement.ports.iter().map(|p| (node.name.clone(), p.1)));
        (placement.version, placement.role) = (step.version, step.role);
        placement.waits = node.local || !at_once;
        fresh.push(placement);
    }
    let doomed: HashSet<&InstanceId> = steps
        .iter()
        .filter(|s| s.action == PlanAction::Delete)
        .map(|s| &s.instance)
        .collect();
    let roles = role_changes(shared, record, &fresh, &doomed);
    fresh.extend(roles);
    let changes = fresh.iter().map(|p| {
        Ok(store::Change::Put(
            keys::instance(&p.instance),
            serde_json::to_vec(p)?,
        ))
    });
    let changes = changes
        .collect::<Result<Vec<_>, serde_json::Error>>()
        .map_err(|e| e.to_string())?;
    let turn = shared.keeping.read().await;
    if !changes.is_empty()
        && let Err(error) = shared.store.transact(Vec::new(), changes).await
    {
        // They may have been written all the same: instances that nobody would know of.
        for placement in fresh {
            let again = Record::Placement(placement.instance, Touch::Again);
            shared.recorder.send(again);
        }
        return Err(error.to_string());
    }
    for placement in fresh {
        for cell in shared.node.of(&placement.instance) {
            node::set_role(shared, &cell, placement.role);
        }
        shared.world.put_placement(placement);
    }
    drop(turn);
    evict(shared, &evictions).await
}

/// Placements whose role changes so that as many are active as the record wants.
fn role_changes(
    shared: &Shared,
    record: &AppRecord,
    fresh: &[Placement],
    doomed: &HashSet<&InstanceId>,
) -> Vec<Placement> {
    let all = shared.world.placements(&record.current.spec.appname);
    let mut changed = Vec::new();
    for proc in record.procs() {
        let mine = |p: &&Placement| p.instance.proc == proc.name && !doomed.contains(&p.instance);
        let placements: Vec<Placement> = all
            .iter()
            .filter(mine)
            .chain(fresh.iter().filter(mine))
            .cloned()
            .collect();
        for (id, role) in plan::rebalance_roles(proc.num_instances, &placements) {
            // A new placement has the role that its number gives it; only those that exist change.
            if let Some(placement) = all.iter().find(|p| p.instance == id) {
                changed.push(Placement {
                    role,
                    ..placement.clone()
                });
            }
        }
    }
    changed
}

/// Changes an app's record by compare-and-swap, in the store first; `change` says whether there is anything to
/// write.
///
/// # Errors
/// What the store said.
pub async fn update_app(
    shared: &Arc<Shared>,
    app: &AppName,
    mut change: impl FnMut(&mut AppRecord) -> bool,
) -> Result<(), StoreError> {
    loop {
        let Some(versioned) = shared.world.app(app) else {
            return Ok(());
        };
        let mut record = AppRecord::clone(&versioned.record);
        if !change(&mut record) {
            return Ok(());
        }
        let json = encode(&record)?;
        let condition = Compare::RevisionIs(keys::app(app), versioned.revision);
        let put = store::Change::Put(keys::app(app), json);
        match shared.store.transact(vec![condition], vec![put]).await? {
            Outcome::Committed(revision) => {
                shared.world.put_app(record, revision);
                return Ok(());
            }
            Outcome::Refused(_, None) => return Ok(()),
            Outcome::Refused(_, Some(entry)) => reread::take_over(shared, app, &entry).await?,
        }
    }
}

/// A value as the JSON that the store keeps.
///
/// # Errors
/// [`StoreError::Failed`] for a value that JSON cannot hold.
pub fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|e| StoreError::Failed {
        action: "write a record as JSON".to_owned(),
        reason: e.to_string(),
    })
}

/// A new operation without steps.
pub fn operation(
    id: &OperationId,
    kind: &str,
    app: &AppName,
    actor: &str,
    now: chrono::DateTime<chrono::Utc>,
) -> OperationView {
    OperationView {
        id: id.to_string(),
        kind: kind.to_owned(),
        app: app.to_string(),
        state: OperationState::Pending,
        actor: actor.to_owned(),
        started_at: now,
        ended_at: None,
        steps: Vec::new(),
        error: None,
        revision: None,
        waiting: None,
        crashes: Vec::new(),
    }
}
