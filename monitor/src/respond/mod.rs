//! What is done about an alert, where the configuration names its rule: kill, stop, freeze, run a program. Off by default,
//! and a rehearsal where it is on, until the configuration says otherwise. Every decision is in the audit trail.
//!
//! A process is never taken for another: it is held by a descriptor (pidfd) before its start time is compared, so that the
//! process that was compared is the one that is hit, whoever else gets its number meanwhile.

mod act;
mod at_exec;
mod guard;
mod program;
mod rate;
mod responder;

use std::path::PathBuf;
use std::time::Duration;

use crate::detect::Glob;

pub use at_exec::{asked, of_rule, plan};
pub use guard::{Guard, Refusal};
pub use responder::{METRICS, Responder};

/// Something that can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// Its control group is frozen, with everything in it.
    Freeze,
    /// The configured program is run, with the alert on its standard input.
    Run,
}

impl Action {
    /// Every action, in the order in which they are carried out: a program is told of a process that cannot run on.
    pub const ALL: [Self; 4] = [Self::Freeze, Self::Stop, Self::Kill, Self::Run];

    /// The name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Run => "run",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It would have been done: this is a rehearsal.
    Rehearsed,
    /// It was not done, for this reason.
    Refused(Refusal),
    /// It was tried.
    Failed(String),
}

impl Outcome {
    /// The name in records and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Rehearsed => "dry_run",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }
}

/// Whom it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the process id its identity.
    pub start_ticks: u64,
    /// Path of its program.
    pub exe: String,
}

/// What is to be done about one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub action: Action,
    /// Only as a rehearsal, whatever the options say.
    pub dry_run: bool,
    /// Of [`Action::Run`] the program with its arguments; empty: that of the options.
    pub command: Vec<String>,
}

impl Deed {
    /// As the options say.
    pub const fn new(action: Action) -> Self {
        Self { action, dry_run: false, command: Vec::new() }
    }
}

/// What may be done, and about which rules.
#[derive(Clone, Debug)]
pub struct Options {
    /// Anything is done at all.
    pub enabled: bool,
    /// Nothing is done, but everything is decided and told as if.
    pub dry_run: bool,
    /// Rules by action: names, or globs.
    pub rules: Vec<(Action, Vec<Glob>)>,
    /// Programs to which nothing is ever done: globs of their paths.
    pub allow: Vec<Glob>,
    /// Most actions in a minute.
    pub rate: u32,
    /// What [`Action::Run`] runs.
    pub program: Option<PathBuf>,
    /// How long it may run.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enabled: false,
            dry_run: true,
            rules: Vec::new(),
            allow: Vec::new(),
            rate: 10,
            program: None,
            timeout: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// What is to be done about an alert of this rule, which asks for something itself. What the configuration names goes
    /// before what the rule asks for.
    pub fn deeds(&self, rule: &str, asked: &[Deed]) -> Vec<Deed> {
        if !self.enabled {
            return Vec::new();
        }
        let named = |action: Action| {
            let of = self.rules.iter().filter(|(of, _)| *of == action);
            of.flat_map(|(_, rules)| rules).any(|glob| glob.matches(rule.as_bytes()))
        };
        let deed = |action: Action| {
            let asked = || asked.iter().find(|deed| deed.action == action).cloned();
            if named(action) { Some(Deed::new(action)) } else { asked() }
        };
        Action::ALL.into_iter().filter_map(deed).collect()
    }
}

#[cfg(test)]
mod tests;
