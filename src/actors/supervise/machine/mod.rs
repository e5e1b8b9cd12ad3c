//! The supervisor as a pure state machine: events in, effects out.
//!
//! Decides whom to start, stop, restart or forget, in which order, and when to
//! give up. The shell ([`super::supervisor`]) feeds it and carries its effects
//! out; it has no clock (times are passed in), no I/O and no threads.
//!
//! # Flow
//! Messages (calls, exits, an order to stop) are served one at a time in the
//! order of arrival, like a `gen_server`'s. While an operation waits for a
//! start or a stop, further messages queue; only the awaited answer, and the
//! passing of time, go straight in.
//!
//! Rules and rows in comments are those of OTP's `supervisor`, numbered in
//! `docs/supervision.md`.

mod budget;
mod calls;
mod change;
mod operation;
mod ordered;
mod restart;
mod slot;
mod stop;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

pub use self::calls::{CallError, ChildInfo, Counts, Reply, Request};
pub use self::ordered::Key;
pub use self::slot::ChildState;

pub(crate) use self::budget::Budget;
use self::operation::{Op, Wait};
use self::ordered::Ordered;
use self::slot::Slot;
use super::Pid;
use super::reason::{ExitReason, Info};
use super::report::{Context, Who};
use super::spec::{ChildId, ChildSpec, Flags, InitError, Strategy, check_init};

/// Number of one life of a child within its supervisor; never reused.
pub type Incarnation = u64;

/// The types that the machine hands through without looking inside.
pub trait Payload {
    /// What the shell needs to start a child.
    type Start: Clone + Debug;
    /// Arguments that an instance of a template adds to the template's own.
    type Extra: Clone + Debug;
    /// Whom to answer.
    type Caller: Debug;
    /// The start without its arguments, for a child that is never started again.
    fn forget(start: &Self::Start) -> Self::Start;
}

/// What the supervisor is told.
#[derive(Debug)]
pub enum Event<P: Payload> {
    /// Somebody asks something.
    Call(P::Caller, Request<P>),
    /// A running child ended.
    Exited(Key, Incarnation, ExitReason),
    /// A start that the machine asked for came to its end.
    Started(Key, Incarnation, StartResult),
    /// A retry that the machine asked for with [`Effect::Retry`] comes up.
    Retry(Key, Incarnation),
    /// The parent asks the supervisor to end.
    ParentExit(ExitReason),
    /// Time has passed; sent when [`Machine::deadline`] is reached.
    Tick,
}

/// How a start ended.
#[derive(Debug, Clone)]
pub enum StartResult {
    /// It runs, and may have something to tell whoever asked.
    Ok(Pid, Option<Info>),
    /// It has nothing to do and is not running.
    Ignore,
    /// It failed.
    Err(ExitReason),
}

/// Why a child is being started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The supervisor itself is starting.
    Boot,
    /// `start_child` or `restart_child` asked for it.
    Asked,
    /// It, or another in its group, ended; the n-th attempt since it last ran well.
    Restart(u32),
}

/// What the shell has to do. Effects are to be carried out in order.
#[derive(Debug)]
pub enum Effect<P: Payload> {
    /// Start this child and answer with [`Event::Started`].
    Start {
        /// Its place.
        key: Key,
        /// The number of this life.
        incarnation: Incarnation,
        /// What to start.
        start: P::Start,
        /// The instance's own arguments.
        extra: Option<P::Extra>,
        /// Why.
        why: Why,
    },
    /// Ask this child to end with `shutdown`; it answers with [`Event::Exited`].
    Terminate(Key, Incarnation),
    /// Kill this child; it answers with [`Event::Exited`].
    Kill(Key, Incarnation),
    /// Send [`Event::Retry`] behind every message that already waits.
    Retry(Key, Incarnation),
    /// Answer a call.
    Reply(P::Caller, Result<Reply<P>, CallError>),
    /// Something about a child changed, for those who watch.
    Note(Key, Note<P>),
    /// An error report (section 4).
    Report(Report<P>),
    /// All initial children run: the supervisor's own start is complete.
    Ready,
    /// The supervisor's flags changed.
    Flags(Flags),
    /// The start order changed; this is the new one.
    Reordered(Vec<Key>),
    /// A restart was counted against the supervisor's budget.
    Spent,
    /// The supervisor ends with this reason. Nothing follows.
    Exit(ExitReason),
}

