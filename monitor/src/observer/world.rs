//! What the pipeline knows around an event, as rules ask for it.

use crate::{
    detect::World,
    processes::{Accounts, Process, ProcessId, ProcessTable},
    signals::activity::WatchedPaths,
};

/// This host, beside its processes.
#[derive(Debug)]
pub struct HostNames {
    /// Users and groups.
    pub accounts: Accounts,
    /// The host's own name.
    pub hostname: String,
}

impl HostNames {
    /// As they are now.
    pub fn of_host() -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { accounts: Accounts::of_host(), hostname }
    }
}

/// The surroundings of one event.
pub struct Surroundings<'a> {
    /// Processes as they are at the moment of the event.
    pub table: &'a ProcessTable,
    /// The host.
    pub host: &'a HostNames,
    /// Files that are watched, where the kernel programs run.
    pub watched: Option<&'a WatchedPaths>,
    /// Nanoseconds since 1970 at boot.
    pub boot_time_ns: i128,
    /// Process id of the daemon.
    pub observer: u32,
}

/// The surroundings but for the processes, which change from one event to the next.
#[derive(Clone, Copy, Debug)]
pub struct HostSide<'a> {
    /// The host.
    pub host: &'a HostNames,
    /// Which watched paths files are.
    pub watched: Option<&'a WatchedPaths>,
    /// Nanoseconds since 1970 at boot.
    pub boot_time_ns: i128,
    /// Process id of the daemon.
    pub observer: u32,
}

impl<'a> HostSide<'a> {
    /// The surroundings with the processes as they are at this moment.
    pub fn with<'b>(self, table: &'b ProcessTable) -> Surroundings<'b>
    where
        'a: 'b,
    {
        let Self { host, watched, boot_time_ns, observer } = self;
        Surroundings { table, host, watched, boot_time_ns, observer }
    }
}

impl World for Surroundings<'_> {
    fn process(&self, id: ProcessId) -> Option<&Process> {
        self.table.get(id)
    }

    fn find(&self, pid: u32) -> Option<&Process> {
        self.table.find(pid)
    }

    fn observer(&self) -> u32 {
        self.observer
    }

    fn group(&self, id: ProcessId) -> &str {
        let group = self.table.get(id).map(|process| process.group);
        group.and_then(|group| self.table.groups().name_of(group)).unwrap_or("_unknown")
    }

    fn user_name(&self, uid: u32) -> Option<&str> {
        self.host.accounts.user(uid)
    }

    fn user_home(&self, uid: u32) -> Option<&[u8]> {
        self.host.accounts.home(uid)
    }

    fn group_name(&self, gid: u32) -> Option<&str> {
        self.host.accounts.group(gid)
    }

    fn hostname(&self) -> &str {
        &self.host.hostname
    }

    fn protected_path(&self, device: u32, inode: u64) -> Option<&[u8]> {
        self.watched?.path(device, inode)
    }

    fn boot_time_ns(&self) -> i128 {
        self.boot_time_ns
    }
}
