//! The spool's recovery: whatever a crash or a broken disk left, nothing panics, no record is invented, every
//! byte is accounted for, and a record that was whole before the damage is found after it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use record::{HEADER, Kind};

#[path = "../../src/logging/spool/record.rs"]
pub mod record;
#[path = "../../src/logging/spool/recover.rs"]
pub mod recover;

fuzz_target!(|data: &[u8]| {
    // As it is.
    let mut in_records = 0;
    let scan = recover::scan(data, None, |r| in_records += HEADER + r.payload.len());
    assert_eq!(scan.end as u64, in_records as u64 + scan.skipped_bytes);
    assert!(scan.end <= data.len());
    // Between two whole records: both are found.
    let mut bytes = Vec::new();
    record::write(Kind::Line, 0, b"before", &mut bytes);
    let first = bytes.len();
    bytes.extend_from_slice(data);
    record::write(Kind::Object, u64::MAX - 1, b"after", &mut bytes);
    let mut found = Vec::new();
    recover::scan(&bytes, Some(0), |r| found.push((r.at, r.payload.to_vec())));
    assert_eq!(found[0], (HEADER, b"before".to_vec()));
    assert_eq!(found.last().map(|f| f.1.as_slice()), Some(&b"after"[..]));
    assert!(found.windows(2).all(|w| w[0].0 < w[1].0));
    // Payloads are read without a panic, whatever they hold.
    recover::scan(data, None, |r| {
        let _ = record::Event::read(r.payload);
        let _ = record::unkeyed(r.payload);
    });
    let _ = recover::beginning(&bytes, first);
});
