//! Floods: storms of every kind on all CPUs at once, and an account that has to come out even to the last event.
//!
//! What each storm did it prints itself, so the numbers of its group have to *equal* that. Records that found the ring
//! full cannot be told apart by group, and others on the machine fork, too; so a second daemon with room for everything
//! is the witness: births and ends that the first one received, and those that it says it lost, are together as many as
//! the second one received. And what is in the kernel's own maps (how many records were numbered, how many were lost) is
//! what the daemon publishes.

use std::{
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use monitor_common::{loss::Loss, record::Ring};
use rustix::process::Signal;

use crate::{DEADLINE, Daemon, Samples, Tables, Workload, alone, directory, everywhere, until};

/// Resident memory that a daemon may have in a flood.
const MEMORY: f64 = 160.0 * 1024.0 * 1024.0;
/// Every storm has series of its own. An end of which the kernel does not tell counts when the process is forgotten: soon,
/// but not before the kernel, which was seen to take ten seconds.
const CONFIG: &str = "[metrics]\ngroups = 2000\n[processes]\nkeep_exited = \"15s\"\n";
/// Part of the ends of which the kernel may never tell: on the machine where this was written other observers of
/// `sched_process_free` did not see 2 to 6 in a thousand, either. And for few ends, a number.
const NEVER_TOLD: (u64, u64) = (20, 3);
/// Between two scrapes while it lasts.
const SCRAPE: Duration = Duration::from_millis(250);
/// Between two times that the daemon is kept from its ring.
const PAUSE: Duration = Duration::from_millis(300);
/// Births that are lost each of those times.
const LOST_AT_ONCE: u64 = 50;

/// A number of a storm's group: name, labels, and how much of it each turn of the storm makes.
type Number = (&'static str, &'static [(&'static str, &'static str)], f64);

/// A kind of storm (`tests/workload/storm.rs`).
#[derive(Debug)]
struct Kind {
    /// Its step is `storm-NAME`.
    name: &'static str,
    /// What comes by the telemetry ring, which may lose it.
    records: &'static [Number],
    /// What is never lost.
    exact: &'static [Number],
}

const FORKS: Number = ("monitor_process_forks_total", &[], 1.0);
const EXITS: Number = ("monitor_process_exits_total", &[("reason", "ok")], 1.0);
const WRITTEN: &str = "monitor_process_written_bytes_total";

/// Every kind.
const KINDS: [Kind; 5] = [
    Kind {
        name: "calls",
        records: &[],
        exact: &[
            ("monitor_syscalls_total", &[("family", "query")], 500.0),
            ("monitor_syscalls_total", &[("family", "fsync")], 5.0),
            ("monitor_syscall_errors_total", &[("family", "fsync"), ("errno", "EBADF")], 5.0),
        ],
    },
    Kind { name: "forks", records: &[FORKS, EXITS], exact: &[] },
    Kind { name: "execs", records: &[FORKS, EXITS], exact: &[("monitor_process_starts_total", &[], 1.0)] },
    Kind {
        name: "connections",
        records: &[],
        exact: &[
            ("monitor_tcp_connects_total", &[("result", "ok")], 1.0),
            ("monitor_tcp_connect_duration_seconds_count", &[], 1.0),
            ("monitor_tcp_accepts_total", &[], 1.0),
            ("monitor_tcp_bytes_total", &[("direction", "sent")], 1.0),
            ("monitor_tcp_bytes_total", &[("direction", "received")], 1.0),
            ("monitor_tcp_closes_total", &[("role", "client")], 1.0),
            ("monitor_tcp_closes_total", &[("role", "server")], 1.0),
            ("monitor_tcp_resets_total", &[("direction", "sent")], 1.0),
            ("monitor_tcp_resets_total", &[("direction", "received")], 1.0),
        ],
    },
    Kind {
        name: "files",
        records: &[],
        exact: &[
            ("monitor_syscalls_total", &[("family", "open")], 2.0),
            ("monitor_syscalls_total", &[("family", "write")], 1.0),
            ("monitor_syscalls_total", &[("family", "fs")], 1.0),
            (WRITTEN, &[], 100.0),
        ],
    },
];

/// What a flood was, for people.
#[derive(Clone, Debug, Default)]
pub struct Report {
    text: String,
}

impl std::fmt::Display for Report {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.text)
    }
}

