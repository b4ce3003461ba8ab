//! One process as the table knows it.

use std::sync::Arc;

use super::{Cgroup, GroupId, ProcessId, procfs::Snapshot, usage::Usage};
use monitor_common::signals::exec::Stdio;

use crate::signals::exec::{Exec, ExecFile, Written};

/// Most argument bytes that the table keeps of one program; all of them, up to 32 KiB, are in the event of its exec.
pub(super) const ARGS: usize = 4 << 10;

/// … and of one that has ended: many may end within the time that ended ones are kept.
const ARGS_ENDED: usize = 512;

/// The name a thread gives itself, at most 15 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Comm([u8; 16]);

impl Comm {
    /// The bytes before the first zero.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or(&[])
    }
}

impl From<&[u8]> for Comm {
    fn from(bytes: &[u8]) -> Self {
        let mut comm = [0; 16];
        let length = bytes.len().min(15);
        comm[..length].copy_from_slice(&bytes[..length]);
        Self(comm)
    }
}

impl std::fmt::Debug for Comm {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", super::text::lossy(self.as_bytes()))
    }
}

/// Who a process acts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// User who logged in, if one did.
    pub loginuid: Option<u32>,
    /// Saved user id; the effective one where it is not known.
    pub suid: u32,
    /// Effective capabilities (capabilities(7)), one bit each.
    pub capabilities: u64,
}

/// An internet connection of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// When it was made, nanoseconds since boot.
    pub time_ns: u64,
    /// It was accepted, not made.
    pub accepted: bool,
    /// The other end.
    pub peer: std::net::SocketAddr,
}

/// What a child shares with its parent until it executes something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Absolute path of the program; a memfd is `memfd:NAME`; empty: a kernel thread, or not known.
    pub exe: Box<[u8]>,
    /// The first 4 KiB of the arguments, 512 bytes once the process has ended, each argument followed by a zero byte.
    pub args: Box<[u8]>,
    /// True length of all arguments with their terminators, bytes. Of a process that is older than the daemon and has
    /// more than 4 KiB it is not known, and this is 4 KiB.
    pub args_length: u32,
    /// There are more arguments than `args` has.
    pub args_cut: bool,
    /// Working directory when the program was started.
    pub cwd: Box<[u8]>,
    /// Controlling terminal, such as `pts/0`; empty: none.
    pub tty: Box<[u8]>,
    /// The name that was passed to execve; empty where the daemon did not see the exec.
    pub filename: Box<[u8]>,
    /// `filename` is a script that `exe` interprets.
    pub script: bool,
    /// The program's file. Where the daemon did not see the exec, as `/proc` has it, without its times.
    pub file: ExecFile,
    /// Who last opened the program's file for writing, when that was shortly before the exec.
    pub written: Option<Written>,
    /// The exec gained privileges.
    pub gained: bool,
    /// Descriptors 0, 1 and 2 at the exec.
    pub stdio: [Stdio; 3],
    /// The variables of its environment that rules ask for, in their order.
    pub env: Box<[(Vec<u8>, Vec<u8>)]>,
}

impl Image {
    pub(super) fn of_exec(exec: &Exec) -> Self {
        let mut args = Vec::with_capacity(ARGS.min(exec.args_length as usize));
        let mut cut = exec.args_truncated;
        for arg in &exec.args {
            let room = ARGS - args.len();
            args.extend_from_slice(&arg[..arg.len().min(room)]);
            if arg.len() >= room {
                cut = true;
                break;
            }
            args.push(0);
        }
        Self {
            exe: exec.exe.as_slice().into(),
            args: args.into(),
            args_length: exec.args_length,
            args_cut: cut,
            cwd: exec.cwd.as_slice().into(),
            tty: exec.tty.as_slice().into(),
            filename: exec.filename.as_slice().into(),
            script: exec.script,
            file: exec.file,
            written: exec.written,
            gained: exec.gained,
            stdio: exec.stdio,
            env: exec.env.as_slice().into(),
        }
    }

    pub(super) fn of_snapshot(snapshot: &Snapshot) -> Self {
        Self {
            exe: snapshot.exe.as_slice().into(),
            args: snapshot.args.as_slice().into(),
            args_length: snapshot.args.len().try_into().unwrap_or(u32::MAX),
            args_cut: snapshot.args_cut,
            cwd: snapshot.cwd.as_slice().into(),
            file: snapshot.file,
            tty: snapshot.stat.tty.as_slice().into(),
            ..Self::default()
        }
    }

    /// The arguments, `argv[0]` first; when they are cut, the last is not whole.
    pub fn argv(&self) -> impl Iterator<Item = &[u8]> {
        let whole = self.args.strip_suffix(&[0]).unwrap_or(&self.args);
        let none = self.args.is_empty();
        whole.split(|&byte| byte == 0).filter(move |_| !none)
    }
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When, nanoseconds since boot; when nothing tells of it, when that was noticed.
    pub time_ns: u64,
    /// Wait status (wait(2)); None: nothing tells of it.
    pub status: Option<u32>,
    /// Most memory that it ever held, bytes (`getrusage`'s `ru_maxrss`); 0: there was no record.
    pub max_resident_bytes: u64,
    /// Told by the kernel's record. Else it was noticed in `/proc`, and a record that comes later knows more.
    pub recorded: bool,
}

