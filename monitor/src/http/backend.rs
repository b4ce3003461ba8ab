//! What the HTTP interface asks of the rest of the daemon.

use std::pin::Pin;

use serde::Serialize;

use super::query::ProcessQuery;
use crate::{audit::Head, budget::BudgetStatus, events::Store, metrics::Snapshot, pulse::PulseStatus};

/// A future whose type is not named, for a trait that can be used as an object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The rest of the daemon. Nothing here may block: a slow answer is a pending future.
pub trait Backend: Send + Sync + 'static {
    /// The metrics of the whole daemon, HTTP's own excepted. Never asked for twice at a time; may take long.
    fn metrics(&self) -> Answer<'_, Snapshot>;
    /// The processes that `query` asks for, as the JSON to answer with.
    fn processes(&self, query: ProcessQuery) -> Answer<'_, Result<serde_json::Value, Unavailable>>;
    /// A view of what the host's services ask of each other, as the JSON to answer with.
    fn view(&self, view: View) -> Answer<'_, Result<serde_json::Value, Unavailable>>;
    /// Reads the configuration again: what changed, or the complete text of what is wrong with it.
    fn reload(&self) -> Answer<'_, Result<String, String>>;
    /// What the daemon is doing.
    fn status(&self) -> Status;
    /// Whether events and numbers flow; if not, why.
    fn ready(&self) -> Result<(), String>;
    /// The last record of the audit trail that is safe on disk; none: no trail is kept.
    fn audit_head(&self) -> Option<Head>;
    /// The published events.
    fn events(&self) -> &Store;
}

/// What can be seen of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The slowest of them.
    Slowest,
    /// Who calls whom.
    Map,
}

/// The daemon cannot answer now, but may be able to later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not available now: {0}")]
pub struct Unavailable(pub String);

/// What the daemon is doing: `/api/v1/status`, and the landing page.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Commit that it was built from.
    pub revision: String,
    /// Seconds since its start.
    pub uptime_seconds: f64,
    /// Every signal, also those that are off.
    pub signals: Vec<SignalStatus>,
    /// How `budget.cpu` is kept; absent without a budget, and until the first measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetStatus>,
    /// Whether the kernel programs are heard; absent where activities are off, and until the first beat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<PulseStatus>,
}

/// What became of one signal.
#[derive(Clone, Debug, Serialize)]
pub struct SignalStatus {
    /// Name, as in the configuration.
    pub name: String,
    /// Whether it is observed.
    pub state: SignalState,
    /// Why it is not, or not in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a signal is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignalState {
    /// In full.
    On,
    /// Without a part of it, because this kernel lacks something.
    Partial,
    /// Not at all.
    Off,
}

impl SignalState {
    /// The name in JSON and on the landing page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Partial => "partial",
            Self::Off => "off",
        }
    }
}
