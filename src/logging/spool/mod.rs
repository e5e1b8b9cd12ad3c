//! The spool of a node: every event on disk, in order, before any sink sees it.
//!
//! Append-only segments with a checksum for each record, one cursor for each sink. Sources note how far
//! they have read in the same write as the events that they read, so that after SIGKILL or a power cut
//! they go on where the spool ends. Written by the sources, read by the sinks through [`Reader`]; synced
//! and trimmed by the `spool` actor.
//!
//! ```text
//! record.rs   records as bytes                  (pure)
//! recover.rs  what can be read of damaged bytes (pure)
//! batch.rs    records that are appended together
//! files.rs    segment files
//! cursor.rs   how far a sink has come
//! reader.rs   events from a position on
//! opening.rs  what a former process left
//! room.rs     which segments go
//! state.rs    what is known of the segments
//! ```
//!
//! A position is a byte offset over the whole life of the spool; a segment is named by its first one.

mod batch;
mod cursor;
mod files;
mod opening;
mod reader;
pub mod record;
pub mod recover;
mod room;
mod state;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Line};
pub use cursor::{Cursor, Progress};
pub use reader::{Read, Reader};

use record::Kind;
use state::{Span, State};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Why the spool cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk.
    #[error(
        "the log spool cannot {action} {path}: {error}; free space or mend the disk, lines wait meanwhile"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is full, and its policy is to wait.
    #[error(
        "the log spool is full ({size} bytes): a sink is behind; lines wait until it has caught up"
    )]
    Full {
        /// Its size.
        size: u64,
    },
}

/// What happens when the spool is full because a sink is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Sources wait. Apps do not: the engine keeps their output, until it rotates it away.
    Block,
    /// The oldest segment goes; what a sink loses by that is counted.
    DropOldest,
}

/// How a spool is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder; made when absent.
    pub dir: PathBuf,
    /// The size at which a segment is closed.
    pub segment_bytes: u64,
    /// The most that all segments may take.
    pub max_bytes: u64,
    /// What happens then.
    pub when_full: WhenFull,
    /// How long what every sink has read stays, as far as there is room: to be sent again.
    pub keep: Duration,
}

impl Options {
    /// 32 MiB segments, 2 GiB in all, the oldest dropped.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 32 << 20,
            max_bytes: 2 << 30,
            when_full: WhenFull::DropOldest,
            keep: Duration::ZERO,
        }
    }
}

/// What was found at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes at the end that were torn, and are gone.
    pub torn_bytes: u64,
    /// Bytes within the newest segments that belong to no whole record.
    pub damaged_bytes: u64,
    /// Events that these held, where that can be told.
    pub lost_events: u64,
}

/// Figures of a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events over its whole life.
    pub events: u64,
    /// The position of its end.
    pub end: u64,
    /// The bytes of its segments.
    pub size: u64,
    /// Bytes that went because it was full.
    pub dropped_bytes: u64,
    /// How often a source was told to wait.
    pub refusals: u64,
}

/// Where a sink without a cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the oldest event that is there.
    Oldest,
    /// With what comes next.
    Now,
}

/// The spool; clones share it.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool")
            .field("dir", &self.inner.options.dir)
            .finish_non_exhaustive()
    }
}

struct Inner {
    options: Options,
    state: Mutex<State>,
    end: AtomicU64,
    durable: AtomicU64,
    news: watch::Sender<u64>,
}

