//! From the mirror of the store and the cells of the node to what the API shows. Reads only, never waits.

use crate::actors::agent::cell::{ContainerCell, Observed, Phase};
use crate::actors::control::world::Versioned;
use crate::actors::control::{paths, render};
use crate::actors::shared::{EngineState, Shared};
use crate::domain::cron;
use crate::domain::id::{AppName, ProcType};
use crate::domain::record::{AppRecord, Placement, ended_well};
use crate::domain::spec::model::{AppType, ProcSpec, ProcStrategy};
use crate::domain::view::{
    AppState, AppView, Endpoint, InstanceRole, InstanceState, InstanceView, NodeView, ProcView,
};
use std::sync::Arc;

/// An app.
pub fn app(shared: &Shared, name: &AppName, app: &Versioned) -> AppView {
    let record = &app.record;
    let placements = shared.world.placements(name);
    let deploying = record.operation.is_some();
    let procs: Vec<ProcView> = record
        .procs()
        .iter()
        .map(|p| proc(shared, record, p, &placements))
        .collect();
    let trouble = shared.world.trouble(name);
    let (state, reason) = app_state(record, deploying, &procs, trouble);
    AppView {
        name: name.to_string(),
        apptype: match record.current.spec.apptype {
            AppType::App => "app".to_owned(),
            AppType::Resource => "resource".to_owned(),
        },
        revision: app.revision,
        meta_version: record.current.meta_version.clone(),
        state,
        reason,
        created_at: record.created_at,
        updated_at: record.updated_at,
        operation: record.operation.as_ref().map(ToString::to_string),
        urls: urls(&procs),
        strategy: match record.current.spec.supervision.strategy {
            ProcStrategy::OneForOne => "one_for_one",
            ProcStrategy::OneForAll => "one_for_all",
            ProcStrategy::RestForOne => "rest_for_one",
        }
        .to_owned(),
        procs,
    }
}

/// The worst of the procs' states, operations and removal first.
fn app_state(
    record: &AppRecord,
    deploying: bool,
    procs: &[ProcView],
    trouble: Option<String>,
) -> (AppState, Option<String>) {
    if record.removing {
        return (AppState::Removing, Some("it is being removed".to_owned()));
    }
    if deploying {
        return (
            AppState::Deploying,
            record
                .operation
                .as_ref()
                .map(|id| format!("operation {id} is in progress")),
        );
    }
    if let Some(trouble) = trouble {
        return (AppState::Degraded, Some(trouble));
    }
    for state in [AppState::Degraded, AppState::Recovering] {
        if let Some(proc) = procs.iter().find(|p| p.state == state) {
            let reason = proc.reason.as_deref().unwrap_or("no reason is known");
            return (state, Some(format!("proc {}: {reason}", proc.full_name)));
        }
    }
    let all = |state| !procs.is_empty() && procs.iter().all(|p| p.state == state);
    if all(AppState::Stopped) {
        return (
            AppState::Stopped,
            Some("it was stopped; start it with `lain start`".to_owned()),
        );
    }
    if all(AppState::Done) {
        return (AppState::Done, None);
    }
    (AppState::Running, None)
}

/// Where active, ready instances of web procs answer.
fn urls(procs: &[ProcView]) -> Vec<String> {
    let web = procs
        .iter()
        .filter(|p| p.proc_type == ProcType::Web.as_str());
    let ready = web.flat_map(|p| {
        let port = p.spec.ports.first().map(|port| port.port);
        let active = p
            .instances
            .iter()
            .filter(|i| i.role == InstanceRole::Active && i.state == InstanceState::Running);
        active.filter_map(move |i| i.endpoints.iter().find(|e| Some(e.port.port) == port))
    });
    ready
        .map(|endpoint| format!("http://{}", endpoint.address))
        .collect()
}

