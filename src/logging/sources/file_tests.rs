//! Container files → spool, over rotations, kills and torn spools: each line once, in order, with the ids
//! that a run without accidents gives.

use super::file::{FileSource, Format, Mark};
use crate::domain::log::{DOCKER, LogBody, LogEvent, LogSource, Stamp};
use crate::logging::event::Encoder;
use crate::logging::event::multiline::{Mode, Rule};
use crate::logging::spool::{Batch, From, Options, Spool};
use crate::ports::runtime::LogFormat;
use proptest::prelude::*;
use regex::bytes::Regex;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "c1";

fn source() -> Arc<LogSource> {
    Arc::new(LogSource {
        source_type: DOCKER.to_owned(),
        container_id: KEY.to_owned(),
        ..LogSource::default()
    })
}

fn entry(stream: &str, at: i64, log: &str) -> String {
    let log = serde_json::to_string(log).unwrap();
    format!(
        "{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"{}\"}}\n",
        Stamp(at)
    )
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn rotate(path: &Path) {
    let with = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    for n in (1..20).rev() {
        let _ = std::fs::rename(with(n), with(n + 1));
    }
    std::fs::rename(path, with(1)).unwrap();
    append(path, "");
}

fn open_source(path: &Path, spool: &Spool, rule: Option<Rule>) -> FileSource {
    let mark = spool.place(KEY).and_then(|bytes| Mark::parse(&bytes));
    FileSource::open(
        path,
        Format::Engine(LogFormat::DockerJson),
        source(),
        KEY,
        mark.as_ref(),
        rule,
    )
}

/// Reads to the end of what is there, in small turns, at most `turns` of them.
fn poll(reader: &mut FileSource, spool: &Spool, now: u64, mut turns: u32) {
    loop {
        let mut batch = Batch::new();
        let time = (Stamp(1), Duration::from_secs(now));
        let polled = reader.poll(200, time, &mut batch, &mut |_| {}).unwrap();
        spool.append(&mut batch).unwrap();
        turns -= 1;
        if polled.end || turns == 0 {
            return;
        }
    }
}

fn events(spool: &Spool) -> Vec<LogEvent> {
    let (_, mut reader) = spool.cursor("all", From::Oldest).unwrap();
    let mut all = Vec::new();
    loop {
        let read = reader.next(1000, 1 << 20).unwrap();
        if read.events.is_empty() {
            return all;
        }
        all.extend(read.events);
    }
}

fn texts(events: &[LogEvent]) -> Vec<String> {
    events
        .iter()
        .map(|event| match &event.body {
            LogBody::Line { message, .. } => String::from_utf8_lossy(message).into_owned(),
            LogBody::Object(text) => String::from_utf8_lossy(text).into_owned(),
        })
        .collect()
}

fn ids(events: &[LogEvent]) -> Vec<(String, u64)> {
    let mut encoder = Encoder::default();
    let id = |event: &LogEvent| {
        let mut id = Vec::new();
        encoder.id(event, &mut id);
        (String::from_utf8(id).unwrap(), event.seq)
    };
    events.iter().map(id).collect()
}

fn spool(dir: &Path) -> Spool {
    let options = Options {
        segment_bytes: 1500,
        ..Options::new(dir.join("spool"))
    };
    Spool::open(options).unwrap().0
}

fn traces() -> Rule {
    Rule {
        start: Regex::new("^E").unwrap(),
        condition: Regex::new("^ ").unwrap(),
        mode: Mode::ContinueThrough,
        timeout: Duration::from_secs(1),
        cap: 1 << 20,
    }
}

#[test]
fn a_gap_stands_where_the_hole_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x-json.log");
    let spool = spool(dir.path());
    append(&path, &entry("stdout", 1_000_000_000, "before\n"));
    let mut reader = open_source(&path, &spool, None);
    poll(&mut reader, &spool, 0, 9);
    std::fs::remove_file(&path).unwrap();
    append(&path, &entry("stdout", 9_000_000_000, "after\n"));
    poll(&mut reader, &spool, 0, 9);
    let events = events(&spool);
    assert_eq!(events.len(), 3);
    let texts = texts(&events);
    assert_eq!((texts[0].as_str(), texts[2].as_str()), ("before", "after"));
    let gap: serde_json::Value = serde_json::from_str(&texts[1]).unwrap();
    assert_eq!(gap["kind"], "log_gap");
    assert_eq!(gap["fields"]["reason"], "rotated_away");
    assert_eq!(gap["fields"]["from"], "1970-01-01T00:00:01Z");
    assert_eq!(gap["fields"]["to"], "1970-01-01T00:00:09Z");
    assert_eq!(gap["container_id"], KEY);
}

