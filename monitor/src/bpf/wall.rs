//! Kernel times as wall-clock times.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of a clock.
pub fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Nanoseconds since boot, as kernel records count them (`CLOCK_BOOTTIME`).
pub fn since_boot() -> u64 {
    nanoseconds(ClockId::Boottime)
}
