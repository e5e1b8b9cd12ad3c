//! Captured output as a stream of lines, oldest first.
//!
//! Called by [`super::Processes::logs`]. A stream that follows ends when the container's run ends.

use super::capture::{log_file, parse};
use super::container::Container;
use crate::ports::runtime::{LogsRequest, OutputLine, RuntimeError};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// Lines handed over at a time.
const BATCH: usize = 1024;
/// More files than anybody keeps.
const MAX_FILES: u32 = 1000;

/// Reads the files of one container, from the oldest on.
struct Reader {
    container: Arc<Container>,
    request: LogsRequest,
    open: Option<(BufReader<File>, u64)>,
    line: Vec<u8>,
    /// Told of each batch of captured output.
    news: watch::Receiver<()>,
    over: bool,
}

pub(super) fn stream(
    container: Arc<Container>,
    request: LogsRequest,
) -> BoxStream<'static, Result<OutputLine, RuntimeError>> {
    let news = container.output();
    let (open, line) = (None, Vec::new());
    let reader = Reader {
        container,
        request,
        open,
        line,
        news,
        over: false,
    };
    let batches = stream::unfold(reader, |mut reader| async move {
        let lines = reader.next_batch().await?;
        Some((lines, reader))
    });
    batches
        .flat_map(|lines| stream::iter(lines.into_iter().map(Ok)))
        .boxed()
}

impl Reader {
    /// More lines, perhaps none; `None` when there will be no more.
    async fn next_batch(&mut self) -> Option<Vec<OutputLine>> {
        if let Some(tail) = self.request.tail.take() {
            return Some(self.last(tail).await);
        }
        while !self.over {
            // Looked at before reading: what was printed before the end is read after it.
            let ended = !self.request.follow || !self.container.runs();
            self.news.borrow_and_update();
            let lines = self.batch();
            self.over = ended && lines.len() < BATCH;
            if !lines.is_empty() {
                return Some(lines);
            }
            if !self.over && self.news.changed().await.is_err() {
                return None;
            }
        }
        None
    }

    /// The last lines of what is there now.
    async fn last(&mut self, count: usize) -> Vec<OutputLine> {
        let mut lines = VecDeque::new();
        let mut read = 0;
        while let Some(line) = self.next() {
            lines.push_back(line);
            if lines.len() > count {
                lines.pop_front();
            }
            read += 1;
            if read % BATCH == 0 {
                tokio::task::yield_now().await;
            }
        }
        lines.into()
    }

    fn batch(&mut self) -> Vec<OutputLine> {
        let mut lines = Vec::new();
        while lines.len() < BATCH {
            match self.next() {
                Some(line) => lines.push(line),
                None => break,
            }
        }
        lines
    }

    /// The next wanted line; `None` at the end of what is there.
    fn next(&mut self) -> Option<OutputLine> {
        loop {
            if self.open.is_none() {
                self.open = oldest(self.container.path());
            }
            let (file, inode) = self.open.as_mut()?;
            let inode = *inode;
            let read = file.read_until(b'\n', &mut self.line).unwrap_or_default();
            if self.line.ends_with(b"\n") {
                let parsed = parse(&self.line);
                self.line.clear();
                match parsed {
                    Some((line, _)) if self.wants(&line) => return Some(line),
                    _ => continue,
                }
            }
            if read > 0 {
                continue;
            }
            // Its end: the file after it in rotation, if it was rotated.
            self.open = Some(after(self.container.path(), inode)?);
            self.line.clear();
        }
    }

    fn wants(&self, line: &OutputLine) -> bool {
        self.request.since.is_none_or(|since| line.at >= since)
            && self.request.until.is_none_or(|until| line.at < until)
    }
}

fn open(path: &Path, number: u32) -> Option<(BufReader<File>, u64)> {
    let file = File::open(log_file(path, number)).ok()?;
    let inode = file.metadata().ok()?.ino();
    Some((BufReader::new(file), inode))
}

fn oldest(path: &Path) -> Option<(BufReader<File>, u64)> {
    let count = (0..MAX_FILES)
        .take_while(|n| log_file(path, *n).exists())
        .count();
    open(path, u32::try_from(count).ok()?.checked_sub(1)?)
}

/// The file that follows the one with this inode; one that was rotated away is followed by the oldest.
fn after(path: &Path, inode: u64) -> Option<(BufReader<File>, u64)> {
    let place = (0..MAX_FILES)
        .map_while(|n| fs::metadata(log_file(path, n)).ok())
        .position(|file| file.ino() == inode);
    match place {
        Some(0) => None,
        Some(n) => open(path, u32::try_from(n).ok()? - 1),
        None => oldest(path),
    }
}
