//! One rule file. Read by hand instead of with serde, which stops at the first mistake.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{known, nearest};
use crate::detect::glob::{BadGlob, Glob};
use crate::events::Severity;

const KEYS: [&str; 5] = ["id", "enabled", "severity", "except_exe", "except_group"];

/// One `[[rule]]`.
pub(super) struct Entry {
    pub(super) id: &'static str,
    pub(super) enabled: Option<bool>,
    pub(super) severity: Option<Severity>,
    pub(super) except_exe: Vec<Glob>,
    pub(super) except_group: Vec<Glob>,
}

/// What is wrong, and where.
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) message: String,
}

/// The entries without mistakes, and all mistakes.
pub(super) fn entries(text: &str) -> (Vec<Entry>, Vec<Mistake>) {
    let mut file = File { text, mistakes: Vec::new() };
    let entries = file.read();
    file.mistakes.sort_by_key(|mistake| mistake.line);
    (entries, file.mistakes)
}

struct File<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl File<'_> {
    fn read(&mut self) -> Vec<Entry> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if !errors.is_empty() {
            for error in errors {
                self.mistake(error.span().map_or(0, |span| span.start), error.message().to_owned());
            }
            // What could be made out of a broken file would only give more mistakes that are none.
            return Vec::new();
        }
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("rule", DeValue::Array(array)) => entries.extend(array.iter().filter_map(|rule| self.rule(rule))),
                ("rule", _) => self.mistake(key.span().start, "write `[[rule]]` with two brackets".to_owned()),
                (other, _) => {
                    let hint = nearest(other, std::iter::once("rule"));
                    self.mistake(
                        key.span().start,
                        format!("unknown key `{other}`{hint}; a rule file has only [[rule]]"),
                    );
                }
            }
        }
        entries
    }

    fn rule(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Entry> {
        let DeValue::Table(table) = value.get_ref() else {
            self.mistake(value.span().start, "a rule is a table: [[rule]]".to_owned());
            return None;
        };
        let mut id = None;
        let mut entry =
            Entry { id: "", enabled: None, severity: None, except_exe: Vec::new(), except_group: Vec::new() };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "id" => id = Some(self.string("id", value).and_then(|text| self.checked(value, known(text)))),
                "enabled" => entry.enabled = self.boolean(value),
                "severity" => entry.severity = self.severity(value),
                "except_exe" => entry.except_exe = self.globs("except_exe", value, Glob::path),
                "except_group" => entry.except_group = self.globs("except_group", value, Glob::name),
                other => {
                    let hint = nearest(other, KEYS.into_iter());
                    self.mistake(key.span().start, format!("unknown key `{other}`{hint}"));
                }
            }
        }
        if id.is_none() {
            self.mistake(value.span().start, "a [[rule]] needs an `id`".to_owned());
        }
        entry.id = id??;
        Some(entry)
    }

    fn string<'v>(&mut self, key: &str, value: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.mistake(value.span().start, format!("`{key}` is a text in quotes"));
        }
        text
    }

    fn boolean(&mut self, value: &Spanned<DeValue<'_>>) -> Option<bool> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.mistake(value.span().start, "`enabled` is true or false".to_owned());
        }
        found
    }

    fn severity(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Severity> {
        let text = self.string("severity", value)?;
        self.checked(value, text.parse().map_err(|error: crate::events::UnknownSeverity| error.to_string()))
    }

    fn globs(&mut self, key: &str, value: &Spanned<DeValue<'_>>, glob: fn(&str) -> Result<Glob, BadGlob>) -> Vec<Glob> {
        let DeValue::Array(array) = value.get_ref() else {
            self.mistake(value.span().start, format!("`{key}` is a list of texts: [\"…\"]"));
            return Vec::new();
        };
        self.each_glob(key, array, glob)
    }

    fn each_glob(&mut self, key: &str, array: &DeArray<'_>, glob: fn(&str) -> Result<Glob, BadGlob>) -> Vec<Glob> {
        array
            .iter()
            .filter_map(|value| {
                let text = self.string(key, value)?;
                self.checked(value, glob(text).map_err(|error| format!("the pattern `{text}` of `{key}` {error}")))
            })
            .collect()
    }

    fn checked<T>(&mut self, value: &Spanned<DeValue<'_>>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.mistake(value.span().start, message)).ok()
    }

    fn mistake(&mut self, at: usize, message: String) {
        let line = 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        self.mistakes.push(Mistake { line, message });
    }
}
