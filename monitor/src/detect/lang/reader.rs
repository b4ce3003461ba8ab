//! Takes values out of a file's tree, and notes what is wrong with them.

use std::rc::Rc;
use std::time::Duration;

use super::ast::{Diagnostic, Field, Place};
use super::nearest::nearest;
use super::parse::{self, Problem};
use super::text::{Mark, Page, Text};
use super::yaml::{Kind, Node};

/// Reads one file.
pub(super) struct Reader<'a> {
    pub(super) page: Page<'a>,
    pub(super) diagnostics: &'a mut Vec<Diagnostic>,
    /// The item that is being read, for messages: `rule X`.
    item: Option<String>,
    /// Whether that item has a mistake.
    failed: bool,
}

/// A mapping, with each key once.
pub(super) struct Map<'n> {
    pub(super) mark: Mark,
    entries: Vec<(&'n str, Mark, &'n Node)>,
}

impl<'n> Map<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, ..)| *name == key).map(|(.., node)| *node)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (&'n str, Mark)> + '_ {
        self.entries.iter().map(|(name, mark, _)| (*name, *mark))
    }

    pub(super) fn entries(&self) -> &[(&'n str, Mark, &'n Node)] {
        &self.entries
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(page: Page<'a>, diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        Self { page, diagnostics, item: None, failed: false }
    }

    pub(super) fn place(&self, mark: Mark) -> Place {
        self.page.place(mark)
    }

    /// Begins another item; from now on mistakes are its own.
    pub(super) fn begin(&mut self, item: Option<String>) {
        self.item = item;
        self.failed = false;
    }

    /// Whether the item has no mistake so far.
    pub(super) fn is_good(&self) -> bool {
        !self.failed
    }

    pub(super) fn error(&mut self, mark: Mark, message: impl Into<String>) {
        self.failed = true;
        self.tell(self.page.place(mark), message.into(), true);
    }

    pub(super) fn warning(&mut self, mark: Mark, message: impl Into<String>) {
        self.tell(self.page.place(mark), message.into(), false);
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.failed = true;
        self.tell(problem.place, problem.message, true);
    }

    fn tell(&mut self, place: Place, message: String, error: bool) {
        self.diagnostics.push(Diagnostic { place, item: self.item.clone(), error, message });
    }

    /// The node as a mapping; `what` names it for the message when it is none.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<Map<'n>> {
        let Kind::Map(pairs) = &node.kind else {
            self.error(node.mark, format!("{what} has to be a mapping (`key: value`), is {}", node.what()));
            return None;
        };
        let mut map = Map { mark: node.mark, entries: Vec::with_capacity(pairs.len()) };
        for (key, value) in pairs {
            let Kind::Scalar(name, _) = &key.kind else {
                self.warning(key.mark, format!("a key of {what} has to be a word, is {}", key.what()));
                continue;
            };
            if map.has(name) {
                self.warning(key.mark, format!("`{name}` is there twice: the first counts"));
                continue;
            }
            map.entries.push((name, key.mark, value));
        }
        Some(map)
    }

    /// Tells of keys that nobody asks for. A key that is nearly one of `ours` is an error, because it was meant to
    /// change when the rule fires.
    pub(super) fn known(&mut self, map: &Map<'_>, falco: &[&str], ours: &[&str]) {
        for (name, mark) in map.keys() {
            if falco.contains(&name) || ours.contains(&name) {
                continue;
            }
            if let Some(near) = nearest(name, ours.iter().copied()) {
                self.error(mark, format!("unknown key `{name}`: did you mean `{near}`?"));
            } else if let Some(near) = nearest(name, falco.iter().copied()) {
                self.warning(mark, format!("unknown key `{name}` is ignored: did you mean `{near}`?"));
            } else {
                self.warning(mark, format!("unknown key `{name}` is ignored"));
            }
        }
    }

    /// A single value of a mapping.
    pub(super) fn text(&mut self, map: &Map<'_>, key: &str) -> Option<Text> {
        let node = map.get(key)?;
        self.scalar(node, key)
    }

    /// A single value that has to be there.
    pub(super) fn needed(&mut self, map: &Map<'_>, key: &str) -> Option<Text> {
        if !map.has(key) {
            self.error(map.mark, format!("`{key}` is missing"));
        }
        self.text(map, key)
    }

    /// A node that has to be a single value.
    pub(super) fn scalar(&mut self, node: &Node, what: &str) -> Option<Text> {
        match &node.kind {
            Kind::Scalar(value, written) if !value.trim().is_empty() && !node.is_null() => {
                Some(Text::of_scalar(&self.page, value, written))
            }
            Kind::Scalar(..) => {
                self.error(node.mark, format!("`{what}` is empty"));
                None
            }
            _ => {
                self.error(node.mark, format!("`{what}` has to be a single value, is {}", node.what()));
                None
            }
        }
    }

    pub(super) fn string(&mut self, map: &Map<'_>, key: &str) -> Option<String> {
        self.text(map, key).map(|text| text.value().trim().to_owned())
    }

    /// What YAML 1.1 takes for true or false, as Falco does.
    pub(super) fn truth(&mut self, map: &Map<'_>, key: &str) -> Option<bool> {
        let node = map.get(key)?;
        let text = self.scalar(node, key)?;
        match text.value().to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" => Some(true),
            "false" | "no" | "n" | "off" => Some(false),
            other => {
                self.error(node.mark, format!("`{key}` has to be true or false, is `{other}`"));
                None
            }
        }
    }

    /// The parts of a list.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Rc<Node>]> {
        match &node.kind {
            Kind::List(items) => Some(items),
            _ => {
                self.error(node.mark, format!("`{what}` has to be a list, is {}", node.what()));
                None
            }
        }
    }

    /// A list of single values with their places. An empty one may be `[]` or nothing.
    pub(super) fn strings(&mut self, map: &Map<'_>, key: &str) -> Option<Vec<(String, Place)>> {
        let node = map.get(key)?;
        if node.is_null() {
            return Some(Vec::new());
        }
        let items = self.list(node, key)?;
        Some(items.iter().filter_map(|item| self.raw(item, key)).collect())
    }

    /// A value as it is written, which may be empty.
    pub(super) fn raw(&mut self, node: &Node, what: &str) -> Option<(String, Place)> {
        match &node.kind {
            Kind::Scalar(value, _) => Some((value.clone(), self.place(node.mark))),
            _ => {
                self.error(node.mark, format!("a value of `{what}` has to be a single value, is {}", node.what()));
                None
            }
        }
    }

    /// One field or several.
    pub(super) fn fields(&mut self, map: &Map<'_>, key: &str) -> Option<Vec<Field>> {
        let Some(node) = map.get(key) else {
            self.error(map.mark, format!("`{key}` is missing: a field or a list of fields"));
            return None;
        };
        let fields: Vec<_> = match &node.kind {
            Kind::List(items) => items.iter().map(|item| self.field(item, key)).collect(),
            _ => vec![self.field(node, key)],
        };
        let fields: Vec<_> = fields.into_iter().collect::<Option<_>>()?;
        if fields.is_empty() {
            self.error(node.mark, format!("`{key}` names no field"));
            return None;
        }
        Some(fields)
    }

    pub(super) fn field(&mut self, node: &Node, what: &str) -> Option<Field> {
        let text = self.scalar(node, what)?;
        match parse::field(&text) {
            Ok(field) => Some(field),
            Err(problem) => {
                self.problem(problem);
                None
            }
        }
    }

    /// A time like `10s` or `30d`, longer than nothing.
    pub(super) fn duration(&mut self, map: &Map<'_>, key: &str) -> Option<Duration> {
        let node = map.get(key)?;
        let text = self.scalar(node, key)?;
        match humantime::parse_duration(text.value().trim()) {
            Ok(Duration::ZERO) => {
                self.error(node.mark, format!("`{key}` has to be longer than nothing"));
                None
            }
            Ok(duration) => Some(duration),
            Err(error) => {
                let message =
                    format!("`{key}` has to be a time such as 10s, 5m or 30d, is `{}`: {error}", text.value());
                self.error(node.mark, message);
                None
            }
        }
    }

    /// A time that has to be there.
    pub(super) fn needed_duration(&mut self, map: &Map<'_>, key: &str) -> Option<Duration> {
        if !map.has(key) {
            self.error(map.mark, format!("`{key}` is missing: a time such as 10s, 5m or 30d"));
        }
        self.duration(map, key)
    }
}
