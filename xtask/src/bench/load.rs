//! The daemon under load: many groups of processes, every CPU busy with system calls, and somebody who scrapes.

use std::{
    fs,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    budget::Figures,
    machine::{self, Machine},
    process::{self, Daemon, Running},
    statistics::percentile,
    subject::Places,
    usage::{self, Usage},
};

/// Series that are wanted.
const SERIES: usize = 10_000;
/// Groups that tell how many series a group has.
const FIRST: usize = 20;
/// Until what a new group does is all in series: groups get their places every ten seconds.
const PLACES: Duration = Duration::from_secs(15);
/// After the last group came.
const SETTLE: Duration = Duration::from_secs(15);
/// With nobody who asks.
const ALONE: Duration = Duration::from_secs(20);
/// Scrapes, and from one's begin to the next one's.
const SCRAPES: usize = 150;
const EVERY: Duration = Duration::from_millis(400);

/// A process that ends when its input does.
struct Busy {
    _process: Running,
    _input: ChildStdin,
}

impl Busy {
    fn start(program: &Path, what: &str) -> Result<Self> {
        let mut process = Running::start(Command::new(program).arg(what).stdin(Stdio::piped()))?;
        let input = process.input()?;
        Ok(Self { _process: process, _input: input })
    }
}

pub(super) fn measure(places: &Places, machine: &Machine) -> Result<Figures> {
    let program = places.against.as_deref().unwrap_or(&places.daemon);
    let mut members = Vec::new();
    for number in 0..FIRST {
        members.push(member(places, number)?);
    }
    let groups = groups(&process::daemon(program, &places.scratch, &["metrics.groups=1000".to_owned()])?)?;
    for number in FIRST..groups {
        members.push(member(places, number)?);
    }
    // Some places for the machine's own groups, and no more: a busy one has many.
    let daemon = process::daemon(program, &places.scratch, &[format!("metrics.groups={}", groups + groups / 5)])?;
    thread::sleep(PLACES);
    let series = usage::scrape(&daemon)?.series;
    println!("{groups} processes, each a group of its own, and the machine's: {series} series");
    let _busy: Vec<Busy> = (0..machine.cpus).map(|_| Busy::start(&places.loader, "busy")).collect::<Result<_>>()?;
    thread::sleep(SETTLE);

    let alone = usage::over(&daemon, ALONE)?;
    alone.print("saturated, nobody asks");
    let scraped = scrapes(&daemon, alone.cpu_percent)?;
    let resident = usage::memory(&daemon);
    println!("load {:.2} at the end", machine::load());
    daemon.running.stop()?;
    let mut figures = Figures::from([
        ("load.groups", members.len() as f64),
        ("load.cpu_percent", alone.cpu_percent),
        ("load.wakeups_per_second", alone.wakeups_per_second),
        ("load.resident_mb", resident),
    ]);
    figures.extend(scraped);
    Ok(figures)
}

/// How many groups make as many series as are wanted, by those that the first ones have.
fn groups(daemon: &Daemon) -> Result<usize> {
    thread::sleep(PLACES);
    let text = process::get(&daemon.address, "/metrics")?;
    let series = text.lines().filter(|line| line.contains("group=\"member")).count();
    ensure!(series > 0, "processes that were started have no series");
    Ok(needed(series))
}

/// The same, of the series that the first groups have together.
fn needed(series: usize) -> usize {
    (SERIES * FIRST).div_ceil(series)
}

/// One more process, under a name of its own.
fn member(places: &Places, number: usize) -> Result<Busy> {
    let program = places.scratch.join(format!("member{number:04}"));
    fs::hard_link(&places.loader, &program).with_context(|| format!("make {}", program.display()))?;
    Busy::start(&program, "member")
}

/// `alone` is what the daemon uses when nobody asks, in per cent of a CPU: the rest is for the scrapes.
fn scrapes(daemon: &Daemon, alone: f64) -> Result<Figures> {
    let (begin, before) = (Instant::now(), Usage::look(daemon)?);
    let mut took = Vec::with_capacity(SCRAPES);
    let mut series = 0;
    for number in 0..SCRAPES {
        let due = EVERY * u32::try_from(number)?;
        thread::sleep(due.saturating_sub(begin.elapsed()));
        let asked = Instant::now();
        let text = process::get(&daemon.address, "/metrics")?;
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        series = text.lines().filter(|line| !line.starts_with('#')).count();
    }
    let seconds = begin.elapsed().as_secs_f64();
    let rate = Usage::look(daemon)?.since(before);
    let cpu = (rate.cpu_percent - alone) / 100.0 * seconds * 1e3 / SCRAPES as f64;
    rate.print(&format!("saturated, {:.1} scrapes a second", SCRAPES as f64 / seconds));
    let at = |percent| percentile(took.iter().copied(), percent).context("no scrapes");
    let (median, high, highest) = (at(50.0)?, at(99.0)?, at(100.0)?);
    println!(
        "scrape of {series} series, {SCRAPES} times: p50 {median:.2} ms, p99 {high:.2} ms, highest {highest:.2} ms; CPU {cpu:.2} ms"
    );
    Ok(Figures::from([
        ("load.series", series as f64),
        ("load.scrape_p50_ms", median),
        ("load.scrape_p99_ms", high),
        ("load.scrape_highest_ms", highest),
        ("load.scrape_cpu_ms", cpu),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_groups_as_make_the_series() {
        assert_eq!(needed(FIRST * 100), SERIES / 100);
        assert_eq!(needed(FIRST * 100 - 1), SERIES / 100 + 1, "rather one more");
        assert_eq!(needed(SERIES), FIRST);
    }
}
