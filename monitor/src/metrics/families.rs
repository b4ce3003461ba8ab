//! The builder of one scrape.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Mutex, PoisonError};

use super::snapshot::{Family, Snapshot};
use super::{Kind, Metric};

/// Why samples were left out of a scrape; see [`skipped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The caller and the metric's description do not fit together: kind, number of labels or of buckets.
    Mismatch,
    /// A counter or a histogram would have been negative or not a number.
    Value,
    /// Another sample of the scrape has the same name and labels.
    Duplicate,
}

impl Skipped {
    /// All reasons, in the order of [`skipped`].
    pub const ALL: [Self; 3] = [Self::Mismatch, Self::Value, Self::Duplicate];

    /// The value of the `reason` label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mismatch => "mismatch",
            Self::Value => "value",
            Self::Duplicate => "duplicate",
        }
    }
}

static SKIPPED: [AtomicU64; Skipped::ALL.len()] = [const { AtomicU64::new(0) }; Skipped::ALL.len()];
/// Names that were reported already. Names are part of the program, so this is bounded by its text.
static REPORTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// How many samples this process left out of its scrapes, by reason.
pub fn skipped() -> [(Skipped, u64); Skipped::ALL.len()] {
    Skipped::ALL.map(|reason| (reason, SKIPPED[reason as usize].load(Memory::Relaxed)))
}

/// A wrong sample is a mistake of ours or a coincidence of names, and neither is worth a scrape without the other
/// samples: it is left out, counted, and logged the first time for each metric.
pub(super) fn skip(name: &str, reason: Skipped) {
    SKIPPED[reason as usize].fetch_add(1, Memory::Relaxed);
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !reported.contains(name) && reported.insert(name.to_owned()) {
        tracing::error!(metric = name, reason = reason.name(), "left a sample out of the metrics");
    }
}

/// Collects the samples of one scrape.
#[derive(Default)]
pub struct Families {
    families: Vec<Family>,
    /// Where the family of a description is, by its address: comparing names costs more than all else per sample.
    places: HashMap<usize, usize, BuildHasherDefault<Address>>,
}

impl Families {
    /// An empty scrape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the sample of a counter. `labels` are the values for `metric.labels`, in that order.
    pub fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let result = self.try_counter(metric, labels, value);
        checked(metric, result);
    }

    /// Adds the sample of a gauge. `labels` are the values for `metric.labels`, in that order.
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let result = self.try_gauge(metric, labels, value);
        checked(metric, result);
    }

    /// Adds the sample of a histogram. `bounds` are the upper bounds of the buckets in increasing order, without
    /// infinity; `counts` are the observations in each bucket, not cumulative, and one more than bounds: the last is
    /// what lies above all bounds. `sum` is the sum of all observations in the unit of the bounds.
    pub fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        bounds: &'static [f64],
        counts: &[u64],
        sum: f64,
    ) {
        let result = self.try_histogram(metric, labels, bounds, counts, sum);
        checked(metric, result);
    }

    fn try_counter(&mut self, metric: &'static Metric, labels: &[&str], value: f64) -> Result<(), Skipped> {
        not_negative(value)?;
        self.family(metric, Kind::Counter, labels)?.push(labels, value);
        Ok(())
    }

    fn try_gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) -> Result<(), Skipped> {
        self.family(metric, Kind::Gauge, labels)?.push(labels, value);
        Ok(())
    }

    fn try_histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        bounds: &'static [f64],
        counts: &[u64],
        sum: f64,
    ) -> Result<(), Skipped> {
        let increasing = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if counts.len() != bounds.len() + 1 || !increasing || bounds.iter().any(|bound| !bound.is_finite()) {
            return Err(Skipped::Mismatch);
        }
        not_negative(sum)?;
        self.family(metric, Kind::Histogram, labels)?.push_histogram(labels, bounds, counts, sum);
        Ok(())
    }

    fn family(&mut self, metric: &'static Metric, kind: Kind, labels: &[&str]) -> Result<&mut Family, Skipped> {
        let families = &mut self.families;
        let place = *self.places.entry(std::ptr::from_ref(metric).addr()).or_insert_with(|| {
            // Two descriptions of one name are rare, and one family.
            families.iter().position(|family| family.metric.name == metric.name).unwrap_or_else(|| {
                families.push(Family::new(metric));
                families.len() - 1
            })
        });
        let family = self.families.get_mut(place).ok_or(Skipped::Mismatch)?;
        // Two descriptions with one name would be two families with one name, which no parser takes.
        let same = family.metric.kind == metric.kind && family.metric.labels == metric.labels;
        if same && metric.kind == kind && metric.labels.len() == labels.len() {
            Ok(family)
        } else {
            Err(Skipped::Mismatch)
        }
    }

    /// The families, sorted by name, and each family's samples, sorted by labels; no series twice: the first that was
    /// given stays.
    pub fn finish(self) -> Snapshot {
        let mut families = self.families;
        families.retain(|family| !family.is_empty());
        for family in &mut families {
            let twice = family.sort();
            // Rendering arbitrary bytes as text can make two names equal; Prometheus refuses the whole scrape for that.
            (0..twice).for_each(|_| skip(family.metric.name, Skipped::Duplicate));
        }
        families.sort_by_key(|family| family.metric.name);
        Snapshot::new(families)
    }
}

