//! The engine's log stream → events, where its files cannot be read: other log drivers, a remote engine.
//!
//! Asks for everything since a little before the last line taken and drops what was taken, line by line
//! (`ordinals`).

use super::file::{MAX_LINE, Mark};
use super::ordinals::{Last, Replay};
use crate::domain::log::{LogSource, Stamp, Stream};
use crate::logging::event::level;
use crate::logging::spool::{Batch, Line};
use crate::ports::runtime::{LogsRequest, OutputLine, OutputStream};
use std::sync::Arc;

/// How far streams may be behind each other: two threads of the engine write them.
const SLACK: i64 = 10_000_000_000;

/// Turns what an engine streams into events.
#[derive(Debug)]
pub struct StreamSource {
    key: String,
    source: Arc<LogSource>,
    last: Last,
    replay: Replay,
    seq: u64,
}

impl StreamSource {
    /// Goes on from `mark`.
    pub fn new(source: Arc<LogSource>, key: &str, mark: Option<&Mark>) -> Self {
        let last = mark.map(Mark::last).unwrap_or_default();
        Self {
            key: key.to_owned(),
            source,
            last,
            replay: Replay::new(last),
            seq: mark.map_or(0, Mark::seq),
        }
    }

    /// What is to be asked of the engine now; what it repeats is dropped.
    pub fn request(&mut self) -> LogsRequest {
        self.replay = Replay::new(self.last);
        let since = self.last.latest().map(|at| Stamp(at.0 - SLACK).into());
        LogsRequest {
            since,
            follow: true,
            ..LogsRequest::default()
        }
    }

    /// Takes a line, unless it was taken before. True when it is new.
    pub fn take(&mut self, line: &OutputLine, batch: &mut Batch) -> bool {
        let at = Stamp::from(line.at);
        let stream = match line.stream {
            OutputStream::Stdout => Stream::Stdout,
            OutputStream::Stderr => Stream::Stderr,
        };
        if self.replay.repeats(stream, at) {
            return false;
        }
        let ordinal = self.last.count(stream, at);
        let message = line.line.as_bytes();
        if !message.is_empty() {
            self.seq += 1;
            let kept = &message[..message.len().min(MAX_LINE)];
            batch.line(
                &self.source,
                &Line {
                    at,
                    seq: self.seq,
                    ordinal,
                    stream,
                    level: level::recognise(kept),
                    truncated: kept.len() < message.len(),
                    message: kept,
                },
            );
        }
        true
    }

    /// Adds how far the stream was read.
    pub fn note(&self, batch: &mut Batch) {
        batch.place(&self.key, Mark::of_stream(self.last, self.seq).bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: i64, text: &str) -> OutputLine {
        OutputLine {
            at: Stamp(at).into(),
            stream: OutputStream::Stdout,
            line: text.to_owned(),
        }
    }

    #[test]
    fn a_stream_that_is_taken_up_again_gives_each_line_once() {
        let source = Arc::new(LogSource::default());
        let mut batch = Batch::new();
        let mut first = StreamSource::new(Arc::clone(&source), "k", None);
        assert_eq!(first.request().since, None);
        for text in ["a", "b"] {
            assert!(first.take(&line(20_000_000_000, text), &mut batch));
        }
        let mark = Mark::of_stream(first.last, first.seq);
        let mark = Mark::parse(&mark.bytes()).unwrap();
        let mut second = StreamSource::new(source, "k", Some(&mark));
        assert_eq!(
            second.request().since.map(Stamp::from),
            Some(Stamp(10_000_000_000))
        );
        let again: Vec<bool> = ["a", "b", "c"]
            .iter()
            .map(|text| second.take(&line(20_000_000_000, text), &mut batch))
            .collect();
        assert_eq!(again, [false, false, true]);
        assert!(
            second.take(&line(20_000_000_000, ""), &mut batch),
            "an empty line counts, and is no event"
        );
        assert_eq!((batch.events(), second.seq), (3, 3));
    }
}
