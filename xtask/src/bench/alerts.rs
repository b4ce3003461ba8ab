//! How long an alert takes, from the act to whoever reads the stream of events: on a machine that does nothing else, and
//! on one that builds programs on all CPUs. The daemon is as it comes, with the default rules.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    budget::Figures,
    machine::{self, Machine},
    process::{self, Worker},
    statistics::percentile,
    subject::Places,
};

/// Alerts with each load.
const ALERTS: usize = 200;

/// A directory in shared memory, where no program should be.
struct Shared(PathBuf);

impl Shared {
    fn new(name: &str) -> Result<Self> {
        let path = PathBuf::from(format!("/dev/shm/monitor-bench-{}-{name}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // It may be gone already; there is nothing else to be done about it here.
        drop(fs::remove_dir_all(&self.0));
    }
}

pub(super) fn measure(places: &Places, machine: &Machine) -> Result<Figures> {
    let daemon = process::daemon(places.against.as_deref().unwrap_or(&places.daemon), &places.scratch, &[])?;
    process::settled(&daemon)?;
    let [median, high] = alerts(&places.loader, &daemon.address, "quiet")?;
    let mut figures = Figures::from([("alerts.quiet_median_ms", median), ("alerts.quiet_p99_ms", high)]);
    let over = AtomicBool::new(false);
    let [median, high] = thread::scope(|scope| {
        let builds: Vec<_> = (0..machine.cpus)
            .map(|cpu| {
                let over = &over;
                scope.spawn(move || build(places, machine.cpu, cpu, over))
            })
            .collect();
        let result = alerts(&places.loader, &daemon.address, "build");
        over.store(true, Ordering::Relaxed);
        for build in builds {
            build.join().map_err(|_| anyhow::anyhow!("a build panicked"))??;
        }
        result
    })?;
    println!("load {:.2} at the end", machine::load());
    daemon.running.stop()?;
    figures.extend([("alerts.build_median_ms", median), ("alerts.build_p99_ms", high)]);
    Ok(figures)
}

/// Builds again and again.
fn build(places: &Places, cpu: usize, number: usize, over: &AtomicBool) -> Result<()> {
    let scratch = places.scratch.join(format!("build{number}"));
    fs::create_dir(&scratch)?;
    let mut worker = Worker::start(&places.loader, cpu, &scratch)?;
    while !over.load(Ordering::Relaxed) {
        worker.run("build")?;
    }
    Ok(())
}

/// Median and 99th percentile, in milliseconds.
fn alerts(program: &Path, address: &str, load: &str) -> Result<[f64; 2]> {
    let directory = Shared::new(load)?;
    let mut command = Command::new(program);
    command.args(["alerts", address]).arg(&directory.0).arg(ALERTS.to_string());
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("start monitor-bench")?;
    ensure!(output.status.success(), "monitor-bench alerts: {}", output.status);
    let times = parse(&String::from_utf8_lossy(&output.stdout))?;
    ensure!(times.len() == ALERTS, "{} alerts instead of {ALERTS}", times.len());
    let at = |percent| percentile(times.iter().copied(), percent).context("no alerts");
    let (median, high, highest) = (at(50.0)?, at(99.0)?, at(100.0)?);
    println!(
        "{load}: {ALERTS} alerts, from the exec to the stream: p50 {median:.2} ms, p99 {high:.2} ms, highest {highest:.2} ms"
    );
    Ok([median, high])
}

/// Nanoseconds, one number a line, as milliseconds.
fn parse(text: &str) -> Result<Vec<f64>> {
    let number = |line: &str| line.parse::<u64>().map(|ns| ns as f64 / 1e6).with_context(|| format!("{line:?}"));
    text.lines().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_nothing_else() {
        assert_eq!(parse("1500000\n250000\n").unwrap(), [1.5, 0.25]);
        assert!(parse("1500000\nready\n").is_err());
    }
}
