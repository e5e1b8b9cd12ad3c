//! One step of a plan carried out on one instance, from first call to readiness. Called by `instance`.
//!
//! Every step is idempotent and may be cancelled at any await: whoever repeats it finds what was done.

pub use crate::actors::control::allocate::{allocate, next_generation};

use crate::actors::agent::cell::{Assignment, ContainerCell, Health, Observed, Phase};
use crate::actors::agent::node;
use crate::actors::agent::put_away::Removal;
use crate::actors::control::draining::{self, retire_all};
use crate::actors::control::nodes::table::Node;
use crate::actors::control::render::{self, Counters};
use crate::actors::control::rollout::{Rollout, Serving};
use crate::actors::control::{job, paths, placing, views};
use crate::actors::recorder::{Record, Touch};
use crate::actors::shared::Shared;
use crate::domain::crash::CrashReport;
use crate::domain::id::{InstanceId, ProcType};
use crate::domain::labels;
use crate::domain::plan::{self, Step};
use crate::domain::record::{AppRecord, NOT_REPEATED, Placement, keys};
use crate::domain::spec::model::{ProcSpec, UpdateOrder};
use crate::domain::texts::Text;
use crate::domain::view::PlanAction;
use crate::ports::store::Change;
use arcstr::literal;
use futures_util::future::join_all;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long an instance without a health check has to run before it counts as up.
const STEADY: Duration = Duration::from_secs(1);

/// The pause before the store is asked again to take a placement.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

/// Why a step failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// In a sentence.
    pub reason: String,
    /// The crash behind it.
    pub crash: Option<Arc<CrashReport>>,
}

impl Failure {
    /// The same, said of the instance.
    pub fn of(self, cell: &ContainerCell) -> Self {
        Self {
            reason: format!("{}: {}", cell.instance(), self.reason),
            ..self
        }
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self {
            reason,
            crash: None,
        }
    }
}

/// The assignment of an instance as its placement says.
///
/// # Errors
/// A sentence when its proc or release is gone, or no image is known.
pub fn assignment(
    shared: &Shared,
    record: &AppRecord,
    placement: &Placement,
    fresh: bool,
) -> Result<Assignment, String> {
    let id = &placement.instance;
    let full_name = id.full_name();
    let release = record
        .release_of(&full_name, placement.version)
        .ok_or_else(|| {
            format!(
                "version {} of {full_name} is not known any more",
                placement.version
            )
        })?;
    let proc = release
        .spec
        .procs
        .iter()
        .find(|p| p.name == id.proc)
        .ok_or_else(|| format!("proc {full_name} is gone"))?;
    let proc = record.effective(proc);
    let counters = Counters {
        version: placement.version,
        drift: placement.drift,
    };
    let site = placing::site_of(shared, &placement.node);
    let mut container = render::container(&site, release, &proc, id, counters, &placement.ports)?;
    if proc.exclusive {
        let generation = Text::from(placement.generation.to_string());
        let env = (literal!("LAIN_GENERATION"), generation.clone());
        container.env.push(env);
        let label = literal!(labels::GENERATION);
        container.labels.insert(label, generation);
    }
    Ok(Assignment {
        instance: id.clone(),
        node: placement.node.clone(),
        version: placement.version,
        container,
        health: proc.health.clone(),
        restart: proc.restart,
        role: placement.role,
        fresh,
        exclusive: proc.exclusive,
    })
}

/// Carries out one step; resolves once the instance is as the step wants it.
///
/// # Errors
/// Why that cannot be had.
pub async fn carry_out(shared: Arc<Shared>, step: Step) -> Result<(), Failure> {
    let id = &step.instance;
    // A box each: very many wait for an instance to be ready, and none is to be as large as the largest of these.
    match step.action {
        PlanAction::Create => Box::pin(create(&shared, id, false)).await,
        PlanAction::Start => Box::pin(create(&shared, id, true)).await,
        PlanAction::Recreate => Box::pin(recreate(&shared, &step)).await,
        PlanAction::UpdateInPlace => Box::pin(update_in_place(&shared, id)).await,
        PlanAction::Restart => Box::pin(restart(&shared, id)).await,
        PlanAction::Stop => Box::pin(put_away(&shared, id, Removal::Stop)).await,
        PlanAction::Delete => Box::pin(put_away(&shared, id, Removal::Remove)).await,
    }
}

/// The node of a placement.
fn node_of(shared: &Shared, placement: &Placement) -> Result<Arc<Node>, String> {
    shared
        .nodes
        .get(&placement.node)
        .ok_or_else(|| format!("node {} of {} is gone", placement.node, placement.instance))
}

