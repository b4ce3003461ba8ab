//! `syscalls`: count, duration and errors of system calls per group and family.

mod kept;
pub mod table;
mod totals;

use std::collections::{BTreeMap, HashMap};

use monitor_common::{
    histogram::LATENCY_BUCKETS,
    process_slot::SlotRef,
    signals::syscalls::{ErrorKey, FAMILIES, Family, SyscallStats},
};
use serde_json::{Map, Value, json};

use super::{
    Timing,
    keyed::{Keyed, SlotKey},
};
use crate::{
    bpf::{BpfError, loader::Loaded, maps},
    metrics::{Families, Kind, Metric, histogram_bounds_seconds},
    processes::{GroupId, Groups, ProcessId},
    slots::{self, Slots, Taken},
    sys::MappedArray,
};

use kept::Kept;
use totals::{ByFamily, FamilyTotals, OTHER_ERRNO, Totals};

static CALLS: Metric = Metric {
    name: "monitor_syscalls_total",
    help: "System calls that returned, or ended with their thread.",
    kind: Kind::Counter,
    labels: &["group", "family"],
};
static ERRORS: Metric = Metric {
    name: "monitor_syscall_errors_total",
    help: "System calls that failed. ERESTART: interrupted by a signal; the kernel may have repeated it.",
    kind: Kind::Counter,
    labels: &["group", "family", "errno"],
};
static DURATION: Metric = Metric {
    name: "monitor_syscall_duration_seconds",
    help: "Duration of system calls of the whole host, waiting included.",
    kind: Kind::Histogram,
    labels: &["family"],
};
static GROUP_DURATION: Metric = Metric {
    name: "monitor_process_syscall_duration_seconds",
    help: "Duration of system calls of the busiest groups, waiting included.",
    kind: Kind::Histogram,
    labels: &["group", "family"],
};
static UNTIMED: Metric = Metric {
    name: "monitor_syscalls_untimed_total",
    help: "System calls counted without their duration: in progress when the daemon came or when their thread died, or \
           all while none is timed.",
    kind: Kind::Counter,
    labels: &["family"],
};

static TIMING: Metric = Metric {
    name: "monitor_syscall_timing",
    help: "1 for the way in which system calls are timed now, as syscalls.timing says it or as the budget allows.",
    kind: Kind::Gauge,
    labels: &["mode"],
};

/// What this signal publishes.
pub const METRICS: &[&Metric] = &[&CALLS, &ERRORS, &DURATION, &GROUP_DURATION, &UNTIMED, &TIMING];

/// Families whose duration is published per group.
const TIMED_FAMILIES: [Family; 5] = [Family::Read, Family::Write, Family::Fsync, Family::Open, Family::Socket];
/// Groups with durations of their own: fourteen series a family.
const TIMED_GROUPS: usize = 20;
/// The value of the `errno` label.
fn errno_name(errno: u32) -> String {
    match errno {
        // Codes that only the kernel sees (include/linux/errno.h): a signal came in between.
        512..=516 => "ERESTART".to_owned(),
        OTHER_ERRNO => "other".to_owned(),
        _ => i32::try_from(errno)
            .ok()
            .and_then(|number| syscalls::Errno::new(number).name())
            .map_or_else(|| errno.to_string(), str::to_owned),
    }
}

impl SlotKey for ErrorKey {
    fn slot(&self) -> SlotRef {
        self.process
    }
}

/// The signal's kernel maps and what has been added up from them.
pub struct Syscalls {
    stats: MappedArray<SyscallStats>,
    slots: usize,
    shards: usize,
    errors: Keyed<ErrorKey, u64, { size_of::<ErrorKey>() }, 8>,
    /// Of each slot since it was taken: to tell what is new, and for `/api/v1/processes`.
    by_slot: HashMap<SlotRef, ByFamily>,
    by_process: HashMap<ProcessId, Kept>,
    by_group: HashMap<GroupId, Box<Totals>>,
    host: [FamilyTotals; FAMILIES],
}

impl Syscalls {
    /// Takes the signal's maps.
    ///
    /// # Errors
    /// When they are not there or cannot be mapped.
    pub fn new(loaded: &mut Loaded) -> Result<Self, BpfError> {
        let slots = u32::try_from(loaded.knobs.slots).unwrap_or(u32::MAX);
        let shards = loaded.shards;
        Ok(Self {
            stats: slots::map(loaded, maps::SYSCALL_STATS, slots * shards)?,
            slots: slots as usize,
            shards: shards as usize,
            errors: Keyed::new(loaded, maps::SYSCALL_ERRORS)?,
            by_slot: HashMap::new(),
            by_process: HashMap::new(),
            by_group: HashMap::new(),
            host: [FamilyTotals::default(); FAMILIES],
        })
    }

