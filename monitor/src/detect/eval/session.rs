//! One event being judged: values and results of comparisons, each taken at most once.

use super::checks::Check;
use super::facts::Facts;
use super::matcher::Matcher;
use super::rules::Rules;
use super::tree::{ACCEPT, Program, REJECT, Tree};
use super::value::{Value, Values};
use crate::detect::{Event, World};

/// Memory that is kept from one event to the next, so that judging one takes none.
#[derive(Debug, Default)]
pub struct Memory {
    values: Values<'static>,
    /// For each slot the event of its values, and where they are.
    taken: Vec<(u32, u32, u32)>,
    /// For each comparison the event of its result, twice, and the result.
    results: Vec<u32>,
    event: u32,
}

/// One event being judged by one set of rules.
pub struct Session<'a, 'm> {
    rules: &'m Rules,
    /// The event, and what is known beside it.
    pub facts: Facts<'a>,
    /// Values that have been taken.
    pub values: Values<'a>,
    memory: &'m mut Memory,
}

impl<'a, 'm> Session<'a, 'm> {
    /// Begins.
    pub fn new(rules: &'m Rules, memory: &'m mut Memory, event: &'a Event, world: &'a dyn World) -> Self {
        let values = std::mem::take(&mut memory.values).recycle();
        memory.event = if memory.event >= u32::MAX / 2 - 1 { 0 } else { memory.event + 1 };
        // After four billion events, and for other rules, nothing remembered is valid.
        if memory.event <= 1
            || memory.taken.len() != rules.slots.list.len()
            || memory.results.len() != rules.checks.list.len()
        {
            memory.taken.clear();
            memory.taken.resize(rules.slots.list.len(), (0, 0, 0));
            memory.results.clear();
            memory.results.resize(rules.checks.list.len(), 0);
            memory.event = 1;
        }
        Self { rules, facts: Facts::new(event, world), values, memory }
    }

    /// Ends: the memory goes back.
    pub fn end(self) {
        self.memory.values = self.values.recycle();
    }

