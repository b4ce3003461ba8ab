//! What of all activity leaves the kernel, and putting that into the kernel's maps while the programs run.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use aya::{
    Pod,
    maps::{Array, HashMap as KernelHash, MapData},
};
use monitor_common::{
    limits,
    signals::activity::{Act, Class, FileKey, Filter, NameKey, SEVERAL, Scope, Select, WATCH_READ, WATCH_WRITE},
};
use tracing::warn;
use zerocopy::IntoBytes as _;

use super::WatchedPaths;
use crate::{
    bpf::{BpfError, loader::Loaded, maps},
    config,
    detect::eval::Needs,
};

const SECOND_NS: u64 = 1_000_000_000;

/// What is wanted. Rules and the configuration each have one; [`Self::merge`] puts them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Kinds that are told, one bit each. Those of class [`Class::FileChange`] only where it is watched.
    pub kinds: u64,
    /// Of these, kinds of which failed calls are told too.
    pub failed: u64,
    /// Of these, kinds of class [`Class::FileChange`] that are told everywhere.
    pub everywhere: u64,
    /// Opening files for reading.
    pub open_read: Scope,
    /// Opening files for writing.
    pub open_write: Scope,
    /// Making files by opening them.
    pub open_create: Scope,
    /// Absolute paths, of directories with a slash at the end, with bits of [`WATCH_READ`] and [`WATCH_WRITE`]. A file is
    /// known again by its inode and by its name wherever it is; of a directory everything up to eight levels below is meant.
    pub watched: BTreeMap<PathBuf, u32>,
    /// Last components of paths that are watched wherever they are.
    pub names: BTreeMap<Vec<u8>, u32>,
}

impl Selection {
    /// Adds a kind, everywhere, with the calls that failed.
    pub fn add(&mut self, act: Act) {
        self.kinds |= act.bit();
        self.failed |= act.bit();
        match act.class() {
            Class::FileOpen => {
                (self.open_read, self.open_write, self.open_create) = (Scope::All, Scope::All, Scope::All);
            }
            Class::FileChange => self.everywhere |= act.bit(),
            _ => {}
        }
    }

    /// Adds a path: all that opens or changes what is there.
    pub fn watch(&mut self, path: &Path, access: u32) {
        *self.watched.entry(path.to_owned()).or_default() |= access;
        self.kinds |= Act::FileOpen.bit();
        self.failed |= Act::FileOpen.bit();
        if access & WATCH_READ != 0 {
            self.open_read = self.open_read.max(Scope::Watched);
        }
        if access & WATCH_WRITE != 0 {
            self.open_write = self.open_write.max(Scope::Watched);
            self.open_create = self.open_create.max(Scope::Watched);
            let changes = Act::ALL.iter().filter(|act| act.class() == Class::FileChange);
            let changes = changes.fold(0, |bits, act| bits | act.bit());
            (self.kinds, self.failed) = (self.kinds | changes, self.failed | changes);
        }
    }

    /// What the configuration asks for.
    pub fn of_config(config: &config::Activity) -> Self {
        let mut selection = Self::default();
        for act in Act::ALL.iter().filter(|act| config.kinds.iter().any(|name| name == act.name())) {
            selection.add(*act);
        }
        for path in &config.watch {
            selection.watch(Path::new(path), WATCH_READ | WATCH_WRITE);
        }
        selection
    }

