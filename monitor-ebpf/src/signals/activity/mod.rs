//! `activity`: what processes ask of the kernel that security rules look at.
//!
//! `sys_exit` ends here for the calls that the call table marks: one look at what is wanted, then a tail call into the
//! program of the call's class. Those programs are loaded for the same hook but attached nowhere. They run when the call
//! is over: what it was about is taken from the kernel's own objects, which it has just used; names from user memory, which
//! another thread may have changed meanwhile, come last.

mod bulk;
mod call;
mod credentials;
mod descriptor;
mod file_change;
mod file_open;
mod kernel;
mod memory;
mod namespace;
mod network;
mod process;
mod record;
mod uring;
mod watch;

use aya_ebpf::{
    macros::map,
    maps::{Array, ProgramArray},
    programs::BtfTracePointContext,
};
use monitor_common::{
    loss::Loss,
    signals::activity::{Act, Class, Select},
};

use crate::{emit::lost, settings::activity_entry};

pub(super) use file_open::written;
pub(super) use record::fill;

/// What leaves the kernel. The daemon changes it while the programs run.
#[map]
static ACTIVITY_SELECT: Array<Select> = Array::with_max_entries(1, 0);
/// The programs, by [`Class`].
#[map]
static ACTIVITY_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(Class::ALL.len() as u32, 0);

/// Goes on in the program for the call with this index in the call table, if it is wanted; does not come back then.
#[inline(always)]
pub(super) fn dispatch(ctx: &BtfTracePointContext, call: u32) {
    let entry = activity_entry(call);
    let Some(select) = ACTIVITY_SELECT.get(0) else { return };
    let bit = 1_u64 << (entry.act & 63);
    let result: i64 = ctx.arg(1);
    if select.kinds & bit == 0 || result < 0 && select.failed & bit == 0 {
        return;
    }
    // SAFETY: nothing here needs to be dropped.
    unsafe { ACTIVITY_PROGRAMS.tail_call(ctx, u32::from(entry.class)) };
    lost(Loss::ActivityProgram);
}

/// The daemon's own calls go no further, but for the one by which it makes itself heard: that takes the way of all others.
#[inline(always)]
pub(super) fn heartbeat(ctx: &BtfTracePointContext, call: u32) {
    let entry = activity_entry(call);
    let Some(select) = ACTIVITY_SELECT.get(0) else { return };
    if entry.act == Act::Prctl as u8 && select.kinds & Act::Heartbeat.bit() != 0 {
        // SAFETY: nothing here needs to be dropped.
        unsafe { ACTIVITY_PROGRAMS.tail_call(ctx, u32::from(entry.class)) };
        lost(Loss::ActivityProgram);
    }
}
