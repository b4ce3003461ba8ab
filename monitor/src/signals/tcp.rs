//! `tcp`: connections, traffic, retransmits and resets per group.

use std::collections::{BTreeMap, HashMap};

use monitor_common::{
    process_slot::SlotRef,
    signals::tcp::{AcceptKey, ConnectResult, RECEIVED, Role, SENT, TcpStats},
};
use serde_json::{Value, json};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::keyed::{Growing, Keyed, SlotKey};
use crate::{
    bpf::{BpfError, loader::Loaded, maps},
    metrics::{Families, Kind, Metric, histogram_bounds_seconds, lifetime_bounds_seconds},
    processes::{GroupId, Groups, ProcessId},
    slots::{self, Slots, Taken},
    sys::MappedArray,
};

static CONNECTS: Metric = Metric {
    name: "monitor_tcp_connects_total",
    help: "Attempts to connect, by how they ended.",
    kind: Kind::Counter,
    labels: &["group", "result"],
};
static CONNECT_DURATION: Metric = Metric {
    name: "monitor_tcp_connect_duration_seconds",
    help: "Time from the first packet of a connection to its establishment, seen from the side that connects.",
    kind: Kind::Histogram,
    labels: &["group"],
};
static ACCEPTS: Metric = Metric {
    name: "monitor_tcp_accepts_total",
    help: "Connections accepted, by local port.",
    kind: Kind::Counter,
    labels: &["group", "port"],
};
static CLOSES: Metric = Metric {
    name: "monitor_tcp_closes_total",
    help: "Connections closed that were opened or accepted under observation.",
    kind: Kind::Counter,
    labels: &["group", "role"],
};
static LIFETIME: Metric = Metric {
    name: "monitor_tcp_connection_duration_seconds",
    help: "Lifetime of closed connections.",
    kind: Kind::Histogram,
    labels: &["group", "role"],
};
static BYTES: Metric = Metric {
    name: "monitor_tcp_bytes_total",
    help: "Payload bytes that processes handed to and took from TCP.",
    kind: Kind::Counter,
    labels: &["group", "direction"],
};
static RETRANSMITS: Metric = Metric {
    name: "monitor_tcp_retransmits_total",
    help: "Segments sent again.",
    kind: Kind::Counter,
    labels: &["group", "kind"],
};
static RESETS: Metric = Metric {
    name: "monitor_tcp_resets_total",
    help: "Connection resets.",
    kind: Kind::Counter,
    labels: &["group", "direction"],
};

/// What this signal publishes.
pub const METRICS: &[&Metric] =
    &[&CONNECTS, &CONNECT_DURATION, &ACCEPTS, &CLOSES, &LIFETIME, &BYTES, &RETRANSMITS, &RESETS];

const DIRECTIONS: [&str; 2] = ["sent", "received"];
const RETRANSMIT_KINDS: [&str; 3] = ["data", "syn", "synack"];
/// Listening ports per group with series of their own, the rest under `other`.
const PORTS: usize = 32;
const OTHER_PORT: u32 = u32::MAX;

impl SlotKey for AcceptKey {
    fn slot(&self) -> SlotRef {
        self.process
    }
}

/// Counters of a process or a group.
#[derive(Clone, Debug, Default)]
struct Totals {
    stats: TcpStats,
    accepts: BTreeMap<u32, u64>,
}

impl Totals {
    fn accept(&mut self, port: u32, count: u64) {
        let port = if self.accepts.len() < PORTS || self.accepts.contains_key(&port) { port } else { OTHER_PORT };
        *self.accepts.entry(port).or_default() += count;
    }
}

/// Every field of the statistics is a counter of 64 bits, so they are added up as an array of those.
fn combine(one: &TcpStats, other: &TcpStats, with: impl Fn(u64, u64) -> u64) -> TcpStats {
    let mut result = *one;
    for (result, other) in result.as_mut_bytes().chunks_exact_mut(8).zip(other.as_bytes().chunks_exact(8)) {
        let (Ok(mine), Ok(other)) = (u64::read_from_bytes(result), u64::read_from_bytes(other)) else { continue };
        result.copy_from_slice(&with(mine, other).to_ne_bytes());
    }
    result
}

