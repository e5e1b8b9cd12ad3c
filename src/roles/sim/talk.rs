//! A simulated agent's side of the link: it connects for ever, beats, takes assignments up, and reports.

use super::agent::{Agent, Seen, facts};
use super::wire::End;
use crate::actors::agent::tell::Pulse;
use crate::link::frame::{Receiver, Sender, split};
use crate::link::message::{Kept, PROTOCOL, PROTOCOL_MIN, ToAgent, ToControl};
use crate::ports::agent::{CellReport, Desired, Health, Task, tasks};
use crate::ports::clock::Clock;
use std::rc::Rc;
use std::time::Duration;

/// The pauses between attempts to connect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long connecting and greeting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// Changes are gathered for this long before they are reported together.
const GATHER: Duration = Duration::from_millis(2);

impl Agent {
    /// Connects, and talks, until the agent is gone.
    pub(super) async fn connect_for_ever(self: Rc<Self>) {
        let mut pause = PAUSES.0;
        loop {
            let connected = tokio::time::timeout(CONNECT, self.connect()).await;
            if let Ok(Ok((receiver, sender, beat))) = connected {
                pause = PAUSES.0;
                self.talk(receiver, sender, beat).await;
            }
            tokio::time::sleep(pause.mul_f64(self.machine.factor(0.8, 1.2))).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn connect(&self) -> std::io::Result<(Receiver<ToAgent>, Sender<ToControl>, Duration)> {
        let end: End = self.net.dial(&self.machine.name).await?;
        let (mut receiver, mut sender) = split::<ToAgent, ToControl>(end);
        let hello = ToControl::Hello {
            protocol: (PROTOCOL_MIN, PROTOCOL),
            node: self.machine.name.clone(),
            boot: self.boot.clone(),
            facts: Box::new(facts(self.size.0, self.size.1)),
        };
        sender.send(&hello).await?;
        match receiver.next().await? {
            Some(ToAgent::Welcome {
                beat_ms, fence_ms, ..
            }) => {
                self.assigned.connected();
                let fence = Duration::from_millis(fence_ms);
                self.assigned.change_lease(|lease| lease.set_fence(fence));
                Ok((receiver, sender, Duration::from_millis(beat_ms.max(1))))
            }
            _ => Err(std::io::ErrorKind::ConnectionRefused.into()),
        }
    }

    async fn talk(
        self: &Rc<Self>,
        receiver: Receiver<ToAgent>,
        sender: Sender<ToControl>,
        beat: Duration,
    ) {
        let beats = Pulse::default();
        tokio::select! {
            biased;
            () = self.read(receiver, &beats) => {}
            _ = self.write(sender, beat, &beats) => {}
        }
    }

    async fn read(self: &Rc<Self>, mut receiver: Receiver<ToAgent>, beats: &Pulse) {
        while let Ok(Some(message)) = receiver.next().await {
            match message {
                ToAgent::BeatHeard { seq, utc_ms } => {
                    beats.heard(&self.assigned, &*self.machine.clock, seq, utc_ms);
                }
                ToAgent::Assign {
                    revision,
                    put,
                    gone,
                    base,
                    keep,
                } => {
                    if base.is_none() {
                        beats.knows_all();
                    }
                    self.take_up(revision, put, gone, base.is_none(), keep);
                }
                ToAgent::KeptUpTo(number) => {
                    let mut kept = self.kept.borrow_mut();
                    while kept.0 <= number.n && kept.1.pop_front().is_some() {
                        kept.0 += 1;
                    }
                }
                ToAgent::Refused { .. } => return,
                _ => {}
            }
        }
    }

    fn take_up(
        self: &Rc<Self>,
        revision: u64,
        put: Vec<Desired>,
        gone: Vec<String>,
        all: bool,
        keep: Vec<String>,
    ) {
        let changed = self.assigned.apply(revision, put, gone, all, keep);
        for (name, _, now) in &changed {
            self.machine.keep(name, now.as_ref());
        }
        for (name, before, now) in changed {
            let tasks = tasks(before.as_ref(), now.as_ref());
            let tasks = match (tasks.is_empty(), &now) {
                (true, None) => vec![Task::Remove],
                _ => tasks,
            };
            self.enqueue(&name, tasks);
        }
        if all {
            // What nobody wants goes, now that all that is wanted is known.
            for (name, _) in self.machine.all() {
                if !self.assigned.is_known(&name) && !self.queues.borrow().contains_key(&name) {
                    self.enqueue(&name, vec![Task::Remove]);
                }
            }
            self.assigned.report_all();
        }
    }

    async fn write(
        &self,
        mut sender: Sender<ToControl>,
        beat: Duration,
        beats: &Pulse,
    ) -> std::io::Result<()> {
        let mut ticks = tokio::time::interval(beat);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut seq, mut sent_up_to) = (0, 0);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    seq += 1;
                    beats.sent(seq, self.now());
                    sender.send(&ToControl::Beat { seq }).await?;
                }
                () = self.to_keep.notified() => {}
                () = self.assigned.to_report.notified() => {
                    tokio::time::sleep(GATHER).await;
                    if let Some(report) = self.report() {
                        sender.send(&report).await?;
                    }
                }
            }
            if let Some((first, records)) = self.unsent(&mut sent_up_to) {
                sender.send(&ToControl::Keep { first, records }).await?;
            }
        }
    }

    /// Records that were not sent on this connection.
    fn unsent(&self, sent_up_to: &mut u64) -> Option<(u64, Vec<Kept>)> {
        let kept = self.kept.borrow();
        let first = kept.0.max(*sent_up_to + 1);
        let skip = usize::try_from(first - kept.0).unwrap_or(usize::MAX);
        let records: Vec<Kept> = kept.1.iter().skip(skip).cloned().collect();
        *sent_up_to = first + u64::try_from(records.len()).unwrap_or(0) - 1;
        (!records.is_empty()).then_some((first, records))
    }

    fn report(&self) -> Option<ToControl> {
        let news = self.assigned.take_news();
        let seen = self.seen.borrow();
        let names: Vec<&String> = match news.all {
            true => seen.keys().collect(),
            false => news.dirty.iter().collect(),
        };
        let cells: Vec<CellReport> = names
            .into_iter()
            .filter_map(|name| self.cell(name, seen.get(name)?))
            .collect();
        if cells.is_empty() && news.gone.is_empty() && !news.all {
            return None;
        }
        Some(ToControl::Report {
            revision: news.revision,
            cells,
            gone: news.gone.into_iter().collect(),
            full: news.all,
        })
    }

    fn cell(&self, name: &str, seen: &Seen) -> Option<CellReport> {
        let age = seen.since.map(|at| {
            let age = self.now().saturating_sub(at).as_millis();
            u64::try_from(age).unwrap_or(u64::MAX)
        });
        Some(CellReport {
            name: name.to_owned(),
            id: self.machine.get(name).map(|c| c.id),
            phase: seen.phase.clone(),
            health: Health::None,
            role: seen.role,
            pid: None,
            ip: None,
            started_at: age.map(|ms| self.machine.clock.now_utc() - Duration::from_millis(ms)),
            running_ms: age,
            ready_ms: age,
            restart_at: None,
            last_exit: None,
            last_crash: None,
            restarts: seen.restarts,
            probe: None,
            lines_seen: 0,
            resources: seen.resources,
        })
    }
}
