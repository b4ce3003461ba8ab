//! Process slots and the thread table: from the running thread to its process's counters without a hash look-up.
//! `monitor_common::process_slot` says who gives and takes.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns},
    macros::map,
    maps::{Array, HashMap, Queue},
};
use monitor_common::{
    limits::{self, SLOT_IGNORED, SLOT_OTHER, SLOT_UNKNOWN},
    loss::Loss,
    process_slot::{DEAD, LIVE, ProcessSlot, SlotRef, ThreadEntry},
    record::ProcessKey,
};

use crate::{
    emit::lost,
    kernel::{read::Object, task},
    settings::knob,
    signals::pace,
};

/// `BPF_F_MMAPABLE`: the daemon reads the array without a system call.
pub(crate) const MMAPABLE: u32 = 1 << 10;
const BPF_NOEXIST: u64 = 1;

#[map]
static THREADS: Array<ThreadEntry> = Array::with_max_entries(limits::THREADS, 0);
#[map]
static PROCESS_SLOTS: Array<ProcessSlot> = Array::with_max_entries(limits::PROCESS_SLOTS, MMAPABLE);
/// Process id → slot. Twice the slots: a zombie keeps its entry after the daemon took its slot back.
#[map]
static SLOT_OF: HashMap<u32, u32> = HashMap::with_max_entries(2 * limits::PROCESS_SLOTS, 0);
/// Slots that nobody has. Filled by the daemon.
#[map]
static FREE_SLOTS: Queue<u32> = Queue::with_max_entries(limits::PROCESS_SLOTS, 0);

/// The thread table's entry for `tid`, whoever's it is.
#[inline(always)]
pub(crate) fn thread(tid: u32) -> Option<*mut ThreadEntry> {
    THREADS.get_ptr_mut(tid & (limits::THREADS - 1))
}

/// The slot of the process of the running task, taking one if it has none; `None` for the daemon itself.
#[inline(always)]
pub(crate) fn current() -> Option<SlotRef> {
    let tid = bpf_get_current_pid_tgid() as u32;
    let entry = thread(tid)?;
    // SAFETY: a map value; only the running thread writes an entry that carries its id.
    let slot = unsafe {
        if (*entry).tid == tid && u32::from((*entry).slot) != SLOT_OTHER { (*entry).slot } else { adopt(entry, tid) }
    };
    if slot == SLOT_IGNORED { None } else { Some(reference(u32::from(slot))) }
}

/// Makes `entry` the running thread's, and says its slot. A thread that is on its way out may still do I/O and close
/// connections; it gets what its process has, but leaves no trace that nobody would clear any more.
///
/// # Safety
/// `entry` is `thread(tid)` and `tid` the running thread.
// Not inlined: it is the slow path of two hot programs.
#[inline(never)]
pub(crate) unsafe fn adopt(entry: *mut ThreadEntry, tid: u32) -> u16 {
    let task = task::current();
    let process = task::process(task);
    if u64::from(process.tgid) != knob!(self_tgid) && task::is_exiting(task) {
        return find(process).unwrap_or(SLOT_UNKNOWN) as u16;
    }
    let slot = if u64::from(process.tgid) == knob!(self_tgid) { SLOT_IGNORED } else { of_process(process) as u16 };
    // SAFETY: a map value. Whose entry it was loses the duration of its call in progress.
    unsafe {
        if (*entry).tid != tid {
            if (*entry).entered_ns != 0 {
                lost(Loss::ThreadCollision);
            }
            (*entry).tid = tid;
            (*entry).call = 0;
            (*entry).entered_ns = 0;
        }
        if knob!(pacing) != 0 {
            pace::reset(&raw mut (*entry).pace, tid);
        }
        (*entry).slot = slot;
    }
    slot
}

/// The slot of `process`, taking one if it has none.
#[inline(always)]
pub(crate) fn of_process(process: ProcessKey) -> u32 {
    match find(process) {
        Some(slot) => slot,
        None => take(process),
    }
}

/// The slot of `process`, if it has one.
#[inline(always)]
pub(crate) fn find(process: ProcessKey) -> Option<u32> {
    // SAFETY: a value is never freed to anything but another u32.
    let slot = unsafe { *SLOT_OF.get(process.tgid)? };
    let owner = PROCESS_SLOTS.get(slot)?;
    if owner.tgid == process.tgid && owner.start_ns == process.start_ns {
        return Some(slot);
    }
    // Left by an earlier process with this id, whose end was not seen or whose slot has been given back. But a process
    // may also be looked for when the next one with its id is there already: that one keeps its entry.
    if owner.tgid != process.tgid || owner.start_ns < process.start_ns {
        let _ = SLOT_OF.remove(process.tgid);
    }
    None
}

