//! What can be given up, in the order in which it is.

use serde::Serialize;

use crate::signals::Timing;

/// Something that costs and that can be done without for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Time only some system calls.
    AdaptiveTiming,
    /// Look at `/proc` and add up the kernel's counters less often.
    SlowReading,
    /// Time no system call.
    NoTiming,
    /// Do not count the bytes of TCP connections.
    NoTcpTraffic,
    /// Do not count system calls.
    NoSyscalls,
}

impl Step {
    /// All of them, in the order in which they are given up. What security rules need is not among them.
    pub const ALL: [Self; 5] =
        [Self::AdaptiveTiming, Self::SlowReading, Self::NoTiming, Self::NoTcpTraffic, Self::NoSyscalls];

    /// Its name in metrics and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdaptiveTiming => "adaptive_timing",
            Self::SlowReading => "slow_reading",
            Self::NoTiming => "no_timing",
            Self::NoTcpTraffic => "no_tcp_traffic",
            Self::NoSyscalls => "no_syscalls",
        }
    }

    /// What is missing meanwhile, as a sentence goes on after "to keep the budget, …".
    pub const fn lost(self) -> &'static str {
        match self {
            Self::AdaptiveTiming => "only some system calls are timed (all are counted)",
            Self::SlowReading => "numbers of processes are up to a minute old, counters up to ten seconds",
            Self::NoTiming => "no system call is timed (all that return are counted)",
            Self::NoTcpTraffic => "bytes of TCP connections are not counted, and requests are not heard",
            Self::NoSyscalls => "system calls are not counted, and accepts only once they carry traffic",
        }
    }

    /// The signal that has less to tell; `None`: all of them.
    pub const fn signal(self) -> Option<&'static str> {
        match self {
            Self::AdaptiveTiming | Self::NoTiming | Self::NoSyscalls => Some("syscalls"),
            Self::NoTcpTraffic => Some("tcp"),
            Self::SlowReading => None,
        }
    }

    /// Does it spare anything where system calls are timed like this anyway, and these signals run?
    pub fn applies(self, timing: Timing, runs: impl Fn(&str) -> bool) -> bool {
        let right = match self {
            Self::AdaptiveTiming => timing < Timing::Adaptive,
            Self::NoTiming => timing < Timing::Counts,
            _ => true,
        };
        right && self.signal().is_none_or(runs)
    }
}
