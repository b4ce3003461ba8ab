//! A program that does not want to be seen.

use super::{Check, Input, Match, Rule};
use crate::detect::paths::{Judged, WORLD_WRITABLE, basename, below, judged};
use crate::events::Severity;

pub(super) static RULE: Rule = Rule {
    id: "exec_hidden",
    title: "A hidden file was executed",
    description: "The name of the program, or of the script that it interprets, begins with a dot or consists of blanks; \
                  or it lies in such a directory below one that everybody may write to; or so deep that its path \
                  cannot be told (more than 40 directories or 1024 bytes). Hidden directories elsewhere, such as \
                  ~/.local/bin, are ordinary. `why` says which: name, directory or depth.",
    severity: Severity::Medium,
    attack: &["T1564.001"],
    false_positives: "Wrappers of some package managers (`.foo-wrapped` of Nix), git hooks' helpers.",
    check: Check::Exec(check),
};

fn check(input: &Input<'_>) -> Option<Match> {
    let judged = judged(input.exec);
    why(&judged).map(|why| Match::judged(&judged).with("why", why))
}

fn why(judged: &Judged<'_>) -> Option<&'static str> {
    let path = &*judged.path;
    if path.starts_with(b"memfd:") {
        return None;
    }
    if hides(basename(path)) {
        return Some("name");
    }
    if below(path, WORLD_WRITABLE) && path.split(|byte| *byte == b'/').skip(1).any(hides) {
        return Some("directory");
    }
    judged.cut.then_some("depth")
}

fn hides(name: &[u8]) -> bool {
    let blank = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control());
    !name.is_empty() && (name.starts_with(b".") || blank(name))
}
