//! `nodes`: the hosts that run containers, as the control host sees them.
//!
//! ```text
//! nodes                     one_for_one
//! ├── listener              worker   listener.rs  where agents connect (`lain server`)
//! ├── balance               worker   balance.rs   nodes to blame, and an even load (`lain server`)
//! ├── node/<name>           worker   node.rs      another host: its link, its lease
//! └── node/<this host>      supervisor            in this process (`lain dev`), see `agent`
//! ```

pub mod asked;
pub mod balance;
pub mod generation;
pub mod join;
pub mod listener;
pub mod node;
pub mod ops;
pub mod remote;
pub mod roll;
pub mod table;

use crate::actors::shared::Shared;
use crate::actors::supervise::ChildSpec;
use crate::domain::id::NodeName;
use std::sync::Arc;

/// The path of the supervisor of all nodes.
pub const NODES: &str = "nodes";

/// A node's child id under `nodes`.
pub fn node_id(name: &NodeName) -> String {
    format!("node/{name}")
}

/// The actor of a node on another host.
pub fn spec(shared: &Arc<Shared>, name: &NodeName) -> ChildSpec {
    let args = node::Args {
        shared: Arc::clone(shared),
        name: name.clone(),
    };
    ChildSpec::worker::<node::RemoteNode>(node_id(name), args)
}
