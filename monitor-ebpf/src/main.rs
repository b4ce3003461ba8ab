//! The kernel programs, one object. Each file in `signals/` is one slice; each hook is attached once and calls into the
//! slices that need it, because the hook itself is most of the cost.
//!
//! What holds everywhere: work per event is bounded and constant; what is frequent is added up in maps; what is rare
//! goes through a ring; whatever cannot be delivered is counted ([`emit::lost`]).
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "BPF has no fetch_add in core::sync: the intrinsic is its atomic add")]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a key or value handed over by value takes its size of the 512 bytes of stack"
)]

mod atomic;
mod emit;
mod hash;
mod kernel;
mod settings;
mod signals;
mod slots;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: nothing here panics, and the verifier refuses a program that could get to an endless loop.
    loop {}
}

/// The helpers that read kernel memory are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