/// What is desired of an instance, and where it is placed.
///
/// # Errors
/// That its app or its placement is gone.
pub fn desired(shared: &Shared, id: &InstanceId) -> Result<(Arc<AppRecord>, Placement), Failure> {
    let app = shared
        .world
        .app(&id.app)
        .ok_or_else(|| format!("app {} is gone", id.app))?;
    let placement = shared
        .world
        .placement(id)
        .ok_or_else(|| format!("instance {id} has no placement"))?;
    Ok((app.record, Arc::unwrap_or_clone(placement)))
}

/// Assigns the instance to its node and waits until it is ready.
pub async fn create(shared: &Arc<Shared>, id: &InstanceId, fresh: bool) -> Result<(), Failure> {
    // What it takes to begin is dropped before the waiting.
    let begun = Box::pin(begin(shared, id, fresh)).await?;
    match begun {
        Some((record, cell)) => wait_up(shared, &record, &cell, Duration::ZERO).await,
        None => Ok(()),
    }
}

/// Assigns the instance to its node; `None` where it is to be stopped.
async fn begin(
    shared: &Arc<Shared>,
    id: &InstanceId,
    fresh: bool,
) -> Result<Option<(Arc<AppRecord>, Arc<ContainerCell>)>, Failure> {
    let (record, mut placement) = desired(shared, id)?;
    if placement.waits {
        // From now on it is begun, and a restart of lain goes on with it.
        placement.waits = false;
        while let Err(failure) = commit(shared, &placement).await {
            // The deadline of its step ends this.
            tracing::warn!(instance = %id, reason = failure.reason, "the store is asked again");
            tokio::time::sleep(COMMIT_AGAIN).await;
        }
    }
    if record.is_stopped(&id.full_name(), id.no) {
        return Ok(None);
    }
    if fresh && (placement.finished.is_some() || placement.gave_up > 0) {
        shared
            .world
            .change_placement(id, |p| (p.finished, p.gave_up) = (None, 0));
        for touch in [Touch::Finished(None), Touch::GaveUp(0)] {
            shared.recorder.send(Record::Placement(id.clone(), touch));
        }
    }
    let cell = node::assign(shared, assignment(shared, &record, &placement, fresh)?).await?;
    Ok(Some((record, cell)))
}

/// Resolves once the container is as a step wants it: a oneshot proc's has ended, any other is ready.
///
/// # Errors
/// As [`job::wait_ended`] and [`wait_ready`].
async fn wait_up(
    shared: &Arc<Shared>,
    record: &AppRecord,
    cell: &Arc<ContainerCell>,
    setup_time: Duration,
) -> Result<(), Failure> {
    match record.declared(&cell.instance().proc) {
        Some(proc) if proc.proc_type == ProcType::Oneshot => {
            Box::pin(job::wait_ended(shared, cell, proc.update.progress_deadline)).await
        }
        _ => wait_steady(cell, setup_time).await,
    }
}

async fn recreate(shared: &Arc<Shared>, step: &Step) -> Result<(), Failure> {
    let id = &step.instance;
    let (record, mut placement) = desired(shared, id)?;
    let proc = record
        .proc(&id.proc)
        .ok_or_else(|| format!("proc {} is gone", id.proc))?;
    let old: Vec<_> = shared
        .node
        .of(id)
        .into_iter()
        .filter(|c| c.assignment.version != step.version)
        .collect();
    let stopped = record.is_stopped(&proc.full_name(), id.no);
    let start_first = proc.update.order == UpdateOrder::StartFirst;
    let overlap = start_first && may_overlap(&proc) && !stopped;
    let goes_back = plan::goes_back(id, placement.version, step.version);
    if placement.version != step.version {
        placement.generation = next_generation(shared, placement.generation);
    }
    placement.version = step.version;
    placement.resources = (proc.cpu, proc.memory);
    (placement.finished, placement.gave_up, placement.waits) = (None, 0, false);
    if goes_back {
        placement.finished = Some(NOT_REPEATED.to_owned());
        retire_all(shared, &old, Removal::Remove).await?;
        return commit(shared, &placement).await;
    }
    let ports_differ =
        placement.ports.iter().map(|p| p.0).collect::<Vec<_>>() != render::exposed(&proc);
    let begun = shared.node.of(id).into_iter();
    let begun = begun.rev().find(|c| c.assignment.version == step.version);
    // Old and new run side by side for a moment: they cannot share host ports.
    let other_ports = begun.is_none() && (overlap || ports_differ);
    if let Some(begun) = begun {
        // What an earlier attempt has made keeps the host ports that it was made with.
        let published = begun.assignment.container.ports.iter();
        placement.ports = published.map(|p| (p.container, p.host_port)).collect();
    }
    let steady = steady_time(&proc);
    let stop_first = !overlap || step.stop_first || old.iter().all(|c| c.look(has_ended));
    let drains = old.iter().filter(|_| stop_first);
    let _draining = join_all(drains.map(|cell| draining::drain(shared, cell))).await;
    if other_ports {
        discard_unfinished(shared, &placement).await?;
    }
    // From the choice of ports until others can see it, nobody else chooses.
    let turn = shared.placing.lock().await;
    if other_ports {
        let node = node_of(shared, &placement)?;
        placement.ports = allocate(shared, &node, id, &proc, &HashSet::new())?.ports;
    }
    if stop_first {
        commit(shared, &placement).await?;
        drop(turn);
        for cell in &old {
            let retired = node::retire(shared, cell, Removal::Remove).await;
            retired.map_err(|e| e.to_string())?;
        }
        if stopped {
            return Ok(());
        }
        let cell = node::assign(shared, assignment(shared, &record, &placement, false)?).await?;
        return wait_up(shared, &record, &cell, steady).await;
    }
    let cell = node::assign(shared, assignment(shared, &record, &placement, false)?).await?;
    drop(turn);
    make_count(shared, &cell, &placement, wait_steady(&cell, steady)).await?;
    // From here on clients are sent to the new one.
    let serving = Serving(id.clone());
    shared.tell::<Rollout, _>(&paths::rollout(&id.app), serving);
    retire_all(shared, &old, Removal::Remove).await
}