#[test]
fn what_docker_wrote_torn_is_counted_and_the_next_line_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x-json.log");
    let spool = spool(dir.path());
    append(&path, &entry("stdout", 1_000_000_000, "a\n"));
    append(&path, "\0\0\0\0\n{\"log\":\"tor\n");
    append(&path, &entry("stdout", 2_000_000_000, "b\n"));
    let mut reader = open_source(&path, &spool, None);
    poll(&mut reader, &spool, 0, 9);
    let texts = texts(&events(&spool));
    assert_eq!((texts[0].as_str(), texts[2].as_str()), ("a", "b"));
    assert!(texts[1].contains("unreadable"), "{}", texts[1]);
}

#[test]
fn a_line_without_an_end_is_kept_when_the_container_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x-json.log");
    let spool = spool(dir.path());
    append(&path, &entry("stdout", 1, "panic: no newline"));
    let mut reader = open_source(&path, &spool, None);
    poll(&mut reader, &spool, 0, 9);
    assert!(events(&spool).is_empty());
    let mut batch = Batch::new();
    reader
        .finish((Stamp(1), Duration::ZERO), &mut batch, &mut |_| {})
        .unwrap();
    spool.append(&mut batch).unwrap();
    assert_eq!(texts(&events(&spool)), ["panic: no newline"]);
    drop(reader);
    let mut again = open_source(&path, &spool, None);
    poll(&mut again, &spool, 0, 9);
    assert_eq!(events(&spool).len(), 1, "and not told twice");
}

#[test]
fn declared_files_are_read_over_rotation_truncation_and_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    let spool = spool(dir.path());
    let source = Arc::new(LogSource {
        file: Some("app.log".to_owned()),
        ..(*source()).clone()
    });
    let mut reader = FileSource::open(&path, Format::Plain, source, "c1:app.log", None, None);
    poll(&mut reader, &spool, 0, 9);
    append(&path, "one\r\ntwo\nthr");
    poll(&mut reader, &spool, 0, 9);
    append(&path, "ee\n");
    std::fs::rename(&path, dir.path().join("app.log.1")).unwrap();
    append(&path, "four\n");
    // The app has not noticed the rotation yet.
    append(&dir.path().join("app.log.1"), "late\n");
    poll(&mut reader, &spool, 0, 99);
    for _ in 0..40 {
        poll(&mut reader, &spool, 0, 9);
    }
    std::fs::remove_file(&path).unwrap();
    append(&path, "five\n");
    for _ in 0..40 {
        poll(&mut reader, &spool, 0, 9);
    }
    std::fs::write(&path, "6\n").unwrap();
    poll(&mut reader, &spool, 0, 9);
    assert_eq!(
        texts(&events(&spool)),
        ["one", "two", "three", "late", "four", "five", "6"]
    );
}

/// One thing that happens to a container's file and its reader.
#[derive(Debug, Clone)]
enum Act {
    /// A line in so many pieces; on standard error or not.
    Line(bool, u8),
    /// A line of a stack trace.
    Trace(bool),
    /// Docker rotates.
    Rotate,
    /// So many turns of reading.
    Read(u32),
    /// lain is killed, and starts again.
    Kill,
    /// A power cut tears the newest segment of the spool, then lain starts again.
    Tear(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (any::<bool>(), 1_u8..4).prop_map(|(err, pieces)| Act::Line(err, pieces)),
        3 => any::<bool>().prop_map(Act::Trace),
        1 => Just(Act::Rotate),
        3 => (1_u32..4).prop_map(Act::Read),
        1 => Just(Act::Kill),
        1 => any::<u16>().prop_map(Act::Tear),
    ];
    prop::collection::vec(act, 1..60)
}

