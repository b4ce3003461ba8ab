//! `block_io`: latency, queue time, size and errors of block requests per device and operation, and what each group
//! asked of which device.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

use monitor_common::{
    process_slot::SlotRef,
    signals::block_io::{DeviceKey, DeviceStats, ErrorKey, ProcessKey, ProcessStats, operation_name},
};
use serde_json::{Value, json};
use zerocopy::FromBytes as _;

use super::keyed::{Growing, Keyed, SlotKey};
use crate::{
    bpf::{BpfError, loader::Loaded, maps, table::Table},
    metrics::{Families, Kind, Metric, histogram_bounds_bytes, histogram_bounds_seconds},
    processes::{GroupId, Groups, ProcessId},
    slots::Slots,
};

static DURATION: Metric = Metric {
    name: "monitor_block_io_duration_seconds",
    help: "Time from handing a request to the driver to its completion.",
    kind: Kind::Histogram,
    labels: &["device", "op"],
};
static QUEUE: Metric = Metric {
    name: "monitor_block_io_queue_seconds",
    help: "Time that requests waited before they were handed to the driver.",
    kind: Kind::Histogram,
    labels: &["device"],
};
static SIZE: Metric = Metric {
    name: "monitor_block_io_size_bytes",
    help: "Size of completed requests.",
    kind: Kind::Histogram,
    labels: &["device", "op"],
};
static ERRORS: Metric = Metric {
    name: "monitor_block_io_errors_total",
    help: "Requests that failed.",
    kind: Kind::Counter,
    labels: &["device", "op", "error"],
};
static GROUP_BYTES: Metric = Metric {
    name: "monitor_process_block_io_bytes_total",
    help: "Bytes of completed requests, by who submitted them; write-back of buffered data is the kernel's.",
    kind: Kind::Counter,
    labels: &["group", "device", "op"],
};
static GROUP_OPERATIONS: Metric = Metric {
    name: "monitor_process_block_io_operations_total",
    help: "Completed requests, by who submitted them.",
    kind: Kind::Counter,
    labels: &["group", "device", "op"],
};
static GROUP_SECONDS: Metric = Metric {
    name: "monitor_process_block_io_seconds_total",
    help: "Sum of times from submission to completion, by who submitted.",
    kind: Kind::Counter,
    labels: &["group", "device", "op"],
};

/// What this signal publishes.
pub const METRICS: &[&Metric] = &[&DURATION, &QUEUE, &SIZE, &ERRORS, &GROUP_BYTES, &GROUP_OPERATIONS, &GROUP_SECONDS];

impl SlotKey for ProcessKey {
    fn slot(&self) -> SlotRef {
        self.process
    }
}

impl Growing for ProcessStats {
    fn since(self, before: Self) -> Self {
        Self {
            operations: self.operations.saturating_sub(before.operations),
            bytes: self.bytes.saturating_sub(before.bytes),
            duration_ns: self.duration_ns.saturating_sub(before.duration_ns),
        }
    }
}

type Totals = BTreeMap<(u32, u32), ProcessStats>;

fn add(totals: &mut Totals, device: DeviceKey, new: ProcessStats) {
    let sum = totals.entry((device.device, device.operation)).or_default();
    sum.operations += new.operations;
    sum.bytes += new.bytes;
    sum.duration_ns += new.duration_ns;
}

/// The signal's kernel maps and what has been added up from them.
pub struct BlockIo {
    devices: Table<{ size_of::<DeviceKey>() }, { size_of::<DeviceStats>() }>,
    errors: Table<{ size_of::<ErrorKey>() }, 8>,
    processes: Keyed<ProcessKey, ProcessStats, { size_of::<ProcessKey>() }, { size_of::<ProcessStats>() }>,
    by_process: HashMap<ProcessId, Totals>,
    by_group: HashMap<GroupId, Totals>,
    names: HashMap<u32, String>,
    /// Before Linux 5.16 completions tell an errno, later a `blk_status_t`.
    errors_are_errno: bool,
}

