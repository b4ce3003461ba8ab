//! `process`: births and deaths of processes.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    loss::Loss,
    record::{Kind, Ring},
    signals::process::{ExitRecord, ForkRecord},
};

use super::syscalls;
use crate::{
    emit,
    kernel::{read::Object, task},
    settings::{knob, offset},
    slots,
};

/// `SIGNAL_GROUP_EXIT`: the whole process ends with one status (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
#[btf_tracepoint(function = "sched_process_fork")]
fn process_fork(ctx: BtfTracePointContext) -> i32 {
    let (parent, child): (Object, Object) = (Object(ctx.arg(0)), Object(ctx.arg(1)));
    slots::begin_thread(child);
    if task::tid(child) != task::tgid(child) || task::is_kernel_thread(child) {
        return 0;
    }
    let process = task::process(child);
    let slot = slots::of_process(process);
    if let Some(mut record) = emit::reserve::<ForkRecord>(Ring::Telemetry, Loss::ForkRing) {
        record.write(ForkRecord {
            header: emit::header(Ring::Telemetry, Kind::Fork),
            parent: task::process(parent),
            child: process,
            slot: slots::reference(slot),
            comm: task::comm(child),
        });
        record.submit(emit::submission(Ring::Telemetry, size_of::<ForkRecord>()));
    }
    0
}

/// `sched_process_exit(struct task_struct *p, bool group_dead)`: the thread runs this itself. The second argument is
/// there from Linux 6.16.
#[btf_tracepoint(function = "sched_process_exit")]
fn process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Object(ctx.arg(0));
    if let Some(call) = slots::end_thread(task) {
        syscalls::died(u32::from(call.slot), u32::from(call.call));
    }
    let last = if knob!(exit_tells_group) != 0 {
        ctx.arg::<u64>(1) & 0xff != 0
    } else {
        task.pointer(offset!(task_signal)).field::<u32>(offset!(signal_live)) == 0
    };
    if last {
        let leader = task.pointer(offset!(task_group_leader));
        slots::end(task::process(task), status(leader, task.pointer(offset!(task_signal))));
    }
    0
}

/// `sched_process_free(struct task_struct *p)`: the kernel lets go of a thread, after its parent has waited for it.
#[btf_tracepoint(function = "sched_process_free")]
fn process_free(ctx: BtfTracePointContext) -> i32 {
    let task = Object(ctx.arg(0));
    if task::tid(task) != task::tgid(task) {
        return 0;
    }
    let process = task::process(task);
    // Kernel threads have slots, too, once they do I/O.
    let signal = task.pointer(offset!(task_signal));
    let status = status(task, signal);
    let (slot, exited_ns) = slots::forget(process, status);
    if task::is_kernel_thread(task) || u64::from(process.tgid) == knob!(self_tgid) {
        return 0;
    }
    if let Some(mut record) = emit::reserve::<ExitRecord>(Ring::Telemetry, Loss::ExitRing) {
        record.write(ExitRecord {
            header: emit::header(Ring::Telemetry, Kind::Exit),
            process,
            slot,
            comm: task::comm(task),
            status,
            reserved: 0,
            exited_ns,
            runtime_ns: signal.field(offset!(signal_runtime)),
            user_ns: signal.field(offset!(signal_utime)),
            system_ns: signal.field(offset!(signal_stime)),
            minor_faults: signal.field(offset!(signal_min_flt)),
            major_faults: signal.field(offset!(signal_maj_flt)),
            voluntary_switches: signal.field(offset!(signal_nvcsw)),
            involuntary_switches: signal.field(offset!(signal_nivcsw)),
            max_rss_pages: signal.field(offset!(signal_maxrss)),
            read_chars: signal.field(offset!(signal_ioac_rchar)),
            written_chars: signal.field(offset!(signal_ioac_wchar)),
            read_bytes: signal.field(offset!(signal_ioac_read)),
            written_bytes: signal.field(offset!(signal_ioac_write)),
        });
        record.submit(emit::submission(Ring::Telemetry, size_of::<ExitRecord>()));
    }
    0
}

/// Wait status of the process that `leader` led.
#[inline(always)]
fn status(leader: Object, signal: Object) -> u32 {
    if signal.field::<u32>(offset!(signal_flags)) & SIGNAL_GROUP_EXIT != 0 {
        signal.field(offset!(signal_group_exit_code))
    } else {
        leader.field(offset!(task_exit_code))
    }
}
