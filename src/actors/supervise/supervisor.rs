//! The shell of a supervisor: a task that feeds the state machine and carries
//! its effects out.
//!
//! A supervisor is a child like any other, with an inbox of its own. Everything
//! that it needs is in [`Shared`], so that another arbiter can take it over
//! when its own is blocked. It decides nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::cell::{Cell, Life, Notice, Parent};
use super::child::Extra;
use super::group::{InitCallback, InitFuture, SupervisorInit};
use super::machine::{
    CallError, Effect, Event, Incarnation, Key, Machine, Payload, Reply, Request,
};
use super::node::Node;
use super::reason::ExitReason;
use super::shell::Core;
use super::start::{Dedicated, Start};
use super::sync::lock;
use super::{Tree, arbiter, clock, panics, teller};

/// What the state machine hands through for this shell.
#[derive(Debug)]
pub(crate) struct Shell;

pub(crate) type Answer = Result<Reply<Shell>, CallError>;

impl Payload for Shell {
    type Start = Start;
    type Extra = Extra;
    type Caller = oneshot::Sender<Answer>;

    fn forget(start: &Start) -> Start {
        start.without_arguments()
    }
}

pub(crate) enum Letter {
    Notice(Notice),
    Call(oneshot::Sender<Answer>, Request<Shell>),
    Retry(Key, Incarnation),
}

/// The longest list of letters that is kept for its capacity.
const SPARE: usize = 1_024;

struct Inbox {
    letters: Vec<Letter>,
    open: bool,
    /// Why it ended.
    exit: Option<ExitReason>,
    /// Those who wait for its end.
    waiters: Vec<oneshot::Sender<()>>,
}

/// Everything of a supervisor but the task that runs it.
pub(crate) struct Shared {
    pub(crate) cell: Arc<Cell>,
    /// Its name in reports.
    pub(crate) name: Arc<str>,
    pub(crate) tree: Tree,
    pub(crate) init: InitCallback,
    inbox: Mutex<Inbox>,
    core: Mutex<Core>,
    /// Which task may run it; an earlier one, on a blocked arbiter, may not.
    term: AtomicU64,
}

impl Shared {
    pub(crate) fn new(cell: Arc<Cell>, tree: Tree, init: InitCallback) -> Arc<Self> {
        Arc::new(Self {
            name: teller::name_of(&cell.node),
            cell,
            tree,
            init,
            inbox: Mutex::new(Inbox {
                letters: Vec::new(),
                open: true,
                exit: None,
                waiters: Vec::new(),
            }),
            core: Mutex::new(Core::default()),
            term: AtomicU64::new(0),
        })
    }

    /// Puts a letter behind those that wait; false when the supervisor has ended.
    pub(crate) fn post(&self, letter: Letter) -> bool {
        let refused = {
            let mut inbox = lock(&self.inbox);
            if inbox.open {
                inbox.letters.push(letter);
                None
            } else {
                Some(letter)
            }
        };
        self.cell.waker.wake();
        refused.is_none()
    }

    /// Asks something; the answer comes when it is its turn (rule 12).
    pub(crate) async fn call(&self, request: Request<Shell>) -> Answer {
        let (caller, answer) = oneshot::channel();
        if !self.post(Letter::Call(caller, request)) {
            return Err(CallError::NoProc);
        }
        // The call was lost with the supervisor, which was killed while at it.
        answer.await.unwrap_or_else(|_| {
            let exit = lock(&self.inbox).exit.clone();
            Err(exit.map_or(CallError::NoProc, CallError::Exited))
        })
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.cell.node
    }

    /// The supervisor was given up together with its arbiter.
    pub(crate) fn orphan(&self) {
        self.close(&ExitReason::Killed);
        self.node().clear_children();
    }

    /// Takes what has come, leaving `spare` to be filled next.
    fn take_letters(&self, spare: Vec<Letter>) -> Vec<Letter> {
        std::mem::replace(&mut lock(&self.inbox).letters, spare)
    }

