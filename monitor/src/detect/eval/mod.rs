//! The back end of the rule engine: rules as the parser hands them over are compiled ([`rules`]), and each event is judged
//! by those that may match it ([`session`], [`engine`]).
//!
//! What is fast and why: conditions are folded for each kind of event, so that only rules that may match it are tested;
//! each comparison is made at most once an event, whichever rules name it; each value is taken at most once; all literals
//! that one field is searched for are found in one pass. Judging an event takes no memory from the allocator until a rule
//! matches.

mod args;
mod at_exec;
mod calls;
mod checks;
mod engine;
mod errno;
mod explain;
mod facts;
pub mod fields;
mod files;
mod finding;
mod flags;
mod matcher;
mod metrics;
mod needs;
mod output;
mod rules;
pub mod seen_file;
mod session;
mod slots;
mod state;
mod transform;
mod tree;
mod value;

pub use at_exec::{AtExec, Fact, Pattern, Term};
pub use engine::{Changed, Engine};
pub use files::Files;
pub use finding::{Evidence, Finding, Repeated, Storm};
pub use metrics::METRICS;
pub use needs::Needs;
pub use rules::Rules;
pub use session::{Memory, Session};
pub use state::repeat::Limits;
pub use state::seen::Damage;

#[cfg(test)]
pub(in crate::detect) mod tests;