impl Growing for TcpStats {
    fn since(self, before: Self) -> Self {
        combine(&self, &before, u64::saturating_sub)
    }
}

/// The signal's kernel maps and what has been added up from them.
pub struct Tcp {
    stats: MappedArray<TcpStats>,
    accepts: Keyed<AcceptKey, u64, { size_of::<AcceptKey>() }, 8>,
    by_slot: HashMap<SlotRef, Box<TcpStats>>,
    by_process: HashMap<ProcessId, Box<Totals>>,
    by_group: HashMap<GroupId, Box<Totals>>,
}

impl Tcp {
    /// Takes the signal's maps.
    ///
    /// # Errors
    /// When they are not there or cannot be mapped.
    pub fn new(loaded: &mut Loaded) -> Result<Self, BpfError> {
        let slots = u32::try_from(loaded.knobs.slots).unwrap_or(u32::MAX);
        Ok(Self {
            stats: slots::map(loaded, maps::TCP_STATS, slots)?,
            accepts: Keyed::new(loaded, maps::TCP_ACCEPTS)?,
            by_slot: HashMap::new(),
            by_process: HashMap::new(),
            by_group: HashMap::new(),
        })
    }

    /// Adds up what was counted since the last time.
    pub fn fold(&mut self, slots: &Slots, groups: &mut Groups) {
        self.fold_slots(slots.taken(), groups);
        let (by_process, by_group) = (&mut self.by_process, &mut self.by_group);
        self.accepts.fold(slots, |key, count, owner| {
            by_group.entry(owner.group).or_default().accept(key.port, count);
            if let Some(process) = owner.process {
                by_process.entry(process).or_default().accept(key.port, count);
            }
        });
    }

