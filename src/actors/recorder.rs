//! `store`: writes what is kept of the past, without anybody waiting for it.
//!
//! First child of the root, so that its crash rebuilds all that reads the store. It loads desired state at
//! its start; then it writes crash reports, roles, restart counts and runs in batches. What was
//! acknowledged to a caller is never written here, but by the caller's own transaction.

use crate::actors::agent::crash::new_id;
use crate::actors::control::nodes::join;
use crate::actors::control::world::list_all;
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::actors::supervise::{Birth, Child, Context, ExitReason, Init};
use crate::domain::crash::CrashReport;
use crate::domain::id::{AppName, InstanceId};
use crate::domain::record::{Placement, keys};
use crate::domain::view::{AuditView, InstanceRole, OperationView, RunView};
use crate::ports::store::{Change, StoreError};
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// Records written in one transaction, at most.
const BATCH: usize = 256;
/// How long to wait before a failed write is repeated.
const RETRY: Duration = Duration::from_secs(1);
/// How often old records are removed.
const RETENTION_EVERY: Duration = Duration::from_secs(600);
/// Operations and audit records kept.
const KEPT: usize = 10_000;

/// Something to keep.
#[derive(Debug)]
pub enum Record {
    /// A crash report.
    Crash(Box<CrashReport>),
    /// An instance's role changed by promotion.
    Role(InstanceId, InstanceRole),
    /// An instance was restarted in place.
    Restarted(InstanceId),
    /// A placement changed in another soft field.
    Placement(InstanceId, Touch),
    /// An operation changed.
    Operation(Box<OperationView>),
    /// The runs of a cron or oneshot proc.
    Runs(AppName, String, Vec<RunView>),
    /// A change or attempt made through the API.
    Audit(Box<AuditView>),
}

/// A change of a placement that is not desired state.
#[derive(Debug, Clone)]
pub enum Touch {
    /// How often its node gave up on it in a row.
    GaveUp(u32),
    /// How it ended for good; `None`: it runs again.
    Finished(Option<String>),
    /// Limits that were applied.
    Resources((u32, u64)),
    /// Nothing: the store may have another one, or one that nobody knows of, since a write of it failed or was only
    /// said to have failed.
    Again,
}

/// Where records are sent; cheap to clone, never waits.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::UnboundedSender<Record>,
    receiver: Arc<Mutex<mpsc::UnboundedReceiver<Record>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            sender,
            receiver: Arc::new(Mutex::new(receiver)),
        }
    }
}

impl Recorder {
    /// Hands over a record.
    pub fn send(&self, record: Record) {
        // The receiver lives in this very struct: sending cannot fail.
        let _ = self.sender.send(record);
    }

    /// The next record, for whoever keeps them: the store keeper, or an agent's link. One at a time.
    pub async fn receive(&self) -> Record {
        let mut receiver = self.receiver.lock().await;
        match receiver.recv().await {
            Some(record) => record,
            // The sender lives in this very struct: the channel never ends.
            None => std::future::pending().await,
        }
    }
}

/// The actor.
pub struct StoreKeeper {
    shared: Arc<Shared>,
}

impl Actor for StoreKeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { write_for_ever(&shared).await }.into_actor(self));
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { retain_for_ever(&shared).await }.into_actor(self));
    }
}

impl Child for StoreKeeper {
    type Args = Arc<Shared>;

    async fn init(shared: Arc<Shared>, birth: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        shared.set_tree(birth.tree());
        shared
            .world
            .load(&*shared.store)
            .await
            .map_err(ExitReason::error)?;
        join::load(&shared).await.map_err(ExitReason::error)?;
        Ok(Init::Ready(Self { shared }))
    }
}

async fn write_for_ever(shared: &Shared) {
    let receiver = Arc::clone(&shared.recorder.receiver);
    let mut receiver = receiver.lock().await;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if receiver.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        // From the reading of placements to their writing, nobody else commits one.
        let turn = shared.keeping.write().await;
        let changes = changes_of(shared, &mut batch);
        while let Err(error) = commit(shared, &changes).await {
            tracing::error!(%error, "records cannot be kept; will be tried again");
            tokio::time::sleep(RETRY).await;
        }
        drop(turn);
    }
}

