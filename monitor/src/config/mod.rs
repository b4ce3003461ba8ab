//! The configuration: flags over environment over file over default, checked once, every mistake reported together.
//!
//! [`keys::KEYS`] is the one list of keys. Parsing, the names of environment variables, `monitor config show`,
//! `monitor config default` and `docs/CONFIG.md` all read it; a default is stated once, in [`model`].

pub mod docs;
pub mod field;
pub mod keys;
pub mod mistake;
pub mod model;
pub mod observing;
pub mod origin;
pub mod schema;
pub mod show;

mod check;
mod environment;
mod file;
mod group;
mod load;
#[cfg(test)]
mod tests;
mod units;

pub use load::{DEFAULT_FILE, FILE_LIMIT, Flag, Loaded, Sources};
pub use mistake::{ConfigError, Mistake};
pub use model::{
    Config, Events, GroupRule, Host, Http, KernelLevel, Log, LogFormat, Metrics, Output, Processes, Rules,
};
pub use observing::{Activity, Kernel, L7, Signals};
pub use origin::Origin;
