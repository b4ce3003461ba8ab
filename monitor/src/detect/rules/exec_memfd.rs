//! A program that was never on a disk.

use super::{Check, Input, Match, Rule};
use crate::detect::paths::{basename, is_descriptor};
use crate::events::{Severity, text::lossy};
use crate::signals::exec::Exec;

/// `statfs` magic of tmpfs, which memfds and shared memory live on.
const TMPFS: u64 = 0x0102_1994;

/// The copies of themselves that container runtimes execute, against CVE-2019-5736.
const RUNTIME_COPIES: &[&[u8]] = &[b"memfd:runc_cloned:/proc/self/exe", b"memfd:crun_cloned:/proc/self/exe"];
/// Who starts them.
const RUNTIMES: &[&[u8]] = &[
    b"runc",
    b"crun",
    b"memfd:runc_cloned:/proc/self/exe",
    b"memfd:crun_cloned:/proc/self/exe",
    b"containerd-shim",
    b"containerd-shim-runc-v1",
    b"containerd-shim-runc-v2",
    b"containerd",
    b"dockerd",
    b"buildkitd",
    b"podman",
    b"conmon",
    b"crio",
];

pub(super) static RULE: Rule = Rule {
    id: "exec_memfd",
    title: "A program was executed from memory",
    description: "The program's file is a memfd or other nameless memory: it never was on a disk. The copy of itself \
                  that runc and crun execute is low when a container runtime started it, and high otherwise, because \
                  anybody can take that name. A script that was handed over as an open file (/dev/fd/N) is medium: \
                  the rule cannot see what is behind the descriptor.",
    severity: Severity::Critical,
    attack: &["T1620"],
    false_positives: "Container runtimes (low); programs that execute a script with fexecve (medium).",
    check: Check::Exec(check),
};

fn check(input: &Input<'_>) -> Option<Match> {
    let exec = input.exec;
    if is_memory(exec) {
        let found = Match::new(&exec.exe)
            .with("path", lossy(&exec.exe))
            .with("inode", exec.file.inode)
            .with("filename", lossy(&exec.filename));
        return Some(runtime(input, found));
    }
    if exec.script && is_descriptor(&exec.filename) {
        let found = Match::new(&exec.exe).detail(exec.filename.clone());
        return Some(found.with("script_descriptor", lossy(&exec.filename)).severity(Severity::Medium));
    }
    None
}

/// A memfd, or other shared memory (such as `/SYSV…`), which shows as a lone name on a tmpfs.
pub(super) fn is_memory(exec: &Exec) -> bool {
    let lone = || exec.file.magic == TMPFS && !exec.exe.iter().skip(1).any(|byte| *byte == b'/');
    exec.file.links == 0 && (exec.exe.starts_with(b"memfd:") || lone())
}

fn runtime(input: &Input<'_>, found: Match) -> Match {
    if !RUNTIME_COPIES.contains(&input.exec.exe.as_slice()) {
        return found;
    }
    let parent = input.context.ancestors().into_iter().next().unwrap_or_default().exe;
    let known = RUNTIMES.contains(&parent.as_slice()) || RUNTIMES.contains(&basename(&parent));
    let severity = if known { Severity::Low } else { Severity::High };
    found.with("looks_like", "container runtime").with("parent", lossy(&parent)).severity(severity)
}
