//! What a new container of an instance is given: host ports, and a generation.
//!
//! Called by whoever puts an instance on a node.

use crate::actors::control::nodes::table::Node;
use crate::actors::control::{placing, render};
use crate::actors::shared::Shared;
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::record::Placement;
use crate::domain::spec::model::ProcSpec;
use std::collections::HashSet;

/// Host ports for an instance on a node, none of which is given to another there or listened on.
///
/// # Errors
/// A sentence when the range is used up.
pub fn allocate(
    shared: &Shared,
    node: &Node,
    id: &InstanceId,
    proc: &ProcSpec,
    also_taken: &HashSet<(NodeName, u16)>,
) -> Result<Placement, String> {
    let range = placing::ports_of(shared, node);
    let taken = |port: u16| {
        also_taken.contains(&(node.name.clone(), port))
            // A version that is only being tried has its ports in no placement yet.
            || shared.node.publishes(&node.name, port)
            || shared.world.is_port_allocated(&node.name, port)
            || (node.local && is_listening(shared, port))
    };
    let ports = render::allocate_ports(id, &render::exposed(proc), range, taken)?;
    Ok(Placement {
        instance: id.clone(),
        node: node.name.clone(),
        version: 0,
        drift: 0,
        role: crate::domain::view::InstanceRole::Active,
        resources: (proc.cpu, proc.memory),
        ports,
        restarts: 0,
        crashes: 0,
        last_crash: None,
        gave_up: 0,
        finished: None,
        failed_on: Vec::new(),
        unplaced: None,
        evicted: false,
        waits: false,
        generation: next_generation(shared, 0),
    })
}

/// A generation that is higher than the one before; and, as long as the time of day is not set back, than those of
/// an app of the same name that was removed.
pub fn next_generation(shared: &Shared, before: u64) -> u64 {
    let now = shared.clock.now_utc().timestamp_micros();
    u64::try_from(now).unwrap_or(0).max(before + 1)
}

/// Whether somebody on this host listens on a port already.
fn is_listening(shared: &Shared, port: u16) -> bool {
    std::net::TcpListener::bind((shared.settings.site.publish, port)).is_err()
}
