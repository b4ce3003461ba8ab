//! What a daemon's kernel programs have in their maps, read from the kernel itself: an account that does not go through
//! the daemon, and entries that outlived what they are about.

use std::{collections::BTreeMap, fs, path::Path};

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapInfo, PerCpuArray, ProgramArray},
};
use monitor_common::{
    loss::Loss,
    process_slot::{DEAD, FREE, LIVE, ProcessSlot, SlotRef, ThreadEntry},
    record::Ring,
    signals::{
        activity::{Class, Select},
        tcp::Socket,
    },
};
use zerocopy::FromBytes;

use crate::{DEADLINE, held, until};

/// Nanoseconds of a clock tick as /proc counts them (`USER_HZ` is 100 everywhere).
const TICK_NS: u64 = 10_000_000;

/// Bytes of what is selected.
const SELECT: usize = size_of::<Select>();

/// The maps of one daemon.
#[derive(Debug)]
pub struct Tables {
    ids: BTreeMap<String, u32>,
}

impl Tables {
    /// Those of the daemon that is process `pid`.
    ///
    /// # Panics
    /// When it has none.
    pub fn of(pid: u32) -> Self {
        let ids = held(pid).maps.into_iter().filter_map(|id| {
            let id = u32::try_from(id).expect("ids have 32 bits");
            Some((MapInfo::from_id(id).ok()?.name_as_str()?.to_owned(), id))
        });
        let tables = Self { ids: ids.collect() };
        assert!(tables.ids.contains_key("SEQUENCES"), "process {pid} has no maps of ours: {tables:?}");
        tables
    }

    fn data(&self, name: &str) -> MapData {
        // The kernel cuts names after 15 bytes.
        let id = self.ids.get(&name[..name.len().min(15)]).unwrap_or_else(|| panic!("no map {name} in {self:?}"));
        MapData::from_id(*id).unwrap_or_else(|error| panic!("open map {name}: {error}"))
    }

    fn per_cpu(&self, name: &str) -> Vec<u64> {
        let map: PerCpuArray<MapData, u64> = Map::PerCpuArray(self.data(name)).try_into().expect("its type");
        (0..map.len()).map(|index| map.get(&index, 0).expect("an entry").iter().sum()).collect()
    }

    /// Entries of an array, with their indexes.
    fn array<T: FromBytes, const N: usize>(&self, name: &str) -> Vec<(u32, T)>
    where
        [u8; N]: Pod,
    {
        let map: Array<MapData, [u8; N]> = Map::Array(self.data(name)).try_into().expect("its type");
        let entry = |index| T::read_from_bytes(&map.get(&index, 0).expect("an entry")).expect("its size");
        (0..map.len()).map(|index| (index, entry(index))).collect()
    }

    fn hash<K: FromBytes, V: FromBytes, const KS: usize, const VS: usize>(&self, name: &str) -> Vec<(K, V)>
    where
        [u8; KS]: Pod,
        [u8; VS]: Pod,
    {
        let map: HashMap<MapData, [u8; KS], [u8; VS]> = Map::HashMap(self.data(name)).try_into().expect("its type");
        // An entry that is deleted while it is read is none of ours to look at.
        map.iter()
            .filter_map(Result::ok)
            .map(|(key, value)| {
                (K::read_from_bytes(&key).expect("its size"), V::read_from_bytes(&value).expect("its size"))
            })
            .collect()
    }

