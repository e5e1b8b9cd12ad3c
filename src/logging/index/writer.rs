//! The thread that writes: takes batches, commits those that wait together, answers them.
//!
//! After any failure to write, what is half done is thrown away and begun anew from what is committed.

use super::Shared;
use super::encode::{Key, key};
use super::partition::{Partition, PartitionError, Writing};
use crate::ports::log_index::{Appended, IndexEvent, LogIndexError};
use chrono::{DateTime, NaiveDate};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use tokio::sync::oneshot;

/// Events that are committed together at most.
const TOGETHER: usize = 100_000;
/// Partitions that are written to at a time; the one longest unused is closed for another.
const OPEN: usize = 3;

/// What a batch is answered.
pub type Answer = Result<Appended, LogIndexError>;

/// What the thread is asked to do.
pub enum Job {
    /// Index these.
    Append(Vec<IndexEvent>, oneshot::Sender<Answer>),
    /// Remove what is too old or too much; the days removed.
    Retain(oneshot::Sender<Result<Vec<NaiveDate>, LogIndexError>>),
    /// Set a damaged day aside.
    SetAside(NaiveDate, String, oneshot::Sender<()>),
}

struct Writer {
    shared: Arc<Shared>,
    open: HashMap<NaiveDate, (Writing, u64)>,
    turn: u64,
}

/// Works until all senders are gone.
pub fn run(shared: Arc<Shared>, jobs: &Receiver<Job>) {
    let mut writer = Writer {
        shared,
        open: HashMap::new(),
        turn: 0,
    };
    let mut held = None;
    loop {
        let job = match held.take() {
            Some(job) => job,
            None => match jobs.recv() {
                Ok(job) => job,
                Err(_) => break,
            },
        };
        match job {
            Job::Append(events, answer) => {
                let mut batches = vec![(events, answer)];
                let mut count = batches[0].0.len();
                while count < TOGETHER {
                    match jobs.try_recv() {
                        Ok(Job::Append(events, answer)) => {
                            count += events.len();
                            batches.push((events, answer));
                        }
                        Ok(other) => {
                            held = Some(other);
                            break;
                        }
                        Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                    }
                }
                writer.append(batches);
            }
            Job::Retain(answer) => {
                // Whoever asked may be gone.
                let _ = answer.send(writer.retain());
            }
            Job::SetAside(day, why, answer) => {
                writer.open.remove(&day);
                writer.shared.set_aside(day, &why);
                let _ = answer.send(());
            }
        }
    }
    // All is committed; merges under way are given up and done again some other time.
    drop(writer);
}

impl Writer {
    fn append(&mut self, batches: Vec<(Vec<IndexEvent>, oneshot::Sender<Answer>)>) {
        let written: Result<Vec<Appended>, PartitionError> = self.write(&batches);
        if let Err(error) = &written {
            tracing::error!(%error, "the log index could not write a batch; it will be asked for again");
            // What was added but not committed must not count as known.
            self.open.clear();
        }
        let failed = written.as_ref().err().map(|error| self.failed(error));
        let mut answers = written.unwrap_or_default().into_iter();
        for (_, answer) in batches {
            let outcome = match &failed {
                Some(error) => Err(error.clone()),
                None => Ok(answers.next().unwrap_or_default()),
            };
            // Whoever asked may be gone; what is written stays.
            let _ = answer.send(outcome);
        }
    }

    fn failed(&self, error: &PartitionError) -> LogIndexError {
        let path = self
            .shared
            .options
            .folder
            .as_ref()
            .map(|f| f.display().to_string())
            .unwrap_or_default();
        match error.is_full_disk() {
            true => LogIndexError::DiskFull { path },
            false => LogIndexError::Failed {
                action: "write a batch of events".to_owned(),
                reason: error.to_string(),
            },
        }
    }

    fn write(
        &mut self,
        batches: &[(Vec<IndexEvent>, oneshot::Sender<Answer>)],
    ) -> Result<Vec<Appended>, PartitionError> {
        let mut appended = Vec::with_capacity(batches.len());
        let mut touched = Vec::new();
        for (events, _) in batches {
            let mut outcome = Appended::default();
            let mut days: BTreeMap<NaiveDate, Vec<(&IndexEvent, Key)>> = BTreeMap::new();
            for event in events {
                match key(event) {
                    Some(key) => days.entry(day_of(key.at)).or_default().push((event, key)),
                    None => outcome
                        .refused
                        .push((event.id.clone(), "its time is out of range".to_owned())),
                }
            }
            for (day, events) in days {
                let typed = Arc::clone(&self.shared.options.fields);
                let refused_before = outcome.refused.len();
                let writing = self.writing(day)?;
                let duplicates = writing.add(&events, &typed, &mut outcome.refused)?;
                outcome.duplicates += duplicates;
                outcome.added +=
                    events.len() - duplicates - (outcome.refused.len() - refused_before);
                if !touched.contains(&day) {
                    touched.push(day);
                }
            }
            appended.push(outcome);
        }
        for day in touched {
            if let Some((writing, _)) = self.open.get_mut(&day) {
                writing.commit()?;
            }
        }
        let sum = |of: fn(&Appended) -> usize| appended.iter().map(of).sum::<usize>() as u64;
        self.shared
            .appended
            .fetch_add(sum(|a| a.added), Ordering::Relaxed);
        self.shared
            .duplicates
            .fetch_add(sum(|a| a.duplicates), Ordering::Relaxed);
        Ok(appended)
    }

    fn writing(&mut self, day: NaiveDate) -> Result<&mut Writing, PartitionError> {
        self.turn += 1;
        let turn = self.turn;
        if !self.open.contains_key(&day) {
            while self.open.len() >= OPEN {
                let oldest = self
                    .open
                    .iter()
                    .min_by_key(|(_, (_, used))| *used)
                    .map(|(day, _)| *day);
                if let Some((mut writing, _)) = oldest.and_then(|day| self.open.remove(&day)) {
                    writing.commit()?;
                    writing.close()?;
                }
            }
            let partition: Arc<Partition> = self.shared.partition(day)?;
            let writing = Writing::begin(&partition, self.shared.options.memory)?;
            self.open.insert(day, (writing, turn));
        }
        match self.open.get_mut(&day) {
            Some((writing, used)) => {
                *used = turn;
                Ok(writing)
            }
            // Inserted just above.
            None => Err(PartitionError::Io(std::io::Error::other(
                "a day is not open",
            ))),
        }
    }

    fn retain(&mut self) -> Result<Vec<NaiveDate>, LogIndexError> {
        let gone = self.shared.surplus();
        for day in &gone {
            self.open.remove(day);
            self.shared
                .remove(*day)
                .map_err(|error| LogIndexError::Failed {
                    action: format!("remove {day}"),
                    reason: error.to_string(),
                })?;
        }
        Ok(gone)
    }
}

/// The day of a time (UTC).
pub fn day_of(at: i64) -> NaiveDate {
    DateTime::from_timestamp_nanos(at).date_naive()
}
