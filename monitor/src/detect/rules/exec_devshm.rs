//! A program in shared memory.

use super::{Check, Input, Match, Rule};
use crate::detect::paths::{below, judged};
use crate::events::Severity;

/// Nothing that is installed lives here.
const MEMORY: &[&[u8]] = &[b"/dev/", b"/run/shm/", b"/run/lock/", b"/var/lock/", b"/run/user/"];
/// Belongs to one user, and some desktop programs unpack themselves there.
const OWN: &[&[u8]] = &[b"/run/user/"];

pub(super) static RULE: Rule = Rule {
    id: "exec_devshm",
    title: "A program was executed from shared memory",
    description: "The program, or the script that it interprets, lies below /dev (which includes /dev/shm), /run/shm, \
                  /run/lock or /run/user (medium): in memory, writable for everybody or at least for its user, and \
                  gone after a restart. Nothing is installed there.",
    severity: Severity::High,
    attack: &["T1059"],
    false_positives: "AppImages and similar desktop programs below /run/user.",
    check: Check::Exec(check),
};

fn check(input: &Input<'_>) -> Option<Match> {
    let judged = judged(input.exec);
    let found = below(&judged.path, MEMORY).then(|| Match::judged(&judged))?;
    Some(if below(&judged.path, OWN) { found.severity(Severity::Medium) } else { found })
}
