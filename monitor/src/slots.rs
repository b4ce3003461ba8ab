//! Process slots, seen from the daemon: who has which, and taking them back from the dead.
//! `monitor_common::process_slot` says how a slot lives.

use std::{collections::BTreeMap, mem};

use aya::maps::{HashMap as KernelHash, MapData, Queue};
use monitor_common::{
    limits::{SLOT_FIRST, SLOT_OTHER, SLOT_UNKNOWN},
    process_slot::{DEAD, FREE, LIVE, ProcessSlot, SlotRef},
    record::ProcessKey,
};
use tracing::error;

use crate::{
    bpf::{BpfError, loader::Loaded, maps},
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
    /// When its process ended, nanoseconds since boot; `None`: it lived when it was looked at.
    pub ended_ns: Option<u64>,
    /// Process id, as the kernel side knows it; 0: nobody's.
    tgid: u32,
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
    slot_of: KernelHash<MapData, u32, u32>,
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
        let (free, slot_of) = (loaded.take(maps::FREE_SLOTS)?, loaded.take(maps::SLOT_OF)?);
        Ok(Self { owners, free, slot_of, taken: BTreeMap::new(), refused: Vec::new() })
    }

    /// Slots in all.
    pub fn capacity(&self) -> usize {
        self.owners.len()
    }

    /// Slots that were taken at the last look.
    pub fn in_use(&self) -> usize {
        self.taken.len()
    }

    /// Looks at every slot; afterwards [`Self::taken`] knows them. Processes that the table does not know are looked up
    /// in /proc; one that is not there either, and young, waits for its records: they are still on their way, and until
    /// they come nobody knows which group it belongs to.
    pub fn look(&mut self, table: &mut ProcessTable, now_ns: u64) {
        self.taken.clear();
        for index in 0..self.owners.len() {
            let Some(owner) = self.owners.read(index).filter(|owner| owner.state != FREE) else { continue };
            let slot = SlotRef { slot: index as u32, generation: owner.generation };
            let taken = match slot.slot {
                SLOT_OTHER => Taken::by_nobody(slot, GroupId::OTHER),
                SLOT_UNKNOWN => Taken::by_nobody(slot, GroupId::UNKNOWN),
                // Taken twice at the same time; one was given up at once.
                _ if owner.tgid == 0 => Taken { ended_ns: Some(0), ..Taken::by_nobody(slot, GroupId::UNKNOWN) },
                _ => match owned(slot, &owner, table, now_ns) {
                    Some(taken) => taken,
                    None => continue,
                },
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
    ///
    /// Dead at the last look, that is before the counters were added up: what they counted until then is in.
    pub fn due(&self, now_ns: u64) -> Vec<Taken> {
        let scarce = self.owners.len().saturating_sub(self.taken.len()) < self.owners.len() / SCARCE;
        let due = |taken: &&Taken| {
            taken.slot.slot >= SLOT_FIRST
                && taken.ended_ns.is_some_and(|ended| scarce || now_ns.saturating_sub(ended) >= LINGER_NS)
        };
        self.taken.values().filter(due).copied().collect()
    }

    /// Makes every reference to a slot void: whoever still counts for its former owner (a packet does) counts for nobody
    /// from now on. Then its counters can be added up for the last time.
    pub fn retire(&self, slot: SlotRef) {
        if let Some(owner) = self.owners.read(slot.slot as usize) {
            let generation = slot.generation.wrapping_add(1);
            self.owners.write(slot.slot as usize, ProcessSlot { generation, ..owner });
        }
    }

    /// Gives a retired slot back. The caller has folded and cleared its counters.
    pub fn give_back(&mut self, taken: &Taken) {
        let slot = taken.slot;
        self.taken.remove(&slot.slot);
        // A zombie, and a process whose end the kernel side did not see, still have the entry that leads here.
        if taken.tgid != 0 && self.slot_of.get(&taken.tgid, 0).is_ok_and(|now| now == slot.slot) {
            let _ = self.slot_of.remove(&taken.tgid);
        }
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

/// What is known of the process that has a slot; `None`: nothing yet.
fn owned(slot: SlotRef, owner: &ProcessSlot, table: &mut ProcessTable, now_ns: u64) -> Option<Taken> {
    let key = ProcessKey { start_ns: owner.start_ns, tgid: owner.tgid, reserved: 0 };
    let process = table.resolve(key);
    let mut ended_ns = (owner.state == DEAD).then_some(owner.exited_ns);
    if let Some(time_ns) = ended_ns {
        table.note_end(process, time_ns, owner.status);
    }
    match table.get(process) {
        // The kernel side did not see its end.
        Some(known) if ended_ns.is_none() => ended_ns = known.exit.map(|exit| exit.time_ns),
        Some(_) => {}
        None if now_ns.saturating_sub(ended_ns.unwrap_or(owner.start_ns)) < LINGER_NS => return None,
        None => ended_ns = ended_ns.or(Some(owner.start_ns)),
    }
    let own_group = table.group_of(key);
    let group = table.groups().visible(own_group);
    Some(Taken { slot, process: Some(process), group, own_group, ended_ns, tgid: owner.tgid })
}

impl Taken {
    /// A slot that stands for no process.
    pub const fn by_nobody(slot: SlotRef, group: GroupId) -> Self {
        Self { slot, process: None, group, own_group: group, ended_ns: None, tgid: 0 }
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
