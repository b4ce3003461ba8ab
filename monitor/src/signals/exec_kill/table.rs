//! Makes the table that the kernel program works by. What does not fit keeps its rule out, and the others in.

use std::collections::BTreeMap;

use monitor_common::signals::exec_kill::{
    CGROUPS, Cgroup, FACTS, OWN, RANGES, Range, TERMS, TEXT, TEXT_KEY_HEAD, TEXTS, Table, Term as Packed, TextKey,
};
use zerocopy::FromZeros as _;

use crate::detect::eval::{AtExec, Fact, Pattern, Term};

/// Whom to kill at exec, and whom never.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rules with their conditions.
    pub rules: Vec<(String, AtExec)>,
    /// Programs that are left to user space.
    pub spared: Vec<Pattern>,
    /// Processes that are never killed.
    pub own: Vec<u32>,
    /// Control groups whose members are never killed.
    pub cgroups: Vec<Cgroup>,
}

/// The same as the kernel has it.
pub struct Compiled {
    /// The table.
    pub table: Box<Table>,
    /// The texts with the facts that hold of what begins with them.
    pub texts: Vec<(Key, u64)>,
    /// The rules that are in it, by the index that terms have.
    pub rules: Vec<String>,
    /// Rules that found no room.
    pub left_out: Vec<String>,
}

/// A key of the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// How much of it counts.
    pub bits: u32,
    /// All of it.
    pub key: TextKey,
}

/// Something is beyond its bound.
struct Full;

/// What is put together.
#[derive(Clone, Default)]
struct Draft {
    facts: Vec<Fact>,
    terms: Vec<(Term, u32)>,
}

impl Draft {
    /// The bit of a fact.
    fn bit(&mut self, fact: &Fact) -> Result<u64, Full> {
        let index = self.facts.iter().position(|known| known == fact).unwrap_or(self.facts.len());
        if index == self.facts.len() {
            self.facts.push(fact.clone());
        }
        if index < FACTS { Ok(1 << index) } else { Err(Full) }
    }

    fn add(&mut self, rule: u32, condition: &AtExec) -> Result<(), Full> {
        let bits = condition.facts.iter().map(|fact| self.bit(fact)).collect::<Result<Vec<u64>, Full>>()?;
        let here = |facts: u64| {
            let bits = bits.iter().enumerate().filter(|(index, _)| facts >> index & 1 != 0);
            bits.fold(0, |all, (_, bit)| all | bit)
        };
        let terms = condition.terms.iter().map(|term| (Term { all: here(term.all), none: here(term.none) }, rule));
        self.terms.extend(terms);
        let texts: usize =
            self.facts.iter().map(|fact| if let Fact::Text(_, some) = fact { some.len() } else { 0 }).sum();
        if self.terms.len() > TERMS || self.ranges().count() > RANGES || texts > TEXTS as usize {
            Err(Full)
        } else {
            Ok(())
        }
    }

    fn ranges(&self) -> impl Iterator<Item = Range> {
        self.facts.iter().enumerate().flat_map(|(index, fact)| {
            let (number, ranges) = match fact {
                Fact::Number(number, ranges) => (*number as u32, ranges.as_slice()),
                Fact::Text(..) => (0, &[][..]),
            };
            let range = move |range: &std::ops::RangeInclusive<i64>| Range {
                low: *range.start(),
                high: *range.end(),
                facts: 1 << index,
                number,
                reserved: 0,
            };
            ranges.iter().map(range)
        })
    }

    /// The entries of the trie. An entry is found by what begins with its text and with none that is longer: so it has the
    /// facts of all texts that it begins with itself.
    fn texts(&self, table: u64) -> Vec<(Key, u64)> {
        let mut own: BTreeMap<(u8, Vec<u8>), u64> = BTreeMap::new();
        for (index, fact) in self.facts.iter().enumerate() {
            let Fact::Text(text, patterns) = fact else { continue };
            for pattern in patterns {
                let bytes = match pattern {
                    Pattern::Begins(start) => start.clone(),
                    // With its end: it begins with all of that only if it is just that.
                    Pattern::Is(whole) => [whole.as_slice(), &[0]].concat(),
                };
                *own.entry((*text as u8, bytes)).or_default() |= 1 << index;
            }
        }
        let entry = |(text, bytes): &(u8, Vec<u8>)| {
            let begins = |(other, _): &(&(u8, Vec<u8>), &u64)| other.0 == *text && bytes.starts_with(&other.1);
            let facts = own.iter().filter(begins).fold(0, |all, (_, facts)| all | facts);
            let mut key = TextKey { table: (table & 1) as u8, text: *text, bytes: [0; TEXT] };
            // They are shorter: who made the facts has seen to that.
            for (to, from) in key.bytes.iter_mut().zip(bytes) {
                *to = *from;
            }
            (Key { bits: 8 * (TEXT_KEY_HEAD + bytes.len().min(TEXT)) as u32, key }, facts)
        };
        own.keys().map(entry).collect()
    }
}

impl Plan {
    /// Makes the table with this number.
    pub fn compile(&self, number: u64) -> Compiled {
        let mut draft = Draft::default();
        let (mut rules, mut left_out) = (Vec::new(), Vec::new());
        let spared = Fact::Text(monitor_common::signals::exec_kill::Text::Path, self.spared.clone());
        let spared = if self.spared.is_empty() { 0 } else { draft.bit(&spared).unwrap_or(u64::MAX) };
        // Whom to spare must all be known, or nobody is killed.
        let known = self.own.len() <= OWN && self.cgroups.len() <= CGROUPS;
        for (name, condition) in &self.rules {
            let mut longer = draft.clone();
            if known && longer.add(rules.len() as u32, condition).is_ok() {
                draft = longer;
                rules.push(name.clone());
            } else {
                left_out.push(name.clone());
            }
        }
        let mut table: Box<Table> = Box::new(Table::new_zeroed());
        table.spared = spared;
        table.ranges = fill(&mut table.range, draft.ranges());
        let packed = |(term, rule): &(Term, u32)| Packed { all: term.all, none: term.none, rule: *rule, reserved: 0 };
        table.terms = fill(&mut table.term, draft.terms.iter().map(packed));
        table.own = fill(&mut table.process, self.own.iter().copied());
        table.cgroups = fill(&mut table.cgroup, self.cgroups.iter().copied());
        Compiled { texts: draft.texts(number), table, rules, left_out }
    }
}

/// Fills an array from its beginning; how many that were.
fn fill<T>(array: &mut [T], with: impl Iterator<Item = T>) -> u32 {
    array.iter_mut().zip(with).map(|(to, from)| *to = from).count() as u32
}
