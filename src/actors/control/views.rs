//! From the mirror of the store and the cells of the node to what the API shows. Reads only, never waits.

use crate::actors::agent::cell::{ContainerCell, Observed, Phase};
use crate::actors::control::nodes::table::Node;
use crate::actors::control::states::{self, Readiness};
use crate::actors::control::world::Versioned;
use crate::actors::control::{canary, paths, placing, render};
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
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// An app.
pub fn app(shared: &Shared, name: &AppName, app: &Versioned) -> AppView {
    let record = &app.record;
    let placements = shared.world.placements(name);
    let procs: Vec<ProcView> = record
        .procs()
        .iter()
        .map(|p| proc(shared, record, p, &placements))
        .collect();
    let trouble = shared.world.trouble(name);
    let each: Vec<AppState> = procs.iter().map(|p| p.state).collect();
    let state = states::app_state(record, &each, trouble.is_some());
    let reason = app_reason(shared, record, state, &procs, trouble);
    AppView {
        name: name.to_string(),
        apptype: match record.current.spec.apptype {
            AppType::App => "app".to_owned(),
            AppType::Resource => "resource".to_owned(),
        },
        revision: record.revision,
        etag: record.etag(),
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
        canary: canary::view(shared, record, &placements),
        procs,
    }
}

const STOPPED: &str = "it was stopped; start it with `lain start`";

