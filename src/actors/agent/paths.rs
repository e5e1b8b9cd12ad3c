//! Paths of the node's actors in the supervision tree.

use crate::actors::shared::Shared;
use crate::domain::id::NodeName;

/// What makes an agent's node what the control host wants it to be.
pub const ASSIGNMENTS: &str = "assignments";

/// The node's own supervisor.
pub fn node(node: &NodeName) -> String {
    format!("nodes/node/{node}")
}

/// The node's engine.
pub fn engine(shared: &Shared) -> String {
    format!("{}/engine", node(&shared.settings.node))
}

/// The supervisor of all containers of this node.
pub fn containers(shared: &Shared) -> String {
    format!("{}/containers", node(&shared.settings.node))
}

/// A container's child id under `containers`.
pub fn container_id(name: &str) -> String {
    format!("container/{name}")
}

/// A container's supervisor.
pub fn container(shared: &Shared, name: &str) -> String {
    format!("{}/{}", containers(shared), container_id(name))
}

/// A container's process actor.
pub fn process(shared: &Shared, name: &str) -> String {
    format!("{}/process", container(shared, name))
}

/// The container's name, where a path is that of its supervisor, or of an actor below it.
pub fn within_container<'a>(shared: &Shared, path: &'a str) -> Option<&'a str> {
    let rest = path
        .strip_prefix(&containers(shared))?
        .strip_prefix("/container/")?;
    rest.split('/').next()
}

/// The container's name, where a path is that of its supervisor.
pub fn container_of(shared: &Shared, path: &str) -> Option<String> {
    let rest = path
        .strip_prefix(&containers(shared))?
        .strip_prefix("/container/")?;
    (!rest.contains('/')).then(|| rest.to_owned())
}
