//! Kernel hashes that are read from end to end.
//!
//! One entry after the other takes two system calls each, 1.5 to 1.8 µs; in batches it is a fifth of that.

use aya::{
    Pod,
    maps::{HashMap as KernelHash, IterableMap as _, Map, MapData, MapError},
};
use tracing::{debug, warn};

use super::{BpfError, loader::Loaded};
use crate::sys::HashReader;

/// A kernel hash with keys of `K` and values of `V` bytes.
pub struct Table<const K: usize, const V: usize> {
    map: KernelHash<MapData, [u8; K], [u8; V]>,
    /// None: this kernel refused it.
    batches: Option<HashReader<K, V>>,
}

impl<const K: usize, const V: usize> Table<K, V>
where
    [u8; K]: Pod,
    [u8; V]: Pod,
{
    /// Takes the map called `name`.
    ///
    /// # Errors
    /// When it is not there, or its keys or values have another size.
    pub fn new(loaded: &mut Loaded, name: &'static str) -> Result<Self, BpfError>
    where
        KernelHash<MapData, [u8; K], [u8; V]>: TryFrom<Map, Error = MapError>,
    {
        let map: KernelHash<_, _, _> = loaded.take(name)?;
        let batches = HashReader::new(map.map());
        let batches = batches.inspect_err(|error| debug!(name, %error, "a table is read entry by entry")).ok();
        Ok(Self { map, batches })
    }

    /// Hands every entry to `take`.
    pub fn each(&mut self, mut take: impl FnMut(&[u8; K], &[u8; V])) {
        if let Some(reader) = &mut self.batches {
            let mut taken = 0_usize;
            let result = reader.read(|key, value| {
                taken += 1;
                take(key, value);
            });
            match result {
                Ok(()) => return,
                Err(error) if taken == 0 => {
                    debug!(%error, "this kernel has tables read entry by entry");
                    self.batches = None;
                }
                // What was taken must not be taken twice.
                Err(error) => return unread(&error),
            }
        }
        for entry in self.map.iter() {
            match entry {
                Ok((key, value)) => take(&key, &value),
                Err(error) => return unread(&error),
            }
        }
    }

    /// Deletes an entry.
    ///
    /// # Errors
    /// What bpf(2) says, but not when there is no such entry.
    pub fn remove(&mut self, key: &[u8; K]) -> Result<(), MapError> {
        match self.map.remove(key) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn unread(error: &dyn std::fmt::Display) {
    warn!(%error, "a kernel table cannot be read to its end; the rest is read next time");
}
