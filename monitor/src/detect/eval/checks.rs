//! Comparisons: each one that rules name is there once, whoever names it, and is made at most once an event.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};

use super::fields::Several;
use super::matcher::{self, Matcher, Net, Order, Paths};
use super::slots::Slots;
use super::value::Type;
use crate::detect::lang::ast::{self, Operand, Operator};

/// A comparison.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is compared.
    pub slot: usize,
    /// As it was written.
    pub operator: Operator,
    /// With what.
    pub matcher: Matcher,
    /// It holds when the matcher does not.
    pub negated: bool,
    /// All values have to fit, not one of them.
    pub all: bool,
    /// What it is compared with, as text, for evidence.
    pub operands: Vec<String>,
    /// Roughly nanoseconds.
    pub cost: u32,
}

/// Literals that a field is searched for, all at once.
#[derive(Clone, Debug)]
pub struct Group {
    /// The field.
    pub slot: usize,
    /// Finds them.
    pub automaton: AhoCorasick,
    /// The check of each pattern.
    pub checks: Vec<usize>,
}

type Key = (usize, Operator, Vec<String>);

/// All comparisons of a set of rules.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// In the order in which they were met.
    pub list: Vec<Check>,
    /// Automata, made by [`Checks::finish`].
    pub groups: Vec<Group>,
    known: HashMap<Key, usize>,
}

/// From how many literals on an automaton is faster than one search each.
const GROUP: usize = 3;

impl Checks {
    /// The check's number.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn intern(&mut self, check: &ast::Check, slots: &mut Slots) -> Result<usize, String> {
        let mut slot = slots.intern(&check.field)?;
        let operands: Vec<String> = check
            .values
            .iter()
            .map(|operand| match operand {
                Operand::Text(text, _) => text.clone(),
                Operand::Field(field) => format!("val({})", field.name),
            })
            .collect();
        // Arguments are text. Compared with numbers they are numbers: `evt.arg.sig = 9` and `= SIGKILL` are the same.
        let orders =
            matches!(check.operator, Operator::Equal | Operator::NotEqual | Operator::In | Operator::Intersects)
                || Order::of(check.operator).is_some();
        let numbers = !operands.is_empty() && operands.iter().all(|operand| number(operand).is_ok());
        if slots.list[slot].is("evt.arg") && orders && numbers {
            slot = slots.raw(slot);
        }
        let mut kind = slots.list[slot].kind;
        if slots.list[slot].is("evt.rawarg") && !numbers && check.operator != Operator::Exists {
            kind = Type::Text;
        }
        let key = (slot, check.operator, operands.clone());
        let fields = check.values.iter().any(|operand| matches!(operand, Operand::Field(_)));
        if !fields && let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let matcher =
            if fields { others(check, slot, slots)? } else { literal(check.operator, kind, &operands, slots, slot)? };
        let negated = check.operator == Operator::NotEqual;
        let all = match slots.list[slot].several() {
            Several::Any => false,
            Several::Ends => negated,
            Several::List => check.operator == Operator::In,
        };
        let cost = slots.list[slot].cost + matcher.cost();
        self.list.push(Check { slot, operator: check.operator, matcher, negated, all, operands, cost });
        let at = self.list.len() - 1;
        if !fields {
            self.known.insert(key, at);
        }
        Ok(at)
    }

    /// Puts literals that the same field is searched for into automata.
    pub fn finish(&mut self) {
        self.groups.clear();
        let mut wanted: HashMap<(usize, bool), Vec<usize>> = HashMap::new();
        for (at, check) in self.list.iter().enumerate() {
            match check.operator {
                Operator::Contains | Operator::BContains => wanted.entry((check.slot, false)).or_default().push(at),
                Operator::IContains => wanted.entry((check.slot, true)).or_default().push(at),
                _ => {}
            }
        }
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        wanted.sort_unstable();
        for ((slot, fold_case), checks) in wanted {
            if checks.len() < GROUP && !fold_case {
                continue;
            }
            let patterns = checks.iter().map(|at| needle(&self.list[*at]));
            let built = AhoCorasickBuilder::new().ascii_case_insensitive(fold_case).build(patterns);
            // Too many or too long patterns for an automaton: each of them stays a search of its own.
            let Ok(automaton) = built else { continue };
            for at in &checks {
                self.list[*at].matcher = Matcher::Group(self.groups.len());
            }
            self.groups.push(Group { slot, automaton, checks });
        }
    }
}

