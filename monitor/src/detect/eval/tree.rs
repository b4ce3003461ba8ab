//! Conditions, with their comparisons by number; and what is left of them for one kind of event, as code: a list of
//! comparisons, each with the place to go on when it holds and when it does not.

use super::checks::{Check, Checks};
use super::matcher::Matcher;
use super::slots::Slots;
use crate::detect::lang::ast::{Expr, Operator, Place};

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Check(usize),
    Known(bool),
}

/// Something wrong in a condition.
pub(super) type Wrong = (Place, String);

impl Tree {
    /// From a rule's condition. All that is wrong is added to `wrong`.
    pub fn new(expr: &Expr, slots: &mut Slots, checks: &mut Checks, wrong: &mut Vec<Wrong>) -> Self {
        match expr {
            Expr::And(parts) => Self::All(parts.iter().map(|part| Self::new(part, slots, checks, wrong)).collect()),
            Expr::Or(parts) => Self::Any(parts.iter().map(|part| Self::new(part, slots, checks, wrong)).collect()),
            Expr::Not(part) => Self::Not(Box::new(Self::new(part, slots, checks, wrong))),
            Expr::Check(check) => match checks.intern(check, slots) {
                Ok(at) => Self::Check(at),
                Err(message) => {
                    wrong.push((check.place.clone(), message));
                    Self::Known(false)
                }
            },
        }
    }

    /// What is left when the results of some comparisons are known.
    pub fn fold(&self, known: &impl Fn(usize) -> Option<bool>) -> Self {
        match self {
            Self::Known(bool) => Self::Known(*bool),
            Self::Check(at) => known(*at).map_or(Self::Check(*at), Self::Known),
            Self::Not(part) => match part.fold(known) {
                Self::Known(bool) => Self::Known(!bool),
                Self::Not(part) => *part,
                part => Self::Not(Box::new(part)),
            },
            Self::All(parts) => join(parts, known, false),
            Self::Any(parts) => join(parts, known, true),
        }
    }

    /// Roughly nanoseconds.
    pub fn cost(&self, checks: &[Check]) -> u32 {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().map(|part| part.cost(checks)).fold(0, u32::saturating_add)
            }
            Self::Not(part) => part.cost(checks),
            Self::Check(at) => checks.get(*at).map_or(0, |check| check.cost),
            Self::Known(_) => 0,
        }
    }

    /// What is cheap first. Comparisons have no effects, so that their order does not matter.
    pub fn sort(&mut self, checks: &[Check]) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts.iter_mut() {
                    part.sort(checks);
                }
                parts.sort_by_cached_key(|part| part.cost(checks));
            }
            Self::Not(part) => part.sort(checks),
            Self::Check(_) | Self::Known(_) => {}
        }
    }

    /// Calls with every comparison in it.
    pub fn each(&self, with: &mut impl FnMut(usize)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each(with)),
            Self::Not(part) => part.each(with),
            Self::Check(at) => with(*at),
            Self::Known(_) => {}
        }
    }
}

/// All of the parts, or with `any` one of them.
fn join(parts: &[Tree], known: &impl Fn(usize) -> Option<bool>, any: bool) -> Tree {
    let mut left = Vec::new();
    for part in parts {
        match part.fold(known) {
            Tree::Known(bool) if bool == any => return Tree::Known(any),
            Tree::Known(_) => {}
            Tree::Any(inner) if any => left.extend(inner),
            Tree::All(inner) if !any => left.extend(inner),
            part => left.push(part),
        }
    }
    match left.len() {
        0 => Tree::Known(!any),
        1 => left.swap_remove(0),
        _ if any => Tree::Any(left),
        _ => Tree::All(left),
    }
}

/// The result of a comparison that the kind of the event alone decides; `names` are those of the kind, none: a kind that
/// no rule names.
pub(super) fn known_by_kind(check: &Check, slots: &Slots, names: &[&str]) -> Option<bool> {
    let slot = &slots.list[check.slot];
    if slot.is("evt.dir") {
        return match &check.matcher {
            Matcher::Text(text) => Some((&**text == b"<") != check.negated),
            Matcher::Texts(texts) => Some(texts.contains(b"<")),
            _ => None,
        };
    }
    if !slot.is("evt.type") {
        return None;
    }
    match (&check.matcher, check.operator) {
        (Matcher::Text(text), Operator::Equal) => Some(names.iter().any(|name| name.as_bytes() == &**text)),
        (Matcher::Text(text), Operator::NotEqual) => Some(names.iter().all(|name| name.as_bytes() != &**text)),
        (Matcher::Texts(texts), Operator::In | Operator::Intersects) => {
            Some(names.iter().any(|name| texts.contains(name.as_bytes())))
        }
        _ => None,
    }
}

/// One comparison of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Which.
    pub check: u32,
    /// Where to go on when it holds.
    pub yes: u32,
    /// … and when not.
    pub no: u32,
}

/// The condition holds.
pub(super) const ACCEPT: u32 = u32::MAX;
/// It does not.
pub(super) const REJECT: u32 = u32::MAX - 1;

/// A condition as code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Program {
    /// Its comparisons.
    pub steps: Vec<Step>,
    /// Where it begins.
    pub entry: u32,
}

impl Program {
    /// From a condition.
    pub fn new(tree: &Tree) -> Self {
        let mut program = Self::default();
        program.entry = program.emit(tree, ACCEPT, REJECT);
        program
    }

    fn emit(&mut self, tree: &Tree, yes: u32, no: u32) -> u32 {
        match tree {
            Tree::Known(true) => yes,
            Tree::Known(false) => no,
            Tree::Check(check) => {
                let check = (*check).try_into().unwrap_or(u32::MAX);
                self.steps.push(Step { check, yes, no });
                (self.steps.len() - 1) as u32
            }
            Tree::Not(part) => self.emit(part, no, yes),
            // The last first: each needs to know where the next one begins.
            Tree::All(parts) => parts.iter().rev().fold(yes, |next, part| self.emit(part, next, no)),
            Tree::Any(parts) => parts.iter().rev().fold(no, |next, part| self.emit(part, yes, next)),
        }
    }
}
