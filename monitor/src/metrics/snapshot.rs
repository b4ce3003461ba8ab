//! The numbers of one moment, as compact as a scrape of ten thousand series wants them: a few large pieces of memory a
//! family instead of a dozen small ones a sample. Never changed once made, so that any thread may write it out.

use std::cmp::Ordering;

use super::{Kind, Metric};

/// The families of a scrape, sorted by name.
#[derive(Debug, Default)]
pub struct Snapshot {
    families: Vec<Family>,
}

impl Snapshot {
    pub(super) fn new(families: Vec<Family>) -> Self {
        Self { families }
    }

    /// The families, sorted by name. None is empty.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.families.iter()
    }

    /// The family of this name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name() == name)
    }

    /// Lines that a page of it has, comments not counted.
    pub fn series(&self) -> usize {
        self.families.iter().map(Family::series).sum()
    }
}

/// The samples of one metric, sorted by labels.
#[derive(Debug)]
pub struct Family {
    pub(super) metric: &'static Metric,
    /// Label values of all samples, in the order in which they came, without anything between them …
    text: String,
    /// … and where each ends: as many for each sample as the metric has labels.
    ends: Vec<u32>,
    /// Of each sample its value, or its sum if it is a histogram.
    values: Vec<f64>,
    histograms: Vec<Buckets>,
    /// Observations of all histograms, bucket by bucket.
    counts: Vec<u64>,
    /// The samples, sorted by labels.
    order: Vec<u32>,
}

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// Where its counts begin, one more than bounds.
    first: usize,
}

impl Family {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self {
            metric,
            text: String::new(),
            ends: Vec::new(),
            values: Vec::new(),
            histograms: Vec::new(),
            counts: Vec::new(),
            order: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, labels: &[&str], value: f64) {
        for label in labels {
            self.text.push_str(label);
            // Four gigabytes of labels would have ended the daemon before.
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
        self.values.push(value);
    }

    pub(super) fn push_histogram(&mut self, labels: &[&str], bounds: &'static [f64], counts: &[u64], sum: f64) {
        self.push(labels, sum);
        self.histograms.push(Buckets { bounds, first: self.counts.len() });
        self.counts.extend_from_slice(counts);
    }

    /// Sorts the samples by labels and keeps the first of those with the same. Returns how many went.
    pub(super) fn sort(&mut self) -> usize {
        let mut order: Vec<u32> = (0..u32::try_from(self.values.len()).unwrap_or(u32::MAX)).collect();
        // Most collectors go through their groups in some order of their own; those that do not cost nothing here.
        order.sort_by(|one, other| self.compare(*one, *other));
        let before = order.len();
        order.dedup_by(|later, earlier| self.compare(*later, *earlier) == Ordering::Equal);
        self.order = order;
        before - self.order.len()
    }

    fn compare(&self, one: u32, other: u32) -> Ordering {
        (0..self.metric.labels.len())
            .map(|label| self.label(one, label).cmp(self.label(other, label)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn label(&self, sample: u32, label: usize) -> &str {
        let index = sample as usize * self.metric.labels.len() + label;
        let end = |index: usize| self.ends.get(index).map_or(0, |end| *end as usize);
        let start = index.checked_sub(1).map_or(0, end);
        self.text.get(start..end(index)).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The name of its metric.
    pub fn name(&self) -> &'static str {
        self.metric.name
    }

    /// Its samples, sorted by labels.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        self.order.iter().map(|index| Sample { family: self, index: *index })
    }

    fn series(&self) -> usize {
        match self.metric.kind {
            Kind::Counter | Kind::Gauge => self.order.len(),
            // Besides the buckets: infinity, count and sum.
            Kind::Histogram => self.samples().map(|sample| sample.bounds().len() + 3).sum(),
        }
    }
}

/// One sample of a family.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    family: &'a Family,
    index: u32,
}

impl<'a> Sample<'a> {
    /// Its label values, in the order of the metric's labels.
    pub fn labels(self) -> impl Iterator<Item = &'a str> {
        (0..self.family.metric.labels.len()).map(move |label| self.family.label(self.index, label))
    }

    /// Its value; the sum of all observations if it is a histogram.
    pub fn value(self) -> f64 {
        self.family.values.get(self.index as usize).copied().unwrap_or_default()
    }

    /// Upper bounds of a histogram's buckets, without infinity.
    pub fn bounds(self) -> &'static [f64] {
        self.family.histograms.get(self.index as usize).map_or(&[], |histogram| histogram.bounds)
    }

    /// A histogram's observations up to each bound, and all of them at last.
    pub fn cumulative(self) -> impl Iterator<Item = u64> {
        let histogram = self.family.histograms.get(self.index as usize);
        let counts = histogram.and_then(|one| self.family.counts.get(one.first..=one.first + one.bounds.len()));
        counts.unwrap_or_default().iter().scan(0_u64, |total, count| {
            *total = total.saturating_add(*count);
            Some(*total)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Families, Kind, Metric};

    static WAIT: Metric =
        Metric { name: "monitor_test_seconds", help: "Waits.", kind: Kind::Histogram, labels: &["group"] };

    #[test]
    fn a_histogram_is_cumulative_and_counts_what_lies_above_all_bounds() {
        let mut families = Families::new();
        families.histogram(&WAIT, &["b"], &[2.0], &[7, u64::MAX], 1.0);
        families.histogram(&WAIT, &["a"], &[0.5, 1.0], &[1, 2, 3], 9.5);
        let snapshot = families.finish();
        let samples: Vec<_> = snapshot.family(WAIT.name).unwrap().samples().collect();
        assert_eq!((samples[0].cumulative().collect::<Vec<_>>(), samples[0].value()), (vec![1, 3, 6], 9.5));
        assert_eq!((samples[1].cumulative().collect::<Vec<_>>(), samples[1].bounds()), (vec![7, u64::MAX], &[2.0][..]));
    }
}
