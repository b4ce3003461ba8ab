//! Writes published events out, one JSON line each: to standard output or to a file. The writing is done by a thread of
//! its own behind a bounded queue, so that a full disk or a reader that never reads stops nothing else.

mod file;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Format, Published};
use crate::metrics::{Families, Kind, Metric};

/// Most events that wait for the writer.
const QUEUE: usize = 1024;
/// Most bytes that wait for the writer: see the store's limit for why a number of events is not enough.
const QUEUE_BYTES: usize = 16 << 20;

pub(super) static WRITTEN: Metric = Metric {
    name: "monitor_events_written_total",
    help: "Events written to the sink (stdout or file).",
    kind: Kind::Counter,
    labels: &["sink"],
};
pub(super) static LOST: Metric = Metric {
    name: "monitor_events_lost_total",
    help: "Published events that the sink did not write, by cause: sink_queue (the writer was too slow), sink_error \
           (writing failed), sink_closed (nobody reads standard output any more). They are in the HTTP interface.",
    kind: Kind::Counter,
    labels: &["cause"],
};
pub(super) static UP: Metric = Metric {
    name: "monitor_event_sink_up",
    help: "1 when the last write to the sink went well or none was tried yet, 0 when it failed.",
    kind: Kind::Gauge,
    labels: &["sink"],
};

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file.
    File,
    /// Nowhere: only the HTTP interface has them.
    None,
}

impl Output {
    const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::File => "file",
            Self::None => "none",
        }
    }
}

/// How to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOptions {
    /// Where to.
    pub output: Output,
    /// How.
    pub format: Format,
    /// The file. Its directory is made with mode 0750 if it is missing, it itself with mode 0600.
    pub file: PathBuf,
    /// The file makes way for a new one before it grows beyond this, bytes.
    pub rotate_size: u64,
    /// Old files that are kept: `FILE.1` (the latest) to `FILE.N`.
    pub rotate_keep: u32,
}

/// Why the sink could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file's directory is missing and cannot be made.
    #[error("cannot make the directory {path} for events: {source}; set events.file to a path that can be written")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be opened for writing.
    #[error("cannot open {path} for events: {source}; set events.file to a path that can be written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output is closed.
    #[error("cannot use standard output for events: {0}; set events.output to \"file\" or \"none\"")]
    Stdout(io::Error),
    /// No thread could be started.
    #[error("cannot start the thread that writes events: {0}")]
    Thread(io::Error),
}

/// What queue and writer share.
#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    written: AtomicU64,
    lost_queue: AtomicU64,
    lost_error: AtomicU64,
    lost_closed: AtomicU64,
    failing: AtomicBool,
    reopen: AtomicBool,
    /// The time to stop has come: what cannot be written at once is lost.
    hurry: AtomicBool,
}

/// The way events leave the daemon.
#[derive(Debug)]
pub struct Sink {
    output: Output,
    shared: Arc<Shared>,
    /// Taken when the sink closes, which tells the writer to finish.
    queue: Mutex<Option<SyncSender<Arc<Published>>>>,
    /// Disconnected when the writer has finished.
    finished: Mutex<Option<Receiver<()>>>,
}

impl Sink {
    /// Opens the output and starts the writer.
    ///
    /// # Errors
    /// See [`SinkError`].
    pub fn open(options: &SinkOptions) -> Result<Self, SinkError> {
        let shared = Arc::new(Shared::default());
        let target = match options.output {
            Output::None => {
                let (queue, finished) = (Mutex::new(None), Mutex::new(None));
                return Ok(Self { output: options.output, shared, queue, finished });
            }
            Output::Stdout => writer::Target::stdout().map_err(SinkError::Stdout)?,
            Output::File => writer::Target::File(file::RotatingFile::open(options)?),
        };
        Self::start(options.output, options.format, target, shared)
    }

    fn start(output: Output, format: Format, target: writer::Target, shared: Arc<Shared>) -> Result<Self, SinkError> {
        let (queue, events) = sync_channel(QUEUE);
        let (finish, finished) = sync_channel(1);
        let writer = writer::Writer::new(target, format, Arc::clone(&shared));
        std::thread::Builder::new()
            .name("event-writer".to_owned())
            .spawn(move || {
                writer.run(&events);
                drop(finish);
            })
            .map_err(SinkError::Thread)?;
        Ok(Self { output, shared, queue: Mutex::new(Some(queue)), finished: Mutex::new(Some(finished)) })
    }

    /// Hands an event to the writer; never waits. An event that finds the queue full is lost to the sink and counted.
    pub fn write(&self, event: &Arc<Published>) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else { return };
        let size = event.json.len();
        let waiting = self.shared.queued_bytes.fetch_add(size, Ordering::Relaxed);
        // A lone event is let through whatever its size.
        if waiting > 0 && waiting + size > QUEUE_BYTES {
            return self.refuse(size);
        }
        match queue.try_send(Arc::clone(event)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.refuse(size),
        }
    }

    fn refuse(&self, size: usize) {
        self.shared.queued_bytes.fetch_sub(size, Ordering::Relaxed);
        self.shared.lost_queue.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the file anew before the next event, for a log rotation that moved it away (SIGHUP).
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
    }

    /// Writes what waits and stops, within `patience`; what could not be written by then is counted as lost. Events
    /// that come later are not written. Returns whether everything that waited was dealt with.
    pub fn close(&self, patience: Duration) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(finished) = self.finished.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        // Nothing is ever sent: the receiver returns early only when the writer has dropped its end.
        if finished.recv_timeout(patience) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
            return true;
        }
        self.shared.hurry.store(true, Ordering::Release);
        tracing::warn!(sink = self.output.name(), "the event sink does not take what is left: giving up on it");
        false
    }

    /// Adds the sink's metrics to a scrape.
    pub fn collect(&self, families: &mut Families) {
        let shared = &self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        if self.output != Output::None {
            families.counter(&WRITTEN, &[self.output.name()], count(&shared.written));
            let up = if shared.failing.load(Ordering::Relaxed) { 0.0 } else { 1.0 };
            families.gauge(&UP, &[self.output.name()], up);
        }
        families.counter(&LOST, &["sink_queue"], count(&shared.lost_queue));
        families.counter(&LOST, &["sink_error"], count(&shared.lost_error));
        families.counter(&LOST, &["sink_closed"], count(&shared.lost_closed));
    }
}

#[cfg(test)]
mod tests;