async fn commit(shared: &Shared, changes: &[Change]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    shared
        .store
        .transact(Vec::new(), changes.to_vec())
        .await
        .map(drop)
}

fn changes_of(shared: &Shared, batch: &mut Vec<Record>) -> Vec<Change> {
    let mut changes = Vec::with_capacity(batch.len());
    for record in batch.drain(..) {
        let change = match record {
            Record::Crash(report) => {
                let touched = touch(shared, &report.instance, |p| {
                    p.last_crash = Some(report.id.to_string());
                    p.crashes += 1;
                });
                changes.extend(touched);
                put(keys::crash(report.id.as_str()), &report)
            }
            Record::Role(id, role) => touch(shared, &id, |p| p.role = role),
            Record::Restarted(id) => touch(shared, &id, |p| p.restarts += 1),
            Record::Placement(id, Touch::GaveUp(n)) => touch(shared, &id, |p| p.gave_up = n),
            Record::Placement(id, Touch::Finished(text)) => {
                touch(shared, &id, |p| p.finished = text)
            }
            Record::Placement(id, Touch::Resources(r)) => touch(shared, &id, |p| p.resources = r),
            Record::Placement(id, Touch::Again) => {
                let known = touch(shared, &id, |_| ());
                known.or_else(|| Some(Change::Delete(keys::instance(&id))))
            }
            Record::Operation(operation) => put(keys::operation(&operation.id), &operation),
            Record::Runs(app, proc, runs) => put(keys::runs(&app, &proc), &runs),
            Record::Audit(audit) => put(keys::audit(&new_id()), &audit),
        };
        changes.extend(change);
    }
    changes
}

/// Changes a placement in memory and gives the write that keeps it; nothing for one that is gone.
fn touch(shared: &Shared, id: &InstanceId, change: impl FnOnce(&mut Placement)) -> Option<Change> {
    let placement = shared.world.change_placement(id, change)?;
    put(keys::instance(id), &placement)
}

fn put(key: String, value: &impl serde::Serialize) -> Option<Change> {
    match serde_json::to_vec(value) {
        Ok(json) => Some(Change::Put(key, json)),
        Err(error) => {
            tracing::error!(key, %error, "a record cannot be written as JSON and is lost");
            None
        }
    }
}

async fn retain_for_ever(shared: &Shared) {
    loop {
        if let Err(error) = retain(shared).await {
            tracing::warn!(%error, "old records could not be removed; will be tried again");
        }
        tokio::time::sleep(RETENTION_EVERY).await;
    }
}

/// Removes what is older than the newest records that are kept, of each kind.
async fn retain(shared: &Shared) -> Result<(), StoreError> {
    let kinds = [
        (keys::CRASHES, shared.settings.crashes_kept),
        (keys::OPERATIONS, KEPT),
        (keys::AUDIT, KEPT),
    ];
    for (prefix, kept) in kinds {
        let all = list_all(&*shared.store, prefix).await?;
        let surplus = all.len().saturating_sub(kept);
        let changes: Vec<Change> = all
            .into_iter()
            .take(surplus)
            .map(|e| Change::Delete(e.key))
            .collect();
        for chunk in changes.chunks(BATCH) {
            shared.store.transact(Vec::new(), chunk.to_vec()).await?;
        }
    }
    if let Ok(info) = shared.store.describe().await {
        tracing::debug!(bytes = info.bytes, revision = info.revision, "store");
    }
    Ok(())
}

/// Says that the store cannot be written, once for the operator.
pub fn announce_store_trouble(shared: &Shared, error: &StoreError) {
    shared.hub.emit(Event::new(
        "store_failed",
        Level::Error,
        format!("a change was refused: {error}"),
    ));
}