    /// The same for some slots, without what hashes count.
    pub fn fold_slots<'a>(&mut self, slots: impl IntoIterator<Item = &'a Taken>, groups: &mut Groups) {
        for taken in slots {
            let Some(now) = self.stats.read(taken.slot.slot as usize) else { continue };
            let before = self.by_slot.entry(taken.slot).or_default();
            let new = now.since(**before);
            if new == TcpStats::default() {
                continue;
            }
            **before = now;
            groups.note(taken.own_group, new.connects.iter().sum::<u64>() + new.accepts);
            let add = |totals: &mut Totals| totals.stats = combine(&totals.stats, &new, u64::wrapping_add);
            add(self.by_group.entry(taken.group).or_default());
            if let Some(process) = taken.process {
                add(self.by_process.entry(process).or_default());
            }
        }
    }

    /// Clears the counters of slots that are given back.
    pub fn release(&mut self, slots: &[SlotRef]) {
        for slot in slots {
            self.by_slot.remove(slot);
            self.stats.write(slot.slot as usize, TcpStats::default());
        }
        self.accepts.forget(slots);
    }

    /// Forgets groups that lost their series, and processes that are no longer known.
    pub fn expire(&mut self, groups: &[GroupId], known: impl Fn(ProcessId) -> bool) {
        self.by_group.retain(|group, _| !groups.contains(group));
        self.by_process.retain(|process, _| known(*process));
        self.stats.give_back();
    }

    /// Bytes that one process sent and received.
    pub fn bytes(&self, process: ProcessId) -> [u64; 2] {
        self.by_process.get(&process).map_or([0; 2], |totals| totals.stats.bytes)
    }

    /// Bytes that the processes of groups sent and received together.
    pub fn bytes_by_group(&self) -> impl Iterator<Item = (GroupId, u64)> {
        self.by_group.iter().map(|(group, totals)| (*group, totals.stats.bytes.iter().sum()))
    }

    /// What one process did, for `/api/v1/processes`.
    pub fn describe(&self, process: ProcessId) -> Option<Value> {
        let totals = self.by_process.get(&process)?;
        let stats = &totals.stats;
        let connects: serde_json::Map<String, Value> = ConnectResult::ALL
            .iter()
            .map(|result| (result.name().to_owned(), stats.connects[*result as usize].into()))
            .collect();
        let accepts: serde_json::Map<String, Value> =
            totals.accepts.iter().map(|(port, count)| (port_name(*port), Value::from(*count))).collect();
        Some(json!({
            "bytes_sent": stats.bytes[SENT],
            "bytes_received": stats.bytes[RECEIVED],
            "connects": connects,
            "connect_seconds": stats.connect_sum_ns as f64 / 1e9,
            "connect_buckets": stats.connect_buckets,
            "accepts": stats.accepts,
            "accepts_by_port": accepts,
            "closes": { "client": stats.closes[Role::Client as usize], "server": stats.closes[Role::Server as usize] },
            "retransmits": { "data": stats.retransmits[0], "syn": stats.retransmits[1], "synack": stats.retransmits[2] },
            "resets_sent": stats.resets[SENT],
            "resets_received": stats.resets[RECEIVED],
        }))
    }

    /// Publishes.
    pub fn collect(&self, groups: &Groups, families: &mut Families) {
        for (id, totals) in &self.by_group {
            let Some(name) = groups.name_of(*id) else { continue };
            let stats = &totals.stats;
            for (direction, bytes) in DIRECTIONS.iter().zip(stats.bytes) {
                counter(families, &BYTES, &[name, direction], bytes);
            }
            for result in ConnectResult::ALL {
                counter(families, &CONNECTS, &[name, result.name()], stats.connects[result as usize]);
            }
            if stats.connects[ConnectResult::Ok as usize] != 0 {
                let sum = stats.connect_sum_ns as f64 / 1e9;
                families.histogram(&CONNECT_DURATION, &[name], histogram_bounds_seconds(), &stats.connect_buckets, sum);
            }
            for (port, count) in &totals.accepts {
                counter(families, &ACCEPTS, &[name, &port_name(*port)], *count);
            }
            for role in Role::ALL {
                let closes = stats.closes[role as usize];
                if closes != 0 {
                    counter(families, &CLOSES, &[name, role.name()], closes);
                    let buckets = &stats.lifetime_buckets[role as usize];
                    let sum = stats.lifetime_sum_ns[role as usize] as f64 / 1e9;
                    families.histogram(&LIFETIME, &[name, role.name()], lifetime_bounds_seconds(), buckets, sum);
                }
            }
            for (kind, count) in RETRANSMIT_KINDS.iter().zip(stats.retransmits) {
                counter(families, &RETRANSMITS, &[name, kind], count);
            }
            for (direction, count) in DIRECTIONS.iter().zip(stats.resets) {
                counter(families, &RESETS, &[name, direction], count);
            }
        }
    }
}

/// A counter that has not moved has no series yet.
fn counter(families: &mut Families, metric: &'static Metric, labels: &[&str], value: u64) {
    if value != 0 {
        families.counter(metric, labels, value as f64);
    }
}

fn port_name(port: u32) -> String {
    if port == OTHER_PORT { "other".to_owned() } else { port.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_added_field_by_field() {
        let mut one = TcpStats { accepts: 3, ..TcpStats::default() };
        one.lifetime_buckets[1][6] = 10;
        let mut two = TcpStats { accepts: 5, ..TcpStats::default() };
        two.lifetime_buckets[1][6] = 11;
        two.bytes[SENT] = 7;
        let new = two.since(one);
        assert_eq!((new.accepts, new.lifetime_buckets[1][6], new.bytes[SENT]), (2, 1, 7));
        let sum = combine(&one, &new, u64::wrapping_add);
        assert_eq!(sum, two);
    }

    #[test]
    fn ports_beyond_the_limit_are_counted_together() {
        let mut totals = Totals::default();
        for port in 0..40 {
            totals.accept(port, 1);
        }
        totals.accept(0, 1);
        assert_eq!(totals.accepts.len(), PORTS + 1);
        assert_eq!(totals.accepts[&OTHER_PORT], 8);
        assert_eq!(totals.accepts[&0], 2);
    }
}
