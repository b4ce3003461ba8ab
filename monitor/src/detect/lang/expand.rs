//! Puts what macros and lists stand for in their places. Both may be used before they are defined, and in each other, but
//! not in a circle; and what comes out is bounded, whatever the files say.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::ast::{Check, Expr, Operand, Operator, Place};
use super::nearest::nearest;
use super::order::order;
use super::parse::{Problem, Raw, RawCheck, Word, item};

/// Most comparisons and values of one condition: a rule of Falco's has up to a few hundred.
pub(super) const MAX_RULE: usize = 50_000;

/// The same for everything that is loaded at once: about 200 MB at the worst.
const MAX_ALL: usize = 1_000_000;

/// Most lists inside each other.
const MAX_LISTS: usize = 100;

/// Deepest condition when all is put in: everything that walks through one calls itself this often.
const MAX_DEPTH: usize = 200;

/// What names stand for.
pub(super) struct Names {
    pub(super) macros: BTreeMap<String, Macro>,
    pub(super) lists: BTreeMap<String, List>,
}

/// A macro, as far as it could be read.
pub(super) struct Macro {
    pub(super) place: Place,
    /// Nothing: it could not be read, which has been told.
    pub(super) condition: Option<Raw>,
}

/// A list as it is written.
pub(super) struct List {
    pub(super) place: Place,
    pub(super) items: Vec<(String, Place)>,
}

/// Expands one condition after the other.
pub(super) struct Expander<'a> {
    names: &'a Names,
    macros: HashMap<&'a str, State>,
    lists: HashMap<&'a str, Option<Rc<Vec<Operand>>>>,
    /// Lists that are being expanded.
    open_lists: Vec<&'a str>,
    /// The macro that is being expanded.
    open_macro: Option<&'a str>,
    depth: usize,
    left: usize,
    problems: Vec<(Option<String>, Problem)>,
}

/// A macro that has been looked at.
enum State {
    Done {
        expr: Rc<Expr>,
        size: usize,
        depth: usize,
    },
    /// Has a mistake, which has been told.
    Bad,
}

impl<'a> Expander<'a> {
    /// Expands all macros, so that each mistake in them is told once.
    pub(super) fn new(names: &'a Names) -> Self {
        let mut expander = Self {
            names,
            macros: HashMap::new(),
            lists: HashMap::new(),
            open_lists: Vec::new(),
            open_macro: None,
            depth: 0,
            left: MAX_ALL,
            problems: Vec::new(),
        };
        let (order, circles) = order(names);
        for (name, problem) in circles {
            expander.macros.insert(name, State::Bad);
            expander.problems.push((Some(format!("macro `{name}`")), problem));
        }
        for name in order {
            if !expander.macros.contains_key(name) {
                let state = expander.macro_of(name);
                expander.macros.insert(name, state);
            }
        }
        for (name, list) in &names.lists {
            // Its mistakes have been told as the list's; that it has some need not be told in addition.
            if expander.list(name, &list.place).is_none() {
                expander.problems.pop_if(|(item, _)| item.is_none());
            }
        }
        expander
    }

    fn macro_of(&mut self, name: &'a str) -> State {
        let Some(raw) = self.names.macros.get(name).and_then(|definition| definition.condition.as_ref()) else {
            return State::Bad;
        };
        self.open_macro = Some(name);
        let mut size = 0;
        let expanded = self.expression(raw, &mut size);
        self.open_macro = None;
        expanded.map_or(State::Bad, |expr| State::Done { depth: depth(&expr), expr: Rc::new(expr), size })
    }

    /// The expanded condition, or nothing and at least one problem.
    pub(super) fn expand(&mut self, raw: &Raw) -> Option<Expr> {
        let mut size = 0;
        self.expression(raw, &mut size)
    }

    /// What a list stands for.
    pub(super) fn values_of(&self, list: &str) -> Option<&[Operand]> {
        self.lists.get(list)?.as_ref().map(|values| values.as_slice())
    }

    /// What a macro stands for.
    pub(super) fn condition_of(&self, name: &str) -> Option<&Expr> {
        match self.macros.get(name)? {
            State::Done { expr, .. } => Some(expr),
            State::Bad => None,
        }
    }

