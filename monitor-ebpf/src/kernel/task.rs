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
