//! Rules as they are written, after macros and lists have been put in and exceptions added. Fields, operators and values
//! have not been compared with what exists yet: that is what compiling does, with the places that are kept here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::events::Severity;

/// A place in a rule file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: Arc<PathBuf>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
}

/// Something wrong (or doubtful) in a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub place: Place,
    /// Which rule, macro or list, when it is in one.
    pub item: Option<String>,
    /// An error keeps the rule from being used, a warning does not.
    pub error: bool,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// A comparison.
    Check(Check),
}

/// A comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Left of the operator.
    pub field: Field,
    /// The operator.
    pub operator: Operator,
    /// Right of it: nothing for `exists`, one for most, any number for `in`, `intersects` and `pmatch`.
    pub values: Vec<Operand>,
    /// Where it begins.
    pub place: Place,
}

/// A value of the event that a rule names: `proc.aname[2]`, `tolower(proc.name)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name without what is in brackets: `proc.aname`; of `evt.arg.flags` all of it.
    pub name: String,
    /// What is in brackets, as it was written.
    pub argument: Option<String>,
    /// What is done with the value, the innermost first.
    pub transformers: Vec<String>,
    /// Of the two transformers that take several things, what they put together; the name is then `concat`, or `join`,
    /// whose first is the text between the others. Empty for everything that is a field of the event.
    pub parts: Vec<Operand>,
    /// Where it begins.
    pub place: Place,
}

/// Right of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Text, which the type of the field makes something of.
    Text(String, Place),
    /// Another field: `val(proc.pname)`.
    Field(Field),
}

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Intersects,
    Pmatch,
    Contains,
    IContains,
    BContains,
    StartsWith,
    BStartsWith,
    EndsWith,
    Glob,
    IGlob,
    Regex,
    Exists,
}

/// Falco's priorities, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Priority {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Informational,
    Debug,
}

impl Priority {
    /// How bad the events of such a rule are.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Emergency | Self::Alert | Self::Critical => Severity::Critical,
            Self::Error => Severity::High,
            Self::Warning => Severity::Medium,
            Self::Notice => Severity::Low,
            Self::Informational | Self::Debug => Severity::Info,
        }
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, which is also its id.
    pub name: String,
    /// What it looks for and why (`desc`).
    pub description: String,
    /// When it fires, exceptions included. Of a sequence its last step.
    pub condition: Expr,
    /// The message, with `%field`s.
    pub output: String,
    /// Where the output begins, for mistakes in it.
    pub output_place: Place,
    /// How urgent.
    pub priority: Priority,
    /// Tags, as they were written.
    pub tags: Vec<String>,
    /// Whether it is used.
    pub enabled: bool,
    /// The source of events it is for: `syscall` unless it says otherwise.
    pub source: String,
    /// Leave it out without complaint when it names a field that we do not know.
    pub skip_if_unknown_filter: bool,
    /// Where it is defined.
    pub place: Place,
    /// What Falco does not have.
    pub more: More,
}

/// Keys of a rule that Falco does not have. In Falco's files they are all absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct More {
    /// What happened, in a few words (`title`).
    pub title: Option<String>,
    /// ATT&CK techniques (`attack`), where version 19 renumbered one the new id and then the old one.
    pub attack: Vec<String>,
    /// What looks the same and is harmless (`false_positives`).
    pub false_positives: Option<String>,
    /// Earlier steps, in order (`sequence`); the rule's condition is the last one.
    pub sequence: Option<Sequence>,
    /// Only when it has happened often enough (`count`).
    pub count: Option<Count>,
    /// Only the first time on this host (`first_seen`).
    pub first_seen: Option<FirstSeen>,
    /// What is the same finding again (`dedup`).
    pub dedup: Option<Dedup>,
    /// What is done about it (`respond`).
    pub respond: Option<Respond>,
}

/// Ordered steps of one entity within a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// What the steps have in common: the value of these fields.
    pub by: Vec<Field>,
    /// From the first step to the last.
    pub within: Duration,
    /// The steps before the rule's condition.
    pub steps: Vec<Expr>,
}

/// A number of times within a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// Counted apart by the value of these fields.
    pub by: Vec<Field>,
    /// Counted once for each value of this field; without it every time.
    pub distinct: Option<Field>,
    /// Fires when this many are reached.
    pub at_least: u32,
    /// Within this time.
    pub within: Duration,
}

/// The first time.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstSeen {
    /// A combination of the values of these fields.
    pub of: Vec<Field>,
    /// How long it is remembered after it was last seen.
    pub remember: Duration,
    /// For how long after the rule was first loaded everything is only learnt.
    pub learn: Duration,
}

/// What makes two findings the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Dedup {
    /// The values of these fields, beside the rule.
    pub key: Vec<Field>,
    /// The time within which it is the same.
    pub window: Duration,
}

/// What is done about a finding, when responses are switched on.
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    /// The deed.
    pub action: Action,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// A deed.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Kill the process.
    Kill,
    /// Stop the process.
    Stop,
    /// Freeze its control group.
    Freeze,
    /// Run a program with the alert as its input.
    Run(Vec<String>),
}
