//! What the log index has acknowledged survives SIGKILL at any moment, and is not doubled when it is sent again.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use lain::logging::index::{Index, Options};
use lain::ports::clock::SystemClock;
use lain::ports::log_index::{IndexEvent, LogFilter, LogIndex, LogSearch};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Names the folder; this binary is then the child that indexes until it is killed.
const FOLDER: &str = "LAIN_TEST_INDEX_FOLDER";
/// Where the child begins.
const FROM: &str = "LAIN_TEST_INDEX_FROM";
const BATCH: u64 = 50;

fn open(folder: &Path) -> Arc<Index> {
    let options = Options {
        keep_days: 100_000,
        ..Options::new(folder.to_owned())
    };
    Index::open(options, Arc::new(SystemClock::new())).unwrap()
}

fn batch(from: u64) -> Vec<IndexEvent> {
    (from..from + BATCH).map(event).collect()
}

fn event(n: u64) -> IndexEvent {
    // Two days, so that a batch is in two partitions; new contexts and fields all the time.
    let at = format!(
        "2025-03-0{}T00:{:02}:{:02}Z",
        1 + n % 2,
        n / 60 % 60,
        n % 60
    );
    let json = json!({"app": format!("app{}", n / 100), "message": format!("event {n}"), "seq": n, (format!("field{}", n / 70)): n});
    IndexEvent {
        id: format!("{n:032x}"),
        at: at.parse().unwrap(),
        json: serde_json::to_vec(&json).unwrap(),
    }
}

/// Only does something as the child.
#[tokio::test]
async fn child_that_indexes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let index = open(Path::new(&folder));
    let mut from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    loop {
        let appended = index.append(batch(from)).await.unwrap();
        assert!(appended.refused.is_empty());
        from += BATCH;
        writeln!(std::io::stdout(), "acknowledged {from}").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0_u64;
    for round in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "child_that_indexes_until_it_is_killed",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            // The last batch of the round before is sent again, as a spool would.
            .env(FROM, acknowledged.saturating_sub(BATCH).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.by_ref() {
            if let Some((_, count)) = line.unwrap().split_once("acknowledged ") {
                acknowledged = acknowledged.max(count.parse().unwrap());
                seen += 1;
            }
            if seen == 3 + round {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(round * 7)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too.
        for line in lines.map_while(Result::ok) {
            if let Some((_, count)) = line.split_once("acknowledged ") {
                acknowledged = acknowledged.max(count.parse().unwrap());
            }
        }
        let index = open(folder.path());
        let status = LogIndex::status(&*index);
        assert!(status.damaged.is_empty(), "{:?}", status.damaged);
        let there = index.count(LogFilter::default()).await.unwrap();
        assert!(
            there >= acknowledged,
            "{acknowledged} were acknowledged, {there} are there"
        );
        // All of them again: each is known that was acknowledged, and no other is there twice.
        let mut known = 0;
        for from in (0..acknowledged).step_by(usize::try_from(BATCH).unwrap()) {
            known += index.append(batch(from)).await.unwrap().duplicates as u64;
        }
        assert_eq!(known, acknowledged);
        assert_eq!(index.count(LogFilter::default()).await.unwrap(), there);
        let one = LogFilter {
            query: format!("seq: {}", acknowledged - 1),
            ..LogFilter::default()
        };
        assert_eq!(index.count(one).await.unwrap(), 1);
    }
}