impl Report {
    fn line(&mut self, what: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "  {what:<47} {value:>14}");
    }
}

/// Lets every kind of storm loose on a daemon whose telemetry ring is too small.
///
/// # Panics
/// When anything does not come out even.
pub fn flood(time: Duration) -> Report {
    let _turn = alone();
    let daemon = Daemon::start(&format!("[kernel]\ntelemetry_ring = \"64KiB\"\n{CONFIG}"));
    let witness = Daemon::start(&format!("[kernel]\ntelemetry_ring = \"16MiB\"\n{CONFIG}"));
    let kinds: Vec<&Kind> = KINDS.iter().collect();
    let mut report = run(&kinds, time, &daemon, Some(&witness));
    let lost = Tables::of(daemon.pid()).lost(Loss::ForkRing);
    assert!(lost > 0, "the ring was never full: this flood proves nothing about losses");
    report.line("births lost and told", lost);
    report
}

/// Lets nothing but execs loose on the daemon as it comes.
///
/// # Panics
/// As [`flood`].
pub fn flood_of_execs(time: Duration) -> Report {
    let _turn = alone();
    let daemon = Daemon::start(CONFIG);
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| kind.name == "execs").collect();
    run(&kinds, time, &daemon, None)
}

/// A storm that waits to be let loose.
struct Storm<'a> {
    kind: &'a Kind,
    workload: Workload,
    _directory: tempfile::TempDir,
}

impl<'a> Storm<'a> {
    fn new(kind: &'a Kind, time: Duration) -> Self {
        let directory = directory();
        let (step, time) = (format!("storm-{}", kind.name), time.as_millis().to_string());
        let mut steps = vec!["say", "ready", "+", "wait", "+", step.as_str(), time.as_str()];
        if kind.name == "files" {
            steps.push(directory.path().to_str().expect("it is text"));
        }
        steps.extend(["+", "wait"]);
        let mut workload = Workload::spawn(&steps);
        assert_eq!(workload.line(), "ready");
        // It has not only said so, but waits.
        until(DEADLINE, || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", workload.pid())).unwrap_or_default();
            if stat.contains(") S ") { Ok(()) } else { Err(stat) }
        });
        Self { kind, workload, _directory: directory }
    }
}

/// How often a storm did what it does, under which name.
struct Done<'a> {
    kind: &'a Kind,
    group: String,
    count: u64,
}

