//! A process's raw output, put into rotated files line by line, each with its instant.
//!
//! Called by the attendant of a container. The process writes to plain files, so that it runs on
//! when lain ends; whoever attends it reads them. Each line that is kept says how far the raw file
//! was read, so that after any end of lain no line is lost or told twice. What was read is given back
//! to the disk by punching holes.

use super::Options;
use super::container::Container;
use crate::drivers::pidfd::watched;
use crate::ports::runtime::{OutputLine, OutputStream};
use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{FallocateFlags, fallocate, inotify};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// A longer line is cut into several.
const MAX_LINE: usize = 64 * 1024;
/// Raw output that is read at a time.
const CHUNK: usize = 64 * 1024;
/// Chunks of one file that are read in a row.
const CHUNKS: u32 = 16;
/// How much raw output is read before it is given back to the disk.
const PUNCH: u64 = 1 << 20;
/// After output was read: lets more of it gather.
const GATHER: Duration = Duration::from_millis(5);
/// Where changes cannot be watched: how often to look.
const LOOK: Duration = Duration::from_millis(200);

/// The file of `name` in rotation; 0 is written to.
pub(super) fn log_file(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.join("output.log"),
        n => path.join(format!("output.log.{n}")),
    }
}

/// One raw file, and how far it was read.
#[derive(Debug)]
struct Raw {
    stream: OutputStream,
    file: File,
    read: u64,
    punched: u64,
    /// A line whose end was not read yet.
    partial: Vec<u8>,
}

/// Reads raw output and keeps it.
#[derive(Debug)]
pub(super) struct Capture {
    path: PathBuf,
    max_size: u64,
    max_files: u32,
    raws: Vec<Raw>,
    files: [PathBuf; 2],
    log: Option<(File, u64)>,
}

impl Capture {
    /// Goes on where the last capture of this container ended.
    pub(super) fn open(container: &Container, options: &Options) -> Self {
        let path = container.path().to_owned();
        let places = places(&path, options.log_max_files);
        let streams = [OutputStream::Stdout, OutputStream::Stderr];
        let files = container.raw_output();
        let raws =
            streams
                .into_iter()
                .zip(&files)
                .zip(places)
                .filter_map(|((stream, file), read)| {
                    let file = OpenOptions::new().read(true).write(true).open(file).ok()?;
                    Some(Raw {
                        stream,
                        file,
                        read,
                        punched: read,
                        partial: Vec::new(),
                    })
                });
        Self {
            raws: raws.collect(),
            files,
            path,
            max_size: options.log_max_size,
            max_files: options.log_max_files.max(1),
            log: None,
        }
    }

    /// Captures until `end` resolves, telling `news` of each batch.
    pub(super) async fn until(
        &mut self,
        end: impl Future<Output = io::Result<()>>,
        news: &watch::Sender<()>,
    ) {
        // Watched before the first look: what is written after it wakes us.
        let changes = watch_files(&self.files).ok();
        tokio::pin!(end);
        loop {
            if self.read_some() {
                news.send_replace(());
                tokio::select! {
                    _ = &mut end => return,
                    () = tokio::time::sleep(GATHER) => continue,
                }
            }
            tokio::select! {
                _ = &mut end => return,
                () = changed(changes.as_ref()) => {}
            }
        }
    }

    /// The process has ended: reads the rest, and takes a last line without an end for a line.
    pub(super) fn finish(mut self) {
        for index in 0..self.raws.len() {
            // Not more than there is now: a process that left its group may write on.
            let end = self.raws[index].file.metadata().map_or(0, |m| m.len());
            while self.raws[index].read < end && self.read_one(index) {}
            let raw = &mut self.raws[index];
            let partial = std::mem::take(&mut raw.partial);
            raw.punch();
            if !partial.is_empty() {
                let line = kept(Utc::now(), raw.stream, raw.read, &partial);
                self.keep(&line);
            }
        }
    }

    /// Reads what is there, but not so much that others would have to wait. True if there was anything.
    fn read_some(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.raws.len() {
            for _ in 0..CHUNKS {
                if !self.read_one(index) {
                    break;
                }
                any = true;
            }
        }
        any
    }

    fn read_one(&mut self, index: usize) -> bool {
        let Some(lines) = self.raws[index].read() else {
            return false;
        };
        lines.iter().for_each(|line| self.keep(line));
        true
    }