/// A proc.
pub fn proc(
    shared: &Shared,
    record: &AppRecord,
    proc: &ProcSpec,
    placements: &[Placement],
) -> ProcView {
    let full_name = proc.full_name();
    let app = &record.current.spec.appname;
    let mine = placements
        .iter()
        .filter(|p| p.instance.proc == proc.name && p.instance.proc_type == proc.proc_type);
    let instances: Vec<InstanceView> = mine.map(|p| instance(shared, record, p)).collect();
    let count = |role: InstanceRole, states: &[InstanceState]| {
        let n = instances
            .iter()
            .filter(|i| i.role == role && states.contains(&i.state))
            .count();
        u32::try_from(n).unwrap_or(u32::MAX)
    };
    // The instances of a cron proc are its runs: those that have ended are history.
    let done = match proc.proc_type {
        ProcType::Cron => 0,
        _ => count(InstanceRole::Active, &[InstanceState::Done]),
    };
    let ready = done + count(InstanceRole::Active, &[InstanceState::Running]);
    let (state, reason) = proc_state(record, proc, &instances, (ready, done));
    let file = record
        .current
        .spec
        .procs
        .iter()
        .find(|p| p.name == proc.name);
    ProcView {
        name: proc.name.to_string(),
        proc_type: proc.proc_type.to_string(),
        state,
        reason,
        wanted: if proc.proc_type == ProcType::Cron {
            0
        } else {
            proc.num_instances
        },
        ready,
        done,
        spares_wanted: proc.spares,
        spares_ready: count(
            InstanceRole::Spare,
            &[InstanceState::Idle, InstanceState::Running],
        ),
        version: record.version(&full_name),
        image: render::image_of(proc, &record.current, &shared.settings.site.registry)
            .unwrap_or_default(),
        crashes: instances.iter().map(|i| i.restarts).sum(),
        next_run: proc.schedule.as_ref().and_then(|s| {
            cron::next_after(&s.cron, shared.clock.now_utc())
                .ok()
                .flatten()
        }),
        runs: shared.world.runs(app, &full_name),
        overrides: file.map(|p| record.drift(p)).unwrap_or_default(),
        spec: proc.clone(),
        full_name,
        instances,
    }
}

fn proc_state(
    record: &AppRecord,
    proc: &ProcSpec,
    instances: &[InstanceView],
    (ready, done): (u32, u32),
) -> (AppState, Option<String>) {
    let full_name = proc.full_name();
    if record.stopped.get(&full_name).is_some_and(|s| s.all) {
        return (
            AppState::Stopped,
            Some("it was stopped; start it with `lain start`".to_owned()),
        );
    }
    let of = |state| instances.iter().find(move |i| i.state == state);
    if let Some(degraded) = of(InstanceState::Degraded) {
        return (AppState::Degraded, degraded.reason.clone());
    }
    if proc.proc_type == ProcType::Cron {
        return (AppState::Running, None);
    }
    if let Some(failed) = of(InstanceState::Failed) {
        let reason = failed.reason.as_deref().unwrap_or("it has failed");
        return (AppState::Degraded, Some(format!("{}: {reason}", failed.id)));
    }
    let stopped = record
        .stopped
        .get(&full_name)
        .map_or(0, |s| u32::try_from(s.instances.len()).unwrap_or(u32::MAX));
    if ready.saturating_add(stopped) >= proc.num_instances {
        let state = match done > 0 && done.saturating_add(stopped) >= proc.num_instances {
            true => AppState::Done,
            false => AppState::Running,
        };
        return (state, None);
    }
    let waiting = instances
        .iter()
        .find(|i| i.role == InstanceRole::Active && !is_ready(i.state));
    let reason = waiting.map(|i| {
        format!(
            "{}: {}",
            i.id,
            i.reason.as_deref().unwrap_or("not ready yet")
        )
    });
    (
        AppState::Recovering,
        reason.or_else(|| {
            Some(format!(
                "{ready} of {} instances are placed",
                proc.num_instances
            ))
        }),
    )
}

fn is_ready(state: InstanceState) -> bool {
    matches!(state, InstanceState::Running | InstanceState::Done)
}

/// An instance.
pub fn instance(shared: &Shared, record: &AppRecord, placement: &Placement) -> InstanceView {
    let id = &placement.instance;
    let cells = shared.node.of(id);
    // While two versions overlap, the placed one is what clients reach.
    let cell = cells
        .iter()
        .find(|c| c.assignment.version == placement.version)
        .or_else(|| cells.last());
    let seen = cell.map(|c| c.seen());
    let (state, reason) = instance_state(shared, record, placement, seen.as_ref());
    let alive = seen.as_ref().filter(|o| o.is_alive());
    InstanceView {
        id: id.to_string(),
        no: id.no,
        state,
        reason,
        health: seen
            .as_ref()
            .map_or("none", |o| o.health.as_str())
            .to_owned(),
        role: seen.as_ref().map_or(placement.role, |o| o.role),
        node: placement.node.to_string(),
        container: cell.map(|c| c.name().to_owned()),
        container_id: seen
            .as_ref()
            .and_then(|o| o.id.as_ref())
            .map(ToString::to_string),
        version: cell.map_or(placement.version, |c| c.assignment.version),
        ip: alive.and_then(|o| o.ip).map(|ip| ip.to_string()),
        endpoints: cell.map(endpoints).unwrap_or_default(),
        started_at: alive.and_then(|o| o.started_at),
        restarts: placement.restarts,
        restart_at: shared
            .world
            .retry(id)
            .or_else(|| seen.as_ref().and_then(|o| o.restart_at)),
        last_exit: placement
            .finished
            .clone()
            .or_else(|| seen.as_ref().and_then(|o| o.last_exit.clone())),
        last_crash: placement.last_crash.clone(),
        path: paths::instance(id),
    }
}

