//! An event as text.

use std::borrow::Cow;

use super::{Alert, Body, Host};
use crate::events::SCHEMA;

/// An event as text, but for its number.
pub(in crate::events) struct Rendered(String);

impl Rendered {
    pub(in crate::events) fn new(alert: &Alert, host: Option<&str>) -> Self {
        let body = Body {
            time: alert.time,
            kernel_ns: alert.kernel_ns,
            rule: &alert.rule,
            title: &alert.title,
            output: alert.output.as_deref(),
            severity: alert.severity,
            priority: alert.priority.as_deref(),
            attack: &alert.attack,
            tags: &alert.tags,
            rule_source: alert.rule_source.as_ref(),
            process: &alert.process,
            evidence: &alert.evidence,
            recent: &alert.recent,
            seen: alert.seen,
            suppressed: alert.suppressed,
            lost: alert.lost,
            host: host.map(|name| Host { name }),
        };
        // Nothing in the body can fail to be written: keys are strings, and a String takes everything.
        Self(serde_json::to_string(&body).unwrap_or_else(|error| failed(&error)))
    }

    /// The line. The number is put in last, because it is known only under the store's lock, where rendering 32 KiB of
    /// arguments would keep readers waiting.
    pub(in crate::events) fn with_seq(&self, seq: u64) -> String {
        let fields = self.0.strip_prefix('{').unwrap_or(&self.0);
        format!(r#"{{"schema":"{SCHEMA}","seq":{seq},{fields}"#)
    }
}

fn failed(error: &serde_json::Error) -> String {
    serde_json::json!({ "error": Cow::from(error.to_string()) }).to_string()
}