/// Once the new container is steady, its placement counts. Else the new one goes, since nobody would know of it, and
/// the old one still serves.
///
/// # Errors
/// Why it is not steady, or what the store said.
pub async fn make_count(
    shared: &Arc<Shared>,
    cell: &Arc<ContainerCell>,
    placement: &Placement,
    steady: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let counts = async {
        steady.await?;
        commit(shared, placement).await
    };
    let outcome = counts.await;
    if outcome.is_err() {
        let _ = node::retire(shared, cell, Removal::Remove).await;
    }
    outcome
}

/// Whether two containers of an instance may run side by side. Two runs of a oneshot proc are one too many.
pub fn may_overlap(proc: &ProcSpec) -> bool {
    !proc.stateful && !proc.exclusive && proc.proc_type != ProcType::Oneshot
}

/// For how long a new container has to be healthy before others rely on it.
fn steady_time(proc: &ProcSpec) -> Duration {
    proc.setup_time.max(proc.update.min_healthy_time)
}

/// Whether an instance may well serve now. One that lain has only just begun to adopt may.
pub fn is_available(shared: &Shared, id: &InstanceId) -> bool {
    let placement = shared.world.placement(id);
    let cell = placement.and_then(|p| views::cell(shared, &p));
    cell.is_none_or(|c| c.look(|o| !has_ended(o) && o.health != Health::Unhealthy && !o.draining))
}

/// Whether nothing of it serves. One that lain has only just begun to adopt may well serve.
fn has_ended(seen: &Observed) -> bool {
    match seen.phase {
        Phase::Crashed(_) | Phase::Finished(_) | Phase::GaveUp(_) | Phase::Stopped => true,
        Phase::Pending(_) | Phase::Starting(_) | Phase::Running | Phase::Frozen => false,
    }
}

/// Removes the container of a version to come that a lain made which died before that version was noted: its
/// host ports are known to nobody, so that nothing could reach it.
async fn discard_unfinished(shared: &Arc<Shared>, placement: &Placement) -> Result<(), Failure> {
    let (version, drift) = (placement.version, placement.drift);
    let name = render::container_name(&placement.instance, Counters { version, drift });
    let Some(found) = shared.node.take_found(&name) else {
        return Ok(());
    };
    // Nobody else knows of it any more: it goes even if this step is given up meanwhile.
    let shared = Arc::clone(shared);
    let removing = async move { crate::actors::agent::logs::remove(&shared, &found.id).await };
    let removed = actix_rt::spawn(removing).await.map_err(|e| e.to_string())?;
    removed.map_err(|e| Failure::from(e.to_string()))
}

/// Makes a placement durable, then visible. What promotion changed meanwhile stays.
///
/// # Errors
/// What the store said.
pub async fn commit(shared: &Shared, placement: &Placement) -> Result<(), Failure> {
    let json = serde_json::to_vec(placement).map_err(|e| e.to_string())?;
    let change = Change::Put(keys::instance(&placement.instance), json);
    let turn = shared.keeping.read().await;
    let written = shared.store.transact(Vec::new(), vec![change]).await;
    if let Err(error) = written {
        // It may have been written all the same: the store is to have what is acted on.
        let again = Record::Placement(placement.instance.clone(), Touch::Again);
        shared.recorder.send(again);
        return Err(Failure::from(error.to_string()));
    }
    let known = shared.world.change_placement(&placement.instance, |now| {
        *now = Placement {
            role: now.role,
            restarts: now.restarts,
            crashes: now.crashes,
            last_crash: now.last_crash.clone(),
            ..placement.clone()
        };
    });
    if known.is_none() {
        shared.world.put_placement(placement.clone());
    }
    drop(turn);
    Ok(())
}

