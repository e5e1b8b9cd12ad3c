//! The root of an agent's tree, and how it starts.
//!
//! ```text
//! root                                   rest_for_one
//! ├── assignments                        worker        assignments.rs
//! ├── nodes
//! │   └── node/<this node>               as on one host
//! ├── fence                              worker        fence.rs
//! └── link                               worker        link.rs
//! ```
//!
//! The paths under `nodes` are those that the control host shows.

use crate::actors::agent::assignments::Assignments;
use crate::actors::agent::fence::{self, Guard};
use crate::actors::agent::link::{self, Link};
use crate::actors::root::{INTENSITY, PERIOD, Watcher, local_node};
use crate::actors::shared::Shared;
use crate::actors::supervise::{
    ChildSpec, ExitReason, Flags, Strategy, SupervisorInit, SupervisorSpec, Tree,
};
use std::sync::Arc;

/// Starts the tree of an agent.
///
/// # Errors
/// Why the first child that could not start could not.
pub async fn start(shared: &Arc<Shared>, link: link::Args) -> Result<Tree, ExitReason> {
    // Weak, or the environment would keep itself alive through the cells that hold the function.
    let poked = Arc::downgrade(shared);
    shared.set_poke(Arc::new(move |id| {
        if let Some(shared) = poked.upgrade() {
            let names = shared.node.of(id).into_iter().map(|c| c.name().to_owned());
            shared.assigned.touch(names);
        }
    }));
    let observer = Watcher::new(shared);
    let root = Arc::clone(shared);
    let init = move || std::future::ready(Ok(SupervisorInit::Run(children(&root, &link))));
    Tree::builder()
        .name("root")
        .observer(observer)
        .start_root(init)
        .await
}

fn children(shared: &Arc<Shared>, link: &link::Args) -> SupervisorSpec {
    let guard = fence::Args {
        shared: Arc::clone(shared),
        watchdog: Arc::clone(&link.watchdog),
    };
    let flags = Flags::new(Strategy::OneForOne).intensity(INTENSITY, PERIOD);
    let nodes = SupervisorSpec::new(flags).child(local_node(shared));
    let flags = Flags::new(Strategy::RestForOne).intensity(INTENSITY, PERIOD);
    SupervisorSpec::new(flags)
        .child(ChildSpec::worker::<Assignments>(
            "assignments",
            Arc::clone(shared),
        ))
        .child(ChildSpec::supervisor("nodes", nodes))
        .child(ChildSpec::worker::<Guard>("fence", guard))
        .child(ChildSpec::worker::<Link>("link", link.clone()))
}
