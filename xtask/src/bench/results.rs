//! What came out of a comparison, and what is said about it.

use std::collections::BTreeMap;

use super::{process::Cost, statistics::Quartiles, subject::Subject, workload::Workload};

/// Time of one workload, bare and observed by the same process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) bare: Cost,
    pub(super) observed: Cost,
}

impl Pair {
    fn added(&self) -> f64 {
        self.observed.clock - self.bare.clock
    }

    fn cpu_speed(&self) -> Option<f64> {
        Some(self.bare.cpu? / self.observed.cpu?)
    }
}

/// All pairs, and what happened meanwhile.
#[derive(Default)]
pub(super) struct Results {
    /// By workload and subject, one pair a round.
    pairs: BTreeMap<(&'static str, &'static str), Vec<Pair>>,
    /// The load after each round.
    pub(super) loads: Vec<f64>,
    /// Measurements that were thrown away because somebody else observed at the same time.
    pub(super) repeated: usize,
    /// Measurements that were kept in spite of that.
    pub(super) disturbed: usize,
    /// Subjects that could not be measured, and why.
    pub(super) failed: BTreeMap<&'static str, String>,
}

/// What is said about one subject under one workload.
#[derive(Debug)]
pub(super) struct Row {
    /// Observed, in nanoseconds an operation.
    pub(super) time: Quartiles,
    /// Added by the observer, in nanoseconds an operation.
    pub(super) added: Quartiles,
    /// Speed by the clock, as a part of the bare machine's.
    pub(super) speed: Quartiles,
    /// The same by CPU time.
    pub(super) cpu_speed: Option<Quartiles>,
    /// Added, as a multiple of what the subject's floor adds in the same round.
    pub(super) of_floor: Option<Quartiles>,
}

impl Results {
    pub(super) fn add(&mut self, workload: &'static str, subject: &'static str, pair: Pair) {
        self.pairs.entry((workload, subject)).or_default().push(pair);
    }

    /// One a round.
    pub(super) fn of(&self, workload: &'static str, subject: &'static str) -> &[Pair] {
        self.pairs.get(&(workload, subject)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn row(&self, workload: &Workload, subject: &Subject) -> Option<Row> {
        let pairs = self.of(workload.name, subject.name);
        Some(Row {
            time: Quartiles::of(pairs.iter().map(|pair| pair.observed.clock))?,
            added: Quartiles::of(pairs.iter().map(Pair::added))?,
            speed: self.speed(workload.name, subject.name)?,
            cpu_speed: self.cpu_speed(workload.name, subject.name),
            of_floor: self
                .times(workload.name, subject.name, subject.floor)
                .filter(|_| self.told(workload, subject.floor)),
        })
    }

    /// Is what a subject adds more than the noise? Only then can anything be a multiple of it.
    fn told(&self, workload: &Workload, subject: &'static str) -> bool {
        let added = Quartiles::of(self.of(workload.name, subject).iter().map(Pair::added));
        added.is_some_and(|added| added.low > (added.high - added.low) / 2.0)
    }

    pub(super) fn speed(&self, workload: &'static str, subject: &'static str) -> Option<Quartiles> {
        Quartiles::of(self.of(workload, subject).iter().map(|pair| pair.bare.clock / pair.observed.clock))
    }

    pub(super) fn cpu_speed(&self, workload: &'static str, subject: &'static str) -> Option<Quartiles> {
        Quartiles::of(self.of(workload, subject).iter().filter_map(Pair::cpu_speed))
    }

    /// What one subject adds as a multiple of what another adds. The rounds of both belong together: what slowed the
    /// machine in a round slowed both.
    pub(super) fn times(&self, workload: &'static str, one: &'static str, other: &'static str) -> Option<Quartiles> {
        let rounds = self.of(workload, one).iter().zip(self.of(workload, other));
        Quartiles::of(rounds.map(|(one, other)| one.added() / other.added()))
    }

    /// What one subject adds under one workload, as a multiple of what it adds under another.
    pub(super) fn growth(&self, subject: &'static str, from: &'static str, to: &'static str) -> Option<Quartiles> {
        let rounds = self.of(from, subject).iter().zip(self.of(to, subject));
        Quartiles::of(rounds.map(|(from, to)| to.added() / from.added()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::workload;

    /// Bare takes 100 ns, observed as given; in three rounds, each slower than the one before.
    pub(in super::super) fn three_rounds(
        results: &mut Results,
        workload: &'static str,
        subject: &'static str,
        ns: f64,
    ) {
        for slow in [1.0, 2.0, 3.0] {
            let cost = |clock: f64| Cost { clock: clock * slow, cpu: Some(clock * slow * 2.0) };
            results.add(workload, subject, Pair { bare: cost(100.0), observed: cost(ns) });
        }
    }

    fn exactly(value: f64) -> Option<Quartiles> {
        Some(Quartiles { low: value, median: value, high: value })
    }

    #[test]
    fn what_slows_a_round_does_not_change_its_ratios() {
        let mut results = Results::default();
        three_rounds(&mut results, "getppid", "empty pair", 200.0);
        three_rounds(&mut results, "getppid", "default", 250.0);
        three_rounds(&mut results, "open+close", "default", 265.0);
        assert_eq!(results.times("getppid", "default", "empty pair"), exactly(1.5));
        assert_eq!(results.times("open+close", "default", "empty pair"), None);
        assert_eq!(results.speed("getppid", "default"), exactly(0.4));
        assert_eq!(results.cpu_speed("getppid", "default"), exactly(0.4));
        assert_eq!(results.growth("default", "getppid", "open+close"), exactly(1.1));
        assert_eq!(results.speed("tcp", "default"), None);
    }

    #[test]
    fn nothing_is_a_multiple_of_noise() {
        let mut results = Results::default();
        let cost = |clock| Cost { clock, cpu: None };
        for (round, noise) in [-3.0, 1.0, 5.0].into_iter().enumerate() {
            results.add("fio", "empty block", Pair { bare: cost(100.0), observed: cost(100.0 + noise) });
            let clear = 50.0 + round as f64;
            results.add("tcp", "empty tcp", Pair { bare: cost(100.0), observed: cost(100.0 + clear) });
        }
        assert!(!results.told(workload::find("fio").unwrap(), "empty block"));
        assert!(results.told(workload::find("tcp").unwrap(), "empty tcp"));
        assert!(!results.told(workload::find("tcp").unwrap(), "nobody"));
    }

    #[test]
    fn cpu_time_that_was_not_told_is_no_number() {
        let mut results = Results::default();
        let cost = Cost { clock: 1.0, cpu: None };
        results.add("crowd-10", "default", Pair { bare: cost, observed: cost });
        assert_eq!(results.cpu_speed("crowd-10", "default"), None);
        assert_eq!(results.speed("crowd-10", "default"), exactly(1.0));
    }
}