    /// Problems since this was last asked, with the macro or list that they are in.
    pub(super) fn take_problems(&mut self) -> Vec<(Option<String>, Problem)> {
        std::mem::take(&mut self.problems)
    }

    fn expression(&mut self, raw: &Raw, size: &mut usize) -> Option<Expr> {
        self.depth += 1;
        let expr = match raw {
            Raw::And(parts) => self.several(parts, size).map(and),
            Raw::Or(parts) => self.several(parts, size).map(or),
            Raw::Not(inner) => self.expression(inner, size).map(|inner| Expr::Not(Box::new(inner))),
            Raw::Check(check) => self.check(check, size).map(Expr::Check),
            Raw::Macro(name, place) => self.named(name, place, size),
        };
        self.depth -= 1;
        expr
    }

    /// All of them, so that all mistakes are told.
    fn several(&mut self, parts: &[Raw], size: &mut usize) -> Option<Vec<Expr>> {
        let parts: Vec<_> = parts.iter().map(|part| self.expression(part, size)).collect();
        parts.into_iter().collect()
    }

    fn problem<T>(&mut self, place: &Place, message: String) -> Option<T> {
        self.tell(Problem { place: place.clone(), message });
        None
    }

    fn tell(&mut self, problem: Problem) {
        let list = self.open_lists.last().map(|name| format!("list `{name}`"));
        let item = list.or_else(|| self.open_macro.map(|name| format!("macro `{name}`")));
        self.problems.push((item, problem));
    }

    /// Whether there is room for this many more.
    fn grow(&mut self, size: &mut usize, by: usize, place: &Place) -> Option<()> {
        *size = size.saturating_add(by);
        if *size > MAX_RULE {
            let message = format!("has more than {MAX_RULE} comparisons and values when macros and lists are put in");
            return self.problem(place, message);
        }
        match self.left.checked_sub(by) {
            Some(left) => self.left = left,
            None => {
                let message = format!("all rules together have more than {MAX_ALL} comparisons and values");
                return self.problem(place, message);
            }
        }
        Some(())
    }

    fn named(&mut self, name: &str, place: &Place, size: &mut usize) -> Option<Expr> {
        let names = self.names;
        let Some((name, definition)) = names.macros.get_key_value(name) else {
            let remedy = if names.lists.contains_key(name) {
                ": it is a list, which stands in `in (…)`".to_owned()
            } else {
                match nearest(name, names.macros.keys().map(String::as_str)) {
                    Some(other) => format!(": did you mean `{other}`?"),
                    None => String::new(),
                }
            };
            return self.problem(place, format!("unknown macro `{name}`{remedy}"));
        };
        match self.macros.get(name.as_str()) {
            Some(State::Done { expr, size: own, depth }) => {
                let (expr, own, depth) = (expr.clone(), *own, *depth);
                if self.depth + depth > MAX_DEPTH {
                    let message = format!("is nested deeper than {MAX_DEPTH} levels when macros are put in");
                    return self.problem(place, message);
                }
                self.grow(size, own, place)?;
                Some(Expr::clone(&expr))
            }
            _ => {
                let at = &definition.place;
                let message = format!("macro `{name}` has a mistake: see {}:{}", at.file.display(), at.line);
                self.problem(place, message)
            }
        }
    }

    fn check(&mut self, check: &RawCheck, size: &mut usize) -> Option<Check> {
        let mut values = Vec::new();
        self.grow(size, 1, &check.place)?;
        for word in &check.values {
            match word {
                Word::Bare(text, place) if check.operator.takes_list() => {
                    self.values(text, place, size, &mut values)?;
                }
                Word::Bare(text, place) => values.push(self.single(text, place, check.operator)?),
                Word::Quoted(text, place) => values.push(Operand::Text(text.clone(), place.clone())),
                Word::Field(field) => values.push(Operand::Field(field.clone())),
            }
        }
        self.grow(size, values.len(), &check.place)?;
        let RawCheck { field, operator, place, .. } = check.clone();
        Some(Check { field, operator, values, place })
    }

