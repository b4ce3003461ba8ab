//! Which activity each system call is, by its name: numbers differ between machines and calling conventions.

use std::sync::LazyLock;

use monitor_common::signals::{
    activity::{Act, BEHIND_POINTER, Class, Entry, FLAGS_BEHIND, SEVERAL, SPECIAL, Via, place},
    syscalls::{CALL_UNKNOWN, CALLS, CALLS_PER_ABI, call_index},
};

use crate::signals::syscalls::table::calls;

/// A row of [`ACTS`].
struct Row {
    /// The kind; `None`: one of several of the class, as the arguments tell.
    act: Option<Act>,
    class: Class,
    /// Where the first name is, and where the second one or the flags are.
    name: u8,
    other: u8,
    /// Names of system calls, separated by spaces.
    calls: &'static str,
}

const fn row(act: Act, name: u8, other: u8, calls: &'static str) -> Row {
    Row { act: Some(act), class: act.class(), name, other, calls }
}

/// Calls without a name whose arguments matter only to the class's program.
const fn plain(act: Act, calls: &'static str) -> Row {
    row(act, 0, 0, calls)
}

/// Name in the first argument, or in the second one …
const PATH: u8 = place(0, 1);
const PATH_2: u8 = place(0, 2);
/// … relative to a descriptor before it.
const AT: u8 = place(1, 2);
const AT_2: u8 = place(2, 3);
const AT_3: u8 = place(3, 4);
/// No name: the first argument is the file's descriptor.
const FD: u8 = place(1, 0);

/// What system calls are. Those that are not here are no activity.
const ACTS: &[Row] = &[
    row(Act::FileOpen, PATH, place(0, 2), "open"),
    row(Act::FileOpen, AT, place(0, 3), "openat"),
    row(Act::FileOpen, AT, place(0, 3) | FLAGS_BEHIND, "openat2"),
    row(Act::FileOpen, PATH, 0, "creat"),
    row(Act::FileOpen, FD, place(0, 3), "open_by_handle_at"),
    row(Act::Unlink, PATH, 0, "unlink"),
    // Removes a directory with AT_REMOVEDIR.
    Row { act: None, class: Class::FileChange, name: AT, other: 0, calls: "unlinkat" },
    row(Act::Rmdir, PATH, 0, "rmdir"),
    row(Act::Rename, PATH, PATH_2, "rename"),
    row(Act::Rename, AT, AT_3, "renameat renameat2"),
    row(Act::Link, PATH, PATH_2, "link"),
    row(Act::Link, AT, AT_3, "linkat"),
    // The new name first, then the text.
    row(Act::Symlink, PATH_2, PATH, "symlink"),
    row(Act::Symlink, AT_2, PATH, "symlinkat"),
    row(Act::Mkdir, PATH, 0, "mkdir"),
    row(Act::Mkdir, AT, 0, "mkdirat"),
    row(Act::Mknod, PATH, 0, "mknod"),
    row(Act::Mknod, AT, 0, "mknodat"),
    row(Act::Chmod, PATH, 0, "chmod"),
    row(Act::Chmod, FD, 0, "fchmod"),
    row(Act::Chmod, AT, 0, "fchmodat fchmodat2"),
    row(Act::Chown, PATH, 0, "chown chown32 lchown lchown32"),
    row(Act::Chown, FD, 0, "fchown fchown32"),
    row(Act::Chown, AT, 0, "fchownat"),
    row(Act::Truncate, PATH, 0, "truncate truncate64"),
    row(Act::Truncate, FD, 0, "ftruncate ftruncate64"),
    row(Act::Setxattr, PATH, PATH_2, "setxattr lsetxattr removexattr lremovexattr"),
    row(Act::Setxattr, FD, PATH_2, "fsetxattr fremovexattr"),
    row(Act::Setxattr, AT, place(0, 4), "setxattrat removexattrat"),
    row(Act::Utimens, PATH, 0, "utime utimes"),
    row(Act::Utimens, AT, 0, "futimesat utimensat utimensat_time64"),
    row(Act::Ioctl, FD, 0, "ioctl"),
    // Flags of a file, as the ioctl FS_IOC_FSSETXATTR sets them.
    row(Act::Ioctl, AT, 0, "file_setattr"),
    plain(Act::Dup, "dup dup2 dup3"),
    // Of its commands only those that copy.
    row(Act::Dup, 0, SPECIAL, "fcntl fcntl64"),
    plain(Act::Socket, "socket"),
    plain(Act::Connect, "connect"),
    plain(Act::Bind, "bind"),
    plain(Act::Listen, "listen"),
    plain(Act::Accept, "accept accept4"),
    plain(Act::Send, "sendto"),
    row(Act::Send, 0, BEHIND_POINTER, "sendmsg sendmmsg"),
    // All of them in one, for 32-bit programs.
    Row { act: None, class: Class::Network, name: 0, other: 0, calls: "socketcall" },
    // The place first, then what is put there.
    row(Act::Mount, PATH_2, PATH, "mount"),
    row(Act::Mount, PATH, 0, "umount umount2"),
    // From where first, then to where.
    row(Act::Mount, AT, AT_3, "move_mount"),
    row(Act::Mount, AT, 0, "mount_setattr open_tree open_tree_attr fspick"),
    plain(Act::Mount, "fsmount"),
    // Words, not paths.
    row(Act::Mount, PATH, SPECIAL, "fsopen"),
    row(Act::Mount, place(0, 3), place(0, 4) | SPECIAL, "fsconfig"),
    row(Act::Chroot, PATH, 0, "chroot"),
    row(Act::Chroot, PATH, PATH_2, "pivot_root"),
    plain(Act::Setns, "setns"),
    plain(Act::Unshare, "unshare"),
    row(Act::Unshare, 0, SPECIAL, "clone"),
    row(Act::Unshare, 0, BEHIND_POINTER, "clone3"),
    // Where the other process's number or descriptor is, then what is asked.
    row(Act::Ptrace, place(0, 2), 1, "ptrace"),
    row(Act::ProcessVm, place(0, 1), 0, "process_vm_readv process_vm_writev"),
    row(Act::ProcessVm, FD, 0, "pidfd_getfd"),
    row(Act::Signal, place(0, 1), 2, "kill tkill rt_sigqueueinfo"),
    row(Act::Signal, place(0, 2), 3, "tgkill rt_tgsigqueueinfo"),
    row(Act::Signal, FD, 2, "pidfd_send_signal"),
    plain(Act::Prctl, "prctl"),
    // Not those for file access alone (setfsuid, setfsgid): file servers make them for each request, and whoever can has
    // the other ones too.
    plain(
        Act::SetIds,
        "setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid \
         setresgid32 setgroups setgroups32",
    ),
    plain(Act::Capset, "capset"),
    // A file's descriptor or a name first, then parameters.
    row(Act::Module, 0, place(0, 3), "init_module"),
    row(Act::Module, FD, PATH_2, "finit_module"),
    row(Act::Module, PATH, 0, "delete_module"),
    plain(Act::Bpf, "bpf"),
    plain(Act::Kexec, "kexec_load"),
    row(Act::Kexec, FD, place(0, 4), "kexec_file_load"),
    plain(Act::MemoryExec, "mmap mmap2"),
    row(Act::MemoryExec, 0, SPECIAL, "mprotect pkey_mprotect"),
    row(Act::MemfdCreate, PATH, 0, "memfd_create"),
    plain(Act::MemfdCreate, "memfd_secret"),
    plain(Act::Userfaultfd, "userfaultfd"),
    plain(Act::IoUring, "io_uring_setup"),
];

