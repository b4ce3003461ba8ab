//! Programs on hooks that the daemon does not use yet, to know where they can be: on the entry and the return of a
//! function, and where the kernel asks its security modules. `tests/guest/tiers.rs` loads them in virtual machines, because
//! not every machine allows them. An object of its own; the daemon does not carry it.
#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{fentry, fexit, lsm, map},
    maps::Array,
    programs::{FEntryContext, FExitContext, LsmContext},
};

/// How often each program ran, in the order in which they are here.
#[map]
static RUNS: Array<u64> = Array::with_max_entries(3, 0);

/// `int tcp_connect(struct sock *sk)`. Not every function will do: of `vfs_fsync_range`, Linux 7.3 has a second copy inside
/// of the system call, which such programs do not see.
#[fentry(function = "tcp_connect")]
fn entered(_: FEntryContext) -> i32 {
    count(0);
    0
}

#[fexit(function = "tcp_connect")]
fn returned(ctx: FExitContext) -> i32 {
    // After the argument comes what the function returns.
    let result: i32 = ctx.arg(1);
    if result == 0 {
        count(1);
    }
    0
}

/// `int bprm_check_security(struct linux_binprm *bprm)`, and what the module before us said.
#[lsm(hook = "bprm_check_security")]
fn asked(ctx: LsmContext) -> i32 {
    count(2);
    ctx.arg(1)
}

#[inline(always)]
fn count(index: u32) {
    if let Some(runs) = RUNS.get_ptr_mut(index) {
        // SAFETY: the entry is there as long as the map. Two CPUs at once may lose a count, which the test does not cause.
        unsafe { *runs += 1 };
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