#[inline(always)]
fn take(process: ProcessKey) -> u32 {
    let Ok(Some(slot)) = FREE_SLOTS.pop() else {
        lost(Loss::Slots);
        return SLOT_OTHER;
    };
    let Some(owner) = PROCESS_SLOTS.get_ptr_mut(slot) else { return SLOT_OTHER };
    // SAFETY: a map value, which is this program's alone until SLOT_OF names it.
    unsafe {
        (*owner).tgid = process.tgid;
        (*owner).start_ns = process.start_ns;
        (*owner).exited_ns = 0;
        (*owner).status = 0;
        (*owner).state = LIVE;
    }
    if SLOT_OF.insert(process.tgid, slot, BPF_NOEXIST).is_ok() {
        return slot;
    }
    // Another thread of the process was faster, or the table is full. Dead, so that the daemon gives the slot back.
    // SAFETY: still this program's alone.
    unsafe {
        (*owner).tgid = 0;
        (*owner).state = DEAD;
    }
    match find(process) {
        Some(slot) => slot,
        None => {
            lost(Loss::Slots);
            SLOT_OTHER
        }
    }
}

/// `slot` with its present generation.
#[inline(always)]
pub(crate) fn reference(slot: u32) -> SlotRef {
    SlotRef { slot, generation: PROCESS_SLOTS.get(slot).map_or(0, |owner| owner.generation) }
}

/// The slot that `reference` names, or [`SLOT_UNKNOWN`] when it has been given back since.
#[inline(always)]
pub(crate) fn checked(reference: SlotRef) -> u32 {
    match PROCESS_SLOTS.get(reference.slot) {
        Some(owner) if owner.generation == reference.generation => reference.slot,
        _ => SLOT_UNKNOWN,
    }
}

/// Marks the slot of a process whose last thread ends, with its wait status.
#[inline(always)]
pub(crate) fn end(process: ProcessKey, status: u32) {
    if let Some(slot) = find(process) {
        release(slot, status);
    }
}

/// Leaves a slot to the daemon, which gives it back.
#[inline(always)]
fn release(slot: u32, status: u32) {
    if let Some(owner) = PROCESS_SLOTS.get_ptr_mut(slot) {
        // SAFETY: a map value; a second writer could only write the same.
        unsafe {
            (*owner).status = status;
            (*owner).exited_ns = bpf_ktime_get_boot_ns();
            (*owner).state = DEAD;
        }
    }
}

/// Clears what a former thread with the number of this new one may have left in the thread table.
#[inline(always)]
pub(crate) fn begin_thread(task: Object) {
    let tid = task::tid(task);
    if let Some(entry) = thread(tid) {
        // SAFETY: a map value; the new thread does not run yet, and the one that had its number is gone.
        unsafe {
            if (*entry).tid == tid {
                (*entry).tid = 0;
                (*entry).entered_ns = 0;
            }
        }
    }
}

/// Forgets a process that the kernel lets go of: its slot, and when its last thread ended (0: not known).
#[inline(always)]
pub(crate) fn forget(process: ProcessKey, status: u32) -> (SlotRef, u64) {
    let Some(slot) = find(process) else { return (SlotRef { slot: SLOT_UNKNOWN, generation: 0 }, 0) };
    let exited = PROCESS_SLOTS.get(slot).map_or(0, |owner| owner.exited_ns);
    let reference = reference(slot);
    let _ = SLOT_OF.remove(process.tgid);
    if exited == 0 {
        // Its last thread's end was not seen.
        release(slot, status);
    }
    (reference, exited)
}

/// Clears the entry of a thread that ends; the call that it was in, if it was in one.
#[inline(always)]
pub(crate) fn end_thread(task: Object) -> Option<ThreadEntry> {
    let tid = task::tid(task);
    let entry = thread(tid)?;
    // SAFETY: a map value; the thread runs this itself, so nobody else writes the entry with its id.
    unsafe {
        if (*entry).tid != tid {
            return None;
        }
        let last = *entry;
        (*entry).tid = 0;
        (*entry).entered_ns = 0;
        (last.entered_ns != 0 && last.slot != SLOT_IGNORED).then_some(last)
    }
}
