//! Process slots: a small number for each live process, so that hot counters are array entries instead of hash entries.
//!
//! A slot is taken by the kernel (at fork, or at the first system call of a process older than the daemon), marked dead
//! by the kernel at the exit of its last thread, and given back by the daemon, which first folds its counters, clears
//! them and raises the generation. Who keeps a slot beyond the process's life (a socket does) keeps the generation with
//! it and compares.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::signals::syscalls::Pace;

/// Nobody's.
pub const FREE: u32 = 0;
/// Taken by a living process.
pub const LIVE: u32 = 1;
/// Its process has ended; the daemon has not folded it yet.
pub const DEAD: u32 = 2;

/// Who a slot belongs to. Array `PROCESS_SLOTS`, mapped into the daemon.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessSlot {
    /// `task_struct.start_boottime` of the thread group leader, in nanoseconds since boot.
    pub start_ns: u64,
    /// Process id (thread group id), as the first pid namespace numbers it.
    pub tgid: u32,
    /// [`FREE`], [`LIVE`] or [`DEAD`].
    pub state: u32,
    /// How often the slot has been given back.
    pub generation: u32,
    /// Wait status (wait(2)) of the process, once its last thread has ended.
    pub status: u32,
    /// When the last thread ended, nanoseconds since boot; 0: it lives.
    pub exited_ns: u64,
}

/// A slot with the generation it was seen in: names a process for longer than it lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SlotRef {
    /// Index into the slot arrays.
    pub slot: u32,
    /// [`ProcessSlot::generation`] at the time.
    pub generation: u32,
}

/// One thread's call in progress. Array `THREADS`, indexed by the low bits of the thread id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ThreadEntry {
    /// Thread id this entry belongs to; 0: nobody's.
    pub tid: u32,
    /// Its process's slot, or `SLOT_IGNORED`.
    pub slot: u16,
    /// Index into the call table ([`crate::signals::syscalls::call_index`]) of the call in progress, in the lower
    /// [`CALL_BITS`](crate::signals::syscalls::CALL_BITS); above them how many others it is timed for.
    pub call: u16,
    /// When it was entered (`CLOCK_MONOTONIC`, nanoseconds); 0: no call in progress;
    /// [`ENTERED_SKIPPED`](crate::signals::syscalls::ENTERED_SKIPPED): one that is not timed.
    pub entered_ns: u64,
    /// Which of its next calls are timed.
    pub pace: Pace,
}

/// One cache line: a second one would cost more than all the rest.
const _: () = assert!(size_of::<ThreadEntry>() == 64);
