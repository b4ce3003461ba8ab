//! What a process sees of the machine: mounts, the root directory, namespaces.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    record::Ring,
    signals::activity::{Act, BEHIND_POINTER, Part, SPECIAL},
};

use super::{
    call::Call,
    record::{Place, Record},
};
use crate::{
    kernel::{file, pid, read::Object, task},
    settings::offset,
};

/// All flags of clone(2) and unshare(2) that make a namespace: time, mount, cgroup, uts, ipc, user, pid, net.
const CLONE_NEW: u64 = 0x80 | 0x2_0000 | 0x7e00_0000;
/// The time namespace has the bit of a signal's number in the flags of `clone`.
const CLONE_NEW_OLD: u64 = CLONE_NEW & !0x80;

// Commands of fsconfig(2) whose value is a string or a path.
const SET_STRING: u64 = 1;
const SET_PATH: u64 = 3;
const SET_PATH_EMPTY: u64 = 4;

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there.
#[btf_tracepoint(function = "sys_exit")]
fn activity_namespace(ctx: BtfTracePointContext) -> i32 {
    let mut call = Call::read(&ctx);
    let entry = call.entry();
    let task = task::current();
    if entry.act == Act::Unshare as u8 {
        unshare(task, &mut call);
        return 0;
    }
    let Some(record) = Record::begin_as(task, &call, entry.act) else { return 0 };
    let file = if entry.act == Act::Setns as u8 {
        file::of_task(task, call.args[0] as u32)
    } else if entry.act == Act::Mount as u8 && call.result > 0 {
        // What fsmount, open_tree and their kin return.
        file::of_task(task, call.result as u32)
    } else {
        Object::NONE
    };
    if file != Object::NONE {
        record.file(file.pointer(offset!(file_inode)), file);
        let other = if entry.act == Act::Setns as u8 { pid::of_pidfd(file) } else { Object::NONE };
        if other != Object::NONE {
            record.target(task::process(other));
        }
        record.path(Part::Object, Place::of_file(file));
    } else if entry.act == Act::Chroot as u8 && call.result >= 0 {
        record.path(Part::Object, Place::root(task));
    }
    // Settings of a file system are pairs of words, not paths; not every value is one at all.
    let words = entry.other & SPECIAL != 0;
    // Who has got another root directory has lost what the names started from.
    let lost = entry.act == Act::Chroot as u8 && call.result >= 0;
    let (directory, name) = call.name(entry.name);
    if name != 0 {
        if !words && !lost {
            record.path(Part::Base, Place::of_directory(task, directory, name));
        }
        record.name(Part::Name, name);
    }
    let (directory, other) = call.name(entry.other & !SPECIAL);
    if other != 0 && (!words || matches!(call.args[1], SET_STRING | SET_PATH | SET_PATH_EMPTY)) {
        if !lost && (entry.act == Act::Chroot as u8 || entry.other >> 4 != 0) {
            record.path(Part::OtherBase, Place::of_directory(task, directory, other));
        }
        record.name(Part::OtherName, other);
    }
    record.finish(Ring::Security);
    0
}

/// `unshare`, and `clone` of a child in namespaces of its own. That of `clone3` has the flags in the place of what points to
/// them.
#[inline(always)]
fn unshare(task: Object, call: &mut Call) {
    let form = call.entry().other;
    if form & BEHIND_POINTER != 0 {
        let mut flags = 0_u64;
        // SAFETY: a local of eight bytes; the helper checks the source.
        unsafe { bpf_probe_read_user((&raw mut flags).cast(), 8, call.args[0] as *const _) };
        call.args[0] = flags;
    }
    let mask = if form & SPECIAL != 0 { CLONE_NEW_OLD } else { CLONE_NEW };
    if call.args[0] & mask == 0 {
        return;
    }
    let Some(record) = Record::begin(task, call, Act::Unshare) else { return };
    if call.result > 0 {
        let child = pid::find(task, call.result as u32);
        if child != Object::NONE {
            record.target(task::process(child));
        }
    }
    record.finish(Ring::Security);
}
