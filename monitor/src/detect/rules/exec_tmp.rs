//! A program in a temporary directory.

use super::{Check, Input, Match, Rule};
use crate::detect::paths::{below, judged};
use crate::events::Severity;

const TEMPORARY: &[&[u8]] = &[b"/tmp/", b"/var/tmp/"];

pub(super) static RULE: Rule = Rule {
    id: "exec_tmp",
    title: "A program was executed from a temporary directory",
    description: "The program, or the script that it interprets, lies below /tmp or /var/tmp, where everybody can put \
                  one. A script's path is put together from the name that was used and the working directory; symbolic \
                  links in it are not followed.",
    severity: Severity::Medium,
    attack: &["T1059"],
    false_positives: "Compilers' tests (`go test`, configure scripts), ansible modules, installers that unpack \
                      themselves. Except their directories with `except_exe`.",
    check: Check::Exec(check),
};

fn check(input: &Input<'_>) -> Option<Match> {
    let judged = judged(input.exec);
    below(&judged.path, TEMPORARY).then(|| Match::judged(&judged))
}
