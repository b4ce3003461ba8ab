//! The log itself, without thread and queue: append, force to disk, begin a new segment.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

use super::head::{Head, HeadFile};
use super::record::{self, MAX_BODY};
use super::segment::{self, Segment};
use super::{AuditError, Found, Kind, Options, Seal, prune, recover};

/// Name and version of the format, in the first record of each segment.
const FORMAT: &str = "monitor.audit.v1";

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Segment,
    pub(super) file: File,
    pub(super) size: u64,
    /// There may be half a line behind `size` that could not be taken back.
    pub(super) torn: bool,
}

/// An open trail.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) directory: PathBuf,
    options: Options,
    pub(super) seal: Seal,
    active: Option<Active>,
    head_file: HeadFile,
    /// Held as long as the log is open.
    _lock: File,
    /// The last record written.
    last: Head,
    /// The last record on disk, as far as the policy wants it there.
    synced: Head,
    /// Segments removed.
    pub(super) pruned: u64,
}

fn failed(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::File { what, path, source }
}

impl Log {
    /// Opens the trail and puts it right, whatever happened to it. Nothing is written but what is needed for that.
    pub(super) fn open(options: &Options) -> Result<(Self, Found), AuditError> {
        let directory = options.directory.clone();
        segment::make_directory(&directory).map_err(failed("make the directory", &directory))?;
        let lock = File::open(&directory).map_err(failed("open the directory", &directory))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(AuditError::Busy(directory)),
            Err(error) => return Err(failed("lock the directory", &directory)(error.into())),
        }
        let (active, last, found) = recover::recover(&directory, &options.seal)?;
        let head_file = HeadFile::open(&directory).map_err(failed("open the head", &directory))?;
        // Before the first segment is made: one that is found without a head has lost it.
        if last == Head::default() && found.missing.is_none() {
            head_file.write(last).map_err(failed("write the head", &directory))?;
        }
        let log = Self {
            directory,
            seal: options.seal.clone(),
            options: options.clone(),
            active,
            head_file,
            _lock: lock,
            last,
            synced: last,
            pruned: 0,
        };
        Ok((log, found))
    }

    /// The last record that is acknowledged.
    pub(super) fn synced(&self) -> Head {
        self.synced
    }

    /// There are records that are not acknowledged yet.
    pub(super) fn is_behind(&self) -> bool {
        self.synced != self.last
    }

    /// Writes a record. Returns it, told by number and hash; it is not forced to disk yet.
    pub(super) fn append(&mut self, kind: Kind, time: Timestamp, body: &str) -> io::Result<Head> {
        let shortened;
        let body = if body.len() > MAX_BODY {
            shortened = json!({ "too_long": body.len(), "begins": beginning(body) }).to_string();
            &shortened
        } else {
            body
        };
        self.make_room(body.len() as u64, time)?;
        self.append_here(kind, time, body)
    }

    /// The same in the present segment, however long it is by now.
    pub(super) fn append_here(&mut self, kind: Kind, time: Timestamp, body: &str) -> io::Result<Head> {
        let sequence = self.last.sequence + 1;
        let (line, hash) = record::line(&self.seal, sequence, time, kind, self.last.hash, body);
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::NotFound.into()) };
        active.write(line.as_bytes())?;
        self.last = Head { sequence, hash };
        Ok(self.last)
    }

    /// Sees to it that there is a segment with room for a body of this length.
    fn make_room(&mut self, body: u64, time: Timestamp) -> io::Result<()> {
        // A line has less than this beside its body. One that is longer than a segment gets one of its own.
        let need = body + 512;
        if self.active.as_ref().is_some_and(|active| active.size.saturating_add(need) <= self.options.segment_size) {
            return Ok(());
        }
        self.begin(time)?;
        if let Err(error) = prune::prune(self, self.options.total_size, time) {
            tracing::error!(%error, "the oldest segments of the audit trail cannot be removed: it grows on");
        }
        Ok(())
    }

    /// Begins a new segment.
    fn begin(&mut self, time: Timestamp) -> io::Result<()> {
        // What is in the old one is safe before anything of the new one is.
        self.sync()?;
        let segment =
            Segment { first: self.last.sequence + 1, path: self.directory.join(segment::name(self.last.sequence + 1)) };
        let follows = self.active.as_ref().map(|active| active.segment.name());
        let body =
            json!({ "format": FORMAT, "seal": self.seal.name(), "sync": self.options.sync.name(), "follows": follows });
        let file = segment::create(&segment.path)?;
        let path = segment.path.clone();
        let before = self.active.replace(Active { segment, file, size: 0, torn: false });
        let begun = self
            .append_here(Kind::Segment, time, &body.to_string())
            .and_then(|_| File::open(&self.directory)?.sync_all());
        if begun.is_err() && self.active.as_ref().is_some_and(|active| active.size == 0) {
            // The disk is full, most likely: an empty file is in nobody's way, but it is not the trail's end either.
            self.active = before;
            let _ = std::fs::remove_file(path);
        }
        begun
    }

    /// Forces what was written to disk, as far as the policy wants that, and acknowledges it.
    ///
    /// After a failure the kernel may have thrown away what it could not write, and tell of it only this once (fsync(2)).
    /// So nothing more is written behind it: the next record begins a new segment.
    pub(super) fn sync(&mut self) -> io::Result<Head> {
        if !self.is_behind() {
            return Ok(self.synced);
        }
        if let Some(active) = self.active.as_ref().filter(|_| self.options.sync != super::Sync::Never)
            && let Err(error) = active.file.sync_data()
        {
            self.active = None;
            // What it was is not acknowledged, and never will be.
            self.synced = self.last;
            return Err(error);
        }
        self.synced = self.last;
        self.head_file.write(self.synced)?;
        Ok(self.synced)
    }

    /// Name of the segment that is written.
    pub(super) fn active(&self) -> Option<&Segment> {
        self.active.as_ref().map(|active| &active.segment)
    }
}

impl Active {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.take_back()?;
        }
        // One call for the line: a kill cannot come between two. A full disk can.
        match self.file.write_all(line) {
            Ok(()) => {
                self.size += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                // If that fails, too, it is tried again before the next record.
                let _ = self.take_back();
                Err(error)
            }
        }
    }

    /// Takes half a line back.
    fn take_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.size)?;
        self.torn = false;
        Ok(())
    }
}

/// The first characters of a body that is too long.
fn beginning(body: &str) -> &str {
    &body[..body.floor_char_boundary(4096)]
}
