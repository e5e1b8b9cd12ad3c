//! Eviction: an instance leaves its node for one of a higher priority, where `placement.preemption` allows it.
//!
//! Called by whoever placed that one, once its placement is durable. The evicted one is drained and stopped, and its
//! actor looks for another node for as long as there is none.

use crate::actors::agent::put_away::Removal;
use crate::actors::control::draining::retire_all;
use crate::actors::control::instance::{Instance, NodeChanged};
use crate::actors::control::{carry, paths};
use crate::actors::hub::{Event, Level};
use crate::actors::shared::Shared;
use crate::domain::id::InstanceId;
use std::sync::Arc;

/// One instance that leaves for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// Who leaves.
    pub victim: InstanceId,
    /// Who comes.
    pub by: InstanceId,
}

/// Takes instances off their nodes: durable first, so that a restart of lain does not start them there again.
///
/// # Errors
/// What the store said. Those before it in the list are evicted all the same.
pub async fn evict(shared: &Arc<Shared>, evictions: &[Eviction]) -> Result<(), String> {
    for Eviction { victim, by } in evictions {
        let Some(placement) = shared.world.placement(victim) else {
            continue;
        };
        let mut placement = Arc::unwrap_or_clone(placement);
        placement.evicted = true;
        let committed = carry::commit(shared, &placement).await;
        committed.map_err(|failure| failure.reason)?;
        let node = placement.node;
        let text = format!("{victim} leaves node {node} for {by}, which has a higher priority");
        let event = Event::new("instance_evicted", Level::Warn, text);
        shared.hub.emit(event.instance(victim).node(&node));
        let (shared, victim) = (Arc::clone(shared), victim.clone());
        // Nobody waits for its drain time: who comes may start meanwhile.
        actix_rt::spawn(async move {
            let path = paths::instance(&victim);
            shared.tell::<Instance, _>(&path, NodeChanged);
            let mut cells = shared.node.of(&victim);
            cells.retain(|cell| *cell.node() == node);
            if let Err(failure) = retire_all(&shared, &cells, Removal::Remove).await {
                tracing::warn!(instance = %victim, "{}", failure.reason);
            }
        });
    }
    Ok(())
}
