//! The trail as the rest of the daemon has it: hand a record over and go on.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::log::Log;
use super::writer::{Body, Entry, Writer};
use super::{AuditError, Found, Head, Kind, Options};
use crate::events::{Published, Severity};
use crate::metrics::{Families, Kind as MetricKind, Metric};

/// Most records that wait for the writer.
const QUEUE: usize = 4096;
/// Most bytes that wait for the writer: an alert can have 200 KiB.
const QUEUE_BYTES: usize = 16 << 20;

static RECORDS: Metric = Metric {
    name: "monitor_audit_records_total",
    help: "Records written to the audit trail.",
    kind: MetricKind::Counter,
    labels: &["kind"],
};
static LOST: Metric = Metric {
    name: "monitor_audit_lost_total",
    help: "Records that the audit trail does not have, by cause: queue (the disk was too slow), error (writing failed). The \
           trail itself tells of them, too.",
    kind: MetricKind::Counter,
    labels: &["cause"],
};
static UP: Metric = Metric {
    name: "monitor_audit_up",
    help: "1 when the audit trail is written, 0 when the last record could not be, or when there is none.",
    kind: MetricKind::Gauge,
    labels: &[],
};
static HEAD: Metric = Metric {
    name: "monitor_audit_head_sequence",
    help: "Number of the last record of the audit trail that is safe on disk.",
    kind: MetricKind::Gauge,
    labels: &[],
};
static HEAD_HASH: Metric = Metric {
    name: "monitor_audit_head_hash",
    help: "The first 13 hexadecimal digits of that record's hash, as a number. Kept elsewhere, it convicts whoever makes the \
           whole chain anew.",
    kind: MetricKind::Gauge,
    labels: &[],
};
static PRUNED: Metric = Metric {
    name: "monitor_audit_pruned_segments_total",
    help: "Segments of the audit trail removed to keep it within its size.",
    kind: MetricKind::Counter,
    labels: &[],
};
static TORN: Metric = Metric {
    name: "monitor_audit_torn",
    help: "1 when the run before was killed while it wrote a record: that one was not acknowledged and is cut off.",
    kind: MetricKind::Gauge,
    labels: &[],
};
static MISSING: Metric = Metric {
    name: "monitor_audit_missing_records",
    help: "Acknowledged records that were not there when the daemon started.",
    kind: MetricKind::Gauge,
    labels: &[],
};

/// Metrics of the audit trail.
pub const METRICS: &[&Metric] = &[&RECORDS, &LOST, &UP, &HEAD, &HEAD_HASH, &PRUNED, &TORN, &MISSING];

/// What the trail and its writer share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) queued_bytes: AtomicUsize,
    pub(super) lost_queue: AtomicU64,
    pub(super) lost_error: AtomicU64,
    pub(super) failing: AtomicBool,
    records: [AtomicU64; Kind::ALL.len()],
    pruned: AtomicU64,
    head: Mutex<Head>,
}

