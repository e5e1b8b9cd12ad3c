//! `nodes/node/<name>/logging`: the spool and the sinks of a node. one_for_one: a sink that fails delays no other.
//!
//! ```text
//! logging                 one_for_one
//! ├── spool               worker   spool.rs   syncs and trims the spool
//! ├── events              worker   events.rs  lain's own events, as log events
//! └── sink/<name>         worker   sink.rs    drives one sink, on a thread of its own
//! ```

pub mod events;
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
    let mut supervisor = SupervisorSpec::new(flags)
        .child(ChildSpec::worker::<spool::SpoolKeeper>(
            "spool",
            Arc::clone(pipeline),
        ))
        .child(ChildSpec::worker::<events::Events>(
            "events",
            events::Args {
                shared: Arc::clone(shared),
                pipeline: Arc::clone(pipeline),
            },
        ));
    for entry in pipeline.sinks() {
        let id = format!("sink/{}", entry.spec.name);
        let args = sink::Args {
            pipeline: Arc::clone(pipeline),
            entry,
        };
        let backoff = Backoff {
            min: Duration::from_secs(1),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: 0.2,
            reset_after: PERIOD,
        };
        let child = ChildSpec::worker::<sink::SinkWorker>(id, args)
            .placement(Placement::Dedicated)
            .backoff(backoff)
            .shutdown(Shutdown::Timeout(SETTLE));
        supervisor = supervisor.child(child);
    }
    ChildSpec::supervisor("logging", supervisor)
}
