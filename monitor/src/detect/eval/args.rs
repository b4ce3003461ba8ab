//! `evt.arg.NAME`: arguments of calls, under Falco's names. Each is told as text; `evt.rawarg.NAME` tells numbers as such.

use monitor_common::signals::activity::Act;

use super::fields::evt;
use super::fields::fd;
use super::value::Values;
use super::{errno, facts::Facts, flags};
use crate::detect::What;
use crate::signals::activity::{Activity, Name};

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
pub const NAMES: &[&str] = &[
    "res",
    "fd",
    "oldfd",
    "newfd",
    "dirfd",
    "olddirfd",
    "newdirfd",
    "linkdirfd",
    "filename",
    "exe",
    "args",
    "comm",
    "cwd",
    "pid",
    "tid",
    "ptid",
    "pgid",
    "tty",
    "loginuid",
    "path",
    "pathname",
    "name",
    "oldpath",
    "newpath",
    "linkpath",
    "target",
    "source",
    "dev",
    "dir",
    "type",
    "special",
    "flags",
    "mode",
    "request",
    "addr",
    "data",
    "domain",
    "proto",
    "tuple",
    "backlog",
    "sig",
    "signum",
    "status",
    "ret",
    "core",
    "option",
    "arg2",
    "arg2_str",
    "arg2_int",
    "cmd",
    "how",
    "prot",
    "length",
    "offset",
    "uid",
    "gid",
    "euid",
    "egid",
    "suid",
    "sgid",
    "ruid",
    "rgid",
    "cap_effective",
    "nstype",
    "image",
    "new_root",
    "put_old",
    "initrd_fd",
    "kernel_fd",
    "entries",
    "uargs",
    "attribute",
    "times_set",
    "ino",
    "size",
];

