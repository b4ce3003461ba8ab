//! Which rules can be judged by the kernel at an exec, and what is left of them for it: comparisons with facts that the
//! kernel program finds out by itself (`monitor_common::signals::exec_kill`), as a choice of terms.
//!
//! Exact, or not at all: whatever is not known here to be the same there keeps a rule in user space. That a value is missing
//! does not happen with these fields: the kernel program leaves alone whoever has no path or no inode.

use std::ops::RangeInclusive;

use monitor_common::signals::exec_kill::{FACTS, Number, TERMS, TEXT, Text};

use super::checks::Check;
use super::engine::Engine;
use super::matcher::{Matcher, Order};
use super::slots::Slot;
use super::tree::Tree;

/// What is right of a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// It is this.
    Is(Vec<u8>),
    /// It begins with this.
    Begins(Vec<u8>),
}

/// A comparison that the kernel program can make: it holds when one of these fits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Of a text.
    Text(Text, Vec<Pattern>),
    /// Of a number.
    Number(Number, Vec<RangeInclusive<i64>>),
}

/// Facts by their index, as bits: these hold, and none of those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// All of these …
    pub all: u64,
    /// … and none of these.
    pub none: u64,
}

/// A rule's condition, for the kernel: one of the terms holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtExec {
    /// What the terms are about.
    pub facts: Vec<Fact>,
    /// The condition.
    pub terms: Vec<Term>,
}

/// The name by which an exec is known to rules.
const EXEC: &str = "execve";

/// Most terms that are looked through for those that say the same.
const MOST: usize = 8 * TERMS;

/// What is known of a comparison: its result, or that it is a fact, or that it is none.
enum Found {
    Always(bool),
    Fact(Fact),
    Not(Fact),
}

impl Engine {
    /// What the kernel needs to judge the rule with this name; or why it cannot.
    ///
    /// # Errors
    /// The reason, to be read behind "because".
    pub fn at_exec(&self, name: &str) -> Result<AtExec, String> {
        let position = self.rules.list.iter().position(|rule| rule.ast.name == name);
        let rule = position.and_then(|number| self.rules.list.get(number)).ok_or("there is no such rule")?;
        let more = &rule.ast.more;
        let memory = [
            ("sequence", more.sequence.is_some()),
            ("count", more.count.is_some()),
            ("first_seen", more.first_seen.is_some()),
            ("dedup", more.dedup.is_some()),
        ];
        if let Some((key, _)) = memory.iter().find(|(_, there)| *there) {
            return Err(format!("it has `{key}`, and the kernel remembers nothing"));
        }
        let mut found = None;
        for (names, _) in self.rules.kinds().filter(|(_, jobs)| jobs.iter().any(|job| Some(job.rule) == position)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if !names.contains(&EXEC) {
                let other = if names.is_empty() { "any event".to_owned() } else { names.join(", ") };
                return Err(format!("it is about {other}, too, and not only about execs"));
            }
            found = Some(self.rules.fold(&rule.tree, &names));
        }
        let mut made = AtExec::default();
        made.terms = self.terms(&found.ok_or("no exec can match it")?, true, &mut made.facts)?;
        Ok(made)
    }

    /// The terms of which one holds when the condition holds, or with `wanted` false does not.
    fn terms(&self, tree: &Tree, wanted: bool, facts: &mut Vec<Fact>) -> Result<Vec<Term>, String> {
        match tree {
            Tree::Known(bool) => Ok(if *bool == wanted { vec![Term::default()] } else { Vec::new() }),
            Tree::Not(part) => self.terms(part, !wanted, facts),
            Tree::Check(at) => self.literal(*at, wanted, facts),
            Tree::All(parts) | Tree::Any(parts) => {
                let all = matches!(tree, Tree::All(_)) == wanted;
                let mut terms = if all { vec![Term::default()] } else { Vec::new() };
                for part in parts {
                    let more = self.terms(part, wanted, facts)?;
                    // Before they are multiplied, too: that takes memory.
                    let many = if all { terms.len() * more.len() > MOST } else { false };
                    if !many {
                        terms = if all { both(&terms, &more) } else { [terms, more].concat() };
                        simplify(&mut terms);
                    }
                    if many || terms.len() > TERMS {
                        return Err(format!("its condition has more than {TERMS} alternatives"));
                    }
                }
                Ok(terms)
            }
        }
    }

