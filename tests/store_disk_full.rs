//! A disk that is full: writes are refused and change nothing, reads go on, and writes go on by
//! themselves once there is space again.
//!
//! The disk is a small tmpfs in a mount namespace of a child process, so that it is gone with the
//! child, however the test ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use futures_util::{FutureExt, StreamExt};
use lain::drivers::redb::RedbStore;
use lain::ports::store::{Change, Outcome, Store, StoreError, WatchEvent};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Names the mount point for the child.
const DISK: &str = "LAIN_TEST_DISK";
/// Set in the child of the child that is killed.
const WRITER: &str = "LAIN_TEST_WRITER";

/// Runs the test `name` of this binary in a child that has a tmpfs of `size`.
fn on_a_small_disk(name: &str, size: &str) {
    let dir = tempfile::tempdir().unwrap();
    // Whoever is not root becomes it in a user namespace, where that is allowed.
    let root = rustix::process::geteuid().is_root();
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(if root { &["-m"][..] } else { &["-Urm"][..] });
        command.args(["sh", "-ec", script, "sh"]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture"]);
        command.env(DISK, dir.path());
        command.status().is_ok_and(|status| status.success())
    };
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"${DISK}\"");
    if !unshare(&mount) {
        eprintln!("not tested: this machine lets nobody mount a tmpfs in a namespace");
        return;
    }
    assert!(
        unshare(&format!("{mount}; exec \"$@\"")),
        "see the child's output above"
    );
}

fn disk() -> Option<PathBuf> {
    std::env::var_os(DISK).map(PathBuf::from)
}

/// Fills the disk to the last byte with a file.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(disk: &Path) -> Self {
        let path = disk.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [65_536, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        Self(path)
    }

    fn remove(self) {
        std::fs::remove_file(self.0).unwrap();
    }
}

/// A store and what it has acknowledged.
struct Subject {
    store: Arc<RedbStore>,
    acknowledged: BTreeMap<String, Vec<u8>>,
    next: u32,
}

impl Subject {
    fn open(disk: &Path) -> Self {
        Self {
            store: Arc::new(RedbStore::open(disk.join("lain.redb")).unwrap()),
            acknowledged: BTreeMap::new(),
            next: 0,
        }
    }

    /// Writes a new key; whether that was acknowledged. Any failure but a full disk fails the test.
    async fn write(&mut self, size: usize) -> bool {
        self.next += 1;
        let (key, value) = (format!("k/{:06}", self.next), vec![self.next as u8; size]);
        let change = Change::Put(key.clone(), value.clone());
        match self.store.transact(Vec::new(), vec![change]).await {
            Ok(Outcome::Committed(_)) => {
                self.acknowledged.insert(key, value);
                true
            }
            Err(StoreError::DiskFull { .. }) => false,
            other => panic!("{other:?}"),
        }
    }

