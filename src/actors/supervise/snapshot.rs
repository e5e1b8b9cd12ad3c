//! The tree as it is right now, for whoever looks: API, CLI, metrics.
//!
//! Reading waits for no actor: supervisors keep their places up to date, and
//! counters are read as they stand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Pid;
use super::cell::Cell;
use super::clock;
use super::node::{Live, Node, PastRestart, State, Target};
use super::reason::ExitReason;
use super::spec::{AutoShutdown, Backoff, ChildId, ChildType, Restart, Shutdown, Strategy};
use super::sync::lock;

/// One place in the tree, with those below it as deep as was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeNode {
    /// Its path; empty for the root.
    pub path: Arc<str>,
    /// Its id within its supervisor.
    pub id: ChildId,
    /// Worker or supervisor.
    pub child_type: ChildType,
    /// What is started there: a type or function name.
    pub start: String,
    /// What it is doing.
    pub state: State,
    /// The process, when there is one.
    pub pid: Option<Pid>,
    /// How often it was started.
    pub incarnation: u64,
    /// For how long it has been in this state: the uptime, when it runs.
    pub for_time: Duration,
    /// The specification: when it is restarted.
    pub restart: Restart,
    /// The specification: whether its end may end its supervisor.
    pub significant: bool,
    /// The specification: how it is stopped.
    pub shutdown: Shutdown,
    /// The specification: waiting between restarts.
    pub backoff: Option<Backoff>,
    /// How often it was restarted.
    pub restarts: u64,
    /// The last ends that were not asked for, oldest first.
    pub history: Vec<PastRestart>,
    /// The last crash.
    pub last_crash: Option<Crash>,
    /// When the pending restart is due; zero when it is next in the queue.
    pub retry_in: Option<Duration>,
    /// Of a worker: its mailbox and messages.
    pub work: Option<Work>,
    /// Of a supervisor: its flags and budget.
    pub supervises: Option<Supervises>,
    /// Those below it, in start order, as deep as was asked.
    pub children: Vec<TreeNode>,
}

/// A crash, and when it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crash {
    /// When.
    pub at: SystemTime,
    /// Why.
    pub reason: ExitReason,
}

/// What a worker has to do and has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Messages that wait.
    pub mailbox: usize,
    /// For how long the oldest is known to wait: since it was first seen waiting.
    pub oldest: Duration,
    /// Messages that this incarnation has handled.
    pub handled: u64,
    /// The message in hand, and for how long.
    pub current: Option<Current>,
    /// For how long the last message handled had waited.
    pub last_wait: Duration,
    /// The longest time in a handler.
    pub slowest: Duration,
    /// The time in a handler that 99 of 100 stayed within (an upper bound).
    pub p99: Duration,
    /// The thread that it runs on.
    pub thread: u32,
}

/// A message in hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Current {
    /// Its type.
    pub message: String,
    /// For how long it has been in hand.
    pub for_time: Duration,
}

/// What a supervisor is set to do and has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Supervises {
    /// Who is restarted.
    pub strategy: Strategy,
    /// Restarts borne within `period`.
    pub intensity: u32,
    /// The window.
    pub period: Duration,
    /// What the end of significant children does.
    pub auto_shutdown: AutoShutdown,
    /// Restarts in the window now.
    pub used: usize,
    /// Restarts still borne.
    pub left: usize,
    /// How many children it has.
    pub children: usize,
    /// The child whose start or stop it waits for.
    pub awaiting: Option<Awaiting>,
}

/// A child whose start or stop is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Awaiting {
    /// The child.
    pub id: ChildId,
    /// For how long.
    pub for_time: Duration,
}

/// The place and `depth` levels below it.
pub(crate) fn of(node: &Arc<Node>, depth: usize) -> TreeNode {
    let now = clock::now();
    let count = node.child_count();
    let (mut shown, cell, target) = node.with(|live| {
        (
            place(node, live, count, now),
            live.cell.clone(),
            live.target.clone(),
        )
    });
    if let (Some(cell), Some(Target::Actor(probe))) = (cell, target) {
        let (mailbox, oldest) = probe.probe();
        shown.work = Some(work(&cell, mailbox, oldest));
    }
    if depth > 0 {
        shown.children = node
            .children()
            .iter()
            .map(|child| of(child, depth - 1))
            .collect();
    }
    shown
}

fn place(node: &Node, live: &Live, count: usize, now: Duration) -> TreeNode {
    let spec = &live.spec;
    TreeNode {
        path: node.path().clone(),
        id: node.id().clone(),
        child_type: spec.child_type,
        start: spec.start.name().to_owned(),
        state: live.state,
        pid: live.cell.as_ref().map(|cell| cell.pid),
        incarnation: node.incarnation(),
        for_time: now.saturating_sub(live.since),
        restart: spec.restart,
        significant: spec.significant,
        shutdown: spec.shutdown,
        backoff: spec.backoff,
        restarts: live.restarts,
        history: live
            .history
            .iter()
            .flat_map(|history| history.iter().cloned())
            .collect(),
        last_crash: live.last_crash.as_deref().map(|(at, reason)| Crash {
            at: *at,
            reason: reason.clone(),
        }),
        retry_in: (live.state == State::Restarting).then(|| {
            live.due
                .map_or(Duration::ZERO, |due| due.saturating_sub(now))
        }),
        work: None,
        supervises: supervises(live, count, now),
        children: Vec::new(),
    }
}

fn supervises(live: &Live, children: usize, now: Duration) -> Option<Supervises> {
    let (flags, window) = live.supervises.as_deref()?;
    let used = window.used(now, flags.period);
    Some(Supervises {
        strategy: flags.strategy,
        intensity: flags.intensity,
        period: flags.period,
        auto_shutdown: flags.auto_shutdown,
        used,
        left: (flags.intensity as usize).saturating_sub(used),
        children,
        awaiting: live.awaiting.as_ref().map(|(id, since)| Awaiting {
            id: id.clone(),
            for_time: now.saturating_sub(*since),
        }),
    })
}

fn work(cell: &Cell, mailbox: usize, oldest: Duration) -> Work {
    let stats = &cell.stats;
    let times = stats.times.get();
    Work {
        mailbox,
        oldest,
        handled: stats.handled.load(Ordering::Relaxed),
        current: cell.busy_for().map(|for_time| Current {
            message: (*lock(&stats.message)).to_owned(),
            for_time,
        }),
        last_wait: Duration::from_nanos(stats.last_wait.load(Ordering::Relaxed)),
        slowest: times.map(|times| times.max()).unwrap_or_default(),
        p99: times.map(|times| times.quantile(0.99)).unwrap_or_default(),
        thread: cell.arbiter.load(Ordering::Relaxed),
    }
}
