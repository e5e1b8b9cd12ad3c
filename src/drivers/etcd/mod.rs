//! The store of a cluster: etcd, through its gRPC API.
//!
//! Made by the roles; the actors see only [`Store`] and `Leases`. All keys lie under one root (`/lain/`), so
//! that several installations can share an etcd. Reads are linearizable. They are repeated while etcd cannot be
//! reached, up to [`EtcdConfig::patience`]; transactions are not, once they may have arrived, since a repetition
//! could not tell its own change from another's: the error then says that it is unknown what happened.
//!
//! # Differences to the embedded store
//! - Revisions are those of the whole etcd: they grow with other roots' changes too.
//! - A key that is removed and written in one transaction is simply written: it keeps its `created`.
//! - etcd's own limits hold: 128 changes in a transaction and 1.5 MiB in all, unless etcd is told otherwise.

mod config;
mod error;
mod lease;
mod transaction;
mod watch;

pub use config::{EtcdConfig, EtcdTls, InvalidUrl};

use crate::ports::store::{Change, Compare, Entry, Outcome, Store, StoreError};
use crate::ports::store::{StoreInfo, WatchEvent};
use async_trait::async_trait;
use etcd_client::{Client, ConnectOptions, GetOptions, KeyValue, SortOrder, SortTarget};
use futures_util::stream::BoxStream;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch as signal;
use tokio::time::Instant;

/// Keys fetched at a time, so that no answer is too large for one message.
const PAGE: usize = 500;
/// The largest message that is accepted; etcd's own values are 1.5 MiB at most by default.
const MAX_MESSAGE: usize = 256 << 20;
/// The first pause before a call is repeated; it doubles up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// A [`Store`] in etcd. Clones of what it is made of are cheap; its watchers end when it is dropped.
#[derive(Debug)]
pub struct EtcdStore {
    shared: Arc<Shared>,
    /// Dropped with the store, which ends all watchers.
    end: signal::Sender<()>,
}

/// What calls and watchers share.
pub(crate) struct Shared {
    client: Client,
    config: EtcdConfig,
    /// The newest revision that was seen: where a watcher that begins now begins.
    seen: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// Connects, and reads once to see that etcd answers and lets us in.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when no endpoint answers within [`EtcdConfig::patience`], or access is refused.
    pub async fn connect(config: EtcdConfig) -> Result<Self, StoreError> {
        let action = format!("connect to {}", config.location());
        let options = ConnectOptions::new()
            .with_connect_timeout(config.call_timeout)
            .with_keep_alive(config.call_timeout, config.call_timeout)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        let options = match &config.user {
            Some((name, password)) => options.with_user(name, password.expose()),
            None => options,
        };
        let options = match config.tls.as_ref().map(EtcdTls::options) {
            Some(tls) => options.with_tls(tls.map_err(|e| error::failed(&action, &e))?),
            None => options,
        };
        let started = Instant::now();
        let client = loop {
            let attempt = Client::connect(&config.endpoints, Some(options.clone()));
            match tokio::time::timeout(config.patience, attempt).await {
                Ok(Ok(client)) => break client,
                // With a user, connecting means logging in.
                Ok(Err(e)) if !error::is_passing(&e) || started.elapsed() > config.patience => {
                    return Err(error::failed(&action, &error::text(&e)));
                }
                Err(_) => return Err(error::failed(&action, &"no answer")),
                Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
            }
        };
        let shared = Arc::new(Shared {
            client,
            config,
            seen: AtomicU64::new(0),
        });
        shared.get("", &action).await?;
        Ok(Self {
            shared,
            end: signal::Sender::new(()),
        })
    }

    /// Forgets the history up to `revision`, as etcd does by itself when it is set to: watchers that are further
    /// back are told that they have lost.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub async fn compact(&self, revision: u64) -> Result<(), StoreError> {
        let revision = signed(revision);
        let done = self
            .shared
            .once("compact the history", |client| async move {
                client.kv_client().compact(revision, None).await
            });
        done.await.map(drop)
    }
}

impl Shared {
    /// Notes a revision that was seen.
    fn note(&self, header: Option<&etcd_client::ResponseHeader>) -> u64 {
        let revision = header.map_or(0, |h| unsigned(h.revision()));
        self.seen.fetch_max(revision, Ordering::AcqRel);
        revision
    }

    /// The key in etcd.
    fn key(&self, key: &str) -> Vec<u8> {
        [self.config.root.as_bytes(), key.as_bytes()].concat()
    }

    /// An entry of ours; `None` for a key that is not text, which cannot be ours.
    fn entry(&self, kv: &KeyValue) -> Option<Entry> {
        let key = std::str::from_utf8(kv.key()).ok()?;
        Some(Entry {
            key: key.strip_prefix(&self.config.root)?.to_owned(),
            value: kv.value().to_vec(),
            revision: unsigned(kv.mod_revision()),
            created: unsigned(kv.create_revision()),
        })
    }

