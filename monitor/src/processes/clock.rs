//! From the kernel's clock (nanoseconds since boot) to the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of one tick in `/proc`: `USER_HZ` is 100 on every architecture that Linux has today, as part of its ABI.
pub const NS_PER_TICK: u64 = 10_000_000;

/// A smaller change of the offset is noise of the measurement; following it would make a process's start time flicker.
const NOISE_NS: u64 = 1_000_000;

/// Now, nanoseconds since boot, time asleep included (`CLOCK_BOOTTIME`, the clock of every record).
pub fn boot_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime)).try_into().unwrap_or(0)
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// The wall clock as an offset to the boot clock. Somebody may set the wall clock: [`BootClock::refresh`] now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootClock {
    /// Unix time of the boot, nanoseconds.
    offset_ns: i64,
}

impl BootClock {
    /// Reads both clocks.
    pub fn new() -> Self {
        Self { offset_ns: measure() }
    }

    /// Reads both clocks again and follows the wall clock if it was set or has drifted by a millisecond.
    pub fn refresh(&mut self) {
        let measured = measure();
        if measured.abs_diff(self.offset_ns) >= NOISE_NS {
            self.offset_ns = measured;
        }
    }

    /// Unix time in nanoseconds of a moment `boot_ns` after boot.
    pub fn unix_ns(&self, boot_ns: u64) -> i64 {
        self.offset_ns.saturating_add_unsigned(boot_ns)
    }

    /// The same as a [`SystemTime`].
    pub fn wall(&self, boot_ns: u64) -> SystemTime {
        let unix = self.unix_ns(boot_ns);
        let distance = Duration::from_nanos(unix.unsigned_abs());
        if unix < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }

    /// The same as a timestamp that prints as RFC 3339.
    pub fn timestamp(&self, boot_ns: u64) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(self.unix_ns(boot_ns).into()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-03-01T12:34:56.789Z`.
    pub fn rfc3339(&self, boot_ns: u64) -> String {
        format!("{:.3}", self.timestamp(boot_ns))
    }
}

impl Default for BootClock {
    fn default() -> Self {
        Self::new()
    }
}

/// The best of a few tries: the narrower the two readings of the boot clock, the nearer the wall clock's is to both.
fn measure() -> i64 {
    let attempt = || {
        let before = nanoseconds(clock_gettime(ClockId::Boottime));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(ClockId::Boottime));
        let width = after - before;
        (width, wall - (before + width / 2))
    };
    (0..5).map(|_| attempt()).min().map_or(0, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_ten_milliseconds_here() {
        assert_eq!(NS_PER_TICK * rustix::param::clock_ticks_per_second(), 1_000_000_000);
    }

    #[test]
    fn now_since_boot_is_now_on_the_wall() {
        let clock = BootClock::new();
        let difference =
            clock.wall(boot_ns()).duration_since(SystemTime::now()).unwrap_or_else(|error| error.duration());
        assert!(difference < Duration::from_millis(500), "{difference:?} apart");
    }

    #[test]
    fn noise_does_not_move_the_clock_but_a_set_clock_does() {
        let truth = BootClock::new();
        let mut near = BootClock { offset_ns: truth.offset_ns + 200_000 };
        near.refresh();
        assert_eq!(near.offset_ns, truth.offset_ns + 200_000);
        let mut wrong = BootClock { offset_ns: truth.offset_ns - 3_600_000_000_000 };
        wrong.refresh();
        assert!(wrong.offset_ns.abs_diff(truth.offset_ns) < NOISE_NS * 50);
    }

    #[test]
    fn prints_rfc_3339_with_milliseconds() {
        let clock = BootClock { offset_ns: 1_700_000_000_000_000_000 };
        assert_eq!(clock.rfc3339(1_234_567_890), "2023-11-14T22:13:21.234Z");
        assert_eq!(BootClock { offset_ns: -2_000_000_000 }.wall(1_000_000_000), UNIX_EPOCH - Duration::from_secs(1));
    }
}
