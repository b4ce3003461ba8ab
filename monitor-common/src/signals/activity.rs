//! `activity`: what processes asked of the kernel that security rules look at: files opened and changed, connections,
//! credentials, namespaces, memory, the kernel itself. One record for all of them: who, which call with which result, the
//! kernel's object after the kernel has used it, and the names that were passed.

mod select;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    limits::{NAME, PATH},
    record::{Header, ProcessKey},
};

pub use select::*;

macro_rules! acts {
    ($($(#[$doc:meta])* $variant:ident = $index:literal, $name:literal, $class:ident;)*) => {
        /// A kind of activity. Numbers are bits of a set: below 64, never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Act {
            $($(#[$doc])* $variant = $index,)*
        }

        impl Act {
            /// Every kind there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The kind with this number, if there is one.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($index => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name in metrics and documents.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kernel program that takes it.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// Its bit in a set.
            pub const fn bit(self) -> u64 {
                1 << self as u8
            }
        }
    };
}

acts! {
    /// A file was opened, or could not be.
    FileOpen = 1, "file_open", FileOpen;
    /// A name was removed: unlink, unlinkat.
    Unlink = 2, "unlink", FileChange;
    /// A directory was removed.
    Rmdir = 3, "rmdir", FileChange;
    /// A file got another name.
    Rename = 4, "rename", FileChange;
    /// A file got one more name.
    Link = 5, "link", FileChange;
    /// A symbolic link was made.
    Symlink = 6, "symlink", FileChange;
    /// A directory was made.
    Mkdir = 7, "mkdir", FileChange;
    /// A device, pipe or file was made: mknod, mknodat.
    Mknod = 8, "mknod", FileChange;
    /// Permission bits were changed.
    Chmod = 9, "chmod", FileChange;
    /// An owner was changed.
    Chown = 10, "chown", FileChange;
    /// A length was set.
    Truncate = 11, "truncate", FileChange;
    /// An extended attribute was set or removed.
    Setxattr = 12, "setxattr", FileChange;
    /// Times were set.
    Utimens = 13, "utimens", FileChange;
    /// An ioctl that rules look at: flags of a file, a character pushed into a terminal.
    Ioctl = 14, "ioctl", Descriptor;
    /// A descriptor was copied onto 0, 1 or 2.
    Dup = 15, "dup", Descriptor;
    /// A socket was made.
    Socket = 16, "socket", Network;
    /// A connection was begun.
    Connect = 17, "connect", Network;
    /// A socket got an address.
    Bind = 18, "bind", Network;
    /// A socket accepts connections from now on.
    Listen = 19, "listen", Network;
    /// A connection was accepted.
    Accept = 20, "accept", Network;
    /// A datagram was sent to an address that came with it.
    Send = 21, "send", Network;
    /// Something was mounted, moved or unmounted, the calls of the new interface included.
    Mount = 22, "mount", Namespace;
    /// The root directory was changed: chroot, pivot_root.
    Chroot = 23, "chroot", Namespace;
    /// A namespace was joined.
    Setns = 24, "setns", Namespace;
    /// A namespace was left: unshare, clone with namespace flags.
    Unshare = 25, "unshare", Namespace;
    /// ptrace.
    Ptrace = 26, "ptrace", Process;
    /// Memory or descriptors of another process: process_vm_readv, process_vm_writev, pidfd_getfd.
    ProcessVm = 27, "process_vm", Process;
    /// A signal was sent to another process.
    Signal = 28, "signal", Process;
    /// A process named itself, or asked for another thing of prctl that rules look at.
    Prctl = 29, "prctl", Process;
    /// User or group ids were set.
    SetIds = 30, "set_ids", Credentials;
    /// Capabilities were set.
    Capset = 31, "capset", Credentials;
    /// A kernel module was loaded or removed.
    Module = 32, "module", Kernel;
    /// bpf(2).
    Bpf = 33, "bpf", Kernel;
    /// Another kernel was loaded.
    Kexec = 34, "kexec", Kernel;
    /// Memory was mapped, or became, writable and executable; or became executable.
    MemoryExec = 35, "memory_exec", Memory;
    /// A file without a name was made.
    MemfdCreate = 36, "memfd_create", Memory;
    /// Page faults handled in user space.
    Userfaultfd = 37, "userfaultfd", Memory;
    /// io_uring was set up. What is done through it has the kinds above.
    IoUring = 38, "io_uring", Kernel;
    /// A control group was kept from sending more records of bulk kinds, or may again. Sent by the kernel programs.
    Throttle = 39, "throttle", Kernel;
    /// The daemon made itself heard: [`HEARTBEAT`].
    Heartbeat = 40, "heartbeat", Process;
    /// Something that was about to be done to the daemon was forbidden: [`super::protect`].
    Denied = 41, "denied", Kernel;
}

/// The kernel programs behind `sys_exit` that take activities, each by a tail call; also the index in their array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Opening files.
    FileOpen = 0,
    /// Changing names and attributes of files.
    FileChange = 1,
    /// Descriptors.
    Descriptor = 2,
    /// Sockets.
    Network = 3,
    /// Mounts, roots and namespaces.
    Namespace = 4,
    /// Other processes.
    Process = 5,
    /// Who a process acts as.
    Credentials = 6,
    /// The kernel itself.
    Kernel = 7,
    /// Memory.
    Memory = 8,
}

impl Class {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::FileOpen,
        Self::FileChange,
        Self::Descriptor,
        Self::Network,
        Self::Namespace,
        Self::Process,
        Self::Credentials,
        Self::Kernel,
        Self::Memory,
    ];
}

/// How the kernel was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum Via {
    /// A system call of the machine's own convention.
    #[default]
    Native = 0,
    /// One as a 32-bit program makes (`int 0x80`).
    Compat = 1,
    /// A request in an io_uring.
    IoUring = 2,
}