async fn update_in_place(shared: &Arc<Shared>, id: &InstanceId) -> Result<(), Failure> {
    let (record, _) = desired(shared, id)?;
    let proc = record
        .proc(&id.proc)
        .ok_or_else(|| format!("proc {} is gone", id.proc))?;
    for cell in shared.node.of(id) {
        let cpus = placing::site_of(shared, cell.node()).cpus;
        let resources = render::resources(proc.cpu, proc.memory, cpus);
        node::update(shared, &cell, resources)
            .await
            .map_err(|e| e.to_string())?;
    }
    shared.recorder.send(Record::Placement(
        id.clone(),
        Touch::Resources((proc.cpu, proc.memory)),
    ));
    Ok(())
}

async fn restart(shared: &Arc<Shared>, id: &InstanceId) -> Result<(), Failure> {
    let Some(cell) = shared.node.of(id).pop() else {
        return create(shared, id, true).await;
    };
    let before = cell.look(|o| o.is_alive().then_some(o.started_at));
    let Some(before) = before else {
        return create(shared, id, true).await;
    };
    let draining = draining::drain(shared, &cell).await;
    node::restart(shared, &cell, "asked for by an operator");
    let mut changed = cell.subscribe();
    // First the old run must be over, then the new one ready.
    while cell.look(|o| o.is_alive() && o.started_at == before) {
        changed.changed().await;
    }
    drop(draining);
    let (record, _) = desired(shared, id)?;
    wait_up(shared, &record, &cell, Duration::ZERO).await
}

async fn put_away(shared: &Arc<Shared>, id: &InstanceId, removal: Removal) -> Result<(), Failure> {
    retire_all(shared, &shared.node.of(id), removal).await
}

/// Resolves once the container has been ready for `setup_time` without a break. Where no health check says
/// more than "it runs", it has to run for a moment: what crashes at once has never been ready.
///
/// # Errors
/// As [`wait_ready`].
pub async fn wait_steady(cell: &ContainerCell, setup_time: Duration) -> Result<(), Failure> {
    let steady = match cell.assignment.health {
        Some(_) => setup_time,
        None => setup_time.max(STEADY),
    };
    loop {
        wait_ready(cell).await?;
        let run = |o: &Observed| {
            let since = (o.started_at, o.ready_since);
            (since, matches!(o.phase, Phase::Finished(_)))
        };
        let (started, finished) = cell.look(run);
        if steady.is_zero() || finished {
            return Ok(());
        }
        tokio::time::sleep(steady).await;
        // What has ended meanwhile is judged above.
        let (now, _) = cell.look(run);
        if now == started && cell.look(Observed::is_ready) {
            return Ok(());
        }
    }
}

/// Resolves once the container is ready, or ended well.
///
/// # Errors
/// When it ended otherwise for good, its node gave up on it, or it was put away meanwhile.
pub async fn wait_ready(cell: &ContainerCell) -> Result<(), Failure> {
    let outcome = wait_for(cell, |o| match &o.phase {
        _ if o.is_ready() => Some(Ok(())),
        Phase::Finished(exit) if exit.is_clean() => Some(Ok(())),
        Phase::Finished(exit) => Some(Err(Failure {
            reason: format!("it ended with {exit}, and is not restarted"),
            crash: o.last_crash.clone(),
        })),
        Phase::GaveUp(reason) => Some(Err(Failure {
            reason: reason.clone(),
            crash: o.last_crash.clone(),
        })),
        Phase::Stopped => Some(Err(Failure::from("it was stopped meanwhile".to_owned()))),
        Phase::Pending(_)
        | Phase::Starting(_)
        | Phase::Running
        | Phase::Frozen
        | Phase::Crashed(_) => None,
    });
    outcome.await.map_err(|failure| failure.of(cell))
}

/// Resolves once `verdict` has one of what is seen.
///
/// # Errors
/// The verdict's.
pub async fn wait_for(
    cell: &ContainerCell,
    verdict: impl Fn(&Observed) -> Option<Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut changed = cell.subscribe();
    loop {
        if let Some(verdict) = cell.look(&verdict) {
            return verdict;
        }
        changed.changed().await;
    }
}
