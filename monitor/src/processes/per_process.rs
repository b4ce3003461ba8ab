//! Series of single processes, for groups that the configuration names. Only there: a pid as a label is a new series
//! for each process.

use super::{Process, ProcessId, ProcessTable, glob};
use crate::metrics::{Families, Kind, Metric};

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(static $id: Metric = Metric { name: $name, help: $help, kind: Kind::$kind, labels: &[$($label),*] };)*
        /// Every metric of this module.
        pub const PER_PROCESS_METRICS: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    CPU: Counter "monitor_pid_cpu_seconds_total" ["group", "pid", "mode"] "CPU time of the process in all its life.";
    READ: Counter "monitor_pid_read_bytes_total" ["group", "pid"] "Bytes that the process got from read calls of every kind.";
    WRITTEN: Counter "monitor_pid_written_bytes_total" ["group", "pid"] "Bytes that the process passed to write calls of every kind.";
    RESIDENT: Gauge "monitor_pid_resident_memory_bytes" ["group", "pid"] "Memory of the process that is in RAM.";
    THREADS: Gauge "monitor_pid_threads" ["group", "pid"] "Threads of the process.";
    OPEN_FDS: Gauge "monitor_pid_open_fds" ["group", "pid"] "Open file descriptors of the process, at most 15 seconds old.";
    START: Gauge "monitor_pid_start_timestamp_seconds" ["group", "pid"] "When the process was started.";
}

/// What the configuration says about series of single processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerProcess {
    /// Groups whose processes have series of their own: names, or patterns with `*` and `?`.
    pub groups: Vec<String>,
    /// Most processes that have.
    pub limit: usize,
}

/// The processes that have series now.
#[derive(Debug, Default)]
pub(super) struct Selected {
    options: PerProcess,
    processes: Vec<ProcessId>,
    dropped: u64,
}

impl Selected {
    /// Processes left out, added up over all selections.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl ProcessTable {
    /// Takes over a new configuration of series of single processes. Later ones join at [`Self::rebalance`].
    pub fn set_per_process(&mut self, options: PerProcess) {
        self.selected.options = options;
        self.select();
    }

    /// Chooses the processes that have series: the oldest ones, so that short ones do not push others out.
    pub(super) fn select(&mut self) {
        let options = &self.selected.options;
        let named = |process: &Process| {
            let name = self.groups.name_of(process.group).unwrap_or_default();
            options.groups.iter().any(|pattern| glob::component(pattern.as_bytes(), name.as_bytes()))
        };
        let mut found = Vec::new();
        if !options.groups.is_empty() {
            found.extend(
                self.entries.values().filter(|process| process.alive() && named(process)).map(|process| process.id),
            );
        }
        found.sort_unstable_by_key(|id| (id.start_ticks, id.pid));
        self.selected.dropped += found.len().saturating_sub(options.limit) as u64;
        found.truncate(options.limit);
        // In the order of the page, once for all scrapes until the next choice.
        let place = |id: &ProcessId| {
            let group = self.entries.get(id).and_then(|process| self.groups.name_of(process.group));
            (group.unwrap_or_default().to_owned(), id.pid.to_string())
        };
        found.sort_by_cached_key(place);
        self.selected.processes = found;
    }

    /// The processes that have series.
    pub fn selected(&self) -> impl Iterator<Item = &Process> {
        self.selected.processes.iter().filter_map(|id| self.entries.get(id)).filter(|process| process.alive())
    }

    pub(super) fn collect_selected(&self, families: &mut Families) {
        for process in self.selected() {
            let pid = process.id.pid.to_string();
            let group = self.groups.name_of(process.group).unwrap_or_default();
            let (usage, gauges) = (&process.usage, &process.gauges);
            for (mode, nanoseconds) in [("user", usage.user_ns), ("system", usage.system_ns)] {
                families.counter(&CPU, &[group, &pid, mode], nanoseconds as f64 / 1e9);
            }
            families.counter(&READ, &[group, &pid], usage.read_chars as f64);
            families.counter(&WRITTEN, &[group, &pid], usage.written_chars as f64);
            families.gauge(&RESIDENT, &[group, &pid], gauges.resident_bytes as f64);
            families.gauge(&THREADS, &[group, &pid], f64::from(gauges.threads));
            families.gauge(&OPEN_FDS, &[group, &pid], f64::from(gauges.open_fds));
            families.gauge(&START, &[group, &pid], self.clock.unix_ns(process.started_ns) as f64 / 1e9);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::testing::{SECOND, exec, exit, key, table, value};

    #[test]
    fn the_oldest_processes_of_the_named_groups_have_series() {
        let mut table = table(100);
        for (n, exe) in [(3, "/bin/web1"), (1, "/bin/web1"), (2, "/bin/web2"), (4, "/bin/db")] {
            exec(&mut table, 0, n, exe);
        }
        table.rebalance(SECOND);
        let start = |table: &ProcessTable, n: u32, group: &str| {
            let pid = key(table, n).tgid.to_string();
            value(table, "monitor_pid_start_timestamp_seconds", &[group, &pid])
        };
        assert_eq!(start(&table, 1, "web1"), None, "not asked for");
        table.set_per_process(PerProcess { groups: vec!["web*".into()], limit: 2 });
        assert!(start(&table, 1, "web1").is_some() && start(&table, 2, "web2").is_some());
        assert_eq!((start(&table, 3, "web1"), start(&table, 4, "db")), (None, None));
        assert_eq!(value(&table, "monitor_series_dropped_total", &["processes"]), Some(1.0));
        exit(&mut table, 1);
        assert_eq!(start(&table, 1, "web1"), None);
        table.rebalance(3 * SECOND);
        assert!(start(&table, 3, "web1").is_some());
        assert_eq!(value(&table, "monitor_series_dropped_total", &["processes"]), Some(1.0));
    }
}
