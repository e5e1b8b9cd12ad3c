//! Which child an arbiter's thread is running right now.
//!
//! Each thread keeps a counter that is odd while a child is being polled, and
//! the pid of that child; the watchdog reads both without asking anybody.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::cell::Cell;
use super::sync::lock;

/// What a thread that runs children shows of itself.
pub(crate) struct Worker {
    pub(crate) id: u32,
    pub(crate) thread: String,
    /// Odd while a child is being polled.
    pub(crate) turn: AtomicU64,
    /// The child that is being polled.
    pub(crate) pid: AtomicU64,
    given_up: AtomicBool,
}

impl Worker {
    /// Whether a handler on it was found stuck, and its children replaced elsewhere.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }
}

/// The number of the present thread.
pub(crate) fn current_id() -> u32 {
    CURRENT.with(|current| current.get_or_init(register).id)
}

static WORKERS: Mutex<Vec<std::sync::Weak<Worker>>> = Mutex::new(Vec::new());

thread_local! {
    static CURRENT: OnceCell<Arc<Worker>> = const { OnceCell::new() };
}

fn register() -> Arc<Worker> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let worker = Arc::new(Worker {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        thread: std::thread::current()
            .name()
            .unwrap_or("unnamed")
            .to_owned(),
        turn: AtomicU64::new(0),
        pid: AtomicU64::new(0),
        given_up: AtomicBool::new(false),
    });
    let mut workers = lock(&WORKERS);
    workers.retain(|worker| worker.strong_count() > 0);
    workers.push(Arc::downgrade(&worker));
    worker
}

/// The threads that run children.
pub(crate) fn workers() -> Vec<Arc<Worker>> {
    lock(&WORKERS)
        .iter()
        .filter_map(std::sync::Weak::upgrade)
        .collect()
}

/// Marks the present thread as running `cell` until the guard is dropped.
pub(crate) fn enter(cell: &Cell) -> Turn {
    CURRENT.with(|current| {
        let worker = current.get_or_init(register);
        if cell.arbiter.load(Ordering::Relaxed) != worker.id {
            cell.arbiter.store(worker.id, Ordering::Relaxed);
        }
        worker.pid.store(cell.pid.as_u64(), Ordering::Relaxed);
        let turn = worker.turn.load(Ordering::Relaxed);
        worker.turn.store(turn + 1, Ordering::Release);
    });
    Turn
}

/// While it lives, a child is being polled on this thread.
pub(crate) struct Turn;

impl Drop for Turn {
    fn drop(&mut self) {
        CURRENT.with(|current| {
            if let Some(worker) = current.get() {
                let turn = worker.turn.load(Ordering::Relaxed);
                worker.turn.store(turn + 1, Ordering::Release);
            }
        });
    }
}
