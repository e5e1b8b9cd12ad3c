//! Carrying out the effects of a supervisor's state machine.
//!
//! Starts and stops children, answers callers, tells observers, and keeps the
//! places in the tree up to date. Called by the supervisor's task only, which
//! holds the lock over [`Core`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cell::{Cell, Parent};
use super::child::Extra;
use super::events::{EventKind, LifecycleEvent};
use super::machine::{Budget, Effect, Event, Incarnation, Key, Note, Report as Facts, Why};
use super::node::{Node, State};
use super::panics;
use super::reason::ExitReason;
use super::report::{Context, Offender, Progress, Report, Who};
use super::spec::{ChildId, ChildSpec, InitError, Strategy};
use super::start::Start;
use super::supervisor::{Effects, Letter, Shared, Shell, SupervisorMachine, SupervisorSpec};
use super::{Tree, clock};

/// What the shell knows of one child.
#[derive(Default)]
struct Place {
    node: Option<Arc<Node>>,
    cell: Option<Arc<Cell>>,
    began: Duration,
    ended: Duration,
}

/// The state of a running supervisor.
#[derive(Default)]
pub(crate) struct Core {
    machine: Option<SupervisorMachine>,
    places: Vec<Place>,
    effects: Effects,
    exit: Option<ExitReason>,
    positions: u64,
}

impl Core {
    /// Checks what init returned and begins to start the children.
    pub(crate) fn boot(
        &mut self,
        shared: &Arc<Shared>,
        spec: SupervisorSpec,
    ) -> Result<(), InitError> {
        let SupervisorSpec { flags, children } = spec;
        let mut machine = SupervisorMachine::new(flags, children, shared.cell.pid.as_u64())?;
        shared
            .node()
            .with(|live| live.supervises = Some(Box::new((flags, Budget::default()))));
        let mut effects = std::mem::take(&mut self.effects);
        machine.boot(clock::now(), &mut effects);
        self.machine = Some(machine);
        self.perform(shared, effects);
        Ok(())
    }

    /// Feeds one event and carries out what follows.
    pub(crate) fn handle(&mut self, shared: &Arc<Shared>, event: Event<Shell>) {
        let Some(machine) = self.machine.as_mut() else {
            return;
        };
        let mut effects = std::mem::take(&mut self.effects);
        machine.handle(event, clock::now(), &mut effects);
        self.perform(shared, effects);
    }

    /// Whether the initial children are known.
    pub(crate) fn has_begun(&self) -> bool {
        self.machine.is_some()
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.machine.as_ref().and_then(SupervisorMachine::deadline)
    }

    /// The reason with which the machine has decided to end.
    pub(crate) fn take_exit(&mut self) -> Option<ExitReason> {
        self.exit.take()
    }

    /// The supervisor is gone: whoever still runs loses its link. Those that
    /// clean up see `killed`; nobody waits for them (rule 11).
    pub(crate) fn abandon(&mut self, reason: &ExitReason) -> impl Sized + use<> {
        if !reason.is_clean() {
            for cell in self.places.iter().filter_map(|place| place.cell.as_ref()) {
                cell.stop(ExitReason::Killed);
            }
        }
        std::mem::take(self)
    }

    fn perform(&mut self, shared: &Arc<Shared>, mut effects: Effects) {
        for effect in effects.drain(..) {
            self.perform_one(shared, effect);
        }
        self.effects = effects;
        self.publish_wait(shared);
    }

    fn perform_one(&mut self, shared: &Arc<Shared>, effect: Effect<Shell>) {
        match effect {
            Effect::Start {
                key,
                incarnation,
                start,
                extra,
                why,
            } => {
                self.start(shared, key, incarnation, &start, extra, why);
            }
            Effect::Terminate(key, _) => {
                self.with_cell(key, |cell| cell.stop(ExitReason::Shutdown))
            }
            Effect::Kill(key, _) => self.with_cell(key, Cell::kill),
            Effect::Retry(key, incarnation) => {
                shared.post(Letter::Retry(key, incarnation));
            }
            Effect::Reply(caller, answer) => {
                // A caller that has gone does not want to know.
                let _ = caller.send(answer);
            }
            Effect::Note(key, note) => self.note(shared, key, note),
            Effect::Report(facts) => self.report(shared, facts),
            Effect::Ready => shared.cell.acknowledge(None),
            Effect::Flags(flags) => shared.node().with(|live| {
                if let Some(supervises) = live.supervises.as_deref_mut() {
                    supervises.0 = flags;
                }
            }),
            Effect::Reordered(order) => self.reorder(&order),
            Effect::Spent => shared.node().with(|live| {
                if let Some((flags, window)) = live.supervises.as_deref_mut() {
                    window.spend(clock::now(), flags.intensity, flags.period);
                }
            }),
            Effect::Exit(reason) => self.exit = Some(reason),
        }
    }

