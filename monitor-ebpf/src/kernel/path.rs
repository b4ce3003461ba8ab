//! Paths, walked from the file to the root as the kernel's own `d_path` does, mounts included. The `bpf_d_path` helper
//! is refused to tracepoint programs.

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
    let mut length = 0_u32;
    let mut cut = 1;
    let mut step = 0;
    while step < PATH_DEPTH {
        step += 1;
        if dentry == vfsmount.pointer(offset!(vfsmount_root)) {
            let above = mount.pointer(offset!(mount_parent));
            if above == mount || above == Object::NONE {
                cut = 0;
                break;
            }
            dentry = mount.pointer(offset!(mount_mountpoint));
            mount = above;
            vfsmount = mount.embedded(offset!(mount_mnt));
            continue;
        }
        let name = dentry.pointer(offset!(dentry_name));
        // SAFETY: at most NAME bytes from an index below PATH: inside `names`, which has PATH + NAME. The mask says so
        // to the verifier.
        let copied = unsafe {
            let to = (&raw mut (*path).names).cast::<u8>().add(length as usize & (PATH - 1));
            bpf_probe_read_kernel_str(to.cast(), NAME as u32, name.0 as *const _)
        };
        if copied <= 0 {
            break;
        }
        length += copied as u32;
        let above = dentry.pointer(offset!(dentry_parent));
        if above == dentry {
            // A file without a directory: a memfd, a pipe, or a tree that has been unmounted.
            cut = 0;
            break;
        }
        if length >= PATH as u32 {
            break;
        }
        dentry = above;
    }
    // SAFETY: both are fields of the `Path`.
    unsafe {
        (*path).length = length;
        (*path).cut = cut;
    }
}

const _: () = assert!(PATH.is_power_of_two());
