//! What an agent writes down for its watchdog: until when its lease lasts, and what runs under it.
//!
//! Written in place many times a minute and never synced: what a power cut leaves behind is of no use to anybody,
//! and a full disk must not be in the way. A checksum tells a note that is being written from one that is.

use crate::ports::watchdog::Guarded;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// The file, in the agent's data directory.
pub const FILE: &str = "watchdog.note";
/// The first line: length and checksum of what follows, padded to this.
const HEAD: usize = 32;
/// How often a note that is being written is read again.
const READS: u32 = 20;

/// One note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Which start of the machine it is from.
    pub boot: String,
    /// Which start of the agent.
    pub owner: String,
    /// When the lease ends, by the clock that counts since the machine was started; `None`: there is none.
    pub deadline: Option<Duration>,
    /// What may run only until then.
    pub guarded: Vec<Guarded>,
}

/// The file of notes: the last one counts.
#[derive(Debug)]
pub struct Notes(File);

impl Notes {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.mode(0o600).open(path).map(Self)
    }

    /// Replaces the note.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, note: &Note) -> io::Result<()> {
        let json = serde_json::to_vec(note)?;
        let head = format!("{} {:08x}", json.len(), crc32c::crc32c(&json));
        let mut bytes = format!("{head:<width$}\n", width = HEAD - 1).into_bytes();
        bytes.extend_from_slice(&json);
        self.0.write_all_at(&bytes, 0)
    }

    /// The note; `None` where there is none, or none that is whole.
    pub fn read(&self) -> Option<Note> {
        (0..READS).find_map(|_| self.read_once().ok().flatten())
    }

    fn read_once(&self) -> io::Result<Option<Note>> {
        let mut head = [0; HEAD];
        self.0.read_exact_at(&mut head, 0)?;
        let head = String::from_utf8_lossy(&head);
        let Some((length, sum)) = head.trim().split_once(' ') else {
            return Ok(None);
        };
        let (Ok(length), Ok(sum)) = (length.parse::<u32>(), u32::from_str_radix(sum, 16)) else {
            return Ok(None);
        };
        // One that claims to be larger than the file is refused by the read.
        let size = self.0.metadata()?.len();
        if u64::from(length) > size {
            return Ok(None);
        }
        let mut json = vec![0; usize::try_from(length).unwrap_or(0)];
        self.0.read_exact_at(&mut json, HEAD as u64)?;
        if crc32c::crc32c(&json) != sum {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&json).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &str, seconds: u64) -> Note {
        Note {
            boot: crate::drivers::boot_id(),
            owner: owner.to_owned(),
            deadline: Some(Duration::from_secs(seconds)),
            guarded: Vec::new(),
        }
    }

    #[test]
    fn the_last_note_counts_also_when_it_is_shorter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let notes = Notes::open(&path).unwrap();
        assert_eq!(notes.read(), None);
        notes.write(&note("a long name of an agent", 5)).unwrap();
        notes.write(&note("b", 6)).unwrap();
        let reader = Notes::open(&path).unwrap();
        assert_eq!(reader.read(), Some(note("b", 6)));
        use std::os::unix::fs::PermissionsExt;
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_whole_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        Notes::open(&path).unwrap().write(&note("a", 5)).unwrap();
        let good = std::fs::read(&path).unwrap();
        for cut in [0, 5, HEAD, good.len() - 1] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert_eq!(Notes::open(&path).unwrap().read(), None, "{cut} bytes");
        }
        for at in [0, 3, HEAD + 4, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(Notes::open(&path).unwrap().read(), None, "byte {at}");
        }
    }
}
