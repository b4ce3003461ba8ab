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
    budget::Cost,
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
    help: "How long kernel programs were measured: one second of each minute, because measuring slows them down; where \
           there is a budget, at most an eighth of the time.",
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
/// … in each of these, where there is no budget to keep.
const EVERY: Duration = Duration::from_secs(60);
/// Where there is one: at most so long …
const BUDGET_WINDOW: Duration = Duration::from_millis(250);
/// … and at most this part of the time between two measurements, because measuring slows programs down.
const BUDGET_PART: u32 = 8;

/// How often is measured, and for how long.
fn windows(budget: Option<Duration>) -> (Duration, Duration) {
    budget.map_or((EVERY, WINDOW), |every| (every, BUDGET_WINDOW.min(every / BUDGET_PART)))
}

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
    every: Duration,
    window: Duration,
    /// Run time of all programs when the window began.
    before: Duration,
    /// CPU time of the daemon, and when that was.
    own: (Duration, Instant),
    measured: Duration,
    programs: Vec<ProgramCost>,
    refused: bool,
    reloads: Arc<Reloads>,
}

impl Health {
    /// Nothing measured yet. `budget`: the time between two measurements, where there is a budget to keep.
    pub fn new(reloads: Arc<Reloads>, budget: Option<Duration>) -> Self {
        let (every, window) = windows(budget);
        Self {
            measuring: None,
            // What the start cost is not what the daemon costs.
            next: Instant::now() + budget.unwrap_or_default(),
            every,
            window,
            before: Duration::ZERO,
            own: (own_time(), Instant::now()),
            measured: Duration::ZERO,
            programs: Vec::new(),
            refused: false,
            reloads,
        }
    }

    /// Measures as often as this budget needs from now on.
    pub fn set_budget(&mut self, budget: Option<Duration>) {
        (self.every, self.window) = windows(budget);
        self.next = self.next.min(Instant::now() + self.every);
    }

    /// Opens and closes the windows of measurement. Call it often. Returns the cost at the end of each window.
    ///
    /// The kernel's measurement contains its own two clock readings and lacks the call of the program: the two cost about
    /// the same, so that it is taken as it is.
    pub fn step(&mut self, kernel: Option<&KernelSide>) -> Option<Cost> {
        let now = Instant::now();
        match self.measuring.take() {
            Some((fd, since)) if since.elapsed() < self.window => {
                self.measuring = Some((fd, since));
                None
            }
            Some((fd, since)) => {
                drop(fd);
                let length = since.elapsed();
                self.measured += length;
                self.read(kernel?);
                let share = self.run_time().saturating_sub(self.before).as_secs_f64() / length.as_secs_f64();
                Some(Cost { kernel: Some(share), daemon: self.own_share(now) })
            }
            None if now < self.next => None,
            None => {
                self.next = now + self.every;
                let Some(kernel) = kernel.filter(|_| !self.refused) else {
                    return Some(Cost { kernel: None, daemon: self.own_share(now) });
                };
                self.read(kernel);
                self.before = self.run_time();
                match enable_stats(Stats::RunTime) {
                    Ok(fd) => self.measuring = Some((fd, now)),
                    Err(error) => {
                        // Linux before 5.8, or CAP_SYS_ADMIN is missing.
                        debug!(%error, "the kernel does not measure its programs for us");
                        self.refused = true;
                    }
                }
                None
            }
        }
    }

    /// Run time of all programs so far, as far as it was measured.
    fn run_time(&self) -> Duration {
        self.programs.iter().map(|program| program.time).sum()
    }

    /// The daemon's own CPU time since the last call, as a share of one CPU.
    fn own_share(&mut self, now: Instant) -> f64 {
        let (before, since) = std::mem::replace(&mut self.own, (own_time(), now));
        let passed = now.duration_since(since).as_secs_f64();
        if passed > 0.0 { self.own.0.saturating_sub(before).as_secs_f64() / passed } else { 0.0 }
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
            .chain(kernel.loaded.library_costs().map(|(name, runs, time)| ProgramCost {
                name: name.to_owned(),
                runs,
                time,
            }))
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

/// CPU time of all threads of the daemon.
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
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
