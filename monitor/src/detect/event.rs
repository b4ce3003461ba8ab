//! What rules are asked about, and what they may ask in turn.

use monitor_common::record::ProcessKey;

use crate::processes::{Process, ProcessId};
use crate::signals::activity::Activity;
use crate::signals::exec::Exec;

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Counts all events that the rules were asked about, from 1.
    pub number: u64,
    /// When, nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub time_ns: u64,
    /// The CPU it happened on.
    pub cpu: u16,
    /// Who did it.
    pub process: ProcessKey,
    /// Which thread of it.
    pub tid: u32,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A process runs another program.
    Exec(Box<Exec>),
    /// A process was created by the event's process.
    Fork {
        /// The new one.
        child: ProcessKey,
    },
    /// The process has ended.
    Exit {
        /// Wait status (wait(2)); none: nothing tells of it.
        status: Option<u32>,
    },
    /// It asked something of the kernel.
    Activity(Box<Activity>),
}

/// What is known beside the event. Nothing is looked up before somebody asks.
pub trait World {
    /// The process with this identity, living or ended.
    fn process(&self, id: ProcessId) -> Option<&Process>;
    /// The latest process with this id, living or ended.
    fn find(&self, pid: u32) -> Option<&Process>;
    /// The process id of this daemon.
    fn observer(&self) -> u32;
    /// The `group` of its metrics.
    fn group(&self, id: ProcessId) -> &str;
    /// Name of a user on this host.
    fn user_name(&self, uid: u32) -> Option<&str>;
    /// Home directory of a user on this host.
    fn user_home(&self, uid: u32) -> Option<&[u8]>;
    /// Name of a user group on this host.
    fn group_name(&self, gid: u32) -> Option<&str>;
    /// Name of this host.
    fn hostname(&self) -> &str;
    /// The path under which rules protect the file with this device and inode number, whatever name it was used by.
    fn protected_path(&self, device: u32, inode: u64) -> Option<&[u8]>;
    /// Nanoseconds since 1970 at boot: turns times since boot into times of day.
    fn boot_time_ns(&self) -> i128;
}