    /// Waits for the end of this incarnation.
    pub(crate) async fn closed(&self) {
        let (waiter, over) = oneshot::channel();
        {
            let mut inbox = lock(&self.inbox);
            if !inbox.open {
                return;
            }
            inbox.waiters.push(waiter);
        }
        // Dropping the waiter says the same as using it.
        let _ = over.await;
    }

    /// Refuses everything from now on; those who wait are told why.
    fn close(&self, reason: &ExitReason) {
        let letters = {
            let mut inbox = lock(&self.inbox);
            inbox.open = false;
            inbox.exit = Some(reason.clone());
            inbox.waiters.clear();
            std::mem::take(&mut inbox.letters)
        };
        for letter in letters {
            if let Letter::Call(caller, _) = letter {
                // A caller that has gone does not want to know.
                let _ = caller.send(Err(CallError::Exited(reason.clone())));
            }
        }
    }
}

/// Lets another arbiter go on with a supervisor whose own is blocked; false when
/// it is the supervisor itself that is stuck, or has not begun.
pub(crate) fn move_to(shared: &Arc<Shared>, arbiter: &actix::ArbiterHandle) -> bool {
    let core = match shared.core.try_lock() {
        Ok(core) => core,
        Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(std::sync::TryLockError::WouldBlock) => return false,
    };
    if !core.has_begun() || shared.cell.is_finished() {
        return false;
    }
    shared.term.fetch_add(1, Ordering::AcqRel);
    drop(core);
    let shared = shared.clone();
    arbiter.spawn_fn(move || {
        let life = Life::new(shared.cell.clone());
        drop(actix::spawn(SupervisorTask::new(life, shared, None, None)));
    })
}

impl Parent for Shared {
    fn notify(&self, notice: Notice) {
        self.post(Letter::Notice(notice));
    }
}

/// Runs a supervisor on the arbiter where it was spawned.
pub(crate) struct SupervisorTask {
    life: Option<Life>,
    shared: Arc<Shared>,
    term: u64,
    init: Option<InitFuture>,
    timer: Option<(Duration, Pin<Box<tokio::time::Sleep>>)>,
    /// An empty list of letters, for its capacity.
    spare: Vec<Letter>,
    _dedicated: Option<Dedicated>,
}

impl SupervisorTask {
    pub(crate) fn new(
        life: Life,
        shared: Arc<Shared>,
        init: Option<InitFuture>,
        dedicated: Option<Dedicated>,
    ) -> Self {
        let term = shared.term.load(Ordering::Acquire);
        Self {
            life: Some(life),
            shared,
            term,
            init,
            timer: None,
            spare: Vec::new(),
            _dedicated: dedicated,
        }
    }

    /// Another task has taken over.
    fn is_outdated(&self) -> bool {
        self.shared.term.load(Ordering::Acquire) != self.term
    }

