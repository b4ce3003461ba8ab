//! How often within a time, of each key.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use super::{KEYS, Table};

/// Most times and values that all keys of a rule have together.
const MARKS: usize = 1 << 18;

/// What happened lately.
#[derive(Debug)]
enum Marks {
    /// When, each time.
    Times(VecDeque<u64>),
    /// When each value was last there.
    Values(HashMap<u64, u64>),
}

impl Marks {
    fn len(&self) -> usize {
        match self {
            Self::Times(times) => times.len(),
            Self::Values(values) => values.len(),
        }
    }
}

/// The counters of one rule.
#[derive(Debug)]
pub(crate) struct Count {
    at_least: usize,
    within_ns: u64,
    distinct: bool,
    keys: Table<Marks>,
    marks: usize,
    /// Values are known by a hash that nobody outside can foresee.
    hasher: RandomState,
}

impl Count {
    /// Nothing was counted.
    pub(crate) fn new(at_least: u32, within_ns: u64, distinct: bool) -> Self {
        let hasher = RandomState::new();
        Self { at_least: at_least as usize, within_ns, distinct, keys: Table::new(KEYS), marks: 0, hasher }
    }

    /// It has happened once more, with this value if values are counted. Returns the number when there are enough; it
    /// begins anew then.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8], now_ns: u64) -> Option<usize> {
        let (within_ns, distinct) = (self.within_ns, self.distinct);
        let hash = self.hasher.hash_one(value);
        let marks = self.keys.get(key);
        let before = marks.as_ref().map_or(0, |marks| marks.len());
        let fresh = |time: u64| now_ns.saturating_sub(time) <= within_ns;
        let marks = self
            .keys
            .entry(key, || if distinct { Marks::Values(HashMap::new()) } else { Marks::Times(VecDeque::new()) });
        match marks {
            Marks::Times(times) => {
                while times.front().is_some_and(|time| !fresh(*time)) {
                    times.pop_front();
                }
                times.push_back(now_ns);
            }
            Marks::Values(values) => {
                values.insert(hash, now_ns);
                if values.len() >= self.at_least {
                    values.retain(|_, time| fresh(*time));
                }
            }
        }
        let count = marks.len();
        self.marks = (self.marks + count).saturating_sub(before);
        if count >= self.at_least {
            self.keys.remove(key);
            self.marks = self.marks.saturating_sub(count);
            return Some(count);
        }
        while self.marks > MARKS && self.keys.len() > 1 {
            let gone = self.keys.evict().map_or(0, |marks| marks.len());
            self.marks = self.marks.saturating_sub(gone);
        }
        None
    }

    /// Forgets keys of which everything is too long ago.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        let within_ns = self.within_ns;
        let old = |time: &u64| now_ns.saturating_sub(*time) > within_ns;
        let gone = self.keys.expire(|marks| match marks {
            Marks::Times(times) => times.back().is_none_or(old),
            Marks::Values(values) => values.values().all(old),
        });
        let gone: usize = gone.iter().map(Marks::len).sum();
        self.marks = self.marks.saturating_sub(gone);
    }

    /// Keys that are counted, and those that were forgotten for lack of room.
    pub(crate) fn sizes(&self) -> (usize, u64) {
        (self.keys.len(), self.keys.evictions())
    }
}
