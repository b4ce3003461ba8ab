//! Text of a rule file that still knows where each of its characters was written, also after YAML has folded its lines
//! and taken its quotes and escapes away.

use std::path::PathBuf;
use std::sync::Arc;

use saphyr_parser::ScalarStyle;

use super::ast::Place;

/// A file's text, made to be looked up by the number of a character, which is how the YAML parser tells places.
pub(in crate::detect) struct Page<'a> {
    file: Arc<PathBuf>,
    text: &'a str,
    /// The byte at which every 256th character begins: looking one up must not cost a walk through the file.
    checkpoints: Vec<usize>,
}

const CHECKPOINT: usize = 256;

impl<'a> Page<'a> {
    pub(in crate::detect) fn new(file: Arc<PathBuf>, text: &'a str) -> Self {
        let checkpoints = text.char_indices().step_by(CHECKPOINT).map(|(byte, _)| byte).collect();
        Self { file, text, checkpoints }
    }

    pub(in crate::detect) fn place(&self, mark: Mark) -> Place {
        Place { file: self.file.clone(), line: mark.line, column: mark.column }
    }

    fn starting_at(&self, index: usize) -> &'a str {
        let start = self.checkpoints.get(index / CHECKPOINT).copied().unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        match rest.char_indices().nth(index % CHECKPOINT) {
            Some((byte, _)) => rest.get(byte..).unwrap_or_default(),
            None => "",
        }
    }
}

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::detect) struct Mark {
    pub(in crate::detect) line: u32,
    pub(in crate::detect) column: u32,
}

/// What a scalar was before YAML read it.
#[derive(Clone, Debug)]
pub(in crate::detect) struct Written {
    /// Number of its first character in the file.
    pub(in crate::detect) index: usize,
    pub(in crate::detect) mark: Mark,
    pub(in crate::detect) style: ScalarStyle,
}

/// Text with the places of its characters.
#[derive(Clone, Debug)]
pub(in crate::detect) struct Text {
    value: String,
    /// From this byte on, characters follow each other from this place on. Ordered, and never empty.
    runs: Vec<(usize, Place)>,
}

impl Text {
    /// Text that stands at one place.
    pub(in crate::detect) fn at(value: impl Into<String>, place: Place) -> Self {
        Self { value: value.into(), runs: vec![(0, place)] }
    }

    /// A scalar of the file.
    pub(in crate::detect) fn of_scalar(page: &Page<'_>, value: &str, written: &Written) -> Self {
        let mut text = Self::at(value, page.place(written.mark));
        let mut source = Source { rest: page.starting_at(written.index), mark: written.mark };
        match written.style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                source.next();
            }
            // What follows on the line of the `>` or `|` is its own business.
            ScalarStyle::Literal | ScalarStyle::Folded => {
                if source.rest.starts_with(['|', '>']) {
                    while source.next().is_some_and(|(character, _)| character != '\n') {}
                }
            }
            ScalarStyle::Plain => {}
        }
        let mut expected = written.mark;
        let mut inside_run = false;
        for (byte, character) in value.char_indices() {
            // YAML changes white space only (and writes some characters in another way), so the others come in order.
            if character.is_whitespace() && written.style != ScalarStyle::DoubleQuoted {
                expected.column += 1;
                continue;
            }
            let Some(mark) = source.find(character, written.style) else { break };
            if mark != expected || !inside_run {
                text.run(byte, page.place(mark));
                inside_run = true;
            }
            expected = Mark { column: mark.column + 1, ..mark };
        }
        text
    }

    fn run(&mut self, byte: usize, place: Place) {
        if byte == 0 {
            self.runs.clear();
        }
        self.runs.push((byte, place));
    }

    pub(in crate::detect) fn value(&self) -> &str {
        &self.value
    }

    /// Where the character at this byte was written.
    pub(in crate::detect) fn place(&self, byte: usize) -> Place {
        let after = self.runs.partition_point(|(start, _)| *start <= byte);
        let (start, place) = &self.runs[after.saturating_sub(1)];
        let between = self.value.get(*start..byte).unwrap_or_default().chars().count();
        Place { column: place.column.saturating_add(u32::try_from(between).unwrap_or(u32::MAX)), ..place.clone() }
    }

    /// Adds another text after a space: what Falco's `append` does.
    pub(in crate::detect) fn append(&mut self, other: &Self) {
        self.value.push(' ');
        let offset = self.value.len();
        self.value.push_str(&other.value);
        self.runs.extend(other.runs.iter().map(|(byte, place)| (byte + offset, place.clone())));
    }
}

/// The file from some character on.
struct Source<'a> {
    rest: &'a str,
    mark: Mark,
}

impl Source<'_> {
    fn next(&mut self) -> Option<(char, Mark)> {
        let character = self.rest.chars().next()?;
        let at = self.mark;
        self.rest = self.rest.get(character.len_utf8()..).unwrap_or_default();
        if character == '\n' || (character == '\r' && !self.rest.starts_with('\n')) {
            self.mark = Mark { line: at.line + 1, column: 1 };
        } else {
            self.mark.column += 1;
        }
        Some((character, at))
    }

    /// Goes to where this character of the value was written, and behind it.
    fn find(&mut self, character: char, style: ScalarStyle) -> Option<Mark> {
        loop {
            let (found, mark) = self.next()?;
            if style == ScalarStyle::DoubleQuoted && found == '\\' {
                let (kind, _) = self.next()?;
                let digits = match kind {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    // A line that goes on: no character.
                    '\n' | '\r' => continue,
                    _ => 0,
                };
                for _ in 0..digits {
                    self.next()?;
                }
                return Some(mark);
            }
            if found == character {
                if style == ScalarStyle::SingleQuoted && found == '\'' {
                    self.next()?;
                }
                return Some(mark);
            }
            // A folded line break is a space, and the white space around it is gone.
            if character == ' ' && found == '\n' {
                return Some(mark);
            }
        }
    }
}
