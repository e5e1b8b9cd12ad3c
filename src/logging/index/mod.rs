//! The embedded log index: tantivy in partitions of one day each (UTC).
//!
//! [`Index`] takes events (`ports::log_index::LogIndex`) and answers queries (`LogSearch`, in `search`). A
//! batch is acknowledged once its commit is on disk; batches that wait are committed together. A day that
//! is damaged is set aside and told of, and the others go on.

pub mod columns;
pub mod compile;
pub mod dictionary;
pub mod docsets;
pub mod encode;
#[cfg(test)]
mod index_tests;
pub mod layout;
pub mod partition;
#[cfg(test)]
mod property_tests;
pub mod queries;
mod rebuild;
pub mod scan;
pub mod search;
#[cfg(test)]
mod search_tests;
pub mod source;
pub mod values;
pub mod writer;

use crate::logging::query::evaluate::Event;
use crate::logging::query::{Fields, fields};
use crate::ports::clock::Clock;
use crate::ports::freshness::Freshness;
use crate::ports::log_index::{
    Appended, IndexEvent, IndexStatus, LogIndex, LogIndexError, MissingDay,
};
use async_trait::async_trait;
use chrono::{Days, NaiveDate};
use layout::Layout;
use partition::{Partition, PartitionError};
use rebuild::Rebuild;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Notify, broadcast, oneshot};
use writer::Job;

/// How often what is too old is removed.
const TEND_EVERY: Duration = Duration::from_secs(60);
/// How long events are gathered between two commits, while nobody searches.
const GATHER: Duration = Duration::from_secs(10);
/// How long a search waits for what was gathered.
const FRESH: Duration = Duration::from_millis(500);
/// Events that a slow reader of the live tail may lag behind.
const TAIL: usize = 4096;

/// How an index is kept.
#[derive(Clone)]
pub struct Options {
    /// Where; none: in memory.
    pub folder: Option<PathBuf>,
    /// The fields whose type is given, whatever values come.
    pub fields: Arc<Fields>,
    /// Days that are kept, today included; older ones are removed.
    pub keep_days: u32,
    /// Bytes that are kept; beyond them the oldest days are removed, but never today's.
    pub keep_bytes: u64,
    /// Bytes of memory for events that are not yet on disk.
    pub memory: usize,
}

impl Options {
    /// In this folder, with lain's own fields: 30 days, 20 GiB.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder: Some(folder),
            fields: Arc::new(fields::of_events()),
            keep_days: 30,
            keep_bytes: 20 << 30,
            memory: 64 << 20,
        }
    }

    /// In memory, for tests.
    pub fn in_memory(fields: Fields) -> Self {
        Self {
            folder: None,
            fields: Arc::new(fields),
            keep_days: 100_000,
            keep_bytes: u64::MAX,
            memory: 20 << 20,
        }
    }
}

/// What the writer and the readers share.
pub struct Shared {
    options: Options,
    layout: Arc<Layout>,
    clock: Arc<dyn Clock>,
    days: RwLock<BTreeMap<NaiveDate, Arc<Partition>>>,
    damaged: Mutex<Vec<String>>,
    rebuild: Mutex<Rebuild>,
    appended: AtomicU64,
    duplicates: AtomicU64,
}

/// The embedded log index.
pub struct Index {
    shared: Arc<Shared>,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    tail: broadcast::Sender<Arc<Event>>,
    freshness: Arc<Freshness>,
    /// A search has failed: something may be damaged.
    suspicion: Notify,
}

