//! What leaves the kernel: which kinds, what is watched, and how much a control group may send.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::record::ProcessKey;

/// How much of something is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Scope {
    /// Nothing.
    #[default]
    Off = 0,
    /// What is watched.
    Watched = 1,
    /// Everything.
    All = 2,
}

/// What leaves the kernel: the one entry of `ACTIVITY_SELECT`. All zero: nothing does. Whole while it is changed: each
/// word is meaningful alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Select {
    /// Kinds that are told at all, one bit each ([`Act::bit`]).
    pub kinds: u64,
    /// Of these, kinds of which failed calls are told too.
    pub failed: u64,
    /// Of these, kinds of class [`Class::FileChange`] that are told everywhere; the others only where it is watched.
    pub everywhere: u64,
    /// A [`Scope`]'s number: opening a file for reading.
    pub open_read: u32,
    /// Opening a file for writing.
    pub open_write: u32,
    /// Opening a file that did not exist before.
    pub open_create: u32,
    /// Bits of [`WATCH_READ`] and [`WATCH_WRITE`] that any watched directory has: without them none is looked for.
    pub directories: u32,
    /// The same of watched names.
    pub names: u32,
    /// The same of watched inodes.
    pub inodes: u32,
    /// Nanoseconds that a control group has to wait for each record of a bulk kind; 0: no limit.
    pub bulk_ns: u64,
    /// How far it may be ahead of that, nanoseconds.
    pub burst_ns: u64,
    /// What may be among the watched directories, without asking a hash for each directory above each file.
    pub directory_filter: Filter,
    /// The same of names.
    pub name_filter: Filter,
    /// The same of inodes.
    pub inode_filter: Filter,
}

/// Words of a [`Filter`].
const FILTER: usize = 16;

/// A set of keys by one bit of each: what is not in it is not watched; what is, may be.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Filter([u64; FILTER]);

impl Filter {
    /// Adds a key with this hash.
    pub const fn add(&mut self, hash: u32) {
        self.0[hash as usize / 64 % FILTER] |= 1 << (hash % 64);
    }

    /// May a key with this hash be in it?
    #[inline(always)]
    pub const fn may_have(&self, hash: u32) -> bool {
        self.0[hash as usize / 64 % FILTER] >> (hash % 64) & 1 != 0
    }
}

/// The upper bits of a product, which depend on all bits of `value` (Fibonacci hashing).
#[inline(always)]
const fn spread(value: u64) -> u32 {
    (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as u32
}

/// In the value of a watched thing: opening it for reading is told.
pub const WATCH_READ: u32 = 1;
/// In the value of a watched thing: opening it for writing and changing it are told.
pub const WATCH_WRITE: u32 = 2;

/// A file or directory: key of `WATCHED_INODES`, `WATCHED_DIRECTORIES` and `WRITTEN`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FileKey {
    /// Inode number.
    pub inode: u64,
    /// Device of the file system (`super_block.s_dev`).
    pub device: u32,
    /// Always 0.
    pub reserved: u32,
}

impl FileKey {
    /// For [`Filter`].
    #[inline(always)]
    pub const fn hash(&self) -> u32 {
        spread(self.inode)
    }
}

/// Bytes of a name that `WATCHED_NAMES` compares.
pub const WATCHED_NAME: usize = 16;

/// The last component of a path: key of `WATCHED_NAMES`. Two names with the same length and beginning are one.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct NameKey {
    /// The first bytes, zeroes behind the end.
    pub first: [u8; WATCHED_NAME],
    /// Bytes of the whole name.
    pub length: u32,
}

impl NameKey {
    /// The key of `name`.
    pub fn new(name: &[u8]) -> Self {
        let mut first = [0; WATCHED_NAME];
        let kept = if name.len() < WATCHED_NAME { name.len() } else { WATCHED_NAME };
        first[..kept].copy_from_slice(&name[..kept]);
        Self { first, length: name.len() as u32 }
    }

    /// For [`Filter`].
    #[inline(always)]
    pub const fn hash(&self) -> u32 {
        let [a, b, c, d, e, f, g, h, ..] = self.first;
        spread(u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ self.length as u64)
    }
}

/// Value of `WRITTEN`: who last opened the file for writing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Writer {
    /// Who; zero: nobody.
    pub process: ProcessKey,
    /// When, nanoseconds since boot.
    pub time_ns: u64,
}

/// Key of `BULK_BUCKETS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BucketKey {
    /// The control group's id.
    pub cgroup_id: u64,
    /// The [`Class`] of the kinds.
    pub class: u64,
}

/// Value of `BULK_BUCKETS`: how much a control group has sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Bucket {
    /// When it has waited for all it has sent, nanoseconds since boot.
    pub paid_ns: u64,
    /// Records it was kept from sending since it was throttled; not 0: it is.
    pub dropped: u64,
}

/// In [`ActivityHead::result`] of [`Act::Throttle`]: from now on records are kept back. `args[0]` tells until when at
/// least, nanoseconds since boot, `args[1]` of which [`Class`].
pub const THROTTLE_BEGINS: i64 = 1;
/// They are sent again. `args[0]` tells how many were kept back, `args[1]` of which [`Class`].
pub const THROTTLE_ENDS: i64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_what_was_added_and_little_else() {
        let mut filter = Filter::default();
        for inode in 1_000..1_050 {
            filter.add(FileKey { inode, ..FileKey::default() }.hash());
        }
        filter.add(NameKey::new(b"shadow").hash());
        let may_have = |inode: &u64| filter.may_have(FileKey { inode: *inode, ..FileKey::default() }.hash());
        assert!((1_000..1_050).all(|inode| may_have(&inode)) && filter.may_have(NameKey::new(b"shadow").hash()));
        assert!((100_000..101_000).filter(may_have).count() < 100, "51 bits of 1024");
    }

    #[test]
    fn a_name_is_told_apart_by_its_length_and_beginning() {
        assert_eq!(NameKey::new(b"shadow").first, *b"shadow\0\0\0\0\0\0\0\0\0\0");
        assert_ne!(NameKey::new(b"shadow"), NameKey::new(b"shadow-"));
        assert_eq!(NameKey::new(b"0123456789abcdefX"), NameKey::new(b"0123456789abcdefY"));
        assert_ne!(NameKey::new(b"0123456789abcdefX"), NameKey::new(b"0123456789abcdefXX"));
    }
}
