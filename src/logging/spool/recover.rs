//! What can still be read of a segment: everything but what is damaged. Pure.
//!
//! After SIGKILL or a power cut a segment may end in the middle of a record, and a disk may have changed
//! any byte. Neither keeps the spool from starting: damage is skipped and counted.

use super::record::{self, Record, Step};

/// What became of a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scan {
    /// Where the last whole record ends; what follows is torn.
    pub end: usize,
    /// Whole records.
    pub records: u64,
    /// Whole records that are events.
    pub events: u64,
    /// Bytes between whole records that belong to none.
    pub skipped_bytes: u64,
    /// Events that the skipped bytes held.
    pub lost_events: u64,
    /// The index of the next event; `None` when nothing whole was found.
    pub next_index: Option<u64>,
}

/// The next whole record at or after `from`; `None` when there is none in these bytes.
pub fn resync(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        at += memchr::memchr(0x4c, &bytes[at..])?;
        if let Step::Record(..) = record::read(bytes, at) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The first place at or after `from` where a record may begin whose end is not in these bytes.
pub fn beginning(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|at| matches!(record::read(bytes, *at), Step::Partial(_)))
}

/// Reads all whole records of a segment. `first` is the index of its first event, where that is known: then
/// events lost at its beginning are counted too.
pub fn scan(bytes: &[u8], first: Option<u64>, mut visit: impl FnMut(&Record<'_>)) -> Scan {
    let mut scan = Scan {
        next_index: first,
        ..Scan::default()
    };
    let mut at = 0;
    loop {
        match record::read(bytes, at) {
            Step::Record(record, next) => {
                if let Some(expected) = scan.next_index {
                    let lost = record.index.saturating_sub(expected);
                    scan.lost_events = scan.lost_events.saturating_add(lost);
                }
                let counts = u64::from(record.kind.is_event());
                scan.next_index = Some(record.index.saturating_add(counts));
                scan.records += 1;
                scan.events += counts;
                visit(&record);
                (at, scan.end) = (next, next);
            }
            Step::Partial(_) | Step::Bad => match resync(bytes, at + 1) {
                Some(next) => {
                    scan.skipped_bytes += (next - at) as u64;
                    at = next;
                }
                None => return scan,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Kind;
    use super::*;
    use proptest::prelude::*;

    /// A segment of `sizes.len()` events, and where each record ends.
    fn segment(sizes: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (n, size) in sizes.iter().enumerate() {
            let payload: Vec<u8> = (0..*size).map(|i| (i * 7 + n) as u8).collect();
            record::write(Kind::Line, n as u64, &payload, &mut bytes);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn indices(bytes: &[u8]) -> (Vec<u64>, Scan) {
        let mut found = Vec::new();
        let scan = scan(bytes, Some(0), |record| found.push(record.index));
        (found, scan)
    }

    #[test]
    fn a_whole_segment_is_read_whole() {
        let (bytes, _) = segment(&[0, 5, 100]);
        let (found, scan) = indices(&bytes);
        assert_eq!(found, [0, 1, 2]);
        assert_eq!(scan.end, bytes.len());
        assert_eq!((scan.skipped_bytes, scan.lost_events), (0, 0));
        assert_eq!(scan.next_index, Some(3));
    }

    /// Found by the fuzz target.
    #[test]
    fn indices_that_go_to_the_end_and_back_do_not_overflow() {
        let mut bytes = Vec::new();
        for index in [u64::MAX, 0, u64::MAX - 1, 3, u64::MAX] {
            record::write(Kind::Line, index, b"x", &mut bytes);
        }
        let (found, scan) = indices(&bytes);
        assert_eq!(found.len(), 5);
        assert_eq!(scan.lost_events, u64::MAX);
    }

    #[test]
    fn a_record_that_looks_like_one_inside_another_is_not_found_while_the_outer_one_is_whole() {
        let mut inner = Vec::new();
        record::write(Kind::Line, 77, b"inner", &mut inner);
        let mut bytes = Vec::new();
        record::write(Kind::Line, 0, &inner, &mut bytes);
        assert_eq!(indices(&bytes).0, [0]);
    }

    proptest! {
        /// Cut anywhere: what was whole before the cut is read, the rest is torn, nothing is invented.
        #[test]
        fn a_torn_write_costs_what_was_torn(
            sizes in prop::collection::vec(0_usize..80, 1..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let (bytes, ends) = segment(&sizes);
            let cut = cut.index(bytes.len() + 1);
            let (found, scan) = indices(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            prop_assert_eq!(found, (0..whole as u64).collect::<Vec<_>>());
            prop_assert_eq!(scan.end, ends[..whole].last().copied().unwrap_or(0));
            prop_assert_eq!(scan.lost_events, 0);
        }

        /// Flip any bit: at most the record that it is in is lost, and that is counted.
        #[test]
        fn a_flipped_bit_costs_one_record(
            sizes in prop::collection::vec(0_usize..80, 2..12),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let (mut bytes, ends) = segment(&sizes);
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let hit = ends.iter().filter(|end| **end <= place).count() as u64;
            let (found, scan) = indices(&bytes);
            let wanted: Vec<u64> = (0..sizes.len() as u64).filter(|n| *n != hit).collect();
            prop_assert_eq!(found, wanted);
            // One at the end leaves no later record that would tell.
            let last = hit + 1 == sizes.len() as u64;
            prop_assert_eq!(scan.lost_events, u64::from(!last));
            if !last {
                prop_assert!(scan.skipped_bytes >= record::HEADER as u64);
            }
        }

        /// Any bytes at all: no panic, no record without a right checksum, every byte accounted for.
        #[test]
        fn garbage_is_skipped(
            before in prop::collection::vec(any::<u8>(), 0..200),
            sizes in prop::collection::vec(0_usize..40, 0..5),
            after in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let (whole, _) = segment(&sizes);
            let bytes = [before.as_slice(), &whole, &after].concat();
            let mut in_records = 0;
            let scan = scan(&bytes, Some(0), |r| in_records += record::HEADER + r.payload.len());
            prop_assert!(scan.records >= sizes.len() as u64);
            prop_assert_eq!(scan.end, in_records + scan.skipped_bytes as usize);
        }
    }
}
