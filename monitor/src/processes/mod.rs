//! Processes: who they are, who started them, which group they count in, and what they used.
//!
//! The [`ProcessTable`] is filled from `/proc` when the daemon starts and kept up by the kernel's records of fork, exec
//! and exit. These come through two rings, so in any order; each names a process by its [`ProcessId`], and each may be
//! the first to tell of it. What was lost is repaired from `/proc`, in small slices ([`ProcessTable::refresh`]).

mod accounts;
mod cgroup;
mod clock;
mod facts;
mod glob;
mod groups;
mod metrics;
mod per_process;
mod process;
mod procfs;
mod query;
mod refresh;
mod table;
pub mod text;
mod usage;

pub use accounts::Accounts;
pub use cgroup::{Cgroup, Container};
pub use clock::{BootClock, NS_PER_TICK, boot_ns};
pub use facts::Fact;
pub use groups::{GroupId, GroupOptions, GroupRule, Groups};
pub use metrics::{METRICS, signal_name};
pub use per_process::{PER_PROCESS_METRICS, PerProcess};
pub use process::{Comm, Connection, Credentials, Exit, Gauges, Image, Process};
pub use query::{Query, Sort};
pub use table::{Options, ProcessTable, Removal, Repair};
pub use usage::Usage;

use monitor_common::record::ProcessKey;

/// A process, told apart from a later one with the same pid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ProcessId {
    /// Process id (thread group id), as the first pid namespace numbers it.
    pub pid: u32,
    /// When it was started, in ticks of 10 ms since boot: field 22 of `/proc/PID/stat`, so that an identity from a
    /// kernel record and one from `/proc` agree.
    pub start_ticks: u64,
}

impl ProcessId {
    /// The process that a kernel record names.
    pub const fn from_key(key: ProcessKey) -> Self {
        Self { pid: key.tgid, start_ticks: key.start_ns / NS_PER_TICK }
    }
}

#[cfg(test)]
mod testing;
