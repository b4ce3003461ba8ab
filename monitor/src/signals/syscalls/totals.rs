//! What is added up of system calls: per family, and with their errors of a process or a group.

use std::collections::BTreeMap;

use monitor_common::{histogram::LATENCY_BUCKETS, signals::syscalls::FAMILIES};

/// Different errors per family and group that have series of their own, the rest in `other`.
const ERRNOS: usize = 16;
/// Stands for all errors beyond the limit.
pub(super) const OTHER_ERRNO: u32 = u32::MAX;

/// Calls of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FamilyTotals {
    /// Sum of durations, nanoseconds.
    pub(super) sum_ns: u64,
    /// Calls by duration.
    pub(super) buckets: [u64; LATENCY_BUCKETS],
    /// Calls whose duration is not known.
    pub(super) untimed: u64,
    /// Calls left untimed that no timed one has stood for yet: less than the last time where one has since.
    pub(super) skipped: i64,
}

impl FamilyTotals {
    /// All calls. Less than nothing only in a difference that was read in the middle of an update.
    pub(super) fn balance(&self) -> i64 {
        (self.buckets.iter().sum::<u64>() + self.untimed).cast_signed().saturating_add(self.skipped)
    }

    pub(super) fn calls(&self) -> u64 {
        self.balance().max(0).cast_unsigned()
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.sum_ns += more.sum_ns;
        self.untimed += more.untimed;
        self.skipped += more.skipped;
        for (bucket, more) in self.buckets.iter_mut().zip(more.buckets) {
            *bucket += more;
        }
    }
}

/// What no family has done yet.
pub(super) static NOTHING: FamilyTotals =
    FamilyTotals { sum_ns: 0, buckets: [0; LATENCY_BUCKETS], untimed: 0, skipped: 0 };

/// Totals by family. Thousands are kept, one for each process that ended lately too, and most processes use few
/// families: the others take no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ByFamily([Option<Box<FamilyTotals>>; FAMILIES]);

impl ByFamily {
    pub(super) fn get(&self, family: usize) -> &FamilyTotals {
        self.0.get(family).and_then(Option::as_deref).unwrap_or(&NOTHING)
    }

    /// Every family, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &FamilyTotals> {
        self.0.iter().map(|totals| totals.as_deref().unwrap_or(&NOTHING))
    }

    pub(super) fn add(&mut self, family: usize, more: &FamilyTotals) {
        if let Some(totals) = self.0.get_mut(family) {
            totals.get_or_insert_default().add(more);
        }
    }
}

/// Calls and errors of a process or a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// By family.
    pub(super) families: ByFamily,
    /// Errors by family and number.
    pub(super) errors: BTreeMap<(u32, u32), u64>,
}

impl Totals {
    pub(super) fn calls(&self) -> u64 {
        self.families.iter().map(FamilyTotals::calls).sum()
    }

    /// Counts an error, under its own number if there is room for it.
    pub(super) fn error(&mut self, family: u32, errno: u32, count: u64) {
        let known = self.errors.keys().filter(|(other, _)| *other == family).count();
        let errno = if known < ERRNOS || self.errors.contains_key(&(family, errno)) { errno } else { OTHER_ERRNO };
        *self.errors.entry((family, errno)).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_without_calls_take_no_room_and_are_read_as_nothing() {
        let mut families = ByFamily::default();
        let mut one = FamilyTotals { sum_ns: 300, ..FamilyTotals::default() };
        one.buckets[1] = 2;
        families.add(15, &one);
        families.add(15, &one);
        assert_eq!(families.get(15).calls(), 4);
        assert_eq!(families.get(15).sum_ns, 600);
        assert_eq!(families.get(3), &NOTHING);
        assert_eq!(families.iter().map(FamilyTotals::calls).sum::<u64>(), 4);
        assert_eq!(families.0.iter().flatten().count(), 1);
    }

    #[test]
    fn errors_beyond_the_limit_are_counted_together() {
        let mut totals = Totals::default();
        for errno in 1..=20 {
            totals.error(1, errno, 10);
        }
        totals.error(1, 1, 5);
        totals.error(2, 99, 1);
        assert_eq!(totals.errors[&(1, 1)], 15);
        assert_eq!(totals.errors[&(1, OTHER_ERRNO)], 40);
        assert_eq!(totals.errors[&(2, 99)], 1);
        assert_eq!(totals.errors.len(), ERRNOS + 2);
    }
}