    fn run(&mut self, task: &mut TaskContext<'_>) -> Poll<ExitReason> {
        let shared = self.shared.clone();
        let mut core = lock(&shared.core);
        // Looked at under the lock: whoever takes over changes it under the lock.
        if self.is_outdated() {
            return Poll::Pending;
        }
        shared.cell.waker.register(task.waker());
        if shared.cell.is_killed() {
            return Poll::Ready(ExitReason::Killed);
        }
        if self.init.is_some() {
            match self.run_init(&mut core, task) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(reason) => return Poll::Ready(reason),
            }
        }
        self.serve(&mut core, task)
    }

    /// Evaluates the init callback and begins to start the children; true once it has.
    fn run_init(
        &mut self,
        core: &mut Core,
        task: &mut TaskContext<'_>,
    ) -> Result<bool, ExitReason> {
        let shared = self.shared.clone();
        if let Some(reason) = shared.cell.take_stop() {
            return Err(reason);
        }
        let Some(init) = self.init.as_mut() else {
            return Ok(true);
        };
        let Poll::Ready(made) = init.as_mut().poll(task) else {
            return Ok(false);
        };
        self.init = None;
        match made? {
            SupervisorInit::Ignore => {
                shared.cell.ignore();
                Err(ExitReason::Normal)
            }
            SupervisorInit::Run(spec) => {
                core.boot(&shared, spec)?;
                Ok(true)
            }
        }
    }

    fn serve(&mut self, core: &mut Core, task: &mut TaskContext<'_>) -> Poll<ExitReason> {
        let shared = self.shared.clone();
        loop {
            let mut idle = true;
            let mut letters = shared.take_letters(std::mem::take(&mut self.spare));
            for letter in letters.drain(..) {
                idle = false;
                let event = match letter {
                    Letter::Notice(Notice::Started(key, number, result)) => {
                        Event::Started(key, number, result)
                    }
                    Letter::Notice(Notice::Exited(key, number, reason)) => {
                        Event::Exited(key, number, reason)
                    }
                    Letter::Call(caller, request) => Event::Call(caller, request),
                    Letter::Retry(key, number) => Event::Retry(key, number),
                };
                core.handle(&shared, event);
            }
            if letters.capacity() <= SPARE {
                self.spare = letters;
            }
            if shared.cell.is_killed() {
                return Poll::Ready(ExitReason::Killed);
            }
            if let Some(reason) = shared.cell.take_stop() {
                idle = false;
                core.handle(&shared, Event::ParentExit(reason));
            }
            if let Some(reason) = core.take_exit() {
                return Poll::Ready(reason);
            }
            if idle && !self.timer_fired(core, task) {
                return Poll::Pending;
            }
        }
    }

    /// Keeps one timer for the nearest deadline; an early one is simply armed again.
    fn timer_fired(&mut self, core: &mut Core, task: &mut TaskContext<'_>) -> bool {
        loop {
            let Some(deadline) = core.deadline() else {
                self.timer = None;
                return false;
            };
            if clock::now() >= deadline {
                self.timer = None;
                core.handle(&self.shared, Event::Tick);
                return true;
            }
            let stale = self.timer.as_ref().is_none_or(|(at, _)| *at > deadline);
            if stale {
                let sleep = Box::pin(tokio::time::sleep_until(clock::instant(deadline)));
                self.timer = Some((deadline, sleep));
            }
            let Some((_, sleep)) = self.timer.as_mut() else {
                return false;
            };
            if sleep.as_mut().poll(task).is_pending() {
                return false;
            }
            self.timer = None;
        }
    }

    fn end(&mut self, reason: ExitReason) {
        let Some(life) = self.life.take() else { return };
        self.init = None;
        let left = lock(&self.shared.core).abandon(&reason);
        self.shared.close(&reason);
        self.shared.node().clear_children();
        drop(left);
        life.cell.finish(reason);
    }
}

impl Future for SupervisorTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.is_outdated() || this.life.is_none() {
            return Poll::Ready(());
        }
        let _busy = arbiter::enter(&this.shared.cell);
        match panics::contain(|| this.run(task)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(reason)) => this.end(reason),
            Err(payload) => this.end(panics::describe(payload, "supervisor")),
        }
        Poll::Ready(())
    }
}

impl Drop for SupervisorTask {
    fn drop(&mut self) {
        if !self.is_outdated() {
            self.end(ExitReason::Lost(
                "its task was dropped by the arbiter".into(),
            ));
        } else if let Some(life) = self.life.take() {
            // The life goes on elsewhere; only the handle is let go.
            life.release();
        }
    }
}

/// Effects that the machine asked for, carried out by [`super::shell`].
pub(crate) type Effects = Vec<Effect<Shell>>;

/// The machine of a supervisor.
pub(crate) type SupervisorMachine = Machine<Shell>;
