//! Where in the file the parts of a Sigma rule stand: the parser does not say it.

use std::rc::Rc;

use crate::detect::lang::text::{Mark, Written};
use crate::detect::lang::yaml::{Kind, Node};

/// Longest condition. The longest of SigmaHQ's have a few hundred characters.
const MAX_CONDITION: usize = 4096;

/// Deepest parentheses of a condition.
const MAX_PARENTHESES: usize = 50;

/// Most `not`s of a condition.
const MAX_NEGATIONS: usize = 100;

/// A document of a file; nothing for what stands nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Document<'n>(Option<&'n Node>);

impl<'n> Document<'n> {
    pub(super) fn new(node: &'n Node) -> Self {
        Self(Some(node))
    }

    pub(super) fn mark(&self) -> Mark {
        self.0.map_or(Mark { line: 1, column: 1 }, |node| node.mark)
    }

    /// The part with this key, or the place of the whole when there is none.
    pub(super) fn key(&self, key: &str) -> Self {
        self.entry(|name| name == key).map_or(*self, |(_, value)| Self(Some(value)))
    }

    fn entry(&self, wanted: impl Fn(&str) -> bool) -> Option<(&'n Node, &'n Node)> {
        let Kind::Map(pairs) = &self.0?.kind else { return None };
        let is_wanted = |key: &Rc<Node>| matches!(&key.kind, Kind::Scalar(name, _) if wanted(name));
        pairs.iter().find(|(key, _)| is_wanted(key)).map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// The key and the value of the entry with this number.
    pub(super) fn pair(&self, index: usize) -> (Self, Self) {
        match self.0.map(|node| &node.kind) {
            Some(Kind::Map(pairs)) => match pairs.get(index) {
                Some((key, value)) => (Self(Some(key)), Self(Some(value))),
                None => (*self, *self),
            },
            _ => (*self, *self),
        }
    }

    /// The item of the list with this number; what is no list stands for itself.
    pub(super) fn item(&self, index: usize) -> Self {
        match self.0.map(|node| &node.kind) {
            Some(Kind::List(items)) => items.get(index).map_or(*self, |item| Self(Some(item))),
            _ => *self,
        }
    }

    pub(super) fn title(&self) -> Option<&'n str> {
        match &self.entry(|name| name == "title")?.1.kind {
            Kind::Scalar(title, _) => Some(title),
            _ => None,
        }
    }

    /// All conditions in it.
    pub(super) fn conditions(&self) -> Vec<(&'n str, &'n Written)> {
        fn collect<'n>(node: &'n Node, condition: bool, into: &mut Vec<(&'n str, &'n Written)>) {
            match &node.kind {
                Kind::Scalar(text, written) if condition => into.push((text, written)),
                Kind::Scalar(..) => {}
                Kind::List(items) => items.iter().for_each(|item| collect(item, condition, into)),
                Kind::Map(pairs) => {
                    for (key, value) in pairs {
                        let named = matches!(&key.kind, Kind::Scalar(name, _) if name == "condition");
                        collect(value, named && !matches!(value.kind, Kind::Map(_)), into);
                    }
                }
            }
        }
        let mut conditions = Vec::new();
        if let Some(node) = self.0.filter(|_| self.entry(|name| name == "detection").is_some()) {
            collect(node, false, &mut conditions);
        }
        conditions
    }

    /// The key that a message of the parser names in quotes.
    pub(super) fn blame(&self, message: &str) -> Option<Mark> {
        let named = message.split('\'').nth(1)?;
        self.find(&|key| key.split('|').any(|part| part == named))
    }

    fn find(&self, wanted: &impl Fn(&str) -> bool) -> Option<Mark> {
        match &self.0?.kind {
            Kind::Scalar(..) => None,
            Kind::List(items) => items.iter().find_map(|item| Self(Some(item)).find(wanted)),
            Kind::Map(pairs) => pairs.iter().find_map(|(key, value)| match &key.kind {
                Kind::Scalar(name, _) if wanted(name) => Some(key.mark),
                _ => Self(Some(value)).find(wanted),
            }),
        }
    }
}

/// Whether a condition is more than the parser can take: it calls itself for each parenthesis and each `not`.
pub(super) fn is_long(condition: &str) -> bool {
    let negations = condition.split_whitespace().filter(|word| word.eq_ignore_ascii_case("not")).count();
    let mut depth = 0_usize;
    let deepest = condition.chars().map(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth
    });
    condition.len() > MAX_CONDITION
        || negations > MAX_NEGATIONS
        || deepest.max().is_some_and(|depth| depth > MAX_PARENTHESES)
}
