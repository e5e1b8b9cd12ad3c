//! Deploy, undeploy and scale: from a request to a new desired state.

use super::Handle;
use super::commit::{Commit, check, refuse_removal, same_desire};
use crate::actors::control::operation;
use crate::actors::control::render;
use crate::domain::id::{AppName, ProcName};
use crate::domain::plan::{self, Step};
use crate::domain::record::{AppRecord, Canary, Overrides, Release};
use crate::domain::spec::{self, SpecErrors};
use crate::domain::view::{ChangeAnswer, DeployRequest, PlanAction, ScaleRequest};
use crate::ports::control::{Caller, ControlError, Precondition, Problem};
use std::collections::BTreeMap;

/// The most instances of one proc.
const MAX_INSTANCES: u32 = 1000;

impl Handle {
    pub(super) async fn deploy_app(
        &self,
        name: &AppName,
        request: DeployRequest,
        precondition: Precondition,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let parsed = spec::parse(&request.lain_yaml, &request.file_name)
            .map_err(|e| invalid(&request.file_name, &e))?;
        if &parsed.spec.appname != name {
            return Err(ControlError::Conflict(format!(
                "{} says appname {}, but the request is for app {name}",
                request.file_name, parsed.spec.appname
            )));
        }
        let warnings = parsed
            .warnings
            .iter()
            .map(|w| format!("{}:{}:{}: {}", w.file, w.line, w.column, sentence(w)))
            .collect();
        let existing = self.shared.world.app(name);
        check(
            name,
            existing.as_ref().map(|v| v.record.etag()),
            precondition,
        )?;
        if existing.as_ref().is_some_and(|v| v.record.removing) {
            return Err(ControlError::Conflict(format!(
                "app {name} is being removed; repeat when that is done"
            )));
        }
        let release = Release {
            spec: parsed.spec,
            lain_yaml: request.lain_yaml,
            meta_version: request.meta_version,
            image: request.image,
            versions: BTreeMap::new(),
            revision: existing.as_ref().map_or(0, |v| v.record.revision) + 1,
            good: false,
            texts: Default::default(),
        };
        self.check_release(
            &release,
            existing.as_ref().map(|v| &*v.record),
            &request.file_name,
        )?;
        let mut record = self.next_record(existing.as_ref().map(|v| &*v.record), release);
        let unchanged = existing
            .as_ref()
            .is_some_and(|v| same_desire(&v.record, &record));
        let before = existing.as_ref().map(|v| &*v.record);
        record.canary = self.canary(before, &record, request.canary);
        let commit = Commit {
            unchanged,
            brings_release: true,
            ..Commit::new("deploy", name, existing.map(|v| v.revision))
        };
        let mut answer = self.commit(commit, record, dry_run, caller).await?;
        answer.warnings = warnings;
        Ok(answer)
    }

    /// The canary that a deploy is, if some of its instances are to be updated first.
    fn canary(
        &self,
        before: Option<&AppRecord>,
        record: &AppRecord,
        asked: Option<u32>,
    ) -> Option<Canary> {
        let going_on = before.and_then(|old| {
            let same = old.current.same_as(&record.current) && asked.is_none();
            old.canary_in_progress().filter(|_| same).cloned()
        });
        let canary = going_on.unwrap_or(Canary {
            instances: asked,
            promoted: false,
        });
        let tried = AppRecord {
            canary: Some(canary),
            ..record.clone()
        };
        if tried.procs().iter().all(|proc| tried.canaries(proc) == 0) {
            return None;
        }
        let placements = self.shared.world.placements(&record.current.spec.appname);
        // Which steps there are does not depend on why.
        let steps = plan::plan(&tried, &placements, &BTreeMap::new());
        let replaced = |step: &Step| {
            let proc = tried.proc(&step.instance.proc);
            step.action == PlanAction::Recreate && proc.is_some_and(|p| tried.canaries(&p) > 0)
        };
        let any = steps.iter().any(replaced);
        tried.canary.filter(|_| any)
    }

    /// What no parser can know: images, and the repository that the app is bound to.
    fn check_release(
        &self,
        release: &Release,
        existing: Option<&AppRecord>,
        file: &str,
    ) -> Result<(), ControlError> {
        let registry = &self.shared.settings.site.registry;
        let mut problems = Vec::new();
        for proc in &release.spec.procs {
            if let Err(detail) = render::image_of(proc, release, registry) {
                let key = format!("{}.image", proc.full_name());
                problems.push(Problem {
                    line: None,
                    column: None,
                    key,
                    code: "no_image".to_owned(),
                    detail,
                });
            }
        }
        if !problems.is_empty() {
            return Err(ControlError::Invalid {
                file: file.to_owned(),
                problems,
            });
        }
        let bound = existing.and_then(|e| e.current.spec.giturl.as_ref());
        match (bound, &release.spec.giturl) {
            (Some(bound), Some(given)) if bound != given => Err(ControlError::Conflict(format!(
                "app {} is bound to {bound} since its first deploy, and {given} is another repository",
                release.spec.appname
            ))),
            _ => Ok(()),
        }
    }

    /// The record that a release leads to. A proc's version rises when it needs new containers.
    fn next_record(&self, existing: Option<&AppRecord>, mut release: Release) -> AppRecord {
        let now = self.shared.clock.now_utc();
        let Some(old) = existing else {
            release.versions = release
                .spec
                .procs
                .iter()
                .map(|p| (p.full_name(), 1))
                .collect();
            return AppRecord {
                current: release,
                previous: None,
                history: Vec::new(),
                overrides: BTreeMap::new(),
                stopped: BTreeMap::new(),
                revision: 0,
                created_at: now,
                updated_at: now,
                removing: false,
                operation: None,
                canary: None,
            };
        };
        if release.spec.giturl.is_none() {
            release.spec.giturl.clone_from(&old.current.spec.giturl);
        }
        let changes =
            operation::changes(&old.current, &release, &self.shared.settings.site.registry);
        for proc in &release.spec.procs {
            let full_name = proc.full_name();
            let current = old.current.versions.get(&full_name).copied();
            let version = match current {
                Some(current) if !changes.contains_key(&full_name) => current,
                Some(_) | None => old.highest_version(&full_name) + 1,
            };
            release.versions.insert(full_name, version);
        }
        self.succeeded_by(old, release)
    }

