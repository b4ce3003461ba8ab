//! What a process used, from two sources that must not be counted twice: `/proc` while it lives, and the kernel's record
//! of its end, which has all of it.

use monitor_common::signals::process::ExitRecord;

use super::{NS_PER_TICK, procfs::Stat};

/// Amounts since the process was forked; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode, nanoseconds.
    pub user_ns: u64,
    /// CPU time in the kernel, nanoseconds.
    pub system_ns: u64,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
    /// Times it waited of its own accord.
    pub voluntary_switches: u64,
    /// Times the processor was taken from it.
    pub involuntary_switches: u64,
    /// Bytes that read calls returned, also from the page cache and sockets.
    pub read_chars: u64,
    /// Bytes passed to write calls.
    pub written_chars: u64,
    /// Bytes fetched from storage.
    pub read_bytes: u64,
    /// Bytes sent to storage.
    pub written_bytes: u64,
}

impl Usage {
    pub(super) fn of_stat(stat: &Stat) -> Self {
        Self {
            user_ns: stat.user_ticks.saturating_mul(NS_PER_TICK),
            system_ns: stat.system_ticks.saturating_mul(NS_PER_TICK),
            minor_faults: stat.minor_faults,
            major_faults: stat.major_faults,
            ..Self::default()
        }
    }

    pub(super) fn set_io(&mut self, [read_chars, written_chars, read_bytes, written_bytes]: [u64; 4]) {
        (self.read_chars, self.written_chars) = (read_chars, written_chars);
        (self.read_bytes, self.written_bytes) = (read_bytes, written_bytes);
    }

    /// CPU time, nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.user_ns.saturating_add(self.system_ns)
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            user_ns: with(self.user_ns, other.user_ns),
            system_ns: with(self.system_ns, other.system_ns),
            minor_faults: with(self.minor_faults, other.minor_faults),
            major_faults: with(self.major_faults, other.major_faults),
            voluntary_switches: with(self.voluntary_switches, other.voluntary_switches),
            involuntary_switches: with(self.involuntary_switches, other.involuntary_switches),
            read_chars: with(self.read_chars, other.read_chars),
            written_chars: with(self.written_chars, other.written_chars),
            read_bytes: with(self.read_bytes, other.read_bytes),
            written_bytes: with(self.written_bytes, other.written_bytes),
        }
    }

    /// Adds another amount.
    pub(super) fn add(&mut self, other: Self) {
        *self = self.zip(other, u64::saturating_add);
    }

    /// Moves on to `now` and returns what is new. What went backwards (context switches of threads that have ended)
    /// stays where it was.
    pub(super) fn advance(&mut self, now: Self) -> Self {
        let new = now.zip(*self, u64::saturating_sub);
        self.add(new);
        new
    }

    /// What the process had used at its end, given what was known before.
    ///
    /// The kernel has the sum of the CPU time exactly, but its parts only as the tick saw them. The parts are divided as
    /// the kernel does for `/proc` (`cputime_adjust` of `kernel/sched/cputime.c`), such that neither goes back.
    pub(super) fn of_exit(record: &ExitRecord, before: &Self) -> Self {
        let (user, ticks) = (u128::from(record.user_ns), u128::from(record.user_ns) + u128::from(record.system_ns));
        let user_ns = (u128::from(record.runtime_ns) * user).checked_div(ticks);
        let user_ns = user_ns.map_or(record.runtime_ns, |share| u64::try_from(share).unwrap_or(u64::MAX));
        let rest = record.runtime_ns.saturating_sub(before.cpu_ns());
        let user_rest = user_ns.saturating_sub(before.user_ns).min(rest);
        Self {
            user_ns: before.user_ns.saturating_add(user_rest),
            system_ns: before.system_ns.saturating_add(rest - user_rest),
            minor_faults: record.minor_faults,
            major_faults: record.major_faults,
            voluntary_switches: record.voluntary_switches,
            involuntary_switches: record.involuntary_switches,
            read_chars: record.read_chars,
            written_chars: record.written_chars,
            read_bytes: record.read_bytes,
            written_bytes: record.written_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(runtime_ns: u64, user_ns: u64, system_ns: u64) -> ExitRecord {
        ExitRecord { runtime_ns, user_ns, system_ns, ..ExitRecord::default() }
    }

    fn cpu(user_ns: u64, system_ns: u64) -> Usage {
        Usage { user_ns, system_ns, ..Usage::default() }
    }

    #[test]
    fn the_end_brings_the_exact_sum_and_never_less_than_before() {
        for (runtime, user, system, before, wanted) in [
            (1_000, 3, 1, (0, 0), (750, 250)),
            (1_000, 0, 0, (0, 0), (1_000, 0)),
            (1_000, 0, 5, (0, 0), (0, 1_000)),
            (1_000, 3, 1, (800, 0), (800, 200)),
            (1_000, 3, 1, (100, 400), (600, 400)),
            (1_000, 3, 1, (900, 300), (900, 300)),
            (u64::MAX, u64::MAX, u64::MAX, (0, 0), (u64::MAX / 2, u64::MAX / 2 + 1)),
        ] {
            let end = Usage::of_exit(&record(runtime, user, system), &cpu(before.0, before.1));
            assert_eq!((end.user_ns, end.system_ns), wanted, "{runtime} {user}:{system} after {before:?}");
        }
    }

    #[test]
    fn advancing_returns_only_what_is_new() {
        let mut usage = Usage { minor_faults: 5, voluntary_switches: 9, ..cpu(10, 20) };
        let new = usage.advance(Usage { minor_faults: 7, voluntary_switches: 3, ..cpu(10, 25) });
        assert_eq!(new, Usage { minor_faults: 2, ..cpu(0, 5) });
        assert_eq!(usage, Usage { minor_faults: 7, voluntary_switches: 9, ..cpu(10, 25) });
    }
}
