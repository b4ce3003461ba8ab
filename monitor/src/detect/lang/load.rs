//! From the text of rule files to rules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::ast::{Diagnostic, Expr, Field, Operand, Place, Rule, Sequence};
use super::exceptions;
use super::expand::{Expander, Macro, Names};
use super::items::{self, Items};
use super::parse::{self, Problem, Raw};
use super::reader::Reader;
use super::rules::RuleRead;
use super::text::{Page, Text};
use super::yaml;

/// A rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, for messages.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// What rule files say.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The rules that have no mistake, in the order of their definition.
    pub rules: Vec<Rule>,
    /// Lists with their values, lists in them put in.
    pub lists: BTreeMap<String, Vec<String>>,
    /// Macros with what they stand for.
    pub macros: BTreeMap<String, Expr>,
    /// All mistakes and doubts, by file and line.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether something was left out.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.error)
    }
}

/// Longest text of one file.
pub(super) const MAX_FILE: usize = 4 << 20;

/// Most that is told at once: who has made more mistakes than that reads the first ones.
const MAX_DIAGNOSTICS: usize = 1000;

/// Reads rule files. Later ones may change and use what earlier ones define.
pub fn load(sources: &[Source]) -> Loaded {
    let mut diagnostics = Vec::new();
    let mut items = Items::default();
    for source in sources {
        read(source, &mut items, &mut diagnostics);
    }
    let Items { lists, macros, rules, .. } = items;
    let macros = macros.into_iter().map(|(name, read)| {
        let condition = match parse::condition(&read.condition) {
            Ok(raw) => Some(raw),
            Err(problem) => {
                diagnostics.push(diagnostic(Some(format!("macro `{name}`")), problem));
                None
            }
        };
        (name, Macro { place: read.place, condition })
    });
    let names = Names { macros: macros.collect(), lists };
    let mut expander = Expander::new(&names);
    take_problems(&mut expander, None, &mut diagnostics);
    let mut loaded = Loaded::default();
    for rule in rules.into_iter().filter(|rule| rule.source == "syscall") {
        let item = format!("rule `{}`", rule.name);
        match finish(rule, &mut expander) {
            Ok(rule) => loaded.rules.extend(rule),
            Err(problem) => diagnostics.push(diagnostic(Some(item.clone()), problem)),
        }
        take_problems(&mut expander, Some(item), &mut diagnostics);
    }
    for name in names.lists.keys() {
        let text = |value: &Operand| match value {
            Operand::Text(text, _) => text.clone(),
            Operand::Field(field) => field.to_string(),
        };
        let values = expander.values_of(name).unwrap_or_default().iter().map(text).collect();
        loaded.lists.insert(name.clone(), values);
    }
    for name in names.macros.keys() {
        loaded.macros.extend(expander.condition_of(name).map(|expr| (name.clone(), expr.clone())));
    }
    let file = |place: &Place| sources.iter().position(|source| source.path == *place.file);
    diagnostics.sort_by_cached_key(|one| (file(&one.place), one.place.line, one.place.column));
    diagnostics.dedup();
    if diagnostics.len() > MAX_DIAGNOSTICS {
        let more = diagnostics.len() - MAX_DIAGNOSTICS;
        // What is only doubtful is told only when there is room.
        diagnostics.sort_by_key(|one| !one.error);
        diagnostics.truncate(MAX_DIAGNOSTICS);
        let message = format!("and {more} more");
        diagnostics.extend(diagnostics.last().cloned().map(|last| Diagnostic { message, item: None, ..last }));
    }
    loaded.diagnostics = diagnostics;
    loaded
}

fn diagnostic(item: Option<String>, problem: Problem) -> Diagnostic {
    Diagnostic { place: problem.place, item, error: true, message: problem.message }
}

fn take_problems(expander: &mut Expander<'_>, item: Option<String>, into: &mut Vec<Diagnostic>) {
    for (own, problem) in expander.take_problems() {
        into.push(diagnostic(own.or_else(|| item.clone()), problem));
    }
}

fn read(source: &Source, items: &mut Items, diagnostics: &mut Vec<Diagnostic>) {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let mut reader = Reader::new(Page::new(Arc::new(source.path.clone()), text), diagnostics);
    if text.len() > MAX_FILE {
        let mark = super::text::Mark { line: 1, column: 1 };
        reader.error(mark, format!("is longer than {} MiB: split it", MAX_FILE >> 20));
        return;
    }
    let parsed = yaml::parse(text);
    for (mark, message) in parsed.errors {
        reader.begin(None);
        reader.error(mark, message);
    }
    for document in parsed.documents {
        items::read(&mut reader, &document, items);
    }
}

/// Reads the rule's conditions and puts everything in. Nothing: the expander has problems.
fn finish(rule: RuleRead, expander: &mut Expander<'_>) -> Result<Option<Rule>, Problem> {
    let mut parts = vec![parse::condition(&rule.condition)?];
    for exception in &rule.exceptions {
        parts.extend(exceptions::condition(exception)?.map(|raw| Raw::Not(Box::new(raw))));
    }
    let condition = expander.expand(&Raw::And(parts));
    let mut more = rule.more.more;
    if let Some(read) = rule.more.sequence {
        let mut steps = Vec::new();
        for step in &read.steps {
            let Some(step) = expander.expand(&parse::condition(step)?) else { return Ok(None) };
            steps.push(step);
        }
        more.sequence = Some(Sequence { by: read.by, within: read.within, steps });
    }
    let output = rule.output.value();
    let lead = output.len() - output.trim_start().len();
    Ok(condition.map(|condition| Rule {
        output_place: rule.output.place(lead),
        output: output.trim().to_owned(),
        name: rule.name,
        description: rule.description,
        condition,
        priority: rule.priority,
        tags: rule.tags,
        enabled: rule.enabled,
        source: rule.source,
        skip_if_unknown_filter: rule.skip_if_unknown_filter,
        place: rule.place,
        more,
    }))
}

pub(super) fn nowhere() -> Place {
    Place { file: Arc::new(PathBuf::from("-")), line: 1, column: 1 }
}

/// Reads a condition that uses no macros and lists, such as `Display` writes.
///
/// # Errors
/// Says where in the text the first mistake is.
pub fn condition(text: &str) -> Result<Expr, Diagnostic> {
    let raw = parse::condition(&Text::at(text, nowhere())).map_err(|problem| diagnostic(None, problem))?;
    let names = Names { macros: BTreeMap::new(), lists: BTreeMap::new() };
    let mut expander = Expander::new(&names);
    let expr = expander.expand(&raw);
    let first = expander.take_problems().into_iter().next();
    match (expr, first) {
        (Some(expr), None) => Ok(expr),
        (_, Some((_, problem))) => Err(diagnostic(None, problem)),
        (None, None) => Err(diagnostic(None, Problem { place: nowhere(), message: "is no condition".to_owned() })),
    }
}

/// Reads a field, with transformers or without.
///
/// # Errors
/// Says where in the text the first mistake is.
pub fn field(text: &str) -> Result<Field, Diagnostic> {
    parse::field(&Text::at(text, nowhere())).map_err(|problem| diagnostic(None, problem))
}
