//! Published security events: their schema, the store that the HTTP interface reads, and the sink that writes them out.
//!
//! This module knows nothing about rules. `detect` decides what an event is, and why.

mod alert;
mod format;
pub(crate) mod redact;
mod severity;
mod sink;
mod store;
pub(crate) mod text;

pub use alert::{Alert, Ancestor, BootClock, Lost, ProgramFile, Recent, RuleSource, Seen, Subject};
pub use format::Format;
pub use redact::REDACTED;
pub use severity::{Severity, UnknownSeverity};
pub use sink::{Output, Sink, SinkError, SinkOptions};
pub use store::{Filter, Page, Published, Store};

use crate::metrics::Metric;

/// Name and version of the schema: the `schema` field of each event. See docs/EVENTS.md for what may change within it.
pub const SCHEMA: &str = "monitor.event.v1";

/// Metrics of the store and the sink.
pub const METRICS: &[&Metric] = &[&store::SECURITY_EVENTS, &store::EVICTED, &sink::WRITTEN, &sink::LOST, &sink::UP];
