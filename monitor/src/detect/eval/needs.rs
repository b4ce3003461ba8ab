//! What rules need to be told, so that the kernel tells no more: kinds of activity, whether calls that failed count, and
//! which files.
//!
//! Sound: whatever is left out here no rule can match. How an open is told apart is the kernel programs' way: one that
//! made its file, one for writing, one for reading; one that failed counts as for writing when it asked for that or to
//! make the file.

use std::{cell::Cell, collections::BTreeSet};

use monitor_common::signals::activity::{Act, Class};

use super::checks::Check;
use super::files::{Files, PATHS};
use super::matcher::Matcher;
use super::rules::Rules;
use super::slots::Slot;
use super::tree::Tree;
use super::{calls, value::Value, value::Values};

/// What rules need to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Kinds of activity, one bit each.
    pub kinds: u64,
    /// Of these, those of which calls that failed are needed.
    pub failed: u64,
    /// Of kinds that change files, those that are needed wherever the file is. Of the others [`Self::changed`] tells the
    /// files.
    pub everywhere: u64,
    /// Files whose opening for reading is needed.
    pub read: Files,
    /// … for writing.
    pub write: Files,
    /// … that makes them.
    pub created: Files,
    /// Files whose change is needed.
    pub changed: Files,
    /// Paths that rules compare with: the files there are protected by whatever name they are used.
    pub protected: BTreeSet<Vec<u8>>,
}

/// What is assumed of an event.
#[derive(Clone, Copy)]
struct Case {
    failed: bool,
    act: Act,
    read: bool,
    write: bool,
    created: bool,
}

impl Needs {
    /// Of all rules.
    pub(super) fn of(rules: &Rules) -> Self {
        Self::collect(rules, None)
    }

    /// Of one rule.
    pub(in crate::detect) fn of_rule(rules: &Rules, number: usize) -> Self {
        Self::collect(rules, Some(number))
    }

    fn collect(rules: &Rules, only: Option<usize>) -> Self {
        let mut needs = Self::default();
        let named: BTreeSet<&str> = rules.kinds().flat_map(|(names, _)| names).map(String::as_str).collect();
        for (names, jobs) in rules.kinds() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let calls: Vec<&str> = match names.is_empty() {
                true => calls::all().filter(|name| !named.contains(name)).collect(),
                false => names.clone(),
            };
            let acts = calls.iter().fold(0, |bits, name| bits | calls::acts(name));
            for job in jobs.iter().filter(|job| only.is_none_or(|only| job.rule == only)) {
                let Some(rule) = rules.list.get(job.rule) else { continue };
                let tree = job.step.map_or(Some(&rule.tree), |step| rule.steps.get(step));
                if let Some(tree) = tree {
                    let tree = rules.fold(tree, &names);
                    needs.kinds |= behind(&tree, rules);
                    Act::ALL.iter().filter(|act| acts & act.bit() != 0).for_each(|act| needs.act(*act, &tree, rules));
                }
            }
        }
        for check in &rules.checks.list {
            let slot = &rules.slots.list[check.slot];
            let exact = matches!(check.matcher, Matcher::Text(_) | Matcher::Texts(_));
            if exact && (PATHS.iter().any(|name| slot.is(name))) {
                let paths = check.operands.iter().filter(|path| path.starts_with('/'));
                needs.protected.extend(paths.map(|path| path.clone().into_bytes()));
            }
        }
        needs
    }

    fn act(&mut self, act: Act, tree: &Tree, rules: &Rules) {
        let case = Case { failed: false, act, read: false, write: false, created: false };
        if act == Act::FileOpen {
            for failed in [false, true] {
                for (read, write) in [(true, false), (false, true), (true, true)] {
                    for created in [false, true].into_iter().take(if failed { 1 } else { 2 }) {
                        self.open(Case { failed, read, write, created, ..case }, tree, rules);
                    }
                }
            }
            return;
        }
        for failed in [false, true] {
            let left = assume(tree, Case { failed, ..case }, rules);
            if left == Tree::Known(false) {
                continue;
            }
            self.kinds |= act.bit();
            if failed {
                self.failed |= act.bit();
            }
            if act.class() != Class::FileChange || self.everywhere & act.bit() != 0 {
                continue;
            }
            // The kernel programs know the file of a name by its last component; what lies in a directory they cannot
            // tell of a name from the root.
            let files = Files::of(&left, true, &rules.checks, &rules.slots);
            if files.all || !files.directories.is_empty() {
                self.everywhere |= act.bit();
            } else {
                self.changed.add(files);
            }
        }
    }

    fn open(&mut self, case: Case, tree: &Tree, rules: &Rules) {
        let left = assume(tree, case, rules);
        if left == Tree::Known(false) {
            return;
        }
        let files = Files::of(&left, true, &rules.checks, &rules.slots);
        if files.is_empty() {
            return;
        }
        self.kinds |= Act::FileOpen.bit();
        if case.failed {
            self.failed |= Act::FileOpen.bit();
        }
        match case {
            Case { created: true, .. } => self.created.add(files),
            Case { write: true, .. } => self.write.add(files),
            // It may have asked to make the file.
            Case { failed: true, .. } => {
                self.write.add(files.clone());
                self.read.add(files);
            }
            _ => self.read.add(files),
        }
    }

    /// Whether an open of this file is told.
    pub fn tells_open(&self, path: &[u8], write: bool, created: bool, failed: bool) -> bool {
        let bit = Act::FileOpen.bit();
        let files = match (created, write) {
            (true, _) => &self.created,
            (false, true) => &self.write,
            (false, false) => &self.read,
        };
        self.kinds & bit != 0 && (!failed || self.failed & bit != 0) && files.covers(path)
    }
}