impl Index {
    /// Opens what is there and begins to write.
    ///
    /// # Errors
    /// The folder cannot be used. A damaged day is no error: it is set aside.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Arc<Self>, LogIndexError> {
        let shared = Arc::new(Shared {
            layout: Arc::new(Layout::new()),
            days: RwLock::default(),
            damaged: Mutex::default(),
            rebuild: Mutex::default(),
            appended: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            options,
            clock,
        });
        shared.load()?;
        let index = Self {
            shared,
            jobs: Mutex::new(None),
            thread: Mutex::new(None),
            tail: broadcast::channel(TAIL).0,
            freshness: Arc::default(),
            suspicion: Notify::new(),
        };
        index.begin()?;
        Ok(Arc::new(index))
    }

    fn jobs(&self) -> MutexGuard<'_, Option<Sender<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Result<(), LogIndexError> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("log-index".to_owned());
        let started = thread.spawn(move || writer::run(shared, &receiver));
        if let Err(error) = &started {
            let why = format!("its thread does not start: {error}");
            return Err(LogIndexError::Unavailable(why));
        }
        *self.jobs() = Some(sender);
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = started.ok();
        Ok(())
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> Job,
    ) -> Result<T, LogIndexError> {
        let gone = || LogIndexError::Unavailable("its writer has ended".to_owned());
        let (sender, answer) = oneshot::channel();
        match &*self.jobs() {
            Some(jobs) => jobs.send(job(sender)).map_err(|_| gone())?,
            None => return Err(gone()),
        }
        answer.await.map_err(|_| gone())
    }

    /// The days that overlap a time, newest first.
    fn days_between(&self, low: i64, high: i64) -> Vec<Arc<Partition>> {
        let (from, to) = (writer::day_of(low), writer::day_of(high));
        let days = self
            .shared
            .days
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        days.iter()
            .rev()
            .filter(|(day, _)| from <= **day && **day <= to)
            .map(|(_, p)| Arc::clone(p))
            .collect()
    }

    /// Reads each day that is not written to any more against its checksums; sets damaged ones aside.
    async fn verify(&self) -> Result<(), LogIndexError> {
        let today = self.shared.clock.now_utc().date_naive();
        for partition in self.days_between(i64::MIN, i64::MAX) {
            let day = partition.day;
            if day >= today || partition.folder.is_none() {
                continue;
            }
            let verified = tokio::task::spawn_blocking(move || partition.verify()).await;
            if let Ok(Err(why)) = verified {
                self.ask(|answer| Job::SetAside(day, why, answer)).await?;
            }
        }
        Ok(())
    }
}

impl Drop for Index {
    /// Waits until what waits is written, so that the folder can be opened again at once.
    fn drop(&mut self) {
        *self.jobs() = None;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic in it has been told of already.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl LogIndex for Index {
    async fn append(&self, events: Vec<IndexEvent>) -> Result<Appended, LogIndexError> {
        if events.is_empty() {
            return Ok(Appended::default());
        }
        if self.tail.receiver_count() > 0 {
            for event in &events {
                // What is no event is refused below.
                if let Ok(mut parsed) = serde_json::from_slice::<Event>(&event.json) {
                    let at = event.at.timestamp_nanos_opt().unwrap_or_default();
                    parsed.insert("timestamp".to_owned(), encode::timestamp(at).into());
                    parsed.insert("event_id".to_owned(), event.id.clone().into());
                    // Nobody may be listening any more.
                    let _ = self.tail.send(Arc::new(parsed));
                }
            }
        }
        self.ask(|answer| Job::Append(events, answer)).await?
    }

    async fn tend(&self) -> LogIndexError {
        if let Err(error) = self.verify().await {
            return error;
        }
        loop {
            match self.ask(Job::Retain).await {
                Ok(Ok(gone)) => {
                    for day in gone {
                        tracing::info!(%day, "a day of the log index was removed: it is too old, or the index too large");
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "will be tried again"),
                Err(error) => return error,
            }
            tokio::select! {
                () = tokio::time::sleep(TEND_EVERY) => {}
                () = self.suspicion.notified() => {
                    if let Err(error) = self.verify().await {
                        return error;
                    }
                }
            }
        }
    }

    async fn open(&self) -> Result<(), LogIndexError> {
        // A writer that still works stays.
        let works = self.ask(Job::Retain).await.is_ok();
        match works {
            true => Ok(()),
            false => self.begin(),
        }
    }

    fn status(&self) -> IndexStatus {
        let days = self.days_between(i64::MIN, i64::MAX);
        IndexStatus {
            events: days.iter().map(|p| p.events()).sum(),
            bytes: days.iter().map(|p| p.bytes()).sum(),
            days: days.iter().rev().map(|p| p.day.to_string()).collect(),
            damaged: self
                .shared
                .damaged
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            appended: self.shared.appended.load(Ordering::Relaxed),
            duplicates: self.shared.duplicates.load(Ordering::Relaxed),
        }
    }

    fn gathers_for(&self) -> Duration {
        match self.tail.receiver_count() {
            0 => GATHER,
            _ => Duration::ZERO,
        }
    }

    fn freshness(&self) -> Option<Arc<Freshness>> {
        Some(Arc::clone(&self.freshness))
    }

    fn missing(&self) -> Vec<MissingDay> {
        self.shared.rebuild().days()
    }

    fn sent_again(&self, day: NaiveDate, node: &str) -> Result<(), LogIndexError> {
        self.shared.rebuild().done(day, node).map_err(unnoted)
    }

    fn rebuilt(&self, day: NaiveDate) -> Result<(), LogIndexError> {
        self.shared.rebuild().remove(day).map_err(unnoted)
    }
}

fn unnoted(error: std::io::Error) -> LogIndexError {
    LogIndexError::Failed {
        action: "note which days are built again".to_owned(),
        reason: error.to_string(),
    }
}

impl Shared {
    /// Opens every day's folder.
    fn load(&self) -> Result<(), LogIndexError> {
        let Some(folder) = &self.options.folder else {
            return Ok(());
        };
        let failed = |reason: std::io::Error| LogIndexError::Failed {
            action: format!("open its folder {}", folder.display()),
            reason: reason.to_string(),
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        *self.rebuild() = Rebuild::open(folder);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with("damaged-") {
                self.damaged()
                    .push(format!("{}: set aside before", folder.join(name).display()));
            }
            let Ok(day) = name.parse::<NaiveDate>() else {
                continue;
            };
            match Partition::open(day, &folder.join(name), &self.layout) {
                Ok(partition) => {
                    let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
                    days.insert(day, Arc::new(partition));
                }
                Err(error) => self.set_aside(day, &error.to_string()),
            }
        }
        Ok(())
    }

    fn rebuild(&self) -> MutexGuard<'_, Rebuild> {
        self.rebuild.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self) -> MutexGuard<'_, Vec<String>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a damaged day out of the way and says so.
    fn set_aside(&self, day: NaiveDate, why: &str) {
        self.days
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&day);
        let Some(folder) = &self.options.folder else {
            return;
        };
        let aside = (1..)
            .map(|n| folder.join(format!("damaged-{day}-{n}")))
            .find(|path| !path.exists());
        let Some(aside) = aside else { return };
        let report = match std::fs::rename(folder.join(day.to_string()), &aside) {
            Ok(()) => format!("{}: {why}", aside.display()),
            Err(error) => format!(
                "{day}: {why}; and it cannot be moved to {}: {error}",
                aside.display()
            ),
        };
        tracing::error!(%day, report, "a day of the log index is damaged and was set aside; what nodes still have of it is indexed again");
        self.damaged().push(report);
        if let Err(error) = self.rebuild().add(day) {
            tracing::error!(%error, %day, "it cannot be noted that this day is to be indexed again");
        }
    }

    /// The partition of a day, made if there is none.
    fn partition(&self, day: NaiveDate) -> Result<Arc<Partition>, PartitionError> {
        if let Some(partition) = self
            .days
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&day)
        {
            return Ok(Arc::clone(partition));
        }
        let partition = match &self.options.folder {
            Some(folder) => {
                let made = Partition::open(day, &folder.join(day.to_string()), &self.layout)?;
                // The folder's own entry must survive too.
                std::fs::File::open(folder)?.sync_all()?;
                made
            }
            None => Partition::in_memory(day, &self.layout)?,
        };
        let partition = Arc::new(partition);
        let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
        days.insert(day, Arc::clone(&partition));
        Ok(partition)
    }

