//! Opening files. What was opened is the kernel's own file, found by the descriptor that the call returned; a name is read
//! from user memory only of a call that failed, where there is nothing else.

use aya_ebpf::{
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_user},
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use monitor_common::{
    limits,
    record::Ring,
    signals::activity::{
        Act, Class, FLAGS_BEHIND, FMODE_CREATED, FileKey, Part, Scope, Select, WATCH_READ, WATCH_WRITE, Writer,
    },
};

use super::{
    ACTIVITY_SELECT, bulk,
    call::Call,
    record::{Place, Record},
    watch,
};
use crate::{
    kernel::{file, read::Object, task},
    settings::offset,
};

/// Who last opened a file for writing.
#[map]
static WRITTEN: LruHashMap<FileKey, Writer> = LruHashMap::with_max_entries(limits::WRITTEN, 0);

const FMODE_READ: u32 = 0x1;
const FMODE_WRITE: u32 = 0x2;
const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;
const S_IFDIR: u16 = 0o040_000;
const O_ACCMODE: u64 = 0o3;
const O_WRONLY: u64 = 0o1;
const O_CREAT: u64 = 0o100;

/// How much is told of an open with these bits of `FMODE_*`.
#[inline(always)]
fn scope(select: &Select, mode: u32) -> u32 {
    if mode & FMODE_CREATED != 0 && select.open_create > select.open_write {
        select.open_create
    } else if mode & (FMODE_CREATED | FMODE_WRITE) != 0 {
        select.open_write
    } else if mode & FMODE_READ != 0 {
        select.open_read
    } else {
        Scope::Off as u32
    }
}

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there: `open` and its kin.
#[btf_tracepoint(function = "sys_exit")]
fn activity_file_open(ctx: BtfTracePointContext) -> i32 {
    let Some(select) = ACTIVITY_SELECT.get(0) else { return 0 };
    let result: i64 = ctx.arg(1);
    if result < 0 {
        failed(&ctx, select);
    } else {
        opened(&ctx, select, result as u32);
    }
    0
}

#[inline(always)]
fn opened(ctx: &BtfTracePointContext, select: &Select, fd: u32) {
    let task = task::current();
    let file = file::of_task(task, fd);
    let inode = file.pointer(offset!(file_inode));
    let kind = inode.field::<u16>(offset!(inode_mode)) & S_IFMT;
    let mode: u32 = file.field(offset!(file_mode));
    // Who lists directories opens each of them; and nothing in them can be changed through one.
    if kind == S_IFDIR || inode == Object::NONE {
        return;
    }
    let key = watch::key(inode);
    if mode & FMODE_WRITE != 0 && kind == S_IFREG {
        // SAFETY: a helper without arguments.
        let writer = Writer { process: task::process(task), time_ns: unsafe { bpf_ktime_get_boot_ns() } };
        // The oldest entry makes room.
        let _ = WRITTEN.insert(&key, &writer, 0);
    }
    let scope = scope(select, mode);
    if scope == Scope::Off as u32 {
        return;
    }
    let place = Place::of_file(file);
    let wanted = if mode & (FMODE_CREATED | FMODE_WRITE) != 0 { WATCH_WRITE } else { WATCH_READ };
    let Some(ring) = ring(select, Class::FileOpen, scope, watch::file(select, place, key, wanted)) else { return };
    let Some(record) = Record::begin(task, &call(ctx), Act::FileOpen) else { return };
    record.file(inode, file);
    record.path(Part::Object, place);
    record.finish(ring);
}

/// The call. That of `openat2` has what its third argument pointed to in the place of it and of the size behind it: flags
/// and mode. Whether a file was opened for writing does not depend on it.
#[inline(always)]
fn call(ctx: &BtfTracePointContext) -> Call {
    let mut call = Call::read(ctx);
    if call.entry().other & FLAGS_BEHIND != 0 {
        let mut how = [0_u64; 2];
        // SAFETY: a local of 16 bytes; the helper checks the source.
        unsafe { bpf_probe_read_user(how.as_mut_ptr().cast(), 16, call.args[2] as *const _) };
        call.args[2] = how[0];
        call.args[3] = how[1];
    }
    call
}

/// What it asked for: bits of `O_*`.
#[inline(always)]
fn flags(call: &Call) -> u64 {
    match call.entry().other & !FLAGS_BEHIND {
        0 => O_CREAT | O_WRONLY,
        place => call.arg(place),
    }
}

#[inline(always)]
fn failed(ctx: &BtfTracePointContext, select: &Select) {
    let call = call(ctx);
    let writes = flags(&call) & (O_ACCMODE | O_CREAT) != 0;
    let scope = if writes { select.open_write } else { select.open_read };
    if scope == Scope::Off as u32 {
        return;
    }
    let task = task::current();
    let (directory, name) = call.name(call.entry().name);
    let Some(record) = Record::begin(task, &call, Act::FileOpen) else { return };
    let place = Place::of_directory(task, directory, name);
    record.path(Part::Base, place);
    let length = record.name(Part::Name, name);
    let wanted = if writes { WATCH_WRITE } else { WATCH_READ };
    let watched = watch::directory(select, place, wanted) || watch::last_component(select, record, length, wanted);
    if let Some(ring) = ring(select, Class::FileOpen, scope, watched) {
        record.finish(ring);
    }
}

/// Who last opened this file for writing; all zero when nobody did lately.
#[inline(always)]
pub(in crate::signals) fn written(file: FileKey) -> Writer {
    // SAFETY: what is freed meanwhile is another file's entry: a wrong answer, which takes a file's inode number to be given
    // out anew within the moment.
    unsafe { WRITTEN.get(&file) }.copied().unwrap_or_default()
}

/// Which ring carries the record; none when it is not wanted, or when there have been too many.
#[inline(always)]
pub(super) fn ring(select: &Select, class: Class, scope: u32, watched: bool) -> Option<Ring> {
    if watched {
        Some(Ring::Security)
    } else if scope == Scope::All as u32 && bulk::allowed(select, class) {
        Some(Ring::Bulk)
    } else {
        None
    }
}
