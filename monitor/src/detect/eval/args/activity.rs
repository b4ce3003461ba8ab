//! Arguments of calls about sockets, processes, mounts, credentials, the kernel.

use monitor_common::signals::activity::Act;

use super::super::{fields::fd, flags};
use super::{Arg, file, full, raw};
use crate::signals::activity::Activity;

/// The argument with this name.
pub(super) fn argument<'a>(activity: &'a Activity, name: &str) -> Arg<'a> {
    let at = |index: usize| activity.args.get(index).copied().unwrap_or(0);
    let int = |index: usize| Arg::Number(i64::from(at(index) as i32));
    let id = |index: usize| Arg::Number(if at(index) as u32 == u32::MAX { -1 } else { i64::from(at(index) as u32) });
    let made = matches!(name, "fd").then(|| fd::number(activity)).flatten();
    match (name, activity.act) {
        ("res", _) => Arg::Result(activity.result),
        ("fd", _) => made.map_or(Arg::None, Arg::Number),
        ("pid" | "tid", Act::Ptrace | Act::Signal | Act::ProcessVm | Act::Denied) => {
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
            | Act::Symlink => file::argument(activity, name),
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
            Act::Denied => match (name, at(0)) {
                ("what", _) => Arg::Named(flags::DENIED, at(0)),
                ("sig", 0) => Arg::Signal(at(1)),
                ("id", 2 | 3) => Arg::Number(at(1) as i64),
                _ => Arg::None,
            },
            Act::ProcessVm | Act::Throttle | Act::Heartbeat => Arg::None,
        },
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
