//! `syscalls`: count, duration and errors of system calls per process and family.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{histogram::LATENCY_BUCKETS, process_slot::SlotRef};

macro_rules! families {
    ($($(#[$doc:meta])* $variant:ident = $index:literal, $name:literal;)*) => {
        /// What kind of work a system call asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Family {
            $($(#[$doc])* $variant = $index,)*
        }

        impl Family {
            /// Every family, in the order of their numbers.
            pub const ALL: [Self; FAMILIES] = [$(Self::$variant),*];

            /// The value of the `family` label.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

/// Number of families; a power of two, so that the kernel can bound an index with a mask.
pub const FAMILIES: usize = 16;

families! {
    /// Whatever is in no other family.
    Other = 0, "other";
    /// Bytes in: read, recvfrom, getdents, …
    Read = 1, "read";
    /// Bytes out: write, sendto, sendfile, …
    Write = 2, "write";
    /// Wait for stable storage: fsync, fdatasync, msync, …
    Fsync = 3, "fsync";
    /// Open and close of files.
    Open = 4, "open";
    /// Names and attributes of files: stat, rename, unlink, mount, …
    Fs = 5, "fs";
    /// Sockets but for their bytes: socket, connect, accept, …
    Socket = 6, "socket";
    /// Wait for readiness: poll, select, epoll_wait, …
    Poll = 7, "poll";
    /// futex and its kin.
    Lock = 8, "lock";
    /// Give up the processor: nanosleep, sched_yield, pause, …
    Sleep = 9, "sleep";
    /// Ask for or set the time.
    Time = 10, "time";
    /// Memory: mmap, brk, madvise, …
    Memory = 11, "memory";
    /// Processes, threads, signals, credentials, namespaces.
    Process = 12, "process";
    /// Message queues, semaphores, shared memory, pipes.
    Ipc = 13, "ipc";
    /// Timers, event and signal descriptors, epoll set-up.
    Event = 14, "event";
    /// Questions that change nothing: getpid, uname, sysinfo, …
    Query = 15, "query";
}

/// Entries of the call table: native numbers below 1024, then those of 32-bit callers.
pub const CALLS: usize = 2 * CALLS_PER_ABI as usize;
/// Numbers of one calling convention; a power of two. Linux has fewer than 512.
pub const CALLS_PER_ABI: u32 = 1024;
/// Index that stands for every number outside the table.
pub const CALL_UNKNOWN: u32 = CALLS_PER_ABI - 1;

/// In a call table entry: the family.
pub const CALL_FAMILY: u8 = 0x0f;
/// In a call table entry: the result is no errno, whatever its value (`rt_sigreturn` hands back a saved register).
pub const CALL_NO_ERRNO: u8 = 0x10;
/// In a call table entry: a child returns from it too, with 0, without having entered (`fork`, `clone`, …).
pub const CALL_FORKS: u8 = 0x20;
/// In a call table entry: a success is a new connection's descriptor (`accept`, `accept4`).
pub const CALL_ACCEPTS: u8 = 0x40;
/// In a call table entry: rules may want to know of it ([`crate::signals::activity::Entry`]).
pub const CALL_ACTIVITY: u8 = 0x80;

/// Bit that marks a call of the x32 convention (64-bit registers, 32-bit pointers), which shares the native numbers.
const X32: u64 = 0x4000_0000;

/// Index into the call table of system call `number`, called natively or as a 32-bit program does.
#[inline(always)]
pub const fn call_index(number: u64, compat: bool) -> u32 {
    let number = number & !X32;
    let index = if number < CALLS_PER_ABI as u64 { number as u32 } else { CALL_UNKNOWN };
    if compat { index + CALLS_PER_ABI } else { index }
}

/// What one process (in one shard) did in one family. Counters of 32 bits wrap; the daemon reads them often enough
/// (a wrap takes minutes at the highest rate there is) and adds up differences.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FamilyStats {
    /// Sum of durations, in nanoseconds.
    pub sum_ns: u64,
    /// Calls by duration. One that was timed for others that were not ([`PACE_STANDS_FOR`]) counts for those too.
    pub buckets: [u32; LATENCY_BUCKETS],
    /// Calls whose duration is not known: in progress when the daemon came or when their thread died, or all of them
    /// where calls are only counted.
    pub untimed: u32,
    /// Calls that were left untimed by intention, less those that a timed one has stood for since. All calls are the
    /// sum of `buckets`, `untimed` and this one, which goes up in one shard and down in another.
    pub skipped: u32,
    /// Always 0.
    pub reserved: u32,
}

/// How the next calls of one thread are timed where not every call is. Part of its entry in the thread table.
///
/// In each window of time the first [`PACE_BUDGET`] calls of a thread are timed, and the first one of each family; of the
/// others one after a random number of calls of its family, 0 to [`PACE_STANDS_FOR`], for which it stands then: 1 in 16.5
/// on average. The number is random so that a program that does the same again and again is not always measured at the
/// same point.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Pace {
    /// Number of the window.
    pub window: u32,
    /// Calls that are still timed in this window, whatever their family.
    pub budget: u16,
    /// Families of which a call was timed in this window, one bit each.
    pub seen: u16,
    /// State of the random numbers: `x * 1664525 + 1013904223` modulo 2^32 (Numerical Recipes), upper bits used.
    pub random: u32,
    /// Always 0.
    pub reserved: u32,
    /// How many calls of each family were to be left out when the last one was timed.
    pub drawn: [u8; FAMILIES],
    /// How many of those are still to come.
    pub left: [u8; FAMILIES],
}

/// Calls of a thread that are timed in each window before any is left out.
pub const PACE_BUDGET: u16 = 64;
/// Length of a window; the kernel's own ticks divide it, so it is between half as long and as long as this.
pub const PACE_WINDOW_NS: u64 = 64_000_000;
/// Most calls that one timed call stands for besides itself.
pub const PACE_STANDS_FOR: u32 = 31;
/// In place of the time a call was entered: it is not timed.
pub const ENTERED_SKIPPED: u64 = 1;
/// Bits of [`crate::process_slot::ThreadEntry::call`] that are the index; those above tell how many calls this one
/// stands for besides itself.
pub const CALL_BITS: u32 = CALLS.ilog2();

/// What one process did, in one shard. Array `SYSCALL_STATS`, index `shard * slots + slot`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SyscallStats {
    /// One entry a family.
    pub families: [FamilyStats; FAMILIES],
}

/// Key of `SYSCALL_ERRORS`, whose value is a count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ErrorKey {
    /// The caller.
    pub process: SlotRef,
    /// A [`Family`]'s number.
    pub family: u32,
    /// The errno, positive. 512 to 516 are the kernel's own "restart" codes: the call was interrupted by a signal.
    pub errno: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_index_the_names() {
        for (index, family) in Family::ALL.iter().enumerate() {
            assert_eq!(*family as usize, index);
        }
    }

    #[test]
    fn what_a_call_stands_for_fits_beside_its_index() {
        assert!(CALLS.is_power_of_two());
        assert_eq!((PACE_STANDS_FOR << CALL_BITS | (CALLS as u32 - 1)) >> 16, 0);
    }

    #[test]
    fn every_number_has_an_index_inside_the_table() {
        for number in [0, 1, 334, 547, 1022, 1023, 1024, 5000, u64::MAX, X32, X32 | 1] {
            for compat in [false, true] {
                assert!((call_index(number, compat) as usize) < CALLS);
            }
        }
        assert_eq!(call_index(1, false), 1);
        assert_eq!(call_index(X32 | 1, false), 1);
        assert_eq!(call_index(1, true), 1025);
        assert_eq!(call_index(u64::MAX, false), CALL_UNKNOWN);
    }
}
