//! A program without a name on disk.

use super::exec_memfd::is_memory;
use super::{Check, Input, Match, Rule};
use crate::events::{Severity, text::lossy};

/// `statfs` magic of FUSE.
const FUSE: u64 = 0x6573_5546;

pub(super) static RULE: Rule = Rule {
    id: "exec_deleted",
    title: "A deleted file was executed",
    description: "The program's file had no link left when it was executed (and is no memfd): its path leads nowhere, \
                  so that nobody can look at it afterwards. Medium on FUSE, where some file systems report no links at \
                  all.",
    severity: Severity::High,
    attack: &["T1070.004"],
    false_positives: "A daemon that executes itself anew after its package was upgraded.",
    check: Check::Exec(check),
};

fn check(input: &Input<'_>) -> Option<Match> {
    let exec = input.exec;
    if exec.file.links != 0 || is_memory(exec) {
        return None;
    }
    let found = Match::new(&exec.exe)
        .with("path", lossy(&exec.exe))
        .with("inode", exec.file.inode)
        .with("device", exec.file.device)
        .with("filename", lossy(&exec.filename));
    Some(if exec.file.magic == FUSE { found.severity(Severity::Medium) } else { found })
}
