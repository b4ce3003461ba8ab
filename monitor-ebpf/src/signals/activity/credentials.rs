//! Who a process acts as: user and group ids, capabilities. The record has what they are after the call; what they were
//! before is in the daemon's table, which these records keep right.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::record::Ring;

use super::{call::Call, record::Record};
use crate::kernel::task;

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there.
#[btf_tracepoint(function = "sys_exit")]
fn activity_credentials(ctx: BtfTracePointContext) -> i32 {
    let call = Call::read(&ctx);
    if let Some(record) = Record::begin_as(task::current(), &call, call.entry().act) {
        record.finish(Ring::Security);
    }
    0
}
