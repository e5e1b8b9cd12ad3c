//! The loop that drives one sink: read the spool, route, send, note how far it has come.
//!
//! Nothing is kept in memory that the spool does not have: after a failure the spool is read again from the
//! cursor. The cursor moves when the receiver has acknowledged, or, where its protocol knows no
//! acknowledgement, when the connection has stayed up for a while after the batch.

use super::breaker::{self, Breaker, Permit};
use super::cell::SinkCell;
use super::dead::DeadLetters;
use super::pause;
use super::route::{Filter, Redaction};
use crate::domain::log::Stamp;
use crate::logging::spool::{Cursor, From, Progress, Read, Reader, Spool, SpoolError};
use crate::ports::clock::Clock;
use crate::ports::freshness::Keeper;
use crate::ports::sink::Sink;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// The longest wait before the state of things is looked at again.
const LOOK: Duration = Duration::from_secs(1);
/// How often the cursor is made to survive a power cut.
const SYNC: Duration = Duration::from_secs(2);

/// How a sink is driven. The defaults are Vector's.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The most events in one batch.
    pub batch_events: usize,
    /// About the most bytes in one batch.
    pub batch_bytes: usize,
    /// How long the receiver may take to answer.
    pub timeout: Duration,
    /// The first pause after a failure.
    pub retry_first: Duration,
    /// The longest pause after a failure.
    pub retry_most: Duration,
    /// When it stops trying for a while.
    pub breaker: breaker::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_events: 5_000,
            batch_bytes: 1 << 20,
            timeout: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(30),
            breaker: breaker::Settings::default(),
        }
    }
}

/// Where to go back, or forward, to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The oldest event that is there.
    Oldest,
    /// What comes next.
    Now,
    /// The first event at or after an instant.
    At(Stamp),
    /// The same, but never forward.
    BackTo(Stamp),
}

/// What an operator asks of a sink.
#[derive(Debug)]
pub enum Command {
    /// Send nothing until told to.
    Pause,
    /// Go on, at once, also after a refusal or while the breaker is open.
    Resume,
    /// Go on from another place.
    Rewind(To, oneshot::Sender<Result<(), String>>),
    /// Tell whether the receiver is there.
    Check(oneshot::Sender<Result<(), String>>),
    /// Settle what was sent, and end.
    Stop(oneshot::Sender<()>),
}

/// What a pump is made of.
pub struct Parts {
    /// The spool.
    pub spool: Spool,
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// Its name.
    pub name: String,
    /// Where it begins without a cursor.
    pub from: From,
    /// Which events it gets.
    pub filter: Filter,
    /// What it may not see.
    pub redaction: Arc<Redaction>,
    /// How it is driven.
    pub settings: Settings,
    /// Where its state is shown.
    pub cell: Arc<SinkCell>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
}

/// Drives one sink.
pub struct Pump {
    pub(super) parts: Parts,
    pub(super) cursor: Cursor,
    pub(super) reader: Reader,
    news: watch::Receiver<u64>,
    pub(super) dead: DeadLetters,
    pub(super) breaker: Breaker,
    pub(super) attempt: u32,
    pub(super) paused: bool,
    /// When the last batch was sent.
    pub(super) sent_at: Option<Duration>,
    /// What comes waits for more.
    gathering: bool,
    /// Events in the next batch at most; less than the settings' after a batch was too large.
    pub(super) limit: usize,
    /// What was sent and has not settled: when it will have, and how far the sink is then.
    pub(super) unsettled: VecDeque<(Duration, Progress)>,
    synced: Duration,
}

pub(super) enum Next {
    Go,
    Stop,
}

/// Until somebody waits for what the sink has gathered.
async fn hurried(sink: &mut dyn Sink) {
    match sink.keeper() {
        Some(keeper) => keeper.asked().await,
        None => std::future::pending().await,
    }
}