impl Via {
    /// The one with this number, if there is one.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Native),
            1 => Some(Self::Compat),
            2 => Some(Self::IoUring),
            _ => None,
        }
    }
}

/// A file as the kernel holds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FileObject {
    /// Inode number; 0 with `mode` 0: there is no file.
    pub inode: u64,
    /// `super_block.s_magic` of its file system.
    pub magic: u64,
    /// Device of the file system (`super_block.s_dev`).
    pub device: u32,
    /// `inode.i_mode`.
    pub mode: u32,
    /// `inode.i_nlink`.
    pub links: u32,
    /// Owner.
    pub owner: u32,
    /// `file.f_flags` of an open file.
    pub flags: u32,
    /// `file.f_mode` of an open file; [`FMODE_CREATED`] tells that this open made it.
    pub open_mode: u32,
}

/// `FMODE_CREATED` (include/linux/fs.h): the open made the file.
pub const FMODE_CREATED: u32 = 0x10_0000;

/// A socket as the kernel holds it. Ports in host byte order; addresses 16 bytes for IPv6, the first 4 for IPv4.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketObject {
    /// Address family; 0: there is no socket.
    pub family: u16,
    /// `SOCK_STREAM` (1), `SOCK_DGRAM` (2), …
    pub kind: u16,
    /// Protocol (`IPPROTO_TCP`, …).
    pub protocol: u16,
    /// `sk_state`.
    pub state: u16,
    /// Own port.
    pub local_port: u16,
    /// Peer's port.
    pub peer_port: u16,
    /// 1 when the peer is what the call's argument named, not (yet) what the socket holds.
    pub peer_asked: u32,
    /// Own address.
    pub local: [u8; 16],
    /// Peer's address.
    pub peer: [u8; 16],
    /// Inode number of the socket: the `N` of `socket:[N]`.
    pub inode: u64,
}

/// Most strings in a record.
pub const PARTS: usize = 5;

/// What the strings behind the head are, by their index in [`ActivityHead::parts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Part {
    /// Components of the path of the kernel's object, from the last to the first, each ended by a zero byte (of the root
    /// directory one empty component); of a connect or bind to a Unix socket its address.
    Object = 0,
    /// Components of the directory that `Name` is relative to: of the descriptor passed, or the working directory.
    Base = 1,
    /// First name passed to the call, read from user memory when the call had ended.
    Name = 2,
    /// Like `Base`, for `OtherName`.
    OtherBase = 3,
    /// Second name passed: the new name of a rename or link, the text of a symbolic link, a mount's type, an attribute.
    OtherName = 4,
}

