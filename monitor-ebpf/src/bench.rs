//! The limits that `cargo xtask bench` compares with: a program that does nothing, which is what any observer costs at
//! least, and one that only asks who runs and what time it is, which is what anybody costs who times calls by thread.
//! Each is attached to whatever hooks a comparison is about. An object of its own; the daemon does not carry it.
#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_ktime_get_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};

// The hooks in the attributes are examples: who loads a program names the hook.

#[btf_tracepoint(function = "sys_enter")]
fn empty(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sys_enter")]
fn clock(_: BtfTracePointContext) -> i32 {
    // The answers are not used, but a call of the kernel is never left out.
    // SAFETY: helpers without arguments.
    unsafe {
        bpf_get_current_task_btf();
        bpf_ktime_get_ns();
    }
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
