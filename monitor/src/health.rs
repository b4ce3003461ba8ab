//! What the daemon costs: its own CPU time and memory, and the run time of each kernel program.

use std::{
    fs,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aya::sys::{Stats, enable_stats};
use tracing::debug;

use crate::{
    app::Reloads,
    cli,
    events::{BootClock, Subject},
    metrics::{Families, Kind, Metric},
    observer::KernelSide,
    processes::NS_PER_TICK,
};

static BUILD: Metric = Metric {
    name: "monitor_build_info",
    help: "Always 1; the labels tell what is running.",
    kind: Kind::Gauge,
    labels: &["version", "revision"],
};
static CPU: Metric = Metric {
    name: "process_cpu_seconds_total",
    help: "CPU time of the daemon, user and system.",
    kind: Kind::Counter,
    labels: &[],
};
static RESIDENT: Metric = Metric {
    name: "process_resident_memory_bytes",
    help: "Resident memory of the daemon, kernel maps that it reads through memory included.",
    kind: Kind::Gauge,
    labels: &[],
};
static VIRTUAL: Metric = Metric {
    name: "process_virtual_memory_bytes",
    help: "Virtual memory of the daemon.",
    kind: Kind::Gauge,
    labels: &[],
};
static FDS: Metric =
    Metric { name: "process_open_fds", help: "Open files of the daemon.", kind: Kind::Gauge, labels: &[] };
static START: Metric = Metric {
    name: "process_start_time_seconds",
    help: "When the daemon started, Unix time.",
    kind: Kind::Gauge,
    labels: &[],
};
static RUNS: Metric = Metric {
    name: "monitor_ebpf_program_runs_total",
    help: "Runs of a kernel program during the measured seconds.",
    kind: Kind::Counter,
    labels: &["program"],
};
static RUN_SECONDS: Metric = Metric {
    name: "monitor_ebpf_program_run_seconds_total",
    help: "Run time of a kernel program during the measured seconds; about 60 ns a run are the measurement's own.",
    kind: Kind::Counter,
    labels: &["program"],
};
static MEASURED: Metric = Metric {
    name: "monitor_ebpf_measured_seconds_total",
    help: "How long kernel programs were measured: one second of each minute, because measuring slows them down.",
    kind: Kind::Counter,
    labels: &[],
};

static RELOAD_SUCCESSFUL: Metric = Metric {
    name: "monitor_config_last_reload_successful",
    help: "1 when the configuration was good at the last reload, or at the start.",
    kind: Kind::Gauge,
    labels: &[],
};
static RELOAD_TIME: Metric = Metric {
    name: "monitor_config_last_reload_success_timestamp_seconds",
    help: "When the configuration was last read and good, Unix time.",
    kind: Kind::Gauge,
    labels: &[],
};

/// What this module publishes.
pub const METRICS: &[&Metric] = &[
    &BUILD,
    &CPU,
    &RESIDENT,
    &VIRTUAL,
    &FDS,
    &START,
    &RUNS,
    &RUN_SECONDS,
    &MEASURED,
    &RELOAD_SUCCESSFUL,
    &RELOAD_TIME,
];

/// How long the kernel programs are measured …
const WINDOW: Duration = Duration::from_secs(1);
/// … in each of these.
const EVERY: Duration = Duration::from_secs(60);

/// A kernel program's measured runs.
struct ProgramCost {
    name: String,
    runs: u64,
    time: Duration,
}

/// The daemon's own cost.
pub struct Health {
    /// Open while the kernel measures.
    measuring: Option<(OwnedFd, Instant)>,
    next: Instant,
    measured: Duration,
    programs: Vec<ProgramCost>,
    refused: bool,
    reloads: Arc<Reloads>,
}

impl Health {
    /// Nothing measured yet.
    pub fn new(reloads: Arc<Reloads>) -> Self {
        Self {
            measuring: None,
            next: Instant::now(),
            measured: Duration::ZERO,
            programs: Vec::new(),
            refused: false,
            reloads,
        }
    }

    /// Opens and closes the windows of measurement. Call it every second or so.
    pub fn step(&mut self, kernel: Option<&KernelSide>) {
        let Some(kernel) = kernel else { return };
        match self.measuring.take() {
            Some((fd, since)) if since.elapsed() < WINDOW => self.measuring = Some((fd, since)),
            Some((fd, since)) => {
                drop(fd);
                self.measured += since.elapsed();
                self.read(kernel);
            }
            None if Instant::now() >= self.next && !self.refused => {
                self.next = Instant::now() + EVERY;
                match enable_stats(Stats::RunTime) {
                    Ok(fd) => self.measuring = Some((fd, Instant::now())),
                    Err(error) => {
                        // Linux before 5.8, or CAP_SYS_ADMIN is missing.
                        debug!(%error, "the kernel does not measure its programs for us");
                        self.refused = true;
                    }
                }
            }
            None => {}
        }
    }

    fn read(&mut self, kernel: &KernelSide) {
        self.programs = kernel
            .loaded
            .ebpf
            .programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                Some(ProgramCost { name: name.to_owned(), runs: info.run_count(), time: info.run_time() })
            })
            .collect();
    }

    /// Publishes.
    pub fn collect(&self, families: &mut Families) {
        families.gauge(&BUILD, &[env!("CARGO_PKG_VERSION"), cli::revision()], 1.0);
        for program in &self.programs {
            families.counter(&RUNS, &[&program.name], program.runs as f64);
            families.counter(&RUN_SECONDS, &[&program.name], program.time.as_secs_f64());
        }
        families.counter(&MEASURED, &[], self.measured.as_secs_f64());
        let reloads = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        families.gauge(&RELOAD_SUCCESSFUL, &[], reloads(&self.reloads.successful));
        families.gauge(&RELOAD_TIME, &[], reloads(&self.reloads.last_success));
        let Some(own) = Own::read() else { return };
        families.counter(&CPU, &[], own.cpu_ticks as f64 * NS_PER_TICK as f64 / 1e9);
        families.gauge(&RESIDENT, &[], own.resident_pages as f64 * rustix::param::page_size() as f64);
        families.gauge(&VIRTUAL, &[], own.virtual_bytes as f64);
        let started = BootClock::read().time(own.start_ticks * NS_PER_TICK);
        families.gauge(&START, &[], started.as_millisecond() as f64 / 1e3);
        if let Ok(list) = fs::read_dir("/proc/self/fd") {
            families.gauge(&FDS, &[], list.count() as f64);
        }
    }

    /// The daemon, as the subject of an event about itself.
    pub fn subject(&self, clock: BootClock) -> Subject {
        let own = Own::read().unwrap_or_default();
        Subject {
            pid: std::process::id(),
            start_time: clock.time(own.start_ticks * NS_PER_TICK),
            start_ticks: own.start_ticks,
            exe: fs::read_link("/proc/self/exe").map(|exe| exe.display().to_string()).unwrap_or_default(),
            argv: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            comm: "monitor".to_owned(),
            uid: rustix::process::getuid().as_raw(),
            euid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
            group: "monitor".to_owned(),
            ..Subject::default()
        }
    }
}

/// The numbers of /proc/self/stat that matter here (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Own {
    cpu_ticks: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Own {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name in parentheses may contain anything, parentheses too.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_numbers_are_found_behind_any_name() {
        let stat = "12 (a) b) R 1 2 3 4 5 6 7 8 9 10 100 11 0 0 20 0 3 0 4711 4096000 77 18446744073709551615 1";
        let own = Own { cpu_ticks: 111, start_ticks: 4711, virtual_bytes: 4_096_000, resident_pages: 77 };
        assert_eq!(Own::parse(stat), Some(own));
        assert_eq!(Own::parse(""), None);
        assert!(Own::read().is_some_and(|own| own.resident_pages > 0));
    }
}
