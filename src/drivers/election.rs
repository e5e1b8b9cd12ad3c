//! Elections: over any store with leases, and the one in which only one can be elected.
//!
//! The leader is whoever wrote the one key of the election, which goes when its lease ends. The revision of
//! that key is the fencing token: later leaders have higher ones, and a transaction that is conditional on it
//! is refused once the leadership has ended.

use crate::ports::lease::{Election, Leader, Leadership, Lease, Leases};
use crate::ports::store::{Compare, Entry, Outcome, Store, StoreError, WatchEvent};
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Keys of elections; no backup keeps them.
pub const ELECTIONS: &str = "election/";
/// How often a candidate looks by itself, should it have missed that the place is free.
const LOOK: Duration = Duration::from_secs(1);

/// An election over a store with leases.
pub struct StoreElection {
    store: Arc<dyn Store>,
    leases: Arc<dyn Leases>,
    key: String,
    ttl: Duration,
}

impl std::fmt::Debug for StoreElection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreElection")
            .field("key", &self.key)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// What the election's key holds.
#[derive(Debug, Serialize, Deserialize)]
struct Seat {
    name: String,
    url: String,
}

impl StoreElection {
    /// The election called `what`; a leader that does not renew for `ttl` is one no longer.
    pub fn new(store: Arc<dyn Store>, leases: Arc<dyn Leases>, what: &str, ttl: Duration) -> Self {
        Self {
            store,
            leases,
            key: format!("{ELECTIONS}{what}"),
            ttl,
        }
    }

    /// Takes the seat if it is free.
    async fn try_to_lead(
        &self,
        lease: Lease,
        name: &str,
        url: &str,
    ) -> Result<Option<Leadership>, StoreError> {
        let seat = Seat {
            name: name.to_owned(),
            url: url.to_owned(),
        };
        let value = serde_json::to_vec(&seat).map_err(|e| StoreError::Failed {
            action: "stand for election".to_owned(),
            reason: e.to_string(),
        })?;
        let token = match self.leases.attach(lease, &self.key, value).await? {
            Outcome::Committed(revision) => revision,
            // An answer that was lost: the seat has been ours since then.
            Outcome::Refused(_, Some(there)) if self.is_of(&there, name, lease).await? => {
                there.revision
            }
            Outcome::Refused(..) => return Ok(None),
        };
        Ok(Some(Leadership {
            leader: Leader {
                name: name.to_owned(),
                url: url.to_owned(),
                token,
            },
            lease: Some(lease),
            guard: Some(Compare::RevisionIs(self.key.clone(), token)),
        }))
    }

    /// Whether the seat is held by `name`, and by this very lease: a process of that name may have died.
    async fn is_of(&self, there: &Entry, name: &str, lease: Lease) -> Result<bool, StoreError> {
        let ours = seat(there).is_some_and(|seat| seat.name == name);
        Ok(ours && self.leases.holds(lease, &self.key).await?)
    }
}

fn seat(entry: &Entry) -> Option<Seat> {
    serde_json::from_slice(&entry.value).ok()
}

fn leader_of(entry: &Entry) -> Option<Leader> {
    let seat = seat(entry)?;
    Some(Leader {
        name: seat.name,
        url: seat.url,
        token: entry.revision,
    })
}

#[async_trait]
impl Election for StoreElection {
    async fn campaign(&self, name: &str, url: &str) -> Result<Leadership, StoreError> {
        let mut lease = self.leases.grant(self.ttl).await?;
        // From before the first attempt, so that a seat that becomes free after it is seen.
        let mut changes = self.store.watch(&self.key, None);
        loop {
            if let Some(leadership) = self.try_to_lead(lease, name, url).await? {
                return Ok(leadership);
            }
            // Any change, and the time by which our own lease has to be extended, is a reason to look again.
            let wait = LOOK.min(self.ttl / 3);
            let freed = async {
                while let Some(event) = changes.next().await {
                    if matches!(event, WatchEvent::Deleted(..) | WatchEvent::Lost) {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            // Running out is as good a reason to look.
            let _ = tokio::time::timeout(wait, freed).await;
            if !self.leases.keep_alive(lease).await? {
                lease = self.leases.grant(self.ttl).await?;
            }
        }
    }

    async fn renew(&self, leadership: &Leadership) -> Result<bool, StoreError> {
        match leadership.lease {
            Some(lease) => self.leases.keep_alive(lease).await,
            None => Ok(true),
        }
    }

    async fn resign(&self, leadership: Leadership) -> Result<(), StoreError> {
        match leadership.lease {
            Some(lease) => self.leases.revoke(lease).await,
            None => Ok(()),
        }
    }

    async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        let entry = self.store.get(&self.key).await?;
        Ok(entry.as_ref().and_then(leader_of))
    }

    fn observe(&self) -> BoxStream<'static, Option<Leader>> {
        let observer = Observer {
            store: Arc::clone(&self.store),
            key: self.key.clone(),
            changes: self.store.watch(&self.key, None),
            told: None,
        };
        stream::unfold(observer, |mut observer| async move {
            let leader = observer.next().await?;
            Some((leader, observer))
        })
        .boxed()
    }
}

/// Follows one election.
struct Observer {
    store: Arc<dyn Store>,
    key: String,
    changes: BoxStream<'static, WatchEvent>,
    /// What was told last; `None` at the start.
    told: Option<Option<Leader>>,
}

impl Observer {
    /// The next leader that is another than the last one; `None` once the store is gone.
    async fn next(&mut self) -> Option<Option<Leader>> {
        loop {
            let leader = match self.told {
                None => self.read().await,
                Some(_) => match self.changes.next().await? {
                    WatchEvent::Put(entry) if entry.key == self.key => leader_of(&entry),
                    WatchEvent::Deleted(key, _) if key == self.key => None,
                    WatchEvent::Lost => self.read().await,
                    // Another election whose name begins as ours does.
                    WatchEvent::Put(_) | WatchEvent::Deleted(..) => continue,
                },
            };
            if self.told.as_ref() != Some(&leader) {
                self.told = Some(leader.clone());
                return Some(leader);
            }
        }
    }

