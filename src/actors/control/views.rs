//! From the mirror of the store and the cells of the node to what the API shows. Reads only, never waits.

use crate::actors::agent::cell::{ContainerCell, Observed, Phase};
use crate::actors::control::nodes::table::{Node, Presence};
use crate::actors::control::world::Versioned;
use crate::actors::control::{paths, placing, render};
use crate::actors::shared::{EngineState, Shared};
use crate::domain::cron;
use crate::domain::id::{AppName, ProcType};
use crate::domain::placement::NodeState;
use crate::domain::record::{AppRecord, Placement};
use crate::domain::spec::model::{AppType, ProcSpec, ProcStrategy};
use crate::domain::view::{
    AppState, AppView, Endpoint, InstanceRole, InstanceState, InstanceView, NodeView, ProcView,
};
use crate::ports::runtime::EngineInfo;
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
    if !procs.is_empty() && procs.iter().all(|p| p.state == AppState::Stopped) {
        return (
            AppState::Stopped,
            Some("it was stopped; start it with `lain start`".to_owned()),
        );
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
    let is_job = matches!(proc.proc_type, ProcType::Oneshot | ProcType::Cron);
    let ready_states: &[InstanceState] = if is_job {
        &[InstanceState::Running, InstanceState::Stopped]
    } else {
        &[InstanceState::Running]
    };
    let ready = count(InstanceRole::Active, ready_states);
    let (state, reason) = proc_state(record, proc, &instances, ready);
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
    ready: u32,
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
    let stopped = record
        .stopped
        .get(&full_name)
        .map_or(0, |s| u32::try_from(s.instances.len()).unwrap_or(u32::MAX));
    if proc.proc_type == ProcType::Cron || ready.saturating_add(stopped) >= proc.num_instances {
        return (AppState::Running, None);
    }
    let waiting = instances
        .iter()
        .find(|i| i.role == InstanceRole::Active && i.state != InstanceState::Running);
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

/// An instance.
pub fn instance(shared: &Shared, record: &AppRecord, placement: &Placement) -> InstanceView {
    let id = &placement.instance;
    let cells = shared.node.of(id);
    // While two containers overlap, the placed one is what clients reach.
    let name = render::name_of(placement);
    let cell = cells
        .iter()
        .find(|c| c.name() == name)
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
        endpoints: cell.map(|c| endpoints(shared, c)).unwrap_or_default(),
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

fn endpoints(shared: &Shared, cell: &Arc<ContainerCell>) -> Vec<Endpoint> {
    let host = placing::address_of(shared, cell.node());
    cell.assignment
        .container
        .ports
        .iter()
        .map(|p| Endpoint {
            port: p.container,
            address: std::net::SocketAddr::new(host.unwrap_or(p.host_ip), p.host_port).to_string(),
        })
        .collect()
}

fn instance_state(
    shared: &Shared,
    record: &AppRecord,
    placement: &Placement,
    seen: Option<&Observed>,
) -> (InstanceState, Option<String>) {
    let id = &placement.instance;
    if let Some(reason) = &placement.unplaced {
        return (InstanceState::Pending, Some(reason.clone()));
    }
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
    let Some(seen) = seen else {
        return match (
            &placement.finished,
            record.is_stopped(&id.full_name(), id.no),
        ) {
            (Some(exit), _) => (InstanceState::Stopped, Some(format!("ended: {exit}"))),
            (None, true) => (
                InstanceState::Stopped,
                Some("stopped by an operator".to_owned()),
            ),
            (None, false) => (
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
        Phase::Finished(exit) => (InstanceState::Stopped, Some(format!("ended: {exit}"))),
        Phase::GaveUp(why) => (InstanceState::Degraded, Some(why.clone())),
        Phase::Stopped => (
            InstanceState::Stopped,
            Some("stopped by an operator".to_owned()),
        ),
    }
}

/// A node.
pub fn node(shared: &Shared, node: &Node) -> NodeView {
    let placements = shared.world.placements_on(&node.name);
    let here = shared
        .node
        .all()
        .into_iter()
        .filter(|c| c.node() == &node.name);
    let containers = here.filter(|c| c.look(Observed::is_alive)).count();
    let record = node.record();
    let facts = match node.local {
        true => None,
        false => node.facts(),
    };
    let (info, trouble) = match (&facts, node.local) {
        (Some(facts), _) => (facts.engine.clone(), facts.engine_trouble.clone()),
        (None, true) => local_engine(shared),
        (None, false) => (None, Some("it has not been heard of yet".to_owned())),
    };
    let (presence, reason, _) = node.standing();
    let mut reasons: Vec<String> = reason.into_iter().collect();
    reasons.extend(record.cordoned.clone());
    reasons.extend(trouble);
    let findings = facts
        .as_ref()
        .map(|f| f.findings.clone())
        .unwrap_or_default();
    reasons.extend(findings);
    let state = match placing::state_of(node) {
        NodeState::Ready if info.is_none() => "down",
        // Connected, but its engine is away or its disk is full.
        NodeState::Suspect if presence == Presence::Up => "unfit",
        state => state.as_str(),
    };
    NodeView {
        name: node.name.to_string(),
        state: state.to_owned(),
        reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        engine: info.as_ref().map_or_else(
            || format!("{:?}", shared.runtime.kind()).to_lowercase(),
            |i| format!("{:?}", i.kind).to_lowercase(),
        ),
        engine_version: info.as_ref().map(|i| i.version.clone()).unwrap_or_default(),
        cpus: facts
            .as_ref()
            .map(|f| f.cpus)
            .or_else(|| info.as_ref().map(|i| i.cpus))
            .unwrap_or(shared.settings.site.cpus),
        memory: facts
            .as_ref()
            .map(|f| f.memory)
            .or_else(|| info.as_ref().map(|i| i.memory))
            .unwrap_or(0),
        memory_reserved: placements.iter().map(|p| p.resources.1).sum(),
        containers: u32::try_from(containers).unwrap_or(0),
        labels: record.all_labels(),
        version: facts.map_or_else(|| env!("CARGO_PKG_VERSION").to_owned(), |f| f.version),
        warnings: info.map(|i| i.warnings).unwrap_or_default(),
    }
}

fn local_engine(shared: &Shared) -> (Option<EngineInfo>, Option<String>) {
    match shared.engine.borrow().clone() {
        EngineState::Up(info) => (Some(info), None),
        EngineState::Down(reason) => (None, Some(reason)),
        EngineState::Unknown => (None, Some("the engine has not answered yet".to_owned())),
    }
}
