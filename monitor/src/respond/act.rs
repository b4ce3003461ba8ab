//! The acts themselves.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Guard, Outcome, Refusal, Target};

/// A kernel thread (`PF_KTHREAD` of `include/linux/sched.h`).
const PF_KTHREAD: u64 = 0x0020_0000;
/// Where control groups are.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";

/// What is wanted of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: u32,
    pub(super) kernel_thread: bool,
    pub(super) start_ticks: u64,
}

impl Stat {
    pub(super) fn read(pid: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may contain anything: it ends at the last one. proc(5) counts from 1, the state is 3.
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(&text[close + 1..]).ok()?.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(4)?).ok()?,
            kernel_thread: number(9)? & PF_KTHREAD != 0,
            start_ticks: number(22)?,
        })
    }
}

/// The control groups of a process: hierarchy (`0`, or its controllers) and path.
pub(super) fn cgroups(pid: u32) -> io::Result<Vec<(String, String)>> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let cgroup = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let hierarchy = if controllers.is_empty() { number } else { controllers };
        Some((hierarchy.to_owned(), path.to_owned()))
    };
    Ok(text.lines().filter_map(cgroup).collect())
}

/// A process that is held: its number cannot be taken for another's any more.
#[derive(Debug)]
pub(super) struct Held {
    descriptor: OwnedFd,
    target: Target,
    cgroups: Vec<(String, String)>,
}

/// Holds the target, if it is still there and nothing is to be done to it never.
pub(super) fn hold(target: &Target, guard: &Guard) -> Result<Held, Outcome> {
    let gone = || Outcome::Refused(Refusal::Gone);
    let pid = i32::try_from(target.pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    // First the descriptor, then the comparison: what is compared is what the descriptor holds, or somebody who came after
    // it ended, and then the times differ.
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Err(gone()),
        Err(error) => return Err(Outcome::Failed(format!("pidfd_open: {error}"))),
    };
    let stat = Stat::read(target.pid).filter(|stat| stat.start_ticks == target.start_ticks).ok_or_else(gone)?;
    if stat.kernel_thread {
        return Err(Outcome::Refused(Refusal::KernelThread));
    }
    let cgroups = cgroups(target.pid).map_err(|_| gone())?;
    if guard.shares(&cgroups) {
        return Err(Outcome::Refused(Refusal::OwnCgroup));
    }
    Ok(Held { descriptor, target: target.clone(), cgroups })
}

impl Held {
    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> Outcome {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) => Outcome::Done,
            Err(rustix::io::Errno::SRCH) => Outcome::Refused(Refusal::Gone),
            Err(error) => Outcome::Failed(format!("pidfd_send_signal: {error}; CAP_KILL is needed")),
        }
    }

    /// Where its control group is frozen and how, if it may be.
    fn freezer(&self, guard: &Guard) -> Result<(PathBuf, &'static str), Outcome> {
        let of = |hierarchy: &str| self.cgroups.iter().find(|(of, _)| of.split(',').any(|of| of == hierarchy));
        let choices = [
            (of("0"), "", "cgroup.freeze", "1"),
            // With both versions mounted the unified one is beside.
            (of("0"), "unified", "cgroup.freeze", "1"),
            (of("freezer"), "freezer", "freezer.state", "FROZEN"),
        ];
        let mut refused = None;
        for (cgroup, mount, file, word) in choices {
            let Some((hierarchy, path)) = cgroup else { continue };
            if path == "/" {
                refused = Some(Refusal::RootCgroup);
                continue;
            }
            if guard.is_below(hierarchy, path) {
                return Err(Outcome::Refused(Refusal::OwnCgroup));
            }
            let place = Path::new(CGROUPS).join(mount).join(path.trim_start_matches('/')).join(file);
            if place.exists() {
                return Ok((place, word));
            }
        }
        Err(refused.map_or_else(|| Outcome::Failed("this kernel has no freezer".to_owned()), Outcome::Refused))
    }

    /// What would keep [`Self::freeze`] from doing it.
    pub(super) fn may_freeze(&self, guard: &Guard) -> Option<Outcome> {
        self.freezer(guard).err()
    }

    /// Freezes its control group.
    pub(super) fn freeze(&self, guard: &Guard) -> Outcome {
        let (place, word) = match self.freezer(guard) {
            Ok(freezer) => freezer,
            Err(outcome) => return outcome,
        };
        // It may have moved since it was held, or ended: another's group must not be frozen for it.
        let still = cgroups(self.target.pid).is_ok_and(|now| now == self.cgroups)
            && Stat::read(self.target.pid).is_some_and(|stat| stat.start_ticks == self.target.start_ticks);
        if !still {
            return Outcome::Refused(Refusal::Gone);
        }
        match fs::write(&place, word) {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(format!("{}: {error}", place.display())),
        }
    }
}
