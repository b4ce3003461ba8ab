//! Every field there is: name, type, argument, and the function that takes it from an event. One family is one file.
//!
//! Falco's fields keep Falco's names and meanings. Those that only a container runtime, a name server or another kind of
//! sensor could tell are listed as [`Definition::unknown`]: rules that name them load, and their value is always missing.

mod container;
mod describe;
pub(super) mod evt;
pub(super) mod fd;
mod lineage;
mod more;
mod path;
mod process;
mod socket;
mod stdio;
mod target;
mod user;

pub(super) use socket::push_name as push_tuple;

pub use describe::markdown;

use super::facts::Facts;
use super::value::{Type, Values};

/// What is in brackets behind a field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// Nothing.
    None,
    /// A number.
    Index(usize),
    /// A name.
    Key(&'a str),
}

/// What may be in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brackets {
    /// Nothing.
    Never,
    /// A number, or nothing.
    Index,
    /// A number.
    NeedsIndex,
    /// A name or a number, or nothing.
    Key,
    /// A name.
    NeedsKey,
}

/// How a field with several values is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    /// One value has to fit (an ancestor).
    Any,
    /// One has to fit, but `!=` is for all (either end of a connection).
    Ends,
    /// A list: for `in` all have to fit, for `intersects` one.
    List,
}

/// Takes a field's values from an event; none are added when it has none.
pub type Extract = for<'a> fn(&Facts<'a>, Argument<'_>, &mut Values<'a>);

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Its name, without brackets.
    pub name: &'static str,
    /// What it is compared with.
    pub kind: Type,
    /// What may be in brackets.
    pub brackets: Brackets,
    /// How several values are compared.
    pub several: Several,
    /// What it costs to take, roughly nanoseconds.
    pub cost: u16,
    /// Nobody here can know it.
    pub unknown: bool,
    /// Takes it.
    pub extract: Extract,
}

/// A field with one value that is at hand.
const fn field(name: &'static str, kind: Type, extract: Extract) -> Definition {
    let (brackets, several) = (Brackets::Never, Several::Any);
    Definition { name, kind, brackets, several, cost: 5, unknown: false, extract }
}

/// A field of Falco's that nothing on this host tells.
const fn unknown(name: &'static str, kind: Type) -> Definition {
    Definition { unknown: true, cost: 1, ..field(name, kind, |_, _, _| {}) }
}

impl Definition {
    const fn cost(self, cost: u16) -> Self {
        Self { cost, ..self }
    }

    const fn brackets(self, brackets: Brackets) -> Self {
        Self { brackets, ..self }
    }

    const fn several(self, several: Several) -> Self {
        Self { several, ..self }
    }
}

const FAMILIES: &[&[Definition]] = &[
    evt::FIELDS,
    process::FIELDS,
    lineage::FIELDS,
    more::FIELDS,
    stdio::STDIN,
    stdio::STDOUT,
    stdio::STDERR,
    fd::FIELDS,
    socket::FIELDS,
    path::FIELDS,
    user::FIELDS,
    container::FIELDS,
    target::FIELDS,
];

/// All fields.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    FAMILIES.iter().copied().flatten()
}

/// The field with this name. `evt.arg.NAME` is looked up as `evt.arg`.
pub fn find(name: &str) -> Option<&'static Definition> {
    all().find(|definition| definition.name == name)
}

/// The names nearest to one that does not exist, the nearest first.
pub fn nearest(name: &str) -> Vec<&'static str> {
    nearest_of(name, all().map(|definition| definition.name))
}

/// Of `names` up to three that look like `name`.
pub fn nearest_of<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut scored: Vec<(f64, &str)> = names
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.85)
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0));
    scored.dedup_by_key(|(_, candidate)| *candidate);
    scored.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// The directory that a path lies in, without a slash at its end.
pub(super) fn directory(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        None | Some(0) => b"/",
        Some(at) => &path[..at],
    }
}

/// What comes after the last slash.
pub(super) fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}
