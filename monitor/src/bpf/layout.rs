//! What the kernel programs are told about the kernel that they are loaded into, where kernels differ.

use monitor_common::{
    knobs::{Knobs, SIGNAL_SYSCALLS, SIGNAL_TCP},
    signals::syscalls::PACE_WINDOW_NS,
};

use super::{kernel::Kernel, loader::Settings};
use crate::signals::Timing;

/// What to tell them.
pub(super) fn knobs(kernel: &Kernel, settings: &Settings, shards: u32) -> Knobs {
    let wanted = |signal: &str| settings.signals.contains(&signal);
    let compat_mask = if cfg!(target_arch = "x86_64") {
        0x2 // TS_COMPAT, arch/x86/include/asm/thread_info.h
    } else if cfg!(target_arch = "aarch64") {
        1 << 22 // TIF_32BIT, arch/arm64/include/asm/thread_info.h
    } else {
        0
    };
    Knobs {
        self_tgid: u64::from(std::process::id()),
        shard_mask: u64::from(shards - 1),
        slots: u64::from(settings.slots),
        atomic_shards: u64::from(kernel.cpus > shards),
        has_current_task_btf: u64::from(kernel.btf.has_function("bpf_get_current_task_btf")),
        compat_mask: if kernel.offsets.get("task_compat").is_some() { compat_mask } else { 0 },
        traffic_by_call: u64::from(kernel.has_hook("sock_send_length") && kernel.has_hook("sock_recv_length")),
        exit_tells_group: u64::from(kernel.btf.tracepoint_arguments("sched_process_exit") >= Some(2)),
        block_io_start: u64::from(kernel.has_hook("block_io_start")),
        block_request_argument: u64::from(kernel.btf.tracepoint_arguments("block_rq_issue") == Some(2)),
        block_errors_are_errno: u64::from(
            kernel.btf.tracepoint_argument_type("block_rq_complete", 1).as_deref() == Some("int"),
        ),
        security_wake: u64::from(settings.security_ring / 2),
        telemetry_wake: u64::from(settings.telemetry_ring / 2),
        pacing: u64::from(settings.timing == Timing::Adaptive || settings.may_shed),
        pace_shift: pace_shift(),
        signals: if wanted("syscalls") { SIGNAL_SYSCALLS } else { 0 } | if wanted("tcp") { SIGNAL_TCP } else { 0 },
    }
}

/// How many of the kernel's ticks make a window, as a power of two. The coarse clock moves once a tick.
fn pace_shift() -> u64 {
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    let tick = u64::try_from(tick.tv_nsec).unwrap_or(0).clamp(1, PACE_WINDOW_NS);
    u64::from((PACE_WINDOW_NS / tick).ilog2())
}

#[cfg(test)]
mod tests;
