//! The daemon at rest: what it costs when nothing but the machine's own life goes on.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    budget::Figures,
    machine, process,
    statistics::Quartiles,
    subject::Places,
    usage::{self, Scrape, Usage},
};

/// After the start, before anything is counted: what is learnt once is learnt then.
const SETTLE: Duration = Duration::from_secs(10);
/// Each part.
const WINDOW: Duration = Duration::from_secs(60);
/// Between two scrapes.
const SCRAPE: Duration = Duration::from_secs(5);

pub(super) fn measure(places: &Places) -> Result<Figures> {
    let daemon = process::daemon(places.against.as_deref().unwrap_or(&places.daemon), &places.scratch, &[])?;
    println!("ready after {:.0} ms", daemon.ready.as_secs_f64() * 1e3);
    thread::sleep(SETTLE);

    let alone = usage::over(&daemon, WINDOW)?;
    alone.print("nobody asks");
    usage::memory(&daemon);

    let begin = Usage::look(&daemon)?;
    let mut scrapes = Vec::new();
    for _ in 0..WINDOW.as_secs() / SCRAPE.as_secs() {
        thread::sleep(SCRAPE);
        scrapes.push(usage::scrape(&daemon)?);
    }
    let scraped = Usage::look(&daemon)?.since(begin);
    scraped.print("a scrape every 5 s");
    let resident = usage::memory(&daemon);
    let of = |part: fn(&Scrape) -> f64| Quartiles::of(scrapes.iter().map(part)).context("no scrapes");
    let (took, cpu) = (of(|scrape| scrape.milliseconds)?, of(|scrape| scrape.cpu_milliseconds)?);
    let last = scrapes.last().context("no scrapes")?;
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
    println!("load {:.2} at the end", machine::load());
    daemon.running.stop()?;
    Ok(Figures::from([
        ("rest.cpu_percent", alone.cpu_percent),
        ("rest.wakeups_per_second", alone.wakeups_per_second),
        ("rest.scraped_cpu_percent", scraped.cpu_percent),
        ("rest.resident_mb", resident),
        ("rest.scrape_ms", took.median),
        ("rest.scrape_cpu_ms", cpu.median),
        ("rest.series", last.series as f64),
    ]))
}
