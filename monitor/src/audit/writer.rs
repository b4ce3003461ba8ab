//! The thread that writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::log::Log;
use super::trail::Shared;
use super::{Head, Kind, Sync};

/// Records that are not urgent are forced to disk after so long.
const INTERVAL: Duration = Duration::from_secs(1);
/// How soon losses are noticed when nothing comes.
const IDLE: Duration = Duration::from_millis(500);
/// Most records that share one forcing to disk.
const BATCH: usize = 256;

/// A record on its way.
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) time: Timestamp,
    pub(super) body: Body,
    /// Forced to disk at once, where the policy allows it.
    pub(super) urgent: bool,
    /// Who waits until it is.
    pub(super) acknowledge: Option<SyncSender<Head>>,
}

/// What a record says. An alert is shared with the store and the sink.
pub(super) enum Body {
    Text(String),
    Shared(bytes::Bytes),
}

impl Body {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            // Published events are text; one that was not is told as null.
            Self::Shared(bytes) => std::str::from_utf8(bytes).unwrap_or("null"),
        }
    }
}

/// Takes records from the queue to the log.
pub(super) struct Writer {
    log: Log,
    shared: Arc<Shared>,
    policy: Sync,
    /// Losses that the trail tells of already.
    told: [u64; 2],
    /// When what was written is to be on disk.
    due: Option<Instant>,
    waiting: Vec<(Head, SyncSender<Head>)>,
    /// The last thing failed, and the log says so.
    failing: bool,
}

impl Writer {
    pub(super) fn new(log: Log, shared: Arc<Shared>, policy: Sync) -> Self {
        Self { log, shared, policy, told: [0; 2], due: None, waiting: Vec::new(), failing: false }
    }

    /// Until the trail is closed.
    pub(super) fn run(mut self, entries: &Receiver<Entry>) {
        loop {
            let wait = self.due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()).min(IDLE));
            match entries.recv_timeout(wait) {
                Ok(entry) => self.batch(entry, entries),
                Err(RecvTimeoutError::Timeout) => {
                    self.tell_losses();
                    if self.due.is_some_and(|due| Instant::now() >= due) {
                        self.sync();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.tell_losses();
                    return self.sync();
                }
            }
        }
    }

    /// Everything that waits, and one forcing to disk for all of it.
    fn batch(&mut self, first: Entry, entries: &Receiver<Entry>) {
        let mut now = self.write(first);
        for entry in entries.try_iter().take(BATCH - 1) {
            now |= self.write(entry);
        }
        if self.log.is_behind() {
            let late = self.due.is_some_and(|due| Instant::now() >= due);
            if now || late || self.policy != Sync::Interval {
                self.sync();
            } else {
                self.due.get_or_insert_with(|| Instant::now() + INTERVAL);
            }
        }
    }

    /// Returns whether it is urgent.
    fn write(&mut self, entry: Entry) -> bool {
        let Entry { kind, time, body, urgent, acknowledge } = entry;
        self.shared.queued_bytes.fetch_sub(body.as_str().len(), Ordering::Relaxed);
        self.tell_losses();
        match self.log.append(kind, time, body.as_str()) {
            Ok(head) => {
                self.shared.written(kind);
                self.waiting.extend(acknowledge.map(|to| (head, to)));
                urgent
            }
            Err(error) => {
                self.shared.lost_error.fetch_add(1, Ordering::Relaxed);
                self.failed(&error);
                false
            }
        }
    }

    fn sync(&mut self) {
        self.due = None;
        match self.log.sync() {
            Ok(head) => {
                self.shared.acknowledged(head, self.log.pruned);
                for (record, to) in self.waiting.drain(..) {
                    // Who waited may have lost patience.
                    let _ = to.try_send(record);
                }
                if self.failing {
                    self.failing = false;
                    self.shared.failing.store(false, Ordering::Relaxed);
                    tracing::info!("the audit trail is written again");
                }
            }
            Err(error) => {
                self.waiting.clear();
                self.shared.lost_error.fetch_add(1, Ordering::Relaxed);
                self.failed(&error);
            }
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        self.shared.failing.store(true, Ordering::Relaxed);
        if !self.failing {
            self.failing = true;
            tracing::error!(%error, "cannot write the audit trail; each next record will be tried");
        }
    }

    /// A trail that lost records says so itself: whoever reads it must know that it is not complete.
    fn tell_losses(&mut self) {
        let lost = [&self.shared.lost_queue, &self.shared.lost_error].map(|count| count.load(Ordering::Relaxed));
        if lost == self.told {
            return;
        }
        let body = json!({ "queue": lost[0] - self.told[0], "error": lost[1] - self.told[1] }).to_string();
        if self.log.append(Kind::Lost, Timestamp::now(), &body).is_ok() {
            self.shared.written(Kind::Lost);
            self.told = lost;
            self.due.get_or_insert_with(|| Instant::now() + INTERVAL);
        }
    }
}
