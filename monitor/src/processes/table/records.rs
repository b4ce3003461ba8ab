//! What the kernel's records do to the table.

use std::sync::Arc;

use monitor_common::signals::{
    activity::Act,
    process::{ExitRecord, ForkRecord},
};

use super::{ProcessTable, Repair};
use crate::{
    processes::{
        Exit, Image, ProcessId,
        process::{Credentials, Ending, Gauges},
    },
    signals::{activity::Activity, exec::Exec},
};

impl ProcessTable {
    /// A process was created.
    pub fn on_fork(&mut self, record: &ForkRecord) {
        let (id, parent) = (ProcessId::from_key(record.child), ProcessId::from_key(record.parent));
        if self.excluded(id.pid) {
            return;
        }
        let now_ns = record.header.time_ns;
        self.ensure(parent, now_ns);
        if !self.excluded(parent.pid) {
            let group = self.group_of(record.parent);
            self.totals.fork(&mut self.groups, group);
        }
        self.ensure_bare(id, now_ns);
        self.set_parent(id, parent);
        let Some(process) = self.entries.get_mut(&id) else { return };
        process.started_ns = record.child.start_ns;
        // This is its beginning, so all it uses is to be counted.
        process.untimed = false;
        if process.comm.as_bytes().is_empty() {
            process.comm = record.comm[..].into();
        }
        self.inherit(id);
    }

    /// A process replaced its program by another.
    pub fn on_exec(&mut self, exec: &Exec) {
        let id = ProcessId::from_key(exec.process);
        if self.excluded(id.pid) {
            return;
        }
        let parent = ProcessId::from_key(exec.parent);
        self.ensure_bare(id, exec.time_ns);
        // The fork record knows better: by now the true parent may be gone and the process init's.
        if self.entries.get(&id).is_some_and(|process| process.parent.is_none()) {
            self.ensure(parent, exec.time_ns);
            self.set_parent(id, parent);
            self.inherit(id);
        }
        let cgroup = self.cgroups.by_id(id, (exec.cgroup_id, exec.cgroup_set), exec.time_ns);
        let Some(process) = self.entries.get_mut(&id) else { return };
        // Two rings: an older exec may come after a newer one was learned from /proc, but not after a newer record.
        process.exe_before.clone_from(&process.image.exe);
        process.of_root_before = process.image.file.of_root();
        process.credentials_before = Some((exec.time_ns, process.credentials));
        process.image = Arc::new(Image::of_exec(exec));
        process.comm = exec.comm.as_slice().into();
        process.credentials = Credentials {
            uid: exec.uid,
            euid: exec.euid,
            gid: exec.gid,
            egid: exec.egid,
            loginuid: exec.loginuid,
            suid: exec.suid,
            capabilities: exec.capabilities,
        };
        (process.session, process.process_group) = (exec.session, exec.process_group);
        process.started_ns = exec.process.start_ns;
        process.exec_ns = Some(exec.time_ns);
        process.execs = process.execs.saturating_add(1);
        process.kernel_thread = false;
        process.seen_ns = process.seen_ns.max(exec.time_ns);
        if let Some(cgroup) = cgroup {
            process.cgroup = cgroup;
        }
        let group = self.regroup(id, exec.time_ns);
        self.totals.start(&mut self.groups, group);
    }

    /// A process asked something of the kernel. Who it acts as changes by that, and who it is connected to.
    pub fn on_activity(&mut self, activity: &Activity) {
        let id = ProcessId::from_key(activity.process);
        if self.excluded(id.pid) || !self.ensure(id, activity.time_ns) {
            return;
        }
        let Some(process) = self.entries.get_mut(&id) else { return };
        process.seen_ns = process.seen_ns.max(activity.time_ns);
        match activity.act {
            Act::SetIds | Act::Capset if activity.result >= 0 => {
                let actor = activity.actor;
                let after = Credentials {
                    uid: actor.uid,
                    euid: actor.euid,
                    gid: actor.gid,
                    egid: actor.egid,
                    suid: actor.suid,
                    capabilities: actor.capabilities,
                    loginuid: process.credentials.loginuid,
                };
                if after != process.credentials {
                    process.credentials_before = Some((activity.time_ns, process.credentials));
                    process.credentials = after;
                }
            }
            Act::Connect | Act::Accept => {
                let connection = activity.connection();
                process.connection = connection.or(process.connection);
            }
            _ => {}
        }
    }