/// A change in a child's life, for observers and the served tree.
#[derive(Debug)]
pub enum Note<P: Payload> {
    /// The child became known, with this specification.
    Added(Arc<ChildSpec<P::Start>>),
    /// Its specification was replaced at run time.
    Respecified(Arc<ChildSpec<P::Start>>),
    /// It runs.
    Up(Pid, Why),
    /// It had nothing to do.
    Ignored,
    /// It could not start.
    StartFailed(ExitReason),
    /// It ended by itself.
    Exited(ExitReason),
    /// It is being stopped.
    Stopping,
    /// It was stopped, as asked.
    Stopped(ExitReason),
    /// It will be restarted: attempt number, and when if not at once.
    Restarting(u32, Option<Duration>),
    /// Its own restart budget is spent.
    Abandoned,
    /// A pending restart was cancelled.
    Cancelled,
    /// It is no longer known.
    Removed,
}

/// The facts of an error report; the shell adds the supervisor's name.
#[derive(Debug)]
pub struct Report<P: Payload> {
    /// What went wrong.
    pub context: Context,
    /// Why.
    pub reason: ExitReason,
    /// Which process, or how many.
    pub who: Who,
    /// Its specification.
    pub spec: Arc<ChildSpec<P::Start>>,
}

pub(crate) enum Message<P: Payload> {
    Call(P::Caller, Request<P>),
    Exited(Key, Incarnation),
    Retry(Key, Incarnation),
    ParentExit(ExitReason),
}

/// One supervisor's decisions.
pub struct Machine<P: Payload> {
    flags: Flags,
    children: Ordered<Slot<P>>,
    ids: HashMap<ChildId, Key>,
    pids: HashMap<Pid, Key>,
    template: Option<Arc<ChildSpec<P::Start>>>,
    budget: Budget,
    queue: VecDeque<Message<P>>,
    op: Option<Op<P>>,
    wait: Option<Wait>,
    last_incarnation: Incarnation,
    /// Restarts that wait their time.
    due: BTreeSet<(Duration, Key)>,
    noise: u64,
    ended: bool,
}