    fn literal(&self, at: usize, wanted: bool, facts: &mut Vec<Fact>) -> Result<Vec<Term>, String> {
        let written = || self.written(&Tree::Check(at));
        let cannot = || format!("the kernel program cannot compare {}", written());
        let check = self.rules.checks.list.get(at).ok_or_else(cannot)?;
        let slot = self.rules.slots.list.get(check.slot).ok_or_else(cannot)?;
        let (fact, wanted) = match find(check, slot).ok_or_else(cannot)? {
            Found::Always(bool) => return Ok(if bool == wanted { vec![Term::default()] } else { Vec::new() }),
            Found::Fact(fact) => (fact, wanted),
            Found::Not(fact) => (fact, !wanted),
        };
        let index = facts.iter().position(|known| *known == fact).unwrap_or(facts.len());
        if index == facts.len() {
            facts.push(fact);
        }
        if index >= FACTS {
            return Err(format!("its condition has more than {FACTS} comparisons"));
        }
        let bit = 1 << index;
        Ok(vec![if wanted { Term { all: bit, none: 0 } } else { Term { all: 0, none: bit } }])
    }
}

/// One of the left and one of the right.
fn both(left: &[Term], right: &[Term]) -> Vec<Term> {
    let join = |left: &Term, right: &Term| Term { all: left.all | right.all, none: left.none | right.none };
    let pairs = left.iter().flat_map(|left| right.iter().map(move |right| join(left, right)));
    // What both holds and does not, never does.
    pairs.filter(|term| term.all & term.none == 0).collect()
}

/// Leaves out terms that ask for more than another one.
fn simplify(terms: &mut Vec<Term>) {
    let mut kept: Vec<Term> = Vec::new();
    let implies = |term: &Term, other: &Term| term.all & other.all == other.all && term.none & other.none == other.none;
    for term in terms.drain(..) {
        if !kept.iter().any(|other| implies(&term, other)) {
            kept.retain(|other| !implies(other, &term));
            kept.push(term);
        }
    }
    *terms = kept;
}

/// What the comparison is to the kernel program; None: nothing.
fn find(check: &Check, slot: &Slot) -> Option<Found> {
    if slot.upon.is_some() || slot.joined.is_some() {
        return None;
    }
    if matches!(check.matcher, Matcher::Exists) {
        field(slot.definition.name)?;
        return Some(Found::Always(true));
    }
    // An empty list.
    if check.operands.is_empty() {
        field(slot.definition.name)?;
        return Some(Found::Always(false));
    }
    let found = match field(slot.definition.name)? {
        Field::Text(text) => fact(patterns(check)?, |patterns| Fact::Text(text, patterns)),
        Field::Number(number) => fact(ranges(check)?, |ranges| Fact::Number(number, ranges)),
        Field::Bool(fact) => bool(check, fact)?,
    };
    Some(match found {
        found if !check.negated => found,
        Found::Always(bool) => Found::Always(!bool),
        Found::Fact(fact) => Found::Not(fact),
        Found::Not(fact) => Found::Fact(fact),
    })
}

fn fact<T>(list: Vec<T>, make: impl FnOnce(Vec<T>) -> Fact) -> Found {
    if list.is_empty() { Found::Always(false) } else { Found::Fact(make(list)) }
}

/// A field that the kernel program knows.
enum Field {
    Text(Text),
    Number(Number),
    Bool(Fact),
}

