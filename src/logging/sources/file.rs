//! Files of a container → events in a batch, with the place to go on from.
//!
//! What a batch holds and how far its file was read become durable together, so that after SIGKILL or a
//! power cut reading goes on exactly where the spool ends: no line is lost, and one that is read twice has
//! the same `seq`, `ordinal` and id.

use super::json_file;
use super::ordinals::{Last, Replay};
use super::tail::{At, Tail, Trouble};
use crate::domain::log::{LineFormat, LogBody, LogEvent, LogSource, Stamp, Stream};
use crate::logging::event::Encoder;
use crate::logging::event::join::{Joiner, Piece, Whole};
use crate::logging::event::level;
use crate::logging::event::multiline::{Group, Grouper, Rule};
use crate::logging::event::own::{self, Count, Gap};
use crate::logging::event::parsed;
use crate::logging::spool::{Batch, Line};
use crate::ports::runtime::LogFormat;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest line; what is beyond is cut, and the event says so.
pub const MAX_LINE: usize = 1 << 20;

/// How the lines of a file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An engine's file.
    Engine(LogFormat),
    /// An app's own file: plain lines, whose instant is their arrival.
    Plain,
}

/// What the spool keeps of how far a file was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Where to read on.
    at: Option<At>,
    /// Whole lines after it that were taken already, of each stream: they lay between the pieces of another one.
    skip: [u32; 3],
    /// The last line taken of each stream.
    last: Last,
    /// The number of the last event.
    seq: u64,
}

impl Mark {
    /// The mark in the spool's bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        // Numbers in a struct always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The last line taken of each stream.
    pub fn last(&self) -> Last {
        self.last
    }

    /// The number of the last event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// What a stream of an engine notes, which has no place in a file.
    pub fn of_stream(last: Last, seq: u64) -> Self {
        Self {
            at: None,
            skip: [0; 3],
            last,
            seq,
        }
    }
}

/// What a turn of reading did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Polled {
    /// Bytes that are done with.
    pub bytes: u64,
    /// Events that were added.
    pub events: u64,
    /// All that is there was read.
    pub end: bool,
}

/// One file of a container, with its rotated predecessors.
#[derive(Debug)]
pub struct FileSource {
    key: String,
    tail: Tail,
    lines: Lines,
    text: Vec<u8>,
}

/// Everything between a piece and an event.
#[derive(Debug)]
struct Lines {
    source: Arc<LogSource>,
    format: Format,
    /// The form of what the lines say.
    form: LineFormat,
    encoder: Encoder,
    /// Lines that are not of that form.
    unparsed: u64,
    joiner: Joiner,
    grouper: Option<Grouper>,
    replay: Option<Replay>,
    skip: [u32; 3],
    /// Numbers of lines as they are counted.
    last: Last,
    /// The last line of each stream that is in an event.
    settled: Last,
    seq: u64,
    /// Lines in events that may end after the beginning of one that is held: stream and place of their end.
    taken: Vec<(Stream, u64)>,
    /// The last instant seen, for gaps and damage.
    now: Stamp,
    gap: Option<Trouble>,
    damaged: u64,
}

impl FileSource {
    /// Reads `path` on from `mark`, or from its oldest byte.
    pub fn open(
        path: &Path,
        format: Format,
        source: Arc<LogSource>,
        key: &str,
        mark: Option<&Mark>,
        multiline: Option<Rule>,
    ) -> Self {
        let strict = matches!(format, Format::Engine(_));
        let resume = mark.and_then(|m| m.at);
        let tail = Tail::open(path, resume, strict);
        let mark = mark.cloned().unwrap_or_default();
        let replays = tail.replays() && strict;
        let same_instant = format == Format::Engine(LogFormat::DockerJson);
        let lines = Lines {
            source,
            format,
            form: LineFormat::Plain,
            encoder: Encoder::default(),
            unparsed: 0,
            joiner: Joiner::new(MAX_LINE, same_instant),
            grouper: multiline.map(Grouper::new),
            replay: replays.then(|| Replay::new(mark.last)),
            skip: if tail.replays() { [0; 3] } else { mark.skip },
            last: mark.last,
            settled: mark.last,
            seq: mark.seq,
            taken: Vec::new(),
            now: mark.last.latest().unwrap_or_default(),
            gap: None,
            damaged: 0,
        };
        Self {
            key: key.to_owned(),
            tail,
            lines,
            text: Vec::new(),
        }
    }

    /// Reads lines of this form: what they say becomes fields of the event.
    pub fn of_form(mut self, form: LineFormat) -> Self {
        self.lines.form = form;
        self
    }

    /// Lines since the last call that were not of the form that they should have.
    pub fn take_unparsed(&mut self) -> u64 {
        std::mem::take(&mut self.lines.unparsed)
    }