impl Spool {
    /// Opens the spool, recovering what a crash left. Damage is no reason not to start.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when its folder cannot be used.
    pub fn open(options: Options) -> Result<(Self, Recovered), SpoolError> {
        let dir = options.dir.clone();
        files::make_dir(&files::segments_dir(&dir))?;
        files::make_dir(&files::cursors_dir(&dir))?;
        let mut found = opening::recovery(&dir)?;
        let base = found.spans.back().map_or(0, |span| span.end);
        let index = found.index;
        let file = Arc::new(files::create(&dir, base)?);
        found.spans.retain(|span| span.base != base);
        found.spans.push_back(Span {
            base,
            first_index: index,
            end: base,
            closed: false,
        });
        let state = State {
            spans: found.spans,
            file,
            index,
            sources: HashMap::new(),
            places: found.places,
            buffer: Vec::new(),
            dropped_bytes: 0,
            refusals: 0,
            broken: false,
            needed: 0,
        };
        let inner = Inner {
            options,
            state: Mutex::new(state),
            end: AtomicU64::new(base),
            durable: AtomicU64::new(base),
            news: watch::channel(base).0,
        };
        let spool = Self {
            inner: Arc::new(inner),
        };
        spool.snapshot()?;
        files::sync_dir(&files::segments_dir(&dir))?;
        Ok((spool, found.recovered))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.inner.options.dir
    }

    /// The position after the last record.
    pub fn end(&self) -> u64 {
        self.inner.end.load(Ordering::Acquire)
    }

    /// The position up to which everything survives a power cut.
    pub fn durable(&self) -> u64 {
        self.inner.durable.load(Ordering::Acquire)
    }

