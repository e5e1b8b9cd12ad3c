//! Deploy, undeploy, scale, restart, stop and start, as plain changes to the world.

use super::world::{App, World, not_found, proc_name};
use crate::domain::id::{AppName, NodeName, ProcName};
use crate::domain::plan::{Step, plan};
use crate::domain::record::{AppRecord, Overrides, Placement, Release};
use crate::domain::revision::Revision;
use crate::domain::spec::model::ProcSpec;
use crate::domain::spec::{self, SpecError, requires_new_container};
use crate::domain::view::{
    ChangeAnswer, DeployRequest, OperationView, PlanAction, PlanStep, PlanView, RevisionOutcome,
    ScaleRequest,
};
use crate::ports::control::{Caller, ControlError, Precondition, Problem, Selector};
use chrono::Utc;
use std::collections::BTreeMap;

/// The most instances of one proc.
const MAX_INSTANCES: u32 = 1000;

/// A change that is asked for, whoever asks, for real or not.
pub struct Asked<'a> {
    pub dry_run: bool,
    pub caller: &'a Caller,
}

/// # Errors
/// What the file, the precondition or the app's state refuse.
pub fn deploy(
    world: &mut World,
    name: &AppName,
    request: DeployRequest,
    precondition: Precondition,
    asked: &Asked<'_>,
) -> Result<ChangeAnswer, ControlError> {
    let parsed = spec::parse(&request.lain_yaml, &request.file_name).map_err(|errors| {
        ControlError::Invalid {
            file: request.file_name.clone(),
            problems: errors.errors.iter().map(problem).collect(),
        }
    })?;
    let warnings = parsed.warnings.iter().map(|w| w.message.clone()).collect();
    if &parsed.spec.appname != name {
        let found = &parsed.spec.appname;
        return Err(ControlError::Conflict(format!(
            "the file says appname {found}, but the request is for app {name}"
        )));
    }
    let known = world.apps.get(name);
    check(name, known.map(|app| app.revision), precondition)?;
    let mut release = Release {
        spec: parsed.spec,
        lain_yaml: request.lain_yaml,
        meta_version: request.meta_version,
        image: request.image,
        versions: BTreeMap::new(),
        revision: 0,
        good: true,
        texts: Default::default(),
    };
    let changes = known
        .map(|app| changes(&app.record, &release))
        .unwrap_or_default();
    for proc in &release.spec.procs {
        let proc = proc.full_name();
        let old = known.map_or(0, |app| app.record.version(&proc));
        let new = old + u64::from(old == 0 || changes.contains_key(&proc));
        release.versions.insert(proc, new);
    }
    let record = match known {
        Some(app) => AppRecord {
            previous: Some(app.record.current.clone()),
            current: release,
            updated_at: Utc::now(),
            ..app.record.clone()
        },
        None => first_record(release),
    };
    let mut answer = commit(world, "deploy", name, record, &changes, asked)?;
    answer.warnings = warnings;
    Ok(answer)
}

fn first_record(release: Release) -> AppRecord {
    AppRecord {
        current: release,
        previous: None,
        history: Vec::new(),
        overrides: BTreeMap::new(),
        stopped: BTreeMap::new(),
        revision: 0,
        created_at: Utc::now(),
        updated_at: Utc::now(),
        removing: false,
        operation: None,
        canary: None,
    }
}

/// Why procs need new containers.
fn changes(old: &AppRecord, new: &Release) -> BTreeMap<String, Vec<String>> {
    let image = old.current.image != new.image || old.current.meta_version != new.meta_version;
    let image = image.then(|| "image".to_owned());
    let mut all = BTreeMap::new();
    for proc in &new.spec.procs {
        let mut why: Vec<String> = image.iter().cloned().collect();
        if let Some(before) = old.current.spec.proc(proc.name.as_str()) {
            let fields = requires_new_container(before, proc);
            why.extend(fields.iter().map(ToString::to_string));
        }
        if !why.is_empty() {
            all.insert(proc.full_name(), why);
        }
    }
    all
}

/// # Errors
/// What the precondition refuses.
pub fn undeploy(
    world: &mut World,
    name: &AppName,
    precondition: Precondition,
    asked: &Asked<'_>,
) -> Result<ChangeAnswer, ControlError> {
    let app = world.app(name)?;
    check(name, Some(app.revision), precondition)?;
    let mut record = app.record.clone();
    record.removing = true;
    commit(world, "undeploy", name, record, &BTreeMap::new(), asked)
}

