//! Medians, quartiles and random order.

/// The middle half of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quartiles {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Quartiles {
    /// Of `values`; values between two are interpolated. `None` of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |part: f64| {
            let place = part * last as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Self { low: at(0.25), median: at(0.5), high: at(0.75) })
    }
}

/// The value that `percent` of a hundred values do not exceed. `None` of nothing.
pub(super) fn percentile(values: impl IntoIterator<Item = f64>, percent: f64) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let place = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1)).copied()
}

/// A linear congruential generator (Knuth's MMIX): the order has to be mixed, not secret, and can be repeated.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    /// Fisher and Yates' shuffle.
    pub(super) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_known_samples() {
        assert_eq!(Quartiles::of([]), None);
        assert_eq!(Quartiles::of([7.0]), Some(Quartiles { low: 7.0, median: 7.0, high: 7.0 }));
        let of_five = Quartiles { low: 2.0, median: 3.0, high: 4.0 };
        assert_eq!(Quartiles::of([5.0, 1.0, 4.0, 2.0, 3.0]), Some(of_five));
        let of_four = Quartiles { low: 1.75, median: 2.5, high: 3.25 };
        assert_eq!(Quartiles::of([4.0, 3.0, 2.0, 1.0]), Some(of_four));
    }

    #[test]
    fn percentiles_of_known_samples() {
        let hundred = || (1..=100).rev().map(f64::from);
        assert_eq!(percentile([], 50.0), None);
        assert_eq!(percentile([7.0], 99.0), Some(7.0));
        assert_eq!(percentile(hundred(), 99.0), Some(99.0));
        assert_eq!(percentile(hundred(), 100.0), Some(100.0));
        assert_eq!(percentile(hundred(), 50.0), Some(50.0));
        // Of fewer than a hundred, the 99th is the highest.
        assert_eq!(percentile([3.0, 1.0, 2.0], 99.0), Some(3.0));
    }

    #[test]
    fn a_shuffle_keeps_everything_and_every_place_is_reached() {
        let mut random = Random::new(1);
        let mut first = [0; 4];
        for _ in 0..400 {
            let mut values = [0, 1, 2, 3];
            random.shuffle(&mut values);
            first[values[0]] += 1;
            values.sort_unstable();
            assert_eq!(values, [0, 1, 2, 3]);
        }
        assert!(first.iter().all(|&count| (60..=140).contains(&count)), "{first:?}");
    }
}
