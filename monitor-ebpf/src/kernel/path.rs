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
    // SAFETY (the whole function): fields of the `Path`, or an index below its size, as the masks show.
    unsafe {
        (*path).length = 0;
        (*path).cut = 1;
    }
    let mut step = 0;
    while step < PATH_DEPTH {
        step += 1;
        if dentry == vfsmount.pointer(offset!(vfsmount_root)) {
            let above = mount.pointer(offset!(mount_parent));
            if above == mount || above == Object::NONE {
                unsafe { (*path).cut = 0 };
                break;
            }
            dentry = mount.pointer(offset!(mount_mountpoint));
            mount = above;
            vfsmount = mount.embedded(offset!(mount_mnt));
            continue;
        }
        let name = dentry.pointer(offset!(dentry_name));
        let length = unsafe { ptr::read_volatile(&raw const (*path).length) };
        if length >= PATH as u32 {
            break;
        }
        let copied = unsafe {
            // Room for a whole name from any index below PATH: `names` has PATH + NAME bytes.
            let to = (&raw mut (*path).names).cast::<u8>().add(length as usize & (PATH - 1));
            bpf_probe_read_kernel_str(to.cast(), NAME as u32, name.0 as *const _)
        };
        if copied <= 0 {
            break;
        }
        unsafe { ptr::write_volatile(&raw mut (*path).length, length + copied as u32) };
        let above = dentry.pointer(offset!(dentry_parent));
        if above == dentry {
            // A file without a directory: a memfd, a pipe, or a tree that has been unmounted.
            unsafe { (*path).cut = 0 };
            break;
        }
        dentry = above;
    }
}

const _: () = assert!(PATH.is_power_of_two());