    /// Adds up what was counted since the last time.
    pub fn fold(&mut self, slots: &Slots, groups: &mut Groups) {
        for taken in slots.taken() {
            let calls = self.fold_slot(taken);
            // A thousand calls weigh as much as a millisecond of CPU time.
            groups.note(taken.own_group, calls / 1_000);
        }
        let (by_process, by_group) = (&mut self.by_process, &mut self.by_group);
        self.errors.fold(slots, |key, count, owner| {
            by_group.entry(owner.group).or_default().error(key.family, key.errno, count);
            if let Some(process) = owner.process {
                by_process.entry(process).or_default().open().error(key.family, key.errno, count);
            }
        });
    }

    /// Returns how many calls were new.
    fn fold_slot(&mut self, taken: &Taken) -> u64 {
        let before = self.by_slot.entry(taken.slot).or_default();
        let now = read(&self.stats, taken.slot.slot as usize, self.slots, self.shards);
        let mut calls = 0;
        for (family, now) in now.iter().enumerate() {
            let new = now.since(before.get(family));
            // A time without its call, or fewer calls than before, was read in the middle of an update: what is missing
            // is there the next time.
            if new.balance() <= 0 {
                continue;
            }
            calls += new.calls();
            before.add(family, &new);
            self.host[family].add(&new);
            self.by_group.entry(taken.group).or_default().families.add(family, &new);
            if let Some(process) = taken.process {
                self.by_process.entry(process).or_default().open().families.add(family, &new);
            }
        }
        calls
    }

    /// Clears the counters of slots that are given back.
    pub fn release(&mut self, slots: &[SlotRef]) {
        for slot in slots {
            self.by_slot.remove(slot);
            for shard in 0..self.shards {
                self.stats.write(shard * self.slots + slot.slot as usize, SyscallStats::default());
            }
        }
        self.errors.forget(slots);
    }

    /// These processes have ended: what they did takes little room from now on.
    pub fn ended(&mut self, processes: impl Iterator<Item = ProcessId>) {
        for process in processes {
            if let Some(kept) = self.by_process.get_mut(&process) {
                kept.close();
            }
        }
    }

    /// Forgets groups that lost their series, and processes that are no longer known.
    pub fn expire(&mut self, groups: &[GroupId], known: impl Fn(ProcessId) -> bool) {
        self.by_group.retain(|group, _| !groups.contains(group));
        self.by_process.retain(|process, _| known(*process));
        self.stats.give_back();
    }

    /// How many calls one process made.
    pub fn calls(&self, process: ProcessId) -> u64 {
        self.by_process.get(&process).map_or(0, |kept| kept.totals().calls())
    }

    /// What one process did, for `/api/v1/processes`.
    pub fn describe(&self, process: ProcessId) -> Option<Value> {
        let totals = self.by_process.get(&process)?.totals();
        let mut families = Map::new();
        for (family, stats) in Family::ALL.iter().zip(totals.families.iter()) {
            let errors: Map<String, Value> = totals
                .errors
                .iter()
                .filter(|((number, _), _)| *number == *family as u32)
                .map(|((_, errno), count)| (errno_name(*errno), Value::from(*count)))
                .collect();
            if stats.calls() == 0 && errors.is_empty() {
                continue;
            }
            families.insert(
                family.name().to_owned(),
                json!({
                    "calls": stats.calls(),
                    "untimed": stats.untimed,
                    "skipped": stats.skipped.max(0),
                    "seconds": stats.sum_ns as f64 / 1e9,
                    "buckets": stats.buckets,
                    "errors": errors,
                }),
            );
        }
        Some(json!({ "calls": totals.calls(), "families": families }))
    }