/// Calls that take a path, or something that the kernel declares in the same way, and are no activity, with the reason.
const WAIVED: &[(&str, &str)] = &[
    ("execve execveat", "told by signal exec, from the kernel's own file"),
    ("uselib", "no kernel since Linux 5.1 is built with it for this machine"),
    (
        "stat lstat newstat newlstat newfstatat fstatat fstatat64 stat64 lstat64 oldstat oldlstat statx statfs statfs64",
        "changes nothing",
    ),
    ("access faccessat faccessat2 readlink readlinkat", "changes nothing, and gives no contents away"),
    ("getxattr lgetxattr getxattrat listxattr llistxattr listxattrat", "changes nothing"),
    ("name_to_handle_at file_getattr", "changes nothing; what is opened by a handle is told"),
    ("inotify_add_watch fanotify_mark", "changes nothing, and gives no contents away"),
    ("chdir fchdir getcwd", "names are told with the directory that they are relative to"),
    ("mq_open mq_unlink", "message queues are no files of a file system that rules look at"),
    ("swapon swapoff", "needs CAP_SYS_ADMIN, and gives no access that this does not"),
    ("acct", "needs CAP_SYS_PACCT; the file is opened by the kernel"),
    ("quotactl", "needs CAP_SYS_ADMIN for what changes something"),
    ("fgetxattr flistxattr", "changes nothing"),
    ("add_key request_key getsockopt setsockopt sethostname setdomainname", "takes a text that is no path"),
    ("read write pread64 pwrite64 mq_timedreceive mq_timedsend getrandom syslog shmat shmdt", "takes bytes, no path"),
];

/// docs/ACTIVITIES.md.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Activities\n\n\
         Generated by `cargo xtask docs` from the tables in the code. Which system calls can be told as activities, by \
         kind; an io_uring request and a call of a 32-bit program count as the call that does the same. What of it leaves \
         the kernel is what rules or `activity.kinds` and `activity.watch` select.\n\n\
         | kind | system calls |\n|---|---|\n",
    );
    let rows = |act: Option<Act>| ACTS.iter().filter(move |row| row.act == act);
    let code =
        |calls: &str| calls.split_ascii_whitespace().map(|call| format!("`{call}`")).collect::<Vec<_>>().join(" ");
    for act in Act::ALL {
        let calls: Vec<String> = rows(Some(*act)).map(|row| code(row.calls)).collect();
        if !calls.is_empty() {
            page.push_str(&format!("| `{}` | {} |\n", act.name(), calls.join(" ")));
        }
    }
    for row in rows(None) {
        page.push_str(&format!("| as the arguments tell | {} |\n", code(row.calls)));
    }
    page.push_str(
        "\n## Left out\n\n\
         Every system call of the running kernel that takes a path is in the table above or, with the reason, here; a test \
         compares both with what the kernel says of its calls.\n\n\
         | system calls | why |\n|---|---|\n",
    );
    for (calls, reason) in WAIVED {
        page.push_str(&format!("| {} | {reason} |\n", code(calls)));
    }
    page
}

