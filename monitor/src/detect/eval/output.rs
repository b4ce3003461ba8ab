//! The message of a finding: a text with `%field`s.

use super::session::Session;
use super::slots::Slots;
use crate::detect::lang::ast::{Field, Place};
use crate::events::text::lossy;

/// What is shown where a value is missing, as Falco does.
pub(super) const MISSING: &str = "<NA>";

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(usize),
}

/// A message, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    parts: Vec<Part>,
}

impl Output {
    /// Takes it apart.
    ///
    /// # Errors
    /// What is wrong with its fields.
    pub fn new(text: &str, place: &Place, slots: &mut Slots) -> Result<Self, Vec<String>> {
        // Falco: with a star in front the message is written though values are missing. Here it always is.
        let mut rest = text.strip_prefix('*').unwrap_or(text);
        let (mut parts, mut wrong) = (Vec::new(), Vec::new());
        while let Some(at) = rest.find('%') {
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            push_text(&mut parts, before.strip_suffix('*').filter(|_| begins_field(after)).unwrap_or(before));
            if let Some(after) = after.strip_prefix('%') {
                push_text(&mut parts, "%");
                rest = after;
                continue;
            }
            match field(after, place) {
                None => {
                    push_text(&mut parts, "%");
                    rest = after;
                }
                Some((field, length)) => {
                    match slots.intern(&field) {
                        Ok(slot) => parts.push(Part::Field(slot)),
                        Err(message) => wrong.push(format!("in the output: {message}")),
                    }
                    rest = &after[length..];
                }
            }
        }
        push_text(&mut parts, rest);
        if wrong.is_empty() { Ok(Self { parts }) } else { Err(wrong) }
    }

    /// The slots of its fields.
    pub fn slots(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(slot) => Some(*slot),
            Part::Text(_) => None,
        })
    }

    /// The message of this event. Bytes that are no text and control characters are escaped: nobody writes lines of his
    /// own into a log.
    pub fn write(&self, session: &mut Session<'_, '_>) -> String {
        let mut message = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => message.push_str(text),
                Part::Field(slot) => message.push_str(&shown(session, *slot)),
            }
        }
        message
    }
}

/// The values of a slot as people read them.
pub(super) fn shown(session: &mut Session<'_, '_>, slot: usize) -> String {
    let range = session.slot(slot);
    if range.is_empty() {
        return MISSING.to_owned();
    }
    // Of several names of the event the usual one.
    let usual = session.shows_first(slot);
    let end = if usual { range.start + 1 } else { range.end };
    let mut text = Vec::new();
    for index in range.start..end {
        if index > range.start {
            text.push(b',');
        }
        session.values.write(&session.values.list[index], &mut text);
    }
    let text = lossy(&text);
    if !text.contains(char::is_control) {
        return text.into_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            letter if letter.is_control() => escaped.extend(letter.escape_default()),
            letter => escaped.push(letter),
        }
    }
    escaped
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

fn begins_field(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_lowercase())
}

/// `tolower(proc.aname[2])`: the field, and how long it is.
fn field(text: &str, place: &Place) -> Option<(Field, usize)> {
    if !begins_field(text) {
        return None;
    }
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_');
    let word = &text[..text.find(|letter| !is_name(letter)).unwrap_or(text.len())];
    if let Some(inner) = text[word.len()..].strip_prefix('(')
        && !word.contains('.')
    {
        let (mut field, length) = field(inner, place)?;
        inner[length..].strip_prefix(')')?;
        field.transformers.push(word.to_owned());
        return Some((field, word.len() + 1 + length + 1));
    }
    // A full stop behind it ends the sentence.
    let name = word.trim_end_matches('.');
    if !name.contains('.') {
        return None;
    }
    let (mut argument, mut length) = (None, name.len());
    if let Some(inside) = text[length..].strip_prefix('[')
        && let Some(end) = inside.find(']')
    {
        argument = Some(inside[..end].to_owned());
        length += end + 2;
    }
    Some((
        Field { name: name.to_owned(), argument, transformers: Vec::new(), parts: Vec::new(), place: place.clone() },
        length,
    ))
}
