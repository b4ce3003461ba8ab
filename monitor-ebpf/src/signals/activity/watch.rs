//! What is watched: files by inode and by name, and directories with everything in them; each for `WATCH_READ`,
//! `WATCH_WRITE` or both. Most files are not: a filter in the selection spares the look into a hash.

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

/// How many slashes at the end of a name are looked at.
const SLASHES: u32 = 8;

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

/// Is this file watched, by any of its names or where it lies? Only what is watched for `access` is looked for.
#[inline(always)]
pub(super) fn file(select: &Select, place: Place, inode: FileKey, access: u32) -> bool {
    select.inodes & access != 0
        && select.inode_filter.may_have(inode.hash())
        && found(&WATCHED_INODES, &inode) & access != 0
        || select.names & access != 0 && entry(select, place.dentry) & access != 0
        || select.directories & access != 0 && above(select, place) & access != 0
}

/// Is this directory watched, or one above it?
#[inline(always)]
pub(super) fn directory(select: &Select, place: Place, access: u32) -> bool {
    if select.directories & access == 0 || place.dentry == Object::NONE {
        return false;
    }
    let here = watched(select, place.dentry, place.mount.field(offset!(vfsmount_sb)));
    (here | above(select, place)) & access != 0
}

/// Is the name of this directory entry watched?
#[inline(always)]
fn entry(select: &Select, dentry: Object) -> u32 {
    let mut key = NameKey::default();
    let name = dentry.pointer(offset!(dentry_name));
    // SAFETY: room for 16 bytes and the one that ends a string, where the length comes later.
    unsafe {
        bpf_probe_read_kernel_str((&raw mut key).cast(), WATCHED_NAME as u32 + 1, name.0 as *const _);
    }
    key.length = dentry.field(offset!(dentry_name_length));
    if select.name_filter.may_have(key.hash()) { found(&WATCHED_NAMES, &key) } else { 0 }
}

/// Is the directory `dentry`, of file system `superblock`, watched?
#[inline(always)]
fn watched(select: &Select, dentry: Object, superblock: u64) -> u32 {
    let inode = dentry.pointer(offset!(dentry_inode)).field(offset!(inode_ino));
    let mut key = FileKey { inode, ..FileKey::default() };
    if !select.directory_filter.may_have(key.hash()) {
        return 0;
    }
    key.device = Object(superblock).field(offset!(sb_dev));
    found(&WATCHED_DIRECTORIES, &key)
}

/// Is a directory above this place watched?
#[inline(always)]
fn above(select: &Select, place: Place) -> u32 {
    let mut vfsmount = place.mount;
    let mut mount = vfsmount.container(offset!(mount_mnt));
    let mut root = vfsmount.pointer(offset!(vfsmount_root));
    let mut superblock: u64 = vfsmount.field(offset!(vfsmount_sb));
    let mut dentry = place.dentry;
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
            vfsmount = mount.embedded(offset!(mount_mnt));
            root = vfsmount.pointer(offset!(vfsmount_root));
            superblock = vfsmount.field(offset!(vfsmount_sb));
            continue;
        }
        dentry = dentry.pointer(offset!(dentry_parent));
        let bits = watched(select, dentry, superblock);
        if bits != 0 {
            return bits;
        }
    }
    0
}

/// Is the last component of the name that was just written to `record`, `length` bytes that end where its parts end now,
/// watched?
#[inline(always)]
pub(super) fn last_component(select: &Select, record: Record, length: u32, access: u32) -> bool {
    if select.names & access == 0 {
        return false;
    }
    // What is counted is kept in memory: read back, it is any number to the verifier, which would follow each else.
    let (slashes, component) = (record.note(0), record.note(1));
    let tail = record.tail();
    let end = record.used();
    // Slashes at the end are no part of it.
    let mut step = 0;
    while step < SLASHES && step < length {
        step += 1;
        // SAFETY: inside the record's tail, as the mask shows.
        if unsafe { *tail.add(end.wrapping_sub(step as usize) & (AT - 1)) } != b'/' {
            break;
        }
        slashes.set(step);
    }
    let slashes = slashes.get();
    let (end, length) = (end.wrapping_sub(slashes as usize), length.wrapping_sub(slashes));
    let mut step = 0;
    while step < limits::NAME as u32 {
        // SAFETY: as above; behind the tail that the mask shows there is room for a path.
        let word = unsafe { tail.add(end.wrapping_sub(step as usize + 8) & (AT - 1)).cast::<[u8; 8]>().read() };
        let mut found = slashes_in(u64::from_le_bytes(word));
        let left = length.wrapping_sub(step);
        if left < 8 {
            // It begins within this word: what is before it counts as a slash.
            found |= 0x80 << ((7 - left) * 8);
        }
        if found != 0 {
            component.set(step + (found.leading_zeros() >> 3));
            break;
        }
        step += 8;
    }
    let component = component.get();
    let mut key = NameKey { length: component, ..NameKey::default() };
    let first = if component < WATCHED_NAME as u32 { component } else { WATCHED_NAME as u32 };
    // SAFETY: room for as many bytes, and inside the record's tail.
    unsafe {
        let from = tail.add(end.wrapping_sub(component as usize) & (AT - 1));
        bpf_probe_read_kernel((&raw mut key.first).cast(), first, from.cast());
    }
    select.name_filter.may_have(key.hash()) && found(&WATCHED_NAMES, &key) & access != 0
}

/// The highest bit of each byte that is a slash.
#[inline(always)]
fn slashes_in(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let other = word ^ 0x2f2f_2f2f_2f2f_2f2f;
    // A byte that is not zero carries into its highest bit, or has it set.
    !(((other & LOW) + LOW) | other | LOW)
}
