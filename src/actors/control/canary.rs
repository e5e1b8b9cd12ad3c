//! The instances that were updated first, while somebody judges them: what lain itself sees of them.

use crate::actors::agent::cell::Phase;
use crate::actors::control::views;
use crate::actors::shared::Shared;
use crate::domain::id::{AppName, InstanceId};
use crate::domain::record::{AppRecord, Placement};
use crate::domain::view::CanaryView;

/// Whether an instance is one of those that were updated first and are watched.
pub fn is_canary(shared: &Shared, id: &InstanceId) -> bool {
    let app = shared.world.app(&id.app);
    let placement = shared.world.placement(id);
    app.zip(placement)
        .is_some_and(|(app, placement)| app.record.is_canary(&placement))
}

/// Why an app's canary is not good, where lain can tell: one of its instances was given up or has ended.
pub fn failed(shared: &Shared, app: &AppName) -> Option<String> {
    let record = shared.world.app(app)?.record;
    let placements = shared.world.placements(app);
    let mut watched = placements.iter().filter(|p| record.is_canary(p));
    watched.find_map(|placement| {
        let id = &placement.instance;
        if placement.gave_up > 0 {
            return Some(format!(
                "its node gave up on {id}, which runs the new version"
            ));
        }
        let cell = views::cell(shared, placement)?;
        cell.look(|o| match &o.phase {
            Phase::GaveUp(reason) => Some(format!("{id}, which runs the new version: {reason}")),
            Phase::Finished(exit) if !exit.is_clean() => Some(format!(
                "{id}, which runs the new version, ended with {exit}"
            )),
            _ => None,
        })
    })
}

/// The canary in progress, as the API shows it.
pub fn view(shared: &Shared, record: &AppRecord, placements: &[Placement]) -> Option<CanaryView> {
    record.canary_in_progress()?;
    let operation = record.operation.as_ref();
    let operation = operation.and_then(|id| shared.world.operation(id));
    let watched = placements.iter().filter(|p| record.is_canary(p));
    Some(CanaryView {
        revision: record.current.revision,
        back_to: record.previous.as_ref().map(|p| p.revision),
        waiting: operation.is_some_and(|o| o.waiting.is_some()),
        instances: watched.map(|p| p.instance.to_string()).collect(),
    })
}
