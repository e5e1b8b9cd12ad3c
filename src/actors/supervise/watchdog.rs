//! The watch over handlers that do not return.
//!
//! One thread looks now and then whether an arbiter is still in the same poll
//! of the same child. Past the limit it reports that child as stuck and gives
//! the arbiter up: supervisors on it go on elsewhere, workers on it are
//! replaced elsewhere. The blocked thread itself cannot be ended; what ran on
//! it is dropped should it ever come back.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::arbiter::{self, Worker};
use super::cell::Cell;
use super::clock;
use super::events::EventKind;
use super::node::{Node, Target};
use super::reason::{ExitReason, StuckInfo};
use super::supervisor;
use super::sync::lock;
use super::tree::Inner;
use super::{Pid, Tree, teller};

const SLOWEST_LOOK: Duration = Duration::from_secs(1);
const QUICKEST_LOOK: Duration = Duration::from_millis(5);

struct Watch {
    trees: Vec<Weak<Inner>>,
    running: bool,
}

static WATCH: Mutex<Watch> = Mutex::new(Watch {
    trees: Vec::new(),
    running: false,
});

/// The shortest limit that anybody asked for, in milliseconds.
static SHORTEST: AtomicU64 = AtomicU64::new(u64::MAX);

/// Looks often enough for this limit.
pub(crate) fn heed(limit: Duration) {
    let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    SHORTEST.fetch_min(millis, Ordering::Relaxed);
}

/// Watches a tree until it is gone.
pub(crate) fn watch(tree: &Tree) {
    let mut watch = lock(&WATCH);
    watch.trees.push(tree.downgrade());
    if !watch.running {
        let spawned = std::thread::Builder::new()
            .name("supervise-watch".into())
            .spawn(run);
        watch.running = spawned.is_ok();
        if let Err(error) = spawned {
            tracing::error!(
                "stuck handlers will not be noticed: cannot start the watching thread: {error}"
            );
        }
    }
}

fn run() {
    let mut seen = HashMap::new();
    loop {
        let pause = pause();
        let before = clock::nanos();
        std::thread::sleep(pause);
        // After a stop of the whole program nobody is to blame for the gap.
        if clock::since(before) > pause * 4 {
            seen.clear();
        }
        let trees = {
            let mut watch = lock(&WATCH);
            watch.trees.retain(|tree| tree.strong_count() > 0);
            if watch.trees.is_empty() {
                watch.running = false;
                return;
            }
            watch
                .trees
                .iter()
                .filter_map(Weak::upgrade)
                .map(Tree::from_inner)
                .collect::<Vec<_>>()
        };
        look(&trees, &mut seen);
    }
}

fn pause() -> Duration {
    let shortest = Duration::from_millis(SHORTEST.load(Ordering::Relaxed));
    (shortest / 5).clamp(QUICKEST_LOOK, SLOWEST_LOOK)
}

/// A poll that was in progress: its number, and when it was first seen.
struct Poll {
    turn: u64,
    first_seen: u64,
}

fn look(trees: &[Tree], seen: &mut HashMap<u32, Poll>) {
    let now = clock::nanos();
    for worker in arbiter::workers() {
        let turn = worker.turn.load(Ordering::Acquire);
        let idle = turn.is_multiple_of(2) || worker.is_given_up();
        match seen.get(&worker.id) {
            _ if idle => drop(seen.remove(&worker.id)),
            Some(poll) if poll.turn == turn => {
                let blocked = Duration::from_nanos(now.saturating_sub(poll.first_seen));
                consider(trees, &worker, turn, blocked);
            }
            _ => drop(seen.insert(
                worker.id,
                Poll {
                    turn,
                    first_seen: now,
                },
            )),
        }
    }
}

fn consider(trees: &[Tree], worker: &Worker, turn: u64, blocked: Duration) {
    let pid = Pid::from_u64(worker.pid.load(Ordering::Relaxed));
    for tree in trees {
        let Some(cell) = tree.cell_of(pid) else {
            continue;
        };
        let own = cell.start().stuck_after;
        let Some(limit) = own.or(tree.stuck_after()) else {
            return;
        };
        if blocked >= limit && worker.turn.load(Ordering::Acquire) == turn {
            give_up(trees, tree, worker, &cell, blocked);
        }
        return;
    }
}

/// Gives the arbiter up, with everything that runs on it in any tree.
fn give_up(trees: &[Tree], tree: &Tree, worker: &Worker, stuck: &Arc<Cell>, blocked: Duration) {
    let message = *lock(&stuck.stats.message);
    let doing = if stuck.busy_for().is_some() {
        message
    } else {
        "outside of a message"
    };
    let info = Arc::new(StuckInfo {
        message_type: doing.into(),
        blocked_for: blocked,
        thread: worker.thread.clone(),
    });
    worker.give_up();
    teller::tell_of(tree, stuck, || EventKind::Stuck { info: info.clone() });
    for tree in trees {
        let elsewhere = Elsewhere::new(Box::new(|| tree.spare_arbiter()));
        evacuate(tree.root_node(), worker, stuck, &info, &elsewhere);
    }
}

/// The arbiter that takes over, started when the first needs it.
type Elsewhere<'a> =
    LazyCell<Option<actix::ArbiterHandle>, Box<dyn FnOnce() -> Option<actix::ArbiterHandle> + 'a>>;

/// Moves or replaces whoever is on the blocked arbiter, the upper ones first.
fn evacuate(
    node: &Arc<Node>,
    worker: &Worker,
    stuck: &Arc<Cell>,
    info: &Arc<StuckInfo>,
    elsewhere: &Elsewhere<'_>,
) {
    let (cell, target) = node.with(|live| (live.cell.clone(), live.target.clone()));
    let children = node.children();
    if let Some(cell) = cell.filter(|cell| cell.arbiter.load(Ordering::Relaxed) == worker.id) {
        let reason = match Arc::ptr_eq(&cell, stuck) {
            true => ExitReason::Stuck(info.clone()),
            false => ExitReason::Displaced {
                by: stuck.node.path().clone(),
            },
        };
        let moved = match &target {
            Some(Target::Supervisor(shared)) => elsewhere
                .as_ref()
                .is_some_and(|arbiter| supervisor::move_to(shared, arbiter)),
            _ => false,
        };
        if !moved {
            cell.abandon(reason);
            if let Some(Target::Supervisor(shared)) = &target {
                shared.orphan();
                children.iter().for_each(unlink);
            }
        }
    }
    for child in &children {
        evacuate(child, worker, stuck, info, elsewhere);
    }
}

/// A child whose supervisor is lost loses its link.
fn unlink(child: &Arc<Node>) {
    if let Some(cell) = child.with(|live| live.cell.clone()) {
        cell.stop(ExitReason::Killed);
    }
}
