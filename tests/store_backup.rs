//! Backup, restore and migration, between the embedded store, the in-memory one and etcd.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

mod etcd_support;

use chrono::DateTime;
use etcd_support::Etcd;
use lain::backup::{
    BackupError, Existing, back_up_to_file, is_incomplete, migrate, restore_from_file, snapshot,
};
use lain::drivers::memory::MemoryStore;
use lain::drivers::redb::RedbStore;
use lain::ports::store::{Change, Store, StoreError};
use std::os::unix::fs::PermissionsExt;

const KEYS: usize = 1234;

/// A store with more than one transaction can write, bytes that are no text, and an election's key.
async fn fill(store: &dyn Store) {
    for page in 0..KEYS.div_ceil(100) {
        let keys = (page * 100..KEYS.min(page * 100 + 100)).map(|n| {
            let value = match n % 3 {
                0 => format!("{{\"n\":{n}}}").into_bytes(),
                1 => vec![255; n],
                _ => Vec::new(),
            };
            Change::Put(format!("apps/{n:05}"), value)
        });
        store.transact(Vec::new(), keys.collect()).await.unwrap();
    }
    let seat = Change::Put("election/server".into(), b"{}".to_vec());
    store.transact(Vec::new(), vec![seat]).await.unwrap();
}

#[tokio::test]
async fn all_of_a_store_goes_to_etcd_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let redb = RedbStore::open(dir.path().join("a.redb")).unwrap();
    fill(&redb).await;
    let etcd = Etcd::start();
    let cluster = etcd.store("a").await;
    let summary = migrate(&redb, &cluster, Existing::Refuse).await.unwrap();
    assert_eq!(summary.entries, KEYS);
    assert_eq!(cluster.get("election/server").await.unwrap(), None);
    assert!(!is_incomplete(&cluster).await.unwrap());

    let file = dir.path().join("backup.gz");
    let made = back_up_to_file(&cluster, &file, DateTime::UNIX_EPOCH)
        .await
        .unwrap();
    assert_eq!((made.entries, made.bytes), (KEYS, summary.bytes));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = RedbStore::open(dir.path().join("b.redb")).unwrap();
    let restored = restore_from_file(&again, &file, Existing::Refuse)
        .await
        .unwrap();
    assert_eq!(restored.created_at, Some(DateTime::UNIX_EPOCH));
    assert_eq!(
        snapshot(&again).await.unwrap(),
        snapshot(&redb).await.unwrap()
    );
    let names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        !names.iter().any(|n| n.to_string_lossy().ends_with(".part")),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_store_that_is_in_use_is_not_overwritten_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let (full, other) = (MemoryStore::new(), MemoryStore::new());
    fill(&full).await;
    let file = dir.path().join("backup.gz");
    back_up_to_file(&full, &file, DateTime::UNIX_EPOCH)
        .await
        .unwrap();
    let why = back_up_to_file(&full, &file, DateTime::UNIX_EPOCH)
        .await
        .unwrap_err();
    assert!(matches!(why, BackupError::Exists(_)), "{why}");

    let kept = vec![
        Change::Put("apps/other".into(), b"1".to_vec()),
        Change::Put("election/server".into(), b"{}".to_vec()),
    ];
    other.transact(Vec::new(), kept).await.unwrap();
    let why = restore_from_file(&other, &file, Existing::Refuse)
        .await
        .unwrap_err();
    assert!(why.to_string().contains("it has apps/other"), "{why}");
    assert_eq!(snapshot(&other).await.unwrap().len(), 1);
    restore_from_file(&other, &file, Existing::Replace)
        .await
        .unwrap();
    assert_eq!(
        snapshot(&other).await.unwrap(),
        snapshot(&full).await.unwrap()
    );
    assert!(
        other.get("election/server").await.unwrap().is_some(),
        "a leader stays"
    );
}

#[tokio::test]
async fn a_damaged_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (full, other) = (MemoryStore::new(), MemoryStore::new());
    fill(&full).await;
    let file = dir.path().join("backup.gz");
    back_up_to_file(&full, &file, DateTime::UNIX_EPOCH)
        .await
        .unwrap();
    let good = std::fs::read(&file).unwrap();
    for at in (0..good.len()).step_by(good.len() / 97) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        std::fs::write(&file, &bad).unwrap();
        // A few bytes of gzip's own header mean nothing.
        let done = restore_from_file(&other, &file, Existing::Replace).await;
        match done {
            Ok(_) => assert!(at < 10, "byte {at} was changed, and nobody noticed"),
            Err(_) => assert!(!is_incomplete(&other).await.unwrap()),
        }
    }
    std::fs::write(&file, &good[..good.len() - 1]).unwrap();
    assert!(
        restore_from_file(&MemoryStore::new(), &file, Existing::Refuse)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_restore_that_breaks_off_is_seen_and_can_be_repeated() {
    let (full, other) = (MemoryStore::new(), MemoryStore::new());
    fill(&full).await;
    // The first transactions succeed, then the store fails for good.
    let broken = async {
        while snapshot(&other).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        other.fail_writes(Some(StoreError::DiskFull {
            path: "memory".into(),
        }));
    };
    other.delay(std::time::Duration::from_millis(1));
    let (done, ()) = tokio::join!(migrate(&full, &other, Existing::Refuse), broken);
    assert!(
        matches!(done, Err(BackupError::Store(StoreError::DiskFull { .. }))),
        "{done:?}"
    );
    assert!(is_incomplete(&other).await.unwrap());
    other.fail_writes(None);
    let why = migrate(&full, &other, Existing::Refuse).await.unwrap_err();
    assert!(matches!(why, BackupError::NotEmpty { .. }), "{why}");
    migrate(&full, &other, Existing::Replace).await.unwrap();
    assert!(!is_incomplete(&other).await.unwrap());
    assert_eq!(
        snapshot(&other).await.unwrap(),
        snapshot(&full).await.unwrap()
    );
}

#[tokio::test]
async fn two_who_fill_one_store_notice() {
    let (full, other) = (MemoryStore::new(), MemoryStore::new());
    fill(&full).await;
    other.delay(std::time::Duration::from_millis(1));
    let (a, b) = tokio::join!(
        migrate(&full, &other, Existing::Replace),
        migrate(&full, &other, Existing::Replace)
    );
    let interfered = |r: &Result<_, BackupError>| matches!(r, Err(BackupError::Interfered(_)));
    assert!(interfered(&a) || interfered(&b), "{a:?} {b:?}");
}
