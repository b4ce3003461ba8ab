//! The builder of one scrape.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Mutex, PoisonError};

use prometheus::proto;

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
/// Names that were reported already. Names are static, so this is bounded by the program text.
static REPORTED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// How many samples this process left out of its scrapes, by reason.
pub fn skipped() -> [(Skipped, u64); Skipped::ALL.len()] {
    Skipped::ALL.map(|reason| (reason, SKIPPED[reason as usize].load(Memory::Relaxed)))
}

/// A wrong sample is a mistake of ours or a coincidence of names, and neither is worth a scrape without the other
/// samples: it is left out, counted, and logged the first time for each metric.
fn skip(metric: &'static Metric, reason: Skipped) {
    SKIPPED[reason as usize].fetch_add(1, Memory::Relaxed);
    if REPORTED.lock().unwrap_or_else(PoisonError::into_inner).insert(metric.name) {
        tracing::error!(metric = metric.name, reason = reason.name(), "left a sample out of the metrics");
    }
}

struct Family {
    metric: &'static Metric,
    samples: Vec<proto::Metric>,
}

/// Collects the samples of one scrape.
#[derive(Default)]
pub struct Families {
    families: BTreeMap<&'static str, Family>,
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
    pub fn histogram(&mut self, metric: &'static Metric, labels: &[&str], bounds: &[f64], counts: &[u64], sum: f64) {
        let result = self.try_histogram(metric, labels, bounds, counts, sum);
        checked(metric, result);
    }

    fn try_counter(&mut self, metric: &'static Metric, labels: &[&str], value: f64) -> Result<(), Skipped> {
        let mut sample = sample(metric, Kind::Counter, labels)?;
        not_negative(value)?;
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        sample.set_counter(counter);
        self.push(metric, sample)
    }

    fn try_gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) -> Result<(), Skipped> {
        let mut sample = sample(metric, Kind::Gauge, labels)?;
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        sample.set_gauge(gauge);
        self.push(metric, sample)
    }

    fn try_histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) -> Result<(), Skipped> {
        let mut sample = sample(metric, Kind::Histogram, labels)?;
        let increasing = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if counts.len() != bounds.len() + 1 || !increasing || bounds.iter().any(|bound| !bound.is_finite()) {
            return Err(Skipped::Mismatch);
        }
        not_negative(sum)?;
        let mut total = 0_u64;
        let mut buckets = Vec::with_capacity(bounds.len());
        for (bound, count) in bounds.iter().zip(counts) {
            total = total.saturating_add(*count);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(total.saturating_add(counts[bounds.len()]));
        histogram.set_sample_sum(sum);
        sample.set_histogram(histogram);
        self.push(metric, sample)
    }

    fn push(&mut self, metric: &'static Metric, sample: proto::Metric) -> Result<(), Skipped> {
        let family = self.families.entry(metric.name).or_insert_with(|| Family { metric, samples: Vec::new() });
        // Two descriptions with one name would be two families with one name, which no parser takes.
        if family.metric.kind != metric.kind || family.metric.labels != metric.labels {
            return Err(Skipped::Mismatch);
        }
        family.samples.push(sample);
        Ok(())
    }

    /// The families, sorted by name, and each family's samples, sorted by labels; no series twice: the first that was
    /// given stays.
    pub fn finish(self) -> Vec<proto::MetricFamily> {
        self.families.into_values().map(finish_family).collect()
    }
}

fn checked(metric: &'static Metric, result: Result<(), Skipped>) {
    let Err(reason) = result else { return };
    debug_assert!(reason != Skipped::Mismatch, "the sample does not fit {metric:?}");
    skip(metric, reason);
}

fn sample(metric: &'static Metric, kind: Kind, labels: &[&str]) -> Result<proto::Metric, Skipped> {
    if metric.kind != kind || metric.labels.len() != labels.len() {
        return Err(Skipped::Mismatch);
    }
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Ok(proto::Metric::from_label(metric.labels.iter().zip(labels).map(pair).collect()))
}

fn not_negative(value: f64) -> Result<(), Skipped> {
    if value >= 0.0 { Ok(()) } else { Err(Skipped::Value) }
}

fn finish_family(Family { metric, mut samples }: Family) -> proto::MetricFamily {
    samples.sort_by(by_labels);
    // Rendering arbitrary bytes as text can make two names equal; Prometheus refuses the whole scrape for that.
    samples.dedup_by(|later, earlier| {
        let same = by_labels(later, earlier) == Ordering::Equal;
        if same {
            skip(metric, Skipped::Duplicate);
        }
        same
    });
    let mut family = proto::MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    family.set_metric(samples);
    family
}

fn by_labels(left: &proto::Metric, right: &proto::Metric) -> Ordering {
    let (left, right) = (left.get_label(), right.get_label());
    let pairs = left.iter().zip(right).map(|(a, b)| a.name().cmp(b.name()).then_with(|| a.value().cmp(b.value())));
    pairs.fold(Ordering::Equal, Ordering::then).then(left.len().cmp(&right.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    static REQUESTS: Metric =
        Metric { name: "monitor_test_total", help: "Requests.", kind: Kind::Counter, labels: &["group", "code"] };
    static OTHER: Metric = Metric { name: "monitor_test_total", help: "Other.", kind: Kind::Gauge, labels: &[] };
    static WAIT: Metric =
        Metric { name: "monitor_test_seconds", help: "Waits.", kind: Kind::Histogram, labels: &["group"] };

    #[test]
    fn families_and_samples_come_out_sorted() {
        let mut families = Families::new();
        families.counter(&REQUESTS, &["b", "1"], 3.0);
        families.counter(&REQUESTS, &["a", "2"], 2.0);
        families.counter(&REQUESTS, &["a", "1"], 1.0);
        families.histogram(&WAIT, &["a"], &[0.5, 1.0], &[1, 2, 3], 9.5);
        let families = families.finish();
        assert_eq!(families.iter().map(|family| family.name()).collect::<Vec<_>>(), [WAIT.name, REQUESTS.name]);
        let values: Vec<f64> = families[1].get_metric().iter().map(|m| m.get_counter().get_value()).collect();
        assert_eq!(values, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_histogram_is_cumulative_and_counts_what_lies_above_all_bounds() {
        let mut families = Families::new();
        families.histogram(&WAIT, &["a"], &[0.5, 1.0], &[1, 2, 3], 9.5);
        let families = families.finish();
        let histogram = families[0].get_metric()[0].get_histogram();
        let counts: Vec<u64> = histogram.get_bucket().iter().map(|bucket| bucket.cumulative_count()).collect();
        assert_eq!((counts, histogram.get_sample_count(), histogram.get_sample_sum()), (vec![1, 3], 6, 9.5));
    }

    #[test]
    fn of_two_samples_with_the_same_labels_the_first_stays() {
        let mut families = Families::new();
        families.counter(&REQUESTS, &["a", "1"], 1.0);
        families.counter(&REQUESTS, &["b", "1"], 7.0);
        families.counter(&REQUESTS, &["a", "1"], 2.0);
        let before = skipped()[Skipped::Duplicate as usize].1;
        let families = families.finish();
        let values: Vec<f64> = families[0].get_metric().iter().map(|m| m.get_counter().get_value()).collect();
        assert_eq!(values, [1.0, 7.0]);
        assert!(skipped()[Skipped::Duplicate as usize].1 > before);
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
        assert_eq!(families.finish().len(), 1);
    }
}