    /// A process ended.
    pub fn on_exit(&mut self, record: &ExitRecord) {
        let id = ProcessId::from_key(record.process);
        if self.excluded(id.pid) {
            return;
        }
        // The record is written when the parent has waited; the end was before.
        let time_ns = if record.exited_ns == 0 { record.header.time_ns } else { record.exited_ns };
        let new = self.ensure_bare(id, time_ns);
        let Some(process) = self.entries.get_mut(&id) else { return };
        process.started_ns = record.process.start_ns;
        if new {
            process.comm = record.comm[..].into();
            self.regroup(id, time_ns);
        }
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
        let max_resident_bytes = record.max_rss_pages.saturating_mul(page);
        let exit = Exit { time_ns, status: Some(record.status), max_resident_bytes, recorded: true };
        self.end(id, exit, Ending::Record(*record));
    }

    /// The last thread of a process has ended. What it used is in the record, which comes when its parent has waited; for
    /// the case that none comes.
    pub fn note_end(&mut self, id: ProcessId, time_ns: u64, status: u32) {
        if let Some(process) = self.entries.get_mut(&id) {
            process.thread_end = Some((time_ns, status));
        }
    }

    /// Marks an entry as ended. What it used is counted by [`Self::settle`].
    ///
    /// An end that was noticed in /proc only is not counted yet: the kernel lets go of a process after a grace period of
    /// RCU, and under load that was seen to take more than half a minute. Only when the entry is to be forgotten
    /// ([`Self::expire`]) the record counts as lost.
    pub(in crate::processes) fn end(&mut self, id: ProcessId, exit: Exit, ending: Ending) {
        let Some(process) = self.entries.get_mut(&id) else { return };
        if let Some(before) = process.exit {
            // A record that comes after the end was noticed in /proc knows more; nothing else does.
            if before.recorded || !exit.recorded {
                return;
            }
            self.exited.remove(&(before.time_ns, id));
            self.ancestors.remove(&(before.time_ns, id));
        }
        let ending = match ending {
            Ending::Record(record) if process.exit.is_some() && process.ending.is_none() => Ending::Late(record),
            ending => ending,
        };
        process.exit = Some(exit);
        process.gauges = Gauges::default();
        process.seen_ns = process.seen_ns.max(exit.time_ns);
        let unseen = matches!(ending, Ending::Lost);
        let before = process.ending.replace(Box::new(ending));
        if !unseen && !matches!(before.as_deref(), Some(Ending::Record(_) | Ending::Late(_))) {
            self.settling[1].push(id);
        }
        self.exited.insert((exit.time_ns, id));
    }

    /// Adds up the ends that came before the previous call. Call it once in each round of draining both rings: then the
    /// exec of a process is known before its end is counted, in the group it belongs to.
    pub fn settle(&mut self) {
        let [previous, recent] = &mut self.settling;
        let due = std::mem::replace(previous, std::mem::take(recent));
        for id in due {
            self.count_end(id);
        }
    }

    pub(super) fn count_end(&mut self, id: ProcessId) {
        let Some(process) = self.entries.get_mut(&id) else { return };
        let Some(ending) = process.ending.take() else { return };
        self.totals.end(&mut self.groups, process, &ending);
        process.shrink();
        if matches!(*ending, Ending::Lost) {
            self.repairs[Repair::Exit as usize] += 1;
        }
    }

    /// A process that has not executed anything yet is what its parent is.
    fn inherit(&mut self, id: ProcessId) {
        let Some(child) = self.entries.get(&id) else { return };
        let Some(parent) = child.parent.and_then(|parent| self.entries.get(&parent)) else { return };
        if child.execs > 0 || !child.image.exe.is_empty() || child.kernel_thread {
            return;
        }
        let (image, cgroup) = (Arc::clone(&parent.image), Arc::clone(&parent.cgroup));
        let (credentials, kernel_thread) = (parent.credentials, parent.kernel_thread);
        let (session, process_group) = (parent.session, parent.process_group);
        let Some(child) = self.entries.get_mut(&id) else { return };
        (child.image, child.cgroup) = (image, cgroup);
        (child.credentials, child.kernel_thread) = (credentials, kernel_thread);
        (child.session, child.process_group) = (session, process_group);
        let seen_ns = child.seen_ns;
        self.regroup(id, seen_ns);
    }
}
