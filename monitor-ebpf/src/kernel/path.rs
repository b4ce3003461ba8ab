//! Paths, walked from the file to the root as the kernel's own `d_path` does, mounts included. The `bpf_d_path` helper
//! is refused to tracepoint programs.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use monitor_common::{
    limits::{NAME, PATH, PATH_DEPTH},
    signals::exec::Path,
};

use super::read::Object;
use crate::settings::offset;

/// Writes the components of `dentry` on mount `vfsmount` to `path`, last first.
///
/// # Safety
/// `path` points to a whole `Path` in a reserved ring record.
#[inline(always)]
pub(crate) unsafe fn walk(path: *mut Path, mut vfsmount: Object, mut dentry: Object) {
    let mut mount = vfsmount.container(offset!(mount_mnt));
    // The length lives in the record, not in a register: read back, it is any number to the verifier, which then sees
    // the same state after each step instead of following every combination of names and mounts (more than a million).
    // SAFETY: all are fields of the `Path`, which the caller vouches for.
    let (length, cut, names) =
        unsafe { (&raw mut (*path).length, &raw mut (*path).cut, (&raw mut (*path).names).cast::<u8>()) };
    set(length, 0);
    set(cut, 1);
    let mut step = 0;
    while step < PATH_DEPTH {
        step += 1;
        if dentry == vfsmount.pointer(offset!(vfsmount_root)) {
            let above = mount.pointer(offset!(mount_parent));
            if above == mount || above == Object::NONE {
                set(cut, 0);
                break;
            }
            dentry = mount.pointer(offset!(mount_mountpoint));
            mount = above;
            vfsmount = mount.embedded(offset!(mount_mnt));
            continue;
        }
        let name = dentry.pointer(offset!(dentry_name));
        // SAFETY: a field of the `Path`.
        let used = unsafe { ptr::read_volatile(length) };
        if used >= PATH as u32 {
            break;
        }
        // SAFETY: room for a whole name from any index below PATH, as the mask shows: `names` has PATH + NAME bytes.
        let copied = unsafe {
            bpf_probe_read_kernel_str(names.add(used as usize & (PATH - 1)).cast(), NAME as u32, name.0 as *const _)
        };
        if copied <= 0 {
            break;
        }
        set(length, used + copied as u32);
        let above = dentry.pointer(offset!(dentry_parent));
        if above == dentry {
            // A file without a directory: a memfd, a pipe, or a tree that has been unmounted.
            set(cut, 0);
            break;
        }
        dentry = above;
    }
}

/// Writes a field of a `Path` in a ring record.
#[inline(always)]
fn set(field: *mut u32, value: u32) {
    // SAFETY: only called with fields of the `Path` that `walk` was given.
    unsafe { ptr::write_volatile(field, value) };
}

const _: () = assert!(PATH.is_power_of_two());