fn run(kinds: &[&Kind], time: Duration, daemon: &Daemon, witness: Option<&Daemon>) -> Report {
    let daemons: Vec<&Daemon> = [daemon].into_iter().chain(witness).collect();
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    // A storm of no time tells what each does beside the storm: print a number, and end.
    let calm: Vec<Storm> = kinds.iter().map(|kind| Storm::new(kind, Duration::ZERO)).collect();
    let storms: Vec<Storm> = (0..cpus).flat_map(|_| kinds.iter().map(|kind| Storm::new(kind, time))).collect();
    let before = moment(&daemons);
    let calm = let_loose(calm, || {});
    let over = AtomicBool::new(false);
    let begin = Instant::now();
    let (done, seen) = thread::scope(|scope| {
        let seen = scope.spawn(|| look_on(daemon, &over));
        let disturbed = witness.map(|_| scope.spawn(|| disturb(daemon, &over)));
        let done = let_loose(storms, || {
            over.store(true, Ordering::Relaxed);
            // From now on nothing is lost: what the storms themselves used is told by their ends.
            disturbed.map(|disturbed| disturbed.join());
        });
        (done, seen.join().expect("who looks on saw it all"))
    });
    let mut report = Report::default();
    let lasted = begin.elapsed().as_secs_f64();
    let _ = writeln!(report.text, "{lasted:.1} s, {cpus} CPUs, {} storms", done.len());
    for kind in kinds {
        let count: u64 = done.iter().filter(|one| one.kind.name == kind.name).map(|one| one.count).sum();
        report.line(&format!("turns of {}", kind.name), count);
    }
    prove(daemon);
    // The kernel tells an end after a grace period of RCU, which takes long when it has much to do.
    let (after, never_told) = until(3 * DEADLINE, || {
        let after = moment(&daemons);
        let mut never_told = 0.0;
        for (index, moment) in after.iter().enumerate() {
            even_with_the_kernel(moment);
            let lossless = index == daemons.len() - 1;
            never_told = moment.without_record() - before[index].without_record();
            for one in &done {
                let calm = calm.iter().find(|calm| calm.kind.name == one.kind.name).expect("each kind has one");
                let metrics = (&before[index].metrics, &moment.metrics);
                even_with_the_storm(metrics, one, calm, lossless.then_some(never_told))?;
            }
        }
        let (part, least) = NEVER_TOLD;
        let ends: u64 = done.iter().map(|one| one.count).sum();
        assert!(never_told <= (least + ends / part) as f64, "{never_told} of {ends} ends were never told");
        // The two are not asked at the same moment, and others are born and end meanwhile.
        if let [first, witness] = &after[..] {
            for (what, births) in [("births", true), ("ends", false)] {
                let told = [first.told(births) - before[0].told(births), witness.told(births) - before[1].told(births)];
                if told[0] != told[1] {
                    return Err(format!(
                        "{what} of the whole machine, received or lost, and what there were: {told:?}"
                    ));
                }
            }
        }
        Ok::<_, String>((after, never_told))
    });
    if let Some(last) = after.get(1) {
        assert_eq!(last.lost(Loss::ForkRing) + last.lost(Loss::ExitRing), 0, "the witness lost some itself");
        for (what, births) in [("births", true), ("ends", false)] {
            let more = after[0].told(births) - before[0].told(births);
            report.line(&format!("{what} of the machine, received or told as lost"), more);
        }
    }
    recovers(daemon, &after[0]);
    report.line("ends of storms of which the kernel did not tell", never_told);
    report.line("execs lost", after[0].lost(Loss::ExecRing));
    report.line("slots not found", after[0].lost(Loss::Slots));
    report.line("scrapes answered", seen.scrapes);
    report.line("longest scrape, ms", seen.longest.as_millis());
    report.line("most resident memory, MiB", format!("{:.1}", seen.memory / 1_048_576.0));
    report
}

/// Lets storms loose, does something when all of them are over, and waits for their ends.
fn let_loose(mut storms: Vec<Storm<'_>>, over: impl FnOnce()) -> Vec<Done<'_>> {
    for storm in &mut storms {
        storm.workload.go();
    }
    let counts: Vec<String> = storms.iter_mut().map(|storm| storm.workload.line()).collect();
    over();
    let done = storms.into_iter().zip(counts).map(|(storm, count)| {
        let (group, count) = (storm.workload.name.clone(), count.parse().expect("it prints a number"));
        storm.workload.finish();
        Done { kind: storm.kind, group, count }
    });
    done.collect()
}

/// What was seen during a flood.
struct Seen {
    scrapes: u32,
    longest: Duration,
    memory: f64,
}

/// Scrapes all the time: each must be answered.
fn look_on(daemon: &Daemon, over: &AtomicBool) -> Seen {
    let mut seen = Seen { scrapes: 0, longest: Duration::ZERO, memory: 0.0 };
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let memory = daemon.metrics().find("process_resident_memory_bytes", &[]).expect("its memory");
        assert!(memory < MEMORY, "the daemon has {memory} bytes in memory");
        seen.memory = seen.memory.max(memory);
        seen.longest = seen.longest.max(begin.elapsed());
        seen.scrapes += 1;
        thread::sleep(SCRAPE);
    }
    seen
}

