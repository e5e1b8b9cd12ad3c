//! Carrying out the effects of a supervisor's state machine.
//!
//! Starts and stops children, answers callers, and keeps the places in the tree
//! up to date. Called by the supervisor's task only, which holds the lock over
//! [`Core`]. What it tells observers is put together in [`super::teller`].

use std::sync::Arc;
use std::time::Duration;

use super::cell::{Cell, Parent};
use super::child::Extra;
use super::events::EventKind;
use super::group::SupervisorSpec;
use super::machine::{Budget, Effect, Event, Incarnation, Key, Note, Why};
use super::node::{Node, State};
use super::panics;
use super::reason::ExitReason;
use super::report::Who;
use super::spec::{ChildId, ChildSpec, DEFAULT_TIMEOUT, InitError, Shutdown, Strategy};
use super::start::Start;
use super::supervisor::{Effects, Letter, Shared, Shell, SupervisorMachine};
use super::teller::{self, Moment};

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
    /// The child whose start or stop was last shown as awaited.
    awaited: Option<Key>,
}

/// What the jitter of a supervisor's backoffs is made from: it differs from place to place and from life to life,
/// and is the same whenever the same happens again, so that a simulation can be replayed.
fn seed_of(node: &Node) -> u64 {
    // FNV-1a.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ node.incarnation();
    for byte in node.path().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

impl Core {
    /// Checks what init returned and begins to start the children.
    pub(crate) fn boot(
        &mut self,
        shared: &Arc<Shared>,
        spec: SupervisorSpec,
    ) -> Result<(), InitError> {
        let SupervisorSpec { flags, children } = spec;
        let mut machine = SupervisorMachine::new(flags, children, seed_of(shared.node()))?;
        let supervises = Some(Box::new((flags, Budget::default())));
        shared.node().with(|live| live.supervises = supervises);
        let (moment, mut effects) = (Moment::now(), std::mem::take(&mut self.effects));
        machine.boot(moment.now, &mut effects);
        self.machine = Some(machine);
        self.perform(shared, effects, moment);
        Ok(())
    }

    /// Feeds one event and carries out what follows.
    pub(crate) fn handle(&mut self, shared: &Arc<Shared>, event: Event<Shell>) {
        let Some(machine) = self.machine.as_mut() else {
            return;
        };
        let (moment, mut effects) = (Moment::now(), std::mem::take(&mut self.effects));
        machine.handle(event, moment.now, &mut effects);
        self.perform(shared, effects, moment);
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

    /// The supervisor is gone: whoever still runs loses its link (rule 11). Those
    /// that clean up see `killed`, and have their shutdown time for it.
    pub(crate) fn abandon(&mut self, reason: &ExitReason) -> impl Sized + use<> {
        if !reason.is_clean() {
            let places = self
                .places
                .iter()
                .filter_map(|place| place.node.as_ref().zip(place.cell.as_ref()));
            orphan(
                places
                    .map(|(node, cell)| (cell.clone(), node.spec().shutdown))
                    .collect(),
            );
        }
        std::mem::take(self)
    }

    fn perform(&mut self, shared: &Arc<Shared>, mut effects: Effects, mut moment: Moment) {
        for effect in effects.drain(..) {
            self.perform_one(shared, effect, &mut moment);
        }
        self.effects = effects;
        self.publish_wait(shared, moment.now);
    }

    fn perform_one(&mut self, shared: &Arc<Shared>, effect: Effect<Shell>, moment: &mut Moment) {
        match effect {
            Effect::Start {
                key,
                incarnation,
                start,
                extra,
                why: _,
            } => {
                self.start(shared, (key, incarnation), &start, extra, moment);
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
            Effect::Note(key, Note::Added(spec)) => self.add(shared, key, spec, moment),
            Effect::Note(key, Note::Removed) => self.remove(shared, key, moment),
            Effect::Note(key, note) => self.note(shared, key, note, moment),
            Effect::Report(facts) => {
                let flags = self.machine.as_ref().map(SupervisorMachine::flags);
                moment.report(shared, flags, facts);
            }
            Effect::Ready => shared.cell.acknowledge(None),
            Effect::Flags(flags) => shared.node().with(|live| {
                if let Some(supervises) = live.supervises.as_deref_mut() {
                    supervises.0 = flags;
                }
            }),
            Effect::Reordered(order) => self.reorder(&order),
            Effect::Spent => shared.node().with(|live| {
                if let Some((flags, window)) = live.supervises.as_deref_mut() {
                    window.spend(moment.now, flags.intensity, flags.period);
                }
            }),
            Effect::Exit(reason) => self.exit = Some(reason),
        }
    }

    fn start(
        &mut self,
        shared: &Arc<Shared>,
        (key, incarnation): (Key, Incarnation),
        start: &Start,
        extra: Option<Extra>,
        moment: &mut Moment,
    ) {
        let place = self.place(key);
        let Some(node) = place.node.clone() else {
            return;
        };
        let parent: Arc<dyn Parent> = shared.clone();
        let cell = Cell::new(node.clone(), key, incarnation, parent);
        place.cell = Some(cell.clone());
        place.began = moment.now;
        let child_type = node.starting(&cell, moment.now);
        moment.tell(&shared.tree, &node, Some(&cell), child_type, || {
            EventKind::Starting
        });
        // Arguments are cloned here; a panic in that is the child's failed start.
        let begun = panics::contain(|| start.begin(cell.clone(), shared.tree.clone(), extra));
        if let Err(payload) = begun {
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

    fn note(&mut self, shared: &Arc<Shared>, key: Key, note: Note<Shell>, moment: &mut Moment) {
        let simple = self.is_simple();
        let place = self.place(key);
        let Some(node) = place.node.clone() else {
            return;
        };
        let cell = place.cell.clone();
        let up = match &note {
            Note::Up(pid, _) => Some(Who::Pid(*pid)),
            _ => None,
        };
        let Some(kind) = place.take_note(&node, note, moment) else {
            return;
        };
        let spec = node.spec();
        moment.tell(
            &shared.tree,
            &node,
            cell.as_deref(),
            spec.child_type,
            || kind,
        );
        if let (Some(who), false) = (up, simple) {
            teller::progress(shared, &spec, who);
        }
    }

    fn is_simple(&self) -> bool {
        let flags = self.machine.as_ref().map(SupervisorMachine::flags);
        flags.is_some_and(|flags| flags.strategy == Strategy::SimpleOneForOne)
    }

    fn add(
        &mut self,
        shared: &Arc<Shared>,
        key: Key,
        spec: Arc<ChildSpec<Start>>,
        moment: &mut Moment,
    ) {
        self.positions += 1;
        // Instances of a template have no id; the tree numbers them.
        let id: ChildId = match self.is_simple() {
            true => format!("#{}", self.positions).into(),
            false => spec.id.clone(),
        };
        let child_type = spec.child_type;
        let node = Node::new(
            shared.node().path().clone(),
            id,
            spec,
            self.positions,
            moment.now,
        );
        shared.node().add_child(node.clone());
        moment.tell(&shared.tree, &node, None, child_type, || EventKind::Added);
        *self.place(key) = Place {
            node: Some(node),
            ..Place::default()
        };
    }

    fn remove(&mut self, shared: &Arc<Shared>, key: Key, moment: &mut Moment) {
        let Place { node, .. } = std::mem::take(self.place(key));
        let Some(node) = node else { return };
        node.down(State::Undefined, moment.now);
        shared.node().remove_child(node.id());
        let child_type = node.child_type();
        moment.tell(&shared.tree, &node, None, child_type, || EventKind::Removed);
    }

    /// Shows which child a stop or start is waiting for.
    fn publish_wait(&mut self, shared: &Arc<Shared>, now: Duration) {
        let awaited = self.machine.as_ref().and_then(SupervisorMachine::awaited);
        if awaited == self.awaited {
            return;
        }
        self.awaited = awaited;
        let node = awaited.and_then(|key| self.places.get(key.index())?.node.as_ref());
        let awaiting = node.map(|node| (node.id().clone(), now));
        shared.node().with(|live| live.awaiting = awaiting);
    }
}

impl Place {
    /// Writes down what happened to the child; tells the event that it is.
    fn take_note(
        &mut self,
        node: &Node,
        note: Note<Shell>,
        moment: &mut Moment,
    ) -> Option<EventKind> {
        let now = moment.now;
        Some(match note {
            Note::Added(_) | Note::Removed => return None,
            Note::Respecified(spec) => {
                node.with(|live| live.spec = spec);
                return None;
            }
            Note::Up(_, Why::Restart(attempt)) => {
                let took = now.saturating_sub(self.ended);
                node.restarted(took, now);
                EventKind::Restarted { took, attempt }
            }
            Note::Up(..) => {
                node.change(State::Running, now);
                EventKind::Started {
                    took: now.saturating_sub(self.began),
                }
            }
            Note::Ignored => self.empty(now, EventKind::Ignored),
            Note::StartFailed(reason) => self.empty(now, EventKind::StartFailed { reason }),
            Note::Exited(reason) => {
                (self.cell, self.ended) = (None, now);
                node.exited(&reason, now, moment.at());
                EventKind::Exited { reason }
            }
            Note::Stopping => {
                node.change(State::Stopping, now);
                EventKind::Stopping
            }
            Note::Stopped(reason) => self.empty(now, EventKind::Stopped { reason }),
            Note::Restarting(attempt, delay) => {
                node.restarting(delay.map(|delay| now + delay), now);
                EventKind::RestartScheduled {
                    r#in: delay.unwrap_or_default(),
                    attempt,
                }
            }
            Note::Cancelled => self.empty(now, EventKind::Cancelled),
            Note::Abandoned => self.empty(now, EventKind::Abandoned),
        })
    }

    /// Nobody is there any more, and nobody is to come by itself.
    fn empty(&mut self, now: Duration, event: EventKind) -> EventKind {
        (self.cell, self.ended) = (None, now);
        if let Some(node) = &self.node {
            node.down(State::Undefined, now);
        }
        event
    }
}

/// Asks children without a supervisor to end, and kills the late ones.
pub(crate) fn orphan(mut children: Vec<(Arc<Cell>, Shutdown)>) {
    for (cell, _) in &children {
        cell.stop(ExitReason::Killed);
    }
    let limit = |shutdown| match shutdown {
        Shutdown::Timeout(limit) => Some(limit),
        Shutdown::BrutalKill => Some(DEFAULT_TIMEOUT),
        Shutdown::Infinity => None,
    };
    children.retain(|(_, shutdown)| limit(*shutdown).is_some());
    children.sort_by_key(|(_, shutdown)| limit(*shutdown));
    if children.is_empty() {
        return;
    }
    let kill_late_ones = async move {
        let begun = tokio::time::Instant::now();
        for (cell, shutdown) in children {
            if !cell.is_finished() {
                tokio::time::sleep_until(begun + limit(shutdown).unwrap_or_default()).await;
                cell.kill();
            }
        }
    };
    // On an arbiter that is ending there is nobody to wait, and nobody left to kill.
    if let Err(payload) = panics::contain(|| drop(actix::spawn(kill_late_ones))) {
        tracing::debug!(
            "orphans are not waited for: {}",
            panics::describe(payload, "supervisor")
        );
    }
}
