//! Which files a condition may be about: always at least those for which it can hold.

use std::collections::BTreeSet;

use super::checks::{Check, Checks};
use super::matcher::Matcher;
use super::slots::Slots;
use super::transform::Transformer;
use super::tree::Tree;
use crate::detect::lang::ast::Operator;

/// A set of files. Nothing in it: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// All files.
    pub all: bool,
    /// Paths, whole.
    pub paths: BTreeSet<Vec<u8>>,
    /// Directories, with a slash at the end: everything below them.
    pub directories: BTreeSet<Vec<u8>>,
    /// Last components of paths.
    pub names: BTreeSet<Vec<u8>>,
}

impl Files {
    /// All files.
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// No file.
    pub fn is_empty(&self) -> bool {
        !self.all && self.paths.is_empty() && self.directories.is_empty() && self.names.is_empty()
    }

    /// Adds those of another set.
    pub fn add(&mut self, other: Self) {
        if self.all || other.all {
            *self = Self::all();
            return;
        }
        self.paths.extend(other.paths);
        self.directories.extend(other.directories);
        self.names.extend(other.names);
    }

    /// Whether a file with this path is in it.
    pub fn covers(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        self.all
            || self.paths.contains(path)
            || self.names.contains(name)
            || self.directories.iter().any(|directory| path.starts_with(directory))
    }

    /// How much is told because of it, roughly: a directory is worth many files.
    fn weight(&self) -> usize {
        if self.all { usize::MAX } else { self.paths.len() + self.names.len() + 100 * self.directories.len() }
    }

    /// The files for which the condition may hold (`wanted`), or may not hold.
    pub fn of(tree: &Tree, wanted: bool, checks: &Checks, slots: &Slots) -> Self {
        match tree {
            Tree::Known(bool) => {
                if *bool == wanted {
                    Self::all()
                } else {
                    Self::default()
                }
            }
            Tree::Check(at) => {
                let check = checks.list.get(*at).filter(|check| wanted && !check.negated);
                check.and_then(|check| of_check(check, slots)).unwrap_or_else(Self::all)
            }
            Tree::Not(part) => Self::of(part, !wanted, checks, slots),
            // Of all of them the one that says most is enough.
            Tree::All(parts) if wanted => smallest(parts, wanted, checks, slots),
            Tree::Any(parts) if !wanted => smallest(parts, wanted, checks, slots),
            Tree::All(parts) | Tree::Any(parts) => {
                let mut sum = Self::default();
                parts.iter().for_each(|part| sum.add(Self::of(part, wanted, checks, slots)));
                sum
            }
        }
    }

    /// Everything that begins with this text.
    fn beginning(text: &[u8]) -> Self {
        match text.iter().rposition(|byte| *byte == b'/') {
            // Everything below the root is everything.
            None | Some(0) => Self::all(),
            Some(at) => Self { directories: [text[..=at].to_vec()].into(), ..Self::default() },
        }
    }

    fn named(name: &[u8]) -> Self {
        Self { names: [name.to_vec()].into(), ..Self::default() }
    }
}

fn smallest(parts: &[Tree], wanted: bool, checks: &Checks, slots: &Slots) -> Files {
    let sets = parts.iter().map(|part| Files::of(part, wanted, checks, slots));
    sets.min_by_key(Files::weight).unwrap_or_else(Files::all)
}

/// Fields that hold the path of the file that the event is told for.
pub(super) const PATHS: &[&str] = &["fd.name", "fd.original", "fs.path.name"];

/// Fields that hold the names of a change: the kernel programs look at both of a rename and of a link, and at that of a
/// symbolic link, but not at its text.
const CHANGED: &[&str] = &["fs.path.old", "fs.path.new", "fs.path.source"];

/// None: it says nothing of the file.
fn of_check(check: &Check, slots: &Slots) -> Option<Files> {
    let slot = slots.list.get(check.slot)?;
    let below = slot.upon.and_then(|(below, transformer)| Some((slots.list.get(below)?, transformer)));
    let is_path = |slot: &super::slots::Slot| PATHS.iter().chain(CHANGED).any(|name| slot.is(name));
    let each = |of: &dyn Fn(&[u8]) -> Files| {
        let mut sum = Files::default();
        check.operands.iter().for_each(|operand| sum.add(of(operand.as_bytes())));
        sum
    };
    let equal = matches!(check.operator, Operator::Equal | Operator::In | Operator::Intersects)
        && matches!(check.matcher, Matcher::Text(_) | Matcher::Texts(_));
    if let Some((below, Transformer::Basename)) = below {
        return (is_path(below) && equal).then(|| each(&Files::named));
    }
    if slot.is("fd.filename") {
        return equal.then(|| each(&Files::named));
    }
    if slot.is("fd.directory") {
        return match check.operator {
            _ if equal => Some(each(&|path| directory(path))),
            Operator::Pmatch => patterns(check, directory),
            Operator::StartsWith => Some(each(&Files::beginning)),
            _ => None,
        };
    }
    if !is_path(slot) {
        return None;
    }
    match check.operator {
        _ if equal => {
            Some(Files { paths: check.operands.iter().map(|path| path.clone().into()).collect(), ..Files::default() })
        }
        Operator::StartsWith => Some(each(&Files::beginning)),
        Operator::EndsWith => Some(each(&ending)),
        Operator::Glob => Some(each(&glob)),
        Operator::Pmatch => patterns(check, |path| {
            let mut files = directory(path);
            files.paths.insert(path.strip_suffix(b"/").unwrap_or(path).to_vec());
            files
        }),
        _ => None,
    }
}

/// Everything in a directory and below it.
fn directory(path: &[u8]) -> Files {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if path.is_empty() { Files::all() } else { Files::beginning(&[path, b"/"].concat()) }
}

fn patterns(check: &Check, of: impl Fn(&[u8]) -> Files) -> Option<Files> {
    let mut sum = Files::default();
    for operand in &check.operands {
        sum.add(match operand.find(['*', '?', '[']) {
            Some(at) => Files::beginning(&operand.as_bytes()[..at]),
            None => of(operand.as_bytes()),
        });
    }
    Some(sum)
}

/// Everything that ends with this text: known when that has the whole last component.
fn ending(text: &[u8]) -> Files {
    match text.iter().rposition(|byte| *byte == b'/') {
        Some(at) if at + 1 < text.len() => Files::named(&text[at + 1..]),
        _ => Files::all(),
    }
}

/// Everything that a shell pattern fits.
fn glob(pattern: &[u8]) -> Files {
    const SPECIAL: &[u8] = b"*?[]\\";
    let special = |byte: &u8| SPECIAL.contains(byte);
    // The last component without wildcards; brackets before it may hide the slash.
    let tail = ending(pattern);
    if !tail.all && !tail.names.iter().any(|name| name.iter().any(special)) && !pattern.contains(&b'[') {
        return tail;
    }
    let end = pattern.iter().position(special).unwrap_or(pattern.len());
    Files::beginning(&pattern[..end])
}
