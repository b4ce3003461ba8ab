//! Atomic addition, the one read-modify-write that every kernel's BPF has.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Adds `value` to the 64-bit counter.
///
/// # Safety
/// `counter` points into a map value.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, value: u64) {
    // SAFETY: the caller vouches for the pointer. The result is not used, so that the compiler emits the old form of the
    // instruction, which kernels before 5.12 know too.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Adds `value` to the 32-bit counter, which wraps.
///
/// # Safety
/// `counter` points into a map value.
#[inline(always)]
pub(crate) unsafe fn add32(counter: *mut u32, value: u32) {
    // SAFETY: as above.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, value) };
}
