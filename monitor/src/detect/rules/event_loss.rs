//! The observer itself has lost something.

use super::{Check, Rule};
use crate::events::Severity;

pub(in crate::detect) static RULE: Rule = Rule {
    id: "event_loss",
    title: "The observer lost events",
    description: "A counter of records that were lost on their way from the kernel has grown: a ring was full, a \
                  sequence number is missing, or the kernel left the program out (`program_missed`). Whoever wants to \
                  stay unseen can try to flood the observer first. The evidence has the amount lost since the last \
                  such event, by cause; at most one event in ten seconds. `process` is the observer itself.",
    severity: Severity::Medium,
    attack: &["T1685", "T1562.001"],
    false_positives: "Bursts of short-lived processes on a busy build machine: give the rings more room.",
    check: Check::Losses,
};
