//! Tasks: `struct task_struct` and what hangs on it.

use aya_ebpf::helpers::bpf_get_current_task;
use monitor_common::record::ProcessKey;

use super::read::Object;
use crate::settings::offset;

/// `PF_KTHREAD`: a kernel thread (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;
/// `PF_EXITING`: on its way out.
const PF_EXITING: u32 = 0x4;

/// `PIDTYPE_PGID` and `PIDTYPE_SID` (`enum pid_type`, include/linux/pid_types.h).
const PROCESS_GROUP: u64 = 2;
const SESSION: u64 = 3;

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

/// Session id, as the first pid namespace numbers it.
#[inline(always)]
pub(crate) fn session(task: Object) -> u32 {
    shared_id(task, SESSION)
}

/// Process group id, in the same way.
#[inline(always)]
pub(crate) fn process_group(task: Object) -> u32 {
    shared_id(task, PROCESS_GROUP)
}

/// An id that is kept for all threads together.
#[inline(always)]
fn shared_id(task: Object, kind: u64) -> u32 {
    first_number(task.pointer(offset!(task_signal)).embedded(offset!(signal_pids)).pointer(kind * 8))
}

/// The number of a `struct pid` in the first pid namespace.
#[inline(always)]
pub(crate) fn first_number(pid: Object) -> u32 {
    pid.embedded(offset!(pid_numbers)).field(offset!(upid_nr))
}