/// Whether an argument has this name.
pub fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Adds the argument with this name; as text unless `raw`.
pub fn push<'a>(facts: &Facts<'a>, name: &str, raw: bool, out: &mut Values<'a>) {
    let arg = match &facts.event.what {
        What::Activity(activity) => of_activity(activity, name),
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
pub fn push_at<'a>(facts: &Facts<'a>, index: usize, raw: bool, out: &mut Values<'a>) {
    let mut at = 0;
    for name in NAMES {
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
pub fn push_all<'a>(facts: &Facts<'a>, out: &mut Values<'a>) {
    // Each is put at the end of the buffer, after its name; what was put together stays where it is.
    let start = out.text.len();
    for name in NAMES {
        let (count, mark) = (out.list.len(), out.text.len());
        if mark > start {
            out.text.push(b' ');
        }
        out.text.extend_from_slice(name.as_bytes());
        out.text.push(b'=');
        push(facts, name, false, out);
        match out.list.pop().filter(|_| out.list.len() == count) {
            Some(super::value::Value::Made { .. }) => {}
            Some(super::value::Value::Bytes(bytes)) => out.text.extend_from_slice(bytes),
            Some(super::value::Value::Number(number)) => {
                out.text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            _ => {
                out.list.truncate(count);
                out.text.truncate(mark);
            }
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

fn of_activity<'a>(activity: &'a Activity, name: &str) -> Arg<'a> {
    let at = |index: usize| activity.args.get(index).copied().unwrap_or(0);
    let int = |index: usize| Arg::Number(i64::from(at(index) as i32));
    let id = |index: usize| Arg::Number(if at(index) as u32 == u32::MAX { -1 } else { i64::from(at(index) as u32) });
    let made = matches!(name, "fd").then(|| fd::number(activity)).flatten();
    match (name, activity.act) {
        ("res", _) => Arg::Result(activity.result),
        ("fd", _) => made.map_or(Arg::None, Arg::Number),
        ("pid" | "tid", Act::Ptrace | Act::Signal | Act::ProcessVm) => {
            activity.target.map_or(Arg::None, |target| Arg::Number(target.tgid.into()))
        }
        ("ino", _) => activity.file.map_or(Arg::None, |file| Arg::Number(file.inode.try_into().unwrap_or(i64::MAX))),
        _ => match activity.act {
            Act::FileOpen
            | Act::Unlink
            | Act::Rmdir
            | Act::Mkdir
            | Act::Mknod
            | Act::Chmod
            | Act::Chown
            | Act::Truncate
            | Act::Setxattr
            | Act::Utimens
            | Act::Rename
            | Act::Link
            | Act::Symlink => of_file(activity, name),
            Act::Socket | Act::Connect | Act::Bind | Act::Listen | Act::Accept | Act::Send => of_socket(activity, name),
            Act::Mount => of_mount(activity, name),
            Act::Chroot => match (activity.call, name) {
                ("chroot", "path" | "name") | ("pivot_root", "new_root") => full(&activity.name),
                ("pivot_root", "put_old") => full(&activity.other),
                _ => Arg::None,
            },
            Act::Dup => match name {
                "oldfd" => int(0),
                "newfd" if activity.call != "dup" => int(1),
                "flags" if activity.call == "dup3" => Arg::Bits(flags::OPEN, at(2)),
                _ => Arg::None,
            },
            Act::Ioctl => match name {
                "request" => Arg::Named(flags::IOCTL, at(1) & 0xffff_ffff),
                "arg2" | "data" => Arg::Number(at(2) as i64),
                _ => Arg::None,
            },
            Act::Setns => match name {
                "nstype" | "flags" => Arg::Bits(flags::CLONE, at(1)),
                _ => Arg::None,
            },
            Act::Unshare => match name {
                "flags" => Arg::Bits(flags::CLONE, at(0)),
                _ => Arg::None,
            },
            Act::Ptrace => match name {
                "request" => Arg::Named(flags::PTRACE, at(0)),
                "addr" => Arg::Number(at(2) as i64),
                "data" => Arg::Number(at(3) as i64),
                _ => Arg::None,
            },
            Act::Signal => {
                let index = if matches!(activity.call, "tgkill" | "rt_tgsigqueueinfo") { 2 } else { 1 };
                match name {
                    "sig" => Arg::Signal(at(index)),
                    "signum" => Arg::Number(at(index) as i64),
                    _ => Arg::None,
                }
            }
            Act::Prctl => match name {
                "option" => Arg::Named(flags::PRCTL, at(0)),
                "arg2_str" | "name" => raw(&activity.name),
                "arg2" | "arg2_int" => Arg::Number(at(1) as i64),
                _ => Arg::None,
            },
            Act::SetIds => of_ids(activity, name, id),
            Act::Capset => match name {
                "cap_effective" => Arg::Line,
                _ => Arg::None,
            },
            Act::Module => match (activity.call, name) {
                ("init_module", "length") => Arg::Number(at(1) as i64),
                ("init_module", "uargs") | ("finit_module", "uargs") => raw(&activity.other),
                ("finit_module", "flags") => Arg::Bits(flags::MODULE, at(2)),
                ("delete_module", "name") => raw(&activity.name),
                ("delete_module", "flags") => Arg::Number(at(1) as i64),
                _ => Arg::None,
            },
            Act::Bpf => match name {
                "cmd" => Arg::Named(flags::BPF, at(0)),
                _ => Arg::None,
            },
            Act::Kexec => match (activity.call, name) {
                ("kexec_file_load", "kernel_fd") => int(0),
                ("kexec_file_load", "initrd_fd") => int(1),
                ("kexec_file_load", "flags") => Arg::Number(at(4) as i64),
                ("kexec_load", "flags") => Arg::Number(at(3) as i64),
                _ => Arg::None,
            },
            Act::MemoryExec => match name {
                "addr" => Arg::Number(at(0) as i64),
                "length" => Arg::Number(at(1) as i64),
                "prot" => Arg::Bits(flags::PROTECTION, at(2)),
                "flags" if activity.call.starts_with("mmap") => Arg::Bits(flags::MAP, at(3)),
                "offset" if activity.call.starts_with("mmap") => Arg::Number(at(5) as i64),
                _ => Arg::None,
            },
            Act::MemfdCreate => match name {
                "name" => raw(&activity.name),
                "flags" => Arg::Bits(flags::MEMFD, at(1)),
                _ => Arg::None,
            },
            Act::Userfaultfd => match name {
                "flags" => Arg::Bits(flags::USERFAULTFD, at(0)),
                _ => Arg::None,
            },
            Act::IoUring => match (activity.call, name) {
                ("io_uring_setup", "entries") => Arg::Number(at(0) as i64),
                _ => Arg::None,
            },
            Act::ProcessVm | Act::Throttle => Arg::None,
        },
    }
}

fn of_file<'a>(activity: &'a Activity, name: &str) -> Arg<'a> {
    let at = |index: usize| activity.args.get(index).copied().unwrap_or(0);
    let int = |index: usize| Arg::Number(i64::from(at(index) as i32));
    let id = |index: usize| Arg::Number(if at(index) as u32 == u32::MAX { -1 } else { i64::from(at(index) as u32) });
    // Calls with a directory's descriptor have everything one place later.
    let shift = usize::from(activity.call.contains("at") && activity.call != "creat");
    match activity.act {
        Act::FileOpen => match name {
            // Falco tells the name of openat as it was passed, and the others' too.
            "name" | "path" => raw(&activity.name),
            "dirfd" if shift == 1 => int(0),
            "flags" => {
                let created = evt::open(activity).is_some_and(|open| open.created);
                Arg::Open(evt::open_flags(activity), created)
            }
            "mode" if evt::open_flags(activity) & libc::O_CREAT as u64 != 0 => match activity.call {
                "openat2" => {
                    activity.file.map_or(Arg::None, |file| Arg::Bits(flags::MODE, (file.mode & 0o7777).into()))
                }
                "creat" => Arg::Bits(flags::MODE, at(1)),
                _ => Arg::Bits(flags::MODE, at(2 + shift)),
            },
            "dev" => activity.file.map_or(Arg::None, |file| Arg::Number(file.device.into())),
            _ => Arg::None,
        },
        Act::Unlink | Act::Rmdir | Act::Mkdir | Act::Mknod => match name {
            "path" | "name" => full(&activity.name),
            "dirfd" if shift == 1 => int(0),
            "flags" if activity.call == "unlinkat" => Arg::Bits(flags::UNLINK, at(2)),
            "mode" if matches!(activity.act, Act::Mkdir | Act::Mknod) => Arg::Bits(flags::MODE, at(1 + shift)),
            "dev" if activity.act == Act::Mknod => Arg::Number(at(2 + shift) as i64),
            _ => Arg::None,
        },
        Act::Chmod => match name {
            "filename" | "path" => full(&activity.name),
            "mode" => Arg::Bits(flags::MODE, at(1 + shift)),
            "dirfd" if shift == 1 => int(0),
            _ => Arg::None,
        },
        Act::Chown => match name {
            "path" | "pathname" => full(&activity.name),
            "uid" => id(1 + shift),
            "gid" => id(2 + shift),
            "dirfd" if shift == 1 => int(0),
            _ => Arg::None,
        },
        Act::Truncate => match name {
            "path" => full(&activity.name),
            "length" => Arg::Number(at(1) as i64),
            _ => Arg::None,
        },
        Act::Setxattr => match name {
            "path" => full(&activity.name),
            "name" | "attribute" => raw(&activity.other),
            _ => Arg::None,
        },
        Act::Utimens => match name {
            "path" | "name" => full(&activity.name),
            "times_set" => Arg::Bool(at(1 + shift) != 0),
            _ => Arg::None,
        },
        Act::Symlink => match name {
            "linkpath" => full(&activity.name),
            "target" => raw(&activity.other),
            "linkdirfd" if shift == 1 => int(1),
            _ => Arg::None,
        },
        Act::Rename | Act::Link => match name {
            "oldpath" => full(&activity.name),
            "newpath" => full(&activity.other),
            "olddirfd" if shift == 1 => int(0),
            "newdirfd" if shift == 1 => int(2),
            "flags" if activity.call == "renameat2" => Arg::Number(at(4) as i64),
            "flags" if activity.call == "linkat" => Arg::Bits(flags::LINK, at(4)),
            _ => Arg::None,
        },
        _ => Arg::None,
    }
}

fn of_socket<'a>(activity: &'a Activity, name: &str) -> Arg<'a> {
    let at = |index: usize| activity.args.get(index).copied().unwrap_or(0);
    match (activity.act, name) {
        (Act::Socket, "domain") => Arg::Named(flags::FAMILY, at(0)),
        (Act::Socket, "type") => Arg::Named(flags::SOCKET, at(1) & 0xff),
        (Act::Socket, "proto") => Arg::Number(at(2) as i64),
        (Act::Listen, "backlog") => Arg::Number(i64::from(at(1) as i32)),
        (Act::Connect | Act::Bind | Act::Accept | Act::Send, "tuple" | "addr") if activity.socket.is_some() => {
            Arg::Line
        }
        (Act::Accept, "flags") if activity.call == "accept4" => Arg::Number(at(3) as i64),
        (Act::Send, "size") if activity.call == "sendto" => Arg::Number(at(2) as i64),
        _ => Arg::None,
    }
}

