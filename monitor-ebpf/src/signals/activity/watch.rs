//! What is watched: files by inode and by name, and directories with everything in them. Each answer is the bits of
//! `WATCH_READ` and `WATCH_WRITE`; 0: it is not watched.

use aya_ebpf::{helpers::generated::bpf_probe_read_kernel_str, macros::map, maps::HashMap};
use monitor_common::{
    limits,
    signals::activity::{FileKey, NameKey, Select, WATCHED_NAME},
};

use super::record::{Place, Record};
use crate::{kernel::read::Object, settings::offset};

#[map]
static WATCHED_INODES: HashMap<FileKey, u32> = HashMap::with_max_entries(limits::WATCHED_INODES, 0);
#[map]
static WATCHED_NAMES: HashMap<NameKey, u32> = HashMap::with_max_entries(limits::WATCHED_NAMES, 0);
#[map]
static WATCHED_DIRECTORIES: HashMap<FileKey, u32> = HashMap::with_max_entries(limits::WATCHED_DIRECTORIES, 0);

/// What names an inode.
#[inline(always)]
pub(super) fn key(inode: Object) -> FileKey {
    FileKey {
        inode: inode.field(offset!(inode_ino)),
        device: inode.pointer(offset!(inode_sb)).field(offset!(sb_dev)),
        reserved: 0,
    }
}

#[inline(always)]
fn found<K>(map: &HashMap<K, u32>, key: &K) -> u32 {
    // SAFETY: a value is never freed to anything but another u32.
    unsafe { map.get(key) }.copied().unwrap_or(0)
}

/// Is this file watched, by any of its names or where it lies?
#[inline(always)]
pub(super) fn file(select: &Select, place: Place, inode: FileKey) -> u32 {
    let mut bits = if select.inodes != 0 { found(&WATCHED_INODES, &inode) } else { 0 };
    if select.names != 0 {
        bits |= entry(place.dentry);
    }
    if select.directories != 0 {
        bits |= above(place);
    }
    bits
}

/// Is this directory watched, or one above it?
#[inline(always)]
pub(super) fn directory(select: &Select, place: Place) -> u32 {
    if select.directories == 0 || place.dentry == Object::NONE {
        return 0;
    }
    found(&WATCHED_DIRECTORIES, &key(place.dentry.pointer(offset!(dentry_inode)))) | above(place)
}

/// Is the name of this directory entry watched?
#[inline(always)]
fn entry(dentry: Object) -> u32 {
    let mut key = NameKey::default();
    let name = dentry.pointer(offset!(dentry_name));
    // SAFETY: room for 16 bytes and the one that ends a string, where the length comes later.
    unsafe {
        bpf_probe_read_kernel_str((&raw mut key).cast(), WATCHED_NAME as u32 + 1, name.0 as *const _);
    }
    key.length = dentry.field(offset!(dentry_name_length));
    found(&WATCHED_NAMES, &key)
}

/// Is a directory above this place watched?
#[inline(always)]
fn above(place: Place) -> u32 {
    let mut mount = place.mount.container(offset!(mount_mnt));
    let mut root = place.mount.pointer(offset!(vfsmount_root));
    let mut dentry = place.dentry;
    let mut bits = 0;
    let mut step = 0;
    while step < limits::WATCHED_DEPTH {
        step += 1;
        if dentry == root {
            let outer = mount.pointer(offset!(mount_parent));
            if outer == mount || outer == Object::NONE {
                break;
            }
            dentry = mount.pointer(offset!(mount_mountpoint));
            mount = outer;
            root = mount.embedded(offset!(mount_mnt)).pointer(offset!(vfsmount_root));
            continue;
        }
        dentry = dentry.pointer(offset!(dentry_parent));
        bits |= found(&WATCHED_DIRECTORIES, &key(dentry.pointer(offset!(dentry_inode))));
        if bits != 0 {
            break;
        }
    }
    bits
}

/// Is the last component of the name that was just written to `record`, `length` bytes that end where its parts end now,
/// watched?
#[inline(always)]
pub(super) fn last_component(record: Record, length: u32) -> u32 {
    let tail = record.tail();
    let end = record.used();
    let mut key = NameKey::default();
    let mut kept = 0_usize;
    let mut step = 0;
    // From the end to the slash before it. What is kept of the name is turned round afterwards by its length.
    while step < limits::NAME {
        step += 1;
        if step as u32 > length {
            break;
        }
        // SAFETY: inside the record's tail, as the mask shows.
        let byte = unsafe { *tail.add(end.wrapping_sub(step) & (limits::NAME * 32 - 1)) };
        if byte == b'/' {
            if kept != 0 {
                break;
            }
            continue;
        }
        kept += 1;
    }
    if kept == 0 {
        return 0;
    }
    let begin = end.wrapping_sub(step - 1);
    let mut index = 0;
    while index < WATCHED_NAME {
        if index < kept {
            // SAFETY: as above.
            key.first[index] = unsafe { *tail.add(begin.wrapping_add(index) & (limits::NAME * 32 - 1)) };
        }
        index += 1;
    }
    key.length = kept as u32;
    found(&WATCHED_NAMES, &key)
}
