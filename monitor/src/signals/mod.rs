//! Every signal the daemon knows: one entry in [`SIGNALS`], one module beside this file, and files of the same name in
//! `monitor-ebpf/src/signals/`, `monitor-common/src/signals/` and `tests/signals/`.

pub mod activity;
pub mod block_io;
pub mod exec;
pub mod exec_kill;
pub mod host;
pub mod keyed;
pub mod l7;
pub mod protect;
pub mod syscalls;
pub mod tcp;

use monitor_common::signals::activity::Class;

use crate::bpf::{Program, programs};

/// A hook of a signal.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The kernel program and where it goes.
    pub program: Program,
    /// What the signal is without it.
    pub need: Need,
}

/// What a signal is without one of its hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is off.
    Required,
    /// Less: this is what is lost.
    Optional(&'static str),
    /// Less: it stands in for the first hook named, and is used only without that one. This is lost without either.
    InPlaceOf(&'static str, &'static str),
    /// Nothing, unless the kernel has the function named: the program where that returns stands in.
    Better(&'static str),
    /// Nothing: it is off. It stands in for the hook named, and is used only without that one.
    OrElse(&'static str),
    /// Nothing, where system calls are timed in this way; elsewhere it is not used.
    For(Timing),
    /// Nothing: it is off. The program is loaded, and attached only when there is something for it to do: then. This is so
    /// without it.
    OnDemand(&'static str, &'static str),
    /// Less: this is lost. The program is not attached: the one on its hook goes on in it for calls of the class.
    TailCall(Class, &'static str),
    /// Less: this is lost. The program is loaded, and attached to functions of libraries as these are found.
    InLibraries(&'static str),
}

/// How much of the system calls is timed. All of them are counted, with their errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timing {
    /// Every call.
    #[default]
    Full,
    /// The first ones of each thread in each window of time, then a random few that stand for the others.
    Adaptive,
    /// None.
    Counts,
}

impl Timing {
    /// All there are, the dearest first.
    pub const ALL: [Self; 3] = [Self::Full, Self::Adaptive, Self::Counts];

    /// The word for it, in the configuration and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Adaptive => "adaptive",
            Self::Counts => "counts",
        }
    }

    /// The program on `sys_enter` that does it.
    pub const fn program(self) -> Option<Program> {
        match self {
            Self::Full => Some(programs::SYS_ENTER),
            Self::Adaptive => Some(programs::SYS_ENTER_ADAPTIVE),
            Self::Counts => None,
        }
    }
}

/// What a signal is made of. Plain data: the loader, `doctor`, the documentation and the tests read it.
#[derive(Debug)]
pub struct Signal {
    /// Its name, in the configuration (`signals.NAME`), in metrics and in messages.
    pub name: &'static str,
    /// What it tells, in one sentence.
    pub summary: &'static str,
    /// Its hooks, in the order in which they are attached.
    pub hooks: &'static [Hook],
    /// Entries of the offset table that it cannot do without.
    pub fields: &'static [&'static str],
    /// The signals whose hooks it needs too.
    pub needs: &'static [&'static str],
}

const fn required(program: Program) -> Hook {
    Hook { program, need: Need::Required }
}

const fn optional(program: Program, lost: &'static str) -> Hook {
    Hook { program, need: Need::Optional(lost) }
}

const fn behind(program: Program, class: Class, lost: &'static str) -> Hook {
    Hook { program, need: Need::TailCall(class, lost) }
}

const fn in_libraries(program: Program) -> Hook {
    Hook { program, need: Need::InLibraries("what is said inside TLS") }
}

const fn stands_in(program: Program, for_hook: &'static str, lost: &'static str) -> Hook {
    Hook { program, need: Need::InPlaceOf(for_hook, lost) }
}

/// What is lost where nobody tells of datagrams.
const QUESTIONS: &str = "questions for names over UDP";
/// What is lost without either hook of io_uring.
const THROUGH_RING: &str = "what is asked through io_uring";

