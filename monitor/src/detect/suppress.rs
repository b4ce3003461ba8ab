//! Keeps one thing that happens a thousand times from hiding everything else.

use std::collections::HashMap;

/// Published at once before a series of equal findings is slowed down.
const BURST: u64 = 10;
/// After that one in this time, nanoseconds. It is also the time in which one more of the burst is earned back.
const INTERVAL_NS: u64 = 10_000_000_000;
/// Most keys in each of the two generations.
const KEYS: usize = 2048;

/// What makes two findings equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Index of the rule.
    pub(super) rule: usize,
    /// With its severity: a flood of harmless ones must not hide a grave one.
    pub(super) severity: crate::events::Severity,
    /// Real user id.
    pub(super) uid: u32,
    /// What the rule says it is about.
    pub(super) object: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Nanoseconds of credit, an event costs [`INTERVAL_NS`].
    credit: u64,
    updated_ns: u64,
    suppressed: u64,
    count: u64,
    first_ns: u64,
}

/// What is said of equal findings with one that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Those that were not published since the last one that was.
    pub(super) suppressed: u64,
    /// All since they are remembered, this one included.
    pub(super) count: u64,
    /// When the first of them was.
    pub(super) first_ns: u64,
}

/// Token buckets for findings. Bounded by two generations: when the young one is full it becomes the old one, and what
/// was not used since is forgotten, which can only lead to more events.
#[derive(Debug, Default)]
pub(super) struct Suppressor {
    young: HashMap<Key, Bucket>,
    old: HashMap<Key, Bucket>,
}

impl Suppressor {
    /// Whether to publish, with the number of equal findings that were not since the last one that was.
    pub(super) fn admit(&mut self, key: Key, now_ns: u64) -> Option<Admitted> {
        if !self.young.contains_key(&key) && self.young.len() >= KEYS {
            self.old = std::mem::take(&mut self.young);
        }
        let earlier = self.old.remove(&key);
        let bucket = self.young.entry(key).or_insert_with(|| {
            earlier.unwrap_or(Bucket {
                credit: BURST * INTERVAL_NS,
                updated_ns: now_ns,
                suppressed: 0,
                count: 0,
                first_ns: now_ns,
            })
        });
        let earned = now_ns.saturating_sub(bucket.updated_ns);
        bucket.credit = bucket.credit.saturating_add(earned).min(BURST * INTERVAL_NS);
        bucket.count += 1;
        bucket.updated_ns = bucket.updated_ns.max(now_ns);
        if bucket.credit < INTERVAL_NS {
            bucket.suppressed += 1;
            return None;
        }
        bucket.credit -= INTERVAL_NS;
        let (count, first_ns) = (bucket.count, bucket.first_ns);
        Some(Admitted { suppressed: std::mem::take(&mut bucket.suppressed), count, first_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Severity;

    const SECOND: u64 = 1_000_000_000;

    fn key(object: usize) -> Key {
        Key { rule: 0, severity: Severity::Low, uid: 0, object: object.to_string().into_bytes() }
    }

    #[test]
    fn a_flood_becomes_one_in_ten_seconds_and_each_is_accounted_for() {
        let mut suppressor = Suppressor::default();
        let mut published = Vec::new();
        let mut told = 0;
        // Ten a second for a minute.
        for tenth in 0..600 {
            if let Some(admitted) = suppressor.admit(key(1), tenth * SECOND / 10) {
                published.push(tenth);
                told += admitted.suppressed;
                assert_eq!((admitted.count, admitted.first_ns), (tenth + 1, 0));
            }
        }
        assert_eq!(published, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 200, 300, 400, 500]);
        let waiting = suppressor.young[&key(1)].suppressed;
        assert_eq!(published.len() as u64 + told + waiting, 600);
        assert_eq!(told, 500 - 9 - 5);
    }

    #[test]
    fn other_objects_users_and_severities_are_not_held_back() {
        let mut suppressor = Suppressor::default();
        for _ in 0..50 {
            suppressor.admit(key(1), 0);
        }
        assert_eq!(suppressor.admit(key(1), 0), None);
        assert_eq!(suppressor.admit(key(2), 0).map(|admitted| admitted.suppressed), Some(0));
        assert_eq!(suppressor.admit(Key { uid: 5, ..key(1) }, 0).map(|admitted| admitted.suppressed), Some(0));
        assert_eq!(
            suppressor.admit(Key { severity: Severity::High, ..key(1) }, 0).map(|admitted| admitted.suppressed),
            Some(0)
        );
    }

    #[test]
    fn memory_is_bounded_and_a_key_in_use_stays_known() {
        let mut suppressor = Suppressor::default();
        for object in 1..20_000 {
            suppressor.admit(key(0), 0);
            suppressor.admit(key(object), 0);
            assert!(suppressor.young.len() <= KEYS && suppressor.old.len() <= KEYS);
        }
        assert_eq!(suppressor.admit(key(0), 0), None);
    }

    #[test]
    fn a_clock_that_steps_back_neither_blocks_nor_frees() {
        let mut suppressor = Suppressor::default();
        for _ in 0..11 {
            suppressor.admit(key(1), 100 * SECOND);
        }
        assert_eq!(suppressor.admit(key(1), SECOND), None);
        assert_eq!(suppressor.admit(key(1), 110 * SECOND).map(|admitted| admitted.suppressed), Some(2));
    }
}