    /// The present leader, as soon as the store answers.
    async fn read(&mut self) -> Option<Leader> {
        loop {
            match self.store.get(&self.key).await {
                Ok(entry) => return entry.as_ref().and_then(leader_of),
                Err(why) => {
                    tracing::warn!(error = %why, "the leader is not known; trying again");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }
}

/// The election over a store that only one process can open: that process leads.
#[derive(Debug, Clone)]
pub struct SoleElection {
    leader: Leader,
}

impl SoleElection {
    /// `name`, serving at `url`, leads for ever.
    pub fn new(name: &str, url: &str) -> Self {
        Self {
            leader: Leader {
                name: name.to_owned(),
                url: url.to_owned(),
                token: 1,
            },
        }
    }
}

#[async_trait]
impl Election for SoleElection {
    async fn campaign(&self, name: &str, url: &str) -> Result<Leadership, StoreError> {
        Ok(Leadership {
            leader: Leader {
                name: name.to_owned(),
                url: url.to_owned(),
                token: self.leader.token,
            },
            lease: None,
            guard: None,
        })
    }

    async fn renew(&self, _: &Leadership) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn resign(&self, _: Leadership) -> Result<(), StoreError> {
        Ok(())
    }

    async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        Ok(Some(self.leader.clone()))
    }

    fn observe(&self) -> BoxStream<'static, Option<Leader>> {
        let now = stream::once(std::future::ready(Some(self.leader.clone())));
        now.chain(stream::pending()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::memory::{MemoryLeases, MemoryStore};
    use crate::ports::store::Change;

    const TTL: Duration = Duration::from_secs(3);

    fn election(store: &Arc<MemoryStore>, leases: &Arc<MemoryLeases>) -> Arc<StoreElection> {
        let (store, leases) = (Arc::clone(store), Arc::clone(leases));
        Arc::new(StoreElection::new(store, leases, "server", TTL))
    }

    async fn write(store: &MemoryStore, guard: &Option<Compare>) -> Outcome {
        let put = vec![Change::Put("k".into(), Vec::new())];
        let guard = guard.iter().cloned().collect();
        store.transact(guard, put).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_renew_is_followed_and_refused() {
        let store = Arc::new(MemoryStore::new());
        let leases = MemoryLeases::new(Arc::clone(&store));
        let (one, two) = (election(&store, &leases), election(&store, &leases));
        let mut seen = two.observe();
        assert_eq!(seen.next().await, Some(None));
        let first = one.campaign("one", "http://one").await.unwrap();
        assert_eq!(seen.next().await, Some(Some(first.leader.clone())));
        let standby = tokio::spawn({
            let two = Arc::clone(&two);
            async move { two.campaign("two", "http://two").await.unwrap() }
        });
        for _ in 0..10 {
            tokio::time::sleep(TTL / 3).await;
            assert!(one.renew(&first).await.unwrap());
            assert!(!standby.is_finished());
        }
        assert!(matches!(
            write(&store, &first.guard).await,
            Outcome::Committed(_)
        ));
        let second = standby.await.unwrap();
        assert!(second.leader.token > first.leader.token);
        assert!(!one.renew(&first).await.unwrap());
        assert!(matches!(
            write(&store, &first.guard).await,
            Outcome::Refused(..)
        ));
        assert!(matches!(
            write(&store, &second.guard).await,
            Outcome::Committed(_)
        ));
        assert_eq!(two.leader().await.unwrap(), Some(second.leader.clone()));
        two.resign(second).await.unwrap();
        assert_eq!(one.leader().await.unwrap(), None);
        // Whoever has ended as leader may stand again.
        let third = one.campaign("one", "http://one").await.unwrap();
        assert!(third.leader.token > first.leader.token);
    }

    /// Eight candidates that come, lead for a while, and go in all ways: at no moment are there two.
    #[tokio::test(start_paused = true)]
    async fn there_is_never_more_than_one() {
        let store = Arc::new(MemoryStore::new());
        let leases = MemoryLeases::new(Arc::clone(&store));
        let tasks: Vec<_> = (0..8u64)
            .map(|who| {
                let (store, election) = (Arc::clone(&store), election(&store, &leases));
                tokio::spawn(async move {
                    for round in 0..5 {
                        let name = format!("{who}");
                        let leadership = election.campaign(&name, "").await.unwrap();
                        for _ in 0..(who + round) % 4 {
                            let done = write(&store, &leadership.guard).await;
                            assert!(matches!(done, Outcome::Committed(_)));
                            tokio::time::sleep(TTL / 4).await;
                            assert!(election.renew(&leadership).await.unwrap());
                        }
                        match (who + round) % 2 {
                            0 => election.resign(leadership).await.unwrap(),
                            _ => tokio::time::sleep(TTL * 2).await,
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn alone_one_leads() {
        let election = SoleElection::new("me", "http://me");
        let leadership = election.campaign("me", "http://me").await.unwrap();
        assert_eq!((&leadership.guard, &leadership.lease), (&None, &None));
        assert!(election.renew(&leadership).await.unwrap());
        assert_eq!(
            election.observe().next().await,
            Some(Some(leadership.leader))
        );
    }
}
