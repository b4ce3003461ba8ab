//! What is wrong with a configuration, said so that it can be repaired.

use std::fmt;

use super::origin::Origin;

/// Most mistakes that are collected; nobody reads more, and a hostile file must not cost more.
pub(super) const MISTAKES: usize = 200;
/// Most mistakes that are printed; the rest is counted.
const PRINTED: usize = 50;
/// Most characters of a value that a message repeats.
const QUOTED: usize = 60;
/// Least likeness (Jaro-Winkler, 0 to 1) of a name that is suggested.
const ALIKE: f64 = 0.8;

/// One mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where it is.
    pub origin: Origin,
    /// What is wrong, what is accepted, and an example.
    pub text: String,
}

impl Mistake {
    pub(super) fn new(origin: Origin, text: impl Into<String>) -> Self {
        Self { origin, text: text.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.origin.place(), self.text)
    }
}

/// The configuration cannot be used. All its mistakes, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl ConfigError {
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort();
        mistakes.dedup();
        Self { mistakes }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.len() {
            1 => write!(out, "the configuration has a mistake:")?,
            MISTAKES.. => write!(out, "the configuration has {MISTAKES} mistakes or more:")?,
            count => write!(out, "the configuration has {count} mistakes:")?,
        }
        for mistake in self.mistakes.iter().take(PRINTED) {
            write!(out, "\n  {mistake}")?;
        }
        match self.mistakes.len().saturating_sub(PRINTED) {
            0 => Ok(()),
            _ if self.mistakes.len() >= MISTAKES => write!(out, "\n  and more"),
            more => write!(out, "\n  and {more} more"),
        }
    }
}

/// `text` without anything that moves a terminal's cursor or hides what stands there.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => out.push(character),
            _ => out.extend(character.escape_debug()),
        }
    }
    out
}

/// `text` in quotes, escaped, and cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
    }
}

/// The name most like `wrong`, if one is like it at all.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a long one is like none of them and would take quadratic time.
    if wrong.chars().nth(QUOTED).is_some() {
        return None;
    }
    let wrong = wrong.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wrong, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// `; did you mean NAME?`, or nothing.
pub(super) fn suggestion(name: Option<&str>) -> String {
    name.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}
