//! The table of processes, living and recently ended.

mod records;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use monitor_common::record::ProcessKey;

use super::{
    BootClock, Credentials, GroupId, GroupOptions, Groups, Image, Process, ProcessId, boot_ns,
    cgroup::CgroupCache,
    facts::Fact,
    groups::Naming,
    metrics::Totals,
    per_process::Selected,
    process::ARGS,
    procfs::{self, Snapshot},
    usage::Usage,
};

/// Most ancestors that are told: more is a chain somebody made to hide something behind, or to fill memory.
const ANCESTORS: usize = 16;
/// Part of the table that may be ended processes kept only because they are ancestors of others.
const ANCESTORS_PART: usize = 4;
/// Part of the table that is cleared at once when it is full of living processes, because finding them takes a walk
/// through all of it.
const EVICT_PART: usize = 64;

/// What the configuration says about the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most entries.
    pub capacity: usize,
    /// How long an ended process stays known, and longer while it is an ancestor of one that is.
    pub keep_exited: Duration,
    /// A process to leave out: the daemon itself.
    pub exclude: Option<u32>,
    /// `/proc` is that of another host, or of another time: nothing is looked up there.
    pub offline: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { capacity: 32_768, keep_exited: Duration::from_secs(60), exclude: None, offline: false }
    }
}

/// Why an entry went. All but the first are a lack of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It ended long enough ago. Not an eviction.
    Expired = 0,
    /// It had ended; its time was not up.
    Exited = 1,
    /// It had ended and was kept as the ancestor of others.
    Ancestor = 2,
    /// It was alive: what it does from now on is not counted until it is looked at again, and not at its end.
    Living = 3,
}

impl Removal {
    /// Every reason that is an eviction.
    pub const EVICTIONS: [Self; 3] = [Self::Exited, Self::Ancestor, Self::Living];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Exited => "exited",
            Self::Ancestor => "ancestor",
            Self::Living => "living",
        }
    }
}

/// What was put right from `/proc` because no record told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A process that was there without a record of its fork or exec.
    Start = 0,
    /// A process that was gone without a record of its exit.
    Exit = 1,
}

impl Repair {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Start, Self::Exit];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Exit => "exit",
        }
    }
}

/// All processes, the groups they are in, and the totals of these.
#[derive(Debug)]
pub struct ProcessTable {
    pub(super) options: Options,
    pub(super) groups: Groups,
    pub(super) clock: BootClock,
    pub(super) entries: HashMap<ProcessId, Process>,
    /// The latest process with each pid.
    pub(super) by_pid: BTreeMap<u32, ProcessId>,
    /// Ended processes by the time of their end, those that have not been looked at by [`Self::expire`] yet …
    exited: BTreeSet<(u64, ProcessId)>,
    /// … and those that stay for their descendants only.
    ancestors: BTreeSet<(u64, ProcessId)>,
    /// Ends that came before the last [`Self::settle`], and since.
    settling: [Vec<ProcessId>; 2],
    pub(super) cgroups: CgroupCache,
    /// What is learnt from `/proc` is noted here.
    pub(super) journal: Option<Vec<Fact>>,
    pub(super) totals: Totals,
    pub(super) selected: Selected,
    pub(super) removals: [u64; 4],
    pub(super) repairs: [u64; 2],
    /// Where the next slice of [`Self::refresh`] starts.
    pub(super) cursor: u32,
    /// When the table was made: what a process used that is older, but first seen now, belongs to no total, as nobody
    /// can say when it was.
    pub(super) created_ticks: u64,
    /// The youngest living process that had to go: what older ones used may be in the totals already.
    forgotten_ticks: Option<u64>,
}

impl ProcessTable {
    /// An empty table.
    pub fn new(options: Options, groups: Groups) -> Self {
        Self {
            options,
            groups,
            clock: BootClock::new(),
            entries: HashMap::new(),
            by_pid: BTreeMap::new(),
            exited: BTreeSet::new(),
            ancestors: BTreeSet::new(),
            settling: [Vec::new(), Vec::new()],
            cgroups: CgroupCache::new(options.offline),
            journal: None,
            totals: Totals::default(),
            selected: Selected::default(),
            removals: [0; 4],
            repairs: [0; 2],
            cursor: 0,
            created_ticks: boot_ns() / super::NS_PER_TICK,
            forgotten_ticks: None,
        }
    }

