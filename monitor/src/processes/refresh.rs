//! Keeping up with `/proc`: what living processes use, and what the rings lost.

use std::{ops::Bound, time::Duration};

use super::{
    Exit, Process, ProcessId, ProcessTable, Repair, boot_ns,
    process::Ending,
    procfs::{self, Stat, Status},
    usage::Usage,
};

/// What changes rarely or costs more is looked at this often: descriptors, context switches, user ids, the cgroup.
const SLOW_NS: u64 = Duration::from_secs(15).as_nanos() as u64;
/// A process whose record is in the ring still may be in only one of `/proc` and the table for so long.
const LATE_NS: u64 = Duration::from_secs(1).as_nanos() as u64;

impl ProcessTable {
    /// Looks at up to `limit` living processes in `/proc`, where the last call stopped: what they use, and whether they
    /// are still there. True: that was the last of them, the next call begins anew.
    ///
    /// Two or three files are read of each process, about 10 µs; call it in slices, so that a host with thousands of
    /// processes does not keep the rings waiting.
    pub fn refresh(&mut self, now_ns: u64, limit: usize) -> bool {
        self.clock.refresh();
        let after = (Bound::Excluded(self.cursor), Bound::Unbounded);
        let alive = |id: &ProcessId| self.entries.get(id).is_some_and(Process::alive);
        let slice: Vec<ProcessId> = self.by_pid.range(after).map(|(_, id)| *id).filter(alive).take(limit).collect();
        let done = slice.len() < limit;
        self.cursor = if done { 0 } else { slice.last().map_or(0, |id| id.pid) };
        for id in slice {
            self.look(id, now_ns);
        }
        done
    }

    /// Learns processes that are in `/proc` but not in the table, because the records of their birth were lost. Lists
    /// `/proc` once; call it every minute or so.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be listed.
    pub fn rescan(&mut self) -> std::io::Result<usize> {
        let now_ns = boot_ns();
        let mut learned = Vec::new();
        for pid in procfs::pids()? {
            // In a full table each newcomer would push another one out.
            if self.entries.len() >= self.options.capacity {
                break;
            }
            if self.by_pid.get(&pid).and_then(|id| self.entries.get(id)).is_some_and(Process::alive) {
                continue;
            }
            // The record of a young one may still be in the ring.
            let old = |stat: Stat| stat.start_ticks.saturating_mul(super::NS_PER_TICK) + LATE_NS < now_ns;
            if Stat::read(pid).is_ok_and(old) {
                learned.extend(self.learn_pid(pid, now_ns));
            }
        }
        self.repairs[Repair::Start as usize] += learned.len() as u64;
        let count = learned.len();
        for (id, parent) in learned {
            self.link_pid(id, parent);
        }
        Ok(count)
    }

    /// A zombie is still there: its record comes when its parent has waited for it.
    fn look(&mut self, id: ProcessId, now_ns: u64) {
        match Stat::read(id.pid) {
            Ok(stat) if stat.start_ticks != id.start_ticks => self.missing(id, now_ns),
            Ok(stat) => self.update(id, &stat, now_ns),
            Err(error) if gone(&error) => self.missing(id, now_ns),
            // Not a statement about the process: no descriptors left, or no permission.
            Err(_) => {}
        }
    }

    fn missing(&mut self, id: ProcessId, now_ns: u64) {
        let Some(process) = self.entries.get_mut(&id) else { return };
        let since = *process.missing_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since) >= LATE_NS {
            let unseen = Exit::unseen(now_ns);
            // The record may never come: some processes are let go of without a word from the kernel.
            let exit =
                process.thread_end.map_or(unseen, |(time_ns, status)| Exit { time_ns, status: Some(status), ..unseen });
            self.end(id, exit, Ending::Lost);
        }
    }

    fn update(&mut self, id: ProcessId, stat: &Stat, now_ns: u64) {
        let Some(process) = self.entries.get_mut(&id) else { return };
        process.missing_ns = None;
        process.comm = stat.comm.as_slice().into();
        set_gauges(process, stat);
        let mut usage = Usage::of_stat(stat);
        let untimed = std::mem::take(&mut process.untimed);
        let slow = now_ns.saturating_sub(process.slow_ns) >= SLOW_NS;
        // Who used no CPU did no I/O worth a look before the slow round.
        let busy = usage.cpu_ns() > process.usage.cpu_ns() || usage.minor_faults > process.usage.minor_faults;
        if (busy || slow)
            && !process.kernel_thread
            && let Ok(bytes) = procfs::io_bytes(id.pid)
        {
            usage.set_io(bytes);
        }
        if busy {
            process.seen_ns = now_ns;
        }
        let mut cgroup = None;
        if slow {
            process.slow_ns = now_ns;
            slow_part(process, stat, &mut usage);
            cgroup = self.cgroups.read(id);
        }
        let new = process.usage.advance(usage);
        let mut group = process.group;
        if let Some(cgroup) = cgroup
            && cgroup != process.cgroup
        {
            process.cgroup = cgroup;
            group = self.regroup(id, now_ns);
        }
        if !untimed {
            self.totals.usage(&mut self.groups, group, new);
        }
    }
}

fn slow_part(process: &mut Process, stat: &Stat, usage: &mut Usage) {
    let pid = process.id.pid;
    process.gauges.open_fds = procfs::open_fds(pid).unwrap_or(process.gauges.open_fds);
    if let Ok(status) = Status::read(pid) {
        (usage.voluntary_switches, usage.involuntary_switches) = Status::switches(pid, &status, stat.threads);
        let credentials = &mut process.credentials;
        (credentials.uid, credentials.euid, credentials.suid) = (status.uid, status.euid, status.suid);
        (credentials.gid, credentials.egid) = (status.gid, status.egid);
        credentials.capabilities = status.capabilities;
    }
    (process.session, process.process_group) = (stat.session, stat.process_group);
}

pub(super) fn set_gauges(process: &mut Process, stat: &Stat) {
    let gauges = &mut process.gauges;
    (gauges.resident_bytes, gauges.virtual_bytes) = (stat.resident_bytes, stat.virtual_bytes);
    (gauges.threads, gauges.state) = (stat.threads, stat.state);
}

/// No such file, or no such process (the file was open when it went).
fn gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
        || rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests;
