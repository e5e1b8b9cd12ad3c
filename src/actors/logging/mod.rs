//! `logging`: what is done with log events on the control host; one_for_one.
//!
//! The log index, where there is one. A control host that runs no containers has its own pipeline here, for what
//! happens in it, and for events that come by the API; its children are those of a node's `logging`.

pub mod index;

use crate::actors::agent::logging as pipeline;
use crate::actors::shared::Shared;
use crate::actors::supervise::{ChildSpec, Flags, Strategy, SupervisorSpec};
use std::sync::Arc;
use std::time::Duration;

/// Restarts of a child that are borne; as many as a node's `logging` bears, for sinks whose settings are wrong.
const INTENSITY: u32 = 100;
/// The window of [`INTENSITY`].
const PERIOD: Duration = Duration::from_secs(60);

/// The supervisor; `None` where it would have no children. `local`: this host is a node, which has the pipeline.
pub fn spec(shared: &Arc<Shared>, local: bool) -> Option<ChildSpec> {
    let mut children = Vec::new();
    if let Some(logs) = shared.logs() {
        let index = Arc::clone(&logs.index);
        children.push(ChildSpec::worker::<index::IndexKeeper>("index", index));
    }
    if let (Some(pipeline), false) = (shared.pipeline(), local) {
        children.extend(pipeline::children(shared, &pipeline));
    }
    let flags = Flags::new(Strategy::OneForOne).intensity(INTENSITY, PERIOD);
    let supervisor = SupervisorSpec { flags, children };
    (!supervisor.children.is_empty()).then(|| ChildSpec::supervisor("logging", supervisor))
}