impl<P: Payload> Debug for Machine<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("flags", &self.flags)
            .field("children", &self.children.len())
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl<P: Payload> Machine<P> {
    /// Checks what the init callback returned and prepares to start it (rule 1).
    ///
    /// `seed` feeds the jitter of backoffs.
    ///
    /// # Errors
    /// [`InitError`] when flags or specifications are not valid; nothing was started.
    pub fn new(
        flags: Flags,
        specs: Vec<ChildSpec<P::Start>>,
        seed: u64,
    ) -> Result<Self, InitError> {
        check_init(&flags, &specs)?;
        let mut machine = Self {
            flags,
            children: Ordered::default(),
            ids: HashMap::new(),
            pids: HashMap::new(),
            template: None,
            budget: Budget::default(),
            queue: VecDeque::new(),
            op: None,
            wait: None,
            last_incarnation: 0,
            due: BTreeSet::new(),
            noise: seed | 1,
            ended: false,
        };
        for spec in specs {
            if flags.strategy == Strategy::SimpleOneForOne {
                machine.template = Some(Arc::new(spec));
            } else {
                machine.insert(Arc::new(spec), None);
            }
        }
        Ok(machine)
    }

    /// Starts the initial children, in order.
    pub fn boot(&mut self, now: Duration, out: &mut Vec<Effect<P>>) {
        for (key, slot) in self.children.iter() {
            out.push(Effect::Note(key, Note::Added(slot.spec.clone())));
        }
        self.op = Some(Op::Starting {
            at: self.children.first(),
            only: false,
            why: Why::Boot,
        });
        self.settle(now, out);
    }

    /// Takes one event and appends what is to be done about it.
    pub fn handle(&mut self, event: Event<P>, now: Duration, out: &mut Vec<Effect<P>>) {
        if self.ended {
            if let Event::Call(caller, _) = event {
                out.push(Effect::Reply(caller, Err(CallError::NoProc)));
            }
            return;
        }
        match event {
            Event::Call(caller, request) => self.queue.push_back(Message::Call(caller, request)),
            Event::Exited(key, incarnation, reason) => self.on_exit(key, incarnation, reason, out),
            Event::Started(key, incarnation, result) => {
                self.on_started(key, incarnation, result, now, out);
            }
            Event::Retry(key, incarnation) => {
                self.queue.push_back(Message::Retry(key, incarnation))
            }
            Event::ParentExit(reason) => self.queue.push_back(Message::ParentExit(reason)),
            Event::Tick => self.on_tick(now, out),
        }
        self.settle(now, out);
    }

    /// When [`Event::Tick`] is due: an overdue stop or a restart that waits.
    pub fn deadline(&self) -> Option<Duration> {
        let stop = self.wait.as_ref().and_then(Wait::deadline);
        let retry = self.due.first().map(|(at, _)| *at);
        [stop, retry].into_iter().flatten().min()
    }

    /// The flags in force.
    pub fn flags(&self) -> &Flags {
        &self.flags
    }

    /// The child whose start or stop is awaited.
    pub fn awaited(&self) -> Option<Key> {
        self.wait.as_ref().and_then(Wait::key)
    }

    /// The state of a child.
    pub fn state(&self, key: Key) -> Option<&ChildState> {
        self.children.get(key).map(|slot| &slot.state)
    }

    /// Whether the supervisor has ended.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn is_simple(&self) -> bool {
        self.flags.strategy == Strategy::SimpleOneForOne
    }

    /// Serves messages until an answer is awaited or none is left.
    fn settle(&mut self, now: Duration, out: &mut Vec<Effect<P>>) {
        while !self.ended && self.wait.is_none() {
            match self.op.take() {
                Some(op) => self.step(op, now, out),
                None => match self.queue.pop_front() {
                    Some(message) => self.serve(message, now, out),
                    None => return,
                },
            }
        }
    }

    fn serve(&mut self, message: Message<P>, now: Duration, out: &mut Vec<Effect<P>>) {
        match message {
            Message::Call(caller, request) => self.serve_call(caller, request, out),
            Message::Exited(key, incarnation) => self.serve_exit(key, incarnation, now, out),
            Message::Retry(key, incarnation) => self.serve_retry(key, incarnation, now, out),
            Message::ParentExit(reason) => self.begin_shutdown(reason),
        }
    }

    /// Ends: everybody who still waits is told why (rule 12).
    fn end(&mut self, reason: ExitReason, out: &mut Vec<Effect<P>>) {
        self.ended = true;
        for message in std::mem::take(&mut self.queue) {
            if let Message::Call(caller, _) = message {
                out.push(Effect::Reply(
                    caller,
                    Err(CallError::Exited(reason.clone())),
                ));
            }
        }
        out.push(Effect::Exit(reason));
    }

    fn insert(&mut self, spec: Arc<ChildSpec<P::Start>>, extra: Option<P::Extra>) -> Key {
        let id = spec.id.clone();
        let key = self.children.push_back(Slot::new(spec, extra));
        if !self.is_simple() {
            self.ids.insert(id, key);
        }
        key
    }

    /// Forgets a child entirely.
    fn forget(&mut self, key: Key, out: &mut Vec<Effect<P>>) {
        if let Some(slot) = self.children.remove(key) {
            self.leave(key, &slot.state);
            if !self.is_simple() {
                self.ids.remove(&slot.spec.id);
            }
            out.push(Effect::Note(key, Note::Removed));
        }
    }

    /// Moves a child to another state, keeping the indexes in step.
    fn set_state(&mut self, key: Key, state: ChildState) {
        let Some(slot) = self.children.get_mut(key) else {
            return;
        };
        let old = std::mem::replace(&mut slot.state, state.clone());
        self.leave(key, &old);
        match state {
            ChildState::Running(pid) if self.is_simple() => {
                self.pids.insert(pid, key);
            }
            ChildState::Restarting { due: Some(at) } => {
                self.due.insert((at, key));
            }
            _ => {}
        }
    }

    fn leave(&mut self, key: Key, old: &ChildState) {
        match old {
            ChildState::Running(pid) if self.is_simple() => {
                self.pids.remove(pid);
            }
            ChildState::Restarting { due: Some(at) } => {
                self.due.remove(&(*at, key));
            }
            _ => {}
        }
    }

    /// A number within 0..1 that is different every time.
    fn next_noise(&mut self) -> f64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        (self.noise >> 11) as f64 / (1u64 << 53) as f64
    }
}
