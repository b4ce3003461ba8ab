//! Decides which of the things that processes do are worth an event.
//!
//! Pure: no I/O, no clock and no configuration file in the engine; time and context come in as arguments, so that a
//! recorded exec gives the same findings again. One rule is one file in `rules/`, and [`RULES`] is the list of all.

mod context;
mod defaults;
mod engine;
pub mod eval;
mod event;
mod glob;
pub mod lang;
mod losses;
mod paths;
mod recorder;
mod report;
mod rules;
mod settings;
pub mod sigma;
mod suppress;

pub use context::{Ancestor, Context, Recorded};
pub use defaults::default_rules;
pub use engine::{Engine, Finding};
pub use event::{Event, What, World};
pub use glob::{BadGlob, Glob};
pub use losses::{LossCount, blinds};
pub use recorder::Recorder;
pub use report::{alert_of_exec, alert_of_observer};
pub use rules::{Check, Match, RULES, Rule, rule};
pub use settings::{DEFAULT_DIRECTORY, RuleFileError, RuleSettings, Tuning};

use crate::metrics::Metric;

/// Metrics of the engine.
pub const METRICS: &[&Metric] = &[&engine::SUPPRESSED, &engine::EXCEPTED, recorder::METRICS[0]];

/// docs/RULES.md.
pub fn markdown() -> String {
    rules::markdown()
}

#[cfg(test)]
mod tests;
