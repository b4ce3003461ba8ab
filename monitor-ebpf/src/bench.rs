//! The limits that `cargo xtask bench` compares with, on the hooks of every system call: two programs that do nothing,
//! which is what any observer costs at least, and two that only ask who runs and what time it is, which is what anybody
//! costs who times calls by thread. An object of its own; the daemon does not carry it.
#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_ktime_get_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};

#[btf_tracepoint(function = "sys_enter")]
fn empty_enter(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sys_exit")]
fn empty_exit(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sys_enter")]
fn clock_enter(_: BtfTracePointContext) -> i32 {
    ask();
    0
}

#[btf_tracepoint(function = "sys_exit")]
fn clock_exit(_: BtfTracePointContext) -> i32 {
    ask();
    0
}

/// Who runs, and when? The answers are not used, but a call of the kernel is never left out.
#[inline(always)]
fn ask() {
    // SAFETY: helpers without arguments.
    unsafe {
        bpf_get_current_task_btf();
        bpf_ktime_get_ns();
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