fn of_mount<'a>(activity: &'a Activity, name: &str) -> Arg<'a> {
    let at = |index: usize| activity.args.get(index).copied().unwrap_or(0);
    match (activity.call, name) {
        ("mount", "flags") => Arg::Bits(flags::MOUNT, at(3)),
        ("umount" | "umount2", "flags") => Arg::Bits(flags::UMOUNT, at(1)),
        ("mount", "dev" | "source") => raw(&activity.other),
        ("mount", "dir" | "target") => full(&activity.name),
        ("move_mount", "source") => full(&activity.other),
        ("move_mount", "target") => full(&activity.name),
        ("fsopen", "type") => raw(&activity.name),
        (_, "name" | "path") => full(&activity.name),
        _ => Arg::None,
    }
}

fn of_ids<'a>(activity: &'a Activity, name: &str, id: impl Fn(usize) -> Arg<'a>) -> Arg<'a> {
    let call = activity.call.trim_end_matches("32");
    match (call, name) {
        ("setuid" | "setfsuid", "uid") | ("setgid" | "setfsgid", "gid") => id(0),
        ("setreuid" | "setresuid", "ruid") | ("setregid" | "setresgid", "rgid") => id(0),
        ("setreuid" | "setresuid", "euid") | ("setregid" | "setresgid", "egid") => id(1),
        ("setresuid", "suid") | ("setresgid", "sgid") => id(2),
        _ => Arg::None,
    }
}
