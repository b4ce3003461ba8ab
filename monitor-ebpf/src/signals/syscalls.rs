//! `syscalls`: count, duration and errors of every system call, per process and family, added up here.
//!
//! One pair of programs for the whole daemon: what other signals need to know of a call (`accept`), they are called
//! with. A call is timed in its thread's entry of the thread table. Which program sits on `sys_enter` decides how much is
//! timed: `sys_enter` every call, `sys_enter_adaptive` some ([`pace`]), none of them no call; `sys_exit` counts them all.
//! The corners:
//! - exec by a thread that is not the leader changes its thread id in mid-call: `sched_process_exec` moves the entry;
//! - a thread that dies in mid-call is counted without a duration by `sched_process_exit`;
//! - a child returns from fork without having entered: `CALL_FORKS`;
//! - calls in progress when the daemon comes are counted without a duration.

use core::ptr;

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_get_smp_processor_id,
        generated::{bpf_jiffies64, bpf_ktime_get_ns},
    },
    macros::{btf_tracepoint, map},
    maps::{Array, HashMap},
    programs::BtfTracePointContext,
};
use monitor_common::{
    histogram::{LATENCY_BUCKETS, latency_bucket},
    knobs::{SIGNAL_ACTIVITY, SIGNAL_SYSCALLS, SIGNAL_TCP},
    limits::{self, SLOT_IGNORED, SLOT_OTHER},
    loss::Loss,
    signals::syscalls::{
        CALL_ACCEPTS, CALL_ACTIVITY, CALL_BITS, CALL_FAMILY, CALL_FORKS, CALL_NO_ERRNO, ENTERED_SKIPPED, ErrorKey,
        Family, FamilyStats, SyscallStats, call_index,
    },
};

use super::{activity, pace, tcp};
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
/// The same, in one of sixteen ticks of a few milliseconds.
const TICK_MASK: u64 = 15;
/// What the registers tell instead of a number once `rt_sigreturn` has restored them.
const NO_CALL: u32 = u32::MAX;

/// Index: `shard * slots + slot`. The daemon sets the size.
#[map]
static SYSCALL_STATS: Array<SyscallStats> = Array::with_max_entries(limits::PROCESS_SLOTS, MMAPABLE);
#[map]
static SYSCALL_ERRORS: HashMap<ErrorKey, u64> = HashMap::with_max_entries(limits::SYSCALL_ERRORS, 0);

/// The running thread.
#[derive(Clone, Copy)]
struct Caller(*const u8);

impl Caller {
    /// Asks the kernel once: a helper costs more than a load.
    #[inline(always)]
    fn new() -> Self {
        if knob!(has_current_task_btf) != 0 {
            // SAFETY: a helper without arguments; what it returns may be read directly, says the verifier.
            Self(unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const())
        } else {
            Self(ptr::null())
        }
    }

    /// Its thread id.
    #[inline(always)]
    fn tid(self) -> u32 {
        if knob!(has_current_task_btf) != 0 {
            // SAFETY: as above.
            unsafe { read::direct(self.0, offset!(task_pid)) }
        } else {
            bpf_get_current_pid_tgid() as u32
        }
    }

    /// Does it call as a 32-bit program does? Its status word is read only where there are any.
    #[inline(always)]
    fn is_compat(self) -> bool {
        let mask = knob!(compat_mask);
        if mask == 0 {
            return false;
        }
        let status: u32 = if knob!(has_current_task_btf) != 0 {
            // SAFETY: as above.
            unsafe { read::direct(self.0, offset!(task_compat)) }
        } else {
            task::current().field(offset!(task_compat))
        };
        u64::from(status) & mask != 0
    }
}

/// `sys_enter(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    let number: u64 = ctx.arg(1);
    let caller = Caller::new();
    let tid = caller.tid();
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
                (*entry).call = call_index(number, caller.is_compat()) as u16;
                (*entry).entered_ns = now;
            }
        }
    }
    0
}

