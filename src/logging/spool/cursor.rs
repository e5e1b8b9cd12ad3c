//! How far a sink has come, kept in a small file of two slots.
//!
//! A commit writes the older slot, so that a torn write leaves the newer one. It survives SIGKILL at once
//! and a power cut after [`Cursor::sync`]; an older cursor only means that events are sent again.

use super::SpoolError;
use super::files::{self, failed};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SLOT: u64 = 128;
const FILLED: usize = 56;

/// How far a sink has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The position of the next record.
    pub position: u64,
    /// Events before it, over the whole life of the spool.
    pub index: u64,
    /// Events that the sink acknowledged.
    pub sent: u64,
    /// Events that were not to be sent to it: routed elsewhere, sampled out.
    pub filtered: u64,
    /// Events that it did not get and will not: dead letters, dropped, damaged.
    pub discarded: u64,
}

impl Progress {
    fn write(self, generation: u64) -> [u8; FILLED] {
        let mut slot = [0; FILLED];
        let numbers = [
            generation,
            self.position,
            self.index,
            self.sent,
            self.filtered,
            self.discarded,
        ];
        for (n, number) in numbers.into_iter().enumerate() {
            slot[n * 8..n * 8 + 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&slot[..48]);
        slot[48..52].copy_from_slice(&sum.to_le_bytes());
        slot
    }

    /// The generation and the progress in a slot; `None` for one that was torn or never written.
    fn read(slot: &[u8]) -> Option<(u64, Self)> {
        let slot = slot.get(..FILLED)?;
        let mut four = [0; 4];
        four.copy_from_slice(&slot[48..52]);
        if crc32c::crc32c(&slot[..48]) != u32::from_le_bytes(four) {
            return None;
        }
        let number = |n: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&slot[n * 8..n * 8 + 8]);
            u64::from_le_bytes(eight)
        };
        let progress = Self {
            position: number(1),
            index: number(2),
            sent: number(3),
            filtered: number(4),
            discarded: number(5),
        };
        (number(0) > 0).then_some((number(0), progress))
    }
}

/// The file of one sink's progress.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    file: Arc<File>,
    dirty: bool,
    generation: u64,
    progress: Progress,
}

impl Cursor {
    /// Opens it; `None` as its progress when there is none yet, or none that can be read.
    pub(super) fn open(dir: &Path, name: &str) -> Result<(Self, Option<Progress>), SpoolError> {
        let path = files::cursors_dir(dir).join(name);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = opened.map_err(|e| failed("open", &path, e))?;
        let mut bytes = [0; 2 * SLOT as usize];
        let length = file
            .read_at(&mut bytes, 0)
            .map_err(|e| failed("read", &path, e))?;
        let slots = [0, SLOT as usize].map(|at| {
            let slot = bytes.get(at..length.max(at)).unwrap_or_default();
            Progress::read(slot)
        });
        let newest = slots
            .into_iter()
            .flatten()
            .max_by_key(|(generation, _)| *generation);
        let (generation, progress) = newest.unwrap_or_default();
        let cursor = Self {
            path,
            file: Arc::new(file),
            dirty: false,
            generation,
            progress,
        };
        Ok((cursor, newest.map(|(_, progress)| progress)))
    }

    /// Where it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Notes how far the sink has come.
    ///
    /// # Errors
    /// [`SpoolError::Io`]; the cursor stays where it was.
    pub fn commit(&mut self, progress: Progress) -> Result<(), SpoolError> {
        let generation = self.generation + 1;
        let place = generation % 2 * SLOT;
        let written = self.file.write_all_at(&progress.write(generation), place);
        written.map_err(|e| failed("write", &self.path, e))?;
        (self.generation, self.progress, self.dirty) = (generation, progress, true);
        Ok(())
    }

    /// The file to sync, when something was committed since the last call.
    pub fn unsynced(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.dirty).then(|| Arc::clone(&self.file))
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn sync(&self) -> Result<(), SpoolError> {
        let synced = self.file.sync_data();
        synced.map_err(|e| failed("sync", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(position: u64) -> Progress {
        Progress {
            position,
            index: position / 10,
            sent: 1,
            filtered: 2,
            discarded: 3,
        }
    }

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        files::make_dir(&files::cursors_dir(dir.path())).unwrap();
        dir
    }

    #[test]
    fn what_was_committed_last_is_found_again() {
        let dir = dir();
        let (mut cursor, found) = Cursor::open(dir.path(), "kafka").unwrap();
        assert_eq!(found, None);
        for position in [10, 20, 30] {
            cursor.commit(progress(position)).unwrap();
            let (_, found) = Cursor::open(dir.path(), "kafka").unwrap();
            assert_eq!(found, Some(progress(position)));
        }
    }

    /// Damage every byte in turn: the cursor is the newest or the one before, never another.
    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let dir = dir();
        let (mut cursor, _) = Cursor::open(dir.path(), "x").unwrap();
        cursor.commit(progress(10)).unwrap();
        cursor.commit(progress(20)).unwrap();
        let path = files::cursors_dir(dir.path()).join("x");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let (_, found) = Cursor::open(dir.path(), "x").unwrap();
            let found = found.unwrap();
            assert!(
                found == progress(20) || found == progress(10),
                "byte {at}: {found:?}"
            );
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (_, found) = Cursor::open(dir.path(), "x").unwrap();
            let known = [None, Some(progress(10)), Some(progress(20))];
            assert!(known.contains(&found), "{length} bytes: {found:?}");
        }
    }
}
