//! `exec`: a process runs another program. Decodes the kernel's record into what rules and the process table read.

pub(in crate::signals) mod decode;

use monitor_common::record::ProcessKey;
use monitor_common::signals::exec::Stdio;
use serde::{Deserialize, Serialize};

pub use decode::{DecodeError, ENVIRONMENT, decode};

/// The file that is executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecFile {
    /// Type and permission bits (`st_mode`).
    pub mode: u32,
    /// Hard links; 0 when the file has been deleted or never had a name.
    pub links: u32,
    /// User id of the owner.
    pub owner: u32,
    /// Inode number.
    pub inode: u64,
    /// Device of its file system, as the kernel's `dev_t` (`major << 20 | minor`).
    pub device: u32,
    /// Magic number of its file system (statfs(2)).
    pub magic: u64,
    /// When its contents were last changed, nanoseconds since 1970.
    pub modified_ns: u64,
    /// When its inode was last changed, nanoseconds since 1970.
    pub changed_ns: u64,
    /// It lies on an overlay file system and belongs to the layer that is written to: it is not part of the image.
    pub upper_layer: bool,
    /// The file itself is what is mounted there: its path is the mount point's.
    pub mounted: bool,
    /// It is executed in another user namespace than the host's first one, whose mounts are whatever its maker likes.
    pub foreign_mounts: bool,
}

/// Magic number of FUSE (`include/uapi/linux/magic.h`): who owns a file there is what a program of its user's says.
pub(crate) const FUSE: u64 = 0x6573_5546;

impl ExecFile {
    /// Root, and nobody but root, can have put this program at this path: its file belongs to root, still has a name, and
    /// the path leads to it on the host, too. False where the file is not known.
    pub const fn of_root(&self) -> bool {
        self.inode != 0
            && self.owner == 0
            && self.links > 0
            && self.magic != FUSE
            && !self.mounted
            && !self.foreign_mounts
    }
}

/// Who last opened a file for writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Who.
    pub by: ProcessKey,
    /// When, nanoseconds since boot.
    pub time_ns: u64,
}

/// A process replaced its program by another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// When, nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub time_ns: u64,
    /// The CPU it happened on.
    pub cpu: u16,
    /// Who.
    pub process: ProcessKey,
    /// Its parent at this moment.
    pub parent: ProcessKey,
    /// Absolute path of the program's file as the kernel resolved it; a memfd is `memfd:NAME`.
    pub exe: Vec<u8>,
    /// Components at the root end of `exe` are missing.
    pub exe_cut: bool,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// The name passed to execve.
    pub filename: Vec<u8>,
    /// `filename` is a script that `exe` interprets.
    pub script: bool,
    /// Arguments copied, `argv[0]` first.
    pub args: Vec<Vec<u8>>,
    /// True length of all arguments with their terminators, bytes.
    pub args_length: u32,
    /// Not all arguments were copied.
    pub args_truncated: bool,
    /// The variables that rules ask for, of those copied.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Not the whole environment was copied.
    pub env_truncated: bool,
    /// Real and effective user and group ids after the exec.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// User who logged in, if one did.
    pub loginuid: Option<u32>,
    /// Controlling terminal, such as `pts/0`; empty: none.
    pub tty: Vec<u8>,
    /// `comm` after the exec.
    pub comm: Vec<u8>,
    /// The program's file.
    pub file: ExecFile,
    /// The exec gained privileges, says the kernel (`linux_binprm.per_clear`).
    pub gained: bool,
    /// Descriptors 0, 1 and 2.
    pub stdio: [Stdio; 3],
    /// cgroup id on the v2 hierarchy.
    pub cgroup_id: u64,
    /// Tasks with the same value are in the same cgroups of every hierarchy.
    pub cgroup_set: u64,
    /// Saved user id after the exec.
    pub suid: u32,
    /// Effective capabilities after the exec (capabilities(7)), one bit each.
    pub capabilities: u64,
    /// Session id (setsid(2)).
    pub session: u32,
    /// Process group id (setpgid(2)).
    pub process_group: u32,
    /// Who last opened the program's file for writing, when that was lately.
    pub written: Option<Written>,
}