    /// Wakes when something was appended.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.news.subscribe()
    }

    /// Its figures.
    pub fn figures(&self) -> Figures {
        let state = self.lock();
        Figures {
            events: state.index,
            end: self.end(),
            size: state.size(),
            dropped_bytes: state.dropped_bytes,
            refusals: state.refusals,
        }
    }

    /// Appends a batch: all of it, in one write. Takes it out of `batch`, unless there was an error.
    ///
    /// # Errors
    /// [`SpoolError::Full`] where the policy is to wait, [`SpoolError::Io`]. Nothing of the batch is in the
    /// spool then.
    pub fn append(&self, batch: &mut Batch) -> Result<(), SpoolError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut state = self.lock();
        let options = &self.inner.options;
        let full = state.size() + batch.size() as u64 > options.max_bytes;
        if full && !self.make_room(&mut state, batch.size() as u64)? {
            state.refusals += 1;
            let size = state.size();
            return Err(SpoolError::Full { size });
        }
        let last = state.spans.back().copied();
        let long = last.is_some_and(|span| span.end - span.base >= options.segment_bytes);
        if long || state.broken {
            self.roll(&mut state)?;
        }
        let mut buffer = std::mem::take(&mut state.buffer);
        buffer.clear();
        let (places, index) = state.fill(batch, &mut buffer);
        let written = self.write(&mut state, &buffer);
        if buffer.capacity() <= 4 << 20 {
            state.buffer = buffer;
        }
        if written.is_err() {
            // What the batch defined is not in the segment.
            state.sources.clear();
        }
        written?;
        state.index = index;
        for (key, place) in places {
            match place {
                Some(place) => state.places.insert(key, place),
                None => state.places.remove(&key),
            };
        }
        drop(state);
        batch.clear();
        Ok(())
    }

    /// How far the source of this key was read, by what its reader noted.
    pub fn place(&self, key: &str) -> Option<Vec<u8>> {
        self.lock().places.get(key).cloned()
    }

    /// The keys of all sources that are not forgotten.
    pub fn places(&self) -> Vec<String> {
        self.lock().places.keys().cloned().collect()
    }

    /// Makes all that was appended before this call survive a power cut. Blocks on the disk.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn sync(&self) -> Result<(), SpoolError> {
        let (file, end, base) = {
            let state = self.lock();
            let base = state.spans.back().map_or(0, |span| span.base);
            (Arc::clone(&state.file), self.end(), base)
        };
        if self.durable() >= end {
            return Ok(());
        }
        let path = files::path(self.dir(), base);
        file.sync_data()
            .map_err(|e| files::failed("sync", &path, e))?;
        self.inner.durable.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// A sink's cursor, and a reader that begins there.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn cursor(&self, name: &str, from: From) -> Result<(Cursor, Reader), SpoolError> {
        let (mut cursor, found) = Cursor::open(self.dir(), name)?;
        let state = self.lock();
        let (oldest, first) = state
            .spans
            .front()
            .map_or((0, 0), |s| (s.base, s.first_index));
        let (end, index) = (self.end(), state.index);
        drop(state);
        let mut progress = found.unwrap_or(match from {
            From::Oldest => Progress {
                position: oldest,
                index: first,
                ..Progress::default()
            },
            From::Now => Progress {
                position: end,
                index,
                ..Progress::default()
            },
        });
        if progress.position > end || progress.index > index {
            // A power cut took what this sink had already sent; what sources read again comes after it.
            progress.position = progress.position.min(end);
            progress.index = progress.index.min(index);
        }
        cursor.commit(progress)?;
        let reader = Reader::new(self.clone(), progress.position, progress.index);
        Ok((cursor, reader))
    }

    /// A reader that begins at a place.
    pub fn reader(&self, position: u64, index: u64) -> Reader {
        Reader::new(self.clone(), position, index)
    }

    /// The position and index of the oldest event that is there, or of what comes next.
    pub fn bound(&self, from: From) -> (u64, u64) {
        let state = self.lock();
        match (from, state.spans.front()) {
            (From::Oldest, Some(span)) => (span.base, span.first_index),
            _ => (self.end(), state.index),
        }
    }

    /// The segment that holds `position`, or the first one after it.
    fn span_of(&self, position: u64) -> Option<Span> {
        let state = self.lock();
        state.spans.iter().find(|span| position < span.end).copied()
    }

    /// Appends the places of all sources: each segment begins with them, so that the newest is enough.
    fn snapshot(&self) -> Result<(), SpoolError> {
        let mut state = self.lock();
        self.write_places(&mut state)
    }

    fn write_places(&self, state: &mut State) -> Result<(), SpoolError> {
        let mut buffer = Vec::new();
        for (key, place) in &state.places {
            record::write(
                Kind::Place,
                state.index,
                &record::keyed(key, place),
                &mut buffer,
            );
        }
        // Its end, and how many there are: a torn snapshot is none.
        let count = (state.places.len() as u64).to_le_bytes();
        record::write(
            Kind::Forget,
            state.index,
            &record::keyed("", &count),
            &mut buffer,
        );
        self.write(state, &buffer)
    }

    fn write(&self, state: &mut State, bytes: &[u8]) -> Result<(), SpoolError> {
        let Some(span) = state.spans.back_mut() else {
            return Ok(());
        };
        let path = files::path(&self.inner.options.dir, span.base);
        if let Err(error) = (&*state.file).write_all(bytes) {
            // Back to where the last whole record ends; if even that fails, the segment is closed.
            let cut = state.file.set_len(span.end - span.base);
            state.broken = cut.is_err();
            return Err(files::failed("write", &path, error));
        }
        span.end += bytes.len() as u64;
        let end = span.end;
        self.inner.end.store(end, Ordering::Release);
        self.inner.news.send_replace(end);
        Ok(())
    }

    /// Closes the segment and begins the next one.
    fn roll(&self, state: &mut State) -> Result<(), SpoolError> {
        let dir = &self.inner.options.dir;
        let base = self.end();
        let path = files::path(dir, base);
        state
            .file
            .sync_data()
            .map_err(|e| files::failed("sync", &path, e))?;
        self.inner.durable.fetch_max(base, Ordering::AcqRel);
        let file = files::create(dir, base)?;
        if let Some(span) = state.spans.back_mut() {
            span.closed = true;
        }
        state.file = Arc::new(file);
        state.broken = false;
        state.sources.clear();
        let first_index = state.index;
        state.spans.push_back(Span {
            base,
            first_index,
            end: base,
            closed: false,
        });
        files::sync_dir(&files::segments_dir(dir))?;
        self.write_places(state)
    }
}
