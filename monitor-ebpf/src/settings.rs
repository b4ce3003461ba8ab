//! What the daemon fills in before it loads the object: settings and the running kernel's offsets.
//!
//! They are frozen read-only data, so the verifier sees constants, prunes branches that are off, and accepts a direct
//! load at such an offset like one written in code.

use core::ptr;

use monitor_common::{
    knobs::Knobs,
    offsets::Offsets,
    signals::{
        activity::Entry,
        syscalls::{CALLS, FamilyStats},
    },
};

/// Settings.
#[unsafe(no_mangle)]
pub(crate) static KNOBS: Knobs = Knobs {
    self_tgid: 0,
    shard_mask: 0,
    slots: 0,
    atomic_shards: 0,
    has_current_task_btf: 0,
    compat_mask: 0,
    traffic_by_call: 0,
    exit_tells_group: 0,
    block_io_start: 0,
    block_request_argument: 0,
    block_errors_are_errno: 0,
    security_wake: 0,
    telemetry_wake: 0,
    bulk_wake: 0,
    requests_wake: 0,
    receive_arguments: 0,
    l7_quota: 0,
    l7_window_shift: 0,
    ring_request_argument: 0,
    signals: 0,
    pacing: 0,
    pace_shift: 0,
};

/// Offsets of kernel fields.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::MISSING;

/// What each system call is: see `monitor_common::signals::syscalls::call_index`.
#[unsafe(no_mangle)]
static CALL_TABLE: [u8; CALLS] = [0; CALLS];

/// What those of them may be that rules want to know of, by the same index.
#[unsafe(no_mangle)]
static ACTIVITY_TABLE: [Entry; CALLS] = [Entry { act: 0, class: 0, name: 0, other: 0 }; CALLS];

/// How each system call names the memory that it moves: `monitor_common::signals::l7::Shape`, by the same index.
#[unsafe(no_mangle)]
static L7_TABLE: [u8; CALLS] = [0; CALLS];

/// The value at run time, which is not the one in this file: hence volatile.
#[inline(always)]
pub(crate) fn load(value: &u64) -> u64 {
    // SAFETY: a reference can be read.
    unsafe { ptr::read_volatile(value) }
}

/// A setting, by field name.
macro_rules! knob {
    ($field:ident) => {
        $crate::settings::load(&$crate::settings::KNOBS.$field)
    };
}

/// The offset of a kernel field, by its name in the table; `MISSING` when this kernel has none.
macro_rules! offset {
    ($field:ident) => {
        $crate::settings::load(&$crate::settings::OFFSETS.$field)
    };
}

pub(crate) use {knob, offset};

/// Entry of the call table. The mask shows the verifier that the index is inside.
#[inline(always)]
pub(crate) fn call_flags(index: u32) -> u8 {
    // SAFETY: the table has `CALLS` entries, a power of two, and the index is masked to it.
    unsafe { ptr::read_volatile((&raw const CALL_TABLE).cast::<u8>().add(index as usize & (CALLS - 1))) }
}

/// Entry of the activity table, in the same way.
#[inline(always)]
pub(crate) fn activity_entry(index: u32) -> Entry {
    // SAFETY: as above.
    unsafe { ptr::read_volatile((&raw const ACTIVITY_TABLE).cast::<Entry>().add(index as usize & (CALLS - 1))) }
}

/// Entry of the table of shapes, in the same way.
#[inline(always)]
pub(crate) fn call_shape(index: u32) -> u8 {
    // SAFETY: as above.
    unsafe { ptr::read_volatile((&raw const L7_TABLE).cast::<u8>().add(index as usize & (CALLS - 1))) }
}

const _: () = assert!(CALLS.is_power_of_two());
const _: () = assert!(size_of::<FamilyStats>() == 80);
