//! Rule files as YAML: a tree whose parts know their places. When a part of a file is no YAML, the items before and after
//! it are still read.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::text::{Mark, Written};

/// Deepest nesting: rules need five levels.
const MAX_DEPTH: usize = 32;

/// Most parts of a file, aliases counted as what they stand for: ten times Falco's largest file, and far below what a
/// file could blow up to.
const MAX_PARTS: usize = 400_000;

/// Most places of a file at which reading starts again after a mistake.
const MAX_RESTARTS: usize = 50;

/// A part of a YAML file.
#[derive(Debug)]
pub(in crate::detect) struct Node {
    pub(in crate::detect) mark: Mark,
    pub(in crate::detect) kind: Kind,
    /// How many parts it has, itself included.
    parts: usize,
}

#[derive(Debug)]
pub(in crate::detect) enum Kind {
    Scalar(String, Written),
    List(Vec<Rc<Node>>),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    /// What it is, for messages.
    pub(in crate::detect) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(..) if self.is_null() => "nothing",
            Kind::Scalar(..) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// Nothing was written, or `~`.
    pub(in crate::detect) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(value, written)
            if written.style == ScalarStyle::Plain && matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// What could be read of a file.
#[derive(Debug, Default)]
pub(in crate::detect) struct Parsed {
    pub(in crate::detect) documents: Vec<Rc<Node>>,
    pub(in crate::detect) errors: Vec<(Mark, String)>,
}

/// Reads a file.
pub(in crate::detect) fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let mut begin = Begin::default();
    for _ in 0..MAX_RESTARTS {
        let mut tree = Tree::new(begin);
        let Err((mark, message)) = tree.read(text) else {
            parsed.documents.append(&mut tree.documents);
            return parsed;
        };
        parsed.errors.push((mark, message));
        tree.finish_list();
        let last = tree.last_item;
        parsed.documents.append(&mut tree.documents);
        match last.map_or_else(|| Begin::next_item(text, begin.line), |line| Begin::next_item(text, line)) {
            Some(next) => begin = next,
            None => return parsed,
        }
    }
    let mark = Mark { line: u32::try_from(begin.line).unwrap_or(u32::MAX), column: 1 };
    parsed.errors.push((mark, "gives up: too many mistakes before this line".to_owned()));
    parsed
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Begin {
    byte: usize,
    character: usize,
    /// From 1.
    line: usize,
}

impl Default for Begin {
    fn default() -> Self {
        Self { byte: 0, character: 0, line: 1 }
    }
}

impl Begin {
    /// The next item of the file's list that begins after this line.
    fn next_item(text: &str, after: usize) -> Option<Self> {
        let item = |line: &str| {
            let dashed = line.trim_start_matches(' ');
            let indent = line.len() - dashed.len();
            (dashed.starts_with("- ") || dashed.trim_end() == "-").then_some(indent)
        };
        let indent = text.lines().find_map(item)?;
        let mut begin = Self::default();
        for line in text.split_inclusive('\n') {
            if begin.line > after && item(line) == Some(indent) {
                return Some(begin);
            }
            begin.byte += line.len();
            begin.character += line.chars().count();
            begin.line += 1;
        }
        None
    }
}

struct Tree {
    begin: Begin,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    documents: Vec<Rc<Node>>,
    /// Line of the last item of the outermost list that was begun.
    last_item: Option<usize>,
    parts: usize,
}

/// A list or mapping that has not ended.
struct Open {
    mark: Mark,
    anchor: usize,
    children: Vec<Rc<Node>>,
    map: bool,
}

impl Tree {
    fn new(begin: Begin) -> Self {
        Self { begin, open: Vec::new(), anchors: HashMap::new(), documents: Vec::new(), last_item: None, parts: 0 }
    }

    fn read(&mut self, text: &str) -> Result<(), (Mark, String)> {
        let mut parser = Parser::new_from_str(text.get(self.begin.byte..).unwrap_or_default());
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let mark = self.mark(error.marker().line(), error.marker().col());
                (mark, format!("is no YAML: {}", error.info()))
            })?;
            self.take(event, span)?;
        }
        Ok(())
    }

    fn mark(&self, line: usize, column: usize) -> Mark {
        let line = u32::try_from(line + self.begin.line - 1).unwrap_or(u32::MAX);
        Mark { line, column: u32::try_from(column + 1).unwrap_or(u32::MAX) }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), (Mark, String)> {
        let mark = self.mark(span.start.line(), span.start.col());
        match event {
            Event::Scalar(value, style, anchor, _) => {
                let index = span.start.index() + self.begin.character;
                let kind = Kind::Scalar(value.into_owned(), Written { index, mark, style });
                self.complete(Node { mark, kind, parts: 1 }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err((mark, "this alias stands for something that has not ended yet".to_owned()));
                };
                self.count(node.parts, mark)?;
                self.add(node);
                Ok(())
            }
            Event::SequenceStart(anchor, _) => self.begin(mark, anchor, false),
            Event::MappingStart(anchor, _) => self.begin(mark, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let anchor = open.anchor;
                self.complete(open.into_node(), anchor)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn begin(&mut self, mark: Mark, anchor: usize, map: bool) -> Result<(), (Mark, String)> {
        if self.open.len() >= MAX_DEPTH {
            return Err((mark, format!("is nested deeper than {MAX_DEPTH} levels")));
        }
        self.note_item(mark);
        self.open.push(Open { mark, anchor, children: Vec::new(), map });
        Ok(())
    }

    fn note_item(&mut self, mark: Mark) {
        if self.open.len() == 1 {
            self.last_item = usize::try_from(mark.line).ok();
        }
    }

    fn count(&mut self, parts: usize, mark: Mark) -> Result<(), (Mark, String)> {
        self.parts = self.parts.saturating_add(parts);
        if self.parts > MAX_PARTS {
            return Err((mark, format!("the file has more than {MAX_PARTS} parts with its aliases")));
        }
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), (Mark, String)> {
        self.count(1, node.mark)?;
        self.note_item(node.mark);
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.add(node);
        Ok(())
    }

    fn add(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.documents.push(node),
        }
    }

    /// After a mistake: the items of the outermost list that were complete.
    fn finish_list(&mut self) {
        self.open.truncate(1);
        if let Some(open) = self.open.pop().filter(|open| !open.map) {
            self.documents.push(Rc::new(open.into_node()));
        }
    }
}

impl Open {
    fn into_node(self) -> Node {
        let parts = self.children.iter().fold(1_usize, |sum, child| sum.saturating_add(child.parts));
        let kind = if self.map {
            let pair = |pair: &[Rc<Node>]| match pair {
                [key, value] => Some((key.clone(), value.clone())),
                _ => None,
            };
            Kind::Map(self.children.chunks_exact(2).filter_map(pair).collect())
        } else {
            Kind::List(self.children)
        };
        Node { mark: self.mark, kind, parts }
    }
}
