//! The daemon at rest: what it costs when nothing but the machine's own life goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::project::Project;

use super::{
    machine::{self, Machine},
    options::Options,
    process::{self, Daemon, status},
    statistics::Quartiles,
};

/// After the start, before anything is counted: what is learnt once is learnt then.
const SETTLE: Duration = Duration::from_secs(10);
/// Each part.
const WINDOW: Duration = Duration::from_secs(60);
/// Between two scrapes.
const SCRAPE: Duration = Duration::from_secs(5);

/// Used up so far.
#[derive(Clone, Copy)]
struct Usage {
    cpu_ns: u64,
    wakeups: u64,
}

pub(super) fn measure(project: &Project, options: &Options) -> Result<()> {
    let machine = Machine::look(project)?;
    machine.wait_until_quiet(options.wait);
    println!("{}", machine.header());
    let program = options.against.clone().unwrap_or_else(|| project.daemon());
    let daemon = process::daemon(&program, &[])?;
    println!("ready after {:.0} ms", daemon.ready.as_secs_f64() * 1e3);
    thread::sleep(SETTLE);

    let begin = look(&daemon)?;
    thread::sleep(WINDOW);
    report("nobody asks", begin, look(&daemon)?);
    memory(&daemon);

    let begin = look(&daemon)?;
    let mut scrapes = Vec::new();
    for _ in 0..WINDOW.as_secs() / SCRAPE.as_secs() {
        thread::sleep(SCRAPE);
        scrapes.push(scrape(&daemon)?);
    }
    report("a scrape every 5 s", begin, look(&daemon)?);
    memory(&daemon);
    let of = |part: fn(&Scrape) -> f64| Quartiles::of(scrapes.iter().map(part));
    if let (Some(took), Some(cpu), Some(last)) = (of(|s| s.milliseconds), of(|s| s.cpu_milliseconds), scrapes.last()) {
        println!(
            "scrape: {:.2} ms ({:.2}..{:.2}), CPU {:.2} ms ({:.2}..{:.2}), {} series, {} KiB plain",
            took.median,
            took.low,
            took.high,
            cpu.median,
            cpu.low,
            cpu.high,
            last.series,
            last.bytes / 1024
        );
    }
    println!("load {:.2} at the end", machine::load());
    daemon.running.stop()
}

struct Scrape {
    milliseconds: f64,
    cpu_milliseconds: f64,
    series: usize,
    bytes: usize,
}

fn scrape(daemon: &Daemon) -> Result<Scrape> {
    let (begin, before) = (Instant::now(), look(daemon)?);
    let started = begin.elapsed();
    let text = process::get(&daemon.address, "/metrics")?;
    let took = begin.elapsed() - started;
    // The answer may be complete before the daemon has tidied up behind it.
    thread::sleep(Duration::from_millis(5));
    Ok(Scrape {
        milliseconds: took.as_secs_f64() * 1e3,
        cpu_milliseconds: (look(daemon)?.cpu_ns - before.cpu_ns) as f64 / 1e6,
        series: text.lines().filter(|line| !line.starts_with('#')).count(),
        bytes: text.len(),
    })
}

fn report(what: &str, begin: Usage, end: Usage) {
    let seconds = WINDOW.as_secs_f64();
    println!(
        "{what}: {:.3} % of a CPU, {:.1} wake-ups a second",
        (end.cpu_ns - begin.cpu_ns) as f64 / 1e7 / seconds,
        (end.wakeups - begin.wakeups) as f64 / seconds
    );
}

fn directory(daemon: &Daemon) -> PathBuf {
    Path::new("/proc").join(daemon.running.pid().to_string())
}

/// Adds up the threads. The kernel tells the time of each to the nanosecond.
fn look(daemon: &Daemon) -> Result<Usage> {
    let mut usage = Usage { cpu_ns: 0, wakeups: 0 };
    for task in fs::read_dir(directory(daemon).join("task")).context("list the daemon's threads")? {
        let task = task?.path();
        let schedstat = fs::read_to_string(task.join("schedstat")).context("read schedstat")?;
        usage.cpu_ns += schedstat.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        usage.wakeups += status(&task.join("status"), "voluntary_ctxt_switches").unwrap_or(0);
    }
    Ok(usage)
}

fn memory(daemon: &Daemon) {
    let file = directory(daemon).join("status");
    let mib = |field| status(&file, field).unwrap_or(0) as f64 / 1024.0;
    println!(
        "memory: {:.1} MiB resident, of it {:.1} anonymous, {:.1} files (program text, mapped maps); {} threads",
        mib("VmRSS"),
        mib("RssAnon"),
        mib("RssFile"),
        status(&file, "Threads").unwrap_or(0)
    );
}
