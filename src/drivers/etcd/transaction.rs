//! Our transactions as etcd's, which names each key at most once and knows no order among its changes.

use crate::drivers::etcd::{Shared, after_prefix, signed};
use crate::ports::store::{Change, Compare, Entry, Outcome, StoreError};
use etcd_client::{
    Compare as EtcdCompare, CompareOp, DeleteOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use std::collections::BTreeMap;

/// What a sequence of changes comes to: no key is named twice, no range overlaps another or a key. Each with its
/// place in the sequence, in which watchers are told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Net {
    puts: BTreeMap<String, (usize, Vec<u8>)>,
    deletes: BTreeMap<String, usize>,
    prefixes: BTreeMap<String, usize>,
}

impl Net {
    pub fn of(changes: Vec<Change>) -> Self {
        let mut net = Self::default();
        for (place, change) in changes.into_iter().enumerate() {
            match change {
                Change::Put(key, value) => {
                    net.deletes.remove(&key);
                    net.puts.insert(key, (place, value));
                }
                Change::Delete(key) => {
                    net.puts.remove(&key);
                    if !net.covered(&key) {
                        net.deletes.insert(key, place);
                    }
                }
                Change::DeletePrefix(prefix) => {
                    net.puts.retain(|key, _| !key.starts_with(&prefix));
                    net.deletes.retain(|key, _| !key.starts_with(&prefix));
                    if !net.covered(&prefix) {
                        net.prefixes.retain(|p, _| !p.starts_with(&prefix));
                        net.prefixes.insert(prefix, place);
                    }
                }
            }
        }
        net
    }

    fn covered(&self, key: &str) -> bool {
        self.prefixes.keys().any(|prefix| key.starts_with(prefix))
    }

    /// etcd's operations, in the order of the changes; keys that are written go with `lease`.
    fn operations(self, shared: &Shared, lease: Option<i64>) -> Vec<TxnOp> {
        let mut operations = Vec::new();
        for (place, low, high) in self.ranges(shared) {
            let options = DeleteOptions::new().with_range(high);
            operations.push((place, TxnOp::delete(low, Some(options))));
        }
        for (key, place) in &self.deletes {
            operations.push((*place, TxnOp::delete(shared.key(key), None)));
        }
        for (key, (place, value)) in self.puts {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease));
            operations.push((place, TxnOp::put(shared.key(&key), value, options)));
        }
        operations.sort_by_key(|(place, _)| *place);
        operations
            .into_iter()
            .map(|(_, operation)| operation)
            .collect()
    }

    /// The ranges to remove: each prefix but for the keys below it that are written.
    fn ranges(&self, shared: &Shared) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
        let mut ranges = Vec::new();
        for (prefix, &place) in &self.prefixes {
            let mut low = shared.key(prefix);
            let end = after_prefix(&low);
            for key in self.puts.keys().filter(|key| key.starts_with(prefix)) {
                let key = shared.key(key);
                let next = [&key[..], &[0]].concat();
                if low < key {
                    ranges.push((place, low, key));
                }
                low = next;
            }
            ranges.push((place, low, end));
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
        let operations = Net::of(changes).operations(self, lease);
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
            join(net.deletes.keys().collect()),
            join(net.prefixes.keys().collect())
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
