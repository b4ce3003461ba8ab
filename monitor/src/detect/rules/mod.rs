//! The rules. To add one: a file here, its line in [`RULES`].

mod event_loss;
mod exec_deleted;
mod exec_devshm;
mod exec_hidden;
mod exec_memfd;
mod exec_tmp;
mod kthread_masquerade;
mod revshell_stdio_socket;
mod setuid_exec;

use serde_json::Value;

use super::Context;
use super::paths::Judged;
use crate::events::{Severity, text::lossy};
use crate::signals::exec::Exec;

pub(super) use event_loss::RULE as EVENT_LOSS;

/// Every rule there is, in the order of their names.
pub static RULES: &[&Rule] = &[
    &event_loss::RULE,
    &exec_deleted::RULE,
    &exec_devshm::RULE,
    &exec_hidden::RULE,
    &exec_memfd::RULE,
    &exec_tmp::RULE,
    &kthread_masquerade::RULE,
    &revshell_stdio_socket::RULE,
    &setuid_exec::RULE,
];

/// The rule with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id).copied()
}

/// What a rule is and does.
#[derive(Debug)]
pub struct Rule {
    /// Its name in events, metrics and configuration. Never changed once published.
    pub id: &'static str,
    /// What happened, in a few words.
    pub title: &'static str,
    /// What it looks at and what it means, for docs/RULES.md.
    pub description: &'static str,
    /// How bad it is, unless its description says otherwise for a case.
    pub severity: Severity,
    /// ATT&CK techniques. Where version 19 renumbered one, first the new id, then the one of version 18.
    pub attack: &'static [&'static str],
    /// What looks the same and is harmless.
    pub false_positives: &'static str,
    /// When it runs.
    pub check: Check,
}

/// When a rule runs.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// A process runs another program.
    Exec(fn(&Input<'_>) -> Option<Match>),
    /// A counter of losses has grown.
    Losses,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// What a rule sees.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The exec.
    pub exec: &'a Exec,
    /// What is known beside it.
    pub context: &'a dyn Context,
}

/// A rule has found what it looks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// The path that it judged: what `except_exe` is compared with.
    pub path: Vec<u8>,
    /// With `path` it tells repetitions from new things.
    pub detail: Vec<u8>,
    /// Instead of the rule's own severity.
    pub severity: Option<Severity>,
    /// What it looked at.
    pub evidence: Vec<(&'static str, Value)>,
}

impl Match {
    fn new(path: &[u8]) -> Self {
        Self { path: path.to_vec(), ..Self::default() }
    }

    /// About a path that is the program's or a script's.
    fn judged(judged: &Judged<'_>) -> Self {
        let found = Self::new(&judged.path).with("path", lossy(&judged.path));
        if judged.script { found.with("path_of", "script") } else { found.with("path_of", "exe") }
    }

    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.evidence.push((name, value.into()));
        self
    }

    fn severity(self, severity: Severity) -> Self {
        Self { severity: Some(severity), ..self }
    }

    fn detail(self, detail: impl Into<Vec<u8>>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}
