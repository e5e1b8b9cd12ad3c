//! Random transactions against both stores and a plain model: what is read, refused, counted and
//! told to watchers must be the same, also across reopening the file.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use futures_util::{FutureExt, StreamExt};
use lain::drivers::memory::MemoryStore;
use lain::drivers::redb::RedbStore;
use lain::ports::store::{Change, Compare, Entry, Outcome, Store, WatchEvent};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is done to a store.
#[derive(Debug, Clone)]
enum Step {
    Transact(Vec<Compare>, Vec<Change>),
    List(String, Option<String>, usize),
    ListBack(String, Option<String>, usize),
    /// Close and open again; the in-memory store just goes on.
    Reopen,
}

/// The specification: a map, a counter, and everything that was said.
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<String, Entry>,
    revision: u64,
    told: Vec<WatchEvent>,
}

impl Model {
    fn transact(&mut self, conditions: &[Compare], changes: &[Change]) -> Outcome {
        for condition in conditions {
            let (key, holds) = match condition {
                Compare::Absent(key) => (key, !self.entries.contains_key(key)),
                Compare::RevisionIs(key, revision) => {
                    let current = self.entries.get(key).map(|e| e.revision);
                    (key, current == Some(*revision))
                }
            };
            if !holds {
                return Outcome::Refused(key.clone(), self.entries.get(key).cloned());
            }
        }
        let before = self.told.len();
        for change in changes {
            self.change(change, self.revision + 1);
        }
        if self.told.len() > before {
            self.revision += 1;
        }
        Outcome::Committed(self.revision)
    }

    fn change(&mut self, change: &Change, revision: u64) {
        let gone: Vec<String> = match change {
            Change::Put(key, value) => {
                let created = self.entries.get(key).map_or(revision, |e| e.created);
                let entry = Entry {
                    key: key.clone(),
                    value: value.clone(),
                    revision,
                    created,
                };
                self.entries.insert(key.clone(), entry.clone());
                self.told.push(WatchEvent::Put(entry));
                return;
            }
            Change::Delete(key) => self
                .entries
                .contains_key(key)
                .then(|| key.clone())
                .into_iter()
                .collect(),
            Change::DeletePrefix(p) => self
                .entries
                .keys()
                .filter(|k| k.starts_with(p))
                .cloned()
                .collect(),
        };
        for key in gone {
            self.entries.remove(&key);
            self.told.push(WatchEvent::Deleted(key, revision));
        }
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Entry> {
        let within = self.entries.values().filter(|e| e.key.starts_with(prefix));
        let later = within.filter(|e| after.is_none_or(|after| e.key.as_str() > after));
        later.take(limit).cloned().collect()
    }

    fn list_back(&self, prefix: &str, before: Option<&str>, limit: usize) -> Vec<Entry> {
        let within = self
            .entries
            .values()
            .rev()
            .filter(|e| e.key.starts_with(prefix));
        let earlier = within.filter(|e| before.is_none_or(|before| e.key.as_str() < before));
        earlier.take(limit).cloned().collect()
    }
}

/// Few enough keys that conditions, prefixes and cursors meet what is there.
fn key() -> impl Strategy<Value = String> {
    "[ab](/[abé]){0,2}"
}

fn prefix() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[abc]/?", key()]
}

fn compare() -> impl Strategy<Value = Compare> {
    prop_oneof![
        key().prop_map(Compare::Absent),
        (key(), 0..30u64).prop_map(|(key, revision)| Compare::RevisionIs(key, revision)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        6 => (key(), value).prop_map(|(key, value)| Change::Put(key, value)),
        3 => key().prop_map(Change::Delete),
        1 => prefix().prop_map(Change::DeletePrefix),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let compares = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(compare(), 1..3)];
    let changes = prop::collection::vec(change(), 0..5);
    let cursor = || prop::option::of(prefix());
    prop_oneof![
        8 => (compares, changes).prop_map(|(compares, changes)| Step::Transact(compares, changes)),
        3 => (prefix(), cursor(), 0..8usize).prop_map(|(p, after, n)| Step::List(p, after, n)),
        3 => (prefix(), cursor(), 0..8usize).prop_map(|(p, before, n)| Step::ListBack(p, before, n)),
        1 => Just(Step::Reopen),
    ]
}

/// The store under test; `None` path is the in-memory one.
struct Subject {
    store: Option<Box<dyn Store>>,
    path: Option<PathBuf>,
}

impl Subject {
    fn memory() -> Self {
        Self {
            store: Some(Box::new(MemoryStore::new())),
            path: None,
        }
    }

    fn redb(path: PathBuf) -> Self {
        Self {
            store: Some(Box::new(RedbStore::open(&path).unwrap())),
            path: Some(path),
        }
    }

    fn store(&self) -> &dyn Store {
        self.store.as_deref().unwrap()
    }

    fn reopen(&mut self) {
        if let Some(path) = &self.path {
            self.store = None;
            self.store = Some(Box::new(RedbStore::open(path).unwrap()));
        }
    }

    async fn run(mut self, steps: &[Step]) {
        let mut model = Model::default();
        let mut watch = self.store().watch("", None);
        let mut told = 0;
        for step in steps {
            match step {
                Step::Transact(conditions, changes) => {
                    let expected = model.transact(conditions, changes);
                    let got = self
                        .store()
                        .transact(conditions.clone(), changes.clone())
                        .await;
                    assert_eq!(got.unwrap(), expected, "{step:?}");
                }
                Step::List(prefix, after, limit) => {
                    let expected = model.list(prefix, after.as_deref(), *limit);
                    let got = self.store().list(prefix, after.as_deref(), *limit).await;
                    assert_eq!(got.unwrap(), expected, "{step:?}");
                }
                Step::ListBack(prefix, before, limit) => {
                    let expected = model.list_back(prefix, before.as_deref(), *limit);
                    let got = self
                        .store()
                        .list_back(prefix, before.as_deref(), *limit)
                        .await;
                    assert_eq!(got.unwrap(), expected, "{step:?}");
                }
                Step::Reopen => {
                    self.reopen();
                    watch = self.store().watch("", Some(model.revision));
                }
            }
            for expected in &model.told[told..] {
                let event = watch.next().now_or_never();
                assert_eq!(event.flatten().as_ref(), Some(expected), "{step:?}");
            }
            told = model.told.len();
            assert_eq!(watch.next().now_or_never(), None, "{step:?}");
        }
        let described = self.store().describe().await.unwrap();
        assert_eq!(described.revision, model.revision);
        for entry in model.entries.values() {
            let got = self.store().get(&entry.key).await.unwrap();
            assert_eq!(got.as_ref(), Some(entry));
        }
    }
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future);
}

/// A failing case is kept beside this file, and tried first the next time.
fn cases(cases: u32) -> ProptestConfig {
    let persistence = FileFailurePersistence::WithSource("regressions");
    ProptestConfig {
        failure_persistence: Some(Box::new(persistence)),
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn the_in_memory_store_is_the_model(steps in prop::collection::vec(step(), 1..40)) {
        block_on(Subject::memory().run(&steps));
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn the_embedded_store_is_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        block_on(Subject::redb(dir.path().join("lain.redb")).run(&steps));
    }
}
