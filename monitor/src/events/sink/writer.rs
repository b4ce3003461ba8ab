//! The thread that writes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::file::RotatingFile;
use super::{Format, Published, Shared};

/// How soon a request to reopen is seen when no event comes.
const IDLE: Duration = Duration::from_millis(500);
/// How long one event may wait for a non-blocking output that takes nothing.
const STALL: Duration = Duration::from_secs(5);
/// Between two tries on such an output.
const RETRY: Duration = Duration::from_millis(5);

/// Where lines go.
pub(super) enum Target {
    /// A stream: standard output.
    Stream(File),
    /// A file with rotation.
    File(RotatingFile),
}

impl Target {
    /// Standard output without the buffer and the lock of the standard library: a writer that is stuck there must not
    /// hold up anybody else who prints.
    pub(super) fn stdout() -> io::Result<Self> {
        Ok(Self::Stream(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    fn write(&mut self, line: &[u8], shared: &Shared) -> io::Result<()> {
        match self {
            Self::Stream(stream) => write_all(stream, line, shared),
            Self::File(file) => file.write(line),
        }
    }
}

/// Writes all of `line`, also when somebody made the stream non-blocking (a terminal or pipe that is shared with such a
/// program): half a line would spoil the next one too.
fn write_all(stream: &mut impl Write, mut line: &[u8], shared: &Shared) -> io::Result<()> {
    let start = Instant::now();
    while !line.is_empty() {
        match stream.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if start.elapsed() > STALL || shared.hurry.load(Ordering::Acquire) {
                    return Err(error);
                }
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes events from the queue to the target.
pub(super) struct Writer {
    target: Target,
    format: Format,
    shared: Arc<Shared>,
    /// Nobody reads any more.
    closed: bool,
    /// Events lost since the last that was written: one log line tells of all of them.
    failed: u64,
    line: Vec<u8>,
}

impl Writer {
    pub(super) fn new(target: Target, format: Format, shared: Arc<Shared>) -> Self {
        Self { target, format, shared, closed: false, failed: 0, line: Vec::new() }
    }

    /// Until the sink closes.
    pub(super) fn run(mut self, events: &Receiver<Arc<Published>>) {
        loop {
            let next = events.recv_timeout(IDLE);
            self.reopen();
            match next {
                Ok(event) => self.take(&event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn reopen(&mut self) {
        if self.shared.reopen.swap(false, Ordering::AcqRel)
            && let Target::File(file) = &mut self.target
            && let Err(error) = file.reopen()
        {
            tracing::error!(%error, "cannot reopen the file of events; will try again with the next event");
        }
    }

    fn take(&mut self, event: &Published) {
        self.shared.queued_bytes.fetch_sub(event.json.len(), Ordering::Relaxed);
        if self.closed {
            self.shared.lost_closed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.shared.hurry.load(Ordering::Acquire) {
            self.shared.lost_queue.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.line.clear();
        match self.format.render(&event.json) {
            Some(other) => self.line.extend_from_slice(&other),
            None => self.line.extend_from_slice(&event.json),
        }
        self.line.push(b'\n');
        let result = self.target.write(&self.line, &self.shared);
        self.line.shrink_to(64 << 10);
        match result {
            Ok(()) => self.succeeded(),
            Err(error) => self.fail(&error),
        }
    }

    fn succeeded(&mut self) {
        self.shared.written.fetch_add(1, Ordering::Relaxed);
        if self.failed > 0 {
            tracing::info!(lost = self.failed, "events are written again");
            self.failed = 0;
            self.shared.failing.store(false, Ordering::Relaxed);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.shared.failing.store(true, Ordering::Relaxed);
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.closed = true;
            self.shared.lost_closed.fetch_add(1, Ordering::Relaxed);
            tracing::error!("nobody reads the events on standard output any more: they go to the HTTP interface only");
            return;
        }
        self.shared.lost_error.fetch_add(1, Ordering::Relaxed);
        if self.failed == 0 {
            tracing::error!(%error, "cannot write an event; each next one will be tried");
        }
        self.failed += 1;
    }
}
