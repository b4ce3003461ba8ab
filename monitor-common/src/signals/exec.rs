//! `exec`: a process runs another program. What security rules need is taken from kernel objects at the moment of the
//! exec; user memory is read only for arguments and environment, which the kernel itself has just written.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    limits::{ARGS, ENVIRONMENT, NAME, PATH},
    record::{Header, ProcessKey},
    signals::activity::Writer,
};

/// Room for the two paths and the name passed to execve, a power of two.
pub const NAMES: usize = 4 << 10;
/// Most bytes of a path: its last component is copied whole.
pub const PATH_ROOM: usize = PATH + NAME;
/// Arguments shorter than this …
pub const SHORT_ARGS: usize = 4 << 10;
/// … with an environment shorter than this go into a record that is no longer than they are. It holds all but a few.
pub const SHORT_ENVIRONMENT: usize = 16 << 10;

const _: () = assert!(2 * PATH_ROOM + PATH <= NAMES);

/// What a file descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FdKind {
    /// Not open.
    Closed = 0,
    /// A directory, a block device, an object of the kernel's own (epoll, a timer), …
    Other = 1,
    /// A pipe.
    Pipe = 2,
    /// A socket of no internet family.
    Socket = 3,
    /// An IPv4 or IPv6 socket.
    Inet = 4,
    /// A character device; terminals are.
    Character = 5,
    /// A regular file.
    File = 6,
}

/// One of the three standard descriptors.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Stdio {
    /// Inode number: of a pipe the `N` of `pipe:[N]`, of a socket that of `socket:[N]`.
    pub inode: u64,
    /// A [`FdKind`]'s number.
    pub kind: u32,
    /// Address family of a socket.
    pub family: u16,
    /// `sk_state` of an internet socket.
    pub state: u16,
    /// Peer's port of an internet socket, host byte order.
    pub peer_port: u16,
    /// Local port, host byte order.
    pub local_port: u16,
    /// `inode.i_rdev` of a character device (`dev_t` as the kernel holds it).
    pub device: u32,
    /// Peer's address: 16 bytes for IPv6, the first 4 for IPv4.
    pub peer: [u8; 16],
    /// Own address, in the same way.
    pub local: [u8; 16],
    /// Type of a socket: `SOCK_STREAM` (1), `SOCK_DGRAM` (2), …
    pub socket_type: u16,
    /// Protocol of an internet socket (`IPPROTO_TCP`, …).
    pub protocol: u16,
    /// Of a connected Unix socket the process that was at the other end when it was connected (`SO_PEERCRED`); 0: none.
    pub peer_pid: u32,
}

/// A program replaced another: everything of fixed size. What follows it is, in this order: the components of the path of
/// the program's file, those of the working directory (both from the last to the first, each ended by a zero byte), the
/// name that was passed to execve (`linux_binprm.filename`), arguments, and environment (each string of them ended by a
/// zero byte). In a record of kind [`crate::record::Kind::Exec`] there are no gaps; in one of kind
/// [`crate::record::Kind::ExecLong`] arguments and environment have places of their own: see [`ExecLong`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecHead {
    /// One of the exec kinds of [`crate::record::Kind`].
    pub header: Header,
    /// Who.
    pub process: ProcessKey,
    /// Its parent at this moment (`task_struct.real_parent`).
    pub parent: ProcessKey,
    /// Inode number of the program's file.
    pub inode: u64,
    /// When its contents were last changed, nanoseconds since 1970.
    pub modified_ns: u64,
    /// When its inode was last changed, nanoseconds since 1970.
    pub changed_ns: u64,
    /// `super_block.s_magic` of its file system.
    pub magic: u64,
    /// cgroup id on the v2 hierarchy.
    pub cgroup_id: u64,
    /// Who last opened it for writing.
    pub writer: Writer,
    /// Address of `css_set`: tasks with the same one are in the same cgroups of every hierarchy.
    pub cgroup_set: u64,
    /// `cred.cap_effective`, after the exec.
    pub cap_effective: u64,
    /// Real user id.
    pub uid: u32,
    /// Effective user id, after the exec.
    pub euid: u32,
    /// Saved user id, after the exec.
    pub suid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id, after the exec.
    pub egid: u32,
    /// User who logged in; `u32::MAX`: nobody did.
    pub loginuid: u32,
    /// `inode.i_mode` of the program's file.
    pub mode: u32,
    /// `inode.i_nlink`: 0 when it has been deleted or never had a name.
    pub links: u32,
    /// Owner of the program's file.
    pub owner: u32,
    /// Device of the file system (`super_block.s_dev`).
    pub device: u32,
    /// 1 when it lies on overlayfs in the layer that is written to.
    pub upper_layer: u32,
    /// 1 when something mounted the file itself there: the name is the mount point's, not its own.
    pub mounted: u32,
    /// `user_namespace.level` of the process: 0 in the host's. In another one everybody may mount what they like anywhere.
    pub user_namespace: u32,
    /// Session id, as the first pid namespace numbers it.
    pub session: u32,
    /// Process group id, in the same way.
    pub process_group: u32,
    /// `linux_binprm.per_clear`: not 0 when the exec gained privileges.
    pub per_clear: u32,
    /// 1 when the file named is a script that another program interprets.
    pub script: u32,
    /// Bytes of arguments there are, terminators included.
    pub args_length: u32,
    /// Bytes of arguments copied.
    pub args_copied: u32,
    /// Bytes of environment there are.
    pub env_length: u32,
    /// Bytes of environment copied.
    pub env_copied: u32,
    /// Bytes of the path of the program's file, as the kernel resolved it.
    pub exe_length: u32,
    /// 1 when the walk did not reach the root: components at the root end are missing.
    pub exe_cut: u32,
    /// The same of the working directory.
    pub cwd_length: u32,
    /// The same of the working directory.
    pub cwd_cut: u32,
    /// Bytes of the name passed to execve.
    pub filename_length: u32,
    /// Descriptors 0, 1 and 2.
    pub stdio: [Stdio; 3],
    /// `task_struct.comm`.
    pub comm: [u8; 16],
    /// Controlling terminal, such as `pts/0`; empty: none.
    pub tty: [u8; 16],
}

/// The record of an exec with more arguments or environment than fit the short one.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecLong {
    /// Everything of fixed size.
    pub head: ExecHead,
    /// Both paths and the name passed to execve, without gaps.
    pub names: [u8; NAMES],
    /// Arguments.
    pub args: [u8; ARGS],
    /// Environment. The daemon keeps the few variables that rules need.
    pub env: [u8; ENVIRONMENT],
}