    fn start(
        &mut self,
        shared: &Arc<Shared>,
        key: Key,
        incarnation: Incarnation,
        start: &Start,
        extra: Option<Extra>,
        _why: Why,
    ) {
        let place = self.place(key);
        let Some(node) = place.node.clone() else {
            return;
        };
        let parent: Arc<dyn Parent> = shared.clone();
        let cell = Cell::new(node.clone(), key, incarnation, parent);
        place.cell = Some(cell.clone());
        place.began = clock::now();
        node.starting(&cell, place.began);
        tell(shared, &node, Some(&cell), || EventKind::Starting);
        // Arguments are cloned here; a panic in that is the child's failed start.
        if let Err(payload) =
            panics::contain(|| start.begin(cell.clone(), shared.tree.clone(), extra))
        {
            cell.finish(panics::describe(payload, "init"));
        }
    }

    fn reorder(&mut self, order: &[Key]) {
        for key in order {
            self.positions += 1;
            let position = self.positions;
            if let Some(node) = &self.place(*key).node {
                node.with(|live| live.position = position);
            }
        }
    }

    fn with_cell(&self, key: Key, order: impl FnOnce(&Cell)) {
        if let Some(cell) = self
            .places
            .get(key.index())
            .and_then(|place| place.cell.as_ref())
        {
            order(cell);
        }
    }

    fn place(&mut self, key: Key) -> &mut Place {
        if self.places.len() <= key.index() {
            self.places.resize_with(key.index() + 1, Place::default);
        }
        &mut self.places[key.index()]
    }

    fn note(&mut self, shared: &Arc<Shared>, key: Key, note: Note<Shell>) {
        match note {
            Note::Added(spec) => return self.add(shared, key, spec),
            Note::Removed => return self.remove(shared, key),
            _ => {}
        }
        let now = clock::now();
        let place = self.place(key);
        let Some(node) = place.node.clone() else {
            return;
        };
        let cell = place.cell.clone();
        let told = |kind: EventKind| tell(shared, &node, cell.as_ref(), move || kind);
        match note {
            Note::Added(_) | Note::Removed => {}
            Note::Respecified(spec) => node.with(|live| live.spec = spec),
            Note::Up(pid, why) => {
                let (began, ended) = (place.began, place.ended);
                node.with(|live| (live.state, live.since) = (State::Running, now));
                self.up(shared, &node, why, now, began, ended);
                self.progress(shared, &node, Who::Pid(pid));
            }
            Note::Ignored => {
                place.cell = None;
                node.down(State::Undefined, false, now);
                told(EventKind::Ignored);
            }
            Note::StartFailed(reason) => {
                place.cell = None;
                node.down(State::Undefined, false, now);
                told(EventKind::StartFailed { reason });
            }
            Note::Exited(reason) => {
                (place.cell, place.ended) = (None, now);
                let keep = !reason.is_clean() && node.spec().start.keep_mailbox;
                node.down(State::Undefined, keep, now);
                node.remember(&reason);
                told(EventKind::Exited { reason });
            }
            Note::Stopping => {
                node.with(|live| (live.state, live.since) = (State::Stopping, now));
                told(EventKind::Stopping);
            }
            Note::Stopped(reason) => {
                (place.cell, place.ended) = (None, now);
                node.down(State::Undefined, false, now);
                told(EventKind::Stopped { reason });
            }
            Note::Restarting(attempt, delay) => {
                node.with(|live| {
                    (live.state, live.due) = (State::Restarting, delay.map(|delay| now + delay))
                });
                told(EventKind::RestartScheduled {
                    r#in: delay.unwrap_or_default(),
                    attempt,
                });
            }
            Note::Cancelled => {
                node.down(State::Undefined, false, now);
                node.with(|live| live.due = None);
                told(EventKind::Cancelled);
            }
            Note::Abandoned => {
                node.down(State::Undefined, false, now);
                told(EventKind::Abandoned);
            }
        }
    }

    fn add(&mut self, shared: &Arc<Shared>, key: Key, spec: Arc<ChildSpec<Start>>) {
        self.positions += 1;
        let simple = self
            .machine
            .as_ref()
            .is_some_and(|machine| machine.flags().strategy == Strategy::SimpleOneForOne);
        // Instances of a template have no id; the tree numbers them.
        let id: ChildId = if simple {
            format!("#{}", self.positions).into()
        } else {
            spec.id.clone()
        };
        let node = Node::new(shared.node().path().clone(), id, spec, self.positions);
        shared.node().add_child(node.clone());
        *self.place(key) = Place {
            node: Some(node.clone()),
            ..Place::default()
        };
        tell(shared, &node, None, || EventKind::Added);
    }

