//! Rules that people have already: the files as they are, each rule provoked that can be on a host like this.

use std::{collections::BTreeSet, path::PathBuf};

use monitor_tests::Daemon;

use super::scene::{Sweep, act, text, turn, with_prelude};

/// Rules of a file or directory, and what provokes each.
pub(super) struct Foreign {
    /// Below `tests/rules/`.
    pub(super) rules: &'static str,
    /// Entries `rule: …`, `line: …`.
    pub(super) lines: &'static str,
    /// Those that cannot be provoked, and why.
    pub(super) impossible: &'static [(&'static str, &'static str)],
}

impl Foreign {
    /// The file or directory.
    pub(super) fn place(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules").join(self.rules)
    }

    fn entries(&self) -> Vec<(&'static str, &'static str)> {
        let entries = self.lines.split("\n\n").filter_map(|entry| entry.find("rule: ").and_then(|at| entry.get(at..)));
        let entry = |entry: &'static str| {
            let entry = entry.trim().strip_prefix("rule: ").and_then(|rest| rest.split_once("\nline: "));
            entry.unwrap_or_else(|| panic!("no rule and line"))
        };
        entries.map(entry).collect()
    }

    /// Every one of these is provoked, or there is a reason why it cannot be.
    pub(super) fn covers(&self, names: &BTreeSet<String>) {
        let entries = self.entries();
        let told = entries.iter().map(|(name, _)| *name).chain(self.impossible.iter().map(|(name, _)| *name));
        let told: BTreeSet<String> = told.map(str::to_owned).collect();
        assert_eq!(told.len(), entries.len() + self.impossible.len(), "a rule is there twice");
        assert_eq!(*names, told);
    }

    /// Loads them behind the default rules, and provokes each.
    pub(super) fn provoke(&self) {
        let (_turn, _sweep) = (turn(), Sweep::new());
        let files = self.place().display().to_string();
        // Some of Falco's rules want every file that is read: no control group may be throttled for that here.
        let config =
            format!("[metrics]\ngroups = 2000\n[activity]\nbulk_rate = 100000\n[rules]\nfiles = [{files:?}]\n");
        let daemon = Daemon::start(&config);
        let mut failed = Vec::new();
        for (name, line) in self.entries() {
            let scene = act(&daemon, &with_prelude(&daemon, line));
            if scene.code != Some(0) {
                failed.push(format!("{name}: the line ended with {:?}: {}", scene.code, scene.complaints));
                continue;
            }
            if let Err(instead) = scene.wait(&daemon, |alert| text(alert, "rule") == name) {
                failed.push(format!("{name}: {instead}"));
            }
        }
        assert!(failed.is_empty(), "{} rule(s) did not fire:\n{}", failed.len(), failed.join("\n"));
    }
}
