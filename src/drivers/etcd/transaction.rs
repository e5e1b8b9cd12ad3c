//! Our transactions as etcd's, which names each key at most once and knows no order among its changes.

use crate::drivers::etcd::{Shared, after_prefix, signed};
use crate::ports::store::{Change, Compare, Entry, Outcome, StoreError};
use etcd_client::{
    Compare as EtcdCompare, CompareOp, DeleteOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a sequence of changes comes to: no key is named twice, no range overlaps another or a key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Net {
    puts: BTreeMap<String, Vec<u8>>,
    deletes: BTreeSet<String>,
    prefixes: BTreeSet<String>,
}

impl Net {
    pub fn of(changes: Vec<Change>) -> Self {
        let mut net = Self::default();
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    net.deletes.remove(&key);
                    net.puts.insert(key, value);
                }
                Change::Delete(key) => {
                    net.puts.remove(&key);
                    if !net.covered(&key) {
                        net.deletes.insert(key);
                    }
                }
                Change::DeletePrefix(prefix) => {
                    net.puts.retain(|key, _| !key.starts_with(&prefix));
                    net.deletes.retain(|key| !key.starts_with(&prefix));
                    if !net.covered(&prefix) {
                        net.prefixes.retain(|p| !p.starts_with(&prefix));
                        net.prefixes.insert(prefix);
                    }
                }
            }
        }
        net
    }

    fn covered(&self, key: &str) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// The ranges to remove: each prefix but for the keys below it that are written.
    fn ranges(&self, shared: &Shared) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut ranges = Vec::new();
        for prefix in &self.prefixes {
            let mut low = shared.key(prefix);
            let end = after_prefix(&low);
            for key in self.puts.keys().filter(|key| key.starts_with(prefix)) {
                let key = shared.key(key);
                let next = [&key[..], &[0]].concat();
                if low < key {
                    ranges.push((low, key));
                }
                low = next;
            }
            ranges.push((low, end));
        }
        ranges
    }
}

impl Shared {
    /// Makes the changes if the conditions hold; keys that are written go with `lease`.
    pub(super) async fn transact(
        &self,
        conditions: &[Compare],
        changes: Vec<Change>,
        lease: Option<i64>,
    ) -> Result<Outcome, StoreError> {
        let net = Net::of(changes);
        let mut operations = Vec::new();
        for (low, high) in net.ranges(self) {
            let options = DeleteOptions::new().with_range(high);
            operations.push(TxnOp::delete(low, Some(options)));
        }
        for key in &net.deletes {
            operations.push(TxnOp::delete(self.key(key), None));
        }
        for (key, value) in net.puts {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease));
            operations.push(TxnOp::put(self.key(&key), value, options));
        }
        let compares: Vec<EtcdCompare> = conditions.iter().flat_map(|c| self.compares(c)).collect();
        let reads: Vec<TxnOp> = conditions
            .iter()
            .map(|c| TxnOp::get(self.key(key_of(c)), None))
            .collect();
        let transaction = Txn::new()
            .when(compares)
            .and_then(operations)
            .or_else(reads);
        let done = self.commit(transaction).await?;
        let revision = self.note(done.header());
        if done.succeeded() {
            return Ok(Outcome::Committed(revision));
        }
        let found = done
            .op_responses()
            .into_iter()
            .map(|response| match response {
                TxnOpResponse::Get(found) => found.kvs().first().and_then(|kv| self.entry(kv)),
                _ => None,
            });
        let violated = conditions
            .iter()
            .zip(found)
            .find(|(condition, entry)| !holds(condition, entry.as_ref()));
        match violated {
            Some((condition, entry)) => Ok(Outcome::Refused(key_of(condition).to_owned(), entry)),
            None => Err(super::error::failed(
                "commit",
                &"etcd refused a transaction whose conditions hold",
            )),
        }
    }

    async fn commit(&self, transaction: Txn) -> Result<etcd_client::TxnResponse, StoreError> {
        let done = self.once("commit", |client| {
            let transaction = transaction.clone();
            async move {
                let mut kv = client
                    .kv_client()
                    .max_decoding_message_size(super::MAX_MESSAGE);
                kv.txn(transaction).await
            }
        });
        done.await
    }

    fn compares(&self, condition: &Compare) -> Vec<EtcdCompare> {
        match condition {
            Compare::Absent(key) => {
                vec![EtcdCompare::version(self.key(key), CompareOp::Equal, 0)]
            }
            // To etcd, an absent key has revision 0; to us, it has none.
            Compare::RevisionIs(key, revision) => vec![
                EtcdCompare::version(self.key(key), CompareOp::Greater, 0),
                EtcdCompare::mod_revision(self.key(key), CompareOp::Equal, signed(*revision)),
            ],
        }
    }
}

fn key_of(condition: &Compare) -> &str {
    let (Compare::Absent(key) | Compare::RevisionIs(key, _)) = condition;
    key
}

fn holds(condition: &Compare, entry: Option<&Entry>) -> bool {
    match condition {
        Compare::Absent(_) => entry.is_none(),
        Compare::RevisionIs(_, revision) => entry.is_some_and(|e| e.revision == *revision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Change {
        Change::Put(key.into(), key.as_bytes().to_vec())
    }

    fn delete(key: &str) -> Change {
        Change::Delete(key.into())
    }

    fn prefix(key: &str) -> Change {
        Change::DeletePrefix(key.into())
    }

    /// What is left: written, removed, removed below.
    fn net(changes: Vec<Change>) -> String {
        let net = Net::of(changes);
        let join = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>().join(" ");
        format!(
            "{}|{}|{}",
            join(net.puts.keys().collect()),
            join(net.deletes.iter().collect()),
            join(net.prefixes.iter().collect())
        )
    }

    #[test]
    fn the_last_change_of_a_key_counts() {
        let table = [
            (vec![put("a"), delete("a")], "|a|"),
            (vec![delete("a"), put("a")], "a||"),
            (vec![put("a/1"), prefix("a/")], "||a/"),
            (vec![prefix("a/"), put("a/1")], "a/1||a/"),
            (vec![prefix("a/"), put("a/1"), delete("a/1")], "||a/"),
            (vec![delete("a/1"), prefix("a/"), delete("b")], "|b|a/"),
            (vec![prefix("a/b/"), prefix("a/")], "||a/"),
            (
                vec![prefix("a/"), prefix("a/b/"), put("a/b/c")],
                "a/b/c||a/",
            ),
            (vec![prefix(""), prefix("a")], "||"),
        ];
        for (changes, expected) in table {
            let shown = format!("{changes:?}");
            assert_eq!(net(changes), expected, "{shown}");
        }
    }
}