    /// Takes over a new configuration; a smaller capacity is reached as entries expire or are evicted.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Learns every process there is. Call it after the hooks are attached, so that nobody slips between. Returns how
    /// many are new.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be listed.
    pub fn seed(&mut self) -> std::io::Result<usize> {
        if self.options.offline {
            return Ok(0);
        }
        let now_ns = boot_ns();
        let known = self.entries.len();
        let mut pids = procfs::pids()?;
        // Parents first, mostly, so that children find them.
        pids.sort_unstable();
        let learned: Vec<(ProcessId, u32)> = pids.into_iter().filter_map(|pid| self.learn_pid(pid, now_ns)).collect();
        for (id, parent) in learned {
            self.link_pid(id, parent);
        }
        Ok(self.entries.len().saturating_sub(known))
    }

    /// Takes over a new configuration of groups; every process is put in the group that it now belongs to.
    pub fn set_group_options(&mut self, options: GroupOptions) {
        self.groups.set_options(options);
        let ids: Vec<ProcessId> = self.entries.keys().copied().collect();
        let now_ns = boot_ns();
        for id in ids {
            self.regroup(id, now_ns);
        }
    }

    /// The process as the table knows it.
    pub fn get(&self, id: ProcessId) -> Option<&Process> {
        self.entries.get(&id)
    }

    /// The latest process with this pid.
    pub fn find(&self, pid: u32) -> Option<&Process> {
        self.by_pid.get(&pid).and_then(|id| self.entries.get(id))
    }

    /// The identity of the process that a kernel record names; if the table does not know it, it is looked for in
    /// `/proc`, so that [`Self::get`] finds it unless it is gone.
    pub fn resolve(&mut self, key: ProcessKey) -> ProcessId {
        let id = ProcessId::from_key(key);
        if !self.entries.contains_key(&id) {
            self.learn(id, boot_ns());
        }
        id
    }

    /// The group of the process that a kernel record names, `_unknown` if the table does not know it.
    pub fn group_of(&self, key: ProcessKey) -> GroupId {
        self.entries.get(&ProcessId::from_key(key)).map_or(GroupId::UNKNOWN, |process| process.group)
    }

    /// Its parent, the parent of that, …: at most 16, also of those that have ended. Ends where nobody knows more.
    pub fn ancestors(&self, id: ProcessId) -> impl Iterator<Item = &Process> {
        let parent = |process: &Process| process.parent.and_then(|parent| self.entries.get(&parent));
        let first = self.entries.get(&id).and_then(parent);
        // Links never make a circle (see `set_parent`); the bound holds anyway.
        std::iter::successors(first, move |process| parent(process)).take(ANCESTORS)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.entries.values()
    }

    /// Entries, living and ended.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing is known yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The groups, to note activity in them.
    pub fn groups_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// The clock that turns the times of processes into those of the wall.
    pub fn clock(&self) -> BootClock {
        self.clock
    }

    /// Entries that went for this reason.
    pub fn removed(&self, reason: Removal) -> u64 {
        self.removals[reason as usize]
    }

    /// What was put right from `/proc`.
    pub fn repaired(&self, repair: Repair) -> u64 {
        self.repairs[repair as usize]
    }

    fn excluded(&self, pid: u32) -> bool {
        pid == 0 || self.options.exclude == Some(pid)
    }

    /// Makes sure that there is an entry, with what `/proc` knows if there was none. False: nobody there.
    fn ensure(&mut self, id: ProcessId, now_ns: u64) -> bool {
        self.entries.contains_key(&id) || self.learn(id, now_ns)
    }

    /// Makes sure that there is an entry, to be filled by a record. True: it is new.
    fn ensure_bare(&mut self, id: ProcessId, now_ns: u64) -> bool {
        if self.entries.contains_key(&id) {
            return false;
        }
        self.insert(Process::new(id, GroupId::UNKNOWN, now_ns));
        true
    }

