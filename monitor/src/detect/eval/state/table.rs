//! A map with a bound: when it is full, the entry that was used longest ago goes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A bounded map. Its keys come from outside, so that it hashes them with a secret.
#[derive(Debug)]
pub(crate) struct Table<V> {
    entries: HashMap<Arc<[u8]>, (u64, V)>,
    /// By when they were last used.
    ages: BTreeMap<u64, Arc<[u8]>>,
    capacity: usize,
    uses: u64,
    evictions: u64,
}

impl<V> Table<V> {
    /// An empty one for this many entries.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), ages: BTreeMap::new(), capacity, uses: 0, evictions: 0 }
    }

    /// The entry, which counts as used.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<&mut V> {
        let (age, value) = self.entries.get_mut(key)?;
        self.uses += 1;
        if let Some(key) = self.ages.remove(age) {
            self.ages.insert(self.uses, key);
        }
        *age = self.uses;
        Some(value)
    }

    /// The entry, made if there is none.
    pub(crate) fn entry(&mut self, key: &[u8], make: impl FnOnce() -> V) -> &mut V {
        use std::collections::hash_map::Entry;
        if !self.entries.contains_key(key) {
            while self.entries.len() >= self.capacity && self.evict().is_some() {}
        }
        self.uses += 1;
        let shared: Arc<[u8]> = key.into();
        match self.entries.entry(Arc::clone(&shared)) {
            Entry::Occupied(found) => {
                let (age, value) = found.into_mut();
                self.ages.remove(age);
                self.ages.insert(self.uses, shared);
                *age = self.uses;
                value
            }
            Entry::Vacant(room) => {
                self.ages.insert(self.uses, shared);
                &mut room.insert((self.uses, make())).1
            }
        }
    }

    /// Takes out the entry that was used longest ago.
    pub(crate) fn evict(&mut self) -> Option<V> {
        let (_, key) = self.ages.pop_first()?;
        self.evictions += 1;
        self.entries.remove(&key).map(|(_, value)| value)
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<V> {
        let (age, value) = self.entries.remove(key)?;
        self.ages.remove(&age);
        Some(value)
    }

    /// The entry, which is as old as before.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Takes out those that were used longest ago, up to the first that is not `over`. They did not have to go: they are
    /// no evictions.
    pub(crate) fn expire(&mut self, mut over: impl FnMut(&V) -> bool) -> Vec<V> {
        let mut gone = Vec::new();
        while let Some(oldest) = self.ages.first_entry() {
            if !self.entries.get(oldest.get()).is_none_or(|(_, value)| over(value)) {
                break;
            }
            let key = oldest.remove();
            gone.extend(self.entries.remove(&key).map(|(_, value)| value));
        }
        gone
    }

    /// All entries, the one that was used longest ago first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.ages.values().filter_map(|key| Some((&**key, &self.entries.get(key)?.1)))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many had to go.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions
    }
}
