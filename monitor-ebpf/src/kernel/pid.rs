//! Processes by their number, as the kernel itself finds them: the number is one of the caller's pid namespace, and it
//! means that process only now.

use super::{file, read::Object, task};
use crate::settings::offset;

/// `PIDTYPE_PID` (`enum pid_type`, include/linux/pid_types.h).
const PIDTYPE_PID: u64 = 0;
/// A node of the tree of numbers has 64 slots (`XA_CHUNK_SIZE`), unless the kernel was built to be small.
const CHUNK: u64 = 64;
/// Nodes on the way to a number of 22 bits, the largest there are (`PID_MAX_LIMIT`).
const LEVELS: u32 = 4;
/// Marks a pointer to a node (include/linux/xarray.h).
const NODE: u64 = 2;
/// `PID_FS_MAGIC` (include/uapi/linux/magic.h): pidfds are files of a file system of their own since Linux 6.9.
const PIDFS: u64 = 0x5049_4446;

/// The thread that has `number` in the pid namespace of `caller`; none when there is none.
#[inline(always)]
pub(crate) fn find(caller: Object, number: u32) -> Object {
    let own = caller.pointer(offset!(task_thread_pid));
    let level = own.field::<u32>(offset!(pid_level));
    let upid = own.embedded(offset!(pid_numbers)).element(u64::from(level), offset!(upid_end));
    let idr = upid.pointer(offset!(upid_ns)).embedded(offset!(pid_namespace_idr));
    let index = u64::from(number.wrapping_sub(idr.field(offset!(idr_base))));
    let mut entry = idr.pointer(offset!(idr_head)).0;
    let mut step = 0;
    while step < LEVELS && entry & 3 == NODE {
        step += 1;
        let node = Object(entry - NODE);
        let shift = node.field::<u8>(offset!(xa_node_shift)) & 63;
        entry = node.embedded(offset!(xa_node_slots)).pointer(((index >> shift) & (CHUNK - 1)) * 8).0;
    }
    if entry & 3 != 0 {
        return Object::NONE;
    }
    // A tree of one node has no slot for greater numbers and finds another's.
    let pid = Object(entry);
    let found = pid.embedded(offset!(pid_numbers)).element(u64::from(level), offset!(upid_end));
    if found.field::<u32>(offset!(upid_nr)) == number { of_pid(pid) } else { Object::NONE }
}

/// The thread that a pidfd stands for; none for every other file.
#[inline(always)]
pub(crate) fn of_pidfd(file: Object) -> Object {
    let inode = file.pointer(offset!(file_inode));
    if inode.pointer(offset!(inode_sb)).field::<u64>(offset!(sb_magic)) == PIDFS {
        of_pid(inode.pointer(offset!(inode_private)))
    } else {
        // Whatever else it is, its private data is hardly a `struct pid` whose first thread has it as its own.
        let pid = file.pointer(offset!(file_private));
        let task = of_pid(pid);
        if task.pointer(offset!(task_thread_pid)) == pid { task } else { Object::NONE }
    }
}

/// The same by the descriptor's number.
#[inline(always)]
pub(crate) fn of_descriptor(caller: Object, fd: u32) -> Object {
    of_pidfd(file::of_task(caller, fd))
}

/// The thread that a `struct pid` stands for.
#[inline(always)]
fn of_pid(pid: Object) -> Object {
    let link = pid.embedded(offset!(pid_tasks)).pointer(PIDTYPE_PID * 8);
    if link == Object::NONE { link } else { link.container(offset!(task_pid_links)) }
}

/// Is `other` a thread of another process than `caller`?
#[inline(always)]
pub(crate) fn is_foreign(caller: Object, other: Object) -> bool {
    other != Object::NONE && task::tgid(caller) != task::tgid(other)
}
