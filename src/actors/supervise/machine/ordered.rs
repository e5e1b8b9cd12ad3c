//! Children in start order, with constant-time lookup, append and removal.
//!
//! A slab whose entries are linked in order. Used by the state machine only.

/// Place of a child in its supervisor's table; reused after removal, so exits
/// are matched by incarnation as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

impl Key {
    /// The place of a root below its guardian.
    pub const ROOT: Self = Self(0);

    /// The place as an index, for a table kept beside this one.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry<T> {
    prev: u32,
    next: u32,
    value: Option<T>,
}

/// An ordered table of children.
#[derive(Debug)]
pub(crate) struct Ordered<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    head: u32,
    tail: u32,
    len: usize,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            head: NONE,
            tail: NONE,
            len: 0,
        }
    }
}

impl<T> Ordered<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends at the newest position.
    pub(crate) fn push_back(&mut self, value: T) -> Key {
        let entry = Entry {
            prev: self.tail,
            next: NONE,
            value: Some(value),
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1)
                    .expect("fewer than 2^32 children fit in memory")
            }
        };
        match self.tail {
            NONE => self.head = index,
            tail => self.entries[tail as usize].next = index,
        }
        self.tail = index;
        self.len += 1;
        Key(index)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index())?;
        let value = entry.value.take()?;
        let (prev, next) = (entry.prev, entry.next);
        match prev {
            NONE => self.head = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => self.entries[next as usize].prev = prev,
        }
        self.free.push(key.0);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.entries.get(key.index())?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries.get_mut(key.index())?.value.as_mut()
    }

    /// The oldest.
    pub(crate) fn first(&self) -> Option<Key> {
        Self::key(self.head)
    }

    /// The newest.
    pub(crate) fn last(&self) -> Option<Key> {
        Self::key(self.tail)
    }

    /// The one started after `key`.
    pub(crate) fn after(&self, key: Key) -> Option<Key> {
        Self::key(self.entries.get(key.index())?.next)
    }

    /// The one started before `key`.
    pub(crate) fn before(&self, key: Key) -> Option<Key> {
        Self::key(self.entries.get(key.index())?.prev)
    }

    /// All, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        std::iter::successors(self.first(), |key| self.after(*key))
            .filter_map(|key| Some((key, self.get(key)?)))
    }

    /// All, newest first.
    pub(crate) fn iter_rev(&self) -> impl Iterator<Item = (Key, &T)> {
        std::iter::successors(self.last(), |key| self.before(*key))
            .filter_map(|key| Some((key, self.get(key)?)))
    }

    /// Links the entries anew; `order` names each of them once.
    pub(super) fn relink(&mut self, order: impl Iterator<Item = Key>) {
        (self.head, self.tail) = (NONE, NONE);
        for key in order {
            let prev = self.tail;
            match prev {
                NONE => self.head = key.0,
                prev => self.entries[prev as usize].next = key.0,
            }
            let entry = &mut self.entries[key.index()];
            (entry.prev, entry.next) = (prev, NONE);
            self.tail = key.0;
        }
    }

    fn key(index: u32) -> Option<Key> {
        (index != NONE).then_some(Key(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(table: &Ordered<char>) -> (String, String) {
        (
            table.iter().map(|(_, c)| *c).collect(),
            table.iter_rev().map(|(_, c)| *c).collect(),
        )
    }

    #[test]
    fn keeps_order_through_removal_and_reuse() {
        let mut table = Ordered::default();
        let keys: Vec<Key> = "abcd".chars().map(|c| table.push_back(c)).collect();
        assert_eq!(table.remove(keys[1]), Some('b'));
        assert_eq!(table.remove(keys[1]), None);
        assert_eq!(table.remove(keys[0]), Some('a'));
        assert_eq!(table.remove(keys[3]), Some('d'));
        assert_eq!(list(&table), ("c".into(), "c".into()));
        table.push_back('e');
        assert_eq!(list(&table), ("ce".into(), "ec".into()));
        assert_eq!(table.len(), 2);
        assert_eq!(table.remove(keys[2]), Some('c'));
        let last = table.last().expect("one is left");
        assert_eq!(table.remove(last), Some('e'));
        assert_eq!((table.first(), table.last(), table.len()), (None, None, 0));
    }
}
