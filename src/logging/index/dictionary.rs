//! What a partition keeps once for many events: contexts, and the fields that there are.
//!
//! An append-only file of lines, each with its checksum, synced before the commit of the events that refer
//! to it. A torn last line belongs to a commit that never was, and is cut off.

use crate::logging::query::evaluate::Event;
use crate::logging::query::{FieldType, Fields};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More contexts than this a partition does not keep: further events hold theirs themselves.
pub const CONTEXTS: usize = 50_000;

/// Contexts and fields of a partition.
#[derive(Debug, Default)]
pub struct Dictionary {
    contexts: Vec<Arc<Event>>,
    /// By their JSON.
    numbers: HashMap<Box<[u8]>, u32>,
    /// Fields of events, besides those of contexts.
    pub fields: Fields,
    /// Some events hold their context themselves.
    pub overflowed: bool,
    pending: Vec<u8>,
    file: Option<(PathBuf, File)>,
}

impl Dictionary {
    /// One in memory.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Opens or makes the file.
    ///
    /// # Errors
    /// It cannot be read, or a line that is not the last is damaged.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut read = Self::default();
        let mut good = 0;
        while let Some(length) = bytes[good..].iter().position(|b| *b == b'\n') {
            let line = &bytes[good..good + length];
            if read.line(line).is_none() {
                let last = good + length + 1 == bytes.len();
                if last {
                    break;
                }
                let message = format!("{} is damaged at byte {good}", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            good += length + 1;
        }
        let end = u64::try_from(good).map_err(io::Error::other)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        read.file = Some((path.to_owned(), file));
        read.pending.clear();
        Ok(read)
    }

    /// Reads `checksum kind content`.
    fn line(&mut self, line: &[u8]) -> Option<()> {
        let (checksum, rest) = line.split_at_checked(9)?;
        let wanted = std::str::from_utf8(&checksum[..8]).ok()?;
        if u32::from_str_radix(wanted, 16).ok()? != crc32fast::hash(rest) {
            return None;
        }
        let (kind, content) = rest.split_first()?;
        match kind {
            b'c' => {
                let event: Event = serde_json::from_slice(content).ok()?;
                self.keep(content, event);
            }
            b'f' => {
                let (kind, name) = std::str::from_utf8(content).ok()?.split_once(' ')?;
                self.fields.add(name, FieldType::of(kind)?);
            }
            b'o' => self.overflowed = true,
            _ => return None,
        }
        Some(())
    }

    fn keep(&mut self, json: &[u8], event: Event) -> u32 {
        // Bounded by CONTEXTS.
        let number = u32::try_from(self.contexts.len()).unwrap_or(u32::MAX);
        self.contexts.push(Arc::new(event));
        self.numbers.insert(json.into(), number);
        number
    }

    fn note(&mut self, kind: u8, content: &[u8]) {
        let mut line = Vec::with_capacity(content.len() + 1);
        line.push(kind);
        line.extend_from_slice(content);
        let checksum = format!("{:08x} ", crc32fast::hash(&line));
        self.pending.extend_from_slice(checksum.as_bytes());
        self.pending.extend_from_slice(&line);
        self.pending.push(b'\n');
    }

    /// The number of a context, given as JSON without line breaks; `None` where there are too many.
    pub fn number(&mut self, json: &[u8]) -> Option<u32> {
        if let Some(number) = self.numbers.get(json) {
            return Some(*number);
        }
        if self.contexts.len() >= CONTEXTS {
            if !self.overflowed {
                self.overflowed = true;
                self.note(b'o', b"");
            }
            return None;
        }
        let event: Event = serde_json::from_slice(json).ok()?;
        self.note(b'c', json);
        Some(self.keep(json, event))
    }

    /// Notes a field of an event.
    pub fn field(&mut self, name: &str, kind: FieldType) {
        if !self.fields.types(name).contains(&kind) {
            self.fields.add(name, kind);
            // A name with a line break would break the file; the field is found all the same.
            if !name.contains('\n') {
                self.note(b'f', format!("{} {name}", kind.name()).as_bytes());
            }
        }
    }

    /// Makes durable what is new.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some((_, file)) = &mut self.file
            && !self.pending.is_empty()
        {
            let before = file.stream_position()?;
            let written = file
                .write_all(&self.pending)
                .and_then(|()| file.sync_data());
            if let Err(error) = written {
                // What was half written would hide what follows.
                file.set_len(before)?;
                file.seek(SeekFrom::Start(before))?;
                return Err(error);
            }
        }
        self.pending.clear();
        Ok(())
    }

    /// The contexts by their numbers.
    pub fn contexts(&self) -> &[Arc<Event>] {
        &self.contexts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_synced_survives_and_a_torn_line_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dictionary");
        let mut dictionary = Dictionary::open(&path).unwrap();
        assert_eq!(dictionary.number(br#"{"app":"a"}"#), Some(0));
        assert_eq!(dictionary.number(br#"{"app":"b"}"#), Some(1));
        assert_eq!(dictionary.number(br#"{"app":"a"}"#), Some(0));
        dictionary.field("x.y", FieldType::Long);
        dictionary.sync().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..40 {
            std::fs::write(&path, [&whole[..], &whole[..cut]].concat()).unwrap();
            let read = Dictionary::open(&path).unwrap();
            assert!(read.contexts().len() >= 2 && read.fields.types("x.y") == [FieldType::Long]);
        }
        let mut broken = whole.clone();
        broken[12] ^= 1;
        std::fs::write(&path, broken).unwrap();
        assert_eq!(
            Dictionary::open(&path).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
