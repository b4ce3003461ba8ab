//! The metrics of the `process` signal: what each group used, and how the table is doing.

use std::collections::{BTreeMap, HashMap};

use super::{
    GroupId, Groups, Process, ProcessTable, Removal, Repair, Usage,
    process::{Ending, Gauges},
};
use crate::metrics::{Families, Kind, Metric};

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $id: Metric =
            Metric { name: $name, help: $help, kind: Kind::$kind, labels: &[$($label),*] };)*
        /// Every metric of this module.
        pub const METRICS: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    CPU: Counter "monitor_process_cpu_seconds_total" ["group", "mode"]
        "CPU time of the group's processes. The sum of both modes is exact for ended processes, its parts are as the kernel's tick saw them.";
    SWITCHES: Counter "monitor_process_context_switches_total" ["group", "type"]
        "Context switches of the group's processes: voluntary (it waited) and involuntary (the CPU was taken from it). Those of threads that ended count when their process ends.";
    FAULTS: Counter "monitor_process_page_faults_total" ["group", "type"]
        "Page faults of the group's processes: minor (served from memory) and major (needed I/O).";
    READ: Counter "monitor_process_read_bytes_total" ["group"]
        "Bytes that the group's processes got from read calls of every kind, also from the page cache, pipes and sockets.";
    WRITTEN: Counter "monitor_process_written_bytes_total" ["group"]
        "Bytes that the group's processes passed to write calls of every kind, also to the page cache, pipes and sockets.";
    STORAGE_READ: Counter "monitor_process_storage_read_bytes_total" ["group"]
        "Bytes that were fetched from storage for the group's processes.";
    STORAGE_WRITTEN: Counter "monitor_process_storage_written_bytes_total" ["group"]
        "Bytes of pages that the group's processes made dirty, so that they go to storage.";
    RESIDENT: Gauge "monitor_process_resident_memory_bytes" ["group"]
        "Memory of the group's processes that is in RAM; pages that they share count for each.";
    VIRTUAL: Gauge "monitor_process_virtual_memory_bytes" ["group"]
        "Address space of the group's processes.";
    OPEN_FDS: Gauge "monitor_process_open_fds" ["group"]
        "Open file descriptors of the group's processes, at most 15 seconds old.";
    THREADS: Gauge "monitor_process_threads" ["group"]
        "Threads of the group's processes.";
    COUNT: Gauge "monitor_processes" ["group"]
        "Living processes in the group.";
    OLDEST: Gauge "monitor_process_oldest_start_timestamp_seconds" ["group"]
        "When the oldest living process of the group was started.";
    STARTS: Counter "monitor_process_starts_total" ["group"]
        "Programs executed (execve); the group is the one of the new program.";
    FORKS: Counter "monitor_process_forks_total" ["group"]
        "Processes created (fork, clone without CLONE_THREAD); the group is the one of the parent.";
    EXITS: Counter "monitor_process_exits_total" ["group", "reason"]
        "Processes ended: ok (exit code 0), error (another code), signal (killed), unknown. An end of which the record was lost, or that the kernel did not tell, is counted when the process is forgotten, processes.keep_exited after its end.";
    CRASHES: Counter "monitor_process_crashes_total" ["group", "signal"]
        "Processes ended by a signal that tells of a fault of the program.";
    LIFETIME: Histogram "monitor_process_lifetime_seconds" []
        "Time from fork to end of the processes that ended.";
    ENTRIES: Gauge "monitor_process_table_entries" ["state"]
        "Entries of the process table: alive, and exited (kept for a while, and as ancestors).";
    CAPACITY: Gauge "monitor_process_table_capacity" []
        "Most entries of the process table (processes.table).";
    EVICTIONS: Counter "monitor_process_table_evictions_total" ["reason"]
        "Entries that left the full process table before their time: exited, ancestor (ended, with descendants), living.";
    REPAIRS: Counter "monitor_process_table_repairs_total" ["missed"]
        "Processes that were learned (start) or found gone (exit) from /proc because no record told of them: it was lost, or the kernel let go of a process without a word.";
    GROUPS: Gauge "monitor_groups" ["state"]
        "Groups that exist: visible ones have series of their own, hidden ones count in _other.";
    GROUPS_LIMIT: Gauge "monitor_groups_limit" []
        "Most groups with series of their own (metrics.groups).";
    SERIES_DROPPED: Counter "monitor_series_dropped_total" ["limit"]
        "Times that something got no series of its own or lost it because a limit was reached. Limit groups: a group that counts in _other from then on. Limit processes: processes without series, added up every time they are chosen.";
}

/// Seconds: a second to a day.
const LIFETIME_BOUNDS: [f64; 6] = [1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0];