fn endpoints(cell: &Arc<ContainerCell>) -> Vec<Endpoint> {
    cell.published()
        .map(|(port, address)| Endpoint { port, address })
        .collect()
}

fn instance_state(
    shared: &Shared,
    record: &AppRecord,
    placement: &Placement,
    seen: Option<&Observed>,
) -> (InstanceState, Option<String>) {
    let id = &placement.instance;
    if let Some(due) = shared.world.retry(id) {
        let crash = placement
            .last_crash
            .as_deref()
            .map(|c| format!("; see `lain crashes show {c}`"))
            .unwrap_or_default();
        let tries = placement.gave_up;
        return (
            InstanceState::Degraded,
            Some(format!(
                "given up {tries} time(s), tried again at {}{crash}",
                due.format("%H:%M:%S UTC")
            )),
        );
    }
    if let Some(how) = &placement.finished
        && seen.is_none_or(|o| !o.is_alive())
    {
        return ended(how);
    }
    let Some(seen) = seen else {
        return match record.is_stopped(&id.full_name(), id.no) {
            true => (
                InstanceState::Stopped,
                Some("stopped by an operator".to_owned()),
            ),
            false => (
                InstanceState::Pending,
                Some("waiting for its turn".to_owned()),
            ),
        };
    };
    match &seen.phase {
        Phase::Pending(what) => (InstanceState::Pending, Some(format!("waiting for {what}"))),
        Phase::Starting(how) => (InstanceState::Starting, Some(how.clone())),
        Phase::Running if !seen.is_ready() => {
            let probe = seen
                .probes
                .back()
                .map(|p| format!(": {p}"))
                .unwrap_or_default();
            (
                InstanceState::Starting,
                Some(format!("running, {}{probe}", seen.health.as_str())),
            )
        }
        Phase::Running if seen.role == InstanceRole::Spare => (InstanceState::Idle, None),
        Phase::Running => (InstanceState::Running, None),
        Phase::Frozen => (InstanceState::Idle, None),
        Phase::Crashed(why) => (InstanceState::Backoff, Some(why.clone())),
        Phase::Finished(exit) => ended(&exit.to_string()),
        Phase::GaveUp(why) => (InstanceState::Degraded, Some(why.clone())),
        Phase::Stopped => (
            InstanceState::Stopped,
            Some("stopped by an operator".to_owned()),
        ),
    }
}

/// The state of what has ended for good.
fn ended(how: &str) -> (InstanceState, Option<String>) {
    let state = match ended_well(how) {
        true => InstanceState::Done,
        false => InstanceState::Failed,
    };
    (state, Some(format!("ended: {how}")))
}

/// This node.
pub fn node(shared: &Shared) -> NodeView {
    let placements = shared.world.all_placements();
    let state = shared.engine.borrow().clone();
    let (word, reason, info) = match state {
        EngineState::Up(info) => ("ready", None, Some(info)),
        EngineState::Down(reason) => ("down", Some(reason), None),
        EngineState::Unknown => (
            "down",
            Some("the engine has not answered yet".to_owned()),
            None,
        ),
    };
    NodeView {
        name: shared.settings.node.to_string(),
        state: word.to_owned(),
        reason,
        engine: info.as_ref().map_or_else(
            || format!("{:?}", shared.runtime.kind()).to_lowercase(),
            |i| format!("{:?}", i.kind).to_lowercase(),
        ),
        engine_version: info.as_ref().map(|i| i.version.clone()).unwrap_or_default(),
        cpus: info.as_ref().map_or(shared.settings.site.cpus, |i| i.cpus),
        memory: info.as_ref().map_or(0, |i| i.memory),
        memory_reserved: placements.iter().map(|p| p.resources.1).sum(),
        containers: u32::try_from(
            shared
                .node
                .all()
                .iter()
                .filter(|c| c.look(Observed::is_alive))
                .count(),
        )
        .unwrap_or(0),
        labels: std::collections::BTreeMap::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        warnings: info.map(|i| i.warnings).unwrap_or_default(),
    }
}
