//! One life of a child: how to stop it, what it is doing, whom to tell of its end.
//!
//! Shared between the child's task, its supervisor, the watchdog and readers.
//! Everything here is readable without asking the child.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::clock;
use super::machine::{Incarnation, Key, StartResult};
use super::node::Node;
use super::reason::{ExitReason, Info};
use super::stats::Histogram;
use super::sync::lock;
use super::{Pid, Start};

/// What a child's task tells whoever supervises it.
pub(crate) enum Notice {
    /// Its start came to an end.
    Started(Key, Incarnation, StartResult),
    /// It ended.
    Exited(Key, Incarnation, ExitReason),
}

/// Whoever is told; never blocks, never loses a notice.
pub(crate) trait Parent: Send + Sync {
    /// Takes a notice in.
    fn notify(&self, notice: Notice);
}

const STOP: u8 = 1;
const KILL: u8 = 2;
const ABANDONED: u8 = 4;

/// One life of a child.
pub(crate) struct Cell {
    pub(crate) pid: Pid,
    pub(crate) node: Arc<Node>,
    key: Key,
    incarnation: Incarnation,
    parent: Arc<dyn Parent>,
    orders: AtomicU8,
    stop_reason: Mutex<Option<ExitReason>>,
    pub(crate) waker: AtomicWaker,
    acknowledged: AtomicBool,
    finished: AtomicBool,
    /// The arbiter that runs it; 0 until its first poll.
    pub(crate) arbiter: AtomicU32,
    pub(crate) stats: Stats,
}

/// Counters with one writer, the child's task.
pub(crate) struct Stats {
    pub(crate) handled: AtomicU64,
    /// Since when the message in hand is in hand; 0 when idle.
    pub(crate) busy_since: AtomicU64,
    /// The message in hand, or the last one.
    pub(crate) message: Mutex<&'static str>,
    /// How long the last message waited in the mailbox.
    pub(crate) last_wait: AtomicU64,
    pub(crate) times: OnceLock<Box<Histogram>>,
}

impl Cell {
    pub(crate) fn new(
        node: Arc<Node>,
        key: Key,
        incarnation: Incarnation,
        parent: Arc<dyn Parent>,
    ) -> Arc<Self> {
        Arc::new(Self {
            pid: Pid::next(),
            node,
            key,
            incarnation,
            parent,
            orders: AtomicU8::new(0),
            stop_reason: Mutex::new(None),
            waker: AtomicWaker::new(),
            acknowledged: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            arbiter: AtomicU32::new(0),
            stats: Stats {
                handled: AtomicU64::new(0),
                busy_since: AtomicU64::new(0),
                message: Mutex::new(""),
                last_wait: AtomicU64::new(0),
                times: OnceLock::new(),
            },
        })
    }

    /// Asks the child to end with `reason`; it may clean up first.
    pub(crate) fn stop(&self, reason: ExitReason) {
        lock(&self.stop_reason).get_or_insert(reason);
        self.order(STOP);
    }

    /// Ends the child at its next poll without running any of its code but destructors.
    pub(crate) fn kill(&self) {
        self.order(KILL);
    }

    /// Gives the child up: its supervisor is told `reason` now, its task is
    /// dropped silently should its arbiter ever run it again.
    pub(crate) fn abandon(&self, reason: ExitReason) {
        self.orders.fetch_or(ABANDONED, Ordering::AcqRel);
        self.finish(reason);
        self.waker.wake();
    }

    fn order(&self, order: u8) {
        self.orders.fetch_or(order, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Whether any order is pending; cheap, for the path of every message.
    pub(crate) fn has_orders(&self) -> bool {
        self.orders.load(Ordering::Acquire) != 0
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.orders.load(Ordering::Acquire) & KILL != 0
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.orders.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Takes the request to stop, once.
    pub(crate) fn take_stop(&self) -> Option<ExitReason> {
        if self.orders.load(Ordering::Acquire) & STOP == 0 {
            return None;
        }
        self.orders.fetch_and(!STOP, Ordering::AcqRel);
        lock(&self.stop_reason).take()
    }

    /// Whether its end has been told.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Whether its start has been acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Tells the supervisor that the start is complete.
    pub(crate) fn acknowledge(&self, info: Option<Info>) {
        if !self.is_finished() && !self.acknowledged.swap(true, Ordering::AcqRel) {
            self.tell_start(StartResult::Ok(self.pid, info));
        }
    }

    /// Tells the supervisor that there is nothing to run.
    pub(crate) fn ignore(&self) {
        if !self.finished.swap(true, Ordering::AcqRel) {
            self.tell_start(StartResult::Ignore);
        }
    }

    /// Tells the supervisor, exactly once, that this life is over.
    pub(crate) fn finish(&self, reason: ExitReason) {
        if self.finished.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.is_acknowledged() {
            self.parent
                .notify(Notice::Exited(self.key, self.incarnation, reason));
        } else {
            self.tell_start(StartResult::Err(reason));
        }
    }

    fn tell_start(&self, result: StartResult) {
        self.parent
            .notify(Notice::Started(self.key, self.incarnation, result));
    }

    /// For how long the message in hand has been in hand.
    pub(crate) fn busy_for(&self) -> Option<Duration> {
        match self.stats.busy_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(clock::since(since)),
        }
    }

    /// The options of its start.
    pub(crate) fn start(&self) -> Start {
        self.node.spec().start.clone()
    }
}

/// Held by whatever runs a life; tells the supervisor if it vanishes.
pub(crate) struct Life {
    pub(crate) cell: Arc<Cell>,
    released: bool,
}

impl Life {
    pub(crate) fn new(cell: Arc<Cell>) -> Self {
        Self {
            cell,
            released: false,
        }
    }

    /// Lets go without telling anybody: the life goes on elsewhere.
    pub(crate) fn release(mut self) {
        self.released = true;
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.released {
            self.cell.finish(ExitReason::Lost(
                "its task was dropped by the arbiter".into(),
            ));
        }
    }
}
