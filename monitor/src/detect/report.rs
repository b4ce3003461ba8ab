//! From a finding to the event that is published.

use std::borrow::Cow;

use serde_json::Value;

use super::eval::Finding;
use super::lang::ast::Priority;
use super::losses::LossCount;
use crate::events::{Alert, BootClock, Lost, Recent, RuleSource, Seen, Severity, Subject, redact};

/// The rule that tells of losses: it has no event to judge, its text and its urgency count.
pub const EVENT_LOSS: &str = "event_loss";
/// The rule that tells that the daemon does not hear its kernel programs: likewise.
pub const AGENT_BLIND: &str = "agent_blind";

/// What a rule's priority is among our severities.
pub const fn severity(priority: Priority) -> Severity {
    match priority {
        Priority::Emergency | Priority::Alert | Priority::Critical => Severity::Critical,
        Priority::Error => Severity::High,
        Priority::Warning => Severity::Medium,
        Priority::Notice => Severity::Low,
        Priority::Informational | Priority::Debug => Severity::Info,
    }
}

/// Longest text of a value, and of a message, bytes: `argv` has all of a command line that is longer.
const TEXT: usize = 1 << 10;
const MESSAGE: usize = 4 << 10;

/// A text without secrets, cut where it is long.
fn short(text: &str, most: usize) -> String {
    // Before it is cut, so that no secret stays because its name is gone.
    let mut text = redact::text(text);
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

/// A value without secrets: a command line may have them.
fn published(value: Value) -> Value {
    match value {
        Value::String(text) => short(&text, TEXT).into(),
        Value::Array(values) => values.into_iter().map(published).collect(),
        other => other,
    }
}

/// The event of a finding about `process`.
pub fn alert(finding: Finding, process: Subject, recent: Vec<Recent>, clock: BootClock, lost: Lost) -> Alert {
    let (rule, time) = (&finding.rule, clock.time(finding.time_ns));
    let seen = match (finding.storm, finding.repeated) {
        (Some(storm), _) => Some(Seen { count: storm.count, first: clock.time(storm.since_ns), last: time }),
        (None, Some(held)) => {
            let first = clock.time(held.since_ns);
            // A summary is one of those that it tells of; what is published comes on top.
            let own = u64::from(!finding.summary);
            Some(Seen { count: held.count + own, first, last: time })
        }
        (None, None) => None,
    };
    let mut evidence: Vec<(Cow<'static, str>, Value)> = Vec::new();
    let mut add = |name: String, value: Value| {
        if !value.is_null() && !evidence.iter().any(|(known, _)| *known == name) {
            evidence.push((name.into(), published(value)));
        }
    };
    // What the condition rests on first, then what else the message shows.
    for one in &finding.evidence {
        if one.held {
            add(one.field.clone(), one.value.clone());
        }
    }
    for (name, value) in &finding.fields {
        add(name.clone(), value.clone());
    }
    if let Some(count) = finding.counted {
        add("count".to_owned(), count.into());
    }
    if let Some(begun_ns) = finding.begun_ns {
        add("sequence_begun".to_owned(), clock.time(begun_ns).to_string().into());
    }
    Alert {
        kernel_ns: finding.time_ns,
        title: rule.more.title.clone().unwrap_or_else(|| rule.name.clone()).into(),
        output: Some(short(&finding.message, MESSAGE)),
        priority: Some(rule.priority.to_string().into()),
        attack: rule.more.attack.iter().map(|id| id.clone().into()).collect(),
        tags: rule.tags.clone(),
        rule_source: Some(RuleSource { file: rule.place.file.display().to_string(), version: None }),
        evidence,
        recent,
        seen,
        suppressed: finding.held_back,
        lost,
        ..Alert::new(time, rule.name.clone(), severity(rule.priority), process)
    }
}

/// The event of records that were lost. `process` is the daemon itself.
pub fn alert_of_losses(
    rule: &super::lang::ast::Rule,
    grown: &[LossCount],
    process: Subject,
    now_ns: u64,
    clock: BootClock,
    lost: Lost,
) -> Alert {
    let text = |count: &LossCount| format!("{} {}: {}", count.signal, count.cause, count.total);
    let losses = grown.iter().map(text).collect::<Vec<_>>().join(", ");
    let json =
        |count: &LossCount| serde_json::json!({ "signal": count.signal, "cause": count.cause, "count": count.total });
    Alert {
        output: Some(format!("Events lost | {losses}")),
        evidence: vec![("lost".into(), grown.iter().map(json).collect())],
        lost,
        ..alert_of_itself(rule, process, now_ns, clock)
    }
}

/// What an event about the daemon itself, `process`, has of its rule.
pub fn alert_of_itself(rule: &super::lang::ast::Rule, process: Subject, now_ns: u64, clock: BootClock) -> Alert {
    Alert {
        kernel_ns: now_ns,
        title: rule.more.title.clone().unwrap_or_else(|| rule.name.clone()).into(),
        priority: Some(rule.priority.to_string().into()),
        attack: rule.more.attack.iter().map(|id| id.clone().into()).collect(),
        tags: rule.tags.clone(),
        rule_source: Some(RuleSource { file: rule.place.file.display().to_string(), version: None }),
        ..Alert::new(clock.time(now_ns), rule.name.clone(), severity(rule.priority), process)
    }
}
