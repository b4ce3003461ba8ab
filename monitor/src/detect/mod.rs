//! Decides which of the things that processes do are worth an event.
//!
//! Pure: no I/O, no clock and no configuration file in the engine; time and context come in as arguments, so that a
//! recording gives the same findings again. Rules are text ([`lang`], [`sigma`]), compiled and evaluated by [`eval`].

mod defaults;
pub mod eval;
mod event;
mod glob;
pub mod lang;
mod losses;
mod paths;
mod recorder;
mod report;
pub mod sigma;

pub use defaults::default_rules;
pub use event::{Event, What, World};
pub use glob::{BadGlob, Glob};
pub use losses::{LossCount, LossWatch, blinds};
pub use recorder::Recorder;
pub use report::{AGENT_BLIND, EVENT_LOSS, alert, alert_of_itself, alert_of_losses, severity};

use crate::metrics::Metric;

/// Metrics of the engine and the flight recorder.
pub fn metrics() -> Vec<&'static Metric> {
    [eval::METRICS, recorder::METRICS].concat()
}

/// docs/RULES.md.
pub fn markdown() -> String {
    defaults::markdown()
}

#[cfg(test)]
mod tests;
