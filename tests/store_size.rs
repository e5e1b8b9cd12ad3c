//! The file does not grow without bound: what is overwritten or deleted is used again, and a file
//! that has become mostly empty gives its space back when it is opened.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use lain::drivers::redb::RedbStore;
use lain::ports::store::{Change, Entry, Store};

async fn size(store: &RedbStore) -> u64 {
    store.describe().await.unwrap().bytes
}

/// Overwrites 100 keys with 20,000 bytes each.
async fn fill(store: &RedbStore, round: u8) {
    for n in 0..10 {
        let put = |m| Change::Put(format!("k/{n}/{m}"), vec![round; 20_000]);
        let changes = (0..10).map(put).collect();
        store.transact(Vec::new(), changes).await.unwrap();
    }
}

#[tokio::test]
async fn space_is_used_again_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lain.redb");
    let store = RedbStore::open(&path).unwrap();
    assert!(size(&store).await < 128 * 1024, "an empty store is small");
    fill(&store, 0).await;
    let filled = size(&store).await;
    for round in 1..10 {
        fill(&store, round).await;
    }
    let later = size(&store).await;
    assert!(
        later <= filled * 2,
        "{filled} grew to {later} by overwriting"
    );

    let changes = vec![
        Change::DeletePrefix("k/".to_owned()),
        Change::Put("left".to_owned(), b"over".to_vec()),
    ];
    store.transact(Vec::new(), changes).await.unwrap();
    drop(store);
    let store = RedbStore::open(&path).unwrap();
    let compacted = size(&store).await;
    assert!(compacted < 1024 * 1024, "{later} is still {compacted}");
    let left: Vec<Entry> = store.list("", None, 9).await.unwrap();
    assert_eq!(
        (left.len(), left[0].value.as_slice()),
        (1, b"over".as_slice())
    );
}