    /// What rules ask for.
    pub fn of_needs(needs: &Needs) -> Self {
        let mut selection =
            Self { kinds: needs.kinds, failed: needs.failed, everywhere: needs.everywhere, ..Self::default() };
        let cases = [
            (&needs.read, WATCH_READ, &mut selection.open_read),
            (&needs.write, WATCH_WRITE, &mut selection.open_write),
            (&needs.created, WATCH_WRITE, &mut selection.open_create),
        ];
        for (files, _, scope) in cases {
            *scope = match (files.all, files.is_empty()) {
                (true, _) => Scope::All,
                (false, false) => Scope::Watched,
                (false, true) => Scope::Off,
            };
        }
        let watched = [
            (&needs.read, WATCH_READ),
            (&needs.write, WATCH_WRITE),
            (&needs.created, WATCH_WRITE),
            (&needs.changed, WATCH_WRITE),
        ];
        for (files, access) in watched {
            for path in files.paths.iter().chain(&files.directories) {
                *selection.watched.entry(PathBuf::from(OsStr::from_bytes(path))).or_default() |= access;
            }
            for name in &files.names {
                *selection.names.entry(name.clone()).or_default() |= access;
            }
        }
        selection
    }

    /// Adds all that another one asks for.
    pub fn merge(&mut self, other: &Self) {
        self.kinds |= other.kinds;
        self.failed |= other.failed;
        self.everywhere |= other.everywhere;
        self.open_read = self.open_read.max(other.open_read);
        self.open_write = self.open_write.max(other.open_write);
        self.open_create = self.open_create.max(other.open_create);
        for (path, access) in &other.watched {
            *self.watched.entry(path.clone()).or_default() |= access;
        }
        for (name, access) in &other.names {
            *self.names.entry(name.clone()).or_default() |= access;
        }
    }
}

/// What watched paths are at this moment, as the kernel programs compare it.
#[derive(Debug, Default)]
struct Resolved {
    inodes: BTreeMap<FileKey, u32>,
    names: BTreeMap<NameKey, u32>,
    directories: BTreeMap<FileKey, u32>,
    /// The path of each watched file and directory.
    paths: WatchedPaths,
}

impl Resolved {
    fn of(selection: &Selection) -> Self {
        let mut resolved = Self::default();
        for (name, access) in &selection.names {
            *resolved.names.entry(NameKey::new(name)).or_default() |= access;
        }
        for (path, access) in &selection.watched {
            let is_directory = path.as_os_str().as_bytes().ends_with(b"/");
            if let Some(name) = path.file_name().filter(|_| !is_directory) {
                *resolved.names.entry(NameKey::new(name.as_bytes())).or_default() |= access;
            }
            let Ok(metadata) = fs::metadata(path) else { continue };
            let key = FileKey { inode: metadata.ino(), device: kernel_device(metadata.dev()), reserved: 0 };
            let keys = if is_directory { &mut resolved.directories } else { &mut resolved.inodes };
            *keys.entry(key).or_default() |= access;
            resolved.paths.insert(key, path.as_os_str().as_bytes().to_vec());
        }
        resolved
    }
}

/// A device number as the kernel holds it, from what stat(2) tells.
fn kernel_device(device: u64) -> u32 {
    rustix::fs::major(device) << 20 | rustix::fs::minor(device)
}

/// A hash of watched things.
struct Watch<K, const N: usize> {
    map: KernelHash<MapData, [u8; N], u32>,
    /// What is in it.
    present: BTreeMap<K, u32>,
    room: usize,
    what: &'static str,
}

impl<K: zerocopy::IntoBytes + zerocopy::Immutable + Ord + Copy, const N: usize> Watch<K, N>
where
    [u8; N]: Pod,
{
    fn new(loaded: &mut Loaded, name: &'static str, room: u32, what: &'static str) -> Result<Self, BpfError> {
        Ok(Self { map: loaded.take(name)?, present: BTreeMap::new(), room: room as usize, what })
    }

    fn key(key: &K) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(key.as_bytes());
        bytes
    }

    /// Makes it hold what is wanted, as far as there is room. What stays is in it all the time. Returns how many found none.
    fn set(&mut self, wanted: &BTreeMap<K, u32>) -> usize {
        let gone: Vec<K> = self.present.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            if self.map.remove(&Self::key(&key)).is_ok() {
                self.present.remove(&key);
            }
        }
        let mut refused = 0;
        for (key, access) in wanted {
            let known = self.present.get(key);
            if known == Some(access) {
                continue;
            }
            let fits = known.is_some() || self.present.len() < self.room;
            if fits && self.map.insert(Self::key(key), access, 0).is_ok() {
                self.present.insert(*key, *access);
            } else {
                refused += 1;
            }
        }
        if refused > 0 {
            warn!(refused, room = self.room, "too many {} to watch", self.what);
        }
        refused
    }

    fn filter(&self, hash: impl Fn(&K) -> u32) -> Filter {
        let mut filter = Filter::default();
        self.present.keys().for_each(|key| filter.add(hash(key)));
        filter
    }

    fn bits(&self) -> u32 {
        self.present.values().fold(0, |bits, access| bits | access)
    }
}