/// Plays the acts; the pieces of two lines that are open at once lie between each other.
fn play(acts: &[Act], accidents: bool, rule: Option<&Rule>) -> Vec<LogEvent> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x-json.log");
    append(&path, "");
    let mut store = spool(dir.path());
    let mut reader = open_source(&path, &store, rule.cloned());
    let mut open: [Vec<String>; 2] = Default::default();
    let mut n = 0;
    for act in acts {
        match act {
            Act::Line(err, pieces) => {
                n += 1;
                let stream = if *err { "stderr" } else { "stdout" };
                let mut all: Vec<String> = (0..*pieces)
                    .map(|p| entry(stream, n / 3, &format!("line {n} piece {p}")))
                    .collect();
                if let Some(last) = all.last_mut() {
                    *last = entry(stream, n / 3, &format!("line {n} end\n"));
                }
                // The other stream's open line waits half-written while this one begins.
                let mine = usize::from(*err);
                append(&path, &open[mine].concat());
                open[mine].clear();
                append(&path, &all.remove(0));
                open[mine] = all;
            }
            Act::Trace(first) => {
                n += 1;
                append(&path, &open[0].concat());
                open[0].clear();
                let text = if *first {
                    format!("E{n}\n")
                } else {
                    format!("  at {n}\n")
                };
                append(&path, &entry("stdout", n / 3, &text));
            }
            Act::Rotate => rotate(&path),
            Act::Read(turns) => poll(&mut reader, &store, 0, *turns),
            Act::Kill if accidents => {
                drop(reader);
                drop(store);
                store = spool(dir.path());
                reader = open_source(&path, &store, rule.cloned());
            }
            Act::Tear(cut) if accidents => {
                drop(reader);
                drop(store);
                let mut segments: Vec<_> = std::fs::read_dir(dir.path().join("spool/segments"))
                    .unwrap()
                    .map(|e| e.unwrap().path())
                    .collect();
                segments.sort();
                let newest = segments.pop().unwrap();
                let length = std::fs::metadata(&newest).unwrap().len();
                let file = std::fs::OpenOptions::new()
                    .write(true)
                    .open(&newest)
                    .unwrap();
                file.set_len(length.saturating_sub(u64::from(*cut) % 300))
                    .unwrap();
                store = spool(dir.path());
                reader = open_source(&path, &store, rule.cloned());
            }
            Act::Kill | Act::Tear(_) => {}
        }
    }
    append(&path, &open.concat().concat());
    poll(&mut reader, &store, 0, u32::MAX);
    poll(&mut reader, &store, 100, u32::MAX);
    let mut batch = Batch::new();
    reader
        .finish(
            (Stamp(1), Duration::from_secs(200)),
            &mut batch,
            &mut |_| {},
        )
        .unwrap();
    store.append(&mut batch).unwrap();
    events(&store)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn accidents_change_nothing(acts in acts(), grouped in any::<bool>()) {
        let rule = grouped.then(traces);
        let wanted = play(&acts, false, rule.as_ref());
        let got = play(&acts, true, rule.as_ref());
        // What a torn write had of a batch is there once more: same id, same number, same text.
        let (mut distinct, mut seen) = (Vec::new(), std::collections::HashSet::new());
        for event in got {
            if seen.insert((ids(std::slice::from_ref(&event)), texts(std::slice::from_ref(&event)))) {
                distinct.push(event);
            }
        }
        prop_assert_eq!(texts(&distinct), texts(&wanted));
        prop_assert_eq!(ids(&distinct), ids(&wanted));
        let numbers: Vec<u64> = wanted.iter().map(|e| e.seq).collect();
        prop_assert_eq!(numbers, (1..=wanted.len() as u64).collect::<Vec<_>>());
    }
}
