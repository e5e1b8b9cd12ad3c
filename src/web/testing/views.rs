//! The world as the API shows it.

use super::tree;
use super::world::App;
use crate::domain::id::ProcType;
use crate::domain::record::Placement;
use crate::domain::spec::model::{ProcSpec, ProcStrategy};
use crate::domain::view::{
    AppState, AppView, Finding, InstanceRole, InstanceState, InstanceView, NodeView, ProcView,
};
use std::collections::BTreeMap;

/// An app, its procs and its instances.
pub fn app(app: &App) -> AppView {
    let record = &app.record;
    let spec = &record.current.spec;
    let procs: Vec<ProcView> = record.procs().iter().map(|p| proc(app, p)).collect();
    let stopped = procs.iter().all(|proc| proc.state == AppState::Stopped);
    let state = match (record.removing, &record.operation) {
        (true, _) => AppState::Removing,
        (false, Some(_)) => AppState::Deploying,
        (false, None) if stopped => AppState::Stopped,
        (false, None) => AppState::Running,
    };
    let reason = match state {
        AppState::Running => None,
        AppState::Stopped => Some("it was stopped".to_owned()),
        _ => Some("an operation is in progress".to_owned()),
    };
    let strategy = match spec.supervision.strategy {
        ProcStrategy::OneForOne => "one_for_one",
        ProcStrategy::OneForAll => "one_for_all",
        ProcStrategy::RestForOne => "rest_for_one",
    };
    AppView {
        name: spec.appname.to_string(),
        apptype: "app".to_owned(),
        revision: app.revision,
        etag: app.revision,
        meta_version: record.current.meta_version.clone(),
        state,
        reason,
        created_at: record.created_at,
        updated_at: record.updated_at,
        operation: record.operation.as_ref().map(ToString::to_string),
        urls: Vec::new(),
        strategy: strategy.to_owned(),
        canary: None,
        procs,
    }
}

fn proc(app: &App, spec: &ProcSpec) -> ProcView {
    let record = &app.record;
    let full_name = spec.full_name();
    let mine = app
        .placements
        .iter()
        .filter(|p| p.instance.proc == spec.name);
    let instances: Vec<InstanceView> = mine.map(|p| instance(app, p)).collect();
    let count = |state| instances.iter().filter(|i| i.state == state).count();
    let ready = to_u32(count(InstanceState::Running));
    let stopped = !instances.is_empty() && count(InstanceState::Stopped) == instances.len();
    let in_file = record.current.spec.proc(spec.name.as_str());
    let image = spec.image.clone().or_else(|| record.current.image.clone());
    ProcView {
        name: spec.name.to_string(),
        proc_type: spec.proc_type.to_string(),
        state: match stopped {
            true => AppState::Stopped,
            false => AppState::Running,
        },
        reason: stopped.then(|| "it was stopped".to_owned()),
        wanted: match spec.proc_type {
            ProcType::Cron => 0,
            _ => spec.num_instances,
        },
        ready,
        spares_wanted: spec.spares,
        done: 0,
        spares_ready: to_u32(count(InstanceState::Idle)),
        version: record.version(&full_name),
        image: image.unwrap_or_else(|| format!("{}:release", record.current.spec.appname)),
        crashes: instances.iter().filter(|i| i.last_crash.is_some()).count() as u64,
        next_run: None,
        runs: Vec::new(),
        overrides: in_file.map(|p| record.drift(p)).unwrap_or_default(),
        spec: spec.clone(),
        full_name,
        instances,
    }
}

fn instance(app: &App, placement: &Placement) -> InstanceView {
    let id = &placement.instance;
    let full_name = id.full_name();
    let state = match (app.record.is_stopped(&full_name, id.no), placement.role) {
        (true, _) => InstanceState::Stopped,
        (false, InstanceRole::Spare) => InstanceState::Idle,
        (false, InstanceRole::Active) => InstanceState::Running,
    };
    let stopped = state == InstanceState::Stopped;
    InstanceView {
        id: id.to_string(),
        no: id.no,
        state,
        reason: stopped.then(|| "stopped by an operator".to_owned()),
        health: "none".to_owned(),
        role: placement.role,
        canary: false,
        node: placement.node.to_string(),
        container: Some(format!(
            "{}.v{}-i{}-d0",
            id.group(),
            placement.version,
            id.no
        )),
        container_id: None,
        version: placement.version,
        ip: None,
        endpoints: Vec::new(),
        started_at: (!stopped).then_some(app.record.updated_at),
        restarts: placement.restarts,
        restart_at: None,
        last_exit: None,
        last_crash: placement.last_crash.clone(),
        path: tree::path_of(id),
    }
}

/// The one node.
pub fn node(containers: usize) -> NodeView {
    NodeView {
        name: "local".to_owned(),
        state: "ready".to_owned(),
        reason: None,
        engine: "simulated".to_owned(),
        engine_version: "memory".to_owned(),
        cpus: 1,
        memory: 1 << 30,
        memory_reserved: 0,
        containers: to_u32(containers),
        labels: BTreeMap::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        warnings: vec!["no container runs: this is a control host in memory".to_owned()],
    }
}

/// What a check of this host finds.
pub fn findings() -> Vec<Finding> {
    vec![Finding {
        check: "engine".to_owned(),
        result: "warn".to_owned(),
        detail: "no container runs: this is a control host in memory".to_owned(),
        remedy: Some("run `lain dev`".to_owned()),
    }]
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
