//! `evt.arg.NAME`: arguments of calls, under Falco's names. Each is told as text; `evt.rawarg.NAME` tells numbers as such.

mod activity;
mod file;

use super::value::{Value, Values};
use super::{errno, facts::Facts, flags};
use crate::detect::What;
use crate::signals::activity::Name;

/// An argument.
enum Arg<'a> {
    /// Not there.
    None,
    /// Text.
    Text(&'a [u8]),
    /// A number.
    Number(i64),
    /// A number that is the result: negative ones by name.
    Result(i64),
    /// True or false.
    Bool(bool),
    /// A set of flags.
    Bits(flags::Bits, u64),
    /// A constant, by name where it has one.
    Named(flags::Names, u64),
    /// What an open asked for.
    Open(u64, bool),
    /// The exec's file.
    Exe { writable: bool, upper: bool },
    /// `argv` and the like: written when asked for.
    Line,
    /// A signal.
    Signal(u64),
}

/// All names, in the order in which `evt.args` tells them.
const NAMES: &str = "res fd oldfd newfd dirfd olddirfd newdirfd linkdirfd filename exe args comm cwd pid tid ptid pgid tty \
    loginuid path pathname name oldpath newpath linkpath target source dev dir type special flags mode request \
    addr data domain proto tuple backlog sig signum status ret core option arg2 arg2_str arg2_int cmd how prot \
    length offset uid gid euid egid suid sgid ruid rgid cap_effective nstype image new_root put_old initrd_fd \
    kernel_fd entries uargs attribute times_set ino size what id";

/// All names, in that order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.split_ascii_whitespace()
}

/// Whether an argument has this name.
pub(super) fn exists(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Adds the argument with this name; as text unless `raw`.
pub(super) fn push<'a>(facts: &Facts<'a>, name: &str, raw: bool, out: &mut Values<'a>) {
    let arg = match &facts.event.what {
        What::Activity(activity) => activity::argument(activity, name),
        _ => of_process(facts, name),
    };
    match arg {
        Arg::None => {}
        Arg::Text(text) => out.bytes(text),
        Arg::Line => line(facts, name, out),
        Arg::Exe { writable, upper } => out.made(|text| exe_flags(writable, upper, text)),
        _ if raw => match arg {
            Arg::Number(number) | Arg::Result(number) => out.number(number),
            Arg::Bool(bool) => out.bool(bool),
            Arg::Bits(_, number) | Arg::Named(_, number) | Arg::Open(number, _) | Arg::Signal(number) => {
                out.number(number)
            }
            Arg::None | Arg::Text(_) | Arg::Line | Arg::Exe { .. } => {}
        },
        Arg::Number(number) => decimal(number, out),
        Arg::Result(number) if number < 0 => errno::push(number, out),
        Arg::Result(number) => decimal(number, out),
        Arg::Bool(bool) => out.bytes(if bool { b"true" } else { b"false" }),
        Arg::Bits(bits, value) => out.made(|text| flags::write(bits, value, text)),
        Arg::Named(names, value) => named(names, value, out),
        Arg::Open(value, created) => out.made(|text| flags::write_open(value, created, text)),
        Arg::Signal(value) => signal(value, out),
    }
}

/// Adds the argument at this place.
pub(super) fn push_at<'a>(facts: &Facts<'a>, index: usize, raw: bool, out: &mut Values<'a>) {
    let mut at = 0;
    for name in names() {
        let before = out.list.len();
        push(facts, name, raw, out);
        if out.list.len() > before {
            if at == index {
                return;
            }
            out.list.truncate(before);
            at += 1;
        }
    }
}

/// Adds all arguments as one text.
pub(super) fn push_all<'a>(facts: &Facts<'a>, out: &mut Values<'a>) {
    // Each is put at the end of the buffer, after its name; what was put together stays where it is.
    let start = out.text.len();
    for name in names() {
        let (count, mark) = (out.list.len(), out.text.len());
        if mark > start {
            out.text.push(b' ');
        }
        out.text.extend_from_slice(name.as_bytes());
        out.text.push(b'=');
        push(facts, name, false, out);
        let added = if out.list.len() > count { out.list.pop() } else { None };
        match added {
            Some(Value::Made { .. }) => {}
            Some(value @ (Value::Bytes(_) | Value::Number(_))) => out.append(value),
            _ => out.text.truncate(mark),
        }
    }
    out.made_from(start);
}

