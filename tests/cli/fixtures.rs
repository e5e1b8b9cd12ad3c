//! Objects as the API serves them.

use chrono::{DateTime, Duration, Utc};
use lain::domain::crash::{CrashCause, CrashReport, Exit};
use lain::domain::view::{
    AppState, AppView, ChangeAnswer, Endpoint, EventView, InstanceRole, InstanceState,
    InstanceView, LogLineView, OperationState, OperationStep, OperationView, PlanAction, PlanStep,
    PlanView, ProcView,
};
use serde_json::json;
use std::sync::Arc;

/// A moment that long ago, in the middle of a minute so that its age is the same for half a minute.
pub fn ago(minutes: i64) -> DateTime<Utc> {
    Utc::now() - Duration::minutes(minutes) - Duration::seconds(20)
}

/// An instance of hello's web proc.
pub fn instance(no: u32, state: InstanceState) -> InstanceView {
    InstanceView {
        id: format!("hello.web.web.i{no}"),
        no,
        state,
        reason: None,
        health: "healthy".to_owned(),
        role: InstanceRole::Active,
        canary: false,
        node: "dev".to_owned(),
        container: Some(format!("hello.web.web.v1-i{no}-d0")),
        container_id: Some("4f66ad9a0b2e".to_owned()),
        version: 1,
        ip: Some(format!("172.17.0.{}", no + 1)),
        endpoints: vec![Endpoint {
            port: serde_json::from_value(json!({"port": 80, "protocol": "tcp"})).unwrap(),
            address: format!("127.0.0.1:{}", 20_000 + no),
        }],
        started_at: Some(ago(125)),
        restarts: 0,
        restart_at: None,
        last_exit: None,
        last_crash: None,
        path: format!("apps/app/hello/proc/web.web/instance/{no}"),
    }
}

/// A proc with these instances.
pub fn proc(full_name: &str, instances: Vec<InstanceView>) -> ProcView {
    let (kind, name) = full_name.split_once('.').unwrap();
    let running = instances
        .iter()
        .filter(|i| i.state == InstanceState::Running);
    ProcView {
        full_name: full_name.to_owned(),
        name: name.to_owned(),
        proc_type: kind.to_owned(),
        state: AppState::Running,
        reason: None,
        wanted: u32::try_from(instances.len()).unwrap(),
        ready: u32::try_from(running.count()).unwrap(),
        spares_wanted: 0,
        done: 0,
        spares_ready: 0,
        version: 1,
        image: "hello:release-1-a".to_owned(),
        crashes: 0,
        next_run: None,
        runs: Vec::new(),
        overrides: Vec::new(),
        spec: spec(kind, name),
        instances,
    }
}

fn spec(kind: &str, name: &str) -> lain::domain::spec::model::ProcSpec {
    serde_json::from_value(json!({
        "name": name, "proc_type": kind, "image": null, "entrypoint": null, "cmd": null, "user": "",
        "workdir": "", "num_instances": 3, "spares": 0, "cpu": 0, "memory": 33_554_432, "ports": [],
        "stream_ports": [], "mountpoint": [], "https_only": false, "health": null, "env": [],
        "volumes": [], "cloud_volumes": null, "secret_files": [], "secret_files_bypass": false,
        "logs": [], "labels": {}, "filters": [], "stateful": false, "setup_time": "0s",
        "kill_timeout": "10s", "dns_search": [], "service_name": null, "allow_clients": null,
        "restart": {"policy": "permanent", "intensity": 5, "period": "60s", "max_backoff": "30s"},
        "schedule": null,
        "update": {"order": "start_first", "parallelism": null, "progress_deadline": "300s", "auto_rollback": true},
    }))
    .unwrap()
}

/// The app hello with a web proc of two instances.
pub fn hello() -> AppView {
    AppView {
        name: "hello".to_owned(),
        apptype: "app".to_owned(),
        revision: 3,
        etag: 3,
        meta_version: None,
        state: AppState::Running,
        reason: None,
        created_at: ago(300),
        updated_at: ago(125),
        operation: None,
        urls: vec!["http://127.0.0.1:20001".to_owned()],
        strategy: "one_for_one".to_owned(),
        canary: None,
        procs: vec![proc(
            "web.web",
            vec![
                instance(1, InstanceState::Running),
                instance(2, InstanceState::Running),
            ],
        )],
    }
}

