//! `logging`: what is done with log events on the control host; one_for_one.
//!
//! The log index, where there is one. A control host that runs no containers has its own pipeline here, for what
//! happens in it, and for events that come by the API; its children are those of a node's `logging`.

pub mod index;
pub mod rebuild;

use crate::actors::agent::logging as pipeline;
use crate::actors::shared::Shared;
use crate::actors::supervise::{ChildSpec, Flags, Strategy, SupervisorInit, SupervisorSpec};
use std::sync::Arc;
use std::time::Duration;

/// Restarts of a child that are borne; as many as a node's `logging` bears, for sinks whose settings are wrong.
const INTENSITY: u32 = 100;
/// The window of [`INTENSITY`].
const PERIOD: Duration = Duration::from_secs(60);

/// The supervisor; `None` where it would have no children. `local`: this host is a node, which has the pipeline.
pub fn spec(shared: &Arc<Shared>, local: bool) -> Option<ChildSpec> {
    if children(shared, local).is_empty() {
        return None;
    }
    let shared = Arc::clone(shared);
    // The sinks are those of the moment: they change while lain runs.
    Some(ChildSpec::supervisor_with("logging", move || {
        let flags = Flags::new(Strategy::OneForOne).intensity(INTENSITY, PERIOD);
        let children = children(&shared, local);
        std::future::ready(Ok(SupervisorInit::Run(SupervisorSpec { flags, children })))
    }))
}

fn children(shared: &Arc<Shared>, local: bool) -> Vec<ChildSpec> {
    let mut children = Vec::new();
    if let Some(index) = shared.logs().and_then(|logs| logs.index.clone()) {
        children.push(ChildSpec::worker::<index::IndexKeeper>("index", index));
        let rebuild = ChildSpec::worker::<rebuild::Rebuilder>("rebuild", Arc::clone(shared));
        children.push(rebuild);
    }
    if let (Some(pipeline), false) = (shared.pipeline(), local) {
        children.extend(pipeline::children(shared, &pipeline));
    }
    children
}
