//! Groups: the bounded set of names that processes count under in metrics.
//!
//! Every process is in one group. At most [`GroupOptions::limit`] groups are *visible*, that is, have series of their
//! own; what the others do counts in `_other`. Counters are added up by difference into [`Groups::visible`] of the group
//! at that moment, so the counter of a group only ever grows, as does `_other`'s; a group that loses its place loses its
//! series, and starts from zero should it come back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Cgroup, glob, text};

/// Longest name of a group from an executable, characters.
const NAME: usize = 64;
/// A group that wants a place must be this many times as active as the least active one that has one …
const FACTOR: u64 = 2;
/// … so many times in a row, so that two groups that are about equal do not take turns.
const STREAK: u8 = 3;

/// A group. Numbers are never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u64);

impl GroupId {
    /// `_other`: all groups without series of their own.
    pub const OTHER: Self = Self(0);
    /// `_unknown`: what no process could be found for.
    pub const UNKNOWN: Self = Self(1);
}

/// Names the group of processes that are in no systemd service and in no container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupRule {
    /// The group.
    pub name: String,
    /// Its programs: names, or path patterns when they contain a slash.
    pub exe: Vec<String>,
}

/// What the configuration says about groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// Most groups with series of their own, `_other` and `_unknown` not counted.
    pub limit: usize,
    /// A group that did nothing for so long gives its place up.
    pub idle: Duration,
    /// The first that fits counts.
    pub rules: Vec<GroupRule>,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self { limit: 50, idle: Duration::from_secs(600), rules: Vec::new() }
    }
}

/// What a group's name is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Naming<'a> {
    pub(super) cgroup: &'a Cgroup,
    pub(super) exe: &'a [u8],
    pub(super) comm: &'a [u8],
    pub(super) kernel_thread: bool,
}

#[derive(Debug)]
struct Group {
    name: Arc<str>,
    /// Processes in the table that are in it.
    members: u32,
    visible: bool,
    /// Since the last [`Groups::rebalance`].
    activity: u64,
    /// When it was last active.
    active_ns: u64,
    /// Times in a row that it was active enough to take another's place.
    streak: u8,
}

/// All groups that have members, and those that have series.
#[derive(Debug)]
pub struct Groups {
    options: GroupOptions,
    ids: HashMap<Arc<str>, GroupId>,
    groups: HashMap<GroupId, Group>,
    visible: usize,
    next: u64,
    gone: Vec<GroupId>,
    dropped: u64,
}

impl Groups {
    /// None yet but `_other` and `_unknown`.
    pub fn new(options: GroupOptions) -> Self {
        let mut groups = Self {
            options,
            ids: HashMap::new(),
            groups: HashMap::new(),
            visible: 0,
            next: 0,
            gone: Vec::new(),
            dropped: 0,
        };
        // Interned like any other name, so that a program called `_other` cannot make a second series of that name.
        for name in ["_other", "_unknown"] {
            groups.insert(name.into(), true, 0);
        }
        groups
    }

    /// Takes over a new configuration. Visibility follows at the next [`Self::rebalance`].
    pub(super) fn set_options(&mut self, options: GroupOptions) {
        self.options = options;
    }

    fn insert(&mut self, name: Arc<str>, visible: bool, now_ns: u64) -> GroupId {
        let id = GroupId(self.next);
        self.next += 1;
        self.ids.insert(Arc::clone(&name), id);
        self.groups.insert(id, Group { name, members: 0, visible, activity: 0, active_ns: now_ns, streak: 0 });
        id
    }

    /// The group that such a process belongs to: its systemd service, else its container (`container:ID`), else what a
    /// rule says, else the name of its program; kernel threads are all in `kernel`. A service inside a container is
    /// `container:ID/UNIT`, because every container may have a service of that name.
    pub(super) fn name(&self, process: Naming<'_>) -> String {
        if process.kernel_thread {
            return "kernel".to_owned();
        }
        match (&process.cgroup.unit, &process.cgroup.container) {
            (Some(unit), None) => return text::label(unit.as_bytes(), 4 * NAME),
            (None, Some(container)) => {
                return text::label(format!("container:{}", container.short()).as_bytes(), 4 * NAME);
            }
            (Some(unit), Some(container)) => {
                return text::label(format!("container:{}/{unit}", container.short()).as_bytes(), 4 * NAME);
            }
            (None, None) => {}
        }
        let fits = |rule: &&GroupRule| rule.exe.iter().any(|pattern| glob::matches(pattern.as_bytes(), process.exe));
        if let Some(rule) = self.options.rules.iter().find(fits) {
            return rule.name.clone();
        }
        // What is behind `memfd:` is no path, whatever it contains.
        let base = match process.exe {
            memory if memory.starts_with(b"memfd:") => memory,
            path => path.rsplit(|&byte| byte == b'/').next().unwrap_or(path),
        };
        let name = if base.is_empty() { process.comm } else { base };
        if name.is_empty() { "_unknown".to_owned() } else { text::label(name, NAME) }
    }

