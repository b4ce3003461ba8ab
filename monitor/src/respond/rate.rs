//! How much may be done: a token bucket, of which a part may be lent to the kernel program.

use std::time::{Duration, Instant};

use crate::signals::exec_kill::Tokens;

/// Fills up in a minute.
const MINUTE: Duration = Duration::from_secs(60);
/// What one costs.
const ONE: u128 = MINUTE.as_nanos();
/// Most that the kernel program has at a time: as many as its queue has room for.
const MOST_LENT: u128 = monitor_common::signals::exec_kill::TOKENS as u128;

/// So many a minute.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Nanoseconds; one costs a minute, and every nanosecond earns as many as may be done in a minute.
    credit: u128,
    /// What the kernel program has of it.
    lent: u128,
    last: Option<Instant>,
}

impl Rate {
    /// Earns what it may: there are never more than `most`, with those that are lent.
    fn earn(&mut self, most: u32, now: Instant) {
        let most = u128::from(most);
        let earned = match self.last.replace(now) {
            None => ONE * most,
            Some(last) => now.saturating_duration_since(last).as_nanos() * most,
        };
        self.credit = (self.credit + earned).min(ONE * most.saturating_sub(self.lent));
    }

    /// Whether one more may be done, of `most` a minute.
    pub(super) fn admit(&mut self, most: u32, now: Instant) -> bool {
        self.earn(most, now);
        let Some(left) = self.credit.checked_sub(ONE) else { return false };
        self.credit = left;
        true
    }

    /// How many more the kernel program may have.
    fn lend(&mut self, most: u32, now: Instant) -> u128 {
        self.earn(most, now);
        let more = (self.credit / ONE).min(MOST_LENT.saturating_sub(self.lent));
        self.credit -= more * ONE;
        self.lent += more;
        more
    }

    /// The kernel program has used so many.
    fn used(&mut self, count: u64) {
        self.lent = self.lent.saturating_sub(count.into());
    }

    /// The kernel program does not have one that it had, or was to get.
    fn give_back(&mut self) {
        self.lent = self.lent.saturating_sub(1);
        self.credit += ONE;
    }
}

/// The bucket with the part that is lent.
#[derive(Default)]
pub(super) struct Purse {
    rate: Rate,
    /// That part; none: nothing is lent.
    pub(super) tokens: Option<Tokens>,
}

impl Purse {
    /// Whether one more may be done, of `most` a minute: of what is not lent, or else of what is.
    pub(super) fn admit(&mut self, most: u32, now: Instant) -> bool {
        self.rate.admit(most, now) || {
            let taken = self.tokens.as_mut().is_some_and(Tokens::take);
            if taken {
                self.rate.give_back();
            }
            taken && self.rate.admit(most, now)
        }
    }

    /// Lets the kernel program have what may be done, of `most` a minute; with 0 nothing more.
    pub(super) fn lend(&mut self, most: u32, now: Instant) {
        let Some(tokens) = &mut self.tokens else { return };
        self.rate.used(tokens.taken());
        while self.rate.lent > u128::from(most) && tokens.take() {
            self.rate.give_back();
        }
        if most == 0 {
            return;
        }
        for _ in 0..self.rate.lend(most, now) {
            if !tokens.put() {
                self.rate.give_back();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_alerts_does_no_more_than_the_rate() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let admitted = |rate: &mut Rate, from: u64, to: u64| {
            (from..to).filter(|second| rate.admit(6, begin + Duration::from_secs(*second))).count()
        };
        assert_eq!(admitted(&mut rate, 0, 1), 1);
        assert_eq!((0..100).filter(|_| rate.admit(6, begin)).count(), 5);
        assert_eq!(admitted(&mut rate, 0, 61), 6);
    }

    #[test]
    fn what_is_lent_is_part_of_the_rate_until_it_is_given_back() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(rate.lend(6, begin), 6);
        assert!(!rate.admit(6, begin));
        // While nothing of it is used, nothing more is earned.
        assert!(!rate.admit(6, at(600)));
        rate.give_back();
        assert!(rate.admit(6, at(600)) && !rate.admit(6, at(600)));
        rate.used(2);
        assert_eq!(rate.lend(6, at(600)), 0, "it takes ten seconds to earn one");
        assert_eq!(rate.lend(6, at(610)), 1);
        assert_eq!(rate.lend(6, at(6_000)), 2, "what the kernel has is part of six");
        assert_eq!(rate.lend(6, at(60_000)), 0);
    }
}
