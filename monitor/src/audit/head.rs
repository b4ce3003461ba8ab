//! The head of the chain: number and hash of the last acknowledged record. It is kept in a file beside the segments, so
//! that records missing at the end are noticed, and exported, so that somebody else can know it, too.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Serialize, Serializer};

use super::Digest;

/// Name of the file.
const NAME: &str = "head";
/// Bytes of its one line: written at one go into one sector, so never half.
const LENGTH: usize = 20 + 1 + 64 + 1;

/// A record, told by number and hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Its number; 0: before the first.
    pub sequence: u64,
    /// Its hash.
    #[serde(serialize_with = "text")]
    pub hash: Digest,
}

fn text<S: Serializer>(hash: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hash)
}

impl Head {
    /// From `SEQUENCE:HASH`.
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, hash) = text.trim().split_once([':', ' '])?;
        Some(Self { sequence: sequence.parse().ok()?, hash: Digest::parse(hash)? })
    }
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// There is none yet.
    None,
    /// It says no head.
    Unreadable,
    /// The head.
    Head(Head),
}

/// Reads the file of `directory`.
pub(super) fn read(directory: &Path) -> io::Result<Kept> {
    match std::fs::read(directory.join(NAME)) {
        Ok(bytes) if bytes.is_empty() => Ok(Kept::None),
        Ok(bytes) => {
            let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() == LENGTH);
            Ok(text.and_then(Head::parse).map_or(Kept::Unreadable, Kept::Head))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::None),
        Err(error) => Err(error),
    }
}

/// The file, to write heads to.
#[derive(Debug)]
pub(super) struct HeadFile(File);

impl HeadFile {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(super::segment::FILE_MODE).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(directory.join(NAME))?;
        // One of another length is unreadable anyway; the bytes behind a shorter one would make it so again.
        if file.metadata()?.len() > LENGTH as u64 {
            file.set_len(0)?;
        }
        Ok(Self(file))
    }

    /// It need not be forced to disk: a head that is older than the records says nothing wrong.
    pub(super) fn write(&self, head: Head) -> io::Result<()> {
        let line = format!("{:020} {}\n", head.sequence, head.hash);
        self.0.write_all_at(line.as_bytes(), 0)
    }
}
