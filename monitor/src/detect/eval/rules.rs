//! A set of rules, compiled: comparisons and fields that they share, and for each kind of event the conditions that may
//! hold, in code.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::checks::Checks;
use super::output::Output;
use super::slots::{Slots, suggestion};
use super::tree::{Program, Tree, known_by_kind};
use super::{calls, fields};
use crate::detect::Event;
use crate::detect::lang::ast::{self, Diagnostic, Field, Operand, Place};

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As it is written.
    pub ast: Arc<ast::Rule>,
    /// Its condition.
    pub tree: Tree,
    /// The steps of a sequence that come before it.
    pub steps: Vec<Tree>,
    /// Its message.
    pub output: Output,
    /// Fields by which it remembers.
    pub keys: Keys,
}

/// The fields by which a rule remembers.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// What the steps of a sequence have in common.
    pub sequence: Vec<usize>,
    /// What is counted apart.
    pub count: Vec<usize>,
    /// What is counted once.
    pub distinct: Option<usize>,
    /// What is seen for the first time.
    pub first_seen: Vec<usize>,
    /// What makes two findings the same; None: the rule does not say.
    pub dedup: Option<Vec<usize>>,
}

/// A condition to test: a rule's own, or a step of its sequence.
#[derive(Clone, Debug)]
pub struct Job {
    /// Number of the rule.
    pub rule: usize,
    /// Number of the step; None: the rule's own condition.
    pub step: Option<usize>,
    /// The condition.
    pub program: Arc<Program>,
}

/// Compiled rules.
#[derive(Debug, Default)]
pub struct Rules {
    /// Fields.
    pub slots: Slots,
    /// Comparisons.
    pub checks: Checks,
    /// Rules, in the order in which they were given.
    pub list: Vec<Rule>,
    /// What findings of a rule that says nothing of it are about: those with the same values are equal.
    pub object: Vec<usize>,
    /// Kinds of events by each of their names. Kind 0 is any that no rule names.
    kinds: HashMap<Box<str>, usize, FixedState>,
    names: Vec<Vec<String>>,
    jobs: Vec<Vec<Job>>,
}

/// Bounds of what rules may ask to be remembered.
const MOST_COUNTED: u32 = 10_000;

/// What findings are equal by when a rule does not say.
pub(super) const OBJECT: &[&str] = &[
    "user.uid",
    "proc.exepath",
    "proc.cmdline",
    "evt.type",
    "fd.name",
    "fs.path.name",
    "fs.path.source",
    "fs.path.target",
    "target.pid",
];

impl Rules {
    /// Compiles. A rule with an error is left out; disabled ones are left out without a word.
    pub fn new(rules: Vec<ast::Rule>, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut made = Self::default();
        for name in OBJECT {
            let field = Field {
                name: (*name).to_owned(),
                argument: None,
                transformers: Vec::new(),
                parts: Vec::new(),
                place: Place { file: Arc::default(), line: 0, column: 0 },
            };
            // All of them are fields; a test compares.
            made.object.extend(made.slots.intern(&field));
        }
        for rule in rules.into_iter().filter(|rule| rule.enabled) {
            if rule.source != "syscall" {
                let message = format!("its source is `{}`; here there are events of source `syscall`", rule.source);
                diagnostics.push(diagnostic(&rule, rule.place.clone(), false, message));
                continue;
            }
            let mut wrong = Vec::new();
            let compiled = made.compile(rule, &mut wrong);
            // Falco's switch against complaints about fields of newer versions.
            let quiet = compiled.ast.skip_if_unknown_filter
                && wrong.iter().any(|(_, message)| message.starts_with("there is no field"));
            if wrong.is_empty() {
                made.list.push(compiled);
            } else {
                diagnostics.extend(
                    wrong.into_iter().map(|(place, message)| diagnostic(&compiled.ast, place, !quiet, message)),
                );
            }
        }
        made.checks.finish();
        made.find_kinds(diagnostics);
        made.index(diagnostics);
        made
    }