impl Shared {
    pub(super) fn written(&self, kind: Kind) {
        self.records[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn acknowledged(&self, head: Head, pruned: u64) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        self.pruned.store(pruned, Ordering::Relaxed);
    }
}

/// The audit trail. One that is off takes records and forgets them.
#[derive(Debug, Default)]
pub struct Trail {
    shared: Arc<Shared>,
    found: Found,
    /// Taken when the trail closes, which tells the writer to finish.
    queue: Mutex<Option<SyncSender<Entry>>>,
    /// Disconnected when the writer has finished.
    finished: Mutex<Option<Receiver<()>>>,
}

impl Trail {
    /// Opens the trail, puts it right, and tells in it how the run before ended. `start` says what starts.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn open(options: &Options, start: &Value) -> Result<Self, AuditError> {
        let (log, found) = Log::open(options)?;
        report(&found);
        let shared = Arc::new(Shared::default());
        shared.acknowledged(log.synced(), 0);
        let (queue, entries) = sync_channel(QUEUE);
        let (finish, finished) = sync_channel(1);
        let writer = Writer::new(log, Arc::clone(&shared), options.sync);
        std::thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || {
                writer.run(&entries);
                drop(finish);
            })
            .map_err(AuditError::Thread)?;
        let trail = Self { shared, found, queue: Mutex::new(Some(queue)), finished: Mutex::new(Some(finished)) };
        trail.tell(start);
        Ok(trail)
    }

    fn tell(&self, start: &Value) {
        let found = &self.found;
        if let Some(torn) = &found.torn {
            self.urgent(Kind::Torn, &json!(torn));
        }
        if let Some(missing) = &found.missing {
            self.urgent(Kind::Missing, &json!(missing));
        }
        let before = match found.last {
            None => "none",
            Some(_) if found.stopped => "stopped",
            Some(_) => "killed",
        };
        self.urgent(
            Kind::Start,
            &json!({ "before": before, "head_unreadable": found.head_unreadable, "daemon": start }),
        );
    }

    /// What was found at the start.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Records something; never waits.
    pub fn record(&self, kind: Kind, body: &Value) {
        self.send(kind, Body::Text(body.to_string()), false, None);
    }

    /// The same; it is on disk as soon as the policy allows.
    pub fn urgent(&self, kind: Kind, body: &Value) {
        self.send(kind, Body::Text(body.to_string()), true, None);
    }

    /// A security event. Those from `high` on are urgent.
    pub fn alert(&self, event: &Published) {
        self.send(Kind::Alert, Body::Shared(event.json.clone()), event.severity >= Severity::High, None);
    }

    /// A security event that tells of lost records.
    pub fn loss(&self, event: &Published) {
        self.send(Kind::Loss, Body::Shared(event.json.clone()), true, None);
    }

    /// Records something that must be safe before it is done. None: it is not, within `patience`.
    pub fn acknowledged(&self, kind: Kind, body: &Value, patience: Duration) -> Option<Head> {
        let (to, answer) = sync_channel(1);
        self.send(kind, Body::Text(body.to_string()), true, Some(to));
        answer.recv_timeout(patience).ok()
    }

    fn send(&self, kind: Kind, body: Body, urgent: bool, acknowledge: Option<SyncSender<Head>>) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else { return };
        let size = body.as_str().len();
        let waiting = self.shared.queued_bytes.fetch_add(size, Ordering::Relaxed);
        // A lone record is let through whatever its size.
        let full = waiting > 0 && waiting + size > QUEUE_BYTES;
        let entry = Entry { kind, time: Timestamp::now(), body, urgent, acknowledge };
        if full || matches!(queue.try_send(entry), Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) {
            self.shared.queued_bytes.fetch_sub(size, Ordering::Relaxed);
            self.shared.lost_queue.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The last record that is safe on disk.
    pub fn head(&self) -> Head {
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trail is kept.
    pub fn is_on(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Writes what waits and a last record, within `patience`. Returns whether all of it is safe.
    pub fn close(&self, stop: &Value, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        if !self.is_on() {
            return true;
        }
        let stopped = self.acknowledged(Kind::Stop, stop, patience).is_some();
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nothing is ever sent: the receiver returns early only when the writer has dropped its end.
        let ended = finished.is_none_or(|finished| {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(10));
            finished.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
        });
        stopped && ended
    }

    /// Adds the trail's metrics to a scrape.
    pub fn collect(&self, families: &mut Families) {
        let shared = &self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let up = self.is_on() && !shared.failing.load(Ordering::Relaxed);
        families.gauge(&UP, &[], f64::from(u8::from(up)));
        for kind in Kind::ALL {
            families.counter(&RECORDS, &[kind.name()], count(&shared.records[kind as usize]));
        }
        families.counter(&LOST, &["queue"], count(&shared.lost_queue));
        families.counter(&LOST, &["error"], count(&shared.lost_error));
        families.counter(&PRUNED, &[], count(&shared.pruned));
        let head = self.head();
        families.gauge(&HEAD, &[], head.sequence as f64);
        families.gauge(&HEAD_HASH, &[], head.hash.prefix() as f64);
        families.gauge(&TORN, &[], f64::from(u8::from(self.found.torn.is_some())));
        let missing = self.found.missing.as_ref().map_or(0, |missing| missing.last - missing.first + 1);
        families.gauge(&MISSING, &[], missing as f64);
    }
}

/// Says in the log what was found.
fn report(found: &Found) {
    if let Some(torn) = &found.torn {
        let (segment, offset, bytes) = (&torn.segment, torn.offset, torn.bytes);
        tracing::warn!(
            segment,
            offset,
            bytes,
            moved_to = torn.moved_to,
            "the audit trail ends with half a record, which nobody was told was safe: the daemon was killed while it wrote; cut off"
        );
    }
    if let Some(missing) = &found.missing {
        let (first, last) = (missing.first, missing.last);
        tracing::error!(
            first,
            last,
            "acknowledged records are missing at the end of the audit trail: somebody removed them, or the disk lost them"
        );
    }
    if found.head_unreadable {
        tracing::error!(
            "the audit trail's file `head` says nothing: it cannot be told whether records are missing at the end"
        );
    }
}