/// What is looked for.
fn needle(check: &Check) -> Vec<u8> {
    let text = check.operands.first().map_or("", String::as_str);
    if check.operator == Operator::BContains { hex(text).unwrap_or_default() } else { text.into() }
}

/// A number as Falco reads it.
pub(super) fn number(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse::<i128>(),
    };
    let error = || format!("`{text}` is no number");
    if digits.starts_with(['+', '-']) {
        return Err(error());
    }
    parsed.ok().and_then(|number| i64::try_from(sign * number).ok()).ok_or_else(error)
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())
    });
    pairs.collect::<Option<Vec<u8>>>().ok_or_else(|| format!("`{text}` is no hexadecimal number of whole bytes"))
}

fn net(text: &str) -> Result<Net, String> {
    Net::parse(text).ok_or_else(|| format!("`{text}` is neither an IP address nor a network such as 10.0.0.0/8"))
}

/// Which operators a type has.
fn allowed(kind: Type, operator: Operator) -> bool {
    let equality = matches!(
        operator,
        Operator::Equal | Operator::NotEqual | Operator::In | Operator::Intersects | Operator::Exists
    );
    match kind {
        Type::Text => true,
        Type::Number => equality || Order::of(operator).is_some(),
        Type::Bool | Type::Ip | Type::Net => equality,
    }
}

fn refuse(operator: Operator, slots: &Slots, slot: usize) -> String {
    let slot = &slots.list[slot];
    format!("`{}` does not work with {}, which is a {}", symbol(operator), slot.text, slot.kind.name())
}

/// The operator as it is written.
pub(super) const fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Equal => "=",
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Greater => ">",
        Operator::GreaterOrEqual => ">=",
        Operator::In => "in",
        Operator::Intersects => "intersects",
        Operator::Pmatch => "pmatch",
        Operator::Contains => "contains",
        Operator::IContains => "icontains",
        Operator::BContains => "bcontains",
        Operator::StartsWith => "startswith",
        Operator::BStartsWith => "bstartswith",
        Operator::EndsWith => "endswith",
        Operator::Glob => "glob",
        Operator::IGlob => "iglob",
        Operator::Regex => "regex",
        Operator::Exists => "exists",
    }
}

fn literal(operator: Operator, kind: Type, operands: &[String], slots: &Slots, slot: usize) -> Result<Matcher, String> {
    if !allowed(kind, operator) {
        return Err(refuse(operator, slots, slot));
    }
    let many = matches!(operator, Operator::In | Operator::Intersects | Operator::Pmatch);
    if operator == Operator::Exists {
        return Ok(Matcher::Exists);
    }
    let [first, rest @ ..] = operands else {
        // An empty list is Falco's way of a rule that nothing has been added to yet.
        return if many {
            Ok(Matcher::Texts(matcher::Texts::default()))
        } else {
            Err(format!("`{}` needs a value", symbol(operator)))
        };
    };
    if !many && !rest.is_empty() {
        return Err(format!("`{}` takes one value, not {}", symbol(operator), operands.len()));
    }
    match kind {
        Type::Text => text(operator, first, operands),
        Type::Number => {
            let parsed = operands.iter().map(|operand| number(operand));
            if let Some(order) = Order::of(operator) {
                return Ok(Matcher::NumberOrder(order, number(first)?));
            }
            let mut numbers = parsed.collect::<Result<Vec<i64>, String>>()?;
            numbers.sort_unstable();
            Ok(if many { Matcher::Numbers(numbers) } else { Matcher::Number(number(first)?) })
        }
        Type::Bool => {
            let bools = operands.iter().map(|operand| boolean(operand)).collect::<Result<Vec<bool>, String>>()?;
            Ok(if many { Matcher::Bools(bools) } else { Matcher::Bool(boolean(first)?) })
        }
        Type::Ip | Type::Net => {
            Ok(Matcher::Nets(operands.iter().map(|operand| net(operand)).collect::<Result<Vec<Net>, String>>()?))
        }
    }
}