/// Hashes an address: those of descriptions differ in the bits in the middle.
#[derive(Default)]
struct Address(u64);

impl Hasher for Address {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, address: usize) {
        // 2^64 by the golden ratio (Knuth): spreads them to the upper bits, which the table looks at, too.
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

fn checked(metric: &'static Metric, result: Result<(), Skipped>) {
    let Err(reason) = result else { return };
    debug_assert!(reason != Skipped::Mismatch, "the sample does not fit {metric:?}");
    skip(metric.name, reason);
}

fn not_negative(value: f64) -> Result<(), Skipped> {
    if value >= 0.0 { Ok(()) } else { Err(Skipped::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    static REQUESTS: Metric =
        Metric { name: "monitor_test_total", help: "Requests.", kind: Kind::Counter, labels: &["group", "code"] };
    static OTHER: Metric = Metric { name: "monitor_test_total", help: "Other.", kind: Kind::Gauge, labels: &[] };
    static WAIT: Metric =
        Metric { name: "monitor_test_seconds", help: "Waits.", kind: Kind::Histogram, labels: &["group"] };

    fn values(snapshot: &Snapshot, name: &str) -> Vec<f64> {
        snapshot.family(name).unwrap().samples().map(|sample| sample.value()).collect()
    }

    #[test]
    fn families_and_samples_come_out_sorted() {
        let mut families = Families::new();
        families.counter(&REQUESTS, &["b", "1"], 3.0);
        families.counter(&REQUESTS, &["a", "2"], 2.0);
        families.counter(&REQUESTS, &["a", "1"], 1.0);
        families.counter(&REQUESTS, &["a ", "1"], 2.5);
        families.histogram(&WAIT, &["a"], &[0.5, 1.0], &[1, 2, 3], 9.5);
        let snapshot = families.finish();
        assert_eq!(snapshot.families().map(|family| family.name()).collect::<Vec<_>>(), [WAIT.name, REQUESTS.name]);
        assert_eq!(values(&snapshot, REQUESTS.name), [1.0, 2.0, 2.5, 3.0]);
        assert_eq!(snapshot.series(), 4 + 5);
    }

    #[test]
    fn of_two_samples_with_the_same_labels_the_first_stays() {
        let mut families = Families::new();
        families.counter(&REQUESTS, &["a", "1"], 1.0);
        families.counter(&REQUESTS, &["b", "1"], 7.0);
        families.counter(&REQUESTS, &["a", "1"], 2.0);
        let before = skipped()[Skipped::Duplicate as usize].1;
        assert_eq!(values(&families.finish(), REQUESTS.name), [1.0, 7.0]);
        assert!(skipped()[Skipped::Duplicate as usize].1 > before);
    }

    #[test]
    fn labels_that_only_read_the_same_in_a_row_are_not_the_same() {
        let mut families = Families::new();
        families.counter(&REQUESTS, &["ab", "c"], 1.0);
        families.counter(&REQUESTS, &["a", "bc"], 2.0);
        assert_eq!(values(&families.finish(), REQUESTS.name), [2.0, 1.0]);
    }

    #[test]
    fn samples_that_do_not_fit_their_metric_are_refused() {
        let mut families = Families::new();
        assert_eq!(families.try_counter(&REQUESTS, &["a"], 1.0), Err(Skipped::Mismatch));
        assert_eq!(families.try_gauge(&REQUESTS, &["a", "1"], 1.0), Err(Skipped::Mismatch));
        assert_eq!(families.try_counter(&REQUESTS, &["a", "1"], f64::NAN), Err(Skipped::Value));
        assert_eq!(families.try_counter(&REQUESTS, &["a", "1"], -1.0), Err(Skipped::Value));
        assert_eq!(families.try_histogram(&WAIT, &["a"], &[1.0], &[1], 0.0), Err(Skipped::Mismatch));
        assert_eq!(families.try_histogram(&WAIT, &["a"], &[2.0, 1.0], &[1, 1, 1], 0.0), Err(Skipped::Mismatch));
        assert_eq!(families.try_histogram(&WAIT, &["a"], &[f64::INFINITY], &[1, 1], 0.0), Err(Skipped::Mismatch));
        assert_eq!(families.try_counter(&REQUESTS, &["a", "1"], 1.0), Ok(()));
        assert_eq!(families.try_gauge(&OTHER, &[], 1.0), Err(Skipped::Mismatch));
        assert_eq!(families.finish().families().count(), 1);
    }
}