/// The kernel's maps that say what leaves it.
pub struct Selector {
    select: Array<MapData, [u8; size_of::<Select>()]>,
    inodes: Watch<FileKey, { size_of::<FileKey>() }>,
    names: Watch<NameKey, { size_of::<NameKey>() }>,
    directories: Watch<FileKey, { size_of::<FileKey>() }>,
    /// Kinds whose programs run.
    possible: u64,
    selection: Selection,
    /// What was put into the kernel's map.
    applied: Option<[u8; size_of::<Select>()]>,
    bulk_rate: u32,
    paths: WatchedPaths,
    refused: usize,
}

impl Selector {
    /// Takes the maps. Nothing leaves the kernel yet.
    ///
    /// # Errors
    /// When one is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, BpfError> {
        let classes = loaded.classes();
        let possible = Act::ALL.iter().filter(|act| classes.iter().any(|class| *class == act.class()));
        Ok(Self {
            select: loaded.take(maps::ACTIVITY_SELECT)?,
            inodes: Watch::new(loaded, maps::WATCHED_INODES, limits::WATCHED_INODES, "files")?,
            names: Watch::new(loaded, maps::WATCHED_NAMES, limits::WATCHED_NAMES, "names of files")?,
            directories: Watch::new(loaded, maps::WATCHED_DIRECTORIES, limits::WATCHED_DIRECTORIES, "directories")?,
            possible: possible.fold(0, |bits, act| bits | act.bit()),
            selection: Selection::default(),
            applied: None,
            bulk_rate: limits::BULK_RATE,
            paths: WatchedPaths::default(),
            refused: 0,
        })
    }

    /// Lets `selection` leave the kernel from now on, and nothing else; of bulk kinds at most `bulk_rate` records a second
    /// from each control group.
    ///
    /// # Errors
    /// What the kernel says; then what was selected before may be mixed with it.
    pub fn apply(&mut self, selection: Selection, bulk_rate: u32) -> Result<(), BpfError> {
        (self.selection, self.bulk_rate) = (selection, bulk_rate);
        self.refresh()
    }

    /// Looks again what files the watched paths are: they come, go and are replaced.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn refresh(&mut self) -> Result<(), BpfError> {
        let resolved = Resolved::of(&self.selection);
        self.refused = self.inodes.set(&resolved.inodes)
            + self.names.set(&resolved.names)
            + self.directories.set(&resolved.directories);
        self.paths = resolved.paths;
        let selection = &self.selection;
        let kinds = selection.kinds & self.possible;
        // Of several kinds in one call the program finds out itself.
        let several = |bits: u64| if bits == 0 { 0 } else { bits | 1 << SEVERAL };
        let cost = SECOND_NS.checked_div(u64::from(self.bulk_rate)).unwrap_or(0);
        let select = Select {
            kinds: several(kinds) | Act::Heartbeat.bit() & self.possible,
            failed: several(selection.failed & kinds),
            everywhere: selection.everywhere,
            open_read: selection.open_read as u32,
            open_write: selection.open_write as u32,
            open_create: selection.open_create as u32,
            directories: self.directories.bits(),
            names: self.names.bits(),
            inodes: self.inodes.bits(),
            bulk_ns: cost,
            burst_ns: SECOND_NS,
            directory_filter: self.directories.filter(FileKey::hash),
            name_filter: self.names.filter(NameKey::hash),
            inode_filter: self.inodes.filter(FileKey::hash),
        };
        let mut bytes = [0; size_of::<Select>()];
        bytes.copy_from_slice(select.as_bytes());
        self.select.set(0, bytes, 0).map_err(Self::failed)?;
        self.applied = Some(bytes);
        Ok(())
    }

    fn failed(source: aya::maps::MapError) -> BpfError {
        BpfError::Map { name: maps::ACTIVITY_SELECT, source }
    }

    /// Does the program run that the daemon's own calls go through?
    pub const fn beats(&self) -> bool {
        self.possible & Act::Heartbeat.bit() != 0
    }

    /// Puts back what is selected, if somebody else has changed it. Returns whether that was so.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn restore(&mut self) -> Result<bool, BpfError> {
        let Some(applied) = self.applied else { return Ok(false) };
        if self.select.get(&0, 0).map_err(Self::failed)? == applied {
            return Ok(false);
        }
        self.select.set(0, applied, 0).map_err(Self::failed)?;
        Ok(true)
    }

    /// Which watched paths files are.
    pub fn paths(&self) -> &WatchedPaths {
        &self.paths
    }

    /// Watched things that found no room.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// Watched things: files, names and directories.
    pub fn watched(&self) -> [(&'static str, usize); 3] {
        [
            ("inode", self.inodes.present.len()),
            ("name", self.names.present.len()),
            ("directory", self.directories.present.len()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_everywhere_and_a_path_only_there() {
        let config = config::Activity {
            kinds: vec!["rename".to_owned(), "mount".to_owned()],
            watch: vec!["/etc/hostname".to_owned(), "/etc/".to_owned()],
            ..config::Activity::default()
        };
        let selection = Selection::of_config(&config);
        assert_eq!(selection.everywhere, Act::Rename.bit());
        for act in [Act::Rename, Act::Mount, Act::FileOpen, Act::Unlink] {
            assert_ne!(selection.kinds & act.bit(), 0, "{act:?}");
        }
        assert_eq!(selection.kinds & Act::Socket.bit(), 0);
        assert_eq!((selection.open_read, selection.open_write), (Scope::Watched, Scope::Watched));
        let resolved = Resolved::of(&selection);
        assert_eq!(resolved.names.keys().collect::<Vec<_>>(), [&NameKey::new(b"hostname")]);
        let metadata = fs::metadata("/etc").unwrap();
        let (key, access) = resolved.directories.first_key_value().unwrap();
        assert_eq!((key.inode, *access), (metadata.ino(), WATCH_READ | WATCH_WRITE));
        assert_eq!(resolved.paths.path(key.device, key.inode), Some(&b"/etc/"[..]));
    }

    #[test]
    fn two_selections_together_are_all_that_either_asks_for() {
        let mut one = Selection::default();
        one.watch(Path::new("/etc/shadow"), WATCH_READ);
        assert_eq!(one.open_write, Scope::Off, "only reading it is of interest");
        let mut other = Selection::default();
        other.watch(Path::new("/etc/shadow"), WATCH_WRITE);
        other.add(Act::Unlink);
        one.merge(&other);
        assert_eq!(one.watched[Path::new("/etc/shadow")], WATCH_READ | WATCH_WRITE);
        assert_eq!(
            (one.open_read, one.open_write, one.everywhere),
            (Scope::Watched, Scope::Watched, Act::Unlink.bit())
        );
    }

    #[test]
    fn device_numbers_are_those_of_the_kernel() {
        // stat(2) of a device 259:3 and of one whose minor number has more than eight bits.
        assert_eq!(kernel_device(rustix::fs::makedev(259, 3)), 259 << 20 | 3);
        assert_eq!(kernel_device(rustix::fs::makedev(8, 0x1_2345)), 8 << 20 | 0x1_2345);
    }
}
