//! Containers on other hosts: what the control host's actors ask of them, as changes of what is desired there.
//!
//! The remote half of `agent::node`. A cell on this side mirrors the one on the node: the node's reports are
//! written into it, so that nobody who reads it sees a difference.

use crate::actors::agent::cell::{Assignment, ContainerCell, Observed, Phase};
use crate::actors::agent::put_away::Removal;
use crate::actors::control::nodes::table::Node;
use crate::actors::shared::Shared;
use crate::domain::id::NodeName;
use crate::domain::view::InstanceRole;
use crate::ports::agent::{CellReport, Desired, Want};
use crate::ports::runtime::{Resources, RuntimeError};
use std::sync::Arc;

/// The node that an assignment is for, when it is another host.
pub fn node_of(shared: &Shared, name: &NodeName) -> Option<Arc<Node>> {
    shared.nodes.get(name).filter(|node| !node.local)
}

/// Makes a container desired on its node. One that was given up or has ended there is tried again.
pub fn assign(
    shared: &Shared,
    node: &Arc<Node>,
    assignment: Arc<Assignment>,
) -> Arc<ContainerCell> {
    let name = assignment.container.name.clone();
    let existing = shared.node.get(&name);
    let ended = existing.as_ref().is_some_and(|c| c.look(has_ended));
    if let Some(cell) = existing
        && !ended
        && node
            .desired(&name)
            .is_some_and(|d| d.want == Want::Run && d.assignment.container == assignment.container)
    {
        return cell;
    }
    let before = node.desired(&name);
    let attempt = match (&before, ended || assignment.fresh) {
        (_, true) => stamp(shared),
        (Some(before), false) => before.attempt,
        (None, false) => 0,
    };
    let cell = ContainerCell::new(Arc::clone(&assignment), None, shared.poke());
    if let Some(before) = shared.node.get(&name) {
        let before = before.seen();
        cell.note(|o| {
            (o.id, o.last_crash, o.last_exit) = (before.id, before.last_crash, before.last_exit);
        });
    }
    shared.node.insert(Arc::clone(&cell));
    node.desire(Desired {
        assignment,
        want: Want::Run,
        attempt,
        restarts: before.map_or(0, |d| d.restarts),
    });
    cell
}

fn has_ended(seen: &Observed) -> bool {
    matches!(
        seen.phase,
        Phase::GaveUp(_) | Phase::Finished(_) | Phase::Stopped
    )
}

/// A number that differs from all before it, over restarts of the control host, too.
fn stamp(shared: &Shared) -> u64 {
    u64::try_from(shared.clock.now_utc().timestamp_micros())
        .unwrap_or(1)
        .max(1)
}

/// Stops a container on its node, and waits until that is done. A node that is lost is not waited for, once
/// what it may run has been taken from it: it puts the container away when it is back.
///
/// # Errors
/// Never; the type is that of a local node.
pub async fn retire(
    shared: &Shared,
    node: &Arc<Node>,
    cell: &Arc<ContainerCell>,
    removal: Removal,
) -> Result<(), RuntimeError> {
    match removal {
        Removal::Remove => {
            node.undesire(cell.name());
        }
        Removal::Stop | Removal::Kill => {
            if node.change(cell.name(), |d| d.want = Want::Stop).is_none() {
                node.desire(Desired {
                    assignment: Arc::clone(&cell.assignment),
                    want: Want::Stop,
                    attempt: 0,
                    restarts: 0,
                });
            }
        }
    }
    let (mut seen, mut presence) = (cell.subscribe(), node.subscribe());
    loop {
        // One that its node stopped for want of beats looks stopped, and comes back with the next one: of what must not
        // run twice only what is said to be gone is gone.
        let exclusive = cell.assignment.exclusive && removal == Removal::Remove;
        let awaited = exclusive && node.awaits_end(cell.name());
        if !awaited && cell.look(|o| o.phase == Phase::Stopped) {
            break;
        }
        let known = shared
            .nodes
            .get(&node.name)
            .is_some_and(|n| Arc::ptr_eq(&n, node));
        if node.is_left(cell.assignment.exclusive) || !known {
            cell.change(|o| o.phase = Phase::Stopped);
            break;
        }
        tokio::select! {
            biased;
            () = seen.changed() => {},
            changed = presence.changed() => if changed.is_err() { break },
        }
    }
    if removal == Removal::Remove {
        shared.node.remove(cell.name());
    }
    Ok(())
}

/// Stops and starts a container in place.
pub fn restart(shared: &Shared, node: &Node, cell: &ContainerCell) {
    let stamp = stamp(shared);
    node.change(cell.name(), |d| d.restarts = stamp);
}

/// Changes CPU and memory in place.
pub fn update(node: &Node, cell: &ContainerCell, resources: Resources) {
    node.change(cell.name(), |d| {
        Arc::make_mut(&mut d.assignment).container.resources = resources
    });
    cell.note(|o| o.resources = resources);
}

/// Makes an instance active or a spare.
pub fn set_role(node: &Node, cell: &ContainerCell, role: InstanceRole) {
    node.change(cell.name(), |d| {
        Arc::make_mut(&mut d.assignment).role = role
    });
    cell.change(|o| o.role = role);
}

/// Takes over a node's report, made when it had taken up what was wanted at `revision`: `full` says that there is
/// nothing on it but what is in it.
pub fn take_report(
    shared: &Shared,
    node: &Node,
    revision: u64,
    cells: Vec<CellReport>,
    gone: Vec<String>,
    full: bool,
) {
    let now = shared.clock.monotonic();
    if full {
        for cell in shared.node.on(&node.name) {
            let reported = cells.iter().any(|r| r.name == cell.name());
            let heard = node.touched_at(cell.name()).is_none_or(|at| at <= revision);
            if !reported && heard && !node.desires(cell.name()) {
                node.forget(cell.name());
                is_gone(&cell);
            }
        }
    }
    for report in cells {
        if let Some(cell) = shared.node.get(&report.name)
            && cell.node() == &node.name
        {
            // Promotion happens on the node: what is desired follows.
            let role = report.role;
            node.adopt_role(&report.name, role);
            cell.take(report, now);
        }
    }
    for name in gone {
        node.forget(&name);
        if let Some(cell) = shared.node.get(&name)
            && cell.node() == &node.name
        {
            is_gone(&cell);
        }
    }
}

fn is_gone(cell: &ContainerCell) {
    cell.change(|o| {
        o.phase = Phase::Stopped;
        (o.pid, o.ip) = (None, None);
    });
}
