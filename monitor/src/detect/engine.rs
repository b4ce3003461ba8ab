//! Runs the rules over what happens.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Context;
use super::losses::{LossCount, LossWatch};
use super::rules::{Check, EVENT_LOSS, Input, Match, RULES, Rule};
use super::settings::{RuleSettings, Tuning};
use super::suppress::{Admitted, Key, Suppressor};
use crate::events::Severity;
use crate::metrics::{Families, Kind, Metric};
use crate::signals::exec::Exec;

pub(super) static SUPPRESSED: Metric = Metric {
    name: "monitor_events_suppressed_total",
    help: "Findings that were not published because the same one had just been published many times.",
    kind: Kind::Counter,
    labels: &["rule"],
};
pub(super) static EXCEPTED: Metric = Metric {
    name: "monitor_events_excepted_total",
    help: "Findings that were not published because a rule file excepts them.",
    kind: Kind::Counter,
    labels: &["rule"],
};

/// Something worth an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: &'static Rule,
    /// How bad this one is.
    pub severity: Severity,
    /// When, nanoseconds since boot.
    pub time_ns: u64,
    /// What the rule looked at.
    pub evidence: Vec<(&'static str, Value)>,
    /// Equal findings that were not published since the last one that was.
    pub suppressed: u64,
    /// Equal findings since they are remembered, this one included.
    pub count: u64,
    /// When the first of them was.
    pub first_ns: u64,
}

/// All rules with their tuning and their memory.
#[derive(Debug)]
pub struct Engine {
    /// One for each of [`RULES`], in the same order.
    tunings: Vec<Tuning>,
    suppressor: Suppressor,
    losses: LossWatch,
    suppressed: BTreeMap<&'static str, u64>,
    excepted: BTreeMap<&'static str, u64>,
}

impl Engine {
    /// An engine with all rules that are not switched off.
    pub fn new(settings: &RuleSettings) -> Self {
        Self {
            tunings: RULES.iter().map(|rule| settings.tuning(rule.id)).collect(),
            suppressor: Suppressor::default(),
            losses: LossWatch::default(),
            suppressed: BTreeMap::new(),
            excepted: BTreeMap::new(),
        }
    }

    /// Takes other settings and keeps its memory, for a reload.
    pub fn tune(&mut self, settings: &RuleSettings) {
        self.tunings = RULES.iter().map(|rule| settings.tuning(rule.id)).collect();
    }

    /// A process runs another program. Findings are added to `out`.
    pub fn on_exec(&mut self, exec: &Exec, context: &dyn Context, out: &mut Vec<Finding>) {
        let input = Input { exec, context };
        for (index, rule) in RULES.iter().enumerate() {
            let Check::Exec(check) = rule.check else { continue };
            if !self.tunings[index].enabled {
                continue;
            }
            if let Some(found) = check(&input) {
                self.found(index, found, &input, out);
            }
        }
    }

    /// The counters of what was lost (those that [`super::blinds`] tells, and gaps in sequence numbers), as they are
    /// now. Call it every second or so. A finding is added to `out` when they have grown.
    pub fn on_losses(&mut self, counts: &[LossCount], now_ns: u64, out: &mut Vec<Finding>) {
        let grown = self.losses.step(counts, now_ns);
        let Some(index) = RULES.iter().position(|rule| rule.id == EVENT_LOSS.id) else { return };
        if grown.is_empty() || !self.tunings[index].enabled {
            return;
        }
        out.push(Finding {
            rule: RULES[index],
            severity: self.tunings[index].severity.unwrap_or(RULES[index].severity),
            time_ns: now_ns,
            evidence: vec![("lost", grown.iter().map(lost).collect())],
            suppressed: 0,
            count: 1,
            first_ns: now_ns,
        });
    }

    fn found(&mut self, index: usize, found: Match, input: &Input<'_>, out: &mut Vec<Finding>) {
        let (rule, tuning) = (RULES[index], &self.tunings[index]);
        if tuning.excepts(&found.path, input.context.group()) {
            *self.excepted.entry(rule.id).or_default() += 1;
            return;
        }
        let severity = tuning.severity.or(found.severity).unwrap_or(rule.severity);
        let object = [found.path.as_slice(), b"\0", &found.detail].concat();
        let key = Key { rule: index, severity, uid: input.exec.uid, object };
        let Some(admitted) = self.suppressor.admit(key, input.exec.time_ns) else {
            *self.suppressed.entry(rule.id).or_default() += 1;
            return;
        };
        let Admitted { suppressed, count, first_ns } = admitted;
        let time_ns = input.exec.time_ns;
        out.push(Finding { rule, severity, time_ns, evidence: found.evidence, suppressed, count, first_ns });
    }

    /// Adds the engine's metrics to a scrape.
    pub fn collect(&self, families: &mut Families) {
        for rule in RULES {
            let count = |counts: &BTreeMap<&'static str, u64>| counts.get(rule.id).copied().unwrap_or(0) as f64;
            families.counter(&SUPPRESSED, &[rule.id], count(&self.suppressed));
            families.counter(&EXCEPTED, &[rule.id], count(&self.excepted));
        }
    }
}

fn lost(count: &LossCount) -> Value {
    serde_json::json!({ "signal": count.signal, "cause": count.cause, "count": count.total })
}
