//! The spool on a real disk: crashes, torn writes, damage, limits, cursors.

use super::*;
use crate::domain::log::{LogBody, LogEvent, LogSource, Stamp, Stream};
use proptest::prelude::*;

fn source(name: &str) -> Arc<LogSource> {
    Arc::new(LogSource {
        app: name.to_owned(),
        container_id: name.to_owned(),
        ..LogSource::default()
    })
}

fn add(batch: &mut Batch, source: &Arc<LogSource>, seq: u64, text: &str) {
    batch.line(
        source,
        &Line {
            at: Stamp(seq as i64),
            seq,
            ordinal: 0,
            stream: Stream::Stdout,
            level: None,
            truncated: false,
            message: text.as_bytes(),
        },
    );
}

fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 2000,
        max_bytes: 1 << 20,
        ..Options::new(dir)
    }
}

fn open(dir: &Path) -> Spool {
    Spool::open(options(dir)).unwrap().0
}

/// Appends events `from..to` of `source`, one batch each, noting how far it was read.
fn fill(spool: &Spool, source: &Arc<LogSource>, from: u64, to: u64) {
    let mut batch = Batch::new();
    for seq in from..to {
        add(
            &mut batch,
            source,
            seq,
            &format!("line {seq} {}", "x".repeat(seq as usize % 50)),
        );
        batch.place(&source.container_id, seq.to_le_bytes().to_vec());
        spool.append(&mut batch).unwrap();
    }
}

fn drain(reader: &mut Reader) -> (Vec<LogEvent>, u64) {
    let (mut all, mut lost) = (Vec::new(), 0);
    loop {
        let read = reader.next(7, 300).unwrap();
        lost += read.lost;
        if read.events.is_empty() {
            return (all, lost);
        }
        assert_eq!(read.after.len(), read.events.len());
        all.extend(read.events);
    }
}

fn seqs(events: &[LogEvent]) -> Vec<u64> {
    events.iter().map(|e| e.seq).collect()
}

#[test]
fn events_are_read_in_order_over_segments_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let (a, b) = (source("a"), source("b"));
    fill(&spool, &a, 0, 100);
    let mut batch = Batch::new();
    for seq in 100..110 {
        add(&mut batch, if seq % 2 == 0 { &a } else { &b }, seq, "mixed");
    }
    spool.append(&mut batch).unwrap();
    assert!(batch.is_empty());
    assert!(
        files::list(dir.path()).unwrap().len() > 2,
        "several segments"
    );
    let (_, mut reader) = spool.cursor("s", From::Oldest).unwrap();
    let (events, lost) = drain(&mut reader);
    assert_eq!(seqs(&events), (0..110).collect::<Vec<_>>());
    assert_eq!(lost, 0);
    assert_eq!(events[101].source.app, "b");
    drop((reader, spool));
    let spool = open(dir.path());
    fill(&spool, &b, 110, 120);
    let (_, mut reader) = spool.cursor("other", From::Oldest).unwrap();
    let (events, lost) = drain(&mut reader);
    assert_eq!(seqs(&events), (0..120).collect::<Vec<_>>());
    assert_eq!(lost, 0);
    assert_eq!(spool.figures().events, 120);
    let LogBody::Line { message, .. } = &events[3].body else {
        panic!("a line");
    };
    assert_eq!(&message[..], b"line 3 xxx");
}

#[test]
fn places_are_found_again_and_forgotten_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let (a, b) = (source("a"), source("b"));
    fill(&spool, &b, 0, 3);
    fill(&spool, &a, 0, 100);
    let mut batch = Batch::new();
    batch.forget("gone");
    spool.append(&mut batch).unwrap();
    drop(spool);
    for _ in 0..3 {
        let spool = open(dir.path());
        assert_eq!(spool.place("a"), Some(99_u64.to_le_bytes().to_vec()));
        assert_eq!(spool.place("b"), Some(2_u64.to_le_bytes().to_vec()));
    }
    let spool = open(dir.path());
    batch.forget("b");
    spool.append(&mut batch).unwrap();
    drop(spool);
    assert_eq!(open(dir.path()).places(), ["a"]);
}