    /// Publishes.
    pub fn collect(&self, groups: &Groups, timing: Timing, families: &mut Families) {
        for mode in Timing::ALL {
            families.gauge(&TIMING, &[mode.name()], f64::from(u8::from(mode == timing)));
        }
        let bounds = histogram_bounds_seconds();
        for (family, stats) in Family::ALL.iter().zip(&self.host) {
            if stats.calls() != 0 {
                families.histogram(&DURATION, &[family.name()], bounds, &stats.buckets, stats.sum_ns as f64 / 1e9);
                families.counter(&UNTIMED, &[family.name()], stats.untimed as f64);
            }
        }
        let mut busiest: Vec<(u64, GroupId)> = Vec::new();
        for (id, totals) in &self.by_group {
            let Some(name) = groups.name_of(*id) else { continue };
            busiest.push((totals.calls(), *id));
            for (family, stats) in Family::ALL.iter().zip(totals.families.iter()) {
                if stats.calls() != 0 {
                    families.counter(&CALLS, &[name, family.name()], stats.calls() as f64);
                }
            }
            let mut errors: BTreeMap<(u32, String), u64> = BTreeMap::new();
            for ((family, errno), count) in &totals.errors {
                *errors.entry((*family, errno_name(*errno))).or_default() += count;
            }
            for ((family, errno), count) in errors {
                let family = Family::ALL.get(family as usize).map_or("other", |family| family.name());
                families.counter(&ERRORS, &[name, family, &errno], count as f64);
            }
        }
        busiest.sort_unstable_by(|one, other| other.cmp(one));
        for (_, id) in busiest.into_iter().take(TIMED_GROUPS) {
            let (Some(name), Some(totals)) = (groups.name_of(id), self.by_group.get(&id)) else { continue };
            for family in TIMED_FAMILIES {
                let stats = totals.families.get(family as usize);
                if stats.calls() != 0 {
                    let sum = stats.sum_ns as f64 / 1e9;
                    families.histogram(&GROUP_DURATION, &[name, family.name()], bounds, &stats.buckets, sum);
                }
            }
        }
    }
}

/// The kernel's counters of a slot, all shards added up. Those of 32 bits wrap.
#[derive(Clone, Copy, Default)]
struct Raw {
    sum_ns: u64,
    buckets: [u32; LATENCY_BUCKETS],
    untimed: u32,
    skipped: u32,
}

impl Raw {
    /// What is new since `before`: the total so far tells the last raw value, as far as its 32 bits go.
    fn since(&self, before: &FamilyTotals) -> FamilyTotals {
        let mut new = FamilyTotals {
            sum_ns: self.sum_ns.saturating_sub(before.sum_ns),
            untimed: u64::from(self.untimed.wrapping_sub(before.untimed as u32)),
            skipped: i64::from(self.skipped.wrapping_sub(before.skipped as u32).cast_signed()),
            buckets: [0; LATENCY_BUCKETS],
        };
        for ((new, now), before) in new.buckets.iter_mut().zip(self.buckets).zip(before.buckets) {
            *new = u64::from(now.wrapping_sub(before as u32));
        }
        new
    }
}

fn read(stats: &MappedArray<SyscallStats>, slot: usize, slots: usize, shards: usize) -> [Raw; FAMILIES] {
    let mut raw = [Raw::default(); FAMILIES];
    for shard in (0..shards).filter_map(|shard| stats.read(shard * slots + slot)) {
        for (raw, family) in raw.iter_mut().zip(&shard.families) {
            raw.sum_ns += family.sum_ns;
            raw.untimed = raw.untimed.wrapping_add(family.untimed);
            raw.skipped = raw.skipped.wrapping_add(family.skipped);
            for (sum, bucket) in raw.buckets.iter_mut().zip(family.buckets) {
                *sum = sum.wrapping_add(bucket);
            }
        }
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_wraps_goes_on() {
        let mut total = FamilyTotals { untimed: u64::from(u32::MAX) - 1, ..FamilyTotals::default() };
        total.buckets[3] = (7 << 32) + 5;
        let mut raw = Raw { untimed: 3, ..Raw::default() };
        raw.buckets[3] = 9;
        let new = raw.since(&total);
        assert_eq!(new.untimed, 5);
        assert_eq!(new.buckets[3], 4);
        total.add(&new);
        assert_eq!(raw.since(&total), FamilyTotals::default());
    }

    #[test]
    fn errors_have_their_names() {
        assert_eq!(errno_name(2), "ENOENT");
        assert_eq!(errno_name(11), "EAGAIN");
        assert_eq!(errno_name(512), "ERESTART");
        assert_eq!(errno_name(OTHER_ERRNO), "other");
        assert_eq!(errno_name(4000), "4000");
    }
}
