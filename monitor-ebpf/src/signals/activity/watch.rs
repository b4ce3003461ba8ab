//! What is watched: files by inode and by name, and directories with everything in them. Each answer is the bits of
//! `WATCH_READ` and `WATCH_WRITE`; 0: it is not watched.

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str},
    macros::map,
    maps::HashMap,
};
use monitor_common::{
    limits,
    signals::activity::{FileKey, NameKey, Select, WATCHED_NAME},
};

use super::record::{AT, Place, Record};
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
pub(super) fn last_component(select: &Select, record: Record, length: u32) -> u32 {
    if select.names == 0 {
        return 0;
    }
    let tail = record.tail();
    let end = record.used();
    // How many bytes it has is kept in memory: read back, it is any number to the verifier, which would follow each else.
    let kept = record.note(0);
    let mut step = 0;
    // From the end to the slash before it; slashes at the end are not part of it.
    while step < limits::NAME as u32 && step < length {
        step += 1;
        // SAFETY: inside the record's tail, as the mask shows.
        let byte = unsafe { *tail.add(end.wrapping_sub(step as usize) & (AT - 1)) };
        if byte != b'/' {
            kept.set(kept.get() + 1);
        } else if kept.get() != 0 {
            step -= 1;
            break;
        }
    }
    let begin = record.note(1);
    begin.set(step);
    let (kept, step) = (kept.get(), begin.get());
    let mut key = NameKey { length: kept, ..NameKey::default() };
    let first = if kept < WATCHED_NAME as u32 { kept } else { WATCHED_NAME as u32 };
    // SAFETY: room for as many bytes, and inside the record's tail.
    unsafe {
        let from = tail.add(end.wrapping_sub(step as usize) & (AT - 1));
        bpf_probe_read_kernel((&raw mut key.first).cast(), first, from.cast());
    }
    found(&WATCHED_NAMES, &key)
}