fn decimal(number: i64, out: &mut Values<'_>) {
    out.made(|text| text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()));
}

fn named(names: flags::Names, value: u64, out: &mut Values<'_>) {
    match flags::name(names, value) {
        Some(name) => out.bytes(name.as_bytes()),
        None => decimal(value.try_into().unwrap_or(i64::MAX), out),
    }
}

fn signal(number: u64, out: &mut Values<'_>) {
    // Real-time signals have no name of their own.
    match SIGNALS.get(number as usize) {
        Some(name) if !name.is_empty() => out.bytes(name.as_bytes()),
        _ => decimal(number.try_into().unwrap_or(i64::MAX), out),
    }
}

/// signal(7), by number on every machine that we run on.
const SIGNALS: [&str; 32] = [
    "",
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

fn exe_flags(writable: bool, upper: bool, text: &mut Vec<u8>) {
    flags::write(&[(1, "EXE_WRITABLE"), (2, "EXE_UPPER_LAYER")], u64::from(writable) | u64::from(upper) << 1, text);
}

/// Arguments that take putting together.
fn line<'a>(facts: &Facts<'a>, name: &str, out: &mut Values<'a>) {
    let (Some(subject), Some(activity)) = (facts.subject(0), Some(facts.activity())) else { return };
    match (name, activity) {
        ("args", _) => out.made(|text| subject.write_args(text)),
        ("cap_effective", Some(activity)) => {
            out.made(|text| flags::write_capabilities(activity.actor.capabilities, text));
        }
        ("tuple", Some(activity)) => super::fields::push_tuple(activity, out),
        _ => {}
    }
}

fn of_process<'a>(facts: &Facts<'a>, name: &str) -> Arg<'a> {
    let number = |value: u32| Arg::Number(value.into());
    match (&facts.event.what, name) {
        (What::Exec(_) | What::Fork { .. }, "res") => Arg::Result(facts.result()),
        (What::Exec(exec), "exe") => exec.args.first().map_or(Arg::None, |exe| Arg::Text(exe)),
        (What::Exec(exec), "filename") => Arg::Text(&exec.filename),
        (What::Exec(_), "args") => Arg::Line,
        (What::Exec(exec), "comm") => Arg::Text(&exec.comm),
        (What::Exec(exec), "cwd") => Arg::Text(&exec.cwd),
        (What::Exec(exec), "ptid") => number(exec.parent.tgid),
        (What::Exec(exec), "pgid") => number(exec.process_group),
        (What::Exec(exec), "uid") => number(exec.euid),
        (What::Exec(exec), "gid") => number(exec.egid),
        (What::Exec(exec), "loginuid") => Arg::Number(exec.loginuid.map_or(-1, i64::from)),
        (What::Exec(exec), "ino") => Arg::Number(exec.file.inode.try_into().unwrap_or(i64::MAX)),
        (What::Exec(exec), "flags") => Arg::Exe {
            writable: exec.euid == 0 || exec.file.mode & 0o002 != 0 || exec.file.owner == exec.euid,
            upper: exec.file.upper_layer,
        },
        (What::Exec(_) | What::Fork { .. }, "pid") => number(facts.event.process.tgid),
        (What::Exec(_) | What::Fork { .. }, "tid") => number(facts.event.tid),
        (What::Exit { status: Some(status) }, "status") => number(*status),
        (What::Exit { status: Some(status) }, "ret") => number(status >> 8 & 0xff),
        (What::Exit { status: Some(status) }, "sig") => Arg::Signal((status & 0x7f).into()),
        (What::Exit { status: Some(status) }, "core") => number(u32::from(status & 0x80 != 0)),
        _ => Arg::None,
    }
}

fn raw(name: &Option<Name>) -> Arg<'_> {
    match name {
        Some(name) => Arg::Text(&name.raw),
        None => Arg::None,
    }
}

fn full(name: &Option<Name>) -> Arg<'_> {
    match name {
        Some(name) if name.path.is_empty() => Arg::Text(&name.raw),
        Some(name) => Arg::Text(&name.path),
        None => Arg::None,
    }
}