    async fn check(&self) {
        let all = self.store.list("k/", None, usize::MAX).await.unwrap();
        let all: BTreeMap<_, _> = all.into_iter().map(|e| (e.key, e.value)).collect();
        assert!(
            all == self.acknowledged,
            "{} {}",
            all.len(),
            self.acknowledged.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_heals() {
    let Some(disk) = disk() else {
        return on_a_small_disk("a_full_disk_refuses_writes_and_heals", "4m");
    };
    let mut subject = Subject::open(&disk);
    let mut watch = subject.store.watch("k/", None);
    for _ in 0..20 {
        assert!(subject.write(1000).await);
    }
    let reader = Reader::start(&subject.store);
    for round in 0..5 {
        let ballast = Ballast::fill(&disk);
        let mut refused = 0;
        while refused < 20 {
            // Small ones may still fit into what the file has free; large ones soon do not.
            refused += u32::from(!subject.write(20_000).await);
            subject.write(10).await;
        }
        subject.check().await;
        ballast.remove();
        let since = Instant::now();
        while !subject.write(20_000).await {
            assert!(
                since.elapsed() < Duration::from_secs(5),
                "round {round}: never healed"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Room for the next round.
        let gone = Change::DeletePrefix("k/".to_owned());
        subject
            .store
            .transact(Vec::new(), vec![gone])
            .await
            .unwrap();
        subject.acknowledged.clear();
        subject.check().await;
    }
    assert!(reader.stop().await > 100, "reads hardly went on");
    let mut told = 0;
    while let Some(event) = watch.next().now_or_never() {
        assert_ne!(event, Some(WatchEvent::Lost));
        told += 1;
    }
    assert!(told > 20 + 5, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_meet_a_full_disk() {
    let Some(disk) = disk() else {
        return on_a_small_disk("many_writers_meet_a_full_disk", "2m");
    };
    let store = Arc::new(RedbStore::open(disk.join("lain.redb")).unwrap());
    let ballast = Ballast::fill(&disk);
    let write = |n: u32| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let change = Change::Put(format!("k/{n:04}"), vec![1; 8000]);
            (n, store.transact(Vec::new(), vec![change]).await)
        })
    };
    let mut acknowledged = Vec::new();
    for written in futures_util::future::join_all((0..200).map(write)).await {
        match written.unwrap() {
            (n, Ok(_)) => acknowledged.push(format!("k/{n:04}")),
            (_, Err(StoreError::DiskFull { .. })) => {}
            (n, other) => panic!("{n}: {other:?}"),
        }
    }
    assert!(acknowledged.len() < 200, "the disk was not full");
    let there = |entries: Vec<lain::ports::store::Entry>| entries.into_iter().map(|e| e.key);
    let all = store.list("k/", None, 999).await.unwrap();
    acknowledged.sort();
    assert_eq!(there(all).collect::<Vec<_>>(), acknowledged);
    ballast.remove();
    for written in futures_util::future::join_all((200..210).map(write)).await {
        written.unwrap().1.unwrap();
    }
}

#[tokio::test]
async fn killed_on_a_full_disk_lain_starts_and_reads_again() {
    let name = "killed_on_a_full_disk_lain_starts_and_reads_again";
    let Some(disk) = disk() else {
        return on_a_small_disk(name, "2m");
    };
    if std::env::var_os(WRITER).is_some() {
        return write_until_full(&disk).await;
    }
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(WRITER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let written = lines.find_map(|line| line.strip_prefix("written ")?.parse().ok());
    writer.kill().unwrap();
    writer.wait().unwrap();

    let mut subject = Subject::open(&disk);
    let there = subject.store.list("k/", None, usize::MAX).await.unwrap();
    assert_eq!(Some(there.len()), written);
    subject.next = 1000;
    subject.acknowledged = there.into_iter().map(|e| (e.key, e.value)).collect();
    while subject.write(20_000).await {}
    subject.check().await;

    let new = RedbStore::open(disk.join("new.redb"));
    assert!(matches!(new, Err(StoreError::DiskFull { .. })), "{new:?}");
    Ballast(disk.join("ballast")).remove();
    RedbStore::open(disk.join("new.redb")).unwrap();
    assert!(subject.write(20_000).await);
    subject.check().await;
}

/// The child that is killed: writes until the disk is full, and says how many keys it wrote.
async fn write_until_full(disk: &Path) {
    let mut subject = Subject::open(disk);
    for _ in 0..20 {
        assert!(subject.write(5000).await);
    }
    Ballast::fill(disk);
    while subject.write(20_000).await {}
    println!("\nwritten {}", subject.acknowledged.len());
    std::thread::sleep(Duration::from_secs(60));
}

/// Reads all the time; any failure fails the test.
struct Reader {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Reader {
    fn start(store: &Arc<RedbStore>) -> Self {
        let (stop, reads) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (store, stopped, counted) = (Arc::clone(store), Arc::clone(&stop), Arc::clone(&reads));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                store.list("k/", None, 3).await.unwrap();
                store.get("k/000001").await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, reads, task }
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.reads.load(Ordering::Relaxed)
    }
}
