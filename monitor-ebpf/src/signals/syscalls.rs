//! `syscalls`: count, duration and errors of every system call, per process and family, added up here.
//!
//! One pair of programs for the whole daemon: what other signals need to know of a call (`accept`), they are called
//! with. A call is timed in its thread's entry of the thread table. The corners:
//! - exec by a thread that is not the leader changes its thread id in mid-call: `sched_process_exec` moves the entry;
//! - a thread that dies in mid-call is counted without a duration by `sched_process_exit`;
//! - a child returns from fork without having entered: `CALL_FORKS`;
//! - calls in progress when the daemon comes are counted without a duration.

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_get_smp_processor_id, generated::bpf_ktime_get_ns,
    },
    macros::{btf_tracepoint, map},
    maps::{Array, HashMap},
    programs::BtfTracePointContext,
};
use monitor_common::{
    histogram::{LATENCY_BUCKETS, latency_bucket},
    knobs::{SIGNAL_SYSCALLS, SIGNAL_TCP},
    limits::{self, SLOT_IGNORED, SLOT_OTHER},
    loss::Loss,
    signals::syscalls::{
        CALL_ACCEPTS, CALL_FAMILY, CALL_FORKS, CALL_NO_ERRNO, ErrorKey, FamilyStats, SyscallStats, call_index,
    },
};

use super::tcp;
use crate::{
    atomic,
    emit::lost,
    kernel::{read, task},
    settings::{call_flags, knob, offset},
    slots::{self, MMAPABLE},
};

/// Largest errno (`MAX_ERRNO`, include/linux/err.h).
const MAX_ERRNO: i64 = 4095;
const BPF_NOEXIST: u64 = 1;
/// A thread of a process that found no slot asks again only in one of 64 spans of a millisecond (2^20 ns): the queue of
/// free slots is one for all CPUs.
const RETRY_SHIFT: u32 = 20;
const RETRY_MASK: u64 = 63;

/// Index: `shard * slots + slot`. The daemon sets the size.
#[map]
static SYSCALL_STATS: Array<SyscallStats> = Array::with_max_entries(limits::PROCESS_SLOTS, MMAPABLE);
#[map]
static SYSCALL_ERRORS: HashMap<ErrorKey, u64> = HashMap::with_max_entries(limits::SYSCALL_ERRORS, 0);

/// The running thread, and whether it calls as a 32-bit program does.
#[inline(always)]
fn caller() -> (u32, bool) {
    if knob!(has_current_task_btf) != 0 {
        // SAFETY: a helper without arguments; what it returns may be read directly, says the verifier.
        unsafe {
            let task = bpf_get_current_task_btf().cast::<u8>().cast_const();
            (read::direct::<u32>(task, offset!(task_pid)), is_compat(|| read::direct(task, offset!(task_compat))))
        }
    } else {
        (bpf_get_current_pid_tgid() as u32, is_compat(|| task::current().field(offset!(task_compat))))
    }
}

/// The running thread alone: one load less, and nothing to keep.
#[inline(always)]
fn running_thread() -> u32 {
    if knob!(has_current_task_btf) != 0 {
        // SAFETY: as above.
        unsafe { read::direct(bpf_get_current_task_btf().cast::<u8>().cast_const(), offset!(task_pid)) }
    } else {
        bpf_get_current_pid_tgid() as u32
    }
}

/// Does the status word of a thread mark a 32-bit call? Read only where there are any.
#[inline(always)]
fn is_compat(status: impl FnOnce() -> u32) -> bool {
    let mask = knob!(compat_mask);
    mask != 0 && u64::from(status()) & mask != 0
}

/// `sys_enter(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    let number: u64 = ctx.arg(1);
    let (tid, compat) = caller();
    if let Some(entry) = slots::thread(tid) {
        // SAFETY: a map value; an entry that carries this thread's id is written by this thread only.
        unsafe {
            if (*entry).tid != tid {
                slots::adopt(entry, tid);
            }
            if (*entry).slot != SLOT_IGNORED {
                let now = bpf_ktime_get_ns();
                if u32::from((*entry).slot) == SLOT_OTHER && now >> RETRY_SHIFT & RETRY_MASK == 0 {
                    slots::adopt(entry, tid);
                }
                (*entry).call = call_index(number, compat) as u16;
                (*entry).entered_ns = now;
            }
        }
    }
    0
}

/// `sys_exit(struct pt_regs *regs, long ret)`
#[btf_tracepoint(function = "sys_exit")]
fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let result: i64 = ctx.arg(1);
    if knob!(signals) & SIGNAL_SYSCALLS == 0 {
        only_accept(ctx.arg(0), result);
        return 0;
    }
    let tid = running_thread();
    let Some(entry) = slots::thread(tid) else { return 0 };
    // SAFETY: a map value; an entry that carries this thread's id is written by this thread only.
    unsafe {
        if (*entry).tid == tid && (*entry).entered_ns != 0 {
            let duration = bpf_ktime_get_ns() - (*entry).entered_ns;
            (*entry).entered_ns = 0;
            let flags = call_flags(u32::from((*entry).call));
            let slot = u32::from((*entry).slot);
            if let Some(family) = stats(slot, flags) {
                add(&raw mut (*family).sum_ns, duration);
                add32((&raw mut (*family).buckets).cast::<u32>().add(latency_bucket(duration) & 15));
            }
            finish(slot, flags, result);
        } else if (*entry).tid != tid || (*entry).slot != SLOT_IGNORED {
            let regs: u64 = ctx.arg(0);
            unentered(regs, result);
        }
    }
    0
}

