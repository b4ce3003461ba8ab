//! What a rule found.

use std::sync::Arc;

use monitor_common::record::ProcessKey;
use serde_json::Value as Json;

use super::checks::symbol;
use super::output::shown;
use super::rules::Rule;
use super::session::Session;
use super::value::Value;
use crate::detect::lang::ast;

/// A finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: Arc<ast::Rule>,
    /// The number of the event; of a summary 0.
    pub event: u64,
    /// When, nanoseconds since boot.
    pub time_ns: u64,
    /// The process that did it; of a summary nobody.
    pub process: ProcessKey,
    /// The rule's message with its values.
    pub message: String,
    /// The fields of the message with their values, `null` where there is none.
    pub fields: Vec<(String, Json)>,
    /// The comparisons that made the condition hold.
    pub evidence: Vec<Evidence>,
    /// Equal findings that were not published since the last one that was.
    pub held_back: u64,
    /// When the first step of a sequence happened.
    pub begun_ns: Option<u64>,
    /// How many a rule that counts has counted.
    pub counted: Option<usize>,
    /// This is no finding of its own but tells how many of the rule's were not published, whatever they were about.
    pub storm: Option<Storm>,
    /// Equal findings that were held back: before this one, which is published; or with this one as the first of them.
    pub repeated: Option<Repeated>,
    /// This is no finding of its own: it tells how many there were.
    pub summary: bool,
}

/// Equal findings that were held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// How many.
    pub count: u64,
    /// When the first was, nanoseconds since boot.
    pub since_ns: u64,
    /// When the last was.
    pub last_ns: u64,
}

/// Findings that came too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// How many were not published.
    pub count: u64,
    /// Since when, nanoseconds since boot.
    pub since_ns: u64,
}

/// A comparison that the finding rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The field.
    pub field: String,
    /// The operator.
    pub operator: &'static str,
    /// What it was compared with: at most [`OPERANDS`] of them.
    pub operands: Vec<String>,
    /// Whether the comparison held; where the rule says `not` it did not.
    pub held: bool,
    /// The value; `null` when there is none.
    pub value: Json,
}

/// Most values of a list that evidence shows: it may have thousands.
pub(super) const OPERANDS: usize = 5;

impl Finding {
    pub(super) fn new(rule: &Rule, session: &mut Session<'_, '_>) -> Self {
        let message = rule.output.write(session);
        let mut fields: Vec<(String, Json)> = Vec::new();
        for slot in rule.output.slots() {
            let name = session.slot_text(slot);
            if !fields.iter().any(|(known, _)| *known == name) {
                fields.push((name, json(session, slot)));
            }
        }
        let mut reasons = Vec::new();
        session.reasons(&rule.tree, true, &mut reasons);
        let evidence = reasons.into_iter().filter_map(|(check, held)| {
            let check = session.rules().checks.list.get(check)?;
            Some(Evidence {
                field: session.slot_text(check.slot),
                operator: symbol(check.operator),
                operands: check.operands.iter().take(OPERANDS).cloned().collect(),
                held,
                value: json(session, check.slot),
            })
        });
        let evidence = evidence.collect();
        let event = session.facts.event;
        Self {
            rule: Arc::clone(&rule.ast),
            event: event.number,
            time_ns: event.time_ns,
            process: event.process,
            message,
            fields,
            evidence,
            held_back: 0,
            begun_ns: None,
            counted: None,
            storm: None,
            repeated: None,
            summary: false,
        }
    }

    pub(super) fn of_storm(rule: &Rule, storm: Storm, now_ns: u64) -> Self {
        let seconds = now_ns.saturating_sub(storm.since_ns) / 1_000_000_000;
        Self {
            rule: Arc::clone(&rule.ast),
            event: 0,
            time_ns: now_ns,
            process: ProcessKey::default(),
            message: format!("{}: {} findings within {seconds} s were not published", rule.ast.name, storm.count),
            fields: Vec::new(),
            evidence: Vec::new(),
            held_back: storm.count,
            begun_ns: None,
            counted: None,
            storm: Some(storm),
            repeated: None,
            summary: true,
        }
    }

    /// The first of some that were held back tells of all of them.
    pub(super) fn of_repeats(self, held: Repeated) -> Self {
        let seconds = held.last_ns.saturating_sub(held.since_ns) / 1_000_000_000;
        let times = if held.count == 1 { "once more".to_owned() } else { format!("{} times more", held.count) };
        Self {
            message: format!("{} | seen {times} within {seconds} s", self.message),
            time_ns: held.last_ns,
            held_back: held.count,
            repeated: Some(held),
            summary: true,
            ..self
        }
    }
}

fn json(session: &mut Session<'_, '_>, slot: usize) -> Json {
    let range = session.slot(slot);
    match (range.len(), session.values.list.get(range.start).copied()) {
        (0, _) | (_, None) => Json::Null,
        (1, Some(Value::Number(number))) => number.into(),
        (1, Some(Value::Bool(bool))) => bool.into(),
        _ => shown(session, slot).into(),
    }
}
