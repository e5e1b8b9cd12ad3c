//! The history of an app in the store: what is written of a revision when it begins, and when it has ended.
//!
//! Called by the control handle (deploys, rollbacks) and by `operation` (what lain goes back to by itself). A
//! revision is written in the same transaction as the change that brings it; its end is noted once.

use crate::actors::control::operation::encode;
use crate::actors::control::{render, world};
use crate::actors::shared::Shared;
use crate::domain::id::AppName;
use crate::domain::record::{AppRecord, keys};
use crate::domain::revision::Revision;
use crate::domain::view::{OperationView, RevisionOutcome};
use crate::ports::store::{Change, Compare, Outcome, StoreError};

/// The revision that a record's current release is, brought by an operation that begins.
pub fn revision(
    shared: &Shared,
    record: &AppRecord,
    operation: &OperationView,
    back_to: Option<u64>,
) -> Revision {
    let release = &record.current;
    let registry = &shared.settings.site.registry;
    let image = |proc| render::image_of(proc, release, registry).unwrap_or_default();
    let procs = release.spec.procs.iter();
    Revision {
        revision: record.revision,
        kind: operation.kind.clone(),
        by: operation.actor.clone(),
        at: operation.started_at,
        ended_at: None,
        operation: operation.id.clone(),
        outcome: RevisionOutcome::Deploying,
        reason: None,
        back_to: back_to.filter(|revision| *revision > 0),
        images: procs.map(|p| (p.full_name(), image(p))).collect(),
        release: release.clone(),
    }
}

/// What writes a revision and forgets those that are too many, the oldest first.
///
/// # Errors
/// What the store said.
pub async fn put(
    shared: &Shared,
    app: &AppName,
    revision: &Revision,
) -> Result<Vec<Change>, StoreError> {
    let known = world::list_all(&*shared.store, &keys::revisions_of(app)).await?;
    let others = shared.settings.revisions_kept.saturating_sub(1);
    let surplus = known.len().saturating_sub(others);
    let mut changes: Vec<Change> = known
        .into_iter()
        .take(surplus)
        .map(|entry| Change::Delete(entry.key))
        .collect();
    let key = keys::revision(app, revision.revision);
    changes.push(Change::Put(key, encode(revision)?));
    Ok(changes)
}

/// The revisions of an app, oldest first.
///
/// # Errors
/// What the store said.
pub async fn list(shared: &Shared, app: &AppName) -> Result<Vec<Revision>, StoreError> {
    let known = world::list_all(&*shared.store, &keys::revisions_of(app)).await?;
    known.iter().map(world::decode).collect()
}

/// Notes how the revision of an operation ended, where that is not noted yet.
///
/// # Errors
/// What the store said.
pub async fn end(
    shared: &Shared,
    operation: &OperationView,
    outcome: RevisionOutcome,
) -> Result<(), StoreError> {
    let (Some(number), Ok(app)) = (operation.revision, AppName::new(operation.app.clone())) else {
        return Ok(());
    };
    let key = keys::revision(&app, number);
    loop {
        let Some(entry) = shared.store.get(&key).await? else {
            return Ok(());
        };
        let mut revision: Revision = world::decode(&entry)?;
        if revision.outcome != RevisionOutcome::Deploying {
            return Ok(());
        }
        revision.outcome = outcome;
        revision.ended_at = operation.ended_at;
        revision.reason = operation.error.clone();
        let condition = Compare::RevisionIs(key.clone(), entry.revision);
        let put = Change::Put(key.clone(), encode(&revision)?);
        if let Outcome::Committed(_) = shared.store.transact(vec![condition], vec![put]).await? {
            return Ok(());
        }
    }
}