/// Kinds without which what is known of a process is not: its connections are remembered from these.
fn behind(tree: &Tree, rules: &Rules) -> u64 {
    let kinds = Cell::new(0);
    tree.fold(&|at| {
        let slot = rules.checks.list.get(at).and_then(|check| rules.slots.list.get(check.slot));
        if slot.is_some_and(|slot| slot.definition.name.starts_with("proc.inet.")) {
            kinds.set(kinds.get() | Act::Connect.bit() | Act::Accept.bit());
        }
        None
    });
    kinds.get()
}

/// What is left of a condition in this case.
fn assume(tree: &Tree, case: Case, rules: &Rules) -> Tree {
    tree.fold(&|at| {
        let check = rules.checks.list.get(at)?;
        known(check, rules.slots.list.get(check.slot)?, case)
    })
}

/// The result of a comparison in this case, if it is certain.
fn known(check: &Check, slot: &Slot, case: Case) -> Option<bool> {
    if slot.upon.is_some() {
        return None;
    }
    let told = |value: Value<'_>| {
        let fits = matches!(check.matcher, Matcher::Bool(_) | Matcher::Bools(_) | Matcher::Exists);
        fits.then(|| check.matcher.fits(&value, &Values::default()) != check.negated)
    };
    let open = case.act == Act::FileOpen;
    match slot.definition.name {
        // Of nothing but opens.
        "evt.is_open_read" | "evt.is_open_write" | "evt.is_open_create" | "evt.is_open_exec" | "fd.created"
        | "fd.nameraw"
            if !open =>
        {
            Some(false)
        }
        "evt.is_open_read" => told(Value::Bool(case.read)),
        "evt.is_open_write" => told(Value::Bool(case.write)),
        "evt.is_open_create" | "fd.created" => told(Value::Bool(case.created)),
        "evt.is_open_exec" if !case.created => told(Value::Bool(false)),
        "evt.failed" => told(Value::Bool(case.failed)),
        "evt.rawres" if case.failed => range(check, i64::MIN, -1),
        "evt.rawres" => range(check, 0, i64::MAX),
        "fd.num" if open && case.failed => range(check, -1, -1),
        "fd.num" if open => range(check, 0, i64::MAX),
        "fs.path.name" | "fs.path.source" | "fs.path.target" | "fs.path.old" | "fs.path.new" | "fd.filename"
            if case.failed =>
        {
            Some(false)
        }
        "evt.res" if !case.failed => match &check.matcher {
            Matcher::Group(_) | Matcher::Same(_) | Matcher::SameOrder(..) | Matcher::SameStart(_) => None,
            matcher => Some(matcher.fits_text(b"SUCCESS") != check.negated),
        },
        "evt.res" => match &check.matcher {
            Matcher::Text(text) if **text == *b"SUCCESS" => Some(check.negated),
            _ => None,
        },
        _ => None,
    }
}

/// The result for every number in a range, if it is the same.
fn range(check: &Check, low: i64, high: i64) -> Option<bool> {
    let held = match &check.matcher {
        Matcher::Exists => Some(true),
        Matcher::Number(number) if low == high => Some(*number == low),
        Matcher::Number(number) => (!(low..=high).contains(number)).then_some(false),
        Matcher::Numbers(numbers) => (!numbers.iter().any(|number| (low..=high).contains(number))).then_some(false),
        Matcher::NumberOrder(order, number) => {
            let at = |value: i64| order.holds(&value, number);
            // An order that holds at both ends of a range holds in between.
            (at(low) == at(high)).then(|| at(low))
        }
        _ => None,
    };
    held.map(|held| held != check.negated)
}