    /// Appends a line to the log. A disk that refuses costs lines, never the app.
    fn keep(&mut self, line: &[u8]) {
        if self
            .log
            .as_ref()
            .is_none_or(|(_, size)| *size >= self.max_size)
        {
            self.log = self.next_log().ok();
        }
        if let Some((file, size)) = &mut self.log {
            match file.write_all(line) {
                Ok(()) => *size += line.len() as u64,
                Err(_) => self.log = None,
            }
        }
    }

    fn next_log(&self) -> io::Result<(File, u64)> {
        let current = log_file(&self.path, 0);
        if fs::metadata(&current).is_ok_and(|m| m.len() >= self.max_size) {
            for number in (1..self.max_files).rev() {
                // The first rotations find no older files.
                let _ = fs::rename(
                    log_file(&self.path, number - 1),
                    log_file(&self.path, number),
                );
            }
            if self.max_files == 1 {
                fs::remove_file(&current)?;
            }
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&current)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }
}

impl Raw {
    /// The next lines, as they are kept. `None` when there is nothing new.
    fn read(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut chunk = [0; CHUNK];
        let count = self
            .file
            .read_at(&mut chunk, self.read)
            .ok()
            .filter(|n| *n > 0)?;
        let (now, mut lines) = (Utc::now(), Vec::new());
        for piece in chunk[..count].split_inclusive(|b| *b == b'\n') {
            self.read += piece.len() as u64;
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= MAX_LINE {
                let line = std::mem::take(&mut self.partial);
                lines.push(kept(now, self.stream, self.read, &line));
            }
        }
        if self.read - self.punched >= PUNCH {
            self.punch();
        }
        Some(lines)
    }

    /// Gives back to the disk what was read, but for a line that has not ended.
    fn punch(&mut self) {
        let done = self.read - self.partial.len() as u64;
        if done > self.punched {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A file system without holes keeps it until the container is removed.
            let _ = fallocate(&self.file, flags, self.punched, done - self.punched);
            self.punched = done;
        }
    }
}

/// `<instant> <stream> <place in the raw file after it> <line>\n`
fn kept(at: DateTime<Utc>, stream: OutputStream, place: u64, line: &[u8]) -> Vec<u8> {
    let word = match stream {
        OutputStream::Stdout => 'O',
        OutputStream::Stderr => 'E',
    };
    let at = at.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let mut kept = format!("{at} {word} {place} ").into_bytes();
    kept.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
    kept.push(b'\n');
    kept
}

/// A line of a log file, and the place in the raw file after it. `None` for one that was cut off.
pub(super) fn parse(kept: &[u8]) -> Option<(OutputLine, u64)> {
    let kept = kept.strip_suffix(b"\n")?;
    let mut parts = kept.splitn(4, |b| *b == b' ');
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let at = DateTime::parse_from_rfc3339(word()?)
        .ok()?
        .with_timezone(&Utc);
    let stream = match word()? {
        "O" => OutputStream::Stdout,
        "E" => OutputStream::Stderr,
        _ => return None,
    };
    let place = word()?.parse().ok()?;
    let line = parts.next()?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = String::from_utf8_lossy(line).into_owned();
    Some((OutputLine { at, stream, line }, place))
}

/// How far standard output and standard error were read, by what was kept of them.
fn places(path: &Path, files: u32) -> [u64; 2] {
    let mut places = [None, None];
    for number in 0..files.max(1) {
        let Ok(file) = File::open(log_file(path, number)) else {
            break;
        };
        let mut last = [None, None];
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if let Some((parsed, place)) = parse(&line) {
                last[usize::from(parsed.stream == OutputStream::Stderr)] = Some(place);
            }
            line.clear();
        }
        places = [places[0].or(last[0]), places[1].or(last[1])];
    }
    places.map(Option::unwrap_or_default)
}

fn watch_files(files: &[PathBuf]) -> io::Result<AsyncFd<OwnedFd>> {
    let watcher = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    for file in files {
        inotify::add_watch(&watcher, file, inotify::WatchFlags::MODIFY)?;
    }
    watched(watcher, Interest::READABLE)
}

/// Resolves when a raw file was written to.
async fn changed(changes: Option<&AsyncFd<OwnedFd>>) {
    let Some(changes) = changes else {
        return tokio::time::sleep(LOOK).await;
    };
    let Ok(mut ready) = changes.readable().await else {
        return tokio::time::sleep(LOOK).await;
    };
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut events = inotify::Reader::new(changes.get_ref(), &mut buffer);
    while events.next().is_ok() {}
    ready.clear_ready();
}
