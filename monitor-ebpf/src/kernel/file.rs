//! Open files.

use monitor_common::signals::exec::{FdKind, Stdio};

use super::{read::Object, socket};
use crate::settings::offset;

const S_IFMT: u16 = 0o170_000;
pub(crate) const S_IFIFO: u16 = 0o010_000;
const S_IFCHR: u16 = 0o020_000;
const S_IFREG: u16 = 0o100_000;
pub(crate) const S_IFSOCK: u16 = 0o140_000;

/// `OVERLAYFS_SUPER_MAGIC` (include/uapi/linux/magic.h).
pub(crate) const OVERLAY: u64 = 0x794c_7630;

/// File number `fd` of `task`; none when it is not open.
#[inline(always)]
pub(crate) fn of_task(task: Object, fd: u32) -> Object {
    let table = task.pointer(offset!(task_files)).pointer(offset!(files_fdt));
    if fd >= table.field::<u32>(offset!(fdtable_max)) {
        return Object::NONE;
    }
    table.pointer(offset!(fdtable_fd)).pointer(u64::from(fd) * 8)
}

/// The first three open files of `task`; none where it is not open.
///
/// # Safety
/// `task` is an argument of a BTF tracepoint.
#[inline(always)]
pub(crate) unsafe fn standard(task: Object) -> [Object; 3] {
    // SAFETY: the caller vouches for it.
    let (table, room) = unsafe {
        let table = task.follow(offset!(task_files)).follow(offset!(files_fdt));
        (table.follow(offset!(fdtable_fd)), table.load::<u32>(offset!(fdtable_max)))
    };
    if room < 3 {
        return [Object::NONE; 3];
    }
    let [input, output, error] = table.field::<[u64; 3]>(0);
    [Object(input), Object(output), Object(error)]
}

/// The `struct sock` of a file that is a socket; none for every other file.
#[inline(always)]
pub(crate) fn sock(file: Object) -> Object {
    let mode = file.pointer(offset!(file_inode)).field::<u16>(offset!(inode_mode));
    if mode & S_IFMT != S_IFSOCK {
        return Object::NONE;
    }
    sock_of_socket(file)
}

/// The same where it is known to be a socket, or does not matter.
#[inline(always)]
pub(crate) fn sock_of_socket(file: Object) -> Object {
    file.pointer(offset!(file_private)).pointer(offset!(socket_sk))
}

/// What a file is.
#[inline(always)]
pub(crate) fn describe(file: Object) -> Stdio {
    let mut stdio = Stdio::default();
    if file == Object::NONE {
        return stdio;
    }
    let inode = file.pointer(offset!(file_inode));
    stdio.inode = inode.field(offset!(inode_ino));
    let kind = match inode.field::<u16>(offset!(inode_mode)) & S_IFMT {
        S_IFIFO => FdKind::Pipe,
        S_IFCHR => {
            stdio.device = inode.field(offset!(inode_rdev));
            FdKind::Character
        }
        S_IFSOCK => {
            socket::describe(sock(file), &mut stdio);
            if socket::is_internet(stdio.family) { FdKind::Inet } else { FdKind::Socket }
        }
        S_IFREG => FdKind::File,
        _ => FdKind::Other,
    };
    stdio.kind = kind as u32;
    stdio
}

/// When the contents of `inode` were last changed, nanoseconds since 1970.
#[inline(always)]
pub(crate) fn modified_ns(inode: Object) -> u64 {
    time_ns(inode.field(offset!(inode_mtime_sec)), inode.field(offset!(inode_mtime_nsec)))
}

/// When `inode` itself was last changed.
#[inline(always)]
pub(crate) fn changed_ns(inode: Object) -> u64 {
    time_ns(inode.field(offset!(inode_ctime_sec)), inode.field(offset!(inode_ctime_nsec)))
}

/// Since Linux 6.13 the top bit of the nanoseconds tells that somebody has asked for the time (`I_CTIME_QUERIED`).
#[inline(always)]
fn time_ns(seconds: u64, nanoseconds: u32) -> u64 {
    if seconds > i64::MAX as u64 {
        // Before 1970.
        return 0;
    }
    seconds.wrapping_mul(1_000_000_000).wrapping_add(u64::from(nanoseconds & 0x7fff_ffff))
}

/// Does `inode`, which is of an overlay file system, belong to the layer that is written to? Then it has a directory
/// entry there: `ovl_inode.__upperdentry`, which has always been what follows the inode.
#[inline(always)]
pub(crate) fn is_upper_layer(inode: Object) -> bool {
    inode.pointer(offset!(inode_end)) != Object::NONE
}

/// `S_IFREG` and its kin.
#[inline(always)]
pub(crate) fn kind(inode: Object) -> u16 {
    inode.field::<u16>(offset!(inode_mode)) & S_IFMT
}

/// Inode number of an open file.
#[inline(always)]
pub(crate) fn inode_number(file: Object) -> u64 {
    file.pointer(offset!(file_inode)).field(offset!(inode_ino))
}
