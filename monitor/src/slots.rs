//! Process slots, seen from the daemon: who has which, and taking them back from the dead.
//! `monitor_common::process_slot` says how a slot lives.

use std::{collections::BTreeMap, mem};

use aya::maps::{MapData, Queue};
use monitor_common::{
    limits::{SLOT_FIRST, SLOT_OTHER, SLOT_UNKNOWN},
    process_slot::{DEAD, FREE, LIVE, ProcessSlot, SlotRef},
    record::ProcessKey,
};
use tracing::error;

use crate::{
    bpf::{BpfError, loader::Loaded, maps, wall::since_boot},
    processes::{GroupId, ProcessId, ProcessTable},
    sys::MappedArray,
};

/// How long a dead process keeps its slot: packets that are still on their way count for it.
const LINGER_NS: u64 = 5_000_000_000;
/// The dead give their slots back at once when fewer than one in so many is free.
const SCARCE: usize = 4;

/// A slot that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The slot, with its present generation.
    pub slot: SlotRef,
    /// Whose it is; `None` for the two that stand for nobody.
    pub process: Option<ProcessId>,
    /// The group to count for, after the limit on groups.
    pub group: GroupId,
    /// The group itself.
    pub own_group: GroupId,
}

/// What is known of a slot's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// This one.
    Known(&'a Taken),
    /// Somebody who took the slot after the last look.
    Later,
    /// Nobody any more: the slot has been given back since.
    Gone,
}

/// The array of slots.
pub struct Slots {
    owners: MappedArray<ProcessSlot>,
    free: Queue<MapData, u32>,
    /// Who had each slot at the last look: so that its entries elsewhere can still be told after the end.
    taken: BTreeMap<u32, Taken>,
    /// Slots that could not be given back because the queue refused them; tried again.
    refused: Vec<u32>,
}

impl Slots {
    /// Maps the array.
    ///
    /// # Errors
    /// When the maps are not there or cannot be mapped.
    pub fn new(loaded: &mut Loaded) -> Result<Self, BpfError> {
        let entries = u32::try_from(loaded.knobs.slots).unwrap_or(u32::MAX);
        let owners = map(loaded, maps::PROCESS_SLOTS, entries)?;
        Ok(Self { owners, free: loaded.take(maps::FREE_SLOTS)?, taken: BTreeMap::new(), refused: Vec::new() })
    }

    /// Slots in all.
    pub fn capacity(&self) -> usize {
        self.owners.len()
    }

    /// Slots that were taken at the last look.
    pub fn in_use(&self) -> usize {
        self.taken.len()
    }

    /// Looks at every slot; afterwards [`Self::taken`] knows them all but those whose owners nobody knows yet. Processes
    /// that the table does not know are looked up in /proc.
    pub fn look(&mut self, table: &mut ProcessTable) {
        let now_ns = since_boot();
        self.taken.clear();
        for index in 0..self.owners.len() {
            let Some(owner) = self.owners.read(index).filter(|owner| owner.state != FREE) else { continue };
            let slot = SlotRef { slot: index as u32, generation: owner.generation };
            let taken = match slot.slot {
                SLOT_OTHER => Taken::by_nobody(slot, GroupId::OTHER),
                SLOT_UNKNOWN => Taken::by_nobody(slot, GroupId::UNKNOWN),
                _ if owner.tgid == 0 => Taken::by_nobody(slot, GroupId::UNKNOWN),
                _ => {
                    let key = ProcessKey { start_ns: owner.start_ns, tgid: owner.tgid, reserved: 0 };
                    let process = table.resolve(key);
                    if table.get(process).is_none() && now_ns.saturating_sub(owner.start_ns) < LINGER_NS {
                        // Born and ended since the rings were drained: the records that tell who it was are in there.
                        continue;
                    }
                    let own_group = table.group_of(key);
                    Taken { slot, process: Some(process), group: table.groups().visible(own_group), own_group }
                }
            };
            self.taken.insert(slot.slot, taken);
        }
    }

    /// Everybody who has a slot.
    pub fn taken(&self) -> impl Iterator<Item = &Taken> {
        self.taken.values()
    }

    /// Who has this slot in this generation.
    pub fn owner(&self, slot: SlotRef) -> Owner<'_> {
        match self.taken.get(&slot.slot).filter(|taken| taken.slot == slot) {
            Some(taken) => Owner::Known(taken),
            None if self.owners.read(slot.slot as usize).is_some_and(|now| now.generation == slot.generation) => {
                Owner::Later
            }
            None => Owner::Gone,
        }
    }

    /// The slots to take back now: their owners are dead for long enough, or slots are scarce.
    pub fn due(&self, now_ns: u64) -> Vec<SlotRef> {
        let scarce = self.owners.len().saturating_sub(self.taken.len()) < self.owners.len() / SCARCE;
        self.taken
            .values()
            .filter(|taken| taken.slot.slot >= SLOT_FIRST)
            .filter(|taken| {
                self.owners.read(taken.slot.slot as usize).is_some_and(|owner| {
                    owner.state == DEAD && (scarce || now_ns.saturating_sub(owner.exited_ns) >= LINGER_NS)
                })
            })
            .map(|taken| taken.slot)
            .collect()
    }

    /// Gives a slot back. The caller has folded and cleared its counters.
    pub fn give_back(&mut self, slot: SlotRef) {
        self.taken.remove(&slot.slot);
        // The generation first and last: from now on nobody's reference to this slot is good.
        let owner = ProcessSlot { generation: slot.generation.wrapping_add(1), ..ProcessSlot::default() };
        self.owners.write(slot.slot as usize, owner);
        self.refused.push(slot.slot);
        for slot in mem::take(&mut self.refused) {
            if let Err(error) = self.free.push(slot, 0) {
                error!(slot, %error, "a process slot cannot be given back; it will be tried again");
                self.refused.push(slot);
            }
        }
    }
}

impl Taken {
    /// A slot that stands for no process.
    pub const fn by_nobody(slot: SlotRef, group: GroupId) -> Self {
        Self { slot, process: None, group, own_group: group }
    }
}

/// Maps an array of the object into memory.
///
/// # Errors
/// When it is not there or cannot be mapped.
pub fn map<T>(loaded: &mut Loaded, name: &'static str, entries: u32) -> Result<MappedArray<T>, BpfError>
where
    T: zerocopy::FromBytes + zerocopy::IntoBytes,
{
    let data = loaded.data(name)?;
    MappedArray::new(data.fd(), entries).map_err(|source| BpfError::Mmap { name, source })
}

const _: () = assert!(FREE != LIVE && LIVE != DEAD && FREE == 0);
