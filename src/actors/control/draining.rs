//! Taking a container out of use: out of the list of addresses first, then a while for who still has its address,
//! then SIGTERM.
//!
//! Called by `carry` and `relocate`, for every container that is stopped on purpose.

use crate::actors::agent::cell::{ContainerCell, Observed};
use crate::actors::agent::node;
use crate::actors::agent::put_away::Removal;
use crate::actors::control::carry::Failure;
use crate::actors::control::render;
use crate::actors::shared::Shared;
use crate::domain::id::InstanceId;
use crate::domain::view::InstanceRole;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// How long containers of this one's release and proc are drained.
fn drain_time(shared: &Shared, cell: &ContainerCell) -> Duration {
    let id = cell.instance();
    let Some(app) = shared.world.app(&id.app) else {
        return Duration::ZERO;
    };
    let version = cell.assignment.version;
    let release = app.record.release_of(&id.full_name(), version);
    let procs = release.map(|r| r.spec.procs.as_slice()).unwrap_or_default();
    let proc = procs.iter().find(|p| p.name == id.proc);
    proc.map_or(Duration::ZERO, |p| p.drain_time)
}

/// Whether somebody may be on the way to it: it serves, at a published address.
fn is_in_use(cell: &ContainerCell) -> bool {
    let published = !cell.assignment.container.ports.is_empty();
    published && cell.look(|o: &Observed| o.role == InstanceRole::Active && o.is_ready())
}

/// Back in the list of addresses when dropped: a stop that was begun and not carried out.
pub struct Draining(Arc<ContainerCell>);

impl Drop for Draining {
    fn drop(&mut self) {
        self.0.change(|o| o.draining = false);
    }
}

/// Takes a container out of the list of addresses and waits for its proc's drain time. It stays out for as long as
/// what is returned is kept.
pub async fn drain(shared: &Shared, cell: &Arc<ContainerCell>) -> Draining {
    let in_use = is_in_use(cell);
    cell.change(|o| o.draining = true);
    let draining = Draining(Arc::clone(cell));
    let time = drain_time(shared, cell);
    if in_use && !time.is_zero() {
        // One that ends meanwhile, whatever of, serves nobody any more.
        let ended = super::carry::wait_for(cell, |o| (!o.is_alive()).then_some(Ok(())));
        let _ = tokio::time::timeout(time, ended).await;
    }
    draining
}

/// Drains containers and puts them away, side by side.
///
/// # Errors
/// What their nodes refused.
pub async fn retire_all(
    shared: &Arc<Shared>,
    cells: &[Arc<ContainerCell>],
    removal: Removal,
) -> Result<(), Failure> {
    let all = cells.iter().map(|cell| async {
        let _draining = drain(shared, cell).await;
        node::retire(shared, cell, removal)
            .await
            .map_err(|e| Failure::from(e.to_string()))
    });
    join_all(all).await.into_iter().collect()
}

/// Puts away what an interrupted step has left beside the container that counts: a new one that was only tried, or
/// an old one on its way out.
pub async fn put_back(shared: &Arc<Shared>, id: &InstanceId) {
    let Some(placement) = shared.world.placement(id) else {
        return;
    };
    let name = render::name_of(&placement);
    let all = shared.node.of(id).into_iter();
    let (kept, others): (Vec<_>, Vec<_>) = all.partition(|cell| cell.name() == name);
    if kept.is_empty() {
        // Without the one that counts, whatever else there is may be all that serves.
        return;
    }
    // No client was ever sent to one that is newer.
    let (old, new): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|cell| cell.assignment.version < placement.version);
    for cell in new {
        if let Err(error) = node::retire(shared, &cell, Removal::Remove).await {
            tracing::warn!(instance = %id, %error, "what was tried could not be put away");
        }
    }
    if let Err(failure) = retire_all(shared, &old, Removal::Remove).await {
        tracing::warn!(instance = %id, "{}", failure.reason);
    }
}
