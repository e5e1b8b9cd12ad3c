//! What only a cluster's store has to bear: an etcd that stops, is frozen, forgets its history, asks for a
//! password or a certificate; and elections among several clients of it.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

mod etcd_support;

use etcd_support::Etcd;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lain::domain::secret::Secret;
use lain::drivers::election::StoreElection;
use lain::drivers::etcd::{EtcdStore, EtcdTls};
use lain::ports::lease::{Election, Leases};
use lain::ports::store::{Change, Compare, Outcome, Store, StoreError, WatchEvent};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn put(key: &str, value: &str) -> Change {
    Change::Put(key.to_owned(), value.as_bytes().to_vec())
}

/// Stops etcd's process where it is (SIGSTOP), or lets it go on.
fn freeze(etcd: &Etcd, frozen: bool) {
    let pid = etcd.child.as_ref().unwrap().id();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let signal = match frozen {
        true => rustix::process::Signal::STOP,
        false => rustix::process::Signal::CONT,
    };
    rustix::process::kill_process(pid, signal).unwrap();
}

/// `etcdctl` with these arguments.
fn ctl(etcd: &Etcd, args: &[&str]) {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .arg(format!("--endpoints=127.0.0.1:{}", etcd.client))
        .args(args);
    let done = command.output().unwrap_or_else(|e| {
        panic!("etcdctl cannot be started ({e}); install it: scripts/etcd.sh install")
    });
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{args:?}: {said}");
}

async fn commit(store: &EtcdStore, changes: Vec<Change>) -> u64 {
    match store.transact(Vec::new(), changes).await.unwrap() {
        Outcome::Committed(revision) => revision,
        Outcome::Refused(key, entry) => panic!("refused at {key}: {entry:?}"),
    }
}

async fn next(watch: &mut BoxStream<'static, WatchEvent>) -> WatchEvent {
    timeout(SOON, watch.next()).await.unwrap().unwrap()
}

async fn next_key(watch: &mut BoxStream<'static, WatchEvent>) -> String {
    match next(watch).await {
        WatchEvent::Put(entry) => entry.key,
        WatchEvent::Deleted(key, _) => format!("-{key}"),
        WatchEvent::Lost => "lost".to_owned(),
    }
}

