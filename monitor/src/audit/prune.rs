//! Removes the oldest segments. What is removed is said in the chain first, with the hash of the last record that goes:
//! so a prefix that the daemon removed is told from one that somebody else did.

use std::fs::File;
use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::log::Log;
use super::segment::{self, Segment};
use super::{Digest, Kind};

/// Body of the record.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Pruned {
    /// Names of the segments, oldest first.
    pub(super) segments: Vec<String>,
    /// Number of the first record in them.
    pub(super) first: u64,
    /// Number of the last one.
    pub(super) last: u64,
    /// Hash of the last one: the record after it has it as `previous`.
    pub(super) last_hash: String,
}

/// Removes as many as it takes to have all together within `limit` bytes; the one that is written stays.
pub(super) fn prune(log: &mut Log, limit: u64, time: Timestamp) -> io::Result<()> {
    let all = segment::list(&log.directory)?;
    let mut sizes = Vec::with_capacity(all.len());
    for segment in &all {
        sizes.push(segment.path.metadata()?.len());
    }
    let mut total: u64 = sizes.iter().sum();
    let active = log.active().map_or(u64::MAX, |active| active.first);
    let mut going = 0;
    while total > limit && all.get(going + 1).is_some_and(|next| next.first <= active) {
        total -= sizes[going];
        going += 1;
    }
    let Some((going, staying)) = all.split_at_checked(going).filter(|(going, _)| !going.is_empty()) else {
        return Ok(());
    };
    let Some(next) = staying.first() else { return Ok(()) };
    // A segment that begins with no record was damaged by somebody: the hash is then told as it is not.
    let end = segment::opening(&next.path, &log.seal, |record| (record.sequence, record.previous))?;
    let (after, last_hash) = end.unwrap_or((next.first, Digest::default()));
    remove(
        log,
        going,
        Pruned {
            segments: going.iter().map(Segment::name).collect(),
            first: going[0].first,
            last: after.saturating_sub(1),
            last_hash: last_hash.to_string(),
        },
        time,
    )
}

/// First the record, on disk, then the files.
fn remove(log: &mut Log, going: &[Segment], pruned: Pruned, time: Timestamp) -> io::Result<()> {
    let body = serde_json::to_string(&pruned)?;
    log.append_here(Kind::Pruned, time, &body)?;
    log.sync()?;
    for segment in going {
        std::fs::remove_file(&segment.path)?;
        log.pruned += 1;
    }
    tracing::info!(segments = going.len(), last = pruned.last, "the oldest segments of the audit trail are removed");
    File::open(&log.directory)?.sync_all()
}