    /// A value, or the values of the list that it names.
    fn values(&mut self, text: &str, place: &Place, size: &mut usize, into: &mut Vec<Operand>) -> Option<()> {
        let Some(list) = self.list(text, place)? else {
            into.push(Operand::Text(text.to_owned(), place.clone()));
            return Some(());
        };
        // Looked at before they are copied: one condition may name the same list a million times.
        if into.len().saturating_add(list.len()) > MAX_RULE {
            return self.grow(size, MAX_RULE + 1, place);
        }
        into.extend(list.iter().cloned());
        Some(())
    }

    /// Falco puts in a list's text wherever its name stands, which right of `=` makes sense with one value only.
    fn single(&mut self, text: &str, place: &Place, operator: Operator) -> Option<Operand> {
        match self.list(text, place)? {
            None => Some(Operand::Text(text.to_owned(), place.clone())),
            Some(list) => match list.as_slice() {
                [only] => Some(only.clone()),
                _ => {
                    let message = format!(
                        "`{text}` is a list: write `in ({text})` instead of `{operator}`, or the text in quotes"
                    );
                    self.problem(place, message)
                }
            },
        }
    }

    /// The values of a list; `Some(None)` when there is no list of this name, nothing when it has a mistake.
    #[expect(clippy::option_option, reason = "the two are told apart right where it is used")]
    fn list(&mut self, name: &str, place: &Place) -> Option<Option<Rc<Vec<Operand>>>> {
        let names = self.names;
        let Some((name, list)) = names.lists.get_key_value(name) else { return Some(None) };
        if !self.lists.contains_key(name.as_str()) {
            self.open_lists.push(name);
            let values = self.list_values(list);
            self.open_lists.pop();
            self.lists.insert(name, values.map(Rc::new));
        }
        match self.lists.get(name.as_str()) {
            Some(Some(values)) => Some(Some(values.clone())),
            _ => {
                let message =
                    format!("list `{name}` has a mistake: see {}:{}", list.place.file.display(), list.place.line);
                self.problem(place, message)
            }
        }
    }

    fn list_values(&mut self, list: &'a List) -> Option<Vec<Operand>> {
        let mut values = Vec::new();
        for (text, place) in &list.items {
            let word = match item(text, place) {
                Ok(word) => word,
                Err(problem) => {
                    self.tell(problem);
                    return None;
                }
            };
            match word {
                // A list may have a value that is called as itself.
                Word::Bare(text, place) if self.open_lists.last() != Some(&text.as_str()) => {
                    if self.open_lists.contains(&text.as_str()) {
                        let circle = self.open_lists.join("`, `");
                        return self.problem(&place, format!("list `{text}` is in itself: `{circle}`"));
                    }
                    if self.open_lists.len() >= MAX_LISTS {
                        return self.problem(&place, format!("more than {MAX_LISTS} lists inside each other"));
                    }
                    let mut size = 0;
                    self.values(&text, &place, &mut size, &mut values)?;
                }
                Word::Bare(text, place) | Word::Quoted(text, place) => values.push(Operand::Text(text, place)),
                Word::Field(_) => {}
            }
        }
        let place = &list.place;
        let mut size = 0;
        self.grow(&mut size, values.len(), place)?;
        Some(values)
    }
}

fn depth(expr: &Expr) -> usize {
    1 + match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(depth).max().unwrap_or(0),
        Expr::Not(inner) => depth(inner),
        Expr::Check(_) => 0,
    }
}

/// All of them, without an `and` directly inside another.
pub(in crate::detect) fn and(parts: Vec<Expr>) -> Expr {
    let flat = parts.into_iter().flat_map(|part| match part {
        Expr::And(inner) => inner,
        other => vec![other],
    });
    single_or(flat.collect(), Expr::And)
}

/// One of them, without an `or` directly inside another.
pub(in crate::detect) fn or(parts: Vec<Expr>) -> Expr {
    let flat = parts.into_iter().flat_map(|part| match part {
        Expr::Or(inner) => inner,
        other => vec![other],
    });
    single_or(flat.collect(), Expr::Or)
}

fn single_or(mut parts: Vec<Expr>, several: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => several(parts.into_iter().chain(last).collect()),
    }
}
