//! Takes records out of a ring, and proves by their numbers that none is missing.

use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use monitor_common::record::{ABI_VERSION, Header, Ring};
use zerocopy::FromBytes as _;

/// When to look at the rings: often while something comes, seldom while nothing does, and at once when there is more than
/// one look takes.
#[derive(Debug)]
pub struct Pace(Duration);

impl Pace {
    /// Shortest time between two looks that found less than a batch.
    const BUSY: Duration = Duration::from_millis(10);
    /// Longest time between two looks, when nothing happens.
    const IDLE: Duration = Duration::from_millis(100);
    /// Records taken from each ring at a look; then others have their turn.
    pub const BATCH: usize = 4_096;

    /// As if something had just come.
    pub const fn new() -> Self {
        Self(Self::BUSY)
    }

    /// How long to wait after a look that found `taken` records.
    pub fn next(&mut self, taken: usize) -> Duration {
        self.0 = if taken > 0 { Self::BUSY } else { (self.0 * 2).min(Self::IDLE) };
        if taken < Self::BATCH { self.0 } else { Duration::ZERO }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

/// What has come out of a ring so far, and what has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Records received.
    pub received: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Records that never came, by the gaps in the numbers.
    pub missing: u64,
    /// Records too short for their header, or of another layout.
    pub malformed: u64,
}

/// One CPU's numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    highest: u64,
    received: u64,
}

/// Checks the numbers of records. Those of one CPU count up by one; two may change places when an interrupt writes one
/// between another's number and its room, so a loss is told by the count, not by the order.
#[derive(Debug, Default)]
pub struct Sequences {
    cpus: Vec<Numbers>,
}

impl Sequences {
    /// Notes a record.
    pub fn note(&mut self, cpu: u16, sequence: u64) {
        let cpu = usize::from(cpu);
        if cpu >= self.cpus.len() {
            self.cpus.resize(cpu + 1, Numbers::default());
        }
        let numbers = &mut self.cpus[cpu];
        numbers.highest = numbers.highest.max(sequence);
        numbers.received += 1;
    }

    /// Records that were numbered before the latest ones received and have not come.
    pub fn missing(&self) -> u64 {
        self.cpus.iter().map(|numbers| numbers.highest.saturating_sub(numbers.received)).sum()
    }
}

/// The reading end of a ring.
pub struct Drain {
    ring: RingBuf<MapData>,
    sequences: Sequences,
    account: Account,
    /// Records missing after the last look.
    missing: u64,
}

impl Drain {
    /// Takes the ring over.
    pub fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring, sequences: Sequences::default(), account: Account::default(), missing: 0 }
    }

    /// What has come so far.
    pub fn account(&self) -> Account {
        self.account
    }

    /// The ring, to wait for it.
    pub fn ring(&self) -> &RingBuf<MapData> {
        &self.ring
    }

    /// Hands every waiting record to `take`, at most `limit`, so that a flood cannot keep the caller from its other
    /// duties. Returns how many there were.
    pub fn drain(&mut self, limit: usize, mut take: impl FnMut(&Header, &[u8])) -> usize {
        let mut count = 0;
        while count < limit {
            let Some(record) = self.ring.next() else { break };
            count += 1;
            self.account.received += 1;
            self.account.bytes += record.len() as u64;
            match Header::read_from_prefix(&record) {
                Ok((header, _)) if header.abi == ABI_VERSION => {
                    self.sequences.note(header.cpu, header.sequence);
                    take(&header, &record);
                }
                _ => self.account.malformed += 1,
            }
        }
        // What is missing twice in a row does not come any more: it was not just behind one that overtook it. So the
        // count only grows.
        let missing = self.sequences.missing();
        self.account.missing = self.account.missing.max(missing.min(self.missing));
        self.missing = missing;
        count
    }
}

/// The map that a ring is.
pub const fn map(ring: Ring) -> &'static str {
    match ring {
        Ring::Security => super::maps::SECURITY,
        Ring::Telemetry => super::maps::TELEMETRY,
        Ring::Bulk => super::maps::BULK,
        Ring::Requests => super::maps::REQUESTS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_seldom_while_nothing_comes_and_at_once_after_a_full_batch() {
        let mut pace = Pace::new();
        let milliseconds = |taken: &[usize], pace: &mut Pace| -> Vec<u128> {
            taken.iter().map(|taken| pace.next(*taken).as_millis()).collect()
        };
        assert_eq!(milliseconds(&[0, 0, 0, 0, 0], &mut pace), [20, 40, 80, 100, 100]);
        assert_eq!(milliseconds(&[1, Pace::BATCH - 1, Pace::BATCH, 2 * Pace::BATCH, 0], &mut pace), [10, 10, 0, 0, 20]);
    }

    #[test]
    fn a_gap_is_a_loss_and_a_swap_is_none() {
        let mut sequences = Sequences::default();
        for sequence in [1, 2, 4, 3] {
            sequences.note(0, sequence);
        }
        assert_eq!(sequences.missing(), 0);
        sequences.note(0, 7);
        assert_eq!(sequences.missing(), 2);
        sequences.note(3, 2);
        assert_eq!(sequences.missing(), 3, "the first record of CPU 3 is missing too");
        sequences.note(0, 5);
        assert_eq!(sequences.missing(), 2, "one came late");
    }
}