    /// Learns this very process from `/proc`. False: it is not there (any more).
    pub(super) fn learn(&mut self, id: ProcessId, now_ns: u64) -> bool {
        if self.options.offline
            || self.excluded(id.pid)
            || procfs::Stat::read(id.pid).is_ok_and(|stat| stat.start_ticks != id.start_ticks)
        {
            return false;
        }
        let Some((learned, parent)) = self.learn_pid(id.pid, now_ns) else { return false };
        self.link_pid(learned, parent);
        learned == id
    }

    /// Learns whoever has this pid. Returns who it is and its parent's pid; None when it is known or not there.
    pub(super) fn learn_pid(&mut self, pid: u32, now_ns: u64) -> Option<(ProcessId, u32)> {
        if self.excluded(pid) {
            return None;
        }
        let snapshot = Snapshot::read(pid, ARGS)?;
        let learned = self.admit(&snapshot, now_ns)?;
        if let Some(journal) = &mut self.journal {
            journal.push(Fact::of_process(snapshot));
        }
        Some(learned)
    }

    /// Takes over what `/proc` says, or said, of a process.
    pub(super) fn admit(&mut self, snapshot: &Snapshot, now_ns: u64) -> Option<(ProcessId, u32)> {
        let id = snapshot.id;
        if self.entries.contains_key(&id) || snapshot.stat.ended() {
            return None;
        }
        let mut process = Process::new(id, GroupId::UNKNOWN, now_ns);
        process.image = Arc::new(Image::of_snapshot(snapshot));
        process.comm = snapshot.stat.comm.as_slice().into();
        process.kernel_thread = snapshot.stat.kernel_thread;
        process.credentials = Credentials {
            uid: snapshot.status.uid,
            euid: snapshot.status.euid,
            gid: snapshot.status.gid,
            egid: snapshot.status.egid,
            loginuid: snapshot.loginuid,
            suid: snapshot.status.suid,
            capabilities: snapshot.status.capabilities,
        };
        (process.session, process.process_group) = (snapshot.stat.session, snapshot.stat.process_group);
        process.cgroup = self.cgroups.intern(&snapshot.cgroup);
        process.slow_ns = now_ns;
        super::refresh::set_gauges(&mut process, &snapshot.stat);
        let usage = if self.options.offline {
            Usage::default()
        } else {
            process.gauges.open_fds = procfs::open_fds(id.pid).unwrap_or(0);
            snapshot.usage()
        };
        let new = process.usage.advance(usage);
        self.insert(process);
        let group = self.regroup(id, now_ns);
        let untimed = self.entries.get_mut(&id).is_some_and(|entry| std::mem::take(&mut entry.untimed));
        if !untimed {
            self.totals.usage(&mut self.groups, group, new);
        }
        Some((id, snapshot.stat.parent))
    }

    /// Finds the group again after something it depends on has changed.
    pub(super) fn regroup(&mut self, id: ProcessId, now_ns: u64) -> GroupId {
        let Some(process) = self.entries.get_mut(&id) else { return GroupId::UNKNOWN };
        let name = self.groups.name(Naming {
            cgroup: &process.cgroup,
            exe: &process.image.exe,
            comm: process.comm.as_bytes(),
            kernel_thread: process.kernel_thread,
        });
        if self.groups.name_of(process.group) != Some(name.as_str()) {
            let before = std::mem::replace(&mut process.group, self.groups.join(&name, now_ns));
            self.groups.leave(before);
        }
        process.group
    }

    /// Deals the places of groups out again and drops the totals of those that lost theirs; they are returned, so that
    /// the totals of other signals can go too. Call it every 10 seconds or so.
    pub fn rebalance(&mut self, now_ns: u64) -> Vec<GroupId> {
        self.groups.rebalance(now_ns);
        let gone = self.groups.sweep();
        self.totals.forget(&gone);
        self.select();
        gone
    }
}

#[cfg(test)]
mod tests;
