//! Descriptors: a socket or pipe that became the input or output of a process, and two of the many ioctls.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    record::Ring,
    signals::activity::{Act, Class, Part, SPECIAL},
};

use super::{
    ACTIVITY_SELECT, bulk,
    call::Call,
    record::{Place, Record},
};
use crate::{
    kernel::{
        file::{self, S_IFIFO, S_IFSOCK},
        socket, task,
    },
    settings::offset,
};

// Commands of fcntl(2) that copy a descriptor.
const F_DUPFD: u64 = 0;
const F_DUPFD_CLOEXEC: u64 = 1030;
// Commands of ioctl(2), by both conventions: flags of a file (`chattr`), and characters pushed into a terminal.
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC32_SETFLAGS: u32 = 0x4004_6602;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there.
#[btf_tracepoint(function = "sys_exit")]
fn activity_descriptor(ctx: BtfTracePointContext) -> i32 {
    let mut call = Call::read(&ctx);
    let entry = call.entry();
    if entry.act == Act::Ioctl as u8 {
        ioctl(&mut call);
    } else if entry.other & SPECIAL == 0 || call.args[1] == F_DUPFD || call.args[1] == F_DUPFD_CLOEXEC {
        dup(&call);
    }
    0
}

/// A copy of `args[0]` has number `result`.
#[inline(always)]
fn dup(call: &Call) {
    if !(0..=2).contains(&call.result) || call.args[0] as u32 == call.result as u32 {
        return;
    }
    let task = task::current();
    let file = file::of_task(task, call.result as u32);
    let inode = file.pointer(offset!(file_inode));
    // Files and terminals are what each shell redirects to, all the time. Pipelines do it with pipes.
    let ring = match file::kind(inode) {
        S_IFSOCK => Ring::Security,
        S_IFIFO if ACTIVITY_SELECT.get(0).is_some_and(|select| bulk::allowed(select, Class::Descriptor)) => Ring::Bulk,
        _ => return,
    };
    let Some(record) = Record::begin(task, call, Act::Dup) else { return };
    record.file(inode, file);
    // SAFETY: the head of a record in the making.
    unsafe { socket::fill(&raw mut (*record.head()).socket, file::sock(file), file) };
    record.finish(ring);
}

/// The third argument of the record is what the call's third argument pointed to, where that are flags.
#[inline(always)]
fn ioctl(call: &mut Call) {
    match call.args[1] as u32 {
        FS_IOC_SETFLAGS | FS_IOC32_SETFLAGS | FS_IOC_FSSETXATTR => {
            let mut flags = 0_u32;
            // SAFETY: a local of four bytes; the helper checks the source.
            unsafe { bpf_probe_read_user((&raw mut flags).cast(), 4, call.args[2] as *const _) };
            call.args[2] = u64::from(flags);
        }
        TIOCSTI | TIOCLINUX => {}
        _ => return,
    }
    let task = task::current();
    let file = file::of_task(task, call.args[0] as u32);
    let Some(record) = Record::begin(task, call, Act::Ioctl) else { return };
    record.file(file.pointer(offset!(file_inode)), file);
    record.path(Part::Object, Place::of_file(file));
    record.finish(Ring::Security);
}