    /// The rules.
    pub fn rules(&self) -> &'m Rules {
        self.rules
    }

    /// How a field is written.
    pub fn slot_text(&self, at: usize) -> String {
        self.rules.slots.list.get(at).map_or_else(String::new, |slot| slot.text.clone())
    }

    /// Where the values of a slot are in `values.list`.
    pub fn slot(&mut self, at: usize) -> std::ops::Range<usize> {
        let (event, start, end) = self.memory.taken.get(at).copied().unwrap_or_default();
        if event == self.memory.event {
            return start as usize..end as usize;
        }
        let Some(slot) = self.rules.slots.list.get(at) else { return 0..0 };
        let start;
        match slot.upon {
            None if slot.joined.is_some() => start = self.join(at),
            None => {
                start = self.values.list.len();
                (slot.definition.extract)(&self.facts, slot.argument(), &mut self.values);
            }
            Some((below, transformer)) => {
                let range = self.slot(below);
                start = self.values.list.len();
                for index in range {
                    let value = self.values.list[index];
                    transformer.push(value, &mut self.values);
                }
            }
        }
        let end = self.values.list.len();
        if let Some(taken) = self.memory.taken.get_mut(at) {
            *taken = (self.memory.event, start as u32, end as u32);
        }
        start..end
    }

    /// Puts the parts of a slot together. Returns where its value is; without one part it has none.
    fn join(&mut self, at: usize) -> usize {
        let rules = self.rules;
        let joined = rules.slots.list.get(at).and_then(|slot| slot.joined.as_ref());
        let Some(joined) = joined else { return self.values.list.len() };
        // All parts first: taking a value may put something into the buffer.
        for slot in joined.parts.iter().flatten() {
            if self.slot(*slot).is_empty() {
                return self.values.list.len();
            }
        }
        let from = self.values.text.len();
        for (index, part) in joined.parts.iter().enumerate() {
            if index > 0 {
                self.values.text.extend_from_slice(joined.between.as_bytes());
            }
            match part {
                Err(text) => self.values.text.extend_from_slice(text.as_bytes()),
                Ok(slot) => {
                    let first = self.slot(*slot).start;
                    let value = self.values.list[first];
                    self.values.append(value);
                }
            }
        }
        self.values.made_from(from);
        self.values.list.len() - 1
    }

    /// Whether only the first of its values is shown: of the names of an event that is the usual one.
    pub fn shows_first(&self, at: usize) -> bool {
        self.rules.slots.list.get(at).is_some_and(|slot| slot.is("evt.type"))
    }

    /// Whether a comparison holds.
    pub fn check(&mut self, at: usize) -> bool {
        let known = self.memory.results.get(at).copied().unwrap_or_default();
        if known >> 1 == self.memory.event {
            return known & 1 == 1;
        }
        let rules = self.rules;
        let Some(check) = rules.checks.list.get(at) else { return false };
        let held = match &check.matcher {
            Matcher::Group(group) => {
                self.search(*group);
                return self.memory.results[at] & 1 == 1;
            }
            Matcher::Same(others) => {
                // `!=` with no value on either side does not hold, as with texts.
                let (left, mut seen, mut same) = (self.slot(check.slot), false, false);
                for other in others {
                    let right = self.slot(*other);
                    seen |= !left.is_empty() && !right.is_empty();
                    same |= left.clone().any(|left| right.clone().any(|right| self.equal(left, right)));
                }
                seen && same != check.negated
            }
            Matcher::SameOrder(order, other) => {
                let (left, right) = (self.slot(check.slot), self.slot(*other));
                left.clone().any(|left| right.clone().any(|right| self.ordered(*order, left, right)))
            }
            Matcher::SameStart(other) => {
                let (left, right) = (self.slot(check.slot), self.slot(*other));
                left.clone().any(|left| right.clone().any(|right| self.begins(left, right)))
            }
            matcher => {
                let range = self.slot(check.slot);
                fits(check, matcher, &self.values.list[range], &self.values)
            }
        };
        self.note(at, held);
        held
    }

    /// Runs a program.
    pub fn run(&mut self, program: &Program) -> bool {
        let mut at = program.entry;
        loop {
            match at {
                ACCEPT => return true,
                REJECT => return false,
                _ => {
                    let Some(step) = program.steps.get(at as usize) else { return false };
                    at = if self.check(step.check as usize) { step.yes } else { step.no };
                }
            }
        }
    }

    /// The comparisons that made a condition hold: what held of it, and what did not where it says `not`.
    pub fn reasons(&mut self, tree: &Tree, wanted: bool, reasons: &mut Vec<(usize, bool)>) -> bool {
        match tree {
            Tree::Known(bool) => *bool == wanted,
            Tree::Check(at) => {
                let held = self.check(*at);
                if held == wanted {
                    reasons.push((*at, held));
                }
                held == wanted
            }
            Tree::Not(part) => self.reasons(part, !wanted, reasons),
            Tree::All(parts) if wanted => self.every(parts, wanted, reasons),
            Tree::Any(parts) if !wanted => self.every(parts, wanted, reasons),
            Tree::All(parts) | Tree::Any(parts) => {
                for part in parts {
                    let before = reasons.len();
                    if self.reasons(part, wanted, reasons) {
                        return true;
                    }
                    reasons.truncate(before);
                }
                false
            }
        }
    }

    fn every(&mut self, parts: &[Tree], wanted: bool, reasons: &mut Vec<(usize, bool)>) -> bool {
        parts.iter().all(|part| self.reasons(part, wanted, reasons))
    }

    fn note(&mut self, at: usize, held: bool) {
        if let Some(result) = self.memory.results.get_mut(at) {
            *result = self.memory.event << 1 | u32::from(held);
        }
    }

    /// Looks for all literals of a field at once.
    fn search(&mut self, group: usize) {
        let rules = self.rules;
        let Some(group) = rules.checks.groups.get(group) else { return };
        let range = self.slot(group.slot);
        for at in &group.checks {
            self.note(*at, false);
        }
        for index in range {
            let Self { values, memory, .. } = self;
            let Some(text) = values.text_of(&values.list[index]) else { continue };
            for found in group.automaton.find_overlapping_iter(text) {
                if let Some(result) =
                    group.checks.get(found.pattern().as_usize()).and_then(|at| memory.results.get_mut(*at))
                {
                    *result |= 1;
                }
            }
        }
    }

    fn equal(&self, left: usize, right: usize) -> bool {
        let (left, right) = (&self.values.list[left], &self.values.list[right]);
        match (self.values.text_of(left), self.values.text_of(right)) {
            (Some(left), Some(right)) => left == right,
            _ => left == right,
        }
    }

    fn begins(&self, left: usize, right: usize) -> bool {
        let text = |at: usize| self.values.list.get(at).and_then(|value| self.values.text_of(value));
        text(left).zip(text(right)).is_some_and(|(left, right)| left.starts_with(right))
    }

    fn ordered(&self, order: super::matcher::Order, left: usize, right: usize) -> bool {
        match (&self.values.list[left], &self.values.list[right]) {
            (Value::Number(left), Value::Number(right)) => order.holds(left, right),
            (left, right) => match (self.values.text_of(left), self.values.text_of(right)) {
                (Some(left), Some(right)) => order.holds(left, right),
                _ => false,
            },
        }
    }
}

/// A missing value fits nothing, not even `!=`.
fn fits(check: &Check, matcher: &Matcher, list: &[Value<'_>], values: &Values<'_>) -> bool {
    let mut each = list.iter().map(|value| matcher.fits(value, values) != check.negated);
    if check.all { !list.is_empty() && each.all(|fits| fits) } else { each.any(|fits| fits) }
}