/// Every signal. The first ones are what the others stand on.
pub static SIGNALS: &[Signal] = &[
    Signal {
        name: "process",
        summary: "Births, deaths and resource use of processes.",
        hooks: &[
            required(programs::PROCESS_EXIT),
            optional(programs::PROCESS_FREE, "what a process used between the last look at /proc and its end"),
            optional(programs::PROCESS_FORK, "processes that end before their first system call"),
        ],
        fields: &[
            "task_pid",
            "task_tgid",
            "task_flags",
            "task_group_leader",
            "task_start_boottime",
            "task_signal",
            "signal_live",
        ],
        needs: &[],
    },
    Signal {
        name: "exec",
        summary: "Programs executed, for security rules and the process table.",
        hooks: &[required(programs::EXEC)],
        fields: &[
            "task_pid",
            "task_tgid",
            "task_group_leader",
            "task_start_boottime",
            "task_real_parent",
            "task_cred",
            "task_mm",
            "cred_uid",
            "cred_euid",
            "bprm_file",
            "bprm_filename",
            "bprm_interp",
            "mm_arg_start",
            "mm_arg_end",
            "mm_env_start",
            "mm_env_end",
            "file_inode",
            "file_path_mnt",
            "file_path_dentry",
            "inode_mode",
            "inode_nlink",
            "dentry_parent",
            "dentry_name",
            "vfsmount_root",
            "mount_mnt",
            "mount_parent",
            "mount_mountpoint",
        ],
        needs: &["process"],
    },
    Signal {
        name: "exec_kill",
        summary: "Kills at exec, before the first instruction, where a rule's response allows it.",
        hooks: &[Hook { program: programs::EXEC_KILL, need: Need::OnDemand(exec_kill::WHEN, exec_kill::WITHOUT) }],
        fields: &[
            "task_tgid",
            "task_comm",
            "task_group_leader",
            "task_start_boottime",
            "task_cred",
            "task_cgroups",
            "cred_uid",
            "cred_euid",
            "cred_suid",
            "cred_gid",
            "cred_egid",
            "bprm_file",
            "file_inode",
            "file_path_mnt",
            "file_path_dentry",
            "inode_mode",
            "inode_ino",
            "inode_nlink",
            "inode_uid",
            "inode_sb",
            "inode_end",
            "sb_magic",
            "dentry_parent",
            "dentry_name",
            "vfsmount_root",
            "mount_mnt",
            "mount_parent",
            "mount_mountpoint",
            "css_set_links",
            "css_link_cgroup",
            "css_link_next",
            "cgroup_kn",
            "cgroup_root",
            "cgroup_root_hierarchy",
            "kernfs_node_id",
        ],
        needs: &["exec"],
    },
    Signal {
        name: "tcp",
        summary: "TCP connections, traffic, retransmits and resets.",
        hooks: &[
            required(programs::TCP_STATE),
            optional(programs::TCP_SEND, "traffic as it happens: bytes are read from each socket when it closes"),
            optional(programs::TCP_RECEIVE, "traffic as it happens: bytes are read from each socket when it closes"),
            optional(programs::TCP_RETRANSMIT, "retransmitted segments"),
            optional(programs::TCP_RETRANSMIT_SYNACK, "repeated answers to connection requests"),
            optional(programs::TCP_RESET_SENT, "resets sent"),
            optional(programs::TCP_RESET_RECEIVED, "resets received"),
            optional(programs::SYS_EXIT, "accepts that carry no traffic"),
        ],
        fields: &["sock_family", "sock_state", "sock_protocol", "sock_num"],
        needs: &["process"],
    },
    Signal {
        name: "l7",
        summary: "Requests and answers over TCP: response times of endpoints and queries.",
        hooks: &[
            required(programs::TCP_STATE),
            Hook { program: programs::TCP_SEND, need: Need::Better("tcp_sendmsg") },
            Hook { program: programs::TCP_RECEIVE, need: Need::Better("tcp_recvmsg") },
            Hook { program: programs::L7_TCP_SEND, need: Need::OrElse("sock_send_length") },
            Hook { program: programs::L7_TCP_RECEIVE, need: Need::OrElse("sock_recv_length") },
            stands_in(programs::L7_TCP_SEND_PAGE, "sock_send_length", "what sendfile sends"),
            stands_in(programs::L7_UDP_SEND, "sock_send_length", QUESTIONS),
            stands_in(programs::L7_UDP6_SEND, "sock_send_length", QUESTIONS),
            stands_in(programs::L7_UDP_RECEIVE, "sock_recv_length", QUESTIONS),
            stands_in(programs::L7_UDP6_RECEIVE, "sock_recv_length", QUESTIONS),
            in_libraries(programs::TLS_ENTER),
            in_libraries(programs::TLS_RETURN),
        ],
        fields: &["regs_orig_ax", "sock_dport"],
        needs: &["process", "tcp"],
    },
    Signal {
        name: "block_io",
        summary: "Latency, queue time, size and errors of block requests.",
        hooks: &[
            required(programs::BLOCK_COMPLETE),
            required(programs::BLOCK_ISSUE),
            optional(programs::BLOCK_START, "the submitting process, where a kernel worker queues the request for it"),
            Hook {
                program: programs::BLOCK_INSERT,
                need: Need::InPlaceOf("block_io_start", "how long requests wait in the queue"),
            },
        ],
        fields: &["request_q", "request_cmd_flags", "request_data_len", "disk_major", "disk_first_minor"],
        needs: &["process"],
    },
    Signal {
        name: "syscalls",
        summary: "Count, duration and errors of system calls.",
        // The exit first: a call that is entered in between is then counted without a duration, instead of not at all.
        hooks: &[
            required(programs::SYS_EXIT),
            Hook { program: programs::SYS_ENTER, need: Need::For(Timing::Full) },
            Hook { program: programs::SYS_ENTER_ADAPTIVE, need: Need::For(Timing::Adaptive) },
        ],
        fields: &["task_pid", "regs_orig_ax"],
        needs: &["process"],
    },
    Signal {
        name: "activity",
        summary: "What processes ask of the kernel that security rules look at: files, sockets, credentials and more.",
        // The programs behind the hook first: `sys_exit` finds them then. Nothing leaves before the daemon says what.
        hooks: &[
            behind(programs::ACTIVITY_FILE_OPEN, Class::FileOpen, "files opened"),
            behind(programs::ACTIVITY_FILE_CHANGE, Class::FileChange, "names and attributes of files changed"),
            behind(programs::ACTIVITY_DESCRIPTOR, Class::Descriptor, "sockets and pipes as standard input and output"),
            behind(programs::ACTIVITY_NETWORK, Class::Network, "sockets and connections"),
            behind(programs::ACTIVITY_NAMESPACE, Class::Namespace, "mounts and namespaces"),
            behind(programs::ACTIVITY_PROCESS, Class::Process, "what processes do to each other"),
            behind(programs::ACTIVITY_CREDENTIALS, Class::Credentials, "changes of credentials"),
            behind(programs::ACTIVITY_KERNEL, Class::Kernel, "modules, kernel programs, io_uring set up"),
            behind(programs::ACTIVITY_MEMORY, Class::Memory, "executable memory"),
            required(programs::SYS_EXIT),
            // One or the other: the tracepoint was renamed.
            Hook {
                program: programs::ACTIVITY_RING_REQUEST,
                need: Need::InPlaceOf("io_uring_submit_sqe", THROUGH_RING),
            },
            Hook { program: programs::ACTIVITY_RING_ENTRY, need: Need::InPlaceOf("io_uring_submit_req", THROUGH_RING) },
        ],
        fields: &[
            "task_pid",
            "task_tgid",
            "task_group_leader",
            "task_start_boottime",
            "task_cred",
            "task_fs",
            "task_files",
            "regs_orig_ax",
            "cred_uid",
            "cred_euid",
            "files_fdt",
            "fdtable_fd",
            "fdtable_max",
            "file_inode",
            "file_path_mnt",
            "file_path_dentry",
            "file_mode",
            "inode_mode",
            "inode_ino",
            "inode_sb",
            "sb_dev",
            "dentry_parent",
            "dentry_name",
            "dentry_name_length",
            "dentry_inode",
            "vfsmount_root",
            "vfsmount_sb",
            "mount_mnt",
            "mount_parent",
            "mount_mountpoint",
        ],
        needs: &["process"],
    },
    Signal {
        name: "protect",
        summary: "Keeps others from stopping, entering or blinding the daemon, where the kernel asks BPF programs (LSM).",
        hooks: &[
            required(programs::PROTECT_SIGNAL),
            optional(programs::PROTECT_PTRACE, "tracing of the daemon is not forbidden"),
            optional(programs::PROTECT_MAP, "others may open the daemon's kernel maps"),
            optional(programs::PROTECT_PROGRAM, "others may open the daemon's kernel programs"),
        ],
        fields: &[
            "task_tgid",
            "task_group_leader",
            "task_start_boottime",
            "bpf_map_id",
            "bpf_prog_aux",
            "bpf_prog_aux_id",
        ],
        needs: &[],
    },
    Signal {
        name: "host",
        summary: "CPU, memory, disks, network and load of the machine.",
        hooks: &[],
        fields: &[],
        needs: &[],
    },
];

/// The signal called `name`.
pub fn find(name: &str) -> Option<&'static Signal> {
    SIGNALS.iter().find(|signal| signal.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use monitor_common::offsets::FIELDS;

    use super::*;

    #[test]
    fn every_kernel_program_belongs_to_a_signal() {
        let owned: BTreeSet<_> = SIGNALS.iter().flat_map(|signal| signal.hooks).map(|hook| hook.program.name).collect();
        let built: BTreeSet<_> = programs::ALL.iter().map(|program| program.name).collect();
        assert_eq!(owned, built);
    }

    #[test]
    fn names_are_unique_and_what_they_refer_to_exists() {
        let mut seen = BTreeSet::new();
        for signal in SIGNALS {
            assert!(seen.insert(signal.name), "{} twice", signal.name);
            assert!(signal.summary.ends_with('.'));
            for need in signal.needs {
                assert!(seen.contains(need), "{} needs {need}, which must come before it", signal.name);
            }
            for entry in signal.fields {
                assert!(FIELDS.iter().any(|field| field.name == *entry), "{}: no offset {entry}", signal.name);
            }
        }
    }
}