    fn remove(&mut self, shared: &Arc<Shared>, key: Key) {
        let Place { node, .. } = std::mem::take(self.place(key));
        let Some(node) = node else { return };
        node.down(State::Undefined, false, clock::now());
        shared.node().remove_child(node.id());
        tell(shared, &node, None, || EventKind::Removed);
    }

    fn up(
        &mut self,
        shared: &Arc<Shared>,
        node: &Arc<Node>,
        why: Why,
        now: Duration,
        began: Duration,
        ended: Duration,
    ) {
        let cell = node.with(|live| live.cell.clone());
        let Why::Restart(attempt) = why else {
            tell(shared, node, cell.as_ref(), || EventKind::Started {
                took: now.saturating_sub(began),
            });
            return;
        };
        let took = now.saturating_sub(ended);
        node.with(|live| {
            live.restarts += 1;
            if let Some(last) = live.history.as_mut().and_then(|history| history.back_mut()) {
                last.took = Some(took);
            }
        });
        tell(shared, node, cell.as_ref(), || EventKind::Restarted {
            took,
            attempt,
        });
    }

    /// Shows which child a stop or start is waiting for.
    fn publish_wait(&self, shared: &Arc<Shared>) {
        let awaited = self.machine.as_ref().and_then(SupervisorMachine::awaited);
        let node = awaited.and_then(|key| self.places.get(key.index())?.node.as_ref());
        shared.node().with(|live| match (node, &live.awaiting) {
            (Some(node), Some((id, _))) if node.id() == id => {}
            (Some(node), _) => live.awaiting = Some((node.id().clone(), clock::now())),
            (None, _) => live.awaiting = None,
        });
    }

    fn report(&self, shared: &Arc<Shared>, facts: Facts<Shell>) {
        if !shared.tree.observers().any() {
            return;
        }
        let Facts {
            context,
            reason,
            who,
            spec,
        } = facts;
        if context == Context::Shutdown
            && let Some(machine) = &self.machine
        {
            let (intensity, period) = (machine.flags().intensity, machine.flags().period);
            let path = shared.node().path();
            let event = event(
                if path.is_empty() {
                    spec.id.as_str().into()
                } else {
                    format!("{path}/{}", spec.id).into()
                },
                path.clone(),
                spec.child_type,
                EventKind::GaveUp { intensity, period },
            );
            shared
                .tree
                .observers()
                .tell(|observer| observer.event(&event));
        }
        let report = Report {
            supervisor: name(shared),
            context,
            reason,
            offender: offender(&spec, who),
        };
        shared
            .tree
            .observers()
            .tell(|observer| observer.report(&report));
    }

    fn progress(&self, shared: &Arc<Shared>, node: &Arc<Node>, who: Who) {
        let simple = self
            .machine
            .as_ref()
            .is_some_and(|machine| machine.flags().strategy == Strategy::SimpleOneForOne);
        if simple || !shared.tree.observers().any() {
            return;
        }
        let progress = Progress {
            supervisor: name(shared),
            started: offender(&node.spec(), who),
        };
        shared
            .tree
            .observers()
            .tell(|observer| observer.progress(&progress));
    }
}

/// The name of a supervisor in reports: its path, or the root's id.
fn name(shared: &Shared) -> Arc<str> {
    match shared.node().path().is_empty() {
        true => shared.node().id().as_str().into(),
        false => shared.node().path().clone(),
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

fn event(
    path: Arc<str>,
    supervisor: Arc<str>,
    child_type: super::ChildType,
    kind: EventKind,
) -> LifecycleEvent {
    LifecycleEvent {
        path,
        supervisor,
        child_type,
        pid: None,
        incarnation: 0,
        at: SystemTime::now(),
        kind,
    }
}

/// Tells the observers about a child; nothing is built when there are none.
fn tell(shared: &Shared, node: &Node, cell: Option<&Arc<Cell>>, kind: impl FnOnce() -> EventKind) {
    tell_of(&shared.tree, node, cell, kind);
}

/// As the supervisor of a child would, for the watchdog and the child's own task.
pub(crate) fn tell_of(
    tree: &Tree,
    node: &Node,
    cell: Option<&Arc<Cell>>,
    kind: impl FnOnce() -> EventKind,
) {
    if !tree.observers().any() {
        return;
    }
    let event = LifecycleEvent {
        pid: cell.map(|cell| cell.pid),
        incarnation: node.incarnation(),
        ..event(
            node.path().clone(),
            node.parent_path(),
            node.child_type(),
            kind(),
        )
    };
    tree.observers().tell(|observer| observer.event(&event));
}
