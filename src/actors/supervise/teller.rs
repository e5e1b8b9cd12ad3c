//! What a supervisor tells its observers: events, reports, progress.
//!
//! Nothing is built when nobody watches, and the time is asked for once for
//! all that one event of the state machine led to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cell::Cell;
use super::events::{EventKind, LifecycleEvent};
use super::machine::Report as Facts;
use super::node::Node;
use super::report::{Context, Offender, Progress, Report, Who};
use super::spec::{ChildSpec, ChildType, Flags};
use super::start::Start;
use super::supervisor::{Shared, Shell};
use super::{Tree, clock};

/// The moment at which a supervisor does something.
pub(crate) struct Moment {
    /// On the lifecycle clock.
    pub(crate) now: Duration,
    at: Option<SystemTime>,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            now: clock::now(),
            at: None,
        }
    }

    /// The time of day, asked for once.
    pub(crate) fn at(&mut self) -> SystemTime {
        *self.at.get_or_insert_with(SystemTime::now)
    }

    /// Tells the observers about a child; the path and incarnation are its node's.
    pub(crate) fn tell(
        &mut self,
        tree: &Tree,
        node: &Node,
        cell: Option<&Cell>,
        child_type: ChildType,
        kind: impl FnOnce() -> EventKind,
    ) {
        if !tree.observers().any() {
            return;
        }
        let event = LifecycleEvent {
            path: node.path().clone(),
            supervisor: node.parent_path(),
            child_type,
            pid: cell.map(|cell| cell.pid),
            incarnation: node.incarnation(),
            at: self.at(),
            kind: kind(),
        };
        tree.observers().tell(|observer| observer.event(&event));
    }

    /// Reports an error; a spent budget is an event, too.
    pub(crate) fn report(&mut self, shared: &Shared, flags: Option<&Flags>, facts: Facts<Shell>) {
        let observers = shared.tree.observers();
        if !observers.any() {
            return;
        }
        let Facts {
            context,
            reason,
            who,
            spec,
        } = facts;
        if let (Context::Shutdown, Some(flags)) = (context, flags) {
            let above = shared.node().path();
            let path = match above.is_empty() {
                true => spec.id.as_str().into(),
                false => format!("{above}/{}", spec.id).into(),
            };
            let event = LifecycleEvent {
                path,
                supervisor: above.clone(),
                child_type: spec.child_type,
                pid: None,
                incarnation: 0,
                at: self.at(),
                kind: EventKind::GaveUp {
                    intensity: flags.intensity,
                    period: flags.period,
                },
            };
            observers.tell(|observer| observer.event(&event));
        }
        let supervisor = shared.name.clone();
        let report = Report {
            supervisor,
            context,
            reason,
            offender: offender(&spec, who),
        };
        observers.tell(|observer| observer.report(&report));
    }
}

/// Reports a successful start.
pub(crate) fn progress(shared: &Shared, spec: &ChildSpec<Start>, who: Who) {
    let observers = shared.tree.observers();
    if observers.any() {
        let progress = Progress {
            supervisor: shared.name.clone(),
            started: offender(spec, who),
        };
        observers.tell(|observer| observer.progress(&progress));
    }
}

/// Tells about a child outside of its supervisor: the watchdog and the child's own task do.
pub(crate) fn tell_of(tree: &Tree, cell: &Arc<Cell>, kind: impl FnOnce() -> EventKind) {
    let child_type = cell.node.child_type();
    Moment::now().tell(tree, &cell.node, Some(cell), child_type, kind);
}

/// The name of a supervisor in reports: its path, or the root's id.
pub(crate) fn name_of(node: &Node) -> Arc<str> {
    match node.path().is_empty() {
        true => node.id().as_str().into(),
        false => node.path().clone(),
    }
}

fn offender(spec: &ChildSpec<Start>, who: Who) -> Offender {
    Offender {
        who,
        id: spec.id.clone(),
        start: spec.start.name().into(),
        restart: spec.restart,
        significant: spec.significant,
        shutdown: spec.shutdown,
        child_type: spec.child_type,
    }
}
