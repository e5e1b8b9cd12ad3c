//! A change of an app committed: record, operation and history in one transaction, then handed to the rollout.

use super::Handle;
use crate::actors::agent::crash::new_id;
use crate::actors::control::operation::{self, encode, pending, plan_for};
use crate::actors::control::rollout::{Begin, Rollout};
use crate::actors::control::{app, history, paths, reread, world};
use crate::domain::id::{AppName, OperationId};
use crate::domain::plan::Step;
use crate::domain::record::{AppRecord, keys};
use crate::domain::view::{ChangeAnswer, OperationView, PlanView};
use crate::ports::control::{Caller, ControlError, Precondition};
use crate::ports::store::{Change, Compare, Outcome};
use std::sync::Arc;

/// A change of an app's record that leads to an operation.
pub(super) struct Commit<'a> {
    /// What the operation is called.
    pub kind: &'static str,
    /// The app.
    pub name: &'a AppName,
    /// The store's revision of the record that is replaced; `None`: there is none.
    pub at: Option<u64>,
    /// The record says what it said before.
    pub unchanged: bool,
    /// It brings a release, which gets its place in the history.
    pub brings_release: bool,
    /// What else is written in the same transaction.
    pub also: Also,
}

impl<'a> Commit<'a> {
    /// A change that brings no release.
    pub fn new(kind: &'static str, name: &'a AppName, at: Option<u64>) -> Self {
        Self {
            kind,
            name,
            at,
            unchanged: false,
            brings_release: false,
            also: Also::default(),
        }
    }
}

/// What is written besides a record and its operation.
#[derive(Default)]
pub(super) struct Also {
    /// The revision that the release is from.
    pub back_to: Option<u64>,
    /// Other changes.
    pub changes: Vec<Change>,
}

impl Handle {
    /// Plans, and unless it is a dry run or there is nothing to do, commits record and operation together and
    /// hands the operation to the app's rollout.
    pub(super) async fn commit(
        &self,
        commit: Commit<'_>,
        mut record: AppRecord,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<ChangeAnswer, ControlError> {
        let name = commit.name;
        let placements = self.shared.world.placements(name);
        let steps = plan_for(&record, &placements, &self.shared.settings.site.registry);
        let plan = PlanView {
            app: name.to_string(),
            steps: steps.iter().map(Step::view).collect(),
        };
        let nothing = commit.unchanged && steps.is_empty();
        if dry_run || nothing {
            return Ok(ChangeAnswer {
                operation: None,
                plan,
                revision: record.revision,
                etag: record.etag(),
                warnings: Vec::new(),
            });
        }
        let mut operation = self.new_operation(commit.kind, name, &caller.name, &steps)?;
        operation.revision = commit.brings_release.then_some(record.revision + 1);
        record.operation = OperationId::new(operation.id.clone()).ok();
        let written = self
            .write(name, record, commit.at, &operation, commit.also)
            .await?;
        self.hand_over(name, &operation).await?;
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
        also: Also,
    ) -> Result<Arc<AppRecord>, ControlError> {
        let before = record.etag();
        record.revision += 1;
        let key = keys::app(name);
        let condition = match revision {
            Some(revision) => Compare::RevisionIs(key.clone(), revision),
            None => Compare::Absent(key.clone()),
        };
        let mut changes = vec![
            Change::Put(key, encode(&record)?),
            Change::Put(keys::operation(&operation.id), encode(operation)?),
        ];
        changes.extend(also.changes);
        if operation.revision.is_some() {
            let revision = history::revision(&self.shared, &record, operation, also.back_to);
            changes.extend(history::put(&self.shared, name, &revision).await?);
        }
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
        operation: &OperationView,
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
pub(super) fn same_desire(a: &AppRecord, b: &AppRecord) -> bool {
    a.current.same_as(&b.current)
        && a.current.versions == b.current.versions
        && a.overrides == b.overrides
        && a.stopped == b.stopped
        && a.removing == b.removing
}

/// RFC 9110 preconditions: an app that exists is changed only by who names its `ETag`, here its number.
pub(super) fn check(
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

/// An app that is being removed takes no other change.
pub(super) fn refuse_removal(name: &AppName, record: &AppRecord) -> Result<(), ControlError> {
    match record.removing {
        true => Err(ControlError::Conflict(format!(
            "app {name} is being removed"
        ))),
        false => Ok(()),
    }
}