/// In [`ActivityHead::cut`]: bit `N` is set when part `N` is not whole.
pub const CUT_ALL: u32 = (1 << PARTS) - 1;

/// What happened: everything of fixed size. The strings that [`Part`] lists follow without gaps, as long as `parts` tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ActivityHead {
    /// [`crate::record::Kind::Activity`].
    pub header: Header,
    /// Who.
    pub process: ProcessKey,
    /// Whom it was about: the target of ptrace, kill, process_vm_writev, setns by pidfd; zero: nobody.
    pub target: ProcessKey,
    /// An [`Act`]'s number.
    pub act: u16,
    /// A [`Via`]'s number.
    pub via: u16,
    /// Thread id.
    pub tid: u32,
    /// Number of the system call in the convention of `via`; of an io_uring request its opcode.
    pub call: u32,
    /// Real user id, after the call.
    pub uid: u32,
    /// What the call returned; of an io_uring request 0, as it has only been submitted.
    pub result: i64,
    /// The call's arguments as they were passed. Pointers are of no use; what they pointed to is in the parts.
    pub args: [u64; 6],
    /// `cred.cap_effective`, after the call.
    pub cap_effective: u64,
    /// cgroup id on the v2 hierarchy.
    pub cgroup_id: u64,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// The file it was about.
    pub file: FileObject,
    /// The socket it was about.
    pub socket: SocketObject,
    /// `task_struct.comm`.
    pub comm: [u8; 16],
    /// Bytes of each part.
    pub parts: [u32; PARTS],
    /// Which parts are not whole.
    pub cut: u32,
}

/// Most bytes that all parts have together: three paths and two names.
pub const PARTS_ROOM: usize = 3 * (PATH + NAME) + 2 * PATH;

/// What the daemon tells of each system call that has [`CALL_ACTIVITY`](super::syscalls::CALL_ACTIVITY), by its index in
/// the call table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Entry {
    /// An [`Act`]'s number, or [`SEVERAL`].
    pub act: u8,
    /// A [`Class`]'s number.
    pub class: u8,
    /// Where the first name is: [`place`].
    pub name: u8,
    /// Where the second one is; of class [`Class::FileOpen`] where the flags are, with [`FLAGS_BEHIND`].
    pub other: u8,
}

/// Where a call has a name: in argument `name`, relative to the directory whose descriptor is argument `descriptor`. Both
/// count from 1; 0: there is no such argument. Without a name the descriptor is what the call is about.
pub const fn place(descriptor: u8, name: u8) -> u8 {
    descriptor << 4 | name
}

/// In [`Entry::other`]: the argument points to the flags (`struct open_how`).
pub const FLAGS_BEHIND: u8 = 0x80;
/// In [`Entry::other`] of other classes: what matters is in a structure that an argument points to (`clone3`, `sendmsg`, the
/// old `mmap` of 32-bit programs).
pub const BEHIND_POINTER: u8 = 0x80;
/// In [`Entry::other`]: one call of a kind is read otherwise than the rest: `fcntl` among those that copy a descriptor,
/// `mprotect` among those that map memory, `clone` among those that leave a namespace, `fsconfig` among mounts.
pub const SPECIAL: u8 = 0x08;

/// Instead of an act: only the arguments tell which kind it is (`unlinkat`, `socketcall`). Also a bit of
/// [`Select::kinds`], set when any of those kinds is.
pub const SEVERAL: u8 = 0;

/// First argument of the call of prctl(2) by which the daemon makes itself heard: no option of the kernel's, so that the call
/// does nothing and fails. The second argument comes back in [`ActivityHead::args`] of [`Act::Heartbeat`].
pub const HEARTBEAT: u64 = 0x6d6f_6e68;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_bits_of_one_word_and_know_their_number() {
        let mut all = 1_u64 << SEVERAL;
        for act in Act::ALL {
            assert_eq!(all & act.bit(), 0, "{}", act.name());
            all |= act.bit();
            assert_eq!(Act::from_number(*act as u8), Some(*act));
            assert_eq!(Class::ALL[act.class() as usize], act.class());
        }
        assert_eq!(Act::from_number(SEVERAL), None);
    }
}
