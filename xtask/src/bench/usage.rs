//! What the daemon uses itself: CPU, memory, wake-ups, and what a scrape takes.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::process::{self, Daemon, status};

/// Used up at one moment.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    at: Instant,
    pub(super) cpu_ns: u64,
    wakeups: u64,
}

/// Used between two moments.
pub(super) struct Rate {
    /// Of one CPU.
    pub(super) cpu_percent: f64,
    pub(super) wakeups_per_second: f64,
}

impl Usage {
    /// Adds up the threads. The kernel tells the time of each to the nanosecond.
    pub(super) fn look(daemon: &Daemon) -> Result<Self> {
        let mut usage = Self { at: Instant::now(), cpu_ns: 0, wakeups: 0 };
        for task in fs::read_dir(directory(daemon).join("task")).context("list the daemon's threads")? {
            let task = task?.path();
            let schedstat = fs::read_to_string(task.join("schedstat")).context("read schedstat")?;
            usage.cpu_ns += schedstat.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            usage.wakeups += status(&task.join("status"), "voluntary_ctxt_switches").unwrap_or(0);
        }
        Ok(usage)
    }

    /// Since then.
    pub(super) fn since(&self, begin: Self) -> Rate {
        let seconds = (self.at - begin.at).as_secs_f64();
        // A thread that ended takes its time with it.
        let cpu_ns = self.cpu_ns.saturating_sub(begin.cpu_ns);
        Rate {
            cpu_percent: cpu_ns as f64 / 1e7 / seconds,
            wakeups_per_second: self.wakeups.saturating_sub(begin.wakeups) as f64 / seconds,
        }
    }
}

/// What happens in a window.
pub(super) fn over(daemon: &Daemon, window: Duration) -> Result<Rate> {
    let begin = Usage::look(daemon)?;
    thread::sleep(window);
    Ok(Usage::look(daemon)?.since(begin))
}

impl Rate {
    pub(super) fn print(&self, what: &str) {
        println!("{what}: {:.3} % of a CPU, {:.1} wake-ups a second", self.cpu_percent, self.wakeups_per_second);
    }
}

/// Prints the memory. Returns what is resident, in MB.
pub(super) fn memory(daemon: &Daemon) -> f64 {
    let file = directory(daemon).join("status");
    let mb = |field| status(&file, field).unwrap_or(0) as f64 * 1024.0 / 1e6;
    let resident = mb("VmRSS");
    println!(
        "memory: {resident:.1} MB resident, of it {:.1} anonymous, {:.1} files (program text, mapped maps); {} threads",
        mb("RssAnon"),
        mb("RssFile"),
        status(&file, "Threads").unwrap_or(0)
    );
    resident
}

fn directory(daemon: &Daemon) -> PathBuf {
    Path::new("/proc").join(daemon.running.pid().to_string())
}

/// One scrape.
pub(super) struct Scrape {
    pub(super) milliseconds: f64,
    /// Of all that the daemon did meanwhile.
    pub(super) cpu_milliseconds: f64,
    pub(super) series: usize,
    pub(super) bytes: usize,
}

pub(super) fn scrape(daemon: &Daemon) -> Result<Scrape> {
    let before = Usage::look(daemon)?;
    let begin = Instant::now();
    let text = process::get(&daemon.address, "/metrics")?;
    let took = begin.elapsed();
    // The answer may be complete before the daemon has tidied up behind it.
    thread::sleep(Duration::from_millis(5));
    Ok(Scrape {
        milliseconds: took.as_secs_f64() * 1e3,
        cpu_milliseconds: Usage::look(daemon)?.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e6,
        series: text.lines().filter(|line| !line.starts_with('#')).count(),
        bytes: text.len(),
    })
}
