//! Tasks: `struct task_struct` and what hangs on it.

use aya_ebpf::helpers::bpf_get_current_task;
use monitor_common::record::ProcessKey;

use super::read::Object;
use crate::settings::offset;

/// `PF_KTHREAD`: a kernel thread (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;
/// `PF_EXITING`: on its way out.
const PF_EXITING: u32 = 0x4;

/// The task that runs.
#[inline(always)]
pub(crate) fn current() -> Object {
    // SAFETY: a helper without arguments.
    Object(unsafe { bpf_get_current_task() })
}

/// Thread id.
#[inline(always)]
pub(crate) fn tid(task: Object) -> u32 {
    task.field(offset!(task_pid))
}

/// Process id.
#[inline(always)]
pub(crate) fn tgid(task: Object) -> u32 {
    task.field(offset!(task_tgid))
}

/// A kernel thread?
#[inline(always)]
pub(crate) fn is_kernel_thread(task: Object) -> bool {
    task.field::<u32>(offset!(task_flags)) & PF_KTHREAD != 0
}

/// On its way out?
#[inline(always)]
pub(crate) fn is_exiting(task: Object) -> bool {
    task.field::<u32>(offset!(task_flags)) & PF_EXITING != 0
}

/// `comm`.
#[inline(always)]
pub(crate) fn comm(task: Object) -> [u8; 16] {
    task.field(offset!(task_comm))
}

/// The process that `task` is a thread of.
#[inline(always)]
pub(crate) fn process(task: Object) -> ProcessKey {
    let leader = task.pointer(offset!(task_group_leader));
    ProcessKey { start_ns: leader.field(offset!(task_start_boottime)), tgid: tgid(task), reserved: 0 }
}

/// The parent of `task`'s process.
#[inline(always)]
pub(crate) fn parent(task: Object) -> ProcessKey {
    process(task.pointer(offset!(task_real_parent)))
}

/// cgroup id on the v2 hierarchy, and the address of the set of all hierarchies' groups.
#[inline(always)]
pub(crate) fn cgroup(task: Object) -> (u64, u64) {
    let set = task.pointer(offset!(task_cgroups));
    let node = set.pointer(offset!(css_set_dfl_cgrp)).pointer(offset!(cgroup_kn));
    (node.field(offset!(kernfs_node_id)), set.0)
}

/// Name of the controlling terminal, such as `pts/0`; empty: none.
#[inline(always)]
pub(crate) fn tty(task: Object) -> [u8; 16] {
    let tty = task.pointer(offset!(task_signal)).pointer(offset!(signal_tty));
    tty.field(offset!(tty_name))
}
