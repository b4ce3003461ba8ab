//! The frame of every record that goes through a ring buffer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of the layout described in this crate. Raised with each change that an older daemon would misread.
pub const ABI_VERSION: u32 = 4;

/// Which ring a record travels in; also the index of its sequence counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ring {
    /// What security rules need.
    Security = 0,
    /// Births and deaths of processes.
    Telemetry = 1,
    /// Activities that anybody can cause by the million, such as opening files.
    Bulk = 2,
    /// What clients and servers say to each other.
    Requests = 3,
}

impl Ring {
    /// Every ring there is.
    pub const ALL: [Self; 4] = [Self::Security, Self::Telemetry, Self::Bulk, Self::Requests];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Telemetry => "telemetry",
            Self::Bulk => "bulk",
            Self::Requests => "requests",
        }
    }
}

/// What a record is. Numbers are never reused: 1 to 3 were execs of fixed sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// [`crate::signals::process::ForkRecord`].
    Fork = 4,
    /// [`crate::signals::process::ExitRecord`].
    Exit = 5,
    /// [`crate::signals::exec::ExecHead`] and what follows it, as long as it is.
    Exec = 6,
    /// [`crate::signals::exec::ExecLong`].
    ExecLong = 7,
    /// [`crate::signals::activity::ActivityHead`] and what follows it, as long as it is.
    Activity = 8,
    /// [`crate::signals::exec_kill::ExecKillRecord`].
    ExecKill = 9,
    /// [`crate::signals::l7::SegmentHead`] and what follows it, as long as it is.
    Segment = 10,
    /// [`crate::signals::l7::SegmentsEnd`].
    SegmentsEnd = 11,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            4 => Self::Fork,
            5 => Self::Exit,
            6 => Self::Exec,
            7 => Self::ExecLong,
            8 => Self::Activity,
            9 => Self::ExecKill,
            10 => Self::Segment,
            11 => Self::SegmentsEnd,
            _ => return None,
        })
    }
}

/// First bytes of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// A [`Kind`]'s number.
    pub kind: u16,
    /// The CPU that wrote it.
    pub cpu: u16,
    /// [`ABI_VERSION`] of the writer.
    pub abi: u32,
    /// Counts every record this CPU meant to write to this ring, also those that found it full, from 1: a gap is a loss.
    pub sequence: u64,
    /// When (`CLOCK_BOOTTIME`, nanoseconds).
    pub time_ns: u64,
}

/// A process, told apart from a later one with the same id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessKey {
    /// `task_struct.start_boottime` of the thread group leader, nanoseconds since boot.
    pub start_ns: u64,
    /// Process id (thread group id), as the first pid namespace numbers it.
    pub tgid: u32,
    /// Always 0.
    pub reserved: u32,
}
