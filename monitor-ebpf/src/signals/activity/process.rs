//! What processes do to other processes, and what they call themselves. Whom it was about is looked up here, as the kernel
//! has it at this moment: by the time the daemon sees the number it may be another's.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    record::Ring,
    signals::activity::{Act, Class, HEARTBEAT, Part},
};

use super::{
    ACTIVITY_SELECT, bulk,
    call::Call,
    record::{Place, Record},
};
use crate::{
    kernel::{file, pid, read::Object, socket, task},
    settings::{knob, offset},
};

const EPERM: i64 = 1;

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there.
#[btf_tracepoint(function = "sys_exit")]
fn activity_process(ctx: BtfTracePointContext) -> i32 {
    let call = Call::read(&ctx);
    let entry = call.entry();
    let task = task::current();
    let act = entry.act;
    if act == Act::Prctl as u8 {
        prctl(task, &call);
        return 0;
    }
    // Where the number is, or the descriptor; and what was asked.
    let (by_descriptor, by_number) = (entry.name >> 4, entry.name & 0xf);
    let number = call.arg(by_number) as u32 as i32;
    let other = if by_descriptor != 0 {
        pid::of_descriptor(task, call.arg(by_descriptor) as u32)
    } else if number > 0 {
        pid::find(task, number as u32)
    } else {
        Object::NONE
    };
    let asked = call.arg(entry.other);
    let ring = if act == Act::Signal as u8 {
        signal(task, &call, other, by_descriptor == 0 && number <= 0, asked)
    } else if act == Act::Ptrace as u8 {
        if is_telling(asked) { Some(Ring::Security) } else { None }
    } else if pid::is_foreign(task, other) || call.result < 0 {
        Some(Ring::Security)
    } else {
        None
    };
    let Some(ring) = ring else { return 0 };
    let Some(record) = Record::begin_as(task, &call, act) else { return 0 };
    // Who lets itself be traced passes no number.
    if other != Object::NONE && !(act == Act::Ptrace as u8 && asked == PTRACE_TRACEME) {
        record.target(task::process(other));
    }
    if act == Act::ProcessVm as u8 && by_descriptor != 0 && call.result >= 0 {
        stolen(record, file::of_task(task, call.result as u32));
    }
    record.finish(ring);
    0
}

const PTRACE_TRACEME: u64 = 0;

/// Requests of ptrace(2) that take hold of a process or change it. What a debugger asks in between is left out.
#[inline(always)]
fn is_telling(request: u64) -> bool {
    // TRACEME, POKETEXT, POKEDATA, POKEUSER, SETREGS, SETFPREGS, ATTACH, SETREGSET, SEIZE, SET_SYSCALL_INFO.
    matches!(request, PTRACE_TRACEME | 4 | 5 | 6 | 13 | 15 | 16 | 0x4205 | 0x4206 | 0x4212)
}

/// Which ring carries a signal, if it is told of: a real one, not to oneself, that came or was forbidden to. `many`: it was
/// meant for a process group, or for everybody.
#[inline(always)]
fn signal(task: Object, call: &Call, other: Object, many: bool, signal: u64) -> Option<Ring> {
    let happened = call.result >= 0 || call.result == -EPERM;
    if signal == 0 || !happened || !(many || pid::is_foreign(task, other)) {
        return None;
    }
    // QUIT, ILL, ABRT, KILL, SEGV, TERM, STOP: the end of a process, or its sleep.
    if matches!(signal, 3 | 4 | 6 | 9 | 11 | 15 | 19) {
        return Some(Ring::Security);
    }
    if ACTIVITY_SELECT.get(0).is_some_and(|select| bulk::allowed(select, Class::Process)) {
        Some(Ring::Bulk)
    } else {
        None
    }
}

/// What was taken out of another process.
#[inline(always)]
fn stolen(record: Record, file: Object) {
    record.file(file.pointer(offset!(file_inode)), file);
    let sock = file::sock(file);
    // SAFETY: the head of a record in the making.
    unsafe { socket::fill(&raw mut (*record.head()).socket, sock, file) };
    // Of a Unix socket the object is its address.
    if sock == Object::NONE {
        record.path(Part::Object, Place::of_file(file));
    }
}

const PR_SET_DUMPABLE: u64 = 4;
const PR_SET_NAME: u64 = 15;
const PR_SET_MM: u64 = 35;
const PR_SET_PTRACER: u64 = 0x5961_6d61;

/// A name is told only of a process, not of its other threads: those have one each, for whoever debugs them.
#[inline(always)]
fn prctl(task: Object, call: &Call) {
    if u64::from(task::tgid(task)) == knob!(self_tgid) {
        if call.args[0] == HEARTBEAT
            && let Some(record) = Record::begin(task, call, Act::Heartbeat)
        {
            record.finish(Ring::Security);
        }
        return;
    }
    match call.args[0] {
        PR_SET_NAME if task::tid(task) == task::tgid(task) => {}
        PR_SET_DUMPABLE | PR_SET_MM | PR_SET_PTRACER => {}
        _ => return,
    }
    let Some(record) = Record::begin(task, call, Act::Prctl) else { return };
    if call.args[0] == PR_SET_NAME {
        record.name(Part::Name, call.args[1]);
    }
    record.finish(Ring::Security);
}
