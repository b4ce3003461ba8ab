//! Kernel hashes whose keys name a process slot: counters that are too many for arrays.
//!
//! Each look adds up what was counted since the last one. When a slot is given back its entries are deleted, so that the
//! table has room for others.

use std::{collections::HashMap, hash::Hash};

use aya::{
    Pod,
    maps::{HashMap as KernelHash, Map, MapData, MapError},
};
use monitor_common::process_slot::SlotRef;
use tracing::warn;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    bpf::{BpfError, loader::Loaded, table::Table},
    processes::GroupId,
    slots::{Owner, Slots, Taken},
};

/// A key that tells whose entry it is.
pub trait SlotKey: Copy + Eq + Hash + FromBytes + IntoBytes + Immutable {
    /// Whose.
    fn slot(&self) -> SlotRef;
}

/// A value that only grows.
pub trait Growing: Copy + Default + FromBytes + IntoBytes + Immutable {
    /// What was added since `before`.
    #[must_use]
    fn since(self, before: Self) -> Self;
}

impl Growing for u64 {
    fn since(self, before: Self) -> Self {
        self.saturating_sub(before)
    }
}

/// A kernel hash from `K` to `V`, of `KS` and `VS` bytes.
pub struct Keyed<K, V, const KS: usize, const VS: usize> {
    table: Table<KS, VS>,
    last: HashMap<K, V>,
}

impl<K: SlotKey, V: Growing, const KS: usize, const VS: usize> Keyed<K, V, KS, VS>
where
    [u8; KS]: Pod,
    [u8; VS]: Pod,
{
    /// Takes the map called `name`.
    ///
    /// # Errors
    /// When it is not there, or its keys or values have another size.
    pub fn new(loaded: &mut Loaded, name: &'static str) -> Result<Self, BpfError>
    where
        KernelHash<MapData, [u8; KS], [u8; VS]>: TryFrom<Map, Error = MapError>,
    {
        Ok(Self { table: Table::new(loaded, name)?, last: HashMap::new() })
    }

    /// Hands every entry that grew to `add`, with what it grew by, and who did it.
    ///
    /// What came in for an owner that is not known yet waits for the next time. What came in after the owner's slot had
    /// been given back (a disk that took longer than that) counts for nobody, and its entry goes.
    pub fn fold(&mut self, slots: &Slots, mut add: impl FnMut(&K, V, &Taken)) {
        let (mut gone, last) = (Vec::new(), &mut self.last);
        self.table.each(|key, value| {
            let (Ok(key), Ok(value)) = (K::read_from_bytes(key), V::read_from_bytes(value)) else { return };
            let owner = match slots.owner(key.slot()) {
                Owner::Known(taken) => *taken,
                Owner::Later => return,
                Owner::Gone => {
                    gone.push(key);
                    Taken::by_nobody(key.slot(), GroupId::UNKNOWN)
                }
            };
            let before = last.insert(key, value).unwrap_or_default();
            let grown = value.since(before);
            if grown.as_bytes().iter().any(|byte| *byte != 0) {
                add(&key, grown, &owner);
            }
        });
        self.delete(&gone);
    }

    /// Deletes the entries of slots that are given back.
    pub fn forget(&mut self, slots: &[SlotRef]) {
        if slots.is_empty() {
            return;
        }
        let gone: Vec<K> = self.last.keys().filter(|key| slots.contains(&key.slot())).copied().collect();
        self.delete(&gone);
    }

    fn delete(&mut self, gone: &[K]) {
        for key in gone {
            self.last.remove(key);
            let mut bytes = [0; KS];
            bytes.copy_from_slice(key.as_bytes());
            if let Err(error) = self.table.remove(&bytes) {
                warn!(%error, "an entry of an ended process cannot be deleted");
            }
        }
    }

    /// Entries at the last look.
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}
