//! Keeps what rules have seen in a file, so that a restart makes nothing new. The pipeline never waits for a disk: a thread
//! of its own writes. What was seen in the last seconds before a crash may be told as new once more.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, error, warn};

use crate::detect::eval::seen_file::{self, SeenFileError};
use crate::detect::eval::{Changed, Engine};
use crate::metrics::{Families, Kind, Metric};

/// Something is seen again all the time: when it was last seen may be as old as this in the file.
const TIMES: Duration = Duration::from_secs(600);
/// How long the last writing may take.
const LAST: Duration = Duration::from_secs(2);

static KEPT: Metric = Metric {
    name: "monitor_rules_state_kept",
    help: "1 when what rules have seen is kept in a file (rules.state), 0 when a restart forgets it; the log says why.",
    kind: Kind::Gauge,
    labels: &[],
};
static WRITES: Metric = Metric {
    name: "monitor_rules_state_writes_total",
    help: "Times that what rules have seen was written to its file, by result. After a failure it is tried again.",
    kind: Kind::Counter,
    labels: &["result"],
};

/// All of them.
pub(super) const METRICS: &[&Metric] = &[&KEPT, &WRITES];

/// What the writing thread tells.
#[derive(Debug, Default)]
struct Told {
    written: AtomicU64,
    failed: AtomicU64,
    /// The last writing failed.
    failing: AtomicBool,
}

/// The file, and who writes it.
#[derive(Debug)]
struct Writer {
    queue: SyncSender<Vec<u8>>,
    /// Nothing comes; its end is that of the thread.
    ended: Receiver<()>,
    told: Arc<Told>,
    /// Held as long as the daemon runs.
    _lock: File,
}

/// What rules have seen, in a file.
#[derive(Debug)]
pub(super) struct Memory {
    writer: Option<Writer>,
    unsaved: Changed,
    saved: Instant,
}

/// Why nothing is kept.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("cannot make {path}: {source}")]
    Make { path: PathBuf, source: io::Error },
    #[error("{0} is held by another daemon")]
    Held(PathBuf),
    #[error(transparent)]
    File(#[from] SeenFileError),
    #[error("cannot start the thread that writes it: {0}")]
    Thread(io::Error),
}

impl Memory {
    /// Lets rules remember what the file says. What is wrong is logged, and rules work all the same.
    pub(super) fn open(path: &Path, engine: &mut Engine) -> Self {
        let writer = open(path, engine).inspect_err(|refused| {
            error!("what first_seen rules see is not kept, a restart makes it new (rules.state): {refused}");
        });
        Self { writer: writer.ok(), unsaved: Changed::No, saved: Instant::now() }
    }

    /// Has the file written if there is something new to keep.
    pub(super) fn keep(&mut self, engine: &mut Engine) {
        let Some(writer) = &self.writer else { return };
        self.unsaved = self.unsaved.max(engine.changed());
        if writer.told.failing.swap(false, Relaxed) {
            // What could not be written has to be written again.
            self.unsaved = Changed::Entries;
        }
        let due = match self.unsaved {
            Changed::No => false,
            Changed::Times => self.saved.elapsed() >= TIMES,
            Changed::Entries => true,
        };
        if !due {
            return;
        }
        match writer.queue.try_send(engine.seen()) {
            Ok(()) => (self.unsaved, self.saved) = (Changed::No, Instant::now()),
            // The disk is slow: later.
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => {
                error!("what first_seen rules see is not kept any more: the thread that writes it has ended");
                self.writer = None;
            }
        }
    }

    /// Writes it for the last time.
    pub(super) fn close(self, engine: &Engine) {
        let Some(Writer { queue, ended, .. }) = self.writer else { return };
        let end = Instant::now() + LAST;
        let mut last = engine.seen();
        while let Err(TrySendError::Full(again)) = queue.try_send(last)
            && Instant::now() < end
        {
            last = again;
            thread::sleep(Duration::from_millis(10));
        }
        drop(queue);
        if ended.recv_timeout(end.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout) {
            warn!("what first_seen rules saw last could not be written in time");
        }
    }

    /// Adds its metrics to a scrape.
    pub(super) fn collect(&self, families: &mut Families) {
        families.gauge(&KEPT, &[], f64::from(u8::from(self.writer.is_some())));
        let count =
            |of: fn(&Told) -> &AtomicU64| self.writer.as_ref().map_or(0, |one| of(&one.told).load(Relaxed)) as f64;
        families.counter(&WRITES, &["done"], count(|told| &told.written));
        families.counter(&WRITES, &["failed"], count(|told| &told.failed));
    }
}

fn open(path: &Path, engine: &mut Engine) -> Result<Writer, Refused> {
    let lock = lock(path)?;
    match seen_file::read(path, engine) {
        Ok(()) => {}
        // The place is free: what is seen from now on is kept there.
        Err(damaged @ SeenFileError::Damaged { .. }) => error!("{damaged}"),
        Err(other) => return Err(other.into()),
    }
    let (queue, writings) = sync_channel::<Vec<u8>>(1);
    let (end, ended) = channel();
    let told = Arc::new(Told::default());
    let (path, of_thread) = (path.to_owned(), Arc::clone(&told));
    let work = move || {
        // Dropped at the end of the thread, which is how others learn of it.
        let _end = end;
        while let Ok(seen) = writings.recv() {
            match seen_file::write(&path, &seen) {
                Ok(()) => {
                    of_thread.written.fetch_add(1, Relaxed);
                    debug!(bytes = seen.len(), "wrote what rules have seen");
                }
                Err(error) => {
                    of_thread.failed.fetch_add(1, Relaxed);
                    of_thread.failing.store(true, Relaxed);
                    warn!("cannot write {}: {error}; it is tried again", path.display());
                }
            }
        }
    };
    thread::Builder::new().name("monitor-state".to_owned()).spawn(work).map_err(Refused::Thread)?;
    Ok(Writer { queue, ended, told, _lock: lock })
}

/// Two daemons would write over what the other one knows.
fn lock(path: &Path) -> Result<File, Refused> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = PathBuf::from(name);
    let make = |path: &Path| {
        let path = path.to_owned();
        move |source| Refused::Make { path, source }
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(make(directory))?;
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&lock).map_err(make(&lock))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Refused::Held(path.to_owned())),
        Err(error) => Err(Refused::Make { path: lock, source: error.into() }),
    }
}