fn listed(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|other| other == name)
}

fn find(name: &str) -> Option<&'static Row> {
    ACTS.iter().find(|row| listed(row.calls, name))
}

/// May the call named `name` be an activity?
pub fn is_activity(name: &str) -> bool {
    find(name).is_some()
}

/// The kernel programs' table for this machine.
pub fn activity_table() -> Vec<Entry> {
    let mut table = vec![Entry::default(); CALLS];
    for (index, name) in calls() {
        if let (Some(entry), Some(row)) = (table.get_mut(index as usize), find(name)) {
            let act = row.act.map_or(SEVERAL, |act| act as u8);
            // The one name with two meanings: 32-bit programs pass all arguments of the old mmap in memory.
            let behind = if name == "mmap" && index >= CALLS_PER_ABI { BEHIND_POINTER } else { 0 };
            *entry = Entry { act, class: row.class as u8, name: row.name, other: row.other | behind };
        }
    }
    table
}

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut names = vec!["unknown"; CALLS];
    for (index, name) in calls() {
        if let Some(entry) = names.get_mut(index as usize) {
            *entry = name;
        }
    }
    names
});

/// Requests in an io_uring by the calls that do the same (include/uapi/linux/io_uring.h).
const REQUESTS: &[(u32, &str)] = &[
    (9, "sendmsg"),
    (13, "accept"),
    (16, "connect"),
    (18, "openat"),
    (28, "openat2"),
    (35, "renameat"),
    (36, "unlinkat"),
    (37, "mkdirat"),
    (38, "symlinkat"),
    (39, "linkat"),
    (41, "fsetxattr"),
    (42, "setxattr"),
    (45, "socket"),
    (48, "sendmsg"),
    (55, "ftruncate"),
    (56, "bind"),
    (57, "listen"),
];

/// Name of the system call with this number in the convention of `via`; of an io_uring request the call that does the
/// same. `unknown` where there is none.
pub fn call_name(call: u32, via: Via) -> &'static str {
    let native = |compat| {
        let index = call_index(u64::from(call), compat);
        if index & CALL_UNKNOWN == CALL_UNKNOWN { None } else { NAMES.get(index as usize).copied() }
    };
    let name = match via {
        Via::Native => native(false),
        Via::Compat => native(true),
        Via::IoUring => REQUESTS.iter().find(|(number, _)| *number == call).map(|(_, name)| *name),
    };
    name.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_call_is_one_thing_only() {
        let mut seen = BTreeSet::new();
        let acts = ACTS.iter().flat_map(|row| row.calls.split_ascii_whitespace());
        let waived = WAIVED.iter().flat_map(|(names, _)| names.split_ascii_whitespace());
        for name in acts.chain(waived) {
            assert!(seen.insert(name), "{name} twice");
        }
    }

    #[test]
    fn every_kind_has_a_call_but_what_the_programs_tell_of_themselves() {
        let named: BTreeSet<Act> = ACTS.iter().filter_map(|row| row.act).collect();
        let missing: Vec<&Act> = Act::ALL.iter().filter(|act| !named.contains(act)).collect();
        assert_eq!(missing, [&Act::Throttle, &Act::Heartbeat, &Act::Denied]);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn twins_of_both_conventions_are_the_same_activity() {
        let table = activity_table();
        let entry = |number, compat| table[call_index(number, compat) as usize];
        assert_eq!(entry(257, false), entry(295, true), "openat");
        assert_eq!(entry(2, false), entry(5, true), "open");
        assert_eq!(entry(257, false), Entry { act: Act::FileOpen as u8, class: 0, name: 0x12, other: 3 });
        assert_eq!(entry(437, false).other, 0x80 | 3, "openat2");
        assert_eq!(entry(263, false), Entry { act: SEVERAL, class: Class::FileChange as u8, name: 0x12, other: 0 });
        assert_eq!(entry(39, false), Entry::default(), "getpid");
        assert_eq!(entry(102, true).class, Class::Network as u8, "socketcall");
        assert_eq!(
            (entry(9, false).other, entry(90, true).other, entry(192, true).other),
            (0, BEHIND_POINTER, 0),
            "mmap"
        );
    }

    #[test]
    fn names_are_found_again() {
        for (index, name) in calls().filter(|(index, _)| *index < 512) {
            assert_eq!(call_name(index, Via::Native), name);
        }
        assert_eq!(call_name(18, Via::IoUring), "openat");
        assert_eq!(call_name(u32::MAX, Via::Native), "unknown");
        assert_eq!(call_name(u32::MAX, Via::IoUring), "unknown");
        #[cfg(target_arch = "x86_64")]
        assert_eq!(call_name(5, Via::Compat), "open");
    }
}
