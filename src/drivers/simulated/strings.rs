//! Strings held once, however many containers use them.
//!
//! Called by the simulated world: the labels of 100,000 containers are mostly the same words.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Holds each string once.
#[derive(Debug, Default)]
pub(super) struct Interner {
    strings: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Interner {
    pub(super) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(held) = self.strings.get(text) {
            return Arc::clone(held);
        }
        if self.strings.len() >= self.sweep_at {
            self.strings.retain(|held| Arc::strong_count(held) > 1);
            self.sweep_at = (self.strings.len() * 2).max(1024);
        }
        let held: Arc<str> = text.into();
        self.strings.insert(Arc::clone(&held));
        held
    }

    pub(super) fn labels<T: AsRef<str>>(&mut self, labels: &BTreeMap<T, T>) -> Labels {
        Labels(
            labels
                .iter()
                .map(|(key, value)| (self.get(key.as_ref()), self.get(value.as_ref())))
                .collect(),
        )
    }
}

/// A container's labels, ordered by key.
#[derive(Debug, Clone)]
pub(super) struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    fn get(&self, key: &str) -> Option<&str> {
        let at = self
            .0
            .binary_search_by(|(held, _)| (**held).cmp(key))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// Whether these contain all of `wanted`.
    pub(super) fn contain(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted
            .iter()
            .all(|(key, value)| self.get(key) == Some(value))
    }

    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        self.0
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_held_once_and_let_go() {
        let mut strings = Interner::default();
        assert!(Arc::ptr_eq(&strings.get("a"), &strings.get("a")));
        for n in 0..100_000 {
            strings.get(&n.to_string());
        }
        assert!(strings.strings.len() < 3_000, "{}", strings.strings.len());
    }

    #[test]
    fn labels_are_found_by_all_that_is_wanted() {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect::<BTreeMap<_, _>>()
        };
        let labels = Interner::default().labels(&map(&[("b", "2"), ("a", "1")]));
        assert!(labels.contain(&map(&[])) && labels.contain(&map(&[("a", "1"), ("b", "2")])));
        assert!(!labels.contain(&map(&[("a", "2")])) && !labels.contain(&map(&[("c", "1")])));
    }
}