    /// The key of its place in the spool.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.tail.path()
    }

    /// Whether a turn would find something. Cheap: nothing is read.
    pub fn has_news(&self) -> bool {
        self.tail.has_news()
            || self
                .lines
                .grouper
                .as_ref()
                .is_some_and(|g| g.oldest().is_some())
    }

    /// Reads about `max` bytes into `batch`; `seen` is handed each line. `arrival` is the instant of lines that
    /// have none of their own, `now` a monotonic clock's.
    ///
    /// # Errors
    /// What the system said; reading again goes on at the same place.
    pub fn poll(
        &mut self,
        max: usize,
        (arrival, now): (Stamp, Duration),
        batch: &mut Batch,
        seen: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Polled> {
        let before = batch.events();
        let Self {
            tail, lines, text, ..
        } = self;
        let mut sink = Sink { batch, seen, now };
        let turn = tail.read(max, |bytes, place, ends| {
            lines.raw(bytes, (place, ends), arrival, text, &mut sink);
        })?;
        if let Some(trouble) = turn.trouble {
            lines.tell(trouble, None, arrival, &mut sink);
        }
        lines.expire(&mut sink);
        self.note(batch, before, turn.bytes);
        Ok(Polled {
            bytes: turn.bytes,
            events: batch.events() - before,
            end: turn.end,
        })
    }

    /// Gives out what is held, since its writer is gone.
    ///
    /// # Errors
    /// What the system said.
    pub fn finish(
        &mut self,
        (arrival, now): (Stamp, Duration),
        batch: &mut Batch,
        seen: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let before = batch.events();
        let Self {
            tail, lines, text, ..
        } = self;
        let mut sink = Sink { batch, seen, now };
        tail.finish(|bytes, place, ends| {
            lines.raw(bytes, (place, ends), arrival, text, &mut sink)
        })?;
        lines.flush(&mut sink);
        self.note(batch, before, 1);
        Ok(())
    }

    /// Adds how far the file was read.
    fn note(&mut self, batch: &mut Batch, before: u64, bytes: u64) {
        if batch.events() == before && bytes == 0 {
            return;
        }
        let held = self.lines.held();
        let place = held.unwrap_or(self.tail.place());
        self.lines
            .taken
            .retain(|(_, taken)| held.is_some_and(|held| *taken > held));
        let mut skip = self.lines.skip;
        for (stream, _) in &self.lines.taken {
            skip[usize::from(stream.code())] += 1;
        }
        let mark = Mark {
            at: self.tail.resolve(place),
            skip,
            last: self.lines.settled,
            seq: self.lines.seq,
        };
        batch.place(&self.key, mark.bytes());
    }
}

/// Where lines go.
struct Sink<'a> {
    batch: &'a mut Batch,
    seen: &'a mut dyn FnMut(&[u8]),
    now: Duration,
}

impl Lines {
    fn raw(
        &mut self,
        bytes: &[u8],
        (place, ends): (u64, bool),
        arrival: Stamp,
        text: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) {
        let entry = match self.format {
            Format::Engine(LogFormat::DockerJson) => json_file::docker(bytes, text),
            Format::Engine(LogFormat::Process) => json_file::process(bytes, text),
            Format::Plain => {
                let line = bytes.strip_suffix(b"\r").filter(|_| ends).unwrap_or(bytes);
                let piece = Piece {
                    stream: Stream::Stdout,
                    at: arrival,
                    place,
                    text: line,
                    ends,
                };
                self.piece(piece, sink);
                return;
            }
        };
        let Some(entry) = entry else {
            // Docker wrote it torn, at a power cut: said once for a stretch of them.
            self.damaged += bytes.len() as u64;
            return;
        };
        if self.damaged > 0 || self.gap.is_some() {
            let trouble = self.gap.take();
            self.told(trouble, Some(entry.at), arrival, sink);
        }
        self.now = entry.at;
        let piece = Piece {
            stream: entry.stream,
            at: entry.at,
            place,
            text,
            ends: entry.ends,
        };
        self.piece(piece, sink);
    }

    fn piece(&mut self, piece: Piece<'_>, sink: &mut Sink<'_>) {
        // The joiner is put aside while it hands over a line of its own.
        let mut joiner = std::mem::replace(&mut self.joiner, Joiner::new(1, false));
        let others = joiner.oldest().is_some();
        joiner.push(piece, |whole| self.whole(&whole, others, sink));
        self.joiner = joiner;
    }