    /// The conditions that may hold of this event.
    pub fn jobs(&self, event: &Event) -> &[Job] {
        let kind = self.kinds.get(calls::name(event)).copied().unwrap_or(0);
        self.jobs.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Kinds of events that a rule may match, each by its names; without names: all that no rule names.
    pub fn kinds(&self) -> impl Iterator<Item = (&[String], &[Job])> {
        self.names.iter().zip(&self.jobs).map(|(names, jobs)| (names.as_slice(), jobs.as_slice()))
    }

    /// What is left of a condition for the events with these names.
    pub fn fold(&self, tree: &Tree, names: &[&str]) -> Tree {
        tree.fold(&|at| self.checks.list.get(at).and_then(|check| known_by_kind(check, &self.slots, names)))
    }

    fn compile(&mut self, rule: ast::Rule, wrong: &mut Vec<(Place, String)>) -> Rule {
        let mut tree = |expr, wrong: &mut Vec<_>| Tree::new(expr, &mut self.slots, &mut self.checks, wrong);
        let condition = tree(&rule.condition, wrong);
        let steps = rule.more.sequence.iter().flat_map(|sequence| &sequence.steps);
        let steps = steps.map(|step| tree(step, wrong)).collect();
        let output = Output::new(&rule.output, &rule.output_place, &mut self.slots).unwrap_or_else(|messages| {
            wrong.extend(messages.into_iter().map(|message| (rule.output_place.clone(), message)));
            Output::default()
        });
        let keys = self.keys(&rule, wrong);
        Rule { ast: Arc::new(rule), tree: condition, steps, output, keys }
    }

    fn keys(&mut self, rule: &ast::Rule, wrong: &mut Vec<(Place, String)>) -> Keys {
        let more = &rule.more;
        if let Some(count) = more.count.as_ref().filter(|count| !(1..=MOST_COUNTED).contains(&count.at_least)) {
            wrong.push((rule.place.clone(), format!("counts to {}; possible is 1 to {MOST_COUNTED}", count.at_least)));
        }
        let mut all = |list: &[Field]| -> Vec<usize> {
            let found = list.iter().filter_map(|field| match self.slots.intern(field) {
                Ok(slot) => Some(slot),
                Err(message) => {
                    wrong.push((field.place.clone(), message));
                    None
                }
            });
            found.collect()
        };
        Keys {
            sequence: more.sequence.as_ref().map_or_else(Vec::new, |sequence| all(&sequence.by)),
            count: more.count.as_ref().map_or_else(Vec::new, |count| all(&count.by)),
            distinct: more.count.as_ref().and_then(|count| all(count.distinct.as_slice()).first().copied()),
            first_seen: more.first_seen.as_ref().map_or_else(Vec::new, |first| all(&first.of)),
            dedup: more.dedup.as_ref().map(|dedup| all(&dedup.key)),
        }
    }

    /// Kinds of events are the names that conditions compare `evt.type` with.
    fn find_kinds(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        self.names.push(Vec::new());
        for rule in &self.list {
            let steps = rule.ast.more.sequence.iter().flat_map(|sequence| &sequence.steps);
            for expr in steps.chain([&rule.ast.condition]) {
                named(expr, &mut |name, place| {
                    if self.kinds.contains_key(name) {
                        return;
                    }
                    if !calls::all().any(|known| known == name) {
                        let message = unknown_call(name);
                        diagnostics.push(diagnostic(&rule.ast, place.clone(), false, message));
                    }
                    let names = calls::same(name).map_or_else(
                        || vec![name.to_owned()],
                        |names| names.iter().map(|name| (*name).to_owned()).collect(),
                    );
                    for name in &names {
                        self.kinds.insert(name.as_str().into(), self.names.len());
                    }
                    self.names.push(names);
                });
            }
        }
    }

    fn index(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        let mut programs: HashMap<Program, Arc<Program>> = HashMap::new();
        let mut jobs = Vec::new();
        for (kind, names) in self.names.iter().enumerate() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut here = Vec::new();
            for (number, rule) in self.list.iter().enumerate() {
                // The last step first, so that one event takes one step.
                let steps = rule.steps.iter().enumerate().rev().map(|(step, tree)| (Some(step), tree));
                for (step, tree) in std::iter::once((None, &rule.tree)).chain(steps) {
                    let mut left = self.fold(tree, &names);
                    if left == Tree::Known(false) {
                        continue;
                    }
                    if kind == 0 {
                        let message = "its condition says nothing of evt.type: it is tested for every event".to_owned();
                        diagnostics.push(diagnostic(&rule.ast, rule.ast.place.clone(), false, message));
                    }
                    left.sort(&self.checks.list);
                    let program = Program::new(&left);
                    let program = programs.entry(program).or_insert_with_key(|program| Arc::new(program.clone()));
                    here.push(Job { rule: number, step, program: Arc::clone(program) });
                }
            }
            jobs.push(here);
        }
        self.jobs = jobs;
    }
}

/// Calls with every name that `evt.type` is compared with.
fn named(expr: &ast::Expr, with: &mut impl FnMut(&str, &Place)) {
    match expr {
        ast::Expr::And(parts) | ast::Expr::Or(parts) => parts.iter().for_each(|part| named(part, with)),
        ast::Expr::Not(part) => named(part, with),
        ast::Expr::Check(check) if check.field.name == "evt.type" && check.field.transformers.is_empty() => {
            use ast::Operator::{Equal, In, Intersects, NotEqual};
            if matches!(check.operator, Equal | NotEqual | In | Intersects) {
                for value in &check.values {
                    if let Operand::Text(name, place) = value {
                        with(name, place);
                    }
                }
            }
        }
        ast::Expr::Check(_) => {}
    }
}

fn unknown_call(name: &str) -> String {
    let exists = syscalls::x86_64::Sysno::from_str(name).is_ok() || syscalls::x86::Sysno::from_str(name).is_ok();
    if exists {
        return format!("evt.type={name} is never told here: this call is none that rules are asked about");
    }
    let nearest = fields::nearest_of(name, calls::all());
    format!("there is no event `{name}`{}", suggestion(&nearest))
}

fn diagnostic(rule: &ast::Rule, place: Place, error: bool, message: String) -> Diagnostic {
    Diagnostic { place, item: Some(rule.name.clone()), error, message }
}