    /// A record with another release; what operators set of procs that are no longer there is forgotten.
    pub(super) fn succeeded_by(&self, old: &AppRecord, release: Release) -> AppRecord {
        let names: Vec<String> = release.spec.procs.iter().map(|p| p.full_name()).collect();
        let mut record = old.clone();
        record.overrides.retain(|name, _| names.contains(name));
        record.stopped.retain(|name, _| names.contains(name));
        let placements = self.shared.world.placements(&release.spec.appname);
        record.succeed(release, &placements);
        record.updated_at = self.shared.clock.now_utc();
        record
    }

    pub(super) async fn undeploy_app(
        &self,
        name: &AppName,
        precondition: Precondition,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let app = self.find_app(name)?;
        check(name, Some(app.record.etag()), precondition)?;
        let mut record = AppRecord::clone(&app.record);
        record.removing = true;
        record.canary = None;
        record.updated_at = self.shared.clock.now_utc();
        let commit = Commit::new("undeploy", name, Some(app.revision));
        self.commit(commit, record, dry_run, caller).await
    }

    pub(super) async fn scale_proc(
        &self,
        name: &AppName,
        proc: &ProcName,
        request: &ScaleRequest,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let app = self.find_app(name)?;
        let spec = app.record.proc(proc).ok_or_else(|| {
            let names = app
                .record
                .current
                .spec
                .procs
                .iter()
                .map(|p| p.name.to_string());
            super::not_found("proc", proc.as_str(), names)
        })?;
        let asked = scale_overrides(request, spec.proc_type)?;
        let mut record = AppRecord::clone(&app.record);
        refuse_removal(name, &record)?;
        if record.canary_in_progress().is_some() {
            return Err(ControlError::Conflict(format!(
                "a canary of app {name} is in progress: `lain promote -a {name}` or `lain abort -a {name}` first"
            )));
        }
        // A request that asks for nothing leaves no trace.
        if asked != Overrides::default() {
            let over = record.overrides.entry(spec.full_name()).or_default();
            over.num_instances = asked.num_instances.or(over.num_instances);
            over.cpu = asked.cpu.or(over.cpu);
            over.memory = asked.memory.or(over.memory);
            over.spares = asked.spares.or(over.spares);
        }
        record.updated_at = self.shared.clock.now_utc();
        let commit = Commit {
            unchanged: same_desire(&app.record, &record),
            ..Commit::new("scale", name, Some(app.revision))
        };
        self.commit(commit, record, dry_run, caller).await
    }
}

fn scale_overrides(
    request: &ScaleRequest,
    proc_type: crate::domain::id::ProcType,
) -> Result<Overrides, ControlError> {
    use crate::domain::id::ProcType::{Cron, Oneshot};
    let mut problems = Vec::new();
    let mut refuse = |key: &str, code: &str, detail: String| {
        problems.push(Problem {
            line: None,
            column: None,
            key: key.to_owned(),
            code: code.to_owned(),
            detail,
        });
    };
    if let Some(n) = request.num_instances.filter(|n| *n > MAX_INSTANCES) {
        refuse(
            "num_instances",
            "out_of_range",
            format!("{n} is more than {MAX_INSTANCES} instances"),
        );
    }
    if let Some(n) = request.spares.filter(|n| *n > MAX_INSTANCES) {
        refuse(
            "spares",
            "out_of_range",
            format!("{n} is more than {MAX_INSTANCES} spares"),
        );
    }
    if request.spares.is_some_and(|n| n > 0) && matches!(proc_type, Cron | Oneshot) {
        refuse(
            "spares",
            "bad_combination",
            format!("a {proc_type} proc has no spares"),
        );
    }
    if let Some(cpu) = request.cpu.filter(|cpu| *cpu > 8) {
        refuse(
            "cpu",
            "out_of_range",
            format!("{cpu} is no CPU level: 0 to 8"),
        );
    }
    let memory = request.memory.as_deref().map(spec::parse_memory);
    if let Some(Err(why)) = &memory {
        refuse("memory", "invalid_memory", why.clone());
    }
    if !problems.is_empty() {
        return Err(ControlError::Invalid {
            file: "the request".to_owned(),
            problems,
        });
    }
    Ok(Overrides {
        num_instances: request.num_instances,
        cpu: request.cpu,
        memory: memory.and_then(Result::ok),
        spares: request.spares,
    })
}

fn invalid(file: &str, errors: &SpecErrors) -> ControlError {
    let problem = |e: &spec::SpecError| Problem {
        line: Some(e.line),
        column: Some(e.column),
        key: e.key.clone(),
        code: e.code_name(),
        detail: sentence(e),
    };
    ControlError::Invalid {
        file: file.to_owned(),
        problems: errors.errors.iter().map(problem).collect(),
    }
}

/// What is wrong, what was expected, and what was probably meant, on one line.
fn sentence(error: &spec::SpecError) -> String {
    let mut text = error.message.clone();
    if let Some(expected) = &error.expected {
        text.push_str(&format!("; expected {expected}"));
    }
    if let Some(suggestion) = &error.suggestion {
        text.push_str(&format!("; {suggestion}"));
    }
    text
}
