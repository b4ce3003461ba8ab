//! The kernel itself: modules, programs for it (bpf), another kernel in its place, io_uring set up.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    record::Ring,
    signals::activity::{Act, Part},
};

use super::{
    call::Call,
    record::{Place, Record},
};
use crate::{
    kernel::{file, task},
    settings::offset,
};

// Commands of bpf(2).
const MAP_CREATE: u64 = 0;
const PROG_LOAD: u64 = 5;
const OBJ_PIN: u64 = 6;
const OBJ_GET: u64 = 7;
const PROG_ATTACH: u64 = 8;
const RAW_TRACEPOINT_OPEN: u64 = 17;

/// Where `union bpf_attr` has the name of a program, and of a map.
const PROG_NAME: u64 = 48;
const MAP_NAME: u64 = 28;

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there.
#[btf_tracepoint(function = "sys_exit")]
fn activity_kernel(ctx: BtfTracePointContext) -> i32 {
    let mut call = Call::read(&ctx);
    let entry = call.entry();
    let task = task::current();
    let mut name = call.name(entry.name).1;
    if entry.act == Act::Bpf as u8 {
        if !is_telling(call.args[0]) {
            return 0;
        }
        name = attributes(&mut call);
    } else if entry.act == Act::IoUring as u8 {
        call.args[2] = ring_flags(call.args[1]);
    }
    let Some(record) = Record::begin_as(task, &call, entry.act) else { return 0 };
    // A file that is told by its descriptor, without a name.
    if entry.name >> 4 != 0 {
        let file = file::of_task(task, call.args[0] as u32);
        record.file(file.pointer(offset!(file_inode)), file);
        record.path(Part::Object, Place::of_file(file));
    }
    record.name(Part::Name, name);
    record.name(Part::OtherName, call.name(entry.other).1);
    record.finish(Ring::Security);
    0
}

/// Commands that bring something into the kernel, or get hold of what others have there. Those on the entries of maps, of
/// which there are many, and those that only ask are left out.
#[inline(always)]
fn is_telling(command: u64) -> bool {
    // … PROG_DETACH, PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID, MAP_FREEZE, LINK_CREATE, LINK_UPDATE, LINK_GET_FD_BY_ID,
    // ITER_CREATE, LINK_DETACH, PROG_BIND_MAP, TOKEN_CREATE.
    matches!(command, MAP_CREATE | PROG_LOAD..=PROG_ATTACH | 9 | 13 | 14 | RAW_TRACEPOINT_OPEN | 22 | 28..=30 | 33..=36)
}

/// What was passed beside the command. The record has in the place of the pointer to it the first word (the type of program
/// or map, or the number of what is asked for), and in that of its size the third, which says of an attachment what it is
/// attached to. Where the name is.
#[inline(always)]
fn attributes(call: &mut Call) -> u64 {
    let attributes = call.args[1];
    let mut words = [0_u32; 3];
    // SAFETY: a local of twelve bytes; the helper checks the source.
    unsafe { bpf_probe_read_user(words.as_mut_ptr().cast(), 12, attributes as *const _) };
    call.args[1] = u64::from(words[0]);
    call.args[2] = u64::from(words[2]);
    match call.args[0] {
        PROG_LOAD => attributes + PROG_NAME,
        MAP_CREATE => attributes + MAP_NAME,
        OBJ_PIN | OBJ_GET | RAW_TRACEPOINT_OPEN => u64::from(words[0]) | u64::from(words[1]) << 32,
        _ => 0,
    }
}

/// `io_uring_params.flags`.
#[inline(always)]
fn ring_flags(parameters: u64) -> u64 {
    let mut flags = 0_u32;
    // SAFETY: a local of four bytes; the helper checks the source.
    unsafe { bpf_probe_read_user((&raw mut flags).cast(), 4, (parameters + 8) as *const _) };
    u64::from(flags)
}
