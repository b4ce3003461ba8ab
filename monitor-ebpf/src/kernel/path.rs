//! Paths, walked from the file to the root as the kernel's own `d_path` does, mounts included. The `bpf_d_path` helper
//! is refused to tracepoint programs.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use monitor_common::limits::{NAME, PATH, PATH_DEPTH};

use super::read::Object;
use crate::settings::offset;

/// Where a path is written to.
pub(crate) struct Room {
    /// `PATH_ROOM` bytes for the components, last first, each ended by a zero byte.
    pub(crate) names: *mut u8,
    /// How many of them are used.
    pub(crate) length: *mut u32,
    /// 1 when the walk did not reach the root.
    pub(crate) cut: *mut u32,
}

/// Writes the components of `dentry` on mount `vfsmount`.
///
/// # Safety
/// The room is in a map value or ring record.
#[inline(always)]
pub(crate) unsafe fn walk(room: &Room, mut vfsmount: Object, mut dentry: Object) {
    let mut mount = vfsmount.container(offset!(mount_mnt));
    let mut root = vfsmount.pointer(offset!(vfsmount_root));
    // The length lives in memory, not in a register: read back, it is any number to the verifier, which then sees the
    // same state after each step instead of following every combination of names and mounts (more than a million).
    set(room.length, 0);
    set(room.cut, 1);
    let mut step = 0;
    while step < PATH_DEPTH {
        step += 1;
        if dentry == root {
            let above = mount.pointer(offset!(mount_parent));
            if above == mount || above == Object::NONE {
                set(room.cut, 0);
                break;
            }
            dentry = mount.pointer(offset!(mount_mountpoint));
            mount = above;
            vfsmount = mount.embedded(offset!(mount_mnt));
            root = vfsmount.pointer(offset!(vfsmount_root));
            continue;
        }
        let name = dentry.pointer(offset!(dentry_name));
        // SAFETY: the caller vouches for it.
        let used = unsafe { ptr::read_volatile(room.length) };
        if used >= PATH as u32 {
            break;
        }
        // SAFETY: room for a whole name from any index below PATH, as the mask shows.
        let copied = unsafe {
            let to = room.names.add(used as usize & (PATH - 1));
            bpf_probe_read_kernel_str(to.cast(), NAME as u32, name.0 as *const _)
        };
        if copied <= 0 {
            break;
        }
        set(room.length, used + copied as u32);
        let above = dentry.pointer(offset!(dentry_parent));
        if above == dentry {
            // A file without a directory: a memfd, a pipe, or a tree that has been unmounted.
            set(room.cut, 0);
            break;
        }
        dentry = above;
    }
}

/// Writes a field that the verifier is to forget.
#[inline(always)]
fn set(field: *mut u32, value: u32) {
    // SAFETY: only called with what `walk` was given.
    unsafe { ptr::write_volatile(field, value) };
}

const _: () = assert!(PATH.is_power_of_two());
