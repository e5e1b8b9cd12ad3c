//! One suite of what every store must do, run over the embedded one, the in-memory one and etcd.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

mod etcd_support;

use etcd_support::Etcd;
use futures_util::{FutureExt, StreamExt};
use lain::drivers::memory::MemoryStore;
use lain::drivers::redb::RedbStore;
use lain::ports::store::{Change, Compare, Entry, Outcome, Store, WatchEvent};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Runs one test of the suite over each kind of store, with the revision at which the store begins: an etcd that
/// is empty has one already.
async fn over_each<F: Future<Output = ()>>(test: impl Fn(Arc<dyn Store>, u64) -> F) {
    test(Arc::new(MemoryStore::new()), 0).await;
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path().join("lain.redb")).unwrap();
    test(Arc::new(store), 0).await;
    let etcd = Etcd::start();
    let store = etcd.store("suite").await;
    let base = store.describe().await.unwrap().revision;
    test(Arc::new(store), base).await;
}

fn put(key: &str, value: &str) -> Change {
    Change::Put(key.to_owned(), value.as_bytes().to_vec())
}

fn entry(key: &str, value: &str, created: u64, revision: u64) -> Entry {
    Entry {
        key: key.to_owned(),
        value: value.as_bytes().to_vec(),
        revision,
        created,
    }
}

async fn commit(store: &dyn Store, changes: Vec<Change>) -> u64 {
    match store.transact(Vec::new(), changes).await.unwrap() {
        Outcome::Committed(revision) => revision,
        Outcome::Refused(key, entry) => panic!("refused at {key}: {entry:?}"),
    }
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|e| e.key.as_str()).collect()
}

#[tokio::test]
async fn revisions_count_transactions_that_change_something() {
    over_each(|store, base| async move {
        assert_eq!(store.get("a").await.unwrap(), None);
        assert_eq!(
            commit(&*store, vec![put("a", "1"), put("b", "2")]).await,
            base + 1
        );
        assert_eq!(commit(&*store, vec![put("a", "3")]).await, base + 2);
        assert_eq!(
            store.get("a").await.unwrap(),
            Some(entry("a", "3", base + 1, base + 2))
        );
        assert_eq!(
            store.get("b").await.unwrap(),
            Some(entry("b", "2", base + 1, base + 1))
        );
        assert_eq!(commit(&*store, vec![]).await, base + 2, "no change");
        assert_eq!(
            commit(&*store, vec![Change::Delete("no".into())]).await,
            base + 2
        );
        assert_eq!(
            commit(&*store, vec![Change::Delete("a".into())]).await,
            base + 3
        );
        assert_eq!(commit(&*store, vec![put("a", "4")]).await, base + 4);
        assert_eq!(
            store.get("a").await.unwrap(),
            Some(entry("a", "4", base + 4, base + 4))
        );
        assert_eq!(store.describe().await.unwrap().revision, base + 4);
    })
    .await;
}

#[tokio::test]
async fn a_condition_that_fails_changes_nothing() {
    over_each(|store, base| async move {
        commit(&*store, vec![put("a", "1")]).await;
        let conditions = vec![Compare::Absent("b".into()), Compare::Absent("a".into())];
        let refused = store.transact(conditions, vec![put("b", "x")]).await;
        let there = Some(entry("a", "1", base + 1, base + 1));
        assert_eq!(refused.unwrap(), Outcome::Refused("a".into(), there));
        assert_eq!(store.get("b").await.unwrap(), None);

        let stale = vec![Compare::RevisionIs("a".into(), 99)];
        let refused = store.transact(stale, vec![put("a", "x")]).await.unwrap();
        assert!(matches!(refused, Outcome::Refused(key, Some(_)) if key == "a"));
        let gone = vec![Compare::RevisionIs("c".into(), 0)];
        let refused = store.transact(gone, vec![put("a", "x")]).await.unwrap();
        assert_eq!(refused, Outcome::Refused("c".into(), None));

        let right = vec![
            Compare::RevisionIs("a".into(), base + 1),
            Compare::Absent("b".into()),
        ];
        let done = store.transact(right, vec![put("a", "2")]).await.unwrap();
        assert_eq!(done, Outcome::Committed(base + 2));
    })
    .await;
}

