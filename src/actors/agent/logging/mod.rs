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

use crate::actors::agent::paths;
use crate::actors::shared::Shared;
use crate::actors::supervise::{
    Backoff, CallError, ChildSpec, Flags, Placement, Shutdown, Strategy, SupervisorInit,
    SupervisorSpec,
};
use crate::logging::pipe::pipeline::SinkEntry;
use crate::logging::pipe::{Changes, Pipeline};
use std::sync::Arc;
use std::time::Duration;

/// Restarts of its children within [`PERIOD`] that are borne. A sink whose settings are wrong fails with a pause
/// in between, for ever, and must not take the others along.
const BROAD: u32 = 100;
const PERIOD: Duration = Duration::from_secs(60);
/// Between the restarts of one of them.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
    factor: 2.0,
    jitter: 0.2,
    reset_after: PERIOD,
};
/// How long a sink may take to settle what it has sent.
const SETTLE: Duration = Duration::from_secs(5);

/// The supervisor of a node's logging.
pub fn spec(shared: &Arc<Shared>, pipeline: &Arc<Pipeline>) -> ChildSpec {
    let (shared, pipeline) = (Arc::clone(shared), Arc::clone(pipeline));
    // The sinks are those of the moment: they change while lain runs.
    ChildSpec::supervisor_with("logging", move || {
        let flags = Flags::new(Strategy::OneForOne).intensity(BROAD, PERIOD);
        let children = children(&shared, &pipeline);
        std::future::ready(Ok(SupervisorInit::Run(SupervisorSpec { flags, children })))
    })
}

/// What drives a pipeline.
pub fn children(shared: &Arc<Shared>, pipeline: &Arc<Pipeline>) -> Vec<ChildSpec> {
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
        children.push(sink(pipeline, entry));
    }
    for entry in pipeline.inputs() {
        let id = format!("input/{}", entry.spec.name);
        let child = ChildSpec::worker::<input::InputWorker>(id, Arc::clone(entry))
            .placement(Placement::Dedicated)
            .backoff(BACKOFF);
        children.push(child);
    }
    children
}

fn sink(pipeline: &Arc<Pipeline>, entry: Arc<SinkEntry>) -> ChildSpec {
    let id = sink_id(&entry.spec.name);
    let args = sink::Args {
        pipeline: Arc::clone(pipeline),
        entry,
    };
    ChildSpec::worker::<sink::SinkWorker>(id, args)
        .placement(Placement::Dedicated)
        .backoff(BACKOFF)
        .shutdown(Shutdown::Timeout(SETTLE))
}

fn sink_id(name: &str) -> String {
    format!("sink/{name}")
}

/// Makes the sinks of this node those of its routes as they are now. A sink whose settings are the same is not
/// touched; one that changed settles what it has sent and goes on at its cursor.
///
/// # Errors
/// Which sink's actor could not be changed, and why.
pub async fn change(shared: &Shared) -> Result<Changes, String> {
    let (Some(pipeline), Some(routes)) = (shared.pipeline(), shared.routes()) else {
        return Ok(Changes::default());
    };
    let _one_at_a_time = pipeline.changing.lock().await;
    let plan = routes.plan();
    let changes = pipeline.change(plan.sinks, plan.multiline);
    // On a control host without containers it is the root's.
    let path = format!("{}/logging", paths::node(&shared.settings.node));
    let path = match shared.tree().whereis(&path) {
        Some(_) => path,
        None => "logging".to_owned(),
    };
    let supervisor = shared.tree().supervisor(path);
    let gone = changes.changed.iter().map(|entry| &entry.spec.name);
    for name in gone.chain(&changes.removed) {
        for outcome in [
            supervisor.terminate_child(sink_id(name)).await,
            supervisor.delete_child(sink_id(name)).await,
        ] {
            match outcome {
                // One that is not there need not go. No supervisor: it begins anew, with the sinks of now.
                Ok(()) | Err(CallError::NotFound | CallError::NoProc) => {}
                Err(error) => return Err(format!("sink {name}: {error}")),
            }
        }
    }
    for entry in changes.changed.iter().chain(&changes.added) {
        let started = supervisor
            .start_child(sink(&pipeline, Arc::clone(entry)))
            .await;
        match started {
            Ok(_) | Err(CallError::AlreadyStarted(_) | CallError::NoProc) => {}
            Err(error) => return Err(format!("sink {}: {error}", entry.spec.name)),
        }
    }
    let names = |entries: &[Arc<SinkEntry>]| {
        let names: Vec<&str> = entries.iter().map(|e| e.spec.name.as_str()).collect();
        names.join(", ")
    };
    if !(changes.added.is_empty() && changes.changed.is_empty() && changes.removed.is_empty()) {
        tracing::info!(
            added = names(&changes.added),
            changed = names(&changes.changed),
            removed = changes.removed.join(", "),
            "the log sinks have changed"
        );
    }
    Ok(changes)
}