    /// The days that are too old or too much.
    fn surplus(&self) -> Vec<NaiveDate> {
        let today = self.clock.now_utc().date_naive();
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
        let sizes: Vec<(NaiveDate, u64)> = days.iter().map(|(day, p)| (*day, p.bytes())).collect();
        surplus(
            &sizes,
            today,
            self.options.keep_days,
            self.options.keep_bytes,
        )
    }

    fn remove(&self, day: NaiveDate) -> std::io::Result<()> {
        let partition = self
            .days
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&day);
        match partition.and_then(|p| p.folder.clone()) {
            // Who still searches it has its files mapped.
            Some(folder) => remove_folder(&folder),
            None => Ok(()),
        }
    }
}

/// Renamed first, so that a kill in the middle leaves no half day.
fn remove_folder(folder: &Path) -> std::io::Result<()> {
    let doomed = folder.with_extension("removed");
    if doomed.exists() {
        std::fs::remove_dir_all(&doomed)?;
    }
    std::fs::rename(folder, &doomed)?;
    std::fs::remove_dir_all(doomed)
}

/// The days to remove: those older than `keep_days`, then the oldest while there are more bytes than `keep_bytes`.
fn surplus(
    days: &[(NaiveDate, u64)],
    today: NaiveDate,
    keep_days: u32,
    keep_bytes: u64,
) -> Vec<NaiveDate> {
    let first = today
        .checked_sub_days(Days::new(u64::from(keep_days.max(1)) - 1))
        .unwrap_or(NaiveDate::MIN);
    let mut bytes: u64 = days.iter().map(|(_, bytes)| bytes).sum();
    let mut gone = Vec::new();
    for (day, size) in days {
        if *day < first || (bytes > keep_bytes && *day < today) {
            gone.push(*day);
            bytes -= size;
        }
    }
    gone
}