    /// One more process in the group of this name. A new group is visible as long as there is room.
    pub(super) fn join(&mut self, name: &str, now_ns: u64) -> GroupId {
        let id = self.ids.get(name).copied().unwrap_or_else(|| {
            let room = self.visible < self.options.limit;
            self.visible += usize::from(room);
            self.dropped += u64::from(!room);
            self.insert(name.into(), room, now_ns)
        });
        if let Some(group) = self.groups.get_mut(&id) {
            group.members = group.members.saturating_add(1);
        }
        id
    }

    /// One process less. A group that has neither members nor series is forgotten, so there are never more groups than
    /// the table has processes, plus the visible ones.
    pub(super) fn leave(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.members = group.members.saturating_sub(1);
            if group.members == 0 && !group.visible {
                self.forget(id);
            }
        }
    }

    fn forget(&mut self, id: GroupId) {
        if let Some(group) = self.groups.remove(&id) {
            self.ids.remove(&group.name);
        }
    }

    /// Where this group's counts go: to itself if it is visible, else to `_other`.
    pub fn visible(&self, id: GroupId) -> GroupId {
        match self.groups.get(&id) {
            Some(group) if group.visible => id,
            _ => GroupId::OTHER,
        }
    }

    /// Its name, if it still exists.
    pub fn name_of(&self, id: GroupId) -> Option<&str> {
        self.groups.get(&id).map(|group| &*group.name)
    }

    /// Every group with series of its own, `_other` and `_unknown` included.
    pub fn all_visible(&self) -> impl Iterator<Item = (GroupId, &str)> {
        self.groups.iter().filter(|(_, group)| group.visible).map(|(id, group)| (*id, &*group.name))
    }

    /// Groups that exist, and those of them that have series.
    pub fn count(&self) -> (usize, usize) {
        (self.groups.len() - 2, self.visible)
    }

    /// Most groups with series of their own.
    pub fn limit(&self) -> usize {
        self.options.limit
    }

    /// Times that a group got no place, or lost it to a more active one: what it did from then on counts in `_other`.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A group did something. The unit is a millisecond of CPU time, or what is worth about as much: a fork, an exec, a
    /// connection, a request to a disk, a thousand system calls.
    pub fn note(&mut self, id: GroupId, activity: u64) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.activity = group.activity.saturating_add(activity);
        }
    }

    /// Deals the places out again; [`Self::sweep`] tells who lost theirs.
    ///
    /// A group without members that was idle for [`GroupOptions::idle`] gives its place up. Free places go to the most
    /// active groups that wait. A waiting group takes the place of a visible one that was idle so long at once, and of
    /// another when it was more than twice as active three times in a row.
    pub(super) fn rebalance(&mut self, now_ns: u64) {
        let idle_ns = u64::try_from(self.options.idle.as_nanos()).unwrap_or(u64::MAX);
        for group in self.groups.values_mut().filter(|group| group.activity > 0) {
            group.active_ns = now_ns;
        }
        let idle = |group: &Group| now_ns.saturating_sub(group.active_ns) >= idle_ns;

        let (mut holders, mut waiting) = (Vec::new(), Vec::new());
        let mut leaving = Vec::new();
        for (&id, group) in self.groups.iter().filter(|(id, _)| id.0 > GroupId::UNKNOWN.0) {
            match group.visible {
                true if group.members == 0 && idle(group) => leaving.push(id),
                true => holders.push((!idle(group), group.activity, id)),
                false if group.activity > 0 => waiting.push((group.activity, id)),
                false => {}
            }
        }
        // Least active first, idle ones before all others; and most active first.
        holders.sort_unstable();
        waiting.sort_unstable_by(|a, b| b.cmp(a));

        // More places taken than there are, after the limit was lowered.
        let surplus = holders.len().saturating_sub(self.options.limit);
        self.dropped += surplus as u64;
        leaving.extend(holders.drain(..surplus).map(|(_, _, id)| id));
        leaving.into_iter().for_each(|id| self.hide(id));

        let free = self.options.limit.saturating_sub(holders.len()).min(waiting.len());
        waiting.drain(..free).for_each(|(_, id)| self.show(id));
        let mut wanting = Vec::new();
        for ((active, least, holder), (activity, id)) in holders.into_iter().zip(waiting) {
            if activity > least.saturating_mul(FACTOR) {
                wanting.push(id);
                if !active || self.groups.get(&id).is_some_and(|group| group.streak + 1 >= STREAK) {
                    self.dropped += u64::from(active);
                    self.hide(holder);
                    self.show(id);
                }
            }
        }
        for (id, group) in &mut self.groups {
            group.activity = 0;
            group.streak = if !group.visible && wanting.contains(id) { group.streak + 1 } else { 0 };
        }
    }

    fn show(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.visible = true;
            self.visible += 1;
        }
    }

    fn hide(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.visible = false;
        self.visible -= 1;
        self.gone.push(id);
        if group.members == 0 {
            self.forget(id);
        }
    }

    /// Groups that lost their series since the last call: drop their totals, so that they start from zero when they
    /// come back.
    pub(super) fn sweep(&mut self) -> Vec<GroupId> {
        std::mem::take(&mut self.gone)
    }
}

#[cfg(test)]
mod tests;
