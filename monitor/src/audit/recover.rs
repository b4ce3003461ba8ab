//! What a trail is put right from at the start: the daemon before may have been killed at any moment, or the power gone.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::head::{self, Head, Kept};
use super::log::Active;
use super::record::{Record, Seal};
use super::segment::{self, Segment};
use super::{AuditError, Kind, lines};

/// Cut-off ends that are kept: one is made by each start at most.
const SIDE_FILES: usize = 16;
const SIDE_SUFFIX: &str = ".torn";

/// What was found at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The last whole record.
    pub last: Option<Head>,
    /// It says that the run before stopped in order.
    pub stopped: bool,
    /// An end that was no whole record; it has been cut off.
    pub torn: Option<Torn>,
    /// Acknowledged records that are not there.
    pub missing: Option<Missing>,
    /// The file of the head says nothing, so that nobody can tell whether records are missing at the end.
    pub head_unreadable: bool,
}

/// The end of a segment that was no whole record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Torn {
    /// Name of the segment.
    pub segment: String,
    /// Where it began, bytes.
    pub offset: u64,
    /// How long it was.
    pub bytes: u64,
    /// Name of the file that it was moved to.
    pub moved_to: String,
}

/// Acknowledged records that are not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// Hash of the last.
    pub last_hash: String,
}

/// What a segment has.
struct Content {
    /// Its last whole record that is sealed right, and whether that is the end of a run.
    last: Option<(Head, bool)>,
    /// Where that one ends.
    end: u64,
    /// It has lines that look like records, but none is sealed right.
    foreign: bool,
    size: u64,
}

/// Finds the end of the trail, and cuts off what is behind it.
pub(super) fn recover(directory: &Path, seal: &Seal) -> Result<(Option<Active>, Head, Found), AuditError> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| AuditError::File { what, path, source }
    };
    let kept = head::read(directory).map_err(failed("read the head of", directory))?;
    let mut found = Found { head_unreadable: kept == Kept::Unreadable, ..Found::default() };
    let mut active = None;
    let segments = segment::list(directory).map_err(failed("list", directory))?;
    for segment in segments.into_iter().rev() {
        let path = segment.path.clone();
        let content = look(&path, seal).map_err(failed("read", &path))?;
        if content.foreign {
            return Err(AuditError::Sealed { path });
        }
        if content.size > content.end {
            let torn =
                cut(directory, &segment, content.end, content.size).map_err(failed("cut off the end of", &path))?;
            found.torn.get_or_insert(torn);
        }
        if let Some((last, stopped)) = content.last {
            (found.last, found.stopped) = (Some(last), stopped);
            let file = segment::append(&path).map_err(failed("open", &path))?;
            active = Some(Active { segment, file, size: content.end, torn: false });
            break;
        }
        // Its first record was being written.
        std::fs::remove_file(&path).map_err(failed("remove the empty segment", &path))?;
    }
    let last = found.last.unwrap_or_default();
    if let Kept::Head(head) = kept
        && head.sequence > last.sequence
    {
        found.missing =
            Some(Missing { first: last.sequence + 1, last: head.sequence, last_hash: head.hash.to_string() });
    }
    Ok((active, last, found))
}

fn look(path: &Path, seal: &Seal) -> io::Result<Content> {
    let file = File::open(path)?;
    let mut content = Content { last: None, end: 0, foreign: false, size: file.metadata()?.len() };
    lines::each(&file, |line| {
        if line.whole
            && let Some(record) = Record::parse(line.text, seal)
        {
            if record.sealed {
                let head = Head { sequence: record.sequence, hash: record.hash };
                content.last = Some((head, record.kind == Kind::Stop.name()));
                content.end = line.end;
            } else {
                content.foreign = true;
            }
        }
        ControlFlow::Continue(())
    })?;
    // One that was changed among others is for `verify` to tell; here only the end matters.
    content.foreign &= content.last.is_none();
    Ok(content)
}

/// Moves the end of a segment to a file beside it, which is safe before the end is gone.
fn cut(directory: &Path, segment: &Segment, offset: u64, size: u64) -> io::Result<Torn> {
    let mut from = File::open(&segment.path)?;
    from.seek(SeekFrom::Start(offset))?;
    let path = side_path(directory, segment, offset);
    let mut side = segment::create(&path)?;
    io::copy(&mut from.take(size - offset), &mut side)?;
    side.flush()?;
    side.sync_all()?;
    let file = segment::append(&segment.path)?;
    file.set_len(offset)?;
    file.sync_all()?;
    tidy(directory)?;
    let moved_to = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Torn { segment: segment.name(), offset, bytes: size - offset, moved_to })
}

/// A name that is free: the same place may be torn twice.
fn side_path(directory: &Path, segment: &Segment, offset: u64) -> PathBuf {
    let path = |number: u32| directory.join(format!("{}-{offset}-{number}{SIDE_SUFFIX}", segment.name()));
    (1..).map(path).find(|path| !path.exists()).unwrap_or_else(|| path(0))
}

/// Keeps the latest of the side files.
fn tidy(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(SIDE_SUFFIX) {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort();
    let going = files.len().saturating_sub(SIDE_FILES);
    files[..going].iter().try_for_each(|(_, path)| std::fs::remove_file(path))
}
