//! The history of an app, and what goes back in it or on with it: rollback, promote, abort.

use super::Handle;
use super::commit::{Also, Commit, check, refuse_removal, same_desire};
use crate::actors::control::rollout::{Promote, Rollout};
use crate::actors::control::{history, operation, paths, world};
use crate::actors::hub::{Event, Level};
use crate::domain::id::AppName;
use crate::domain::record::{AppRecord, Release, keys};
use crate::domain::revision::{Revision, rollback_target};
use crate::domain::view::{
    ChangeAnswer, OperationView, PlanStep, PlanView, RevisionOutcome, RevisionView,
};
use crate::ports::control::{Caller, ControlError, Precondition};
use crate::ports::store::Change;

impl Handle {
    /// The revisions of an app, newest first.
    pub(super) async fn list_revisions(
        &self,
        name: &AppName,
    ) -> Result<Vec<RevisionView>, ControlError> {
        let current = self.find_app(name)?.record.current.revision;
        let all = history::list(&self.shared, name).await?;
        Ok(all.iter().rev().map(|r| r.view(current, false)).collect())
    }

    pub(super) async fn read_revision(
        &self,
        name: &AppName,
        number: u64,
    ) -> Result<RevisionView, ControlError> {
        let current = self.find_app(name)?.record.current.revision;
        Ok(self.find_revision(name, number).await?.view(current, true))
    }

    /// An app that its `ETag` says is the one that is meant, and that is not being removed.
    fn find_app_to_change(
        &self,
        name: &AppName,
        precondition: Precondition,
    ) -> Result<world::Versioned, ControlError> {
        let app = self.find_app(name)?;
        check(name, Some(app.record.etag()), precondition)?;
        refuse_removal(name, &app.record)?;
        Ok(app)
    }

    async fn find_revision(&self, name: &AppName, number: u64) -> Result<Revision, ControlError> {
        let key = keys::revision(name, number);
        match self.shared.store.get(&key).await? {
            Some(entry) => Ok(world::decode(&entry)?),
            None => Err(ControlError::NotFound {
                kind: "revision",
                name: format!("{number} of app {name}"),
                hint: format!("; `lain history -a {name}` lists those that are kept"),
            }),
        }
    }

    pub(super) async fn roll_back_app(
        &self,
        name: &AppName,
        to: Option<u64>,
        precondition: Precondition,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let app = self.find_app_to_change(name, precondition)?;
        let target = match to {
            Some(number) => self.find_revision(name, number).await?,
            None => {
                let all = history::list(&self.shared, name).await?;
                let target = rollback_target(&app.record.current, &all).cloned();
                target.ok_or_else(|| {
                    ControlError::Conflict(format!(
                        "app {name} has no revision to go back to: none that is kept was rolled out to its end and differs from what is wanted now; see `lain history -a {name}`"
                    ))
                })?
            }
        };
        self.go_back("rollback", name, &app, target.release, dry_run, caller)
            .await
    }

    pub(super) async fn abort_canary(
        &self,
        name: &AppName,
        precondition: Precondition,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let app = self.find_app_to_change(name, precondition)?;
        let canary = app.record.canary_in_progress();
        let (Some(_), Some(previous)) = (canary, app.record.previous.clone()) else {
            return Err(no_canary(name));
        };
        let answer = self
            .go_back("abort", name, &app, previous, dry_run, caller)
            .await?;
        if let Some(operation) = &answer.operation {
            let text = format!(
                "the canary of {name} (revision {}) was aborted by {}",
                app.record.current.revision, caller.name
            );
            let event = Event::new("canary_aborted", Level::Warn, text);
            self.shared
                .hub
                .emit(event.app(name).operation(&operation.id));
        }
        Ok(answer)
    }

    /// Makes an earlier release the wanted one again. What is in progress is given up; nothing is tried first.
    async fn go_back(
        &self,
        kind: &'static str,
        name: &AppName,
        app: &world::Versioned,
        release: Release,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let old = &app.record;
        let back_to = Some(release.revision);
        let mut record = self.succeeded_by(old, self.as_next(old, release));
        record.canary = None;
        let commit = Commit {
            unchanged: same_desire(old, &record) && old.operation.is_none(),
            brings_release: true,
            also: Also {
                back_to,
                changes: match dry_run {
                    true => Vec::new(),
                    false => self.given_up(name, old, caller).await?,
                },
            },
            ..Commit::new(kind, name, Some(app.revision))
        };
        self.commit(commit, record, dry_run, caller).await
    }

