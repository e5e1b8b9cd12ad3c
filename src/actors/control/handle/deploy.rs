//! Deploy, undeploy and scale: a new desired state, committed with its operation in one transaction.

use super::Handle;
use crate::actors::agent::crash::new_id;
use crate::actors::control::operation::{self, encode, pending, plan_for};
use crate::actors::control::rollout::{Begin, Rollout};
use crate::actors::control::{app, paths, render, reread, world};
use crate::domain::id::{AppName, OperationId, ProcName};
use crate::domain::plan::Step;
use crate::domain::record::{AppRecord, Overrides, Release, keys};
use crate::domain::spec::{self, SpecErrors};
use crate::domain::view::{ChangeAnswer, DeployRequest, OperationView, PlanView, ScaleRequest};
use crate::ports::control::{Caller, ControlError, Precondition, Problem};
use crate::ports::store::{Change, Compare, Outcome};
use std::collections::BTreeMap;
use std::sync::Arc;

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
        };
        self.check_release(
            &release,
            existing.as_ref().map(|v| &*v.record),
            &request.file_name,
        )?;
        let record = self.next_record(existing.as_ref().map(|v| &*v.record), release);
        let unchanged = existing
            .as_ref()
            .is_some_and(|v| same_desire(&v.record, &record));
        let revision = existing.map(|v| v.revision);
        let mut answer = self
            .commit("deploy", name, record, revision, unchanged, dry_run, caller)
            .await?;
        answer.warnings = warnings;
        Ok(answer)
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
        let names: Vec<String> = release.spec.procs.iter().map(|p| p.full_name()).collect();
        let mut record = old.clone();
        record.overrides.retain(|name, _| names.contains(name));
        record.stopped.retain(|name, _| names.contains(name));
        let placements = self.shared.world.placements(&release.spec.appname);
        record.succeed(release, &placements);
        record.updated_at = now;
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
        record.updated_at = self.shared.clock.now_utc();
        self.commit(
            "undeploy",
            name,
            record,
            Some(app.revision),
            false,
            dry_run,
            caller,
        )
        .await
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
        if record.removing {
            return Err(ControlError::Conflict(format!(
                "app {name} is being removed"
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
        let unchanged = same_desire(&app.record, &record);
        self.commit(
            "scale",
            name,
            record,
            Some(app.revision),
            unchanged,
            dry_run,
            caller,
        )
        .await
    }

    /// Plans, and unless it is a dry run or there is nothing to do, commits record and operation together and
    /// hands the operation to the app's rollout.
    #[expect(
        clippy::too_many_arguments,
        reason = "one transaction, all of whose parts are named"
    )]
    pub(super) async fn commit(
        &self,
        kind: &str,
        name: &AppName,
        mut record: AppRecord,
        revision: Option<u64>,
        unchanged: bool,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let placements = self.shared.world.placements(name);
        let steps = plan_for(&record, &placements, &self.shared.settings.site.registry);
        let plan = PlanView {
            app: name.to_string(),
            steps: steps.iter().map(Step::view).collect(),
        };
        let nothing = unchanged && steps.is_empty();
        if dry_run || nothing {
            return Ok(ChangeAnswer {
                operation: None,
                plan,
                revision: record.revision,
                etag: record.etag(),
                warnings: Vec::new(),
            });
        }
        let operation = self.new_operation(kind, name, &caller.name, &steps)?;
        record.operation = OperationId::new(operation.id.clone()).ok();
        let written = self.write(name, record, revision, &operation).await?;
        self.hand_over(name, operation.clone()).await?;
        Ok(ChangeAnswer {
            operation: Some(operation),
            plan,
            revision: written.revision,
            etag: written.etag(),
            warnings: Vec::new(),
        })
    }

    pub(super) fn new_operation(
        &self,
        kind: &str,
        name: &AppName,
        actor: &str,
        steps: &[Step],
    ) -> Result<OperationView, ControlError> {
        let id = OperationId::new(new_id()).map_err(|e| ControlError::Internal(e.to_string()))?;
        let mut operation =
            operation::operation(&id, kind, name, actor, self.shared.clock.now_utc());
        operation.steps = steps.iter().map(pending).collect();
        Ok(operation)
    }

    /// One transaction: the app is still at the store's `revision`, and its next record and the operation are
    /// durable.
    pub(super) async fn write(
        &self,
        name: &AppName,
        mut record: AppRecord,
        revision: Option<u64>,
        operation: &OperationView,
    ) -> Result<Arc<AppRecord>, ControlError> {
        let before = record.etag();
        record.revision += 1;
        let key = keys::app(name);
        let condition = match revision {
            Some(revision) => Compare::RevisionIs(key.clone(), revision),
            None => Compare::Absent(key.clone()),
        };
        let changes = vec![
            Change::Put(key, encode(&record)?),
            Change::Put(keys::operation(&operation.id), encode(operation)?),
        ];
        let written = self.shared.store.transact(vec![condition], changes).await;
        if written.is_err() {
            reread::look_again(&self.shared, name);
        }
        match written? {
            Outcome::Committed(at) => {
                self.shared.world.put_operation(operation.clone());
                Ok(self.shared.world.put_app(record, at).record)
            }
            Outcome::Refused(_, entry) => {
                if let Some(entry) = &entry {
                    reread::take_over(&self.shared, name, entry).await?;
                }
                Err(ControlError::Stale {
                    app: name.to_string(),
                    given: before,
                    current: match entry.map(|e| world::decode::<AppRecord>(&e)) {
                        Some(now) => now?.etag(),
                        None => 0,
                    },
                })
            }
        }
    }

    /// Lets the app's rollout begin. What is committed is carried out even if this is cut off.
    pub(super) async fn hand_over(
        &self,
        name: &AppName,
        operation: OperationView,
    ) -> Result<(), ControlError> {
        app::ensure_app(&self.shared, name)
            .await
            .map_err(ControlError::Unavailable)?;
        tracing::info!(app = %name, op = operation.id, kind = operation.kind, "operation accepted");
        self.shared.tell::<Rollout, _>(&paths::rollout(name), Begin);
        Ok(())
    }
}

/// Whether two records want the same, dates and operations aside.
fn same_desire(a: &AppRecord, b: &AppRecord) -> bool {
    a.current.spec == b.current.spec
        && a.current.versions == b.current.versions
        && a.current.meta_version == b.current.meta_version
        && a.current.image == b.current.image
        && a.overrides == b.overrides
        && a.stopped == b.stopped
        && a.removing == b.removing
}

/// RFC 9110 preconditions: an app that exists is changed only by who names its `ETag`, here its number.
fn check(
    app: &AppName,
    current: Option<u64>,
    precondition: Precondition,
) -> Result<(), ControlError> {
    match (current, precondition) {
        (Some(_), Precondition::None) => Err(ControlError::PreconditionRequired(app.to_string())),
        (Some(current), Precondition::Revision(given)) if given != current => {
            Err(ControlError::Stale {
                app: app.to_string(),
                given,
                current,
            })
        }
        (Some(current), Precondition::Absent) => Err(ControlError::Stale {
            app: app.to_string(),
            given: 0,
            current,
        }),
        (None, Precondition::Revision(given)) => Err(ControlError::Stale {
            app: app.to_string(),
            given,
            current: 0,
        }),
        _ => Ok(()),
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
