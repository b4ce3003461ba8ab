//! Memory that code may be run from without a file of it: writable and executable at once, made executable, files without a
//! name; and page faults handled by the process itself, which hold the kernel up where that suits an exploit.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    record::Ring,
    signals::activity::{Act, BEHIND_POINTER, Class, Part, SPECIAL},
};

use super::{
    ACTIVITY_SELECT, bulk,
    call::Call,
    record::{Place, Record},
};
use crate::{
    kernel::{file, read::Object, task},
    settings::offset,
};

const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const MAP_ANONYMOUS: u64 = 0x20;

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there.
#[btf_tracepoint(function = "sys_exit")]
fn activity_memory(ctx: BtfTracePointContext) -> i32 {
    let mut call = Call::read(&ctx);
    let entry = call.entry();
    let task = task::current();
    if entry.act == Act::MemoryExec as u8 {
        if entry.other & BEHIND_POINTER != 0 {
            unpack(&mut call);
        }
        // Mapping what is only executable is how each library is loaded. Protecting so what was there before is not.
        let wanted = if entry.other & SPECIAL != 0 { PROT_EXEC } else { PROT_EXEC | PROT_WRITE };
        if call.args[2] & wanted != wanted
            || !ACTIVITY_SELECT.get(0).is_some_and(|select| bulk::allowed(select, Class::Memory))
        {
            return 0;
        }
        let mapped = entry.other & SPECIAL == 0 && call.args[3] & MAP_ANONYMOUS == 0;
        let file = if mapped { file::of_task(task, call.args[4] as u32) } else { Object::NONE };
        finish(&call, task, entry.act, file, Ring::Bulk);
    } else {
        let made = entry.act == Act::MemfdCreate as u8 && call.result >= 0;
        let file = if made { file::of_task(task, call.result as u32) } else { Object::NONE };
        finish(&call, task, entry.act, file, Ring::Security);
    }
    0
}

#[inline(always)]
fn finish(call: &Call, task: Object, act: u8, file: Object, ring: Ring) {
    let Some(record) = Record::begin_as(task, call, act) else { return };
    if file != Object::NONE {
        record.file(file.pointer(offset!(file_inode)), file);
        record.path(Part::Object, Place::of_file(file));
    }
    record.name(Part::Name, call.name(call.entry().name).1);
    record.finish(ring);
}

/// The old `mmap` of 32-bit programs passes all arguments in memory.
#[inline(always)]
fn unpack(call: &mut Call) {
    let mut args = [0_u32; 6];
    // SAFETY: a local of the size given; the helper checks the source.
    unsafe { bpf_probe_read_user(args.as_mut_ptr().cast(), 24, call.args[0] as *const _) };
    let [a, b, c, d, e, f] = args;
    call.args = [a.into(), b.into(), c.into(), d.into(), e.into(), f.into()];
}
