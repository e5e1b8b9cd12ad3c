//! Records of the spool as bytes. Pure.
//!
//! ```text
//! 0   2  magic 4c e1
//! 2   1  kind
//! 3   1  version, 1
//! 4   4  length of the payload
//! 8   8  index: events before this record, over the whole life of the spool
//! 16  4  CRC32C over bytes 2 to 16 and the payload
//! 20     payload
//! ```
//! All numbers are little-endian. The index tells a reader how many events a damaged stretch held.

/// The bytes before a payload.
pub const HEADER: usize = 20;
/// The largest payload; a longer length is damage.
pub const MAX_PAYLOAD: usize = 64 << 20;
const MAGIC: [u8; 2] = [0x4c, 0xe1];
const VERSION: u8 = 1;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A source of events: its number in this segment, and itself as JSON.
    Source,
    /// An event that is a line.
    Line,
    /// An event that is a JSON object.
    Object,
    /// How far a source was read: a key, and what its reader notes.
    Place,
    /// A source that will not be read again: its key.
    Forget,
}

impl Kind {
    const ALL: [Kind; 5] = [
        Kind::Source,
        Kind::Line,
        Kind::Object,
        Kind::Place,
        Kind::Forget,
    ];

    fn code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Whether it counts as an event.
    pub fn is_event(self) -> bool {
        matches!(self, Kind::Line | Kind::Object)
    }
}

/// A record whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Events before it.
    pub index: u64,
    /// Where its payload begins in the bytes that were read.
    pub at: usize,
    /// Its payload.
    pub payload: &'a [u8],
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A record, and where the next one begins.
    Record(Record<'a>, usize),
    /// The beginning of a record, whose rest is not there; how long it claims to be.
    Partial(usize),
    /// No record.
    Bad,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[2..16]), payload)
}

/// Reads the record at `at`.
pub fn read(bytes: &[u8], at: usize) -> Step<'_> {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.len() < HEADER {
        let whole_magic = rest.len() >= 2 && rest[..2] != MAGIC;
        return match whole_magic || rest.first().is_some_and(|b| *b != MAGIC[0]) {
            true => Step::Bad,
            false => Step::Partial(HEADER),
        };
    }
    let (header, rest) = rest.split_at(HEADER);
    let length = u32_at(header, 4) as usize;
    let kind = Kind::from_code(header[2]);
    let (Some(kind), true) = (
        kind,
        header[..2] == MAGIC && header[3] == VERSION && length <= MAX_PAYLOAD,
    ) else {
        return Step::Bad;
    };
    let Some(payload) = rest.get(..length) else {
        return Step::Partial(HEADER + length);
    };
    if checksum(header, payload) != u32_at(header, 16) {
        return Step::Bad;
    }
    let record = Record {
        kind,
        index: u64_at(header, 8),
        at: at + HEADER,
        payload,
    };
    Step::Record(record, at + HEADER + length)
}

/// Leaves room for a header; [`seal`] fills it once the payload follows.
pub fn begin(kind: Kind, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&MAGIC);
    out.push(kind.code());
    out.push(VERSION);
    out.extend_from_slice(&[0; 16]);
    at
}

/// Notes the length of the payload that was written after [`begin`].
pub fn end(at: usize, out: &mut [u8]) {
    let length = (out.len() - at - HEADER) as u32;
    out[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
}

/// Fills in the index and the checksum of the record at `at`, whose length is known. Returns where the next
/// one begins.
pub fn seal(at: usize, index: u64, bytes: &mut [u8]) -> usize {
    let length = u32_at(bytes, at + 4) as usize;
    bytes[at + 8..at + 16].copy_from_slice(&index.to_le_bytes());
    let (header, payload) = bytes[at..at + HEADER + length].split_at(HEADER);
    let sum = checksum(header, payload);
    bytes[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
    at + HEADER + length
}

/// The kind of the record at `at`, of bytes that [`begin`] wrote.
pub fn kind_at(at: usize, bytes: &[u8]) -> Option<Kind> {
    Kind::from_code(bytes[at + 2])
}

/// Writes a whole record.
pub fn write(kind: Kind, index: u64, payload: &[u8], out: &mut Vec<u8>) {
    let at = begin(kind, out);
    out.extend_from_slice(payload);
    end(at, out);
    seal(at, index, out);
}

/// The fixed part of an event's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The number of its source in this segment.
    pub source: u32,
    /// Its instant in nanoseconds since 1970.
    pub at: i64,
    /// Its number in its source.
    pub seq: u64,
    /// Its number at its instant.
    pub ordinal: u32,
    /// The stream's code; 0 for an object.
    pub stream: u8,
    /// The level's code; 0 for none.
    pub level: u8,
    /// Bit 0: it was cut.
    pub flags: u8,
}

/// The bytes of [`Event`].
pub const EVENT: usize = 27;

impl Event {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut fixed = [0; EVENT];
        fixed[..4].copy_from_slice(&self.source.to_le_bytes());
        fixed[4..12].copy_from_slice(&self.at.to_le_bytes());
        fixed[12..20].copy_from_slice(&self.seq.to_le_bytes());
        fixed[20..24].copy_from_slice(&self.ordinal.to_le_bytes());
        (fixed[24], fixed[25], fixed[26]) = (self.stream, self.level, self.flags);
        out.extend_from_slice(&fixed);
    }

    /// Reads it, and what follows it.
    pub fn read(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (fixed, rest) = payload.split_at_checked(EVENT)?;
        let event = Self {
            source: u32_at(fixed, 0),
            at: u64_at(fixed, 4).cast_signed(),
            seq: u64_at(fixed, 12),
            ordinal: u32_at(fixed, 20),
            stream: fixed[24],
            level: fixed[25],
            flags: fixed[26],
        };
        Some((event, rest))
    }
}

/// Replaces the number of the source in the payload of the event at `at`.
pub fn set_source(at: usize, source: u32, bytes: &mut [u8]) {
    bytes[at + HEADER..at + HEADER + 4].copy_from_slice(&source.to_le_bytes());
}

/// The number of the source in the payload of the event at `at`.
pub fn source_at(at: usize, bytes: &[u8]) -> u32 {
    u32_at(bytes, at + HEADER)
}

/// A payload of a key and a value.
pub fn keyed(key: &str, value: &[u8]) -> Vec<u8> {
    // Keys are container ids and file names: far below 64 KiB.
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let mut payload = length.to_le_bytes().to_vec();
    payload.extend_from_slice(&key.as_bytes()[..usize::from(length)]);
    payload.extend_from_slice(value);
    payload
}

/// The key and the value of a payload made by [`keyed`].
pub fn unkeyed(payload: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = payload.split_at_checked(2)?;
    let length = u16::from_le_bytes([length[0], length[1]]);
    let (key, value) = rest.split_at_checked(usize::from(length))?;
    Some((std::str::from_utf8(key).ok()?, value))
}
