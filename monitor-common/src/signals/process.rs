//! `process`: births and deaths. The record of a death carries everything the process used, so that one that lived for
//! five milliseconds is counted in full. It is written when the kernel lets go of the thread group leader
//! (`sched_process_free`), shortly after the parent has waited for it: only then has the kernel added up all threads,
//! and CPU time to the nanosecond instead of to the last tick. A zombie has no record yet; it is still in /proc.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    process_slot::SlotRef,
    record::{Header, ProcessKey},
};

/// A process was created.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ForkRecord {
    /// [`crate::record::Kind::Fork`].
    pub header: Header,
    /// Who forked.
    pub parent: ProcessKey,
    /// The new process.
    pub child: ProcessKey,
    /// The child's slot.
    pub slot: SlotRef,
    /// `comm` of the child: the first 15 bytes of the program's name, or what the program made of it.
    pub comm: [u8; 16],
}

/// A process has ended and its parent has waited for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitRecord {
    /// [`crate::record::Kind::Exit`].
    pub header: Header,
    /// Who ended.
    pub process: ProcessKey,
    /// Its slot.
    pub slot: SlotRef,
    /// `comm` of the thread group leader.
    pub comm: [u8; 16],
    /// Wait status: exit code in bits 8 to 15, signal in bits 0 to 6, bit 7 when memory was dumped (wait(2)).
    pub status: u32,
    /// Always 0.
    pub reserved: u32,
    /// When its last thread ended, nanoseconds since boot; 0: not seen, take the header's time.
    pub exited_ns: u64,
    /// CPU time, exact, nanoseconds.
    pub runtime_ns: u64,
    /// CPU time in user mode as the kernel's tick saw it, nanoseconds: only the proportion to `system_ns` is meaningful.
    pub user_ns: u64,
    /// CPU time in the kernel as its tick saw it, nanoseconds.
    pub system_ns: u64,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
    /// Times it waited of its own accord.
    pub voluntary_switches: u64,
    /// Times the processor was taken from it.
    pub involuntary_switches: u64,
    /// Most memory it ever held, pages.
    pub max_rss_pages: u64,
    /// Bytes passed to read calls (`task_io_accounting.rchar`).
    pub read_chars: u64,
    /// Bytes passed to write calls (`wchar`).
    pub written_chars: u64,
    /// Bytes fetched from storage (`read_bytes`).
    pub read_bytes: u64,
    /// Bytes sent to storage (`write_bytes`).
    pub written_bytes: u64,
}