#[test]
fn a_sink_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let a = source("a");
    {
        let spool = open(dir.path());
        fill(&spool, &a, 0, 20);
        let (mut cursor, mut reader) = spool.cursor("s", From::Oldest).unwrap();
        let read = reader.next(8, 100_000).unwrap();
        assert_eq!(seqs(&read.events), (0..8).collect::<Vec<_>>());
        let progress = Progress {
            position: read.position,
            index: read.index,
            sent: 8,
            ..cursor.progress()
        };
        cursor.commit(progress).unwrap();
    }
    let spool = open(dir.path());
    let (cursor, mut reader) = spool.cursor("s", From::Oldest).unwrap();
    assert_eq!(cursor.progress().sent, 8);
    assert_eq!(seqs(&drain(&mut reader).0), (8..20).collect::<Vec<_>>());
    let (_, mut fresh) = spool.cursor("new", From::Now).unwrap();
    fill(&spool, &a, 20, 22);
    assert_eq!(seqs(&drain(&mut fresh).0), [20, 21]);
}

#[test]
fn segments_that_every_sink_has_read_go() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    fill(&spool, &source("a"), 0, 200);
    let before = files::list(dir.path()).unwrap();
    spool.trim(before[2].0 + 1).unwrap();
    let after = files::list(dir.path()).unwrap();
    assert_eq!(after[0].0, before[2].0, "the one that is still read stays");
    spool.trim(spool.end()).unwrap();
    assert_eq!(files::list(dir.path()).unwrap().len(), 1);
    fill(&spool, &source("a"), 200, 201);
    assert_eq!(spool.figures().events, 201);
}

#[test]
fn a_full_spool_drops_the_oldest_and_each_sink_counts_what_it_lost() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(Options {
        max_bytes: 8000,
        ..options(dir.path())
    })
    .unwrap()
    .0;
    let (_, mut reader) = spool.cursor("slow", From::Oldest).unwrap();
    fill(&spool, &source("a"), 0, 500);
    assert!(spool.figures().size <= 8000);
    assert!(spool.figures().dropped_bytes > 0);
    let (events, lost) = drain(&mut reader);
    assert_eq!(lost + events.len() as u64, 500);
    assert_eq!(
        seqs(&events),
        (lost..500).collect::<Vec<_>>(),
        "the newest are there, in order"
    );
}

#[test]
fn a_full_spool_that_blocks_takes_nothing_until_a_sink_has_read() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(Options {
        max_bytes: 8000,
        when_full: WhenFull::Block,
        ..options(dir.path())
    })
    .unwrap()
    .0;
    let a = source("a");
    let (_, mut reader) = spool.cursor("slow", From::Oldest).unwrap();
    let mut batch = Batch::new();
    let mut taken = 0;
    let error = loop {
        add(&mut batch, &a, taken, "some text of a line");
        match spool.append(&mut batch) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SpoolError::Full { .. }), "{error}");
    assert_eq!(batch.events(), 1, "the batch is kept");
    assert_eq!(spool.figures().refusals, 1);
    let (events, lost) = drain(&mut reader);
    assert_eq!((events.len() as u64, lost), (taken, 0));
    spool.trim(spool.end()).unwrap();
    spool.append(&mut batch).unwrap();
    assert_eq!(seqs(&drain(&mut reader).0), [taken]);
}

#[test]
fn one_record_longer_than_a_read_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let mut batch = Batch::new();
    add(&mut batch, &source("a"), 0, &"long ".repeat(5000));
    add(&mut batch, &source("a"), 1, "short");
    spool.append(&mut batch).unwrap();
    let (_, mut reader) = spool.cursor("s", From::Oldest).unwrap();
    assert_eq!(seqs(&drain(&mut reader).0), [0, 1]);
}

