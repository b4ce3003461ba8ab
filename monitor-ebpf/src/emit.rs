//! The rings, and the account of what did not fit.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::map,
    maps::{Array, PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use monitor_common::{
    limits,
    loss::{LOSSES, Loss},
    record::{ABI_VERSION, Header, Kind, Ring},
};

use crate::settings::knob;

#[map]
static SECURITY: RingBuf = RingBuf::with_byte_size(limits::SECURITY_RING, 0);
#[map]
static TELEMETRY: RingBuf = RingBuf::with_byte_size(limits::TELEMETRY_RING, 0);
#[map]
static BULK: RingBuf = RingBuf::with_byte_size(limits::BULK_RING, 0);
#[map]
static REQUESTS: RingBuf = RingBuf::with_byte_size(limits::REQUESTS_RING, 0);
/// When the daemon was last woken for a record of the security ring (`CLOCK_BOOTTIME`, nanoseconds).
#[map]
static LAST_WAKE: Array<u64> = Array::with_max_entries(1, 0);
/// Records that each CPU meant to write, by ring.
#[map]
static SEQUENCES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Ring::ALL.len() as u32, 0);
/// What each CPU lost, by cause.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSSES, 0);

/// Counts one loss.
#[inline(always)]
pub(crate) fn lost(loss: Loss) {
    if let Some(counter) = LOST.get_ptr_mut(loss as u32) {
        // SAFETY: this CPU's own entry. Atomic, because an interrupt on this CPU may count too.
        unsafe { crate::atomic::add(counter, 1) };
    }
}

/// Takes the next number, for a record that is about to be written. Before there is room: a record that finds the ring
/// full leaves a gap.
#[inline(always)]
pub(crate) fn number(ring: Ring) {
    if let Some(sequence) = SEQUENCES.get_ptr_mut(ring as u32) {
        // SAFETY: this CPU's own entry.
        unsafe { crate::atomic::add(sequence, 1) };
    }
}

/// Room for one record, or the loss counted.
#[inline(always)]
pub(crate) fn reserve<T: 'static>(ring: Ring, loss: Loss) -> Option<RingBufEntry<T>> {
    const { assert!(align_of::<T>() <= 8, "the ring aligns to 8 bytes") };
    number(ring);
    let entry = match ring {
        Ring::Security => SECURITY.reserve::<T>(0),
        Ring::Telemetry => TELEMETRY.reserve::<T>(0),
        Ring::Bulk => BULK.reserve::<T>(0),
        Ring::Requests => REQUESTS.reserve::<T>(0),
    };
    if entry.is_none() {
        lost(loss);
    }
    entry
}

/// Copies a record that has been put together elsewhere, as long as it is; or the loss counted.
#[inline(always)]
pub(crate) fn output(ring: Ring, loss: Loss, record: &[u8]) {
    let flags = wakeup(ring, record.len(), true);
    let result = match ring {
        Ring::Security => SECURITY.output::<[u8]>(record, flags),
        Ring::Telemetry => TELEMETRY.output::<[u8]>(record, flags),
        Ring::Bulk => BULK.output::<[u8]>(record, flags),
        Ring::Requests => REQUESTS.output::<[u8]>(record, flags),
    };
    if result.is_err() {
        lost(loss);
    }
}

/// The header of a record that has its number.
#[inline(always)]
pub(crate) fn header(ring: Ring, kind: Kind) -> Header {
    let sequence = SEQUENCES.get(ring as u32).copied().unwrap_or(0);
    Header {
        kind: kind as u16,
        // SAFETY: a helper without arguments.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        abi: ABI_VERSION,
        sequence,
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_boot_ns() },
    }
}

/// Flags to submit a record of `size` bytes with, whose room has been reserved.
#[inline(always)]
pub(crate) fn submission(ring: Ring, size: usize) -> u64 {
    wakeup(ring, size, false)
}

/// Flags for a record of `size` bytes, which is in the ring already or not yet. The daemon looks every few milliseconds
/// by itself, and waking it costs more than all else an event costs (3 to 4 µs on a virtual machine): it is woken by the
/// record that makes the backlog cross the mark, and for what rules may alert of, but then not again for a while.
#[inline(always)]
fn wakeup(ring: Ring, size: usize, not_yet: bool) -> u64 {
    let (waiting, mark) = match ring {
        Ring::Security => (SECURITY.query(u64::from(BPF_RB_AVAIL_DATA)), knob!(security_wake)),
        Ring::Telemetry => (TELEMETRY.query(u64::from(BPF_RB_AVAIL_DATA)), knob!(telemetry_wake)),
        Ring::Bulk => (BULK.query(u64::from(BPF_RB_AVAIL_DATA)), knob!(bulk_wake)),
        Ring::Requests => (REQUESTS.query(u64::from(BPF_RB_AVAIL_DATA)), knob!(requests_wake)),
    };
    // With its length in front of it and rounded up.
    let size = (size as u64 + 15) & !7;
    let waiting = if not_yet { waiting + size } else { waiting };
    let crossed = waiting >= mark && waiting < mark + size;
    let wake = crossed || matches!(ring, Ring::Security) && rested();
    u64::from(if wake { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

/// Has the daemon not been woken for a while? Then it is now. Two CPUs that ask at the same moment may both wake it.
#[inline(always)]
fn rested() -> bool {
    let Some(last) = LAST_WAKE.get_ptr_mut(0) else { return false };
    // SAFETY: a helper without arguments, and a map value: other CPUs write it too, each time a whole word.
    unsafe {
        let now = bpf_ktime_get_boot_ns();
        let rested = now.wrapping_sub(ptr::read_volatile(last)) >= limits::WAKE_INTERVAL_NS;
        if rested {
            ptr::write_volatile(last, now);
        }
        rested
    }
}
