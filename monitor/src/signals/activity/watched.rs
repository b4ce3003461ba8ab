//! Which watched path a file is, whatever name it is used by. Rules ask for it, so a recording has it.

use std::collections::HashMap;

use monitor_common::signals::activity::FileKey;
use serde::{Deserialize, Serialize};

/// The path of each watched file and directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedPaths(HashMap<FileKey, Vec<u8>>);

/// One of them, as a recording has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WatchedPath {
    /// Device, as the kernel holds it.
    pub device: u32,
    /// Inode.
    pub inode: u64,
    /// The path, of a directory with a slash at the end.
    pub path: Vec<u8>,
}

impl WatchedPaths {
    /// Adds one.
    pub fn insert(&mut self, file: FileKey, path: Vec<u8>) {
        self.0.insert(file, path);
    }

    /// The watched path that this file is.
    pub fn path(&self, device: u32, inode: u64) -> Option<&[u8]> {
        self.0.get(&FileKey { inode, device, reserved: 0 }).map(Vec::as_slice)
    }

    /// All of them, always in the same order.
    pub fn list(&self) -> Vec<WatchedPath> {
        let one = |(file, path): (&FileKey, &Vec<u8>)| {
            let path = path.clone();
            WatchedPath { device: file.device, inode: file.inode, path }
        };
        let mut list: Vec<WatchedPath> = self.0.iter().map(one).collect();
        list.sort_unstable();
        list
    }
}

impl FromIterator<WatchedPath> for WatchedPaths {
    fn from_iter<I: IntoIterator<Item = WatchedPath>>(list: I) -> Self {
        let one = |WatchedPath { device, inode, path }| (FileKey { inode, device, reserved: 0 }, path);
        Self(list.into_iter().map(one).collect())
    }
}
