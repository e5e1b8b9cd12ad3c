//! What a former process left: where its segments end, what damage there is, how far sources were read.

use super::record::{self, Kind};
use super::state::Span;
use super::{Recovered, SpoolError, files, recover};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::Path;

#[derive(Default)]
pub(super) struct Found {
    pub(super) spans: VecDeque<Span>,
    pub(super) index: u64,
    pub(super) places: BTreeMap<String, Vec<u8>>,
    pub(super) recovered: Recovered,
}

/// Reads what a former process left: the newest segments whole, as far back as a snapshot of the places is.
pub(super) fn recovery(dir: &Path) -> Result<Found, SpoolError> {
    let mut found = Found::default();
    let segments = files::list(dir)?;
    let mut ends: BTreeMap<u64, u64> = segments
        .iter()
        .map(|(base, length)| (*base, base + length))
        .collect();
    let mut newest = None;
    let mut scanned = Vec::new();
    for (base, _) in segments.iter().rev() {
        let path = files::path(dir, *base);
        let bytes = std::fs::read(&path).map_err(|e| files::failed("read", &path, e))?;
        let mut places: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        let mut begins = false;
        // The places since the beginning of the segment, while there was nothing else.
        let mut leading = Some(0_u64);
        let scan = recover::scan(&bytes, None, |record| {
            let before = leading.take();
            match (record.kind, record::unkeyed(record.payload)) {
                (Kind::Forget, Some(("", count))) => {
                    begins |= before.is_some_and(|n| n.to_le_bytes() == count);
                }
                (Kind::Place, Some((key, place))) => {
                    places.insert(key.to_owned(), Some(place.to_vec()));
                    leading = before.map(|n| n + 1);
                }
                (Kind::Forget, Some((key, _))) => {
                    places.insert(key.to_owned(), None);
                }
                _ => {}
            }
        });
        found.recovered.damaged_bytes += scan.skipped_bytes;
        found.recovered.lost_events += scan.lost_events;
        newest = newest.or(scan.next_index);
        if scanned.is_empty() {
            // Nothing after it was ever written: what is torn goes, and positions stay without holes.
            let end = scan.end as u64;
            found.recovered.torn_bytes = bytes.len() as u64 - end;
            if found.recovered.torn_bytes > 0 {
                let opened = std::fs::OpenOptions::new().write(true).open(&path);
                let cut = opened.and_then(|file| file.set_len(end));
                cut.map_err(|e| files::failed("cut", &path, e))?;
            }
            ends.insert(*base, base + end);
        }
        scanned.push(places);
        if begins {
            break;
        }
    }
    found.index = newest.unwrap_or_default();
    for places in scanned.into_iter().rev() {
        for (key, place) in places {
            match place {
                Some(place) => found.places.insert(key, place),
                None => found.places.remove(&key),
            };
        }
    }
    for (base, _) in &segments {
        let end = ends.get(base).copied().unwrap_or(*base);
        found.spans.push_back(Span {
            base: *base,
            first_index: first_index(dir, *base).unwrap_or(0),
            end,
            closed: true,
        });
    }
    // A segment whose beginning is damaged begins where the one before it ends, as far as is known.
    let mut least = 0;
    for span in &mut found.spans {
        span.first_index = span.first_index.max(least);
        least = span.first_index;
    }
    Ok(found)
}

/// The index of the first whole record near the beginning of a segment.
fn first_index(dir: &Path, base: u64) -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let file = File::open(files::path(dir, base)).ok()?;
    let mut bytes = vec![0; 64 << 10];
    let length = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(length);
    let at = recover::resync(&bytes, 0)?;
    match record::read(&bytes, at) {
        record::Step::Record(record, _) => Some(record.index),
        _ => None,
    }
}