impl Pump {
    /// Opens the sink's cursor.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn open(parts: Parts) -> Result<Self, SpoolError> {
        let (cursor, reader) = parts.spool.cursor(&parts.name, parts.from)?;
        let dead = DeadLetters::new(parts.spool.dir(), &parts.name);
        let progress = cursor.progress();
        parts.cell.progress(progress);
        let path = dead.path().display().to_string();
        let paused = pause::is(&parts.spool, &parts.name);
        parts.cell.change(|view| {
            view.state = if paused { "paused" } else { "idle" }.to_owned();
            view.dead_letter_file = Some(path);
        });
        Ok(Self {
            news: parts.spool.subscribe(),
            breaker: Breaker::new(parts.settings.breaker),
            limit: parts.settings.batch_events,
            cursor,
            reader,
            dead,
            attempt: 0,
            paused,
            sent_at: None,
            gathering: false,
            unsettled: VecDeque::new(),
            synced: Duration::ZERO,
            parts,
        })
    }

    /// Drives it until it is told to stop.
    ///
    /// # Errors
    /// [`SpoolError::Io`]: whoever started it starts it again, from the cursor.
    pub async fn run(
        mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), SpoolError> {
        self.tell_oldest()?;
        loop {
            while let Ok(command) = commands.try_recv() {
                if let Next::Stop = self.obey(command).await? {
                    return Ok(());
                }
            }
            let pause = self.turn().await?;
            if pause.is_zero() {
                // Others on this thread have their turn.
                tokio::task::yield_now().await;
                continue;
            }
            let idle = !self.paused && self.attempt == 0;
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => if let Next::Stop = self.obey(command).await? { return Ok(()) },
                    None => return Ok(()),
                },
                () = hurried(&mut *self.parts.sink), if idle => {}
                changed = self.news.changed(), if idle && !self.gathering => {
                    // The spool is held by this very pump: its sender lives.
                    let _ = changed;
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.parts.clock.monotonic()
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.parts.clock.now_utc().into()
    }

    pub(super) fn state(&self, state: &str) {
        let breaker = self.breaker.as_str();
        self.parts.cell.change(|view| {
            if view.state != state {
                state.clone_into(&mut view.state);
            }
            if view.breaker != breaker {
                breaker.clone_into(&mut view.breaker);
            }
        });
    }

    /// One batch, if there is one; how long to wait then.
    async fn turn(&mut self) -> Result<Duration, SpoolError> {
        self.settle()?;
        self.sync();
        let asked = self.parts.sink.keeper().is_some_and(Keeper::is_asked);
        if self.paused {
            self.caught_up();
            self.state("paused");
            return Ok(LOOK);
        }
        let limit = match self.breaker.permit(self.now()) {
            Permit::Go => self.limit,
            Permit::Probe => self.limit.min(10),
            Permit::Wait(pause) => {
                self.caught_up();
                self.state("retrying");
                return Ok(pause);
            }
        };
        if let Some(pause) = self.gathers(asked) {
            self.state("idle");
            return Ok(pause.min(LOOK));
        }
        self.news.borrow_and_update();
        let read = self.reader.next(limit, self.parts.settings.batch_bytes)?;
        if read.events.is_empty() {
            self.done(&read, (0, 0, 0))?;
            self.caught_up();
            self.parts.cell.change(|view| view.lag_ms = 0);
            self.state("idle");
            let due = self
                .unsettled
                .front()
                .map(|(at, _)| at.saturating_sub(self.now()));
            return Ok(due.unwrap_or(LOOK).max(Duration::from_millis(1)));
        }
        self.state(if self.attempt == 0 {
            "running"
        } else {
            "retrying"
        });
        let age = self.stamp().millis() - read.events[0].at.millis();
        self.parts
            .cell
            .change(|view| view.lag_ms = u64::try_from(age).unwrap_or(0));
        self.deliver(read).await
    }

    /// Who waited when this turn began has what there was then, or will not have it for now.
    pub(super) fn caught_up(&mut self) {
        if let Some(keeper) = self.parts.sink.keeper() {
            keeper.met();
        }
    }

    /// How long to wait for more, where the sink wants that, nobody waits for it, and less than a batch is there.
    fn gathers(&mut self, asked: bool) -> Option<Duration> {
        let gathers = match asked {
            true => Duration::ZERO,
            false => self.parts.sink.gathers_for(),
        };
        let due = self.sent_at.map_or(Duration::ZERO, |at| at + gathers);
        let pause = due.saturating_sub(self.now());
        let there = self.parts.spool.end() - self.cursor.progress().position;
        let full = there >= self.parts.settings.batch_bytes as u64;
        self.gathering = !pause.is_zero() && !full;
        self.gathering.then_some(pause)
    }

    /// Reads again from what has settled.
    pub(super) fn again(&mut self) {
        let progress = self.cursor.progress();
        self.unsettled.clear();
        self.reader.seek(progress.position, progress.index);
    }

    /// What was read is done with.
    pub(super) fn done(
        &mut self,
        read: &Read,
        (sent, filtered, dead): (u64, u64, u64),
    ) -> Result<(), SpoolError> {
        let before = self
            .unsettled
            .back()
            .map_or(self.cursor.progress(), |(_, p)| *p);
        if before.position == read.position {
            return Ok(());
        }
        let progress = Progress {
            position: read.position,
            index: read.index,
            sent: before.sent + sent,
            filtered: before.filtered + filtered,
            discarded: before
                .discarded
                .saturating_add(dead)
                .saturating_add(read.lost),
        };
        match self.parts.sink.settles_after() {
            Duration::ZERO => self.commit(progress),
            wait => {
                self.unsettled.push_back((self.now() + wait, progress));
                Ok(())
            }
        }
    }

    pub(super) fn commit(&mut self, progress: Progress) -> Result<(), SpoolError> {
        self.cursor.commit(progress)?;
        self.parts.cell.progress(progress);
        Ok(())
    }

    /// Moves the cursor over what has settled by now.
    pub(super) fn settle(&mut self) -> Result<(), SpoolError> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        if !self.parts.sink.still_there() {
            self.parts.cell.failed(
                self.stamp(),
                "the connection ended; what may be lost is sent again",
            );
            self.again();
            return Ok(());
        }
        let now = self.now();
        let mut last = None;
        while let Some((_, progress)) = self.unsettled.pop_front_if(|(at, _)| *at <= now) {
            last = Some(progress);
        }
        last.map_or(Ok(()), |progress| self.commit(progress))
    }

    /// Makes the cursor durable now and then, without waiting for the disk.
    fn sync(&mut self) {
        let now = self.now();
        if now.saturating_sub(self.synced) < SYNC {
            return;
        }
        self.synced = now;
        if let Some(sync) = self.cursor.unsynced() {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = sync.sync_data() {
                    tracing::warn!(%error, "a log cursor could not be synced; a power cut would repeat events");
                }
            });
        }
    }
}