impl BlockIo {
    /// Takes the signal's maps.
    ///
    /// # Errors
    /// When they are not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, BpfError> {
        Ok(Self {
            devices: Table::new(loaded, maps::BLOCK_DEVICES)?,
            errors: Table::new(loaded, maps::BLOCK_ERRORS)?,
            processes: Keyed::new(loaded, maps::BLOCK_PROCESSES)?,
            by_process: HashMap::new(),
            by_group: HashMap::new(),
            names: HashMap::new(),
            errors_are_errno: loaded.knobs.block_errors_are_errno != 0,
        })
    }

    /// Adds up what was counted since the last time.
    pub fn fold(&mut self, slots: &Slots, groups: &mut Groups) {
        let (by_process, by_group) = (&mut self.by_process, &mut self.by_group);
        self.processes.fold(slots, |key, new, owner| {
            groups.note(owner.own_group, new.operations);
            add(by_group.entry(owner.group).or_default(), key.device, new);
            if let Some(process) = owner.process {
                add(by_process.entry(process).or_default(), key.device, new);
            }
        });
    }

    /// Deletes the entries of slots that are given back.
    pub fn release(&mut self, slots: &[SlotRef]) {
        self.processes.forget(slots);
    }

    /// Forgets groups that lost their series, and processes that are no longer known.
    pub fn expire(&mut self, groups: &[GroupId], known: impl Fn(ProcessId) -> bool) {
        self.by_group.retain(|group, _| !groups.contains(group));
        self.by_process.retain(|process, _| known(*process));
        // A device number may be given to another device: look the names up again now and then.
        self.names.clear();
    }

    /// What one process did, for `/api/v1/processes`.
    pub fn describe(&self, process: ProcessId) -> Option<Value> {
        let totals = self.by_process.get(&process)?;
        let list: Vec<Value> = totals
            .iter()
            .map(|((device, operation), stats)| {
                json!({
                    "device": device_name(*device),
                    "op": operation_name(*operation),
                    "operations": stats.operations,
                    "bytes": stats.bytes,
                    "seconds": stats.duration_ns as f64 / 1e9,
                })
            })
            .collect();
        Some(Value::from(list))
    }

    /// Publishes.
    pub fn collect(&mut self, groups: &Groups, families: &mut Families) {
        let mut queues: BTreeMap<u32, DeviceStats> = BTreeMap::new();
        let mut by_label: BTreeMap<(String, &'static str), DeviceStats> = BTreeMap::new();
        let names = &mut self.names;
        self.devices.each(|key, stats| {
            let (Ok(key), Ok(stats)) = (DeviceKey::read_from_bytes(key), DeviceStats::read_from_bytes(stats)) else {
                return;
            };
            merge(queues.entry(key.device).or_default(), &stats);
            let device = name(names, key.device);
            merge(by_label.entry((device, operation_name(key.operation))).or_default(), &stats);
        });
        let bounds = histogram_bounds_seconds();
        for ((device, operation), stats) in &by_label {
            let labels = [device.as_str(), operation];
            families.histogram(&DURATION, &labels, bounds, &stats.duration_buckets, stats.duration_sum_ns as f64 / 1e9);
            families.histogram(&SIZE, &labels, histogram_bounds_bytes(), &stats.size_buckets, stats.size_sum as f64);
        }
        for (device, stats) in queues {
            let device = name(&mut self.names, device);
            families.histogram(&QUEUE, &[&device], bounds, &stats.queue_buckets, stats.queue_sum_ns as f64 / 1e9);
        }
        self.collect_errors(families);
        for (id, totals) in &self.by_group {
            let Some(group) = groups.name_of(*id) else { continue };
            let mut by_label: BTreeMap<(String, &'static str), ProcessStats> = BTreeMap::new();
            for ((device, operation), stats) in totals {
                let sum = by_label.entry((name(&mut self.names, *device), operation_name(*operation))).or_default();
                sum.operations += stats.operations;
                sum.bytes += stats.bytes;
                sum.duration_ns += stats.duration_ns;
            }
            for ((device, operation), stats) in by_label {
                let labels = [group, &device, operation];
                families.counter(&GROUP_BYTES, &labels, stats.bytes as f64);
                families.counter(&GROUP_OPERATIONS, &labels, stats.operations as f64);
                families.counter(&GROUP_SECONDS, &labels, stats.duration_ns as f64 / 1e9);
            }
        }
    }

    fn collect_errors(&mut self, families: &mut Families) {
        let mut by_label: BTreeMap<(String, &'static str, String), u64> = BTreeMap::new();
        let (names, errors_are_errno) = (&mut self.names, self.errors_are_errno);
        self.errors.each(|key, count| {
            let Ok(key) = ErrorKey::read_from_bytes(key) else { return };
            let device = name(names, key.device.device);
            let error = error_name(key.error, errors_are_errno);
            *by_label.entry((device, operation_name(key.device.operation), error)).or_default() +=
                u64::from_ne_bytes(*count);
        });
        for ((device, operation, error), count) in by_label {
            families.counter(&ERRORS, &[&device, operation, &error], count as f64);
        }
    }
}

fn merge(sum: &mut DeviceStats, more: &DeviceStats) {
    sum.duration_sum_ns += more.duration_sum_ns;
    sum.queue_sum_ns += more.queue_sum_ns;
    sum.size_sum += more.size_sum;
    let pairs = [
        (&mut sum.duration_buckets[..], &more.duration_buckets[..]),
        (&mut sum.queue_buckets[..], &more.queue_buckets[..]),
        (&mut sum.size_buckets[..], &more.size_buckets[..]),
    ];
    for (sum, more) in pairs.into_iter().flat_map(|(sum, more)| sum.iter_mut().zip(more)) {
        *sum += more;
    }
}

fn name(names: &mut HashMap<u32, String>, device: u32) -> String {
    names.entry(device).or_insert_with(|| device_name(device)).clone()
}

/// Name of a disk, such as `sda`; its numbers when it is gone.
fn device_name(device: u32) -> String {
    // The kernel's own dev_t: 20 bits of minor.
    let numbers = format!("{}:{}", device >> 20, device & 0xf_ffff);
    if device == 0 {
        return "none".to_owned();
    }
    fs::read_link(format!("/sys/dev/block/{numbers}"))
        .ok()
        .and_then(|link| link.file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or(numbers)
}

/// The value of the `error` label: the errno that user space sees for a `blk_status_t` (block/blk-core.c).
fn error_name(error: i32, is_errno: bool) -> String {
    let name = if is_errno {
        return syscalls::Errno::new(-error).name().map_or_else(|| error.to_string(), str::to_owned);
    } else {
        match error {
            1 => "EOPNOTSUPP",
            2 => "ETIMEDOUT",
            3 => "ENOSPC",
            4 => "ENOLINK",
            5 => "EREMOTEIO",
            6 => "EBADE",
            7 => "ENODATA",
            8 => "EILSEQ",
            9 => "ENOMEM",
            10 => "EIO",
            _ => return format!("status_{error}"),
        }
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_names_that_user_space_knows() {
        assert_eq!(error_name(10, false), "EIO");
        assert_eq!(error_name(3, false), "ENOSPC");
        assert_eq!(error_name(77, false), "status_77");
        assert_eq!(error_name(-5, true), "EIO");
    }

    #[test]
    fn a_disk_that_is_not_there_goes_by_its_numbers() {
        assert_eq!(device_name(4095 << 20 | 7), "4095:7");
        assert_eq!(device_name(0), "none");
    }
}
