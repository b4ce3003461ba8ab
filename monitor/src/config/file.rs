//! The configuration file: reads it, finds every mistake in it and where that is.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::field::Raw;
use super::group;
use super::keys::{self, TABLES};
use super::load::{Draft, FILE_LIMIT, Sources, unknown_key};
use super::mistake::{MISTAKES, Mistake, nearest, printable, quoted, suggestion};
use super::origin::Origin;

/// Reads the file, if there is one to read.
pub(super) fn read(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Option<(PathBuf, String)> {
    let (path, named) = match (&sources.file, &sources.default_file) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path, false),
        (None, None) => return None,
    };
    let problem = match read_bytes(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return None,
        Err(error) if named => format!("the configuration file cannot be read: {error}"),
        Err(error) => {
            format!("the configuration file cannot be read: {error}; `--config /dev/null` does without it")
        }
        Ok(bytes) if bytes.len() as u64 > FILE_LIMIT => {
            format!("the configuration file is larger than {} KiB", FILE_LIMIT >> 10)
        }
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => return Some((path.clone(), text)),
            Err(error) => {
                let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
                let lines = good.iter().filter(|byte| **byte == b'\n').count();
                let column = String::from_utf8_lossy(good).lines().next_back().map_or(0, |line| line.chars().count());
                let column = if good.ends_with(b"\n") { 0 } else { column };
                let origin = Origin::File { path: path.clone(), line: lines + 1, column: column + 1 };
                mistakes.push(Mistake::new(origin, "the file is not UTF-8 text from here on"));
                return None;
            }
        },
    };
    mistakes.push(Mistake::new(Origin::File { path: path.clone(), line: 0, column: 0 }, problem));
    None
}

/// At most one byte more than the limit, so that an endless file is seen to be one.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text with its lines, to find places.
pub(super) struct Document<'a> {
    path: &'a Path,
    text: &'a str,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
}

impl<'a> Document<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, text, lines }
    }

    /// The place where `span` begins.
    pub(super) fn origin(&self, span: &Range<usize>) -> Origin {
        let line = self.lines.partition_point(|start| *start <= span.start);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..span.start).map_or(0, |before| before.chars().count()) + 1;
        Origin::File { path: self.path.to_owned(), line, column }
    }
}

/// Takes over what the file sets.
pub(super) fn apply(draft: &mut Draft, path: &Path, text: &str) {
    let document = Document::new(path, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let before = draft.mistakes.len();
    for error in errors.iter().take(MISTAKES) {
        let origin = document.origin(&error.span().unwrap_or(0..0));
        draft.mistake(origin, printable(error.message()));
    }
    let syntax: Vec<usize> = draft.mistakes.iter().skip(before).map(line).collect();
    top(draft, &document, root.get_ref());
    // What the parser made of a broken line is a guess.
    let mut seen = 0;
    draft.mistakes.retain(|mistake| {
        seen += 1;
        seen <= before + syntax.len() || !syntax.contains(&line(mistake))
    });
}

fn line(mistake: &Mistake) -> usize {
    match mistake.origin {
        Origin::File { line, .. } => line,
        _ => 0,
    }
}

/// The tables of the file.
fn top(draft: &mut Draft, document: &Document<'_>, root: &DeTable<'_>) {
    for (name, value) in root {
        let origin = document.origin(&name.span());
        let name = name.get_ref().as_ref();
        match value.get_ref() {
            _ if draft.is_full() => return,
            DeValue::Array(array) if name == "group" => group::apply(draft, document, array),
            _ if name == "group" => draft.mistake(origin, "group is a list of tables: write [[group]]"),
            DeValue::Table(table) if is_table(name) => inside(draft, document, name, table),
            _ if is_table(name) => draft.mistake(origin, format!("{name} is a table: write [{name}]")),
            DeValue::Table(_) => {
                let near = nearest(name, TABLES.iter().map(|(table, _)| *table).chain(["group"]));
                let near = near.map(|near| if near == "group" { "[[group]]".to_owned() } else { format!("[{near}]") });
                draft.mistake(origin, format!("unknown table {}{}", quoted(name), suggestion(near.as_deref())));
            }
            _ => draft.mistake(origin, unknown_key(name)),
        }
    }
}

fn is_table(name: &str) -> bool {
    TABLES.iter().any(|(table, _)| *table == name)
}

/// The keys of one table.
fn inside(draft: &mut Draft, document: &Document<'_>, table: &str, keys: &DeTable<'_>) {
    for (name, value) in keys {
        if draft.is_full() {
            return;
        }
        let full = format!("{table}.{}", name.get_ref());
        match keys::find(&full) {
            Some(key) => set(draft, document, key, value),
            None => draft.mistake(document.origin(&name.span()), unknown_key(&full)),
        }
    }
}

fn set(draft: &mut Draft, document: &Document<'_>, key: &'static keys::Key, value: &Spanned<DeValue<'_>>) {
    let origin = document.origin(&value.span());
    draft.set(key, Raw::Toml(value.get_ref()), origin, |span| Some(document.origin(&span)));
}
