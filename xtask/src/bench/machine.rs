//! Where it was measured, and who else was at work there.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{project::Project, toolchain::output};

/// Above this load others take a part of the time that cannot be told from the daemon's.
const QUIET: f64 = 1.5;

/// The machine, and the CPU that the workloads run on.
pub(super) struct Machine {
    pub(super) model: String,
    pub(super) kernel: String,
    pub(super) cpus: usize,
    pub(super) cpu: usize,
    pub(super) load: f64,
    pub(super) revision: String,
}

impl Machine {
    pub(super) fn look(project: &Project) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        let cpuinfo = read("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        let cpus = thread::available_parallelism().context("count the CPUs")?.get();
        let place = project.root.to_string_lossy();
        let git = |arguments: &[&str]| output(Path::new("git"), &[&["-C", &place], arguments].concat());
        let commit =
            git(&["rev-parse", "--short=12", "HEAD"]).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned());
        let changed = git(&["status", "--porcelain"]).is_ok_and(|text| !text.trim().is_empty());
        Ok(Self {
            model: model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.trim().to_owned()),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpus,
            // The first CPU gets most interrupts.
            cpu: cpus - 1,
            load: load(),
            revision: if changed { format!("{commit} with changes") } else { commit },
        })
    }

    /// Waits for others to finish, for as long as `most`; goes on with a warning.
    pub(super) fn wait_until_quiet(&self, most: Duration) {
        let begin = Instant::now();
        if load() >= QUIET {
            println!("==> waits until the load ({:.2}) is below {QUIET}, at most {} s", load(), most.as_secs());
        }
        while load() >= QUIET && begin.elapsed() < most {
            thread::sleep(Duration::from_secs(1));
        }
        if load() >= QUIET {
            println!("warning: the load is {:.2}: others are at work, and the spread will be wide", load());
        }
    }

    pub(super) fn header(&self) -> String {
        let Self { model, kernel, cpus, cpu, revision, .. } = self;
        format!(
            "==> bench of {revision}: {model}, {cpus} CPUs, Linux {kernel}, load {:.2}; workloads on CPU {cpu}",
            load()
        )
    }
}

/// The average number of running tasks over the last minute.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// How many processes but `ours` have a program attached to a tracepoint: it would be measured as part of the bare
/// machine.
pub(super) fn others(ours: Option<u32>) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| Some(*pid) != ours && has_link(*pid)).count()
}

/// Holds it a link to a tracepoint? A process may end while it is looked at: then it does not.
fn has_link(pid: u32) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return false };
    let is_link = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| {
            line.strip_prefix("link_type:").is_some_and(|kind| matches!(kind.trim(), "raw_tracepoint" | "tracing"))
        })
    };
    descriptors.flatten().any(|descriptor| is_link(&descriptor.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_observes_nothing() {
        assert!(!has_link(std::process::id()));
        assert!(load() >= 0.0);
    }
}
