//! The end of an operation, and what follows from it: the app is at rest, gone, or on its way back.
//!
//! Called by `rollout`. Everything here may be repeated after a crash at any point.

use crate::actors::control::operation::{self, encode, operation, plan_for, update_app};
use crate::actors::control::rollout::{Begin, Rollout};
use crate::actors::control::{app, history, paths, steps};
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::Record;
use crate::actors::shared::Shared;
use crate::domain::id::{AppName, InstanceId, OperationId};
use crate::domain::plan;
use crate::domain::record::{AppRecord, keys};
use crate::domain::view::{OperationState, OperationView, RevisionOutcome};
use crate::ports::store::{self, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// An operation that has ended.
pub struct Change {
    /// Its app.
    pub app: AppName,
    /// How it ended.
    pub operation: OperationView,
    /// Instances that it was at work on when it ended before its time.
    pub cut_off: Vec<InstanceId>,
}

/// The pause before the end of an operation that the store did not take is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What follows from the end of an operation: the app is at rest, gone, or on its way back. Tried until the store
/// takes it: an app whose record names an operation that has ended would wait for it for ever.
pub async fn conclude(shared: &Arc<Shared>, change: &Change) {
    // What it did not finish is put back first, so that what follows is planned from what is there.
    steps::withdraw_all(shared, &change.cut_off).await;
    while let Err(error) = end(shared, change).await {
        crate::actors::recorder::announce_store_trouble(shared, &error);
        tokio::time::sleep(AGAIN).await;
    }
}

async fn end(shared: &Arc<Shared>, change: &Change) -> Result<(), StoreError> {
    let operation = &change.operation;
    // How it ended is durable before what follows from it is: whoever reads it after a restart of lain finds why.
    let key = keys::operation(&operation.id);
    let ended = store::Change::Put(key, encode(operation)?);
    shared.store.transact(Vec::new(), vec![ended]).await?;
    match operation.state {
        OperationState::Succeeded if operation.kind == "undeploy" => {
            remove_app(shared, &change.app).await
        }
        OperationState::Failed if operation.kind == "deploy" => roll_back(shared, change).await,
        state => {
            let outcome = match state {
                OperationState::Succeeded => RevisionOutcome::Deployed,
                OperationState::Failed => RevisionOutcome::Failed,
                _ => RevisionOutcome::Cancelled,
            };
            history::end(shared, operation, outcome).await?;
            settle(shared, change).await
        }
    }
}

/// The operation is no longer in progress, unless a newer one is.
async fn settle(shared: &Arc<Shared>, change: &Change) -> Result<(), StoreError> {
    update_app(shared, &change.app, |record| {
        let mine = record
            .operation
            .as_ref()
            .is_some_and(|id| id.as_str() == change.operation.id);
        if mine {
            record.operation = None;
            record.canary = None;
            let succeeded = change.operation.state == OperationState::Succeeded;
            record.current.good |= succeeded && change.operation.revision.is_some();
        }
        mine
    })
    .await
}

async fn remove_app(shared: &Arc<Shared>, app: &AppName) -> Result<(), StoreError> {
    let changes = vec![
        store::Change::Delete(keys::app(app)),
        store::Change::DeletePrefix(keys::instances_of(app)),
        store::Change::DeletePrefix(keys::revisions_of(app)),
        store::Change::DeletePrefix(format!("{}{app}/", keys::RUNS)),
    ];
    let turn = shared.keeping.read().await;
    shared.store.transact(Vec::new(), changes).await?;
    shared.world.remove_app(app);
    drop(turn);
    shared
        .hub
        .emit(Event::new("app_removed", Level::Info, format!("app {app} was removed")).app(app));
    app::drop_app(shared, app).await;
    Ok(())
}

/// Goes back to the last good release, where there is one and the file does not forbid it. A canary always does.
async fn roll_back(shared: &Arc<Shared>, change: &Change) -> Result<(), StoreError> {
    let placements = shared.world.placements(&change.app);
    let (mut text, mut outcome) = (None, RevisionOutcome::Failed);
    let why = change.operation.error.as_deref();
    let why = why.unwrap_or("no reason was given");
    let canary = |record: &AppRecord| record.canary_in_progress().is_some();
    let kind = match shared.world.app(&change.app) {
        Some(app) if canary(&app.record) => "abort",
        _ => "rollback",
    };
    let begun = begin(shared, &change.app, kind, |record| {
        let mine = record.operation.as_ref();
        if mine.is_none_or(|op| op.as_str() != change.operation.id) {
            return Start::Nothing;
        }
        let was_canary = canary(record);
        record.canary = None;
        let mut procs = record.current.spec.procs.iter();
        let allowed = was_canary || procs.all(|p| p.update.auto_rollback);
        let Some(previous) = record.previous.clone().filter(|_| allowed) else {
            record.operation = None;
            return Start::Rest;
        };
        (text, outcome) = match was_canary {
            true => (
                Some(format!(
                    "the canary of {} failed and is aborted: {why}",
                    change.app
                )),
                RevisionOutcome::Aborted,
            ),
            false => (
                Some(format!(
                    "the deploy of {} failed and is rolled back: {why}",
                    change.app
                )),
                RevisionOutcome::RolledBack,
            ),
        };
        // The failed release stays known until its last container is replaced.
        let back_to = previous.revision;
        record.succeed(previous, &placements);
        record.revision += 1;
        record.current.revision = record.revision;
        Start::Release { back_to }
    })
    .await?;
    history::end(shared, &change.operation, outcome).await?;
    if let (Some(id), Some(text)) = (begun, text) {
        let kind = match outcome {
            RevisionOutcome::Aborted => "canary_aborted",
            _ => "rollback_started",
        };
        let event = Event::new(kind, Level::Error, text);
        shared.hub.emit(event.app(&change.app).operation(&id));
    }
    Ok(())
}

/// Begins an operation that makes what runs as it is wanted, where it is not and nothing is in progress.
///
/// # Errors
/// What the store said.
pub async fn reconcile(shared: &Arc<Shared>, app: &AppName) -> Result<(), StoreError> {
    let registry = shared.settings.site.registry.clone();
    let placements = shared.world.placements(app);
    if shared.world.app(app).is_some_and(|a| a.record.removing) {
        // Its removal was acknowledged and was cut off: it goes on until it is done.
        let begun = begin(shared, app, "undeploy", |record| {
            match record.removing && record.operation.is_none() {
                true => Start::Operation,
                false => Start::Nothing,
            }
        });
        return begun.await.map(drop);
    }
    begin(shared, app, "reconcile", |record| {
        let steps = plan_for(record, &placements, &registry);
        let steps = plan::without_asking(steps, &placements);
        let absent = operation::absent(shared, record, &placements, &steps);
        let differs = !steps.is_empty() || !absent.is_empty();
        match record.operation.is_none() && !record.removing && differs {
            true => Start::Operation,
            false => Start::Nothing,
        }
    })
    .await
    .map(drop)
}

/// What a change of a record leads to.
enum Start {
    /// It was not changed.
    Nothing,
    /// It was changed, and is at rest.
    Rest,
    /// It was changed, and an operation begins.
    Operation,
    /// The same, for a release that was there before.
    Release {
        /// The revision that brought it then.
        back_to: u64,
    },
}

/// Changes a record and begins an operation of lain's own, durable together.
async fn begin(
    shared: &Arc<Shared>,
    app: &AppName,
    kind: &str,
    mut change: impl FnMut(&mut AppRecord) -> Start,
) -> Result<Option<OperationId>, StoreError> {
    let now = shared.clock.now_utc();
    let Ok(id) = OperationId::new(crate::actors::agent::crash::new_id()) else {
        return Ok(None);
    };
    let mut fresh = operation(&id, kind, app, "lain", now);
    // The operation first: a record never names one that is not known.
    let Some(versioned) = shared.world.app(app) else {
        return Ok(None);
    };
    let mut next = AppRecord::clone(&versioned.record);
    let mut changes = Vec::new();
    let starts = match change(&mut next) {
        Start::Nothing => return Ok(None),
        Start::Rest => false,
        Start::Operation => true,
        Start::Release { back_to } => {
            fresh.revision = Some(next.revision);
            let revision = history::revision(shared, &next, &fresh, Some(back_to));
            changes.extend(history::put(shared, app, &revision).await?);
            true
        }
    };
    if starts {
        let key = keys::operation(id.as_str());
        changes.push(store::Change::Put(key, encode(&fresh)?));
        shared.store.transact(Vec::new(), changes).await?;
        shared.world.put_operation(fresh.clone());
    }
    let mut begun = false;
    update_app(shared, app, |record| {
        begun = false;
        match change(record) {
            Start::Nothing => return false,
            Start::Rest => {}
            // What is looked at again later: there is no operation that the record could name.
            Start::Operation | Start::Release { .. } if !starts => return false,
            Start::Operation | Start::Release { .. } => {
                record.operation = Some(id.clone());
                begun = true;
            }
        }
        record.updated_at = now;
        true
    })
    .await?;
    if begun {
        shared.tell::<Rollout, _>(&paths::rollout(app), Begin);
    } else if starts {
        // Something newer came in between: nobody else ends it.
        history::end(shared, &fresh, RevisionOutcome::Cancelled).await?;
        (fresh.state, fresh.ended_at) = (OperationState::Cancelled, Some(now));
        let ended = Record::Operation(Box::new(fresh.clone()));
        shared.recorder.send(ended);
        shared.world.put_operation(fresh);
    }
    Ok(begun.then_some(id))
}
