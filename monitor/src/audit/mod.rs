//! The audit trail: an append-only log of what the daemon found, was told and did, in which each record carries the hash
//! of the one before. An edit, a removal or a reordering breaks the chain, and [`verify`] says where. docs/AUDIT.md is
//! for its reader; what the chain cannot prove is said there, too.
//!
//! The pipeline hands records over and never waits: a thread of its own writes them behind a bounded queue. A record is
//! *acknowledged* when it is on disk, by the policy of [`Sync`].

mod head;
mod inventory;
mod lines;
mod log;
mod prune;
mod record;
mod recover;
mod segment;
mod trail;
mod verify;
mod writer;

use std::io;
use std::path::PathBuf;

pub use head::Head;
pub use inventory::{rule_files, text_hash};
pub use record::{Digest, Record, Seal, read_key};
pub use recover::{Found, Missing, Torn};
pub use segment::read as read_segments;
pub use trail::{METRICS, Trail};
pub use verify::{Problem, Report, verify};

/// Where the trail is kept when nothing else is configured.
pub const DEFAULT_DIRECTORY: &str = "/var/lib/monitor/audit";

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A segment begins; its body says how records are sealed.
    Segment,
    /// The daemon starts; its body says how the run before it ended.
    Start,
    /// The daemon stops in order.
    Stop,
    /// A security event was published: its body is the event.
    Alert,
    /// The rules are others than before.
    RulesChanged,
    /// The configuration was read again, well or not.
    Reload,
    /// Records of the kernel were lost, so that something may have happened that no alert tells of.
    Loss,
    /// Records of this trail were lost.
    Lost,
    /// The run before was killed while it wrote a record that nobody had been told was safe.
    Torn,
    /// Records that had been acknowledged were not there when the daemon started.
    Missing,
    /// The oldest segments are removed because the trail has reached its size.
    Pruned,
    /// Something was done about an alert, or would have been.
    Response,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Segment,
        Self::Start,
        Self::Stop,
        Self::Alert,
        Self::RulesChanged,
        Self::Reload,
        Self::Loss,
        Self::Lost,
        Self::Torn,
        Self::Missing,
        Self::Pruned,
        Self::Response,
    ];

    /// The name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Alert => "alert",
            Self::RulesChanged => "rules_changed",
            Self::Reload => "reload",
            Self::Loss => "loss",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Missing => "missing",
            Self::Pruned => "pruned",
            Self::Response => "response",
        }
    }
}

/// When records are forced to disk (fdatasync(2)); until then a loss of power takes them, a kill of the daemon does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// After each record; records that come together share one.
    Always,
    /// Urgent ones at once, the others within a second.
    #[default]
    Interval,
    /// When the kernel likes. A record counts as acknowledged when it is written.
    Never,
}

impl Sync {
    /// The word in the configuration and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "interval",
            Self::Never => "never",
        }
    }
}

/// How to keep the trail.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its directory, made with mode 0700 if it is missing.
    pub directory: PathBuf,
    /// When records are forced to disk.
    pub sync: Sync,
    /// A segment that would grow beyond this is closed, bytes.
    pub segment_size: u64,
    /// The oldest segments are removed while all together are larger, bytes.
    pub total_size: u64,
    /// How records are sealed.
    pub seal: Seal,
}

/// Why there is no trail.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory or a file in it.
    #[error("cannot {what} {path} of the audit trail: {source}; set audit.directory to a place that can be written")]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another daemon writes there: two would break the chain.
    #[error("another daemon keeps its audit trail in {0}; give each an audit.directory of its own")]
    Busy(PathBuf),
    /// None of the records is sealed as this daemon would do it.
    #[error(
        "the records in {path} are sealed with another key, or with none where there is one now; set audit.key_file as \
         before, or begin anew in another audit.directory"
    )]
    Sealed {
        /// The segment.
        path: PathBuf,
    },
    /// The file of the key.
    #[error("cannot use the key of the audit trail in {path}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No thread could be started.
    #[error("cannot start the thread that writes the audit trail: {0}")]
    Thread(io::Error),
}

#[cfg(test)]
mod tests;
