//! Power loss, simulated: of what was written since the last sync, any part may be on the disk.
//! Whatever part that is, every acknowledged transaction is there and no other is there by half.

use super::*;
use crate::drivers::redb::tables::ENTRIES;
use crate::ports::store::{Change, Compare, Entry, WatchEvent};
use std::sync::{Arc, Mutex};

/// What the operating system holds: what is surely on the disk, and what may or may not be.
#[derive(Debug, Clone, Default)]
struct Disk {
    synced: Vec<u8>,
    seen: Vec<u8>,
    /// Writes (offset, bytes) and length changes (length, none) since the last sync, in order.
    pending: Vec<(usize, Option<Vec<u8>>)>,
    /// How it was at the beginning of each sync, when `recording`.
    moments: Vec<Disk>,
    recording: bool,
}

/// A backend on such a disk.
#[derive(Debug, Clone, Default)]
struct Machine(Arc<Mutex<Disk>>);

fn apply_to(image: &mut Vec<u8>, (offset, bytes): &(usize, Option<Vec<u8>>)) {
    match bytes {
        Some(bytes) => {
            if image.len() < offset + bytes.len() {
                image.resize(offset + bytes.len(), 0);
            }
            image[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        None => image.resize(*offset, 0),
    }
}

impl Machine {
    fn change(&self, change: (usize, Option<Vec<u8>>)) {
        let disk = &mut *self.0.lock().unwrap();
        apply_to(&mut disk.seen, &change);
        disk.pending.push(change);
    }

    /// Another machine that starts with what a power loss now leaves.
    fn after_power_loss(&self, luck: &mut impl FnMut(u64) -> u64) -> Machine {
        self.0.lock().unwrap().after_power_loss(luck)
    }
}

impl Disk {
    /// What a power loss leaves: each pending write with its own luck, and of one in the middle
    /// perhaps only its first half.
    fn after_power_loss(&self, luck: &mut impl FnMut(u64) -> u64) -> Machine {
        let mut image = self.synced.clone();
        for change in &self.pending {
            match (luck(3), change) {
                (0, _) => {}
                (1, (offset, Some(bytes))) if bytes.len() > 512 => {
                    let torn = (*offset, Some(bytes[..bytes.len() / 2].to_vec()));
                    apply_to(&mut image, &torn);
                }
                _ => apply_to(&mut image, change),
            }
        }
        let disk = Disk {
            synced: image.clone(),
            seen: image,
            ..Disk::default()
        };
        Machine(Arc::new(Mutex::new(disk)))
    }
}

impl StorageBackend for Machine {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.0.lock().unwrap();
        let from = usize::try_from(offset).unwrap();
        let bytes = disk.seen.get(from..from + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.change((usize::try_from(len).unwrap(), None));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        if disk.recording {
            let moment = Disk {
                moments: Vec::new(),
                ..disk.clone()
            };
            disk.moments.push(moment);
        }
        disk.synced = disk.seen.clone();
        disk.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.change((usize::try_from(offset).unwrap(), Some(data.to_vec())));
        Ok(())
    }
}

/// xorshift64*: scatters, and is reproducible from the seed.
fn luck_from(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }
}

fn put(key: String, value: Vec<u8>) -> Change {
    Change::Put(key, value)
}

/// A batch of up to five transactions, each writing a pair and sometimes removing one.
fn batch(luck: &mut impl FnMut(u64) -> u64) -> Vec<Vec<Change>> {
    let transactions = 1 + luck(5);
    let transaction = |luck: &mut dyn FnMut(u64) -> u64| {
        let name = luck(40);
        let value = vec![u8::try_from(luck(256)).unwrap(); usize::try_from(luck(3000)).unwrap()];
        let mut changes = vec![put(format!("a/{name}"), value.clone())];
        changes.push(put(format!("b/{name}"), value));
        if luck(4) == 0 {
            let gone = luck(40);
            changes.push(Change::Delete(format!("a/{gone}")));
            changes.push(Change::Delete(format!("b/{gone}")));
        }
        changes
    };
    (0..transactions).map(|_| transaction(luck)).collect()
}

fn content(file: &StoreFile) -> (Vec<Entry>, u64) {
    let entries = file.list("", None, usize::MAX).unwrap();
    (entries, file.revision().unwrap())
}

fn open(machine: Machine) -> StoreFile {
    let opened = StoreFile::with_backend(machine, Path::new("simulated"));
    opened.unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_acknowledged_commit_survives_and_none_is_there_by_half() {
    let seed = rand::random::<u64>() | 1;
    eprintln!("seed {seed}");
    let mut luck = luck_from(seed);
    for _ in 0..12 {
        let machine = Machine::default();
        let file = open(machine.clone());
        file.initialise().unwrap();
        let mut revision = 0;
        for _ in 0..12 {
            let transactions = batch(&mut luck);
            let none: &[Compare] = &[];
            let requests = transactions.iter().map(|t| (none, t.as_slice()));
            let results = file.commit(requests, revision).unwrap();
            revision = results.last().unwrap().revision;
            assert!(
                results
                    .iter()
                    .any(|r| matches!(r.events[0], WatchEvent::Put(_)))
            );
            // The power fails right after the acknowledgement.
            let survivor = open(machine.after_power_loss(&mut luck));
            assert_eq!(content(&survivor), content(&file));
            // And after writes that no commit has followed yet.
            let write = file.db.begin_write().unwrap();
            let mut table = write.open_table(ENTRIES).unwrap();
            table
                .insert(b"half".as_slice(), [0; 5000].as_slice())
                .unwrap();
            drop(table);
            drop(write);
            let survivor = open(machine.after_power_loss(&mut luck));
            assert_eq!(content(&survivor), content(&file));
        }
    }
}

/// The power fails in the middle of a commit: the commit is there as a whole or not at all.
#[test]
fn a_commit_that_the_power_cuts_is_whole_or_absent() {
    let seed = rand::random::<u64>() | 1;
    eprintln!("seed {seed}");
    let mut luck = luck_from(seed);
    let (mut whole, mut absent) = (0, 0);
    for _ in 0..60 {
        let machine = Machine::default();
        let file = open(machine.clone());
        file.initialise().unwrap();
        let none: &[Compare] = &[];
        let mut revision = 0;
        for _ in 0..luck(4) + 1 {
            let before = content(&file);
            machine.0.lock().unwrap().recording = true;
            let transactions = batch(&mut luck);
            let requests = transactions.iter().map(|t| (none, t.as_slice()));
            let results = file.commit(requests, revision).unwrap();
            revision = results.last().unwrap().revision;
            let after = content(&file);
            let moments = std::mem::take(&mut machine.0.lock().unwrap().moments);
            assert!(!moments.is_empty(), "acknowledged without a sync");
            for moment in moments {
                match content(&open(moment.after_power_loss(&mut luck))) {
                    found if found == after => whole += 1,
                    found if found == before => absent += 1,
                    (_, found) => panic!("neither {} nor {}: {found}", before.1, after.1),
                }
            }
        }
    }
    eprintln!("whole {whole}, absent {absent}");
    assert!(absent > 0);
}
