//! Changing names and attributes of files. A call that is given a descriptor tells the kernel's own file; one that is given
//! a name tells the directory that it is relative to, from kernel objects, and the name as it was passed. What else the
//! kernel found by a name is gone when the call is over.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::signals::activity::{Act, Class, Part, SEVERAL, Scope, Select, WATCH_WRITE};

use super::{
    ACTIVITY_SELECT,
    call::Call,
    file_open,
    record::{Place, Record, first_byte},
    watch,
};
use crate::{
    kernel::{file, read::Object, task},
    settings::offset,
};

/// In the third argument of `unlinkat`: remove a directory.
const AT_REMOVEDIR: u64 = 0x200;

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there: `unlink`, `rename`, `chmod` and their kin.
#[btf_tracepoint(function = "sys_exit")]
fn activity_file_change(ctx: BtfTracePointContext) -> i32 {
    let Some(select) = ACTIVITY_SELECT.get(0) else { return 0 };
    let call = Call::read(&ctx);
    let entry = call.entry();
    // Of the class, only `unlinkat` is one of several.
    let act = match entry.act {
        SEVERAL if call.args[2] & AT_REMOVEDIR != 0 => Act::Rmdir as u8,
        SEVERAL => Act::Unlink as u8,
        act => act,
    };
    let bit = 1_u64 << (act & 63);
    if select.kinds & bit == 0 || call.result < 0 && select.failed & bit == 0 {
        return 0;
    }
    let scope = if select.everywhere & bit != 0 { Scope::All } else { Scope::Watched };
    let task = task::current();
    let Some(record) = Record::begin_as(task, &call, act) else { return 0 };
    let mut watched = subject(select, record, task, call.name(entry.name));
    if entry.other != 0 {
        let (directory, name) = call.name(entry.other);
        // The text of a symbolic link and an attribute are no names of files.
        if act == Act::Rename as u8 || act == Act::Link as u8 {
            let place = Place::of_directory(task, directory, name);
            record.path(Part::OtherBase, place);
            let length = record.name(Part::OtherName, name);
            watched = watched
                || watch::directory(select, place, WATCH_WRITE)
                || watch::last_component(select, record, length, WATCH_WRITE);
        } else {
            record.name(Part::OtherName, name);
        }
    }
    if let Some(ring) = file_open::ring(select, Class::FileChange, scope as u32, watched) {
        record.finish(ring);
    }
    0
}

/// Tells what the call was about. Without a name, or with an empty one, that is what the descriptor stands for.
#[inline(always)]
fn subject(select: &Select, record: Record, task: Object, (descriptor, name): (i32, u64)) -> bool {
    if descriptor >= 0 && (name == 0 || first_byte(name) == Some(0)) {
        let file = file::of_task(task, descriptor as u32);
        let inode = file.pointer(offset!(file_inode));
        if inode == Object::NONE {
            return false;
        }
        let place = Place::of_file(file);
        record.file(inode, file);
        record.path(Part::Object, place);
        return watch::file(select, place, watch::key(inode), WATCH_WRITE);
    }
    let place = Place::of_directory(task, descriptor, name);
    record.path(Part::Base, place);
    let length = record.name(Part::Name, name);
    watch::directory(select, place, WATCH_WRITE) || watch::last_component(select, record, length, WATCH_WRITE)
}
