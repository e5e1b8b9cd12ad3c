//! The beginning and the end of an operation: what it makes durable before its first step and after its last.
//!
//! Called by `rollout`. Everything here may be repeated after a crash at any point.

use crate::actors::agent::node;
use crate::actors::control::rollout::{Begin, Rollout};
use crate::actors::control::{app, carry, paths, placing, render, reread};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::id::{AppName, InstanceId, OperationId};
use crate::domain::plan::{self, Step};
use crate::domain::record::{AppRecord, Placement, Release, keys};
use crate::domain::view::{OperationState, OperationStep, OperationView, PlanAction};
use crate::ports::store::{self, Compare, Outcome, StoreError};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The pause before the end of an operation that the store did not take is tried again.
const CONCLUDE_AGAIN: Duration = Duration::from_secs(1);

/// An operation that has ended.
pub struct Change {
    /// Its app.
    pub app: AppName,
    /// How it ended.
    pub operation: OperationView,
    /// What it did.
    pub steps: Vec<Step>,
}

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
    let why = record
        .previous
        .as_ref()
        .map(|p| changes(p, &record.current, registry))
        .unwrap_or_default();
    plan::plan(record, placements, &why)
}

/// A step as an operation shows it before it has begun.
pub fn pending(step: &Step) -> OperationStep {
    OperationStep {
        step: step.view(),
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
    let placements = shared.world.placements(app);
    let steps = match view.kind.as_str() {
        "restart" | "stop" | "start" => remaining(&view, &placements),
        kind => {
            let registry = &shared.settings.site.registry;
            let steps = plan_for(&versioned.record, &placements, registry);
            match kind {
                "reconcile" => plan::without_asking(steps, &placements),
                _ => with_begun(steps, &view, &versioned.record, &placements),
            }
        }
    };
    if let Err(reason) = place(shared, &versioned.record, &steps).await {
        return Err((view, reason));
    }
    view.steps = steps.iter().map(pending).collect();
    Ok((steps, view))
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
    for step in &creates {
        let proc = record
            .proc(&step.instance.proc)
            .ok_or_else(|| format!("proc {} is gone", step.instance.proc))?;
        wanted.push((step.instance.clone(), proc, step.version));
    }
    // From the choice of nodes to the mirror that the next choice looks at, nobody else chooses.
    let _turn = shared.placing.lock().await;
    let nodes = match wanted.is_empty() {
        true => Vec::new(),
        false => placing::place_new(shared, &wanted)?,
    };
    for ((step, (id, proc, _)), node) in creates.iter().zip(&wanted).zip(&nodes) {
        let mut placement = carry::allocate(shared, node, id, proc, &taken)?;
        taken.extend(placement.ports.iter().map(|p| (node.name.clone(), p.1)));
        (placement.version, placement.role) = (step.version, step.role);
        placement.waits = true;
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
    if !changes.is_empty() {
        shared
            .store
            .transact(Vec::new(), changes)
            .await
            .map_err(|e| e.to_string())?;
    }
    for placement in fresh {
        for cell in shared.node.of(&placement.instance) {
            node::set_role(shared, &cell, placement.role);
        }
        shared.world.put_placement(placement);
    }
    drop(turn);
    Ok(())
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

/// What follows from the end of an operation: the app is at rest, gone, or on its way back. Tried until the store
/// takes it: an app whose record names an operation that has ended would wait for it for ever.
pub async fn conclude(shared: &Arc<Shared>, change: &Change) {
    loop {
        let outcome = match change.operation.state {
            OperationState::Succeeded if change.operation.kind == "undeploy" => {
                remove_app(shared, &change.app).await
            }
            OperationState::Failed if change.operation.kind == "deploy" => {
                roll_back(shared, change).await
            }
            _ => settle(shared, change).await,
        };
        let Err(error) = outcome else { return };
        crate::actors::recorder::announce_store_trouble(shared, &error);
        tokio::time::sleep(CONCLUDE_AGAIN).await;
    }
}

/// The operation is no longer in progress, unless a newer one is.
async fn settle(shared: &Arc<Shared>, change: &Change) -> Result<(), StoreError> {
    update_app(shared, &change.app, |record| {
        let mine = record
            .operation
            .as_ref()
            .is_some_and(|id| id.as_str() == change.operation.id);
        if mine {
            record.operation = None;
        }
        mine
    })
    .await
}

async fn remove_app(shared: &Arc<Shared>, app: &AppName) -> Result<(), StoreError> {
    let changes = vec![
        store::Change::Delete(keys::app(app)),
        store::Change::DeletePrefix(keys::instances_of(app)),
        store::Change::DeletePrefix(format!("{}{app}/", keys::RUNS)),
    ];
    let turn = shared.keeping.read().await;
    shared.store.transact(Vec::new(), changes).await?;
    shared.world.remove_app(app);
    drop(turn);
    shared
        .hub
        .emit(Event::new("app_removed", Level::Info, format!("app {app} was removed")).app(app));
    app::drop_app(shared, app).await;
    Ok(())
}

/// Goes back to the release before, where there is one and the file does not forbid it.
async fn roll_back(shared: &Arc<Shared>, change: &Change) -> Result<(), StoreError> {
    let placements = shared.world.placements(&change.app);
    let mut text = None;
    let begun = begin(shared, &change.app, "rollback", |record| {
        let mine = record.operation.as_ref();
        if mine.is_none_or(|op| op.as_str() != change.operation.id) {
            return Start::Nothing;
        }
        let allowed = record
            .current
            .spec
            .procs
            .iter()
            .all(|p| p.update.auto_rollback);
        let Some(previous) = record.previous.clone().filter(|_| allowed) else {
            record.operation = None;
            return Start::Rest;
        };
        // The failed release stays known until its last container is replaced.
        record.succeed(previous, &placements);
        record.revision += 1;
        let why = change.operation.error.as_deref();
        let why = why.unwrap_or("no reason was given");
        text = Some(format!(
            "the deploy of {} failed and is rolled back: {why}",
            change.app
        ));
        Start::Operation
    })
    .await?;
    if let (Some(id), Some(text)) = (begun, text) {
        let event = Event::new("rollback_started", Level::Error, text);
        shared.hub.emit(event.app(&change.app).operation(&id));
    }
    Ok(())
}

/// Begins an operation that makes what runs as it is wanted, where it is not and nothing is in progress.
///
/// # Errors
/// What the store said.
pub async fn reconcile(shared: &Arc<Shared>, app: &AppName) -> Result<(), StoreError> {
    let registry = shared.settings.site.registry.clone();
    let placements = shared.world.placements(app);
    if shared.world.app(app).is_some_and(|a| a.record.removing) {
        // Its removal was acknowledged and was cut off: it goes on until it is done.
        let begun = begin(shared, app, "undeploy", |record| {
            match record.removing && record.operation.is_none() {
                true => Start::Operation,
                false => Start::Nothing,
            }
        });
        return begun.await.map(drop);
    }
    begin(shared, app, "reconcile", |record| {
        let steps = plan_for(record, &placements, &registry);
        let differs = !plan::without_asking(steps, &placements).is_empty();
        match record.operation.is_none() && !record.removing && differs {
            true => Start::Operation,
            false => Start::Nothing,
        }
    })
    .await
    .map(drop)
}

/// What a change of a record leads to.
enum Start {
    /// It was not changed.
    Nothing,
    /// It was changed, and is at rest.
    Rest,
    /// It was changed, and an operation begins.
    Operation,
}

/// Changes a record and begins an operation of lain's own, durable together.
async fn begin(
    shared: &Arc<Shared>,
    app: &AppName,
    kind: &str,
    mut change: impl FnMut(&mut AppRecord) -> Start,
) -> Result<Option<OperationId>, StoreError> {
    let now = shared.clock.now_utc();
    let Ok(id) = OperationId::new(crate::actors::agent::crash::new_id()) else {
        return Ok(None);
    };
    let fresh = operation(&id, kind, app, "lain", now);
    // The operation first: a record never names one that is not known.
    let key = keys::operation(id.as_str());
    let mut begun = false;
    let Some(versioned) = shared.world.app(app) else {
        return Ok(None);
    };
    if matches!(
        change(&mut AppRecord::clone(&versioned.record)),
        Start::Nothing
    ) {
        return Ok(None);
    }
    let put = store::Change::Put(key, encode(&fresh)?);
    shared.store.transact(Vec::new(), vec![put]).await?;
    shared.world.put_operation(fresh);
    update_app(shared, app, |record| {
        begun = false;
        match change(record) {
            Start::Nothing => return false,
            Start::Rest => {}
            Start::Operation => {
                record.operation = Some(id.clone());
                begun = true;
            }
        }
        record.updated_at = now;
        true
    })
    .await?;
    if begun {
        shared.tell::<Rollout, _>(&paths::rollout(app), Begin);
    }
    Ok(begun.then_some(id))
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
        crashes: Vec::new(),
    }
}