/// Keeps the daemon from its ring again and again, each time until the ring was full: so it is, however fast the machine
/// and however slow the storm.
fn disturb(daemon: &Daemon, over: &AtomicBool) {
    let tables = Tables::of(daemon.pid());
    while !over.load(Ordering::Relaxed) {
        let before = tables.lost(Loss::ForkRing);
        daemon.signal(Signal::STOP);
        while tables.lost(Loss::ForkRing) < before + LOST_AT_ONCE && !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        daemon.signal(Signal::CONT);
        thread::sleep(PAUSE);
    }
}

/// A page of metrics, with what the kernel had at the same moment.
struct Moment {
    /// Records of the telemetry ring.
    numbered: u64,
    kernel: Vec<u64>,
    metrics: Samples,
}

/// Rings that fill by looking on, too: who asks for metrics connects, and who reads maps opens them.
const RINGS_OF_LOOKING: [Ring; 2] = [Ring::Security, Ring::Bulk];

impl Moment {
    /// Records that the daemon received from a ring.
    fn received(&self, ring: Ring) -> u64 {
        self.metrics.find("monitor_ring_records_total", &[("ring", ring.name())]).expect("every ring has it") as u64
    }

    /// Records that did not fit into it.
    fn lost_from(&self, ring: Ring) -> u64 {
        match ring {
            Ring::Security => self.lost(Loss::ExecRing) + self.lost(Loss::ActivityRing),
            Ring::Telemetry => self.lost(Loss::ForkRing) + self.lost(Loss::ExitRing),
            Ring::Bulk => self.lost(Loss::ActivityBulkRing),
            Ring::Requests => self.lost(Loss::L7Ring),
        }
    }

    fn lost(&self, loss: Loss) -> u64 {
        self.kernel[loss as usize]
    }

    /// Births or ends of the whole machine, as far as this daemon received or lost them.
    fn told(&self, births: bool) -> f64 {
        if births {
            return self.metrics.sum("monitor_process_forks_total", &[]) + self.lost(Loss::ForkRing) as f64;
        }
        self.metrics.sum(EXITS.0, &[]) - self.without_record() + self.lost(Loss::ExitRing) as f64
    }

    /// Ends that the daemon found out about without a record.
    fn without_record(&self) -> f64 {
        self.metrics.sum("monitor_process_table_repairs_total", &[("missed", "exit")])
    }
}

/// Takes the metrics of all of them while nobody on the machine is born, executes or ends.
fn moment(daemons: &[&Daemon]) -> Vec<Moment> {
    let tables: Vec<Tables> = daemons.iter().map(|daemon| Tables::of(daemon.pid())).collect();
    let look = || -> Vec<(u64, Vec<u64>)> {
        let lost = |tables: &Tables| Loss::ALL.iter().map(|loss| tables.lost(*loss)).collect();
        tables.iter().map(|tables| (tables.numbered(Ring::Telemetry), lost(tables))).collect()
    };
    let numbered = |ring: Ring| -> Vec<u64> { tables.iter().map(|tables| tables.numbered(ring)).collect() };
    until(3 * DEADLINE, || {
        let began = RINGS_OF_LOOKING.map(numbered);
        // Counters that are added up, not received, may be a little older.
        daemons.iter().for_each(|daemon| drop(daemon.fresh_metrics()));
        let before = look();
        let metrics: Vec<Samples> = daemons.iter().map(|daemon| daemon.metrics()).collect();
        if look() != before {
            return Err("there is always somebody who is born or ends".to_owned());
        }
        let ended = RINGS_OF_LOOKING.map(numbered);
        let all = before.into_iter().zip(metrics);
        let all: Vec<Moment> = all.map(|((numbered, kernel), metrics)| Moment { numbered, kernel, metrics }).collect();
        for (ring, (began, ended)) in RINGS_OF_LOOKING.into_iter().zip(began.into_iter().zip(ended)) {
            for ((moment, began), ended) in all.iter().zip(began).zip(ended) {
                let told = moment.received(ring) + moment.lost_from(ring);
                if !(began..=ended).contains(&told) {
                    return Err(format!("{} ring: {told} told of, {began} to {ended} numbered", ring.name()));
                }
            }
        }
        Ok(all)
    })
}

