//! Says in words what the engine makes of a rule.

use std::fmt::Write;

use monitor_common::signals::activity::Act;

use super::engine::Engine;
use super::files::Files;
use super::needs::Needs;
use super::tree::Tree;

impl Engine {
    /// What becomes of the rule with this name: which events are tested, in which order, and what it makes the kernel
    /// tell. None: there is no such rule, or it has a mistake.
    pub fn explain(&self, name: &str) -> Option<String> {
        let number = self.rules.list.iter().position(|rule| rule.ast.name == name)?;
        let rule = &self.rules.list[number];
        let mut text = format!("{name}\n  condition: {}\n", rule.ast.condition);
        // Writing to a String does not fail.
        for (names, jobs) in self.rules.kinds() {
            for job in jobs.iter().filter(|job| job.rule == number) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let shown = if names.is_empty() { "any other event".to_owned() } else { names.join(", ") };
                let step = job.step.map_or(String::new(), |step| format!(" (step {})", step + 1));
                let tree = job.step.map_or(Some(&rule.tree), |step| rule.steps.get(step));
                let mut left = self.rules.fold(tree?, &names);
                left.sort(&self.rules.checks.list);
                let _ = writeln!(text, "  of {shown}{step}: {}", self.written(&left));
            }
        }
        let unknown = self.unknown(number);
        if !unknown.is_empty() {
            let _ = writeln!(text, "  always missing on this host: {}", unknown.join(", "));
        }
        let needs = Needs::of_rule(&self.rules, number);
        let kinds = Act::ALL.iter().filter(|act| needs.kinds & act.bit() != 0).map(|act| act.name());
        let kinds: Vec<&str> = kinds.collect();
        let _ = writeln!(
            text,
            "  the kernel tells: {}",
            if kinds.is_empty() { "nothing more".to_owned() } else { kinds.join(", ") }
        );
        for (what, files) in
            [("read", &needs.read), ("written", &needs.write), ("made", &needs.created), ("changed", &needs.changed)]
        {
            if !files.is_empty() {
                let _ = writeln!(text, "  files that are {what}: {}", listed(files));
            }
        }
        Some(text)
    }

    /// Fields of the rule that nothing here tells.
    fn unknown(&self, number: usize) -> Vec<&str> {
        let mut found = Vec::new();
        let mut note = |at: usize| {
            let slot = self.rules.checks.list.get(at).and_then(|check| self.rules.slots.list.get(check.slot));
            if let Some(slot) = slot.filter(|slot| slot.definition.unknown)
                && !found.contains(&slot.text.as_str())
            {
                found.push(slot.text.as_str());
            }
        };
        if let Some(rule) = self.rules.list.get(number) {
            rule.tree.each(&mut note);
            rule.steps.iter().for_each(|step| step.each(&mut note));
        }
        found
    }

    pub(super) fn written(&self, tree: &Tree) -> String {
        let joined = |parts: &[Tree], word: &str| {
            let parts: Vec<String> = parts.iter().map(|part| self.written(part)).collect();
            format!("({})", parts.join(word))
        };
        match tree {
            Tree::Known(bool) => if *bool { "always" } else { "never" }.to_owned(),
            Tree::Not(part) => format!("not {}", self.written(part)),
            Tree::All(parts) => joined(parts, " and "),
            Tree::Any(parts) => joined(parts, " or "),
            Tree::Check(at) => {
                let Some(check) = self.rules.checks.list.get(*at) else { return String::new() };
                let field = self.rules.slots.list.get(check.slot).map_or("", |slot| slot.text.as_str());
                let symbol = super::checks::symbol(check.operator);
                match check.operands.as_slice() {
                    [] => format!("{field} {symbol}"),
                    [one] => format!("{field} {symbol} {one}"),
                    [first, ..] => format!("{field} {symbol} ({first}, … {} values)", check.operands.len()),
                }
            }
        }
    }
}

fn listed(files: &Files) -> String {
    if files.all {
        return "all".to_owned();
    }
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let names = files.names.iter().map(|name| format!("any {}", text(name)));
    let below = files.directories.iter().map(|directory| format!("all below {}", text(directory)));
    files.paths.iter().map(text).chain(below).chain(names).collect::<Vec<_>>().join(", ")
}