impl Exit {
    /// An end of which nothing is known but that it came.
    pub const fn unseen(time_ns: u64) -> Self {
        Self { time_ns, status: None, max_resident_bytes: 0, recorded: false }
    }

    /// Exit code; None: ended by a signal, or not known.
    pub fn code(&self) -> Option<u32> {
        self.status.filter(|status| status & 0x7f == 0).map(|status| (status >> 8) & 0xff)
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<u32> {
        self.status.map(|status| status & 0x7f).filter(|signal| *signal != 0)
    }

    /// Its memory was dumped.
    pub fn core_dumped(&self) -> bool {
        self.status.is_some_and(|status| status & 0x80 != 0)
    }
}

/// Amounts of the moment, as `/proc` last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Bytes of memory that are in RAM.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u32,
    /// Open file descriptors; refreshed less often than the rest.
    pub open_fds: u32,
    /// One letter: `R`, `S`, `D`, `Z`, …; 0: never looked at.
    pub state: u8,
}

/// A process, living or recently ended.
#[derive(Clone, Debug)]
pub struct Process {
    /// Who.
    pub id: ProcessId,
    /// Who forked it. Stays when that process ends, where the kernel would say init.
    pub parent: Option<ProcessId>,
    /// What it executes.
    pub image: Arc<Image>,
    /// What it calls itself.
    pub comm: Comm,
    /// Who it acts as, at its exec or when last looked at.
    pub credentials: Credentials,
    /// Who it acted as before its last change of credentials that the daemon saw, and when that was, nanoseconds since boot.
    pub credentials_before: Option<(u64, Credentials)>,
    /// Path of the program before the last exec that was seen, which was at `exec_ns`; empty: not known.
    pub exe_before: Box<[u8]>,
    /// That program was root's ([`ExecFile::of_root`]).
    pub of_root_before: bool,
    /// Session id (setsid(2)); 0: not known.
    pub session: u32,
    /// Process group id (setpgid(2)); 0: not known.
    pub process_group: u32,
    /// The last connection that it made or accepted, if the daemon saw one.
    pub connection: Option<Connection>,
    /// Where it runs.
    pub cgroup: Arc<Cgroup>,
    /// The group it counts in.
    pub group: GroupId,
    /// It has no program; it is a part of the kernel.
    pub kernel_thread: bool,
    /// When it was forked, nanoseconds since boot.
    pub started_ns: u64,
    /// When it last executed a program, if the daemon saw that.
    pub exec_ns: Option<u64>,
    /// Programs it has executed while the daemon watched.
    pub execs: u32,
    /// Its end.
    pub exit: Option<Exit>,
    /// What it has used in all its life, as far as known.
    pub usage: Usage,
    /// What it holds now.
    pub gauges: Gauges,

    /// Entries that have this one as their parent.
    pub(super) children: u32,
    /// Whether the parent's `children` counts this one.
    pub(super) linked: bool,
    /// What it used until it was first looked at belongs to no total: nobody can say when that was, or it is in one
    /// already.
    pub(super) untimed: bool,
    /// When something was last heard of it.
    pub(super) seen_ns: u64,
    /// When the slow part of a refresh was last done.
    pub(super) slow_ns: u64,
    /// When its last thread ended, and its wait status: it may be a zombie still.
    pub(super) thread_end: Option<(u64, u32)>,
    /// When `/proc` first had it no longer, without an exit record.
    pub(super) missing_ns: Option<u64>,
    /// What it used in the end, as yet in no total.
    pub(super) ending: Option<Box<Ending>>,
}

/// An end that is not in the totals yet: a record that tells what the process executed may still be on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// The kernel's record.
    Record(monitor_common::signals::process::ExitRecord),
    /// The kernel's record, of an end that is counted already because it was noticed in `/proc`.
    Late(monitor_common::signals::process::ExitRecord),
    /// There was none.
    Lost,
}

impl Process {
    pub(crate) fn new(id: ProcessId, group: GroupId, now_ns: u64) -> Self {
        Self {
            id,
            parent: None,
            image: Arc::default(),
            comm: Comm::default(),
            credentials: Credentials::default(),
            credentials_before: None,
            exe_before: Box::default(),
            of_root_before: false,
            session: 0,
            process_group: 0,
            connection: None,
            cgroup: Arc::default(),
            group,
            kernel_thread: false,
            started_ns: id.start_ticks.saturating_mul(super::NS_PER_TICK),
            exec_ns: None,
            execs: 0,
            exit: None,
            usage: Usage::default(),
            gauges: Gauges::default(),
            children: 0,
            linked: false,
            untimed: false,
            seen_ns: now_ns,
            slow_ns: 0,
            thread_end: None,
            missing_ns: None,
            ending: None,
        }
    }

    /// Keeps less of the arguments, unless others share them: then a shorter copy would be more.
    pub(super) fn shrink(&mut self) {
        if self.image.args.len() > ARGS_ENDED
            && let Some(image) = Arc::get_mut(&mut self.image)
        {
            image.args = image.args[..ARGS_ENDED].into();
            image.args_cut = true;
        }
    }

    /// It has not ended, as far as known.
    pub fn alive(&self) -> bool {
        self.exit.is_none()
    }
}
