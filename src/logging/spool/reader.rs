//! Reads the spool from a position on, for one sink. Damage is skipped and counted.

use super::files;
use super::record::{self, Event, Kind, Step};
use super::{Spool, SpoolError, recover};
use crate::domain::log::{Level, LogBody, LogEvent, LogSource, Stamp, Stream};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Events in order, and where the next ones begin.
#[derive(Debug, Default)]
pub struct Read {
    /// The events.
    pub events: Vec<LogEvent>,
    /// For each event: the position and index after it.
    pub after: Vec<(u64, u64)>,
    /// The position after them.
    pub position: u64,
    /// The index after them.
    pub index: u64,
    /// Events before or between them that are gone: dropped when the spool was full, or damaged.
    pub lost: u64,
    /// Their size in the spool.
    pub bytes: usize,
}

/// A place in the spool.
#[derive(Debug)]
pub struct Reader {
    spool: Spool,
    position: u64,
    index: u64,
    segment: Option<Segment>,
    buffer: BytesMut,
}

#[derive(Debug)]
struct Segment {
    base: u64,
    file: File,
    /// The sources by their numbers in this segment.
    sources: HashMap<u32, Arc<LogSource>>,
}

impl Reader {
    pub(super) fn new(spool: Spool, position: u64, index: u64) -> Self {
        Self {
            spool,
            position,
            index,
            segment: None,
            buffer: BytesMut::new(),
        }
    }

    /// The next events, about `max_bytes` of them and at most `max_events`; none at the end of what is there.
    /// Blocks on the disk, though seldom: what is read was mostly just written.
    ///
    /// # Errors
    /// [`SpoolError::Io`]; reading again goes on at the same place.
    pub fn next(&mut self, max_events: usize, max_bytes: usize) -> Result<Read, SpoolError> {
        let mut read = Read {
            position: self.position,
            index: self.index,
            ..Read::default()
        };
        // More than one turn where a turn finds nothing but what is no event.
        while read.events.is_empty() && self.position < self.spool.end() {
            self.turn(&mut read, max_events, max_bytes)?;
        }
        (read.position, read.index) = (self.position, self.index);
        Ok(read)
    }

    /// Goes back, or forward, to a place.
    pub fn seek(&mut self, position: u64, index: u64) {
        (self.position, self.index) = (position, index);
        self.segment = None;
    }

    fn turn(
        &mut self,
        read: &mut Read,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<(), SpoolError> {
        let Some(span) = self.spool.span_of(self.position) else {
            return Ok(());
        };
        if span.base > self.position {
            // What was here is gone.
            read.lost += span.first_index.saturating_sub(self.index);
            (self.position, self.index) = (span.base, span.first_index.max(self.index));
            self.segment = None;
        }
        if self.segment.as_ref().is_none_or(|s| s.base != span.base) {
            self.open(span.base)?;
        }
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        let there = (span.end - self.position) as usize;
        let mut wanted = max_bytes.clamp(record::HEADER, 8 << 20).min(there);
        loop {
            self.buffer.clear();
            self.buffer.resize(wanted, 0);
            let at = self.position - segment.base;
            let path = files::path(self.spool.dir(), segment.base);
            let filled = segment.file.read_exact_at(&mut self.buffer, at);
            filled.map_err(|e| files::failed("read", &path, e))?;
            match record::read(&self.buffer, 0) {
                // A record longer than the buffer.
                Step::Partial(length) if wanted < there => {
                    wanted = length.max(wanted + 1).min(there)
                }
                _ => break,
            }
        }
        let bytes = self.buffer.split().freeze();
        let whole = bytes.len() == there;
        let used = take(
            segment,
            &bytes,
            whole,
            (&mut self.index, self.position),
            read,
            max_events,
        );
        self.position += used as u64;
        if self.position == span.end && span.closed {
            // The next segment may begin after events that were lost at the end of this one.
            self.segment = None;
        }
        Ok(())
    }

    /// Opens the segment at `base`, and learns its sources up to the present place.
    fn open(&mut self, base: u64) -> Result<(), SpoolError> {
        let path = files::path(self.spool.dir(), base);
        let file = File::open(&path).map_err(|e| files::failed("open", &path, e))?;
        let mut before = vec![0; (self.position - base) as usize];
        let filled = file.read_exact_at(&mut before, 0);
        filled.map_err(|e| files::failed("read", &path, e))?;
        let mut sources = HashMap::new();
        recover::scan(&before, None, |record| {
            if record.kind == Kind::Source {
                learn(record.payload, &mut sources);
            }
        });
        self.segment = Some(Segment {
            base,
            file,
            sources,
        });
        Ok(())
    }
}

fn learn(payload: &[u8], sources: &mut HashMap<u32, Arc<LogSource>>) {
    if let Some((number, json)) = payload.split_first_chunk::<4>()
        && let Ok(source) = serde_json::from_slice::<LogSource>(json)
    {
        sources.insert(u32::from_le_bytes(*number), Arc::new(source));
    }
}

/// Reads records out of `bytes`; returns how many bytes are done with.
fn take(
    segment: &mut Segment,
    bytes: &Bytes,
    whole: bool,
    (index, position): (&mut u64, u64),
    read: &mut Read,
    max_events: usize,
) -> usize {
    let mut at = 0;
    while at < bytes.len() && read.events.len() < max_events {
        match record::read(bytes, at) {
            Step::Record(record, next) => {
                let lost = record.index.saturating_sub(*index);
                read.lost = read.lost.saturating_add(lost);
                *index = record
                    .index
                    .saturating_add(u64::from(record.kind.is_event()));
                match record.kind {
                    Kind::Source => learn(record.payload, &mut segment.sources),
                    Kind::Line | Kind::Object => match event(segment, bytes, &record) {
                        Some(event) => {
                            read.events.push(event);
                            read.after.push((position + next as u64, *index));
                            read.bytes += next - at;
                        }
                        // Its source was damaged.
                        None => read.lost += 1,
                    },
                    Kind::Place | Kind::Forget => {}
                }
                at = next;
            }
            Step::Partial(_) if !whole => break,
            Step::Partial(_) | Step::Bad => match recover::resync(bytes, at + 1) {
                Some(next) => at = next,
                None if whole => at = bytes.len(),
                // The rest may hold the beginning of a record, which is read again from there.
                None => {
                    at = recover::beginning(bytes, at + 1).unwrap_or(bytes.len());
                    break;
                }
            },
        }
    }
    at
}

fn event(segment: &Segment, bytes: &Bytes, record: &record::Record<'_>) -> Option<LogEvent> {
    let (fixed, message) = Event::read(record.payload)?;
    let source = Arc::clone(segment.sources.get(&fixed.source)?);
    let from = record.at + record::EVENT;
    let message = bytes.slice(from..from + message.len());
    let body = match record.kind {
        Kind::Line => LogBody::Line {
            stream: Stream::from_code(fixed.stream)?,
            level: Level::from_code(fixed.level),
            truncated: fixed.flags & 1 != 0,
            message,
        },
        _ => LogBody::Object(message),
    };
    Some(LogEvent {
        source,
        at: Stamp(fixed.at),
        seq: fixed.seq,
        ordinal: fixed.ordinal,
        body,
    })
}
