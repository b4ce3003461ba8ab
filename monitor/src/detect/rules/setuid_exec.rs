//! A program that runs with more rights than whoever started it.

use super::{Check, Input, Match, Rule};
use crate::detect::paths::is_system;
use crate::events::{Severity, text::lossy};
use crate::signals::exec::Exec;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const WORLD_WRITABLE: u32 = 0o002;

pub(super) static RULE: Rule = Rule {
    id: "setuid_exec",
    title: "A program gained privileges when it was executed",
    description: "The kernel says that the exec gained privileges, and the file's set-user-id or set-group-id bit gave \
                  the process another effective user or group. High when the file lies outside /usr/bin, /usr/sbin, \
                  /usr/lib*, /bin, /sbin, /lib* and /snap or everybody may write to it; there medium when root does \
                  not own it, and else low: sudo, su, mount. Capabilities of a file (setcap) count too, but only for \
                  files that root does not own or that lie outside those directories.",
    severity: Severity::High,
    attack: &["T1548.001"],
    false_positives: "sudo, su, mount and their kind (low). Set-user-id programs of third parties below /opt or \
                      /usr/local: except them by their path.",
    check: Check::Exec(check),
};

fn check(input: &Input<'_>) -> Option<Match> {
    let exec = input.exec;
    if !exec.gained {
        return None;
    }
    let how = how(exec)?;
    let severity = severity(exec);
    if how == "capabilities" && severity == Severity::Low {
        return None;
    }
    let found = Match::new(&exec.exe)
        .with("how", how)
        .with("path", lossy(&exec.exe))
        .with("mode", format!("{:04o}", exec.file.mode & 0o7777))
        .with("owner", exec.file.owner)
        .with("uid", exec.uid)
        .with("euid", exec.euid)
        .with("gid", exec.gid)
        .with("egid", exec.egid);
    Some(found.severity(severity))
}

fn how(exec: &Exec) -> Option<&'static str> {
    let (suid, sgid) = (exec.file.mode & S_ISUID != 0, exec.file.mode & S_ISGID != 0);
    if suid && exec.euid != exec.uid {
        Some("set-user-id")
    } else if sgid && exec.egid != exec.gid {
        Some("set-group-id")
    } else {
        // The kernel reports a gain for these bits also when they change nothing; and root regains what it had dropped.
        (!suid && !sgid && exec.uid != 0).then_some("capabilities")
    }
}

fn severity(exec: &Exec) -> Severity {
    if !is_system(&exec.exe) || exec.file.mode & WORLD_WRITABLE != 0 || exec.file.links == 0 {
        Severity::High
    } else if exec.file.owner != 0 {
        Severity::Medium
    } else {
        Severity::Low
    }
}
