//! What the engine tells of itself.

use super::engine::Engine;
use crate::metrics::{Families, Kind, Metric};

static RULES: Metric =
    Metric { name: "monitor_rules", help: "Rules that are loaded and judge events.", kind: Kind::Gauge, labels: &[] };
static EVENTS: Metric = Metric {
    name: "monitor_rules_events_total",
    help: "Events that rules were asked about.",
    kind: Kind::Counter,
    labels: &[],
};
static MATCHES: Metric = Metric {
    name: "monitor_rule_matches_total",
    help: "Events for which the rule's condition held, before anything that it remembers was asked.",
    kind: Kind::Counter,
    labels: &["rule"],
};
static FINDINGS: Metric = Metric {
    name: "monitor_rule_findings_total",
    help: "Findings of the rule, published or not.",
    kind: Kind::Counter,
    labels: &["rule"],
};
static HELD: Metric = Metric {
    name: "monitor_rule_findings_held_total",
    help: "Findings that were not published: equal to one that had just been (repeat), or too many of the rule (rate).",
    kind: Kind::Counter,
    labels: &["rule", "reason"],
};
static STATE: Metric = Metric {
    name: "monitor_rule_state_entries",
    help: "Entities that rules remember something of, by what they remember.",
    kind: Kind::Gauge,
    labels: &["state"],
};
static EVICTIONS: Metric = Metric {
    name: "monitor_rule_state_evictions_total",
    help: "Entities that rules forgot for lack of room, by what they remembered; those of rules that were replaced too.",
    kind: Kind::Counter,
    labels: &["state"],
};

/// All of them.
pub const METRICS: &[&Metric] = &[&RULES, &EVENTS, &MATCHES, &FINDINGS, &HELD, &STATE, &EVICTIONS];

/// What rules remember.
const STATES: [&str; 5] = ["sequence", "count", "first_seen", "repeat", "summary"];

impl Engine {
    /// Adds the engine's metrics to a scrape.
    pub fn collect(&self, families: &mut Families) {
        families.gauge(&RULES, &[], self.rules.list.len() as f64);
        families.counter(&EVENTS, &[], self.events as f64);
        for (rule, state) in self.rules.list.iter().zip(&self.states) {
            let name = rule.ast.name.as_str();
            families.counter(&MATCHES, &[name], state.matches as f64);
            families.counter(&FINDINGS, &[name], state.findings as f64);
            families.counter(&HELD, &[name, "repeat"], state.held[0] as f64);
            families.counter(&HELD, &[name, "rate"], state.held[1] as f64);
        }
        for (kind, name) in STATES.iter().enumerate() {
            let (mut entries, mut evictions) = (0, self.forgotten[kind]);
            for state in &self.states {
                let (here, gone) = state.sizes()[kind];
                entries += here;
                evictions += gone;
            }
            for seen in self.absent.values().filter(|_| *name == "first_seen") {
                let (here, gone) = seen.sizes();
                entries += here;
                evictions += gone;
            }
            families.gauge(&STATE, &[name], entries as f64);
            families.counter(&EVICTIONS, &[name], evictions as f64);
        }
    }
}