/// Lets each CPU write a record that is received, until the gaps in the numbers prove all losses.
fn prove(daemon: &Daemon) {
    until(DEADLINE, || {
        everywhere();
        let metrics = daemon.metrics();
        let missing = metrics.sum("monitor_ring_missing_total", &[]);
        let of = |signal, cause| metrics.sum("monitor_lost_total", &[("signal", signal), ("cause", cause)]);
        let lost = of("process", "fork_ring_full") + of("process", "exit_ring_full") + of("exec", "ring_full");
        let lost = lost + of("activity", "ring_full") + of("activity", "bulk_ring_full");
        if missing == lost { Ok(()) } else { Err(format!("{missing} missing, {lost} lost")) }
    });
}

/// What the daemon publishes is what the kernel has.
fn even_with_the_kernel(moment: &Moment) {
    let metrics = &moment.metrics;
    for loss in Loss::ALL {
        let labels = [("signal", loss.signal()), ("cause", loss.cause())];
        assert_eq!(metrics.find("monitor_lost_total", &labels), Some(moment.lost(*loss) as f64), "{loss:?}");
    }
    for ring in Ring::ALL {
        let malformed = metrics.find("monitor_ring_malformed_total", &[("ring", ring.name())]);
        assert_eq!(malformed, Some(0.0), "{} ring", ring.name());
    }
    let telemetry = moment.received(Ring::Telemetry) + moment.lost_from(Ring::Telemetry);
    assert_eq!(telemetry, moment.numbered, "telemetry ring: numbered");
    assert_eq!(moment.lost_from(Ring::Security), 0, "nothing may fill the security ring");
}

/// What the group has more than before is what the storm did. `without_record`: ends of the whole machine that the kernel
/// has not told of, where no record was lost.
fn even_with_the_storm(
    (before, after): (&Samples, &Samples),
    done: &Done<'_>,
    calm: &Done<'_>,
    without_record: Option<f64>,
) -> Result<(), String> {
    let of = |group: &str, name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> = [("group", group)].into_iter().chain(labels.iter().copied()).collect();
        // What /proc tells of the living is a little old; the end tells all of it.
        after.sum(name, &labels) - if name == WRITTEN { 0.0 } else { before.sum(name, &labels) }
    };
    let numbers = done.kind.exact.iter().chain(done.kind.records.iter().filter(|_| without_record.is_some()));
    for (name, labels, each) in numbers {
        let counted = of(&done.group, name, labels);
        let mut wanted = of(&calm.group, name, labels) + each * done.count as f64;
        if *name == WRITTEN {
            // The number that it prints is longer.
            wanted += done.count.to_string().len() as f64 - 1.0;
            // What a process used between the last look at it and its end is in the record only.
            if without_record != Some(0.0) {
                continue;
            }
        }
        if counted != wanted {
            let of_whom = format!("a storm of {} {}", done.count, done.kind.name);
            return Err(format!("{name}{labels:?} of {of_whom} is {counted}, not {wanted}"));
        }
    }
    Ok(())
}

/// Afterwards nothing more is lost, nothing is left behind, and whoever reads events has been told.
fn recovers(daemon: &Daemon, after: &Moment) {
    if after.lost(Loss::ForkRing) > 0 {
        until(DEADLINE, || daemon.events("rule=event_loss").pop().ok_or("no event tells of the loss"));
    }
    Tables::of(daemon.pid()).assert_clean();
    everywhere();
    let later = moment(&[daemon]);
    assert_eq!(later[0].kernel, after.kernel, "it goes on losing");
    even_with_the_kernel(&later[0]);
}
