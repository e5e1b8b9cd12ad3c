//! `logging`: what is done with log events on the control host; one_for_one.

pub mod index;
pub mod rebuild;

use crate::actors::shared::Shared;
use crate::actors::supervise::{ChildSpec, Flags, Strategy, SupervisorSpec};
use std::sync::Arc;
use std::time::Duration;

/// Restarts of a child that are borne.
const INTENSITY: u32 = 10;
/// The window of [`INTENSITY`].
const PERIOD: Duration = Duration::from_secs(60);

/// The supervisor; `None` where this lain has no log index.
pub fn spec(shared: &Arc<Shared>) -> Option<ChildSpec> {
    let index = Arc::clone(shared.logs()?.index.as_ref()?);
    let flags = Flags::new(Strategy::OneForOne).intensity(INTENSITY, PERIOD);
    let children =
        SupervisorSpec::new(flags).child(ChildSpec::worker::<index::IndexKeeper>("index", index));
    let children = children.child(ChildSpec::worker::<rebuild::Rebuilder>(
        "rebuild",
        Arc::clone(shared),
    ));
    Some(ChildSpec::supervisor("logging", children))
}
