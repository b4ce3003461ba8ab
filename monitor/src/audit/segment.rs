//! The files that a trail is made of. Each is named by the number of its first record, so that they sort, and so that a
//! missing one is seen.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::lines;
use super::record::{Record, Seal};

/// The trail tells what people do, and a file that others may write proves nothing.
pub(super) const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// Name of the segment that begins with this record.
pub(super) fn name(first: u64) -> String {
    format!("{PREFIX}{first:020}{SUFFIX}")
}

/// A segment in the directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// Number of its first record, by its name.
    pub(super) first: u64,
    /// Where it is.
    pub(super) path: PathBuf,
}

impl Segment {
    /// Its file's name.
    pub(super) fn name(&self) -> String {
        name(self.first)
    }
}

fn first(file: &OsStr) -> Option<u64> {
    let digits = file.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// All segments, oldest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        segments.extend(first(&entry.file_name()).map(|first| Segment { first, path: entry.path() }));
    }
    segments.sort();
    Ok(segments)
}

/// Makes the directory if it is missing.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)
}

/// Makes a file that was not there. One that is in the way is none of ours: the names of ours are those of records that
/// exist.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let create = || OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(path);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            create()
        }
        result => result,
    }
}

/// Opens one to go on writing.
pub(super) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// The first record of a segment, if it has one.
pub(super) fn opening<T>(path: &Path, seal: &Seal, of: impl FnOnce(&Record<'_>) -> T) -> io::Result<Option<T>> {
    let (mut of, mut found) = (Some(of), None);
    lines::each(&File::open(path)?, |line| {
        if let (Some(record), Some(of)) = (Record::parse(line.text, seal), of.take()) {
            found = Some(of(&record));
        }
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Shows all whole records of a trail, oldest first, to `look`, until it has seen enough; those that are none are left
/// out.
///
/// # Errors
/// When the directory or a segment cannot be read.
pub fn read(
    directory: &Path,
    seal: &Seal,
    mut look: impl FnMut(&Record<'_>, &[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut more = ControlFlow::Continue(());
    for segment in list(directory)? {
        lines::each(&File::open(&segment.path)?, |line| {
            if line.whole
                && let Some(record) = Record::parse(line.text, seal)
            {
                more = look(&record, line.text);
            }
            more
        })?;
        if more.is_break() {
            break;
        }
    }
    Ok(())
}
