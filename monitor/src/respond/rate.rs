//! How much may be done: a token bucket.

use std::time::{Duration, Instant};

/// Fills up in a minute.
const MINUTE: Duration = Duration::from_secs(60);

/// So many a minute.
#[derive(Debug)]
pub(super) struct Rate {
    /// Nanoseconds; one costs a minute, and every nanosecond earns as many as may be done in a minute.
    credit: u128,
    last: Option<Instant>,
}

impl Rate {
    pub(super) const fn new() -> Self {
        Self { credit: 0, last: None }
    }

    /// Whether one more may be done, of `most` a minute.
    pub(super) fn admit(&mut self, most: u32, now: Instant) -> bool {
        let most = u128::from(most);
        let earned = match self.last.replace(now) {
            None => MINUTE.as_nanos() * most,
            Some(last) => now.saturating_duration_since(last).as_nanos() * most,
        };
        self.credit = (self.credit + earned).min(MINUTE.as_nanos() * most);
        let Some(left) = self.credit.checked_sub(MINUTE.as_nanos()) else { return false };
        self.credit = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_alerts_does_no_more_than_the_rate() {
        let (mut rate, begin) = (Rate::new(), Instant::now());
        let admitted = |rate: &mut Rate, from: u64, to: u64| {
            (from..to).filter(|second| rate.admit(6, begin + Duration::from_secs(*second))).count()
        };
        assert_eq!(admitted(&mut rate, 0, 1), 1);
        assert_eq!((0..100).filter(|_| rate.admit(6, begin)).count(), 5);
        assert_eq!(admitted(&mut rate, 0, 61), 6);
    }
}
