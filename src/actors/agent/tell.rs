//! What an agent tells the control host by itself: beats and their answers, containers, what the node is and
//! how it is.
//!
//! Owned by one connection of `link`.

use crate::actors::agent::assigned::Assigned;
use crate::actors::agent::{facts, link, paths};
use crate::actors::shared::Shared;
use crate::link::message::ToControl;
use crate::ports::agent::CellReport;
use crate::ports::clock::Clock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often what this node is is told anew, where it changed.
const FACTS: Duration = Duration::from_secs(5);
/// How often it is looked at how this node is; told where it changed.
const HEALTH: Duration = Duration::from_secs(1);
/// An answer that took longer than this says nothing of the time of day.
const CLOCK_WITHIN: Duration = Duration::from_secs(1);
/// How often the tree is told, where it changed.
const TREE: Duration = Duration::from_millis(1000);
/// Changes are gathered for this long before they are reported together.
const GATHER: Duration = Duration::from_millis(2);

/// What both directions of a connection know of its beats.
#[derive(Default)]
pub struct Pulse {
    /// Those that were not answered yet, and when they were sent.
    waiting: Mutex<VecDeque<(u64, Duration)>>,
    /// All that is assigned is known.
    knows: AtomicBool,
    /// How far this node's time of day is from the control host's, in milliseconds.
    skew: AtomicU64,
}

impl Pulse {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<(u64, Duration)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A beat is sent at `at`.
    pub fn sent(&self, seq: u64, at: Duration) {
        self.waiting().push_back((seq, at));
    }

    /// All that is assigned is known on this connection. Before that, no answer to a beat allows anything: what
    /// ran here may be another node's by now.
    pub fn knows_all(&self) {
        self.knows.store(true, Ordering::Release);
    }

    /// A beat was answered: what may run only once may run for a while, and the control host's clock is known.
    pub fn heard(&self, assigned: &Assigned, clock: &dyn Clock, seq: u64, utc_ms: Option<i64>) {
        let mut waiting = self.waiting();
        let mut answered = None;
        while let Some((number, sent)) = waiting.front().copied()
            && number <= seq
        {
            waiting.pop_front();
            answered = (number == seq).then_some(sent);
        }
        drop(waiting);
        let Some(sent) = answered else { return };
        if self.knows.load(Ordering::Acquire) {
            assigned.change_lease(|lease| lease.acknowledged(sent));
        }
        let took = clock.monotonic().saturating_sub(sent);
        if let Some(theirs) = utc_ms.filter(|_| took <= CLOCK_WITHIN) {
            let ours = clock.now_utc().timestamp_millis();
            self.skew.store(ours.abs_diff(theirs), Ordering::Relaxed);
        }
    }

    fn skew(&self) -> Duration {
        Duration::from_millis(self.skew.load(Ordering::Relaxed))
    }
}

/// Tells the control host what changed, soon after it changed.
pub async fn report_for_ever(shared: &Shared, outgoing: &mpsc::Sender<ToControl>) {
    loop {
        shared.assigned.to_report.notified().await;
        tokio::time::sleep(GATHER).await;
        let news = shared.assigned.take_news();
        let now = shared.clock.monotonic();
        let cells = match news.all {
            true => shared.node.all(),
            false => news
                .dirty
                .iter()
                .filter_map(|name| shared.node.get(name))
                .collect(),
        };
        let cells: Vec<CellReport> = cells.iter().map(|c| c.report(now)).collect();
        if cells.is_empty() && news.gone.is_empty() && !news.all {
            continue;
        }
        let report = ToControl::Report {
            revision: news.revision,
            cells,
            gone: news.gone.into_iter().collect(),
            full: news.all,
        };
        if outgoing.send(report).await.is_err() {
            return;
        }
    }
}

/// What is to be told of this node now, where it changed.
enum Due {
    /// What it is.
    Facts,
    /// How it is.
    Health,
    /// How its tree looks.
    Tree,
}

/// Tells what this node is, how it is, and how its tree looks, where that changed.
pub async fn tell_for_ever(args: &link::Args, outgoing: &mpsc::Sender<ToControl>, beats: &Pulse) {
    let shared = &args.shared;
    let (mut probes, mut health) = (facts::Probes::new(), None);
    let mut health_due = tokio::time::interval(HEALTH);
    let mut facts = None;
    let mut tree = None;
    let mut sinks = Vec::new();
    let mut facts_due = tokio::time::interval(FACTS);
    let mut tree_due = tokio::time::interval(TREE);
    let mut engine = shared.engine.subscribe();
    loop {
        let due = tokio::select! {
            _ = facts_due.tick() => Due::Facts,
            changed = engine.changed() => if changed.is_err() { return } else { Due::Facts },
            _ = tree_due.tick() => Due::Tree,
            _ = health_due.tick() => Due::Health,
        };
        let message = match due {
            Due::Facts => {
                let now = args.facts.now(shared);
                let changed = facts.as_ref() != Some(&now);
                facts = Some(now.clone());
                changed.then(|| ToControl::Facts(Box::new(now)))
            }
            Due::Health => {
                let now = probes.take(shared, beats.skew());
                let changed = health.replace(now) != Some(now);
                changed.then_some(ToControl::Health(now))
            }
            Due::Tree => {
                let now = crate::actors::control::handle::tree_of(
                    shared,
                    &paths::node(&shared.settings.node),
                );
                let changed = now != tree;
                tree = now.clone();
                now.filter(|_| changed)
                    .map(|t| ToControl::Tree(Box::new(t)))
            }
        };
        if let Some(message) = message
            && outgoing.send(message).await.is_err()
        {
            return;
        }
        let now = shared.pipeline().map(|p| p.views()).unwrap_or_default();
        if now != sinks {
            sinks.clone_from(&now);
            if outgoing
                .send(ToControl::Sinks { sinks: now })
                .await
                .is_err()
            {
                return;
            }
        }
    }
}