#[tokio::test]
async fn lists_page_in_both_directions_and_stay_within_the_prefix() {
    over_each(|store, _| async move {
        let all = ["a", "ab", "b/", "b/1", "b/2", "b/3", "b/é", "b0", "c"];
        commit(&*store, all.iter().map(|key| put(key, "v")).collect()).await;

        let listed = store.list("b/", None, 2).await.unwrap();
        assert_eq!(keys(&listed), ["b/", "b/1"]);
        let listed = store.list("b/", Some("b/1"), 10).await.unwrap();
        assert_eq!(keys(&listed), ["b/2", "b/3", "b/é"]);
        assert_eq!(keys(&store.list("", None, 99).await.unwrap()), all);
        assert_eq!(store.list("b/", Some("c"), 10).await.unwrap(), []);
        assert_eq!(store.list("b/", Some("a"), 1).await.unwrap().len(), 1);
        assert_eq!(store.list("", None, 0).await.unwrap(), []);

        let listed = store.list_back("b/", None, 2).await.unwrap();
        assert_eq!(keys(&listed), ["b/é", "b/3"]);
        let listed = store.list_back("b/", Some("b/2"), 10).await.unwrap();
        assert_eq!(keys(&listed), ["b/1", "b/"]);
        assert_eq!(store.list_back("b/", Some("a"), 10).await.unwrap(), []);
        let listed = store.list_back("b/", Some("zzz"), 1).await.unwrap();
        assert_eq!(keys(&listed), ["b/é"]);
        let listed = store.list_back("", Some("b/"), 9).await.unwrap();
        assert_eq!(keys(&listed), ["ab", "a"]);
    })
    .await;
}

#[tokio::test]
async fn a_prefix_is_removed_as_a_whole() {
    over_each(|store, base| async move {
        commit(&*store, vec![put("a/1", ""), put("a/2", ""), put("ab", "")]).await;
        let gone = vec![Change::DeletePrefix("a/".into()), put("a/3", "")];
        assert_eq!(commit(&*store, gone).await, base + 2);
        let left = store.list("", None, 9).await.unwrap();
        assert_eq!(keys(&left), ["a/3", "ab"]);
        assert_eq!(left[0].created, base + 2);
    })
    .await;
}

#[tokio::test]
async fn watchers_see_commits_in_order_from_where_they_asked() {
    over_each(|store, base| async move {
        commit(&*store, vec![put("a/1", "x")]).await;
        let mut now = store.watch("a/", None);
        commit(&*store, vec![put("b", "y"), put("a/2", "y")]).await;
        commit(&*store, vec![Change::Delete("a/1".into())]).await;
        let expected = [
            WatchEvent::Put(entry("a/2", "y", base + 2, base + 2)),
            WatchEvent::Deleted("a/1".into(), base + 3),
        ];
        for event in &expected {
            assert_eq!(now.next().await.as_ref(), Some(event));
        }
        assert_eq!(now.next().now_or_never(), None, "nothing more");

        let mut since = store.watch("", Some(base + 1));
        for key in ["b", "a/2", "a/1"] {
            match since.next().await.unwrap() {
                WatchEvent::Put(e) => assert_eq!(e.key, key),
                WatchEvent::Deleted(k, at) => assert_eq!((k.as_str(), at), (key, base + 3)),
                other => panic!("{other:?}"),
            }
        }
        let mut unknown = store.watch("", Some(77));
        assert_eq!(unknown.next().await, Some(WatchEvent::Lost));
        commit(&*store, vec![put("later", "")]).await;
        let next = tokio::time::timeout(Duration::from_secs(5), unknown.next()).await;
        assert!(matches!(next.unwrap(), Some(WatchEvent::Put(e)) if e.key == "later"));

        drop(store);
        while let Some(event) = since.next().await {
            assert!(matches!(event, WatchEvent::Put(e) if e.key == "later"));
        }
    })
    .await;
}

#[tokio::test]
async fn of_many_that_race_for_a_key_one_wins() {
    over_each(|store, base| async move {
        let racers = (0..64).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let absent = vec![Compare::Absent("lock".into())];
                let change = put("lock", &n.to_string());
                matches!(
                    store.transact(absent, vec![change]).await,
                    Ok(Outcome::Committed(_))
                )
            })
        });
        let won = futures_util::future::join_all(racers).await;
        assert_eq!(won.into_iter().filter(|r| *r.as_ref().unwrap()).count(), 1);
        assert_eq!(store.describe().await.unwrap().revision, base + 1);
    })
    .await;
}

#[tokio::test]
async fn counters_incremented_concurrently_lose_nothing() {
    over_each(|store, _| async move {
        commit(&*store, vec![put("n", "0")]).await;
        let workers = (0..8).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..10 {
                    increment(&*store).await;
                }
            })
        });
        for done in futures_util::future::join_all(workers).await {
            done.unwrap();
        }
        assert_eq!(store.get("n").await.unwrap().unwrap().value, b"80");
    })
    .await;
}

/// Compare-and-swap until it holds.
async fn increment(store: &dyn Store) {
    loop {
        let old = store.get("n").await.unwrap().unwrap();
        let n: u32 = std::str::from_utf8(&old.value).unwrap().parse().unwrap();
        let unchanged = vec![Compare::RevisionIs("n".into(), old.revision)];
        let change = put("n", &(n + 1).to_string());
        let outcome = store.transact(unchanged, vec![change]).await.unwrap();
        if matches!(outcome, Outcome::Committed(_)) {
            return;
        }
    }
}
