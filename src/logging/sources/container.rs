//! All that one container writes: its standard output and error by the engine's file, and the log files that
//! its proc declares. Made and driven by the container's `logs` actor; what blocks runs on a thread for that.

use super::file::{FileSource, Format, Mark};
use crate::domain::log::{FILE, LineFormat, LogSource};
use crate::logging::pipe::Pipeline;
use crate::logging::spool::{Batch, SpoolError};
use crate::ports::runtime::LogOrigin;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Notify;

/// Bytes that are read of a file at a time.
const TURN: usize = 256 << 10;
/// Turns of a file before others have theirs.
const TURNS: u32 = 8;

/// A log file that a proc declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredFile {
    /// As `lain.yaml` names it.
    pub name: String,
    /// Where it is on this host.
    pub path: PathBuf,
    /// What form its lines have.
    pub form: LineFormat,
}

/// What became of a round of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// There may be more.
    More,
    /// All that is there is in the spool.
    End,
    /// The spool is full, and its policy is to wait.
    Full,
}

/// Reads one container.
pub struct ContainerReader {
    pipeline: Arc<Pipeline>,
    files: Vec<FileSource>,
    batch: Batch,
    /// The last lines, for crash reports: how many are kept, and how many there were.
    last: VecDeque<String>,
    keep: usize,
    seen: u64,
}

impl ContainerReader {
    /// Goes on where the spool says. `declared` are the log files of the proc. `keep` is the number of last lines that [`ContainerReader::last_lines`] gives.
    pub fn open(
        pipeline: &Arc<Pipeline>,
        source: &Arc<LogSource>,
        origin: &LogOrigin,
        declared: &[DeclaredFile],
        keep: usize,
    ) -> Self {
        let mark = |key: &str| {
            pipeline
                .spool
                .place(key)
                .and_then(|bytes| Mark::parse(&bytes))
        };
        let rule = pipeline.multiline_of(source);
        let mut files = Vec::new();
        if let Some((path, format)) = &origin.file {
            let key = &source.container_id;
            let format = Format::Engine(*format);
            files.push(FileSource::open(
                path,
                format,
                Arc::clone(source),
                key,
                mark(key).as_ref(),
                rule.clone(),
            ));
        }
        for DeclaredFile { name, path, form } in declared {
            let of_file = Arc::new(LogSource {
                source_type: FILE.to_owned(),
                file: Some(name.clone()),
                ..(**source).clone()
            });
            let key = format!("{}/{name}", source.container_id);
            let mark = mark(&key);
            let rule = rule.clone();
            let file = FileSource::open(path, Format::Plain, of_file, &key, mark.as_ref(), rule);
            files.push(file.of_form(*form));
        }
        Self {
            pipeline: Arc::clone(pipeline),
            files,
            batch: Batch::new(),
            last: VecDeque::new(),
            keep,
            seen: 0,
        }
    }

    /// Has `reader` told of news in the files' folders. Whether it will be told of all of them.
    pub fn watch(&self, reader: &Arc<Notify>) -> bool {
        let mut files = self.files.iter();
        files.all(|file| self.pipeline.watch(file.path(), reader))
    }

    /// Whether a round would find something. Cheap: no file is read.
    pub fn has_news(&self) -> bool {
        !self.batch.is_empty() || self.files.iter().any(FileSource::has_news)
    }

    /// Reads some of each file into the spool. Blocks on the disk.
    ///
    /// # Errors
    /// A sentence: which file, or what the spool said. The next round goes on at the same place.
    pub fn round(&mut self) -> Result<Round, String> {
        // What the spool has not taken yet goes first.
        if !self.batch.is_empty() {
            match self.pipeline.spool.append(&mut self.batch) {
                Ok(()) => {}
                Err(SpoolError::Full { .. }) => return Ok(Round::Full),
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut end = true;
        for n in 0..self.files.len() {
            for turn in 1..=TURNS {
                let polled = self.poll(n)?;
                match self.pipeline.spool.append(&mut self.batch) {
                    Ok(()) => {}
                    Err(SpoolError::Full { .. }) => return Ok(Round::Full),
                    Err(error) => return Err(error.to_string()),
                }
                if polled {
                    break;
                }
                end &= turn < TURNS;
            }
        }
        Ok(if end { Round::End } else { Round::More })
    }

    fn poll(&mut self, n: usize) -> Result<bool, String> {
        let clock = &self.pipeline.clock;
        let time = (clock.now_utc().into(), clock.monotonic());
        let (keep, last, seen) = (self.keep, &mut self.last, &mut self.seen);
        let mut note = |line: &[u8]| {
            *seen += 1;
            if last.len() == keep {
                last.pop_front();
            }
            if keep > 0 {
                last.push_back(String::from_utf8_lossy(&line[..line.len().min(4096)]).into_owned());
            }
        };
        let file = &mut self.files[n];
        let polled = file.poll(TURN, time, &mut self.batch, &mut note);
        polled
            .map(|p| p.end)
            .map_err(|e| format!("the output {} cannot be read: {e}", file.key()))
    }

    /// Puts what is held into the spool, since the container has ended: a last line without an end, an open
    /// group of lines.
    ///
    /// # Errors
    /// As [`ContainerReader::round`].
    pub fn finish(&mut self) -> Result<(), String> {
        let clock = &self.pipeline.clock;
        let time = (clock.now_utc().into(), clock.monotonic());
        for file in &mut self.files {
            file.finish(time, &mut self.batch, &mut |_| {})
                .map_err(|e| format!("the output {} cannot be read: {e}", file.key()))?;
        }
        self.pipeline
            .spool
            .append(&mut self.batch)
            .map_err(|e| e.to_string())
    }

    /// The last lines since the last call, and how many there were in all.
    pub fn take_lines(&mut self) -> (VecDeque<String>, u64) {
        (
            std::mem::take(&mut self.last),
            std::mem::take(&mut self.seen),
        )
    }

    /// Whether it has a file to read at all.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}