    /// An earlier release as the next one. A proc gets the version back that it had then, so that instances which
    /// still run it stay as they are.
    fn as_next(&self, old: &AppRecord, mut release: Release) -> Release {
        let registry = &self.shared.settings.site.registry;
        let from_current = operation::changes(&old.current, &release, registry);
        for proc in release.spec.procs.clone() {
            let full_name = proc.full_name();
            let current = old.current.versions.get(&full_name).copied();
            let then = release.versions.get(&full_name).copied();
            let differs = |version: &u64| match old.release_of(&full_name, *version) {
                Some(known) => {
                    operation::changes(known, &release, registry).contains_key(&full_name)
                }
                None => false,
            };
            let version = match (current, then) {
                (Some(current), _) if !from_current.contains_key(&full_name) => current,
                (_, Some(then)) if !differs(&then) => then,
                _ => old.highest_version(&full_name) + 1,
            };
            release.versions.insert(full_name, version);
        }
        release.revision = old.revision + 1;
        release.good = false;
        release
    }

    /// What is noted of the revision that is given up by going back while it is being rolled out.
    async fn given_up(
        &self,
        name: &AppName,
        old: &AppRecord,
        caller: &Caller,
    ) -> Result<Vec<Change>, ControlError> {
        let key = keys::revision(name, old.current.revision);
        let Some(entry) = self.shared.store.get(&key).await? else {
            return Ok(Vec::new());
        };
        let mut revision: Revision = world::decode(&entry)?;
        if revision.outcome != RevisionOutcome::Deploying {
            return Ok(Vec::new());
        }
        revision.outcome = match old.canary_in_progress().is_some() {
            true => RevisionOutcome::Aborted,
            false => RevisionOutcome::RolledBack,
        };
        revision.ended_at = Some(self.shared.clock.now_utc());
        revision.reason = Some(format!("given up by {}", caller.name));
        Ok(vec![Change::Put(key, operation::encode(&revision)?)])
    }

    pub(super) async fn promote_canary(
        &self,
        name: &AppName,
        precondition: Precondition,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let app = self.find_app_to_change(name, precondition)?;
        let canary = app.record.canary_in_progress();
        let id = app.record.operation.clone().filter(|_| canary.is_some());
        let operation = id.and_then(|id| self.shared.world.operation(&id));
        let mut operation = operation
            .map(|found| OperationView::clone(&found))
            .ok_or_else(|| no_canary(name))?;
        if operation.waiting.is_none() {
            return Err(ControlError::Conflict(format!(
                "the canary of app {name} is not up yet: wait until `lain ps -a {name}` says that it waits"
            )));
        }
        let mut promoted = false;
        operation::update_app(&self.shared, name, |record| {
            promoted = false;
            let same = record
                .operation
                .as_ref()
                .is_some_and(|id| id.as_str() == operation.id);
            match record.canary.as_mut().filter(|_| same) {
                Some(canary) => {
                    canary.promoted = true;
                    promoted = true;
                }
                None => return false,
            }
            true
        })
        .await?;
        if !promoted {
            return Err(no_canary(name));
        }
        let text = format!(
            "the canary of {name} (revision {}) was promoted by {}",
            app.record.current.revision, caller.name
        );
        let event = Event::new("canary_promoted", Level::Info, text);
        self.shared
            .hub
            .emit(event.app(name).operation(&operation.id));
        let rollout = self.shared.actor::<Rollout>(&paths::rollout(name));
        if let Err(error) = rollout.send(Promote).await {
            // It is durable: whoever takes the operation up next goes on with it.
            tracing::warn!(app = %name, %error, "the rollout was not told of the promotion");
        }
        operation.waiting = None;
        let open = operation.steps.iter().filter(|s| !s.state.is_final());
        Ok(ChangeAnswer {
            plan: PlanView {
                app: name.to_string(),
                steps: open.map(|s| PlanStep::clone(&s.step)).collect(),
            },
            operation: Some(operation),
            revision: app.record.revision,
            etag: app.record.etag(),
            warnings: Vec::new(),
        })
    }
}

fn no_canary(name: &AppName) -> ControlError {
    ControlError::Conflict(format!("no canary of app {name} is in progress"))
}