/// `sys_enter(struct pt_regs *regs, long id)`, where not every call is timed.
#[btf_tracepoint(function = "sys_enter")]
fn sys_enter_adaptive(ctx: BtfTracePointContext) -> i32 {
    let number: u64 = ctx.arg(1);
    let caller = Caller::new();
    let tid = caller.tid();
    let Some(entry) = slots::thread(tid) else { return 0 };
    // SAFETY: a map value; an entry that carries this thread's id is written by this thread only.
    unsafe {
        // A helper that is a load, unlike the clock.
        let ticks = bpf_jiffies64();
        if (*entry).tid != tid || u32::from((*entry).slot) == SLOT_OTHER && ticks & TICK_MASK == 0 {
            slots::adopt(entry, tid);
        }
        if (*entry).slot == SLOT_IGNORED {
            return 0;
        }
        let call = call_index(number, caller.is_compat());
        let family = call_flags(call) & CALL_FAMILY;
        match pace::next(&raw mut (*entry).pace, family, ticks) {
            Some(others) => {
                (*entry).call = (call | others << CALL_BITS) as u16;
                (*entry).entered_ns = bpf_ktime_get_ns();
            }
            None => {
                (*entry).call = call as u16;
                (*entry).entered_ns = ENTERED_SKIPPED;
            }
        }
    }
    0
}

/// `sys_exit(struct pt_regs *regs, long ret)`
#[btf_tracepoint(function = "sys_exit")]
fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let ended = if knob!(signals) & SIGNAL_SYSCALLS == 0 { uncounted(&ctx) } else { counted(&ctx) };
    if knob!(signals) & SIGNAL_ACTIVITY != 0 && ended.flags & CALL_ACTIVITY != 0 {
        if ended.own {
            activity::heartbeat(&ctx, ended.call);
        } else {
            activity::dispatch(&ctx, ended.call);
        }
    }
    0
}

/// A call that has ended, and what the call table says of it; all zero when nobody wants to know more of it.
#[derive(Clone, Copy)]
struct Ended {
    call: u32,
    flags: u8,
    /// The daemon itself called: nobody wants to know more of it, but for its heartbeat.
    own: bool,
}

impl Ended {
    const IGNORED: Self = Self { call: 0, flags: 0, own: false };

    /// Another process's.
    #[inline(always)]
    const fn of(call: u32, flags: u8) -> Self {
        Self { call, flags, own: false }
    }

    /// The daemon's own, which is not counted.
    #[inline(always)]
    fn own(number: u32, compat: bool) -> Self {
        let call = call_index(u64::from(number), compat);
        Self { call, flags: call_flags(call), own: true }
    }
}

/// In what [`unentered`] returns: [`Ended::own`].
const OWN: u32 = 1 << 31;

/// Counts the call that ends.
#[inline(always)]
fn counted(ctx: &BtfTracePointContext) -> Ended {
    let result: i64 = ctx.arg(1);
    let caller = Caller::new();
    let tid = caller.tid();
    let Some(entry) = slots::thread(tid) else { return Ended::IGNORED };
    // SAFETY: a map value; an entry that carries this thread's id is written by this thread only.
    unsafe {
        let (slot, call, entered) = (u32::from((*entry).slot), u32::from((*entry).call), (*entry).entered_ns);
        if (*entry).tid == tid && entered != 0 {
            (*entry).entered_ns = 0;
            let flags = call_flags(call);
            if let Some(family) = stats(slot, flags) {
                if knob!(pacing) != 0 && entered == ENTERED_SKIPPED {
                    add32(&raw mut (*family).skipped, 1);
                } else {
                    timed(family, bpf_ktime_get_ns() - entered, if knob!(pacing) != 0 { call >> CALL_BITS } else { 0 });
                }
            }
            finish(slot, flags, result);
            Ended::of(call, flags)
        } else if (*entry).tid != tid || slot == SLOT_OTHER {
            let regs: u64 = ctx.arg(0);
            let both = unentered(regs, result);
            Ended { call: (both & !OWN) >> 8, flags: both as u8, own: both & OWN != 0 }
        } else if slot != u32::from(SLOT_IGNORED) {
            // No program on sys_enter, or a call that is older than it.
            let number = read::direct::<u32>(ctx.arg(0), offset!(regs_orig_ax));
            returned(slot, number, caller.is_compat(), result)
        } else {
            Ended::own(read::direct::<u32>(ctx.arg(0), offset!(regs_orig_ax)), caller.is_compat())
        }
    }
}