#[test]
fn syncing_makes_durable_what_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    fill(&spool, &source("a"), 0, 3);
    assert!(spool.durable() < spool.end());
    spool.sync().unwrap();
    assert_eq!(spool.durable(), spool.end());
}

/// The newest segment's file.
fn newest(dir: &Path) -> PathBuf {
    let last = files::list(dir)
        .unwrap()
        .into_iter()
        .rfind(|(_, length)| *length > 0);
    files::path(dir, last.unwrap().0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Cut the newest segment anywhere, as a power cut does: the spool starts, what is there is a prefix, and
    /// the place of the source never lies beyond it.
    #[test]
    fn a_torn_segment_leaves_a_prefix_and_a_place_within_it(count in 1_u64..60, cut in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        let a = source("a");
        {
            let spool = open(dir.path());
            fill(&spool, &a, 0, count);
        }
        let path = newest(dir.path());
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(cut.index(length + 1) as u64).unwrap();
        let spool = open(dir.path());
        let place = spool.place("a").map(|p| u64::from_le_bytes(p.try_into().unwrap()));
        let resume = place.map_or(0, |last| last + 1);
        fill(&spool, &a, resume, count + 5);
        let (_, mut reader) = spool.cursor("s", From::Oldest).unwrap();
        let (events, lost) = drain(&mut reader);
        let mut distinct = seqs(&events);
        distinct.dedup();
        prop_assert_eq!(distinct, (0..count + 5).collect::<Vec<_>>(), "every line, in order");
        prop_assert!(events.len() as u64 <= count + 6, "at most the line of the torn write twice");
        prop_assert_eq!(lost, 0);
    }

    /// Flip any bit of any segment: the spool starts, all but the record hit is read, and what is lost is counted.
    #[test]
    fn a_flipped_bit_is_skipped_and_counted(
        count in 10_u64..80,
        segment in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let a = source("a");
        {
            let spool = open(dir.path());
            let mut batch = Batch::new();
            for seq in 0..count {
                add(&mut batch, &a, seq, "some text");
                spool.append(&mut batch).unwrap();
            }
        }
        let segments: Vec<_> = files::list(dir.path()).unwrap().into_iter().filter(|s| s.1 > 0).collect();
        let path = files::path(dir.path(), segments[segment.index(segments.len())].0);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, &bytes).unwrap();
        let spool = open(dir.path());
        fill(&spool, &a, count, count + 3);
        let (_, mut reader) = spool.cursor("s", From::Oldest).unwrap();
        let (events, lost) = drain(&mut reader);
        let found = seqs(&events);
        prop_assert!(found.windows(2).all(|w| w[0] < w[1]), "in order, none twice: {:?}", found);
        let missing = count + 3 - found.len() as u64;
        // The last record of all has no later one that would tell of it, and its number is given again.
        let torn = u64::from(missing > lost);
        prop_assert!(missing <= lost + torn, "missing {} lost {}", missing, lost);
        prop_assert!(found.ends_with(&[count, count + 1, count + 2]));
    }
}

#[test]
fn what_every_sink_has_stays_for_a_while_but_never_beyond_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        keep: Duration::from_secs(3600),
        max_bytes: 20_000,
        ..options(dir.path())
    };
    let (spool, _) = Spool::open(options).unwrap();
    let shop = source("shop");
    fill(&spool, &shop, 0, 60);
    let size = spool.figures().size;
    spool.trim(spool.end()).unwrap();
    assert_eq!(spool.figures().size, size, "it is young");
    let old = std::time::SystemTime::now() - Duration::from_secs(7200);
    for (base, _) in files::list(dir.path()).unwrap().iter().take(2) {
        let file = std::fs::File::options()
            .write(true)
            .open(files::path(dir.path(), *base))
            .unwrap();
        file.set_modified(old).unwrap();
    }
    spool.trim(spool.end()).unwrap();
    assert!(spool.figures().size < size, "two segments were old");
    fill(&spool, &shop, 60, 600);
    let figures = spool.figures();
    assert!(figures.size <= 20_000, "{figures:?}");
}
