//! `nodes/node/<name>/logging`: the spool, the sinks and the inputs of a node. one_for_one: a sink that fails delays
//! no other. On a control host without a node of its own these are children of `logging`, with the index.
//!
//! ```text
//! logging                 one_for_one
//! ├── spool               worker   spool.rs   syncs and trims the spool
//! ├── events              worker   events.rs  lain's own events, as log events
//! ├── sink/<name>         worker   sink.rs    drives one sink, on a thread of its own
//! └── input/<name>        worker   input.rs   drives one input, on a thread of its own
//! ```

pub mod events;
pub mod input;
pub mod sink;
pub mod spool;

use crate::actors::shared::Shared;
use crate::actors::supervise::{
    Backoff, ChildSpec, Flags, Placement, Shutdown, Strategy, SupervisorSpec,
};
use crate::logging::pipe::Pipeline;
use std::sync::Arc;
use std::time::Duration;

/// Restarts of its children within [`PERIOD`] that are borne. A sink whose settings are wrong fails with a pause
/// in between, for ever, and must not take the others along.
const BROAD: u32 = 100;
const PERIOD: Duration = Duration::from_secs(60);
/// How long a sink may take to settle what it has sent.
const SETTLE: Duration = Duration::from_secs(5);

/// The supervisor of a node's logging.
pub fn spec(shared: &Arc<Shared>, pipeline: &Arc<Pipeline>) -> ChildSpec {
    let flags = Flags::new(Strategy::OneForOne).intensity(BROAD, PERIOD);
    let children = children(shared, pipeline);
    ChildSpec::supervisor("logging", SupervisorSpec { flags, children })
}

/// What drives a pipeline.
pub fn children(shared: &Arc<Shared>, pipeline: &Arc<Pipeline>) -> Vec<ChildSpec> {
    let backoff = Backoff {
        min: Duration::from_secs(1),
        max: Duration::from_secs(30),
        factor: 2.0,
        jitter: 0.2,
        reset_after: PERIOD,
    };
    let mut children = vec![
        ChildSpec::worker::<spool::SpoolKeeper>("spool", Arc::clone(pipeline)),
        ChildSpec::worker::<events::Events>(
            "events",
            events::Args {
                shared: Arc::clone(shared),
                pipeline: Arc::clone(pipeline),
            },
        ),
    ];
    for entry in pipeline.sinks() {
        let id = format!("sink/{}", entry.spec.name);
        let args = sink::Args {
            pipeline: Arc::clone(pipeline),
            entry,
        };
        let child = ChildSpec::worker::<sink::SinkWorker>(id, args)
            .placement(Placement::Dedicated)
            .backoff(backoff)
            .shutdown(Shutdown::Timeout(SETTLE));
        children.push(child);
    }
    for entry in pipeline.inputs() {
        let id = format!("input/{}", entry.spec.name);
        let child = ChildSpec::worker::<input::InputWorker>(id, entry)
            .placement(Placement::Dedicated)
            .backoff(backoff);
        children.push(child);
    }
    children
}