#[tokio::test]
async fn an_etcd_that_stops_for_a_while_loses_nothing() {
    let mut etcd = Etcd::start();
    let store = Arc::new(etcd.store("a").await);
    let mut watch = store.watch("", None);
    commit(&store, vec![put("before", "1")]).await;
    assert_eq!(next_key(&mut watch).await, "before");

    etcd.kill();
    // Begun while it is away: a read waits, and so does a transaction that cannot have arrived.
    let reader = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.get("before").await }
    });
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.transact(Vec::new(), vec![put("during", "1")]).await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    etcd.start_again();
    assert_eq!(reader.await.unwrap().unwrap().unwrap().value, b"1");
    let written = writer.await.unwrap();
    let there = store.get("during").await.unwrap();
    assert_eq!(written.is_ok(), there.is_some(), "{written:?}");
    commit(&store, vec![put("after", "1")]).await;
    // The same stream goes on, with nothing twice and nothing missing.
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("after") {
        seen.push(next_key(&mut watch).await);
    }
    let expected: &[&str] = if there.is_some() {
        &["during", "after"]
    } else {
        &["after"]
    };
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_cannot_be_known_is_said() {
    let etcd = Etcd::start();
    let mut config = etcd.config("a");
    config.call_timeout = Duration::from_millis(300);
    config.patience = Duration::from_secs(1);
    let store = EtcdStore::connect(config).await.unwrap();
    freeze(&etcd, true);
    let why = store
        .transact(Vec::new(), vec![put("k", "v")])
        .await
        .unwrap_err();
    assert!(
        why.to_string()
            .contains("it is unknown whether it was carried out"),
        "{why}"
    );
    let why = store.get("k").await.unwrap_err();
    assert!(why.to_string().contains("is not to be reached"), "{why}");
    freeze(&etcd, false);
    assert!(
        timeout(SOON, async { while store.get("k").await.is_err() {} })
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_named() {
    let mut etcd = Etcd::start();
    let mut config = etcd.config("a");
    config.patience = Duration::from_millis(300);
    let location = config.location();
    etcd.kill();
    let why = EtcdStore::connect(config).await.unwrap_err();
    assert!(why.to_string().contains(&location), "{why}");
}

#[tokio::test]
async fn a_watch_goes_on_after_compaction_and_says_what_it_lost() {
    let mut etcd = Etcd::start();
    let store = etcd.store("a").await;
    let first = commit(&store, vec![put("k", "0")]).await;
    for n in 1..=20 {
        commit(&store, vec![put("k", &n.to_string())]).await;
    }
    let last = commit(&store, vec![put("k", "21")]).await;
    store.compact(last).await.unwrap();

    // One that asks for what is gone.
    let mut behind = store.watch("", Some(first));
    assert_eq!(next(&mut behind).await, WatchEvent::Lost);
    let entry = store.get("k").await.unwrap().unwrap();
    assert_eq!(
        (entry.value.as_slice(), entry.revision),
        (b"21".as_slice(), last)
    );
    commit(&store, vec![put("later", "1")]).await;
    assert_eq!(next_key(&mut behind).await, "later");

    // One that is up to date does not notice.
    let mut current = store.watch("", None);
    let now = commit(&store, vec![put("more", "1")]).await;
    assert_eq!(next_key(&mut current).await, "more");
    store.compact(now).await.unwrap();
    commit(&store, vec![put("yet more", "1")]).await;
    assert_eq!(next_key(&mut current).await, "yet more");

    // One that was cut off while the history went.
    let other = etcd.store("a").await;
    let mut cut = store.watch("", None);
    commit(&store, vec![put("seen", "1")]).await;
    assert_eq!(next_key(&mut cut).await, "seen");
    etcd.kill();
    etcd.start_again();
    // A read finds the new connection: a write on the old one would end as unknown.
    other.get("k").await.unwrap();
    for n in 0..5 {
        commit(&other, vec![put("missed", &n.to_string())]).await;
    }
    let now = other.describe().await.unwrap().revision;
    other.compact(now).await.unwrap();
    let mut seen = vec![next_key(&mut cut).await];
    commit(&other, vec![put("end", "1")]).await;
    while seen.last().map(String::as_str) != Some("end") {
        seen.push(next_key(&mut cut).await);
    }
    // Either it was quick enough to see all, or it says that it was not.
    let missed = seen.iter().filter(|key| *key == "missed").count();
    assert!(missed == 5 || seen.contains(&"lost".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn clients_that_race_while_etcd_stops_and_starts_agree() {
    let mut etcd = Etcd::start();
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(Arc::new(etcd.store("a").await));
    }
    commit(&stores[0], vec![put("n", "0")]).await;
    let workers: Vec<_> = stores
        .iter()
        .enumerate()
        .map(|(who, store)| tokio::spawn(count(Arc::clone(store), who, 30)))
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    etcd.kill();
    etcd.start_again();
    let mut acknowledged = 0;
    let mut unknown = 0;
    for worker in workers {
        let (done, unclear) = worker.await.unwrap();
        acknowledged += done;
        unknown += unclear;
    }
    let n = stores[0].get("n").await.unwrap().unwrap();
    let n: usize = std::str::from_utf8(&n.value).unwrap().parse().unwrap();
    let log = stores[0]
        .list("log/", None, usize::MAX)
        .await
        .unwrap()
        .len();
    assert_eq!(n, log, "each increment wrote its own key with it");
    assert!(
        (acknowledged..=acknowledged + unknown).contains(&n),
        "{acknowledged} {unknown} {n}"
    );
    assert_eq!(acknowledged, 90);
}

/// Increments `n` by compare-and-swap until that was acknowledged `times` times; also how often it was unclear.
async fn count(store: Arc<EtcdStore>, who: usize, times: usize) -> (usize, usize) {
    let (mut done, mut unclear) = (0, 0);
    while done < times {
        let Ok(old) = store.get("n").await else {
            continue;
        };
        let old = old.unwrap();
        let n: usize = std::str::from_utf8(&old.value).unwrap().parse().unwrap();
        let unchanged = vec![Compare::RevisionIs("n".into(), old.revision)];
        let changes = vec![
            put("n", &(n + 1).to_string()),
            put(&format!("log/{}", n + 1), &who.to_string()),
        ];
        match store.transact(unchanged, changes).await {
            Ok(Outcome::Committed(_)) => done += 1,
            Ok(Outcome::Refused(..)) => {}
            Err(_) => unclear += 1,
        }
    }
    (done, unclear)
}

#[tokio::test]
async fn roots_are_apart_and_long_lists_are_of_one_moment() {
    let etcd = Etcd::start();
    let (a, b) = (etcd.store("a").await, etcd.store("b").await);
    let mut watch = b.watch("", None);
    commit(&a, vec![put("k", "a")]).await;
    commit(&b, vec![put("k", "b")]).await;
    assert_eq!(next_key(&mut watch).await, "k");
    assert_eq!(a.get("k").await.unwrap().unwrap().value, b"a");
    commit(&a, vec![Change::DeletePrefix(String::new())]).await;
    assert_eq!(b.list("", None, 9).await.unwrap().len(), 1);

    let large = "x".repeat(20_000);
    for page in 0..30 {
        let many = (0..50).map(|n| put(&format!("many/{:04}", page * 50 + n), &large));
        commit(&a, many.collect()).await;
    }
    let all = a.list("many/", None, usize::MAX).await.unwrap();
    assert_eq!(all.len(), 1500, "30 MB, in pages");
    assert!(all.is_sorted_by(|x, y| x.key < y.key));
    let back = a.list_back("many/", None, 1200).await.unwrap();
    assert_eq!((back.len(), back[0].key.as_str()), (1200, "many/1499"));
    assert!(back.is_sorted_by(|x, y| x.key > y.key));
    assert!(a.describe().await.unwrap().bytes > 30_000_000);
}

#[tokio::test]
async fn limits_of_etcd_come_with_advice() {
    let etcd = Etcd::start();
    let store = etcd.store("a").await;
    let many = (0..200).map(|n| put(&n.to_string(), "")).collect();
    let why = store.transact(Vec::new(), many).await.unwrap_err();
    assert!(why.to_string().contains("--max-txn-ops"), "{why}");
    let large = vec![Change::Put("k".into(), vec![0; 2 << 20])];
    let why = store.transact(Vec::new(), large).await.unwrap_err();
    assert!(why.to_string().contains("--max-request-bytes"), "{why}");
    assert_eq!(store.list("", None, 9).await.unwrap(), []);
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let etcd = Etcd::start();
    for args in [
        &["user", "add", "root:secret-of-root"][..],
        &["role", "add", "lain"],
        &[
            "role",
            "grant-permission",
            "lain",
            "readwrite",
            "/a/",
            "--prefix=true",
        ],
        &["user", "add", "lain:secret-of-lain"],
        &["user", "grant-role", "lain", "lain"],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        ctl(&etcd, args);
    }
    let with = |root: &str, password: &str| {
        let mut config = etcd.config(root);
        config.user = Some(("lain".into(), Secret::new(password)));
        config
    };
    let store = EtcdStore::connect(with("a", "secret-of-lain"))
        .await
        .unwrap();
    let mut watch = store.watch("", None);
    commit(&store, vec![put("k", "v")]).await;
    assert_eq!(next_key(&mut watch).await, "k");
    assert_eq!(store.list("", None, 9).await.unwrap().len(), 1);
    let lease = store.grant(Duration::from_secs(5)).await.unwrap();
    assert!(store.keep_alive(lease).await.unwrap());
    for config in [
        with("a", "wrong"),
        etcd.config("a"),
        with("other", "secret-of-lain"),
    ] {
        let why = EtcdStore::connect(config).await.unwrap_err();
        assert!(matches!(why, StoreError::Failed { .. }));
        assert!(!why.to_string().contains("secret"), "{why}");
    }
}

/// A CA, and certificates for etcd and for lain, as files.
fn certificates(dir: &std::path::Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for (file, name) in [("etcd", "127.0.0.1"), ("lain", "lain")] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let signed = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.join(format!("{file}.pem")), signed.pem()).unwrap();
        std::fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn both_sides_show_their_certificates() {
    let certs = tempfile::tempdir().unwrap();
    certificates(certs.path());
    let file = |name: &str| certs.path().join(name);
    let etcd = Etcd::start_with("https", |_| {
        let path = |name: &str| file(name).display().to_string();
        vec![
            format!("--cert-file={}", path("etcd.pem")),
            format!("--key-file={}", path("etcd.key")),
            format!("--trusted-ca-file={}", path("ca.pem")),
            "--client-cert-auth".to_owned(),
        ]
    });
    let with = |tls: Option<EtcdTls>| {
        let mut config = etcd.config("a");
        config.patience = Duration::from_millis(500);
        config.tls = tls;
        config
    };
    let identity = Some((file("lain.pem"), file("lain.key")));
    let good = EtcdTls {
        ca: file("ca.pem"),
        identity,
        domain: None,
    };
    let store = EtcdStore::connect(with(Some(good.clone()))).await.unwrap();
    let mut watch = store.watch("", None);
    commit(&store, vec![put("k", "v")]).await;
    assert_eq!(next_key(&mut watch).await, "k");

    let stranger = tempfile::tempdir().unwrap();
    certificates(stranger.path());
    let bad = [
        ("no TLS", None),
        (
            "no certificate",
            Some(EtcdTls {
                identity: None,
                ..good.clone()
            }),
        ),
        (
            "another CA",
            Some(EtcdTls {
                ca: stranger.path().join("ca.pem"),
                ..good.clone()
            }),
        ),
        (
            "a missing file",
            Some(EtcdTls {
                ca: file("absent"),
                ..good.clone()
            }),
        ),
        (
            "another name",
            Some(EtcdTls {
                domain: Some("elsewhere".into()),
                ..good
            }),
        ),
    ];
    for (what, tls) in bad {
        assert!(EtcdStore::connect(with(tls)).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn a_lease_ends_unless_it_is_kept() {
    let etcd = Etcd::start();
    let store = etcd.store("a").await;
    let mut watch = store.watch("", None);
    let (kept, left) = (
        store.grant(Duration::from_millis(900)).await.unwrap(),
        store.grant(Duration::from_millis(900)).await.unwrap(),
    );
    assert!(kept.ttl >= Duration::from_secs(1));
    for (lease, key) in [(kept, "kept"), (left, "left")] {
        let done = store.attach(lease, key, b"1".to_vec()).await.unwrap();
        assert!(matches!(done, Outcome::Committed(_)));
        assert_eq!(next_key(&mut watch).await, key);
    }
    let again = store.attach(kept, "left", Vec::new()).await.unwrap();
    assert!(matches!(again, Outcome::Refused(key, Some(_)) if key == "left"));
    let gone = loop {
        assert!(store.keep_alive(kept).await.unwrap());
        if let Ok(event) = timeout(Duration::from_millis(200), watch.next()).await {
            break event.unwrap();
        }
    };
    assert!(matches!(gone, WatchEvent::Deleted(key, _) if key == "left"));
    assert!(!store.keep_alive(left).await.unwrap());
    store.revoke(left).await.unwrap();
    store.revoke(kept).await.unwrap();
    assert_eq!(next_key(&mut watch).await, "-kept");
}

#[tokio::test]
async fn a_leader_that_is_gone_is_followed_and_its_writes_are_refused() {
    let etcd = Etcd::start();
    let candidate = async |_: usize| {
        let store = Arc::new(etcd.store("a").await);
        let ttl = Duration::from_secs(2);
        let election = StoreElection::new(store.clone(), store.clone(), "server", ttl);
        (store, Arc::new(election))
    };
    let (store, first) = candidate(1).await;
    let (_, second) = candidate(2).await;
    let mut seen = second.observe();
    assert_eq!(timeout(SOON, seen.next()).await.unwrap(), Some(None));
    let old = first.campaign("one", "http://one").await.unwrap();
    let leader = timeout(SOON, seen.next()).await.unwrap().flatten().unwrap();
    assert_eq!(
        (leader.name.as_str(), leader.url.as_str()),
        ("one", "http://one")
    );
    assert_eq!(leader, old.leader);
    assert!(first.renew(&old).await.unwrap());

    let guarded = |guard: &Option<Compare>, key: &str| {
        store.transact(guard.iter().cloned().collect(), vec![put(key, "1")])
    };
    let done = guarded(&old.guard, "by one").await.unwrap();
    assert!(matches!(done, Outcome::Committed(_)));
    let standby = tokio::spawn({
        let second = Arc::clone(&second);
        async move { second.campaign("two", "http://two").await }
    });
    // It does not renew any more: the other leads by and by, with a higher token.
    let new = timeout(SOON, standby).await.unwrap().unwrap().unwrap();
    assert!(new.leader.token > old.leader.token);
    assert!(!first.renew(&old).await.unwrap());
    let refused = guarded(&old.guard, "by one, late").await.unwrap();
    assert!(matches!(refused, Outcome::Refused(..)), "{refused:?}");
    let done = guarded(&new.guard, "by two").await.unwrap();
    assert!(matches!(done, Outcome::Committed(_)));
    assert_eq!(second.leader().await.unwrap(), Some(new.leader.clone()));
    // It resigns: the first leads at once.
    second.resign(new).await.unwrap();
    let again = timeout(Duration::from_secs(1), first.campaign("one", "http://one"));
    assert_eq!(again.await.unwrap().unwrap().leader.name, "one");
}

/// Random transactions, each naming a key at most once, against a map: what is read, refused and told is the same.
#[tokio::test]
async fn etcd_is_the_model() {
    let etcd = Etcd::start();
    let mut runner = TestRunner::deterministic();
    let keys = ["a", "a/1", "a/2", "b", "b/é", "c"];
    let change = (0..keys.len(), prop::option::weighted(0.6, "[a-z]{0,9}"));
    let step = (
        prop::collection::vec(change, 0..4),
        prop::option::weighted(0.3, (0..keys.len(), any::<bool>())),
        prop::option::weighted(0.1, prop_oneof![Just("a"), Just("b/"), Just("")]),
    );
    for round in 0..20 {
        let store = etcd.store(&format!("round{round}")).await;
        let mut watch = store.watch("", None);
        let mut model: BTreeMap<String, (Vec<u8>, u64)> = BTreeMap::new();
        let mut told: Vec<(String, bool, u64)> = Vec::new();
        for _ in 0..25 {
            let (changes, condition, prefix) = step.new_tree(&mut runner).unwrap().current();
            let mut wanted: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
            let mut all = Vec::new();
            if let Some(prefix) = prefix {
                all.push(Change::DeletePrefix(prefix.to_owned()));
                wanted.extend(
                    model
                        .keys()
                        .filter(|k| k.starts_with(prefix))
                        .map(|k| (k.clone(), None)),
                );
            }
            for (key, value) in changes {
                let key = keys[key].to_owned();
                let value = value.map(String::into_bytes);
                all.push(match &value {
                    Some(value) => Change::Put(key.clone(), value.clone()),
                    None => Change::Delete(key.clone()),
                });
                wanted.insert(key, value);
            }
            let conditions: Vec<Compare> = condition
                .map(|(key, right)| match model.get(keys[key]) {
                    Some((_, revision)) => {
                        Compare::RevisionIs(keys[key].into(), revision + u64::from(!right))
                    }
                    None if right => Compare::Absent(keys[key].into()),
                    None => Compare::RevisionIs(keys[key].into(), 0),
                })
                .into_iter()
                .collect();
            let holds = condition.is_none_or(|(_, right)| right);
            match store.transact(conditions, all).await.unwrap() {
                Outcome::Committed(revision) => {
                    assert!(holds);
                    for (key, value) in wanted {
                        match value {
                            Some(value) => {
                                model.insert(key.clone(), (value, revision));
                                told.push((key, true, revision));
                            }
                            None if model.remove(&key).is_some() => {
                                told.push((key, false, revision))
                            }
                            None => {}
                        }
                    }
                }
                Outcome::Refused(key, entry) => {
                    assert!(!holds);
                    assert_eq!(entry.map(|e| e.revision), model.get(&key).map(|(_, r)| *r));
                }
            }
            let listed = store.list("", None, 99).await.unwrap();
            let listed: Vec<_> = listed
                .into_iter()
                .map(|e| (e.key, (e.value, e.revision)))
                .collect();
            assert_eq!(listed, model.clone().into_iter().collect::<Vec<_>>());
        }
        let mut seen = Vec::new();
        while seen.len() < told.len() {
            seen.push(match next(&mut watch).await {
                WatchEvent::Put(entry) => (entry.key, true, entry.revision),
                WatchEvent::Deleted(key, revision) => (key, false, revision),
                WatchEvent::Lost => panic!("lost"),
            });
        }
        // Within one transaction, etcd has its own order.
        let sorted = |mut events: Vec<(String, bool, u64)>| {
            events.sort_by(|a, b| (a.2, &a.0).cmp(&(b.2, &b.0)));
            events
        };
        assert!(seen.is_sorted_by_key(|e| e.2));
        assert_eq!(sorted(seen), sorted(told));
    }
}
