//! Who is in the table, who is whose parent, and who has to go.

use super::{ANCESTORS, ANCESTORS_PART, EVICT_PART, ProcessTable, Removal};
use crate::processes::{Exit, NS_PER_TICK, Process, ProcessId, process::Ending};

impl ProcessTable {
    /// Adds an entry, and makes room for it.
    pub(super) fn insert(&mut self, mut process: Process) {
        while !self.entries.is_empty() && self.entries.len() >= self.options.capacity {
            self.evict();
        }
        let id = process.id;
        process.untimed = id.start_ticks < self.created_ticks
            || self.forgotten_ticks.is_some_and(|forgotten| id.start_ticks <= forgotten);
        self.groups.join("_unknown", process.seen_ns);
        self.entries.insert(id, process);
        let latest = self.by_pid.entry(id.pid).or_insert(id);
        let (older, newer) = (id.min(*latest), id.max(*latest));
        *latest = newer;
        if older < newer && self.entries.get(&older).is_some_and(Process::alive) {
            // Its pid is another's, so it has ended; its record may still come.
            let time_ns = newer.start_ticks.saturating_mul(NS_PER_TICK);
            self.end(older, Exit::unseen(time_ns), Ending::Lost);
        }
    }

    /// Links a process from `/proc` to its parent, of which only the pid is known.
    pub(in crate::processes) fn link_pid(&mut self, id: ProcessId, parent: u32) {
        if let Some(&parent) = self.by_pid.get(&parent) {
            self.set_parent(id, parent);
        }
    }

    /// Notes who forked a process. What cannot be (a parent younger than its child, a circle) is left out.
    pub(super) fn set_parent(&mut self, id: ProcessId, parent: ProcessId) {
        let circle = parent == id || self.ancestors(parent).any(|process| process.id == id);
        if parent.pid == 0 || parent.start_ticks > id.start_ticks || circle {
            return;
        }
        let Some(process) = self.entries.get(&id) else { return };
        if process.parent == Some(parent) && process.linked {
            return;
        }
        let before = process.parent.filter(|_| process.linked);
        let linked = self.entries.get_mut(&parent).map(|entry| entry.children = entry.children.saturating_add(1));
        if let Some(process) = self.entries.get_mut(&id) {
            process.parent = Some(parent);
            process.linked = linked.is_some();
        }
        if let Some(before) = before
            && self.unlink(before)
        {
            self.remove(before, Removal::Expired);
        }
    }

    /// One child less. True: it was kept for that child only.
    fn unlink(&mut self, parent: ProcessId) -> bool {
        let Some(process) = self.entries.get_mut(&parent) else { return false };
        process.children = process.children.saturating_sub(1);
        let kept = process.exit.is_some_and(|exit| self.ancestors.contains(&(exit.time_ns, parent)));
        process.children == 0 && kept
    }

    /// Forgets ended processes whose time is up, except those that a process still known descends from. Call it every
    /// second or so.
    pub fn expire(&mut self, now_ns: u64) {
        let keep_ns = u64::try_from(self.options.keep_exited.as_nanos()).unwrap_or(u64::MAX);
        while let Some(&(time_ns, id)) = self.exited.first()
            && now_ns.saturating_sub(time_ns) >= keep_ns
        {
            self.exited.remove(&(time_ns, id));
            // Its record does not come any more.
            self.count_end(id);
            if self.entries.get(&id).is_some_and(|process| process.children > 0) {
                self.ancestors.insert((time_ns, id));
            } else {
                self.remove(id, Removal::Expired);
            }
        }
        while self.ancestors.len() > self.options.capacity / ANCESTORS_PART
            && let Some((_, id)) = self.ancestors.pop_first()
        {
            self.remove(id, Removal::Ancestor);
        }
    }

    /// Makes room for one: the first to end goes first, then the ancestor that ended first, then living processes
    /// without children that nothing was heard of for longest, then any.
    fn evict(&mut self) {
        let childless = self
            .exited
            .iter()
            .take(ANCESTORS)
            .find(|(_, id)| self.entries.get(id).is_some_and(|process| process.children == 0));
        if let Some(&(_, id)) = childless.or_else(|| self.exited.first()) {
            return self.remove(id, Removal::Exited);
        }
        if let Some(&(_, id)) = self.ancestors.first() {
            return self.remove(id, Removal::Ancestor);
        }
        let mut living: Vec<(bool, u64, ProcessId)> =
            self.entries.values().map(|process| (process.children > 0, process.seen_ns, process.id)).collect();
        let count = (self.options.capacity / EVICT_PART).clamp(1, living.len().max(1));
        if count < living.len() {
            living.select_nth_unstable(count);
        }
        for (_, _, id) in living.into_iter().take(count) {
            self.forgotten_ticks = self.forgotten_ticks.max(Some(id.start_ticks));
            self.remove(id, Removal::Living);
        }
    }

    /// Removes an entry, and then those of its ancestors that were kept for it only.
    fn remove(&mut self, id: ProcessId, reason: Removal) {
        let mut next = Some((id, reason));
        while let Some((id, reason)) = next.take() {
            self.count_end(id);
            let Some(process) = self.entries.remove(&id) else { return };
            self.removals[reason as usize] += 1;
            self.groups.leave(process.group);
            if let Some(exit) = process.exit {
                self.exited.remove(&(exit.time_ns, id));
                self.ancestors.remove(&(exit.time_ns, id));
            }
            if self.by_pid.get(&id.pid) == Some(&id) {
                self.by_pid.remove(&id.pid);
            }
            if let Some(parent) = process.parent.filter(|_| process.linked)
                && self.unlink(parent)
            {
                next = Some((parent, Removal::Expired));
            }
        }
    }
}