/// A step of an operation on hello's web instance `no`.
pub fn step(no: u32, state: OperationState, detail: &str) -> OperationStep {
    let begun = state != OperationState::Pending;
    OperationStep {
        step: Arc::new(PlanStep {
            action: PlanAction::Create,
            target: format!("hello.web.web.i{no}"),
            changes: Vec::new(),
        }),
        state,
        detail: detail.to_owned(),
        started_at: begun.then(|| ago(125)),
        ended_at: state
            .is_final()
            .then(|| ago(125) + Duration::milliseconds(2150)),
    }
}

/// An operation on hello.
pub fn operation(state: OperationState, steps: Vec<OperationStep>) -> OperationView {
    OperationView {
        id: "0198f2a1-0000-7000-8000-00000000000a".to_owned(),
        kind: "deploy".to_owned(),
        app: "hello".to_owned(),
        state,
        actor: "dev".to_owned(),
        started_at: ago(125),
        ended_at: state
            .is_final()
            .then(|| ago(125) + Duration::milliseconds(4260)),
        steps,
        error: None,
        revision: None,
        waiting: None,
        crashes: Vec::new(),
    }
}

/// The answer to a change with this operation, whose steps are the plan.
pub fn accepted(operation: OperationView) -> ChangeAnswer {
    ChangeAnswer {
        plan: PlanView {
            app: "hello".to_owned(),
            steps: operation
                .steps
                .iter()
                .map(|step| PlanStep::clone(&step.step))
                .collect(),
        },
        operation: Some(operation),
        revision: 4,
        etag: 4,
        warnings: Vec::new(),
    }
}

/// The answer to a dry run, or to a change without anything to do.
pub fn planned(steps: Vec<PlanStep>) -> ChangeAnswer {
    ChangeAnswer {
        operation: None,
        plan: PlanView {
            app: "hello".to_owned(),
            steps,
        },
        revision: 3,
        etag: 3,
        warnings: Vec::new(),
    }
}

/// A crash of hello's web instance 1.
pub fn crash(number: u32) -> CrashReport {
    CrashReport {
        id: format!("0198f2a1-0000-7000-8000-{number:012}")
            .parse()
            .unwrap(),
        at: ago(125),
        instance: "hello.web.web.i1".parse().unwrap(),
        node: "dev".parse().unwrap(),
        path: "nodes/dev/containers/container/hello.web.web.i1".to_owned(),
        version: 1,
        container: "hello.web.web.v1-i1-d0".to_owned(),
        cause: CrashCause::Exited {
            exit: Exit::from_code(1, false, None),
        },
        uptime_ms: 1234,
        crashes_in_window: 2,
        action: "restarted at once".to_owned(),
        last_lines: (1..=12).map(|n| format!("output {n}")).collect(),
        probes: Vec::new(),
    }
}

/// An event on hello's web instance 1.
pub fn event(seq: u64, message: &str) -> EventView {
    EventView {
        seq,
        at: ago(125) + Duration::seconds(i64::try_from(seq).unwrap()),
        kind: "instance_crashed".to_owned(),
        level: "warn".to_owned(),
        app: Some("hello".to_owned()),
        proc: Some("web.web".to_owned()),
        instance: Some(1),
        node: Some("dev".to_owned()),
        path: Some("apps/app/hello/proc/web.web/instance/1".to_owned()),
        operation: None,
        crash: None,
        message: message.to_owned(),
    }
}

/// A line of output.
pub fn line(instance: &str, second: i64, text: &str) -> LogLineView {
    LogLineView {
        at: DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap(),
        instance: instance.to_owned(),
        stream: "stdout".to_owned(),
        line: text.to_owned(),
    }
}

/// A supervision tree of three actors.
pub fn tree() -> serde_json::Value {
    let actor = |path: &str, kind: &str, children: Vec<serde_json::Value>| {
        json!({
            "path": path, "id": path.rsplit('/').next().unwrap(), "kind": kind,
            "strategy": (kind == "supervisor").then_some("one_for_one"), "restart": "permanent",
            "shutdown": "5s", "significant": false, "state": "running", "note": null, "incarnation": 1,
            "started_at": ago(125), "restarts": 0,
            "restarts_in_window": (kind == "supervisor").then_some(1),
            "intensity": (kind == "supervisor").then_some(3),
            "period_ms": (kind == "supervisor").then_some(5000), "restart_at": null, "awaiting": null,
            "mailbox": null, "history": [], "last_crash": null, "child_count": children.len(),
            "children": children,
        })
    };
    actor(
        "",
        "supervisor",
        vec![actor(
            "apps",
            "supervisor",
            vec![actor("apps/store", "worker", vec![])],
        )],
    )
}
