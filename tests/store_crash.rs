//! A process that writes is killed at random moments: nothing that it was told is durable is lost,
//! no transaction is half there, and the lock goes with the process.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use lain::drivers::redb::RedbStore;
use lain::ports::store::{Change, Outcome, Store, StoreError};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Names the store's file for a child; this binary then plays the writer.
const FILE: &str = "LAIN_TEST_STORE_FILE";
/// How often the writer is killed.
const KILLS: u32 = 30;
/// Writers at the same time, so that commits carry several transactions.
const WRITERS: u32 = 8;

/// A child that is killed when the test ends, however it ends.
struct Writer(Child);

impl Writer {
    fn start(file: &Path, test: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(FILE, file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// The lines that it has said, to be read after its death too.
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let out = BufReader::new(self.0.stdout.take().unwrap());
        out.lines().map_while(Result::ok)
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn child_file() -> Option<PathBuf> {
    std::env::var_os(FILE).map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_no_acknowledged_key_is_lost() {
    if let Some(file) = child_file() {
        return write_for_ever(&file).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lain.redb");
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    for kill in 0..KILLS {
        let name = "killed_at_any_moment_no_acknowledged_key_is_lost";
        let mut writer = Writer::start(&file, name);
        let lines = writer.lines();
        // From within the opening of the file to deep in the stream of commits.
        let pause = (seed ^ u64::from(kill).wrapping_mul(0x9E37_79B9_7F4A_7C15)) % 120;
        std::thread::sleep(Duration::from_millis(pause));
        writer.kill();
        for line in lines {
            // A line that the kill cut short was not said.
            if let Some((key, revision)) = line.strip_prefix("ack ").and_then(|l| l.split_once(' '))
                && let Some(revision) = revision.strip_suffix(';')
            {
                acknowledged.insert(key.to_owned(), revision.parse().unwrap());
            }
        }
        check(&file, &acknowledged).await;
    }
    eprintln!(
        "{} keys acknowledged over {KILLS} kills",
        acknowledged.len()
    );
    assert!(acknowledged.len() > 100, "the writers hardly wrote");
}

/// Every acknowledged key is there at its revision, its twin with it, and the store goes on.
async fn check(file: &Path, acknowledged: &BTreeMap<String, u64>) {
    let store = RedbStore::open(file).unwrap();
    for (key, revision) in acknowledged {
        let found = store.get(&format!("k/{key}")).await.unwrap();
        assert_eq!(found.map(|e| e.revision), Some(*revision), "{key}");
    }
    let all = store.list("k/", None, usize::MAX).await.unwrap();
    let twins = store.list("twin/", None, usize::MAX).await.unwrap();
    let pairs = |entries: &[lain::ports::store::Entry]| {
        let pair = |e: &lain::ports::store::Entry| {
            let name = e.key.split_once('/').unwrap().1;
            (name.to_owned(), e.revision)
        };
        entries.iter().map(pair).collect::<Vec<_>>()
    };
    assert_eq!(pairs(&all), pairs(&twins), "half a transaction");
    let newest = all.iter().map(|e| e.revision).max().unwrap_or(0);
    let checks = store.describe().await.unwrap().revision;
    assert!(checks >= newest, "{checks} {newest}");
}

/// The child: writes pairs of keys and says which are acknowledged.
async fn write_for_ever(file: &Path) {
    let store = Arc::new(RedbStore::open(file).unwrap());
    let started = std::process::id();
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0u64.. {
                let name = format!("{started}-{writer}-{n}");
                let put = |space: &str| Change::Put(format!("{space}/{name}"), vec![7; 200]);
                let changes = vec![put("k"), put("twin")];
                let outcome = store.transact(Vec::new(), changes).await.unwrap();
                let Outcome::Committed(revision) = outcome else {
                    panic!("{outcome:?}");
                };
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nack {name} {revision};").unwrap();
                out.flush().unwrap();
            }
        })
    });
    futures_util::future::join_all(writers).await;
}

#[tokio::test]
async fn a_second_lain_is_told_who_has_the_store() {
    if let Some(file) = child_file() {
        let store = RedbStore::open(file).unwrap();
        store.note_url("http://127.0.0.1:7419").unwrap();
        println!("\nopen");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lain.redb");
    let mut owner = Writer::start(&file, "a_second_lain_is_told_who_has_the_store");
    let mut lines = owner.lines();
    assert!(lines.any(|line| line == "open"));
    let refused = RedbStore::open(&file).unwrap_err();
    let pid = owner.0.id();
    let expected = format!(
        "the store {} is in use by another lain (pid {pid}, serving http://127.0.0.1:7419); \
         stop it, or give this one another --data-dir",
        file.display()
    );
    assert_eq!(refused.to_string(), expected);
    assert!(matches!(refused, StoreError::InUse { .. }));

    owner.kill();
    let store = RedbStore::open(&file).unwrap();
    let refused = RedbStore::open(&file).unwrap_err().to_string();
    assert!(
        refused.contains(&format!("(pid {})", std::process::id())),
        "{refused}"
    );
    drop(store);
    RedbStore::open(&file).unwrap();
}