/// Counts a call that took `duration` nanoseconds and stands for `others` besides itself.
///
/// # Safety
/// `family` is a map value.
#[inline(always)]
unsafe fn timed(family: *mut FamilyStats, duration: u64, others: u32) {
    // SAFETY: the caller vouches for the pointer. The mask reaches one past the buckets, `latency_bucket` never does.
    unsafe {
        let bucket = (&raw mut (*family).buckets).cast::<u32>().add(latency_bucket(duration) & 15);
        if others == 0 {
            add(&raw mut (*family).sum_ns, duration);
            add32(bucket, 1);
        } else {
            add(&raw mut (*family).sum_ns, duration * u64::from(1 + others));
            add32(&raw mut (*family).skipped, others.wrapping_neg());
            add32(bucket, 1 + others);
        }
    }
}

/// What is left to do when system calls are not counted.
#[inline(always)]
fn uncounted(ctx: &BtfTracePointContext) -> Ended {
    let (regs, result): (u64, i64) = (ctx.arg(0), ctx.arg(1));
    if result < 0 && knob!(signals) & SIGNAL_ACTIVITY == 0 {
        return Ended::IGNORED;
    }
    let number = read::Object(regs).field::<u32>(offset!(regs_orig_ax));
    let call = call_index(u64::from(number), Caller::new().is_compat());
    let flags = call_flags(call);
    if flags & CALL_ACCEPTS != 0
        && result >= 0
        && let Some(owner) = slots::current()
    {
        tcp::accepted(owner, result as u32);
    }
    // Here the thread table does not tell the daemon's own calls.
    Ended { call, flags, own: flags & CALL_ACTIVITY != 0 && bpf_get_current_pid_tgid() >> 32 == knob!(self_tgid) }
}

/// A call of a thread that has no slot yet, or whose entry was pushed out. Returns an [`Ended`]: the flags in the lowest
/// byte, the call above, [`OWN`].
#[inline(never)]
fn unentered(regs: u64, result: i64) -> u32 {
    let caller = Caller::new();
    let tid = caller.tid();
    let number = read::Object(regs).field::<u32>(offset!(regs_orig_ax));
    let Some(entry) = slots::thread(tid) else { return 0 };
    // SAFETY: a map value, and `tid` is the running thread.
    let slot = unsafe { slots::adopt(entry, tid) };
    if slot == SLOT_IGNORED {
        let ended = Ended::own(number, caller.is_compat());
        return OWN | ended.call << 8 | u32::from(ended.flags);
    }
    let ended = returned(u32::from(slot), number, caller.is_compat(), result);
    ended.call << 8 | u32::from(ended.flags)
}

/// Counts a call whose beginning was not seen: without a duration.
#[inline(always)]
fn returned(slot: u32, number: u32, compat: bool, result: i64) -> Ended {
    let call = call_index(u64::from(number), compat);
    let flags = if number == NO_CALL { Family::Process as u8 | CALL_NO_ERRNO } else { call_flags(call) };
    // A child comes out of a call that it did not go into.
    if flags & CALL_FORKS == 0 || result != 0 {
        untimed(slot, flags);
        finish(slot, flags, result);
        Ended::of(call, flags)
    } else {
        Ended::IGNORED
    }
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
                if knob!(pacing) != 0 {
                    pace::reset(&raw mut (*new).pace, to);
                }
                (*new).tid = to;
            }
        }
    }
}

#[inline(always)]
fn untimed(slot: u32, flags: u8) {
    if let Some(family) = stats(slot, flags) {
        // SAFETY: a map value.
        unsafe { add32(&raw mut (*family).untimed, 1) };
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

/// The same for a counter of 32 bits, which wraps.
#[inline(always)]
unsafe fn add32(counter: *mut u32, value: u32) {
    if knob!(atomic_shards) != 0 {
        // SAFETY: as above.
        unsafe { atomic::add32(counter, value) };
    } else {
        // SAFETY: as above.
        unsafe { *counter = (*counter).wrapping_add(value) };
    }
}

// The mask in `timed` reaches one past the buckets, which is `untimed`; `latency_bucket` never does.
const _: () = assert!(LATENCY_BUCKETS == 15);