/// What is left to do when system calls are not counted.
#[inline(always)]
fn only_accept(regs: u64, result: i64) {
    if result < 0 {
        return;
    }
    let (_, compat) = caller();
    let number = read::Object(regs).field::<u32>(offset!(regs_orig_ax));
    if call_flags(call_index(u64::from(number), compat)) & CALL_ACCEPTS == 0 {
        return;
    }
    if let Some(owner) = slots::current() {
        tcp::accepted(owner, result as u32);
    }
}

/// A call whose entry was not seen, or was pushed out: counted, without a duration.
#[inline(never)]
fn unentered(regs: u64, result: i64) {
    let (tid, compat) = caller();
    let number = read::Object(regs).field::<u32>(offset!(regs_orig_ax));
    let flags = call_flags(call_index(u64::from(number), compat));
    if flags & CALL_FORKS != 0 && result == 0 {
        return;
    }
    let Some(entry) = slots::thread(tid) else { return };
    // SAFETY: a map value, and `tid` is the running thread.
    let slot = unsafe { slots::adopt(entry, tid) };
    if slot == SLOT_IGNORED {
        return;
    }
    untimed(u32::from(slot), flags);
    finish(u32::from(slot), flags, result);
}

/// Counts a call that ended with its thread. Called by `sched_process_exit`.
#[inline(always)]
pub(super) fn died(slot: u32, call: u32) {
    untimed(slot, call_flags(call));
}

/// Moves the call in progress of the running thread from its former thread id to the present one. Called by
/// `sched_process_exec`.
#[inline(always)]
pub(super) fn renumbered(from: u32, to: u32) {
    if let (Some(old), Some(new)) = (slots::thread(from), slots::thread(to)) {
        // SAFETY: map values. The thread that had number `to` is gone, the one that had `from` runs this.
        unsafe {
            if (*old).tid == from {
                let entry = *old;
                (*old).tid = 0;
                (*old).entered_ns = 0;
                (*new).slot = entry.slot;
                (*new).call = entry.call;
                (*new).entered_ns = entry.entered_ns;
                (*new).tid = to;
            }
        }
    }
}

#[inline(always)]
fn untimed(slot: u32, flags: u8) {
    if let Some(family) = stats(slot, flags) {
        // SAFETY: a map value.
        unsafe { add32(&raw mut (*family).untimed) };
    }
}

/// The counters of `slot` for the family that `flags` tell, in this CPU's shard.
#[inline(always)]
fn stats(slot: u32, flags: u8) -> Option<*mut FamilyStats> {
    // SAFETY: a helper without arguments.
    let shard = unsafe { bpf_get_smp_processor_id() } & knob!(shard_mask) as u32;
    let stats = SYSCALL_STATS.get_ptr_mut(shard * knob!(slots) as u32 + slot)?;
    // SAFETY: a family has four bits and the array sixteen entries.
    Some(unsafe { (&raw mut (*stats).families).cast::<FamilyStats>().add((flags & CALL_FAMILY) as usize) })
}

/// What follows from a call's result.
#[inline(always)]
fn finish(slot: u32, flags: u8, result: i64) {
    if (-MAX_ERRNO..0).contains(&result) && flags & CALL_NO_ERRNO == 0 {
        failed(slot, u32::from(flags & CALL_FAMILY), -result as u32);
    }
    if flags & CALL_ACCEPTS != 0 && result >= 0 && knob!(signals) & SIGNAL_TCP != 0 {
        tcp::accepted(slots::reference(slot), result as u32);
    }
}

#[inline(never)]
fn failed(slot: u32, family: u32, errno: u32) {
    count(&SYSCALL_ERRORS, ErrorKey { process: slots::reference(slot), family, errno }, Loss::SyscallErrors);
}

/// Adds one to the counter of `key`, making it if there is room.
#[inline(always)]
pub(super) fn count<K>(map: &HashMap<K, u64>, key: K, loss: Loss) {
    for _ in 0..2 {
        if let Some(counter) = map.get_ptr_mut(&key) {
            // SAFETY: a map value.
            unsafe { atomic::add(counter, 1) };
            return;
        }
        if map.insert(&key, 1, BPF_NOEXIST).is_ok() {
            return;
        }
        // Another CPU made it in between, or the table is full: the second look tells.
    }
    lost(loss);
}

/// Adds to a sharded counter: atomically only where two CPUs share a shard.
#[inline(always)]
unsafe fn add(counter: *mut u64, value: u64) {
    if knob!(atomic_shards) != 0 {
        // SAFETY: the caller vouches for the pointer.
        unsafe { atomic::add(counter, value) };
    } else {
        // SAFETY: as above; the programs of this pair never run in an interrupt, and either with preemption off or (Linux
        // 7) alone: a CPU does not start a program again that was preempted there. So nobody else writes this CPU's
        // shard in between; the end of a thread might, but seldom the same counter.
        unsafe { *counter += value };
    }
}

/// The same for a counter that goes up by one.
#[inline(always)]
unsafe fn add32(counter: *mut u32) {
    if knob!(atomic_shards) != 0 {
        // SAFETY: as above.
        unsafe { atomic::add32(counter, 1) };
    } else {
        // SAFETY: as above.
        unsafe { *counter = (*counter).wrapping_add(1) };
    }
}

// The mask in `sys_exit` reaches one past the buckets, which is `untimed`; `latency_bucket` never does.
const _: () = assert!(LATENCY_BUCKETS == 15);