fn text(operator: Operator, first: &str, operands: &[String]) -> Result<Matcher, String> {
    let bytes = || Box::<[u8]>::from(first.as_bytes());
    let finder = |needle: &[u8]| Matcher::Contains(Box::new(memchr::memmem::Finder::new(needle).into_owned()));
    let with = |error: String| format!("`{first}`: {error}");
    Ok(match operator {
        Operator::Equal | Operator::NotEqual => Matcher::Text(bytes()),
        Operator::In | Operator::Intersects => {
            Matcher::Texts(operands.iter().map(|operand| Box::<[u8]>::from(operand.as_bytes())).collect())
        }
        Operator::Pmatch => Matcher::Paths(Paths::new(operands.iter().map(String::as_str))?),
        Operator::Contains | Operator::IContains => finder(first.as_bytes()),
        Operator::BContains => finder(&hex(first)?),
        Operator::StartsWith => Matcher::StartsWith(bytes()),
        Operator::BStartsWith => Matcher::StartsWith(hex(first)?.into()),
        Operator::EndsWith => Matcher::EndsWith(bytes()),
        Operator::Glob => {
            let start = first.split(['*', '?', '[', '\\']).next().unwrap_or_default();
            Matcher::Glob(start.as_bytes().into(), Box::new(matcher::glob(first, false, false).map_err(with)?))
        }
        Operator::IGlob => Matcher::Regex(Box::new(matcher::glob(first, true, false).map_err(with)?)),
        Operator::Regex => Matcher::Regex(Box::new(matcher::whole_regex(first).map_err(with)?)),
        Operator::Exists => Matcher::Exists,
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            let Some(order) = Order::of(operator) else { return Err(format!("`{}` is no order", symbol(operator))) };
            Matcher::TextOrder(order, bytes())
        }
    })
}

/// A comparison with other fields.
fn others(check: &ast::Check, slot: usize, slots: &mut Slots) -> Result<Matcher, String> {
    let mut found = Vec::new();
    for operand in &check.values {
        let Operand::Field(field) = operand else {
            return Err("fields and texts cannot be mixed on the right side".to_owned());
        };
        let other = slots.intern(field)?;
        let (left, right) = (&slots.list[slot], &slots.list[other]);
        let addresses = [Type::Ip, Type::Net];
        if left.kind != right.kind && !(addresses.contains(&left.kind) && addresses.contains(&right.kind)) {
            return Err(format!(
                "{} is a {}, and {} is a {}",
                left.text,
                left.kind.name(),
                right.text,
                right.kind.name()
            ));
        }
        found.push(other);
    }
    match (check.operator, found.as_slice()) {
        (Operator::Equal | Operator::NotEqual, [_]) | (Operator::In | Operator::Intersects, _) => {
            Ok(Matcher::Same(found))
        }
        // Ours: Falco compares fields for equality and order only.
        (Operator::StartsWith, [other]) if slots.list[slot].kind == Type::Text => Ok(Matcher::SameStart(*other)),
        (operator, [other]) => match Order::of(operator) {
            Some(order) if allowed(slots.list[slot].kind, operator) => Ok(Matcher::SameOrder(order, *other)),
            _ => Err(format!("`{}` does not work with another field on its right side", symbol(operator))),
        },
        (operator, _) => Err(format!("`{}` takes one field", symbol(operator))),
    }
}
