//! A producer for `cargo xtask bench --ring`: each system call of one kind by one process writes a burst of fork records
//! into the telemetry ring, by the code that the real programs use. An object of its own; the daemon does not carry it.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "BPF has no fetch_add in core::sync: the intrinsic is its atomic add")]

#[expect(dead_code, reason = "the producer counts nothing but losses")]
mod atomic;
#[expect(dead_code, reason = "the producer reserves what it writes")]
mod emit;
#[expect(dead_code, unused_imports, unused_macros, reason = "the producer needs the knobs only")]
mod settings;

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    loss::Loss,
    record::{Kind, ProcessKey, Ring},
    signals::process::ForkRecord,
};

/// Records a call. `monitor/benches/ring.rs` knows the number too.
const BURST: u32 = 16;

/// Whose calls, by process id.
#[unsafe(no_mangle)]
static PRODUCER: u64 = 0;

/// Which call, by number.
#[unsafe(no_mangle)]
static CALL: u64 = 0;

/// `sys_enter(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
fn produce(ctx: BtfTracePointContext) -> i32 {
    let tgid = bpf_get_current_pid_tgid() >> 32;
    if tgid != settings::load(&PRODUCER) || ctx.arg::<u64>(1) != settings::load(&CALL) {
        return 0;
    }
    for number in 0..BURST {
        if let Some(mut record) = emit::reserve::<ForkRecord>(Ring::Telemetry, Loss::ForkRing) {
            let process = ProcessKey { start_ns: tgid, tgid: number, reserved: 0 };
            record.write(ForkRecord {
                header: emit::header(Ring::Telemetry, Kind::Fork),
                parent: process,
                child: process,
                ..ForkRecord::default()
            });
            record.submit(emit::submission(Ring::Telemetry, size_of::<ForkRecord>()));
        }
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