    /// Lets nothing leave the kernel any more, as somebody would who wants to go unseen.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn select_nothing(&self) {
        self.selected().set(0, [0; SELECT], 0).expect("change what is selected");
    }

    /// Does nothing leave the kernel?
    ///
    /// # Panics
    /// When the map cannot be read.
    pub fn selects_nothing(&self) -> bool {
        self.selected().get(&0, 0).expect("the entry") == [0; SELECT]
    }

    fn selected(&self) -> Array<MapData, [u8; SELECT]> {
        Map::Array(self.data("ACTIVITY_SELECT")).try_into().expect("its type")
    }

    /// Takes the program of this class out of the array that the one on `sys_exit` goes on from.
    ///
    /// # Panics
    /// When it is not there.
    pub fn take_out(&self, class: Class) {
        let map = Map::ProgramArray(self.data("ACTIVITY_PROGRAMS"));
        let mut programs: ProgramArray<MapData> = map.try_into().expect("its type");
        programs.clear_index(&(class as u32)).expect("the program was there");
    }

    /// Records that the kernel programs meant to write to this ring.
    ///
    /// # Panics
    /// When the daemon is gone, as all of these.
    pub fn numbered(&self, ring: Ring) -> u64 {
        self.per_cpu("SEQUENCES")[ring as usize]
    }

    /// What they lost for this cause.
    ///
    /// # Panics
    /// As [`Self::numbered`].
    pub fn lost(&self, loss: Loss) -> u64 {
        self.per_cpu("LOST")[loss as usize]
    }

    /// The thread table's entries that are somebody's.
    ///
    /// # Panics
    /// As [`Self::numbered`].
    pub fn threads(&self) -> Vec<(u32, ThreadEntry)> {
        let mut all = self.array::<ThreadEntry, { size_of::<ThreadEntry>() }>("THREADS");
        all.retain(|(_, entry)| entry.tid != 0);
        all
    }

    /// The slots that are somebody's.
    ///
    /// # Panics
    /// As [`Self::numbered`].
    pub fn slots(&self) -> Vec<(u32, ProcessSlot)> {
        let mut all = self.array::<ProcessSlot, { size_of::<ProcessSlot>() }>("PROCESS_SLOTS");
        all.retain(|(_, slot)| slot.state != FREE && slot.tgid != 0);
        all
    }

    /// The slot of a process, as the kernel programs find it.
    ///
    /// # Panics
    /// As [`Self::numbered`].
    pub fn slot_of(&self, pid: u32) -> Option<SlotRef> {
        let (_, slot) = self.hash::<u32, u32, 4, 4>("SLOT_OF").into_iter().find(|(tgid, _)| *tgid == pid)?;
        let (_, owner) = self.slots().into_iter().find(|(index, _)| *index == slot)?;
        Some(SlotRef { slot, generation: owner.generation })
    }

    /// The sockets that have an owner or may get one.
    ///
    /// # Panics
    /// As [`Self::numbered`].
    pub fn sockets(&self) -> Vec<Socket> {
        let all = self.hash::<u64, Socket, 8, { size_of::<Socket>() }>("TCP_SOCKETS");
        all.into_iter().map(|(_, socket)| socket).collect()
    }

    /// Waits until no table has anything about a thread or process that is gone, but for what waits a few seconds to be
    /// added up.
    ///
    /// # Panics
    /// With what is left in the end.
    #[track_caller]
    pub fn assert_clean(&self) {
        until(DEADLINE, || {
            let stale = self.stale();
            if stale.is_empty() { Ok(()) } else { Err(format!("{} stale: {}", stale.len(), stale.join("\n"))) }
        });
    }

    /// Entries about somebody who is gone. The end of a thread clears its entries before /proc loses it, so what is there
    /// before and after a look into /proc that finds nobody is a remainder.
    fn stale(&self) -> Vec<String> {
        let mut stale = Vec::new();
        let mut threads: Vec<_> = self.threads().into_iter().filter(|(_, entry)| !exists(entry.tid)).collect();
        if !threads.is_empty() {
            let now: BTreeMap<u32, ThreadEntry> = self.threads().into_iter().collect();
            threads.retain(|(index, entry)| now.get(index) == Some(entry) && !exists(entry.tid));
        }
        stale.extend(threads.iter().map(|(index, entry)| format!("thread {index}: {entry:?}")));
        let of_process: Vec<_> = self.hash::<u32, u32, 4, 4>("SLOT_OF");
        let slots: BTreeMap<u32, ProcessSlot> = self.slots().into_iter().collect();
        for (index, slot) in &slots {
            if slot.state == LIVE && !is(slot.tgid, slot.start_ns) {
                stale.push(format!("slot {index} of a process that is gone: {slot:?}"));
            }
            let age = since_boot().saturating_sub(slot.exited_ns);
            if slot.state == DEAD && age > 3 * u64::try_from(DEADLINE.as_nanos()).unwrap_or(u64::MAX) / 4 {
                stale.push(format!("slot {index} that was not taken back for {} s: {slot:?}", age / 1_000_000_000));
            }
        }
        for (tgid, slot) in of_process {
            if !exists(tgid) {
                stale.push(format!("process {tgid} is gone and leads to slot {slot}: {:?}", slots.get(&slot)));
            }
        }
        stale
    }
}

/// Is there a thread (or a process) with this id?
fn exists(tid: u32) -> bool {
    Path::new(&format!("/proc/{tid}")).exists()
}

/// Is process `pid` the one that was started then?
fn is(pid: u32, start_ns: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let start = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19)?.parse::<u64>().ok());
    start.is_some_and(|ticks| ticks == start_ns / TICK_NS)
}

fn since_boot() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