    fn whole(&mut self, whole: &Whole<'_>, others: bool, sink: &mut Sink<'_>) {
        let skip = &mut self.skip[usize::from(whole.stream.code())];
        if *skip > 0 {
            *skip -= 1;
            // To be dropped again, as long as what is held is before it.
            self.taken.push((whole.stream, whole.last));
            return;
        }
        if self
            .replay
            .as_mut()
            .is_some_and(|r| r.repeats(whole.stream, whole.at))
        {
            return;
        }
        // Row V8: an empty line is no event. It counts, or numbers would depend on it.
        let ordinal = self.last.count(whole.stream, whole.at);
        (sink.seen)(whole.message);
        let Some(mut grouper) = self.grouper.take() else {
            if others {
                self.taken.push((whole.stream, whole.last));
            }
            self.settled.set(whole.stream, (whole.at, ordinal));
            self.emit(whole, ordinal, sink.batch);
            return;
        };
        let line = Group {
            stream: whole.stream,
            at: whole.at,
            ordinal,
            last: (whole.at, ordinal),
            ends: vec![whole.last],
            place: whole.place,
            message: whole.message.to_vec(),
            truncated: whole.truncated,
        };
        grouper.push(line, sink.now, |group| self.group(&group, sink.batch));
        self.grouper = Some(grouper);
    }

    fn group(&mut self, group: &Group, batch: &mut Batch) {
        self.settled.set(group.stream, group.last);
        self.taken
            .extend(group.ends.iter().map(|end| (group.stream, *end)));
        let whole = Whole {
            stream: group.stream,
            at: group.at,
            place: group.place,
            last: group.place,
            message: &group.message,
            truncated: group.truncated,
        };
        self.emit(&whole, group.ordinal, batch);
    }

    fn emit(&mut self, whole: &Whole<'_>, ordinal: u32, batch: &mut Batch) {
        if whole.message.is_empty() {
            return;
        }
        self.seq += 1;
        if self.form != LineFormat::Plain {
            if let Some(parsed) = parsed::parse(self.form, whole.message) {
                let line = LogEvent {
                    source: Arc::clone(&self.source),
                    at: whole.at,
                    seq: self.seq,
                    ordinal,
                    body: LogBody::Line {
                        stream: whole.stream,
                        level: None,
                        truncated: whole.truncated,
                        message: bytes::Bytes::copy_from_slice(whole.message),
                    },
                };
                batch.push(&parsed::apply(line, parsed, &mut self.encoder));
                return;
            }
            self.unparsed += 1;
        }
        batch.line(
            &self.source,
            &Line {
                at: whole.at,
                seq: self.seq,
                ordinal,
                stream: whole.stream,
                level: level::recognise(whole.message),
                truncated: whole.truncated,
                message: whole.message,
            },
        );
    }

    fn expire(&mut self, sink: &mut Sink<'_>) {
        if let Some(mut grouper) = self.grouper.take() {
            grouper.expire(sink.now, |group| self.group(&group, sink.batch));
            self.grouper = Some(grouper);
        }
    }

    fn flush(&mut self, sink: &mut Sink<'_>) {
        let mut joiner = std::mem::replace(&mut self.joiner, Joiner::new(1, false));
        joiner.flush(|whole| self.whole(&whole, false, sink));
        self.joiner = joiner;
        if let Some(mut grouper) = self.grouper.take() {
            grouper.flush(|group| self.group(&group, sink.batch));
            self.grouper = Some(grouper);
        }
    }

    /// The place of the oldest line that is in no event yet.
    fn held(&self) -> Option<u64> {
        let grouped = self.grouper.as_ref().and_then(Grouper::oldest);
        [self.joiner.oldest(), grouped].into_iter().flatten().min()
    }

    /// Notes a hole; it is told with the instant of the next line.
    fn tell(&mut self, trouble: Trouble, to: Option<Stamp>, arrival: Stamp, sink: &mut Sink<'_>) {
        match (to, self.format) {
            (None, Format::Engine(_)) => self.gap = Some(trouble),
            _ => self.told(Some(trouble), to, arrival, sink),
        }
    }

    fn told(
        &mut self,
        trouble: Option<Trouble>,
        to: Option<Stamp>,
        arrival: Stamp,
        sink: &mut Sink<'_>,
    ) {
        let from = (self.now.0 > 0).then_some(self.now);
        let bytes = std::mem::take(&mut self.damaged);
        let (reason, bytes) = match trouble {
            Some(Trouble::RotatedAway) => ("rotated_away", None),
            Some(Trouble::Truncated) => ("truncated", None),
            None => ("unreadable", Some(bytes)),
        };
        let gap = Gap {
            reason,
            from,
            to,
            bytes,
            events: None,
        };
        self.seq += 1;
        let count = Count {
            seq: self.seq,
            at: to.or(from).unwrap_or(arrival),
        };
        sink.batch.push(&own::gap(&self.source, &gap, count));
    }
}
