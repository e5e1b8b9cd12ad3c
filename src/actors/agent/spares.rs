//! Promotion of spares: a crash is answered by an instance that stands by.
//!
//! Called by `process` actors the moment a death is noticed. The two instances swap roles and keep their
//! numbers: when the crashed one is back, it is the spare.

use crate::actors::agent::cell::{ContainerCell, Phase};
use crate::actors::agent::paths;
use crate::actors::agent::process::{Process, Promoted};
use crate::actors::hub::{Event, Level};
use crate::actors::recorder::Record;
use crate::actors::shared::{EngineState, Shared};
use crate::domain::view::InstanceRole;
use std::sync::Arc;

/// Whether idle spares are frozen on this engine.
pub fn may_freeze(shared: &Shared) -> bool {
    shared.settings.freeze_spares
        && matches!(&*shared.engine.borrow(), EngineState::Up(info) if info.can_pause)
}

/// A spare as promotion sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub no: u32,
    /// Running rather than frozen: quicker.
    pub running: bool,
    /// Its LAIN version.
    pub version: u64,
}

/// The spare that takes over: of the newest version, rather running than frozen, the lowest number.
pub fn choose(mut candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.sort_by_key(|c| (std::cmp::Reverse(c.version), !c.running, c.no));
    candidates.into_iter().next()
}

/// Lets a spare take over from `cell`, which has just died or is about to be stopped. Returns its number.
pub fn promote_for(shared: &Arc<Shared>, cell: &Arc<ContainerCell>) -> Option<u32> {
    if cell.look(|o| o.role) != InstanceRole::Active {
        return None;
    }
    let mut peers = shared.node.of_proc(cell.instance());
    peers.retain(|c| c.instance() != cell.instance());
    let ready = peers
        .iter()
        .filter(|c| c.look(|o| o.role == InstanceRole::Spare && o.is_ready()));
    let chosen = choose(
        ready
            .map(|c| Candidate {
                no: c.instance().no,
                running: c.look(|o| o.phase == Phase::Running),
                version: c.assignment.version,
            })
            .collect(),
    )?;
    let spare = peers
        .into_iter()
        .find(|c| c.instance().no == chosen.no && c.assignment.version == chosen.version)?;
    // Frozen or not, the message goes out first: what follows is bookkeeping.
    spare.note(|o| o.role = InstanceRole::Active);
    shared.tell::<Process, _>(&paths::process(shared, spare.name()), Promoted);
    cell.note(|o| o.role = InstanceRole::Spare);
    shared
        .recorder
        .send(Record::Role(spare.instance().clone(), InstanceRole::Active));
    shared
        .recorder
        .send(Record::Role(cell.instance().clone(), InstanceRole::Spare));
    shared.hub.emit(
        Event::new(
            "spare_promoted",
            Level::Info,
            format!(
                "spare {} takes over from {}",
                spare.instance(),
                cell.instance()
            ),
        )
        .instance(spare.instance())
        .node(&shared.settings.node),
    );
    spare.change(|_| ());
    Some(chosen.no)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_then_running_then_lowest_spare_is_chosen() {
        let spare = |no, running, version| Candidate {
            no,
            running,
            version,
        };
        for (candidates, chosen) in [
            (vec![], None),
            (vec![spare(3, false, 1), spare(2, false, 1)], Some(2)),
            (vec![spare(2, false, 1), spare(3, true, 1)], Some(3)),
            (vec![spare(2, true, 1), spare(3, false, 2)], Some(3)),
        ] {
            assert_eq!(
                choose(candidates.clone()).map(|c| c.no),
                chosen,
                "{candidates:?}"
            );
        }
    }
}
