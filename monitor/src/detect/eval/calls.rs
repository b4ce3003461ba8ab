//! Names of events, and which kind of activity each is.

use monitor_common::signals::activity::Act;

use crate::detect::{Event, What};

/// An exec is told when it has happened: whether by execve or execveat makes no difference.
const EXEC: &[&str] = &["execve", "execveat"];
/// Nor does how a process was created.
const FORK: &[&str] = &["clone", "clone3", "fork", "vfork"];
const EXIT: &[&str] = &["procexit"];

/// The names of the event, the usual one first: `evt.type` is equal to each of them.
pub(super) fn names(event: &Event) -> &[&'static str] {
    match &event.what {
        What::Exec(_) => EXEC,
        What::Fork { .. } => FORK,
        What::Exit { .. } => EXIT,
        What::Activity(activity) => std::slice::from_ref(&activity.call),
    }
}

/// The usual name of the event.
pub(super) fn name(event: &Event) -> &'static str {
    match &event.what {
        What::Exec(_) => "execve",
        What::Fork { .. } => "clone",
        What::Exit { .. } => "procexit",
        What::Activity(activity) => activity.call,
    }
}

/// All names that one kind of event has, by one of them.
pub(super) fn same(name: &str) -> Option<&'static [&'static str]> {
    [EXEC, FORK, EXIT].into_iter().find(|names| names.contains(&name))
}

/// Calls by the kind of activity that they are.
const CALLS: &[(Act, &[&str])] = &[
    (Act::FileOpen, &["open", "openat", "openat2", "creat", "open_by_handle_at"]),
    (Act::Unlink, &["unlink", "unlinkat"]),
    // unlinkat(AT_REMOVEDIR) is told as this kind, with its own name.
    (Act::Rmdir, &["rmdir", "unlinkat"]),
    (Act::Rename, &["rename", "renameat", "renameat2"]),
    (Act::Link, &["link", "linkat"]),
    (Act::Symlink, &["symlink", "symlinkat"]),
    (Act::Mkdir, &["mkdir", "mkdirat"]),
    (Act::Mknod, &["mknod", "mknodat"]),
    (Act::Chmod, &["chmod", "fchmod", "fchmodat", "fchmodat2"]),
    (Act::Chown, &["chown", "fchown", "lchown", "fchownat", "chown32", "fchown32", "lchown32"]),
    (Act::Truncate, &["truncate", "ftruncate", "truncate64", "ftruncate64", "fallocate"]),
    (
        Act::Setxattr,
        &[
            "setxattr",
            "lsetxattr",
            "fsetxattr",
            "setxattrat",
            "removexattr",
            "lremovexattr",
            "fremovexattr",
            "removexattrat",
        ],
    ),
    (Act::Utimens, &["utime", "utimes", "utimensat", "futimesat", "utimensat_time64"]),
    (Act::Ioctl, &["ioctl", "file_setattr"]),
    (Act::Dup, &["dup", "dup2", "dup3", "fcntl", "fcntl64"]),
    (Act::Socket, &["socket", "socketpair"]),
    (Act::Connect, &["connect"]),
    (Act::Bind, &["bind"]),
    (Act::Listen, &["listen"]),
    (Act::Accept, &["accept", "accept4"]),
    (Act::Send, &["sendto", "sendmsg", "sendmmsg"]),
    (
        Act::Mount,
        &[
            "mount",
            "umount",
            "umount2",
            "move_mount",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "open_tree",
            "open_tree_attr",
            "mount_setattr",
        ],
    ),
    (Act::Chroot, &["chroot", "pivot_root"]),
    (Act::Setns, &["setns"]),
    (Act::Unshare, &["unshare", "clone", "clone3"]),
    (Act::Ptrace, &["ptrace"]),
    (Act::ProcessVm, &["process_vm_readv", "process_vm_writev", "pidfd_getfd", "process_madvise"]),
    (Act::Signal, &["kill", "tkill", "tgkill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo"]),
    (Act::Prctl, &["prctl"]),
    (
        Act::SetIds,
        &[
            "setuid",
            "setgid",
            "setreuid",
            "setregid",
            "setresuid",
            "setresgid",
            "setfsuid",
            "setfsgid",
            "setgroups",
            "setuid32",
            "setgid32",
            "setreuid32",
            "setregid32",
            "setresuid32",
            "setresgid32",
            "setfsuid32",
            "setfsgid32",
            "setgroups32",
        ],
    ),
    (Act::Capset, &["capset"]),
    (Act::Module, &["init_module", "finit_module", "delete_module"]),
    (Act::Bpf, &["bpf"]),
    (Act::Kexec, &["kexec_load", "kexec_file_load"]),
    (Act::MemoryExec, &["mmap", "mmap2", "mprotect", "pkey_mprotect"]),
    (Act::MemfdCreate, &["memfd_create", "memfd_secret"]),
    (Act::Userfaultfd, &["userfaultfd"]),
    (Act::IoUring, &["io_uring_setup", "io_uring_enter", "io_uring_register"]),
    (Act::Throttle, &["throttle", "event_loss"]),
    (Act::Heartbeat, &["heartbeat", "agent_blind"]),
    (Act::Denied, &["denied"]),
];

/// The kinds of activity that a call with this name may be told as, as bits.
pub(super) fn acts(name: &str) -> u64 {
    CALLS.iter().filter(|(_, names)| names.contains(&name)).fold(0, |bits, (act, _)| bits | act.bit())
}

/// Every name that a call may have, and those of exec, fork and exit.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    CALLS.iter().flat_map(|(_, names)| names.iter().copied()).chain(EXEC.iter().chain(FORK).chain(EXIT).copied())
}