    /// Repeats a call that changes nothing while etcd cannot be reached.
    async fn patiently<T, F>(
        &self,
        action: &str,
        mut call: impl FnMut(Client) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let started = Instant::now();
        let mut pause = PAUSE;
        loop {
            let done = tokio::time::timeout(self.config.call_timeout, call(self.client.clone()));
            let failure = match done.await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(e)) if !error::is_passing(&e) => {
                    return Err(error::failed(action, &error::text(&e)));
                }
                Ok(Err(e)) => error::text(&e),
                Err(_) => format!("no answer in {:?}", self.config.call_timeout),
            };
            if started.elapsed() + pause > self.config.patience {
                let tried = format!(
                    "{} is not to be reached ({failure}); look whether etcd runs, and repeat",
                    self.config.location()
                );
                return Err(error::failed(action, &tried));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// A call that changes something: made once, and again only where it cannot have arrived.
    async fn once<T, F>(
        &self,
        action: &str,
        mut call: impl FnMut(Client) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let started = Instant::now();
        let mut pause = PAUSE;
        loop {
            let done = tokio::time::timeout(self.config.call_timeout, call(self.client.clone()));
            match done.await {
                Ok(Err(e))
                    if error::refused_at_once(&e)
                        && started.elapsed() + pause <= self.config.patience => {}
                done => return error::flat(action, done),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn get(&self, key: &str, action: &str) -> Result<Option<Entry>, StoreError> {
        let full = self.key(key);
        let found = self.patiently(action, |client| {
            let full = full.clone();
            async move {
                let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                kv.get(full, None).await
            }
        });
        let found = found.await?;
        self.note(found.header());
        Ok(found.kvs().first().and_then(|kv| self.entry(kv)))
    }

    /// The entries of a range, page by page, all of one revision.
    async fn range(
        &self,
        low: Vec<u8>,
        high: Vec<u8>,
        order: SortOrder,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (mut low, mut high) = (low, high);
        let mut entries: Vec<Entry> = Vec::new();
        let mut revision = 0;
        while entries.len() < limit && low < high {
            let page = PAGE.min(limit - entries.len());
            let options = GetOptions::new()
                .with_range(high.clone())
                .with_limit(i64::try_from(page).unwrap_or(i64::MAX))
                .with_revision(revision);
            // Ascending is etcd's own order, and cheap; the other has to be asked for.
            let options = match order {
                SortOrder::Descend => options.with_sort(SortTarget::Key, order),
                SortOrder::Ascend | SortOrder::None => options,
            };
            let found = self.patiently("list", |client| {
                let (low, options) = (low.clone(), options.clone());
                async move {
                    let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                    kv.get(low, Some(options)).await
                }
            });
            let found = found.await?;
            let now = self.note(found.header());
            if revision == 0 {
                revision = signed(now);
            }
            let Some(last) = found.kvs().last() else {
                break;
            };
            match order {
                SortOrder::Descend => high = last.key().to_vec(),
                SortOrder::Ascend | SortOrder::None => low = [last.key(), &[0]].concat(),
            }
            entries.extend(found.kvs().iter().filter_map(|kv| self.entry(kv)));
            if !found.more() {
                break;
            }
        }
        Ok(entries)
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.shared.get(key, "read").await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let prefix = self.shared.key(prefix);
        let high = after_prefix(&prefix);
        let low = after.map(|after| [&self.shared.key(after)[..], &[0]].concat());
        let low = low.map_or_else(|| prefix.clone(), |low| low.max(prefix.clone()));
        self.shared.range(low, high, SortOrder::Ascend, limit).await
    }

    async fn list_back(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let low = self.shared.key(prefix);
        let end = after_prefix(&low);
        let high = before.map_or_else(
            || end.clone(),
            |before| self.shared.key(before).min(end.clone()),
        );
        self.shared
            .range(low, high, SortOrder::Descend, limit)
            .await
    }

    async fn transact(
        &self,
        conditions: Vec<Compare>,
        changes: Vec<Change>,
    ) -> Result<Outcome, StoreError> {
        self.shared.transact(&conditions, changes, None).await
    }

    fn watch(&self, prefix: &str, since: Option<u64>) -> BoxStream<'static, WatchEvent> {
        watch::watch(&self.shared, self.end.subscribe(), prefix, since)
    }

    async fn describe(&self) -> Result<StoreInfo, StoreError> {
        let status = self
            .shared
            .patiently("describe the store", |client| async move {
                client.maintenance_client().status().await
            });
        let status = status.await?;
        let (_, revision) = self.shared.read_revision().await?;
        Ok(StoreInfo {
            kind: "etcd",
            location: self.shared.config.location(),
            bytes: unsigned(status.db_size()),
            revision,
        })
    }
}

impl Shared {
    /// Whether our root holds anything, and the revision of etcd now.
    async fn read_revision(&self) -> Result<(bool, u64), StoreError> {
        let root = self.key("");
        let found = self.patiently("read the revision", |client| {
            let options = GetOptions::new()
                .with_prefix()
                .with_limit(1)
                .with_keys_only();
            let root = root.clone();
            async move { client.kv_client().get(root, Some(options)).await }
        });
        let found = found.await?;
        Ok((!found.kvs().is_empty(), self.note(found.header())))
    }
}

/// The least key above all keys with `prefix`, which is never empty and never ends in 255: it is UTF-8.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// etcd counts in signed numbers, from 1.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
