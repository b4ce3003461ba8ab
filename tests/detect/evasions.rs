//! Ways past rules that are written less carefully (`data/evasions.txt`): each is done, and told of.

use super::scene::{Sweep, act, at_least, daemon, is_of, text, turn, with_prelude};

const EVASIONS: &str = include_str!("data/evasions.txt");

/// What an entry says.
struct Evasion {
    name: &'static str,
    line: &'static str,
    rule: &'static str,
    least: &'static str,
}

fn evasions() -> Vec<Evasion> {
    let entries = EVASIONS.split("\n\n").filter(|entry| !entry.trim_start().starts_with('#'));
    let entry = |entry: &'static str| {
        let entry = entry.trim();
        // A line of shell may have several lines of text.
        let parts = entry.strip_prefix("evasion: ").and_then(|rest| rest.split_once("\nline: "));
        let (name, rest) = parts.unwrap_or_else(|| panic!("no evasion and line: {entry}"));
        let (line, told) = rest.rsplit_once("\ntold: ").unwrap_or_else(|| panic!("nothing told: {entry}"));
        let (rule, least) = told.split_once(' ').unwrap_or_else(|| panic!("rule and severity: {told}"));
        Evasion { name, line, rule, least }
    };
    entries.map(entry).collect()
}

#[test]
fn every_evasion_is_told() {
    let (_turn, _sweep, daemon) = (turn(), Sweep::new(), daemon());
    let mut failed = Vec::new();
    for Evasion { name, line, rule, least } in evasions() {
        let scene = act(&daemon, &with_prelude(&daemon, line));
        if scene.code != Some(0) {
            failed.push(format!("{name}: the line ended with {:?}: {}", scene.code, scene.complaints));
            continue;
        }
        let told = scene.wait(&daemon, |alert| is_of(alert, rule) && at_least(text(alert, "severity"), least));
        if let Err(instead) = told {
            failed.push(format!("{name}: {rule} {least} expected, {instead}"));
        }
    }
    assert!(failed.is_empty(), "{} evasion(s) worked:\n{}", failed.len(), failed.join("\n"));
}