const REASONS: [&str; 4] = ["ok", "error", "signal", "unknown"];

/// Signals that a fault of the program raises, as Linux numbers them on every architecture that Rust supports but MIPS
/// and SPARC.
const CRASHES_BY: [(u32, &str); 9] = [
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (11, "SIGSEGV"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (31, "SIGSYS"),
];

#[derive(Clone, Debug, Default)]
struct GroupTotals {
    usage: Usage,
    starts: u64,
    forks: u64,
    exits: [u64; REASONS.len()],
    crashes: [u64; CRASHES_BY.len()],
}

/// What groups with series have done since the daemon started, or since they got their place.
#[derive(Debug, Default)]
pub(super) struct Totals {
    groups: HashMap<GroupId, GroupTotals>,
    lifetimes: [u64; LIFETIME_BOUNDS.len() + 1],
    lifetime_sum: f64,
}

impl Totals {
    fn of(&mut self, groups: &mut Groups, group: GroupId, activity: u64) -> &mut GroupTotals {
        groups.note(group, activity);
        self.groups.entry(groups.visible(group)).or_default()
    }

    pub(super) fn fork(&mut self, groups: &mut Groups, group: GroupId) {
        self.of(groups, group, 1).forks += 1;
    }

    pub(super) fn start(&mut self, groups: &mut Groups, group: GroupId) {
        self.of(groups, group, 1).starts += 1;
    }

    pub(super) fn usage(&mut self, groups: &mut Groups, group: GroupId, new: Usage) {
        if new != Usage::default() {
            self.of(groups, group, new.cpu_ns() / 1_000_000).usage.add(new);
        }
    }

    /// Counts an end, and what the process used that is in no total yet.
    pub(super) fn end(&mut self, groups: &mut Groups, process: &mut Process, ending: &Ending) {
        if let Ending::Record(record) | Ending::Late(record) = ending {
            let end = Usage::of_exit(record, &process.usage);
            let new = process.usage.advance(end);
            if !process.untimed {
                self.usage(groups, process.group, new);
            }
        }
        let Some(exit) = process.exit.filter(|_| !matches!(ending, Ending::Late(_))) else { return };
        let totals = self.of(groups, process.group, 1);
        let reason = match (exit.code(), exit.signal()) {
            (Some(0), _) => 0,
            (Some(_), _) => 1,
            (None, Some(_)) => 2,
            (None, None) => 3,
        };
        totals.exits[reason] += 1;
        if let Some(crash) = CRASHES_BY.iter().position(|(signal, _)| Some(*signal) == exit.signal()) {
            totals.crashes[crash] += 1;
        }
        let seconds = exit.time_ns.saturating_sub(process.started_ns) as f64 / 1e9;
        self.lifetimes[LIFETIME_BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.lifetime_sum += seconds;
    }

    pub(super) fn forget(&mut self, gone: &[GroupId]) {
        for group in gone {
            self.groups.remove(group);
        }
    }
}

/// What the living processes of a group hold.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    gauges: Sums,
    processes: u64,
    oldest_ns: Option<u64>,
}

impl Holding {
    fn add(&mut self, more: &Self) {
        let (sums, new) = (&mut self.gauges, &more.gauges);
        sums.resident_bytes = sums.resident_bytes.saturating_add(new.resident_bytes);
        sums.virtual_bytes = sums.virtual_bytes.saturating_add(new.virtual_bytes);
        sums.threads = sums.threads.saturating_add(new.threads);
        sums.open_fds = sums.open_fds.saturating_add(new.open_fds);
        self.processes += more.processes;
        self.oldest_ns = self.oldest_ns.into_iter().chain(more.oldest_ns).min();
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    open_fds: u64,
}

impl Sums {
    fn add(&mut self, gauges: &Gauges) {
        self.resident_bytes = self.resident_bytes.saturating_add(gauges.resident_bytes);
        self.virtual_bytes = self.virtual_bytes.saturating_add(gauges.virtual_bytes);
        self.threads = self.threads.saturating_add(u64::from(gauges.threads));
        self.open_fds = self.open_fds.saturating_add(u64::from(gauges.open_fds));
    }
}

impl ProcessTable {
    /// Adds the metrics of the `process` signal and those of the table and the groups.
    pub fn collect(&self, families: &mut Families) {
        let mut of_groups: BTreeMap<GroupId, Holding> = BTreeMap::new();
        for process in self.entries.values().filter(|process| process.alive()) {
            let holding = of_groups.entry(process.group).or_default();
            holding.gauges.add(&process.gauges);
            holding.processes += 1;
            let oldest = holding.oldest_ns.get_or_insert(process.started_ns);
            *oldest = (*oldest).min(process.started_ns);
        }
        let alive = of_groups.values().map(|holding| holding.processes).sum();
        let mut holdings: BTreeMap<GroupId, Holding> = BTreeMap::new();
        for (group, holding) in &of_groups {
            holdings.entry(self.groups.visible(*group)).or_default().add(holding);
        }
        for (&group, holding) in &holdings {
            if let Some(name) = self.groups.name_of(group) {
                self.collect_holding(families, name, holding);
            }
        }
        // A group with processes has its counters from the beginning, at zero: rate() needs two points.
        let none = GroupTotals::default();
        let idle = holdings.keys().filter(|group| !self.totals.groups.contains_key(group)).map(|group| (group, &none));
        for (group, totals) in self.totals.groups.iter().chain(idle) {
            if let Some(name) = self.groups.name_of(*group) {
                collect_totals(families, name, totals);
            }
        }
        families.histogram(&LIFETIME, &[], &LIFETIME_BOUNDS, &self.totals.lifetimes, self.totals.lifetime_sum);
        self.collect_selected(families);
        self.collect_health(alive, families);
    }

    fn collect_holding(&self, families: &mut Families, name: &str, holding: &Holding) {
        families.gauge(&RESIDENT, &[name], holding.gauges.resident_bytes as f64);
        families.gauge(&VIRTUAL, &[name], holding.gauges.virtual_bytes as f64);
        families.gauge(&THREADS, &[name], holding.gauges.threads as f64);
        families.gauge(&OPEN_FDS, &[name], holding.gauges.open_fds as f64);
        families.gauge(&COUNT, &[name], holding.processes as f64);
        if let Some(oldest_ns) = holding.oldest_ns {
            families.gauge(&OLDEST, &[name], self.clock.unix_ns(oldest_ns) as f64 / 1e9);
        }
    }

    fn collect_health(&self, alive: u64, families: &mut Families) {
        families.gauge(&ENTRIES, &["alive"], alive as f64);
        families.gauge(&ENTRIES, &["exited"], (self.entries.len() as u64).saturating_sub(alive) as f64);
        families.gauge(&CAPACITY, &[], self.options.capacity as f64);
        for reason in Removal::EVICTIONS {
            families.counter(&EVICTIONS, &[reason.name()], self.removed(reason) as f64);
        }
        for repair in Repair::ALL {
            families.counter(&REPAIRS, &[repair.name()], self.repaired(repair) as f64);
        }
        let (groups, visible) = self.groups.count();
        families.gauge(&GROUPS, &["visible"], visible as f64);
        families.gauge(&GROUPS, &["hidden"], groups.saturating_sub(visible) as f64);
        families.gauge(&GROUPS_LIMIT, &[], self.groups.limit() as f64);
        families.counter(&SERIES_DROPPED, &["groups"], self.groups.dropped() as f64);
        families.counter(&SERIES_DROPPED, &["processes"], self.selected.dropped() as f64);
    }
}

fn collect_totals(families: &mut Families, name: &str, totals: &GroupTotals) {
    let usage = &totals.usage;
    for (mode, nanoseconds) in [("user", usage.user_ns), ("system", usage.system_ns)] {
        families.counter(&CPU, &[name, mode], nanoseconds as f64 / 1e9);
    }
    for (kind, count) in [("voluntary", usage.voluntary_switches), ("involuntary", usage.involuntary_switches)] {
        families.counter(&SWITCHES, &[name, kind], count as f64);
    }
    for (kind, count) in [("minor", usage.minor_faults), ("major", usage.major_faults)] {
        families.counter(&FAULTS, &[name, kind], count as f64);
    }
    for (metric, amount) in [
        (&READ, usage.read_chars),
        (&WRITTEN, usage.written_chars),
        (&STORAGE_READ, usage.read_bytes),
        (&STORAGE_WRITTEN, usage.written_bytes),
        (&STARTS, totals.starts),
        (&FORKS, totals.forks),
    ] {
        families.counter(metric, &[name], amount as f64);
    }
    for (reason, count) in REASONS.iter().zip(totals.exits) {
        families.counter(&EXITS, &[name, reason], count as f64);
    }
    for ((_, signal), count) in CRASHES_BY.iter().zip(totals.crashes).filter(|(_, count)| *count > 0) {
        families.counter(&CRASHES, &[name, signal], count as f64);
    }
}

/// Name of a signal, such as `SIGTERM`; a real-time signal is `SIG` and its number.
pub fn signal_name(signal: u32) -> String {
    let names = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let known = usize::try_from(signal).ok().and_then(|number| names.get(number.checked_sub(1)?));
    known.map_or_else(|| format!("SIG{signal}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests;
