//! Programs of others for the same job, as Debian has them. One that cannot run here is told with its own words.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    needs::{Need, Proof, Purpose},
    setup,
};

use super::process::Running;

/// From the start to the first look at whether it observes.
const START: Duration = Duration::from_secs(20);
/// From its first open hook on: it may have more of them.
const SETTLE: Duration = Duration::from_secs(2);

/// Runs a command in a mount namespace of its own that has the two file systems where tracepoints are looked for.
const MOUNT: &str = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; \
                     mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug; exec \"$@\"";

/// For each call its number and duration by program and system call.
const SCRIPT: &str = "tracepoint:raw_syscalls:sys_enter { @start[tid] = nsecs; } \
                      tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @count[comm, args->id] = count(); \
                      @time[comm, args->id] = hist(nsecs - @start[tid]); delete(@start[tid]); }";

/// A program of others.
#[derive(Debug)]
pub(super) struct Peer {
    package: &'static str,
    /// With its arguments.
    command: &'static [&'static str],
}

pub(super) static BPFTRACE: Peer = Peer { package: "bpftrace", command: &["bpftrace", "-e", SCRIPT] };
pub(super) static SYSCOUNT: Peer = Peer { package: "libbpf-tools", command: &["syscount", "-L", "-P"] };
pub(super) static BCC: Peer = Peer { package: "bpfcc-tools", command: &["syscount-bpfcc", "-L", "-P"] };
pub(super) static PERF: Peer =
    Peer { package: "linux-perf", command: &["perf", "trace", "-s", "-a", "-o", "/dev/null"] };
pub(super) static SYSDIG: Peer = Peer { package: "sysdig", command: &["sysdig", "-c", "topscalls_time"] };

impl Peer {
    /// Installs it if it is not there.
    pub(super) fn install(&self) -> Result<()> {
        let need = Need {
            package: self.package,
            proof: Proof::Program(self.command[0]),
            why: "is compared with",
            purpose: Purpose::Build,
        };
        setup::install(&[need])
    }

    /// Starts it and waits until it observes. What it prints goes to a file in `scratch`.
    pub(super) fn start(&self, scratch: &Path) -> Result<Running> {
        let file = scratch.join("peer.log");
        let log = fs::File::create(&file).with_context(|| format!("make {}", file.display()))?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", MOUNT, "sh"]).args(self.command);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut running = Running::start(&mut command)?;
        let begin = Instant::now();
        let mut observes: Option<Instant> = None;
        while observes.is_none_or(|since| since.elapsed() < SETTLE) {
            if let Some(status) = running.ended()? {
                bail!("{} ended ({status}): {}", self.command[0], said(&file));
            }
            if observes.is_none() && has_hook(running.pid()) {
                observes = Some(Instant::now());
            }
            if observes.is_none() && begin.elapsed() > START {
                bail!("{} observes nothing after {START:?}: {}", self.command[0], said(&file));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }
}

/// The first and last lines of what it said: a cause comes first, and what it led to last.
fn said(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [first, second, _, .., last] => [*first, *second, "...", *last].join(" | "),
        few => few.join(" | "),
    }
}

/// Has it a perf event open? All of them observe by one.
fn has_hook(pid: u32) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let target = |path: &Path| fs::read_link(path).is_ok_and(|target| target.as_os_str() == "anon_inode:[perf_event]");
    descriptors.flatten().any(|descriptor| target(&descriptor.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_is_told_with_its_words() {
        let scratch = std::env::temp_dir().join(format!("monitor-xtask-peer-{}", std::process::id()));
        fs::create_dir_all(&scratch).unwrap();
        let file = scratch.join("words");
        fs::write(&file, "one\n\ntwo\nthree\n four \n").unwrap();
        assert_eq!(said(&file), "one | two | ... | four");
        fs::write(&file, "one\ntwo\nthree\n").unwrap();
        assert_eq!(said(&file), "one | two | three");
        fs::write(&file, "one\ntwo\n").unwrap();
        assert_eq!(said(&file), "one | two");
        fs::remove_dir_all(&scratch).unwrap();
        assert_eq!(said(&file), "");
        assert!(!has_hook(std::process::id()));
    }
}