/// The current release, and the one before it under the number before.
pub fn revisions(world: &World, name: &AppName) -> Result<Vec<Revision>, ControlError> {
    let app = world.app(name)?;
    let releases = std::iter::once(&app.record.current).chain(&app.record.previous);
    let numbers = (1..=app.revision).rev();
    let revision = |(number, release): (u64, &Release)| Revision {
        revision: number,
        kind: "deploy".to_owned(),
        by: "dev".to_owned(),
        at: app.record.updated_at,
        ended_at: Some(app.record.updated_at),
        operation: "0".to_owned(),
        outcome: RevisionOutcome::Deployed,
        reason: None,
        back_to: None,
        images: BTreeMap::new(),
        release: release.clone(),
    };
    Ok(numbers.zip(releases).map(revision).collect())
}

/// # Errors
/// What the precondition refuses, and that there is no such revision.
pub fn rollback(
    world: &mut World,
    name: &AppName,
    to: Option<u64>,
    precondition: Precondition,
    asked: &Asked<'_>,
) -> Result<ChangeAnswer, ControlError> {
    let app = world.app(name)?;
    check(name, Some(app.revision), precondition)?;
    let current = &app.record.current;
    let earlier = revisions(world, name)?.into_iter().skip(1);
    let target = earlier
        .into_iter()
        .find(|r| to.is_none_or(|to| to == r.revision));
    let target = target.ok_or_else(|| match to {
        Some(to) => not_found("revision", &to.to_string(), std::iter::empty()),
        None => ControlError::Conflict(format!("app {name} has no revision to go back to")),
    })?;
    let record = AppRecord {
        previous: Some(current.clone()),
        current: target.release,
        ..app.record.clone()
    };
    commit(world, "rollback", name, record, &BTreeMap::new(), asked)
}

/// # Errors
/// Each value that is out of range.
pub fn scale(
    world: &mut World,
    name: &AppName,
    proc: &ProcName,
    request: &ScaleRequest,
    asked: &Asked<'_>,
) -> Result<ChangeAnswer, ControlError> {
    let app = world.app(name)?;
    proc_name(app, proc)?;
    let mut record = app.record.clone();
    let full_name = record.proc(proc).as_ref().map(ProcSpec::full_name);
    let full_name =
        full_name.ok_or_else(|| not_found("proc", proc.as_str(), std::iter::empty()))?;
    let wanted = overrides(request)?;
    let over = record.overrides.entry(full_name).or_default();
    over.num_instances = wanted.num_instances.or(over.num_instances);
    over.cpu = wanted.cpu.or(over.cpu);
    over.memory = wanted.memory.or(over.memory);
    over.spares = wanted.spares.or(over.spares);
    commit(world, "scale", name, record, &BTreeMap::new(), asked)
}

fn overrides(request: &ScaleRequest) -> Result<Overrides, ControlError> {
    let mut problems = Vec::new();
    let mut refuse = |key: &str, detail: String| {
        problems.push(Problem {
            line: None,
            column: None,
            key: format!("/{key}"),
            code: "out_of_range".to_owned(),
            detail,
        });
    };
    let ranges = [
        ("num_instances", request.num_instances, MAX_INSTANCES),
        ("spares", request.spares, MAX_INSTANCES),
        ("cpu", request.cpu, 8),
    ];
    for (key, value, most) in ranges {
        if let Some(value) = value.filter(|value| *value > most) {
            refuse(key, format!("{value} is more than {most}"));
        }
    }
    let memory = request
        .memory
        .as_deref()
        .map(spec::parse_memory)
        .transpose();
    let memory = memory.unwrap_or_else(|why| {
        refuse("memory", why);
        None
    });
    if problems.is_empty() {
        return Ok(Overrides {
            num_instances: request.num_instances,
            cpu: request.cpu,
            memory,
            spares: request.spares,
        });
    }
    let file = "the request".to_owned();
    Err(ControlError::Invalid { file, problems })
}

/// # Errors
/// If what is selected does not exist.
pub fn command(
    world: &mut World,
    action: PlanAction,
    selector: &Selector,
    asked: &Asked<'_>,
) -> Result<ChangeAnswer, ControlError> {
    let (app, chosen) = world.select(selector)?;
    let revision = app.revision;
    let steps: Vec<PlanStep> = chosen
        .iter()
        .map(|placement| step(action, placement))
        .collect();
    let chosen: Vec<_> = chosen.iter().map(|p| p.instance.clone()).collect();
    if asked.dry_run {
        return Ok(answer(&selector.app, steps, None, revision));
    }
    let revision = world.next_revision();
    if let Some(app) = world.apps.get_mut(&selector.app) {
        app.revision = revision;
        for placement in app
            .placements
            .iter_mut()
            .filter(|p| chosen.contains(&p.instance))
        {
            placement.restarts += u64::from(action == PlanAction::Restart);
            let stopped = app
                .record
                .stopped
                .entry(format!(
                    "{}.{}",
                    placement.instance.proc_type, placement.instance.proc
                ))
                .or_default();
            match action {
                PlanAction::Stop => stopped.instances.insert(placement.instance.no),
                _ => stopped.instances.remove(&placement.instance.no),
            };
        }
    }
    let verb = match action {
        PlanAction::Stop => "stop",
        PlanAction::Start => "start",
        _ => "restart",
    };
    let operation = world.begin(verb, &selector.app, &steps, asked.caller)?;
    Ok(answer(&selector.app, steps, Some(operation), revision))
}