/// Why an app is in a state; nothing where there is nothing to explain.
fn app_reason(
    shared: &Shared,
    record: &AppRecord,
    state: AppState,
    procs: &[ProcView],
    trouble: Option<String>,
) -> Option<String> {
    match state {
        AppState::Removing => Some("it is being removed".to_owned()),
        AppState::Deploying => {
            let id = record.operation.as_ref()?;
            let operation = shared.world.operation(id);
            let waiting = operation.and_then(|o| o.waiting.clone());
            Some(waiting.unwrap_or_else(|| format!("operation {id} is in progress")))
        }
        AppState::Degraded | AppState::Recovering => trouble.or_else(|| {
            let proc = procs.iter().find(|p| p.state == state)?;
            let reason = proc.reason.as_deref().unwrap_or("no reason is known");
            Some(format!("proc {}: {reason}", proc.full_name))
        }),
        AppState::Stopped => Some(STOPPED.to_owned()),
        AppState::Running | AppState::Done => None,
    }
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
    let crashes = mine.clone().map(|p| p.crashes).sum();
    let instances: Vec<InstanceView> = mine.map(|p| instance(shared, record, p)).collect();
    let mut readiness = Readiness::default();
    for instance in &instances {
        readiness.add(instance.role, instance.state);
    }
    let state = states::proc_state(record, proc, &readiness);
    let reason = proc_reason(proc, state, &instances, readiness.ready_of(proc));
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
        wanted: states::wanted(proc),
        ready: readiness.ready_of(proc),
        done: readiness.done_of(proc),
        spares_wanted: proc.spares,
        spares_ready: readiness.spares,
        version: record.version(&full_name),
        image: render::image_of(proc, &record.current, &shared.settings.site.registry)
            .unwrap_or_default(),
        crashes,
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

/// Why a proc is in a state; nothing where there is nothing to explain.
fn proc_reason(
    proc: &ProcSpec,
    state: AppState,
    instances: &[InstanceView],
    ready: u32,
) -> Option<String> {
    let of = |wanted| instances.iter().find(move |i| i.state == wanted);
    let said = |i: &InstanceView| {
        let reason = i.reason.as_deref().unwrap_or("not ready yet");
        format!("{}: {reason}", i.id)
    };
    match state {
        AppState::Stopped => Some(STOPPED.to_owned()),
        AppState::Degraded => match of(InstanceState::Degraded) {
            Some(degraded) => degraded.reason.clone(),
            None => of(InstanceState::Failed).map(|i| {
                let reason = i.reason.as_deref().unwrap_or("no exit is known");
                format!("{} has failed: {reason}", i.id)
            }),
        },
        AppState::Recovering => {
            let ready_states = [InstanceState::Running, InstanceState::Done];
            let waiting = instances
                .iter()
                .find(|i| i.role == InstanceRole::Active && !ready_states.contains(&i.state));
            let placed = || format!("{ready} of {} instances are placed", proc.num_instances);
            Some(waiting.map_or_else(placed, said))
        }
        AppState::Running | AppState::Done | AppState::Deploying | AppState::Removing => None,
    }
}

/// The container that counts for an instance. While two containers overlap, the placed one is what clients reach.
pub fn cell(shared: &Shared, placement: &Placement) -> Option<Arc<ContainerCell>> {
    let cells = shared.node.of(&placement.instance);
    let name = render::name_of(placement);
    let placed = cells.iter().find(|c| c.name() == name);
    placed.or(cells.last()).cloned()
}

/// An instance.
pub fn instance(shared: &Shared, record: &AppRecord, placement: &Placement) -> InstanceView {
    let id = &placement.instance;
    let cell = cell(shared, placement);
    let seen = cell.as_ref().map(|c| c.seen());
    let retry = shared.world.retry(id);
    let state = states::instance_state(record, placement, retry.is_some(), seen.as_ref());
    let reason = instance_reason(
        state,
        placement,
        retry,
        seen.as_ref(),
        record.operation.is_some(),
    );
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
        canary: record.is_canary(placement),
        node: placement.node.to_string(),
        container: cell.as_ref().map(|c| c.name().to_owned()),
        container_id: seen
            .as_ref()
            .and_then(|o| o.id.as_ref())
            .map(ToString::to_string),
        version: cell
            .as_ref()
            .map_or(placement.version, |c| c.assignment.version),
        ip: alive.and_then(|o| o.ip).map(|ip| ip.to_string()),
        endpoints: cell
            .as_ref()
            .map(|c| endpoints(shared, c))
            .unwrap_or_default(),
        started_at: alive.and_then(|o| o.started_at),
        restarts: placement.restarts,
        restart_at: retry.or_else(|| seen.as_ref().and_then(|o| o.restart_at)),
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

/// Why an instance is in a state; nothing where there is nothing to explain.
fn instance_reason(
    state: InstanceState,
    placement: &Placement,
    retry: Option<DateTime<Utc>>,
    seen: Option<&Observed>,
    in_progress: bool,
) -> Option<String> {
    if let Some(reason) = &placement.unplaced {
        return Some(reason.clone());
    }
    if let Some(due) = retry {
        let crash = placement.last_crash.as_deref();
        let crash = crash.map(|c| format!("; see `lain crashes show {c}`"));
        return Some(format!(
            "given up {} time(s), tried again at {}{}",
            placement.gave_up,
            due.format("%H:%M:%S UTC"),
            crash.unwrap_or_default()
        ));
    }
    match state {
        InstanceState::Done | InstanceState::Failed => {
            let seen = seen.and_then(|o| o.last_exit.clone());
            placement.finished.clone().or(seen)
        }
        InstanceState::Stopped => Some("stopped by an operator".to_owned()),
        InstanceState::Pending
        | InstanceState::Starting
        | InstanceState::Running
        | InstanceState::Idle
        | InstanceState::Backoff
        | InstanceState::Degraded
        | InstanceState::Stopping => match seen {
            Some(seen) if seen.draining => {
                Some("taken out of the list of addresses, about to be stopped".to_owned())
            }
            Some(seen) => phase_reason(seen),
            None if placement.waits && !in_progress => Some(
                "not begun: the last change ended before it came to it; `lain deploy` does"
                    .to_owned(),
            ),
            None => Some("waiting for its turn".to_owned()),
        },
    }
}

fn phase_reason(seen: &Observed) -> Option<String> {
    match &seen.phase {
        Phase::Pending(what) => Some(format!("waiting for {what}")),
        Phase::Starting(how) => Some(how.clone()),
        Phase::Running if !seen.is_ready() => {
            let probe = seen.probes.back().map(|p| format!(": {p}"));
            let probe = probe.unwrap_or_default();
            Some(format!("running, {}{probe}", seen.health.as_str()))
        }
        Phase::Crashed(why) | Phase::GaveUp(why) => Some(why.clone()),
        Phase::Running | Phase::Frozen | Phase::Finished(_) | Phase::Stopped => None,
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
    let mut reasons = node.troubles(shared.clock.monotonic());
    reasons.extend(record.cordoned.clone());
    reasons.extend(trouble);
    let wished = record.draining || record.cordoned.is_some();
    let state = match node.state() {
        NodeState::Ready if node.local && info.is_none() => "down",
        // Nobody wants it so: its own probes have found something.
        NodeState::Cordoned | NodeState::Draining if !wished => "unfit",
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
        version: facts.map_or_else(
            || env!("CARGO_PKG_VERSION").to_owned(),
            |f| f.version.clone(),
        ),
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
