//! Sigma rules, made into rules of our language.
//!
//! `rsigma-parser` reads them (specification 2.0, with its older forms); here its tree is translated. What a rule means is
//! kept or the rule is left out with the reason: text is compared without regard to case unless `cased` says otherwise,
//! `*` and `?` are wildcards, and a field that nothing here tells is not taken for another.

mod document;
mod encode;
mod fields;
mod logsource;
mod pattern;
mod rule;
mod selection;
mod value;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::lang::ast::{Diagnostic, Place};
use super::lang::text::{Mark, Page, Text};
use super::lang::yaml::{self, Kind};
use super::lang::{Loaded, Source};
use document::Document;
use rsigma_parser::SigmaParserError;

/// Whether a file is one of Sigma's: mappings instead of a list of items.
pub fn is_sigma(text: &str) -> bool {
    let parsed = yaml::parse(text);
    parsed.documents.iter().find(|document| !document.is_null()).is_some_and(|document| match &document.kind {
        Kind::Map(pairs) => pairs.iter().any(|(key, _)| {
            let names = ["title", "logsource", "detection", "correlation", "action"];
            matches!(&key.kind, Kind::Scalar(name, _) if names.contains(&name.as_str()))
        }),
        _ => false,
    })
}

/// Reads Sigma rules.
pub fn load(sources: &[Source]) -> Loaded {
    let mut loaded = Loaded::default();
    let mut names = HashSet::new();
    for source in sources {
        read(source, &mut loaded, &mut names);
    }
    loaded
}

fn read(source: &Source, loaded: &mut Loaded, names: &mut HashSet<String>) {
    let file = Arc::new(source.path.clone());
    let mut teller = Teller { file, item: None, diagnostics: &mut loaded.diagnostics };
    let start = Mark { line: 1, column: 1 };
    if source.text.len() > 4 << 20 {
        teller.error(start, "is longer than 4 MiB: split it");
        return;
    }
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let parsed = yaml::parse(text);
    // The parser behind reads the file on its own, and may not be fed with what nobody can read.
    if !parsed.errors.is_empty() {
        for (mark, message) in parsed.errors {
            teller.error(mark, message);
        }
        return;
    }
    let documents: Vec<_> = parsed.documents.iter().map(|node| Document::new(node)).collect();
    let page = Page::new(teller.file.clone(), text);
    for (condition, written) in documents.iter().flat_map(Document::conditions) {
        if document::is_long(condition) {
            let most = "4096 characters, 50 parentheses inside each other or 100 `not`s";
            teller.error(written.mark, format!("a condition has more than {most}"));
            return;
        }
        if let Err(mistake) = rsigma_parser::parse_condition(condition) {
            teller.condition(&Text::of_scalar(&page, condition, written), &mistake);
        }
    }
    let collection = match rsigma_parser::parse_sigma_yaml(text) {
        Ok(collection) => collection,
        Err(error) => {
            teller.error(start, error.to_string());
            return;
        }
    };
    // Mistakes in conditions have been told, with their place.
    for message in collection.errors.iter().filter(|message| !message.starts_with("Condition parse error")) {
        let mark = documents.iter().find_map(|document| document.blame(message));
        teller.error(mark.or_else(|| documents.first().map(Document::mark)).unwrap_or(start), message.clone());
    }
    for correlation in &collection.correlations {
        let mark = find(&documents, &correlation.title).map_or(start, |document| document.mark());
        teller.item = Some(format!("rule `{}`", correlation.title));
        teller.warning(
            mark,
            "correlates other rules, which is not supported: left out; write a `sequence` or a `count` rule",
        );
    }
    for filter in &collection.filters {
        let mark = find(&documents, &filter.title).map_or(start, |document| document.mark());
        teller.item = Some(format!("filter `{}`", filter.title));
        teller.warning(mark, "filters of other rules are not supported: left out");
    }
    for rule in &collection.rules {
        teller.item = Some(format!("rule `{}`", rule.title));
        let nowhere = Document::default();
        let document = find(&documents, &rule.title).unwrap_or(&nowhere);
        if let Some(mut made) = rule::translate(rule, document, &mut teller) {
            // Titles are not unique, ids are.
            if !names.insert(made.name.clone()) {
                let id = rule.id.as_deref().unwrap_or("without id");
                made.name = format!("{} ({id})", made.name);
                if !names.insert(made.name.clone()) {
                    teller.warning(document.mark(), "is there twice: left out");
                    continue;
                }
            }
            loaded.rules.push(made);
        }
    }
}

fn find<'d, 'n>(documents: &'d [Document<'n>], title: &str) -> Option<&'d Document<'n>> {
    let titled = documents.iter().find(|document| document.title() == Some(title));
    titled.or_else(|| documents.first().filter(|_| documents.len() == 1))
}

/// Notes what is wrong.
struct Teller<'a> {
    file: Arc<PathBuf>,
    item: Option<String>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Teller<'_> {
    fn place(&self, mark: Mark) -> Place {
        Place { file: self.file.clone(), line: mark.line, column: mark.column }
    }

    /// A mistake that the parser found in a condition: what it expected, without its drawing of the place.
    fn condition(&mut self, condition: &Text, mistake: &SigmaParserError) {
        let text = mistake.to_string();
        let message = match text.lines().find_map(|line| line.trim().strip_prefix("= ")) {
            Some(expected) => format!("the condition has a mistake: {expected}"),
            None => text,
        };
        let at = mistake.location().map(|location| (location.line as usize, location.col as usize));
        let byte = at.and_then(|(line, column)| {
            let before: usize = condition.value().split_inclusive('\n').take(line - 1).map(str::len).sum();
            let (byte, _) = condition.value().get(before..)?.char_indices().nth(column - 1)?;
            Some(before + byte)
        });
        let place = condition.place(byte.unwrap_or(condition.value().trim_end().len()));
        self.diagnostics.push(Diagnostic { place, item: self.item.clone(), error: true, message });
    }

    fn error(&mut self, mark: Mark, message: impl Into<String>) {
        self.tell(mark, message.into(), true);
    }

    fn warning(&mut self, mark: Mark, message: impl Into<String>) {
        self.tell(mark, message.into(), false);
    }

    fn tell(&mut self, mark: Mark, message: String, error: bool) {
        let place = self.place(mark);
        self.diagnostics.push(Diagnostic { place, item: self.item.clone(), error, message });
    }
}

#[cfg(test)]
mod tests;