fn field(name: &str) -> Option<Field> {
    Some(match name {
        "proc.exepath" => Field::Text(Text::Path),
        "proc.name" => Field::Text(Text::Comm),
        "proc.is_exe_from_memfd" => Field::Bool(Fact::Text(Text::Path, vec![Pattern::Begins(b"memfd:".to_vec())])),
        "proc.exe.deleted" => Field::Bool(Fact::Number(Number::Links, vec![0..=0])),
        "proc.is_exe_upper_layer" => Field::Bool(Fact::Number(Number::UpperLayer, vec![1..=1])),
        "proc.exe.owner.uid" => Field::Number(Number::Owner),
        "proc.exe.mode" => Field::Number(Number::Mode),
        "user.uid" | "user.euid" => Field::Number(Number::Euid),
        "user.ruid" => Field::Number(Number::Uid),
        "user.suid" => Field::Number(Number::Suid),
        "group.gid" | "group.egid" => Field::Number(Number::Egid),
        "group.rgid" => Field::Number(Number::Gid),
        _ => return None,
    })
}

fn patterns(check: &Check) -> Option<Vec<Pattern>> {
    let operands = || check.operands.iter().map(|operand| operand.as_bytes().to_vec());
    let patterns: Vec<Pattern> = match &check.matcher {
        Matcher::Text(text) => vec![Pattern::Is(text.to_vec())],
        Matcher::Texts(_) => operands().map(Pattern::Is).collect(),
        Matcher::StartsWith(start) => vec![Pattern::Begins(start.to_vec())],
        Matcher::Glob(start, _) => match check.operands.first()?.as_bytes().strip_prefix(&**start)? {
            b"" => vec![Pattern::Is(start.to_vec())],
            b"*" => vec![Pattern::Begins(start.to_vec())],
            _ => return None,
        },
        Matcher::Paths(_) => {
            let mut made = Vec::new();
            for path in operands() {
                made.extend(below(path)?);
            }
            made
        }
        _ => return None,
    };
    // One byte less than there is room for: that of the end.
    let fits = |pattern: &Pattern| match pattern {
        Pattern::Is(text) | Pattern::Begins(text) => text.len() < TEXT && !text.contains(&0),
    };
    patterns.iter().all(fits).then_some(patterns)
}

/// A path and what is below it, as `pmatch` has it.
fn below(mut path: Vec<u8>) -> Option<Vec<Pattern>> {
    if path.is_empty() || path.iter().any(|byte| b"*?[".contains(byte)) {
        return None;
    }
    if path == b"/" {
        return Some(vec![Pattern::Begins(path)]);
    }
    if path.ends_with(b"/") {
        path.pop();
    }
    let inside = [path.as_slice(), b"/"].concat();
    Some(vec![Pattern::Is(path), Pattern::Begins(inside)])
}

fn ranges(check: &Check) -> Option<Vec<RangeInclusive<i64>>> {
    Some(match &check.matcher {
        Matcher::Number(number) => vec![*number..=*number],
        Matcher::Numbers(numbers) => numbers.iter().map(|number| *number..=*number).collect(),
        Matcher::NumberOrder(order, number) => {
            let range = match order {
                Order::Less => number.checked_sub(1).map(|high| i64::MIN..=high),
                Order::LessOrEqual => Some(i64::MIN..=*number),
                Order::Greater => number.checked_add(1).map(|low| low..=i64::MAX),
                Order::GreaterOrEqual => Some(*number..=i64::MAX),
            };
            range.into_iter().collect()
        }
        _ => return None,
    })
}

fn bool(check: &Check, fact: Fact) -> Option<Found> {
    let wanted = match &check.matcher {
        Matcher::Bool(bool) => std::slice::from_ref(bool),
        Matcher::Bools(bools) => bools.as_slice(),
        _ => return None,
    };
    Some(match (wanted.contains(&true), wanted.contains(&false)) {
        (true, true) => Found::Always(true),
        (true, false) => Found::Fact(fact),
        (false, true) => Found::Not(fact),
        (false, false) => Found::Always(false),
    })
}