fn step(action: PlanAction, placement: &Placement) -> PlanStep {
    PlanStep {
        action,
        target: placement.instance.to_string(),
        changes: Vec::new(),
    }
}

fn answer(
    app: &AppName,
    steps: Vec<PlanStep>,
    operation: Option<OperationView>,
    revision: u64,
) -> ChangeAnswer {
    let app = app.to_string();
    ChangeAnswer {
        operation,
        plan: PlanView { app, steps },
        revision,
        etag: revision,
        warnings: Vec::new(),
    }
}

/// Plans, and unless it is a dry run or there is nothing to do, carries the plan out.
fn commit(
    world: &mut World,
    kind: &str,
    name: &AppName,
    record: AppRecord,
    changes: &BTreeMap<String, Vec<String>>,
    asked: &Asked<'_>,
) -> Result<ChangeAnswer, ControlError> {
    let known = world.apps.get(name);
    let placements = known.map_or(&[][..], |app| &app.placements);
    let steps = plan(&record, placements, changes);
    let views: Vec<PlanStep> = steps.iter().map(Step::view).collect();
    let revision = known.map_or(0, |app| app.revision);
    let nothing = known.is_some_and(|app| same(&app.record, &record)) && steps.is_empty();
    if asked.dry_run || nothing {
        return Ok(answer(name, views, None, revision));
    }
    let placements = carry_out(placements.to_vec(), &record, &steps)?;
    let removing = record.removing;
    let revision = world.next_revision();
    let app = App {
        record,
        revision,
        placements,
    };
    world.apps.insert(name.clone(), app);
    let operation = world.begin(kind, name, &views, asked.caller)?;
    if removing && operation.state.is_final() {
        world.apps.remove(name);
    }
    Ok(answer(name, views, Some(operation), revision))
}

fn same(a: &AppRecord, b: &AppRecord) -> bool {
    a.current == b.current && a.procs() == b.procs() && a.removing == b.removing
}

fn carry_out(
    mut placements: Vec<Placement>,
    record: &AppRecord,
    steps: &[Step],
) -> Result<Vec<Placement>, ControlError> {
    let node = NodeName::new("local").map_err(|e| ControlError::Internal(e.to_string()))?;
    for step in steps {
        let before = placements.iter().position(|p| p.instance == step.instance);
        let before = before.map(|at| placements.remove(at));
        if step.action == PlanAction::Delete {
            continue;
        }
        let resources = record
            .proc(&step.instance.proc)
            .map_or((0, 0), |proc| (proc.cpu, proc.memory));
        placements.push(Placement {
            instance: step.instance.clone(),
            node: node.clone(),
            version: step.version,
            drift: 0,
            role: step.role,
            resources,
            ports: Vec::new(),
            restarts: before.as_ref().map_or(0, |p| p.restarts),
            crashes: before.as_ref().map_or(0, |p| p.crashes),
            last_crash: before.and_then(|p| p.last_crash),
            gave_up: 0,
            finished: None,
            failed_on: Vec::new(),
            unplaced: None,
            evicted: false,
            waits: false,
            generation: 0,
        });
    }
    placements.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(placements)
}

fn check(app: &AppName, current: Option<u64>, given: Precondition) -> Result<(), ControlError> {
    let stale = |given, current| {
        let app = app.to_string();
        Err(ControlError::Stale {
            app,
            given,
            current,
        })
    };
    match (current, given) {
        (Some(_), Precondition::None) => Err(ControlError::PreconditionRequired(app.to_string())),
        (Some(current), Precondition::Revision(given)) if given != current => stale(given, current),
        (Some(current), Precondition::Absent) => stale(0, current),
        (None, Precondition::Revision(given)) => stale(given, 0),
        _ => Ok(()),
    }
}

fn problem(error: &SpecError) -> Problem {
    let expected = error.expected.iter().map(|e| format!("; expected {e}"));
    let meant = error
        .suggestion
        .iter()
        .map(|s| format!("; did you mean {s}?"));
    Problem {
        line: Some(error.line),
        column: Some(error.column),
        key: error.key.clone(),
        code: error.code_name(),
        detail: std::iter::once(error.message.clone())
            .chain(expected)
            .chain(meant)
            .collect(),
    }
}
