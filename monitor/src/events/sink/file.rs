//! A file that makes way for a new one when it has grown.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{SinkError, SinkOptions};

/// Events tell what people do: their reader has to be allowed to see that.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o750;

/// A file of lines with rotation by size.
pub(super) struct RotatingFile {
    path: PathBuf,
    rotate_size: u64,
    keep: u32,
    /// None after an error: the next write opens it anew.
    file: Option<Opened>,
    /// The last rotation failed and was told.
    stuck: bool,
}

struct Opened {
    file: File,
    size: u64,
    /// A device or pipe cannot be rotated.
    regular: bool,
    /// The last line is incomplete, and could not be taken back.
    torn: bool,
}

impl RotatingFile {
    pub(super) fn open(options: &SinkOptions) -> Result<Self, SinkError> {
        let path = options.file.clone();
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(directory)
                .map_err(|source| SinkError::Directory { path: directory.to_owned(), source })?;
        }
        let file = Opened::new(&path).map_err(|source| SinkError::File { path: path.clone(), source })?;
        let (rotate_size, keep) = (options.rotate_size, options.rotate_keep);
        Ok(Self { path, rotate_size, keep, file: Some(file), stuck: false })
    }

    /// Opens the path anew.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.file = Some(Opened::new(&self.path)?);
        Ok(())
    }

    /// Appends a line, in a new file when this one would grow beyond its limit.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let full = self.file.as_ref().is_some_and(|file| file.is_full(line, self.rotate_size));
        if full {
            self.rotate();
        }
        let mut opened = match self.file.take() {
            Some(opened) => opened,
            None => Opened::new(&self.path)?,
        };
        let result = opened.append(line);
        self.file = Some(opened);
        result
    }

    /// A rotation that fails leaves the file to grow: too large a log is better than none.
    fn rotate(&mut self) {
        match self.shift() {
            Ok(()) => {
                self.file = None;
                self.stuck = false;
            }
            Err(error) if !self.stuck => {
                self.stuck = true;
                tracing::error!(path = %self.path.display(), %error, "cannot rotate the file of events: it grows on");
            }
            Err(_) => {}
        }
    }

    /// FILE.1 becomes FILE.2 and so on; FILE becomes FILE.1.
    fn shift(&self) -> io::Result<()> {
        if self.keep == 0 {
            return std::fs::remove_file(&self.path).or_else(missing);
        }
        for number in (1..self.keep).rev() {
            rename(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        rename(&self.path, &numbered(&self.path, 1))
    }
}

/// What is not there needs no new name: somebody else has moved it.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to).or_else(missing)
}

fn missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The last byte of a file of `size` bytes.
fn last_byte(path: &Path, size: u64) -> io::Result<u8> {
    let mut byte = [0];
    File::open(path)?.read_exact_at(&mut byte, size - 1)?;
    Ok(byte[0])
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

impl Opened {
    fn new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            // A named pipe that nobody reads is an error instead of a wait without end; files do not mind.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let metadata = file.metadata()?;
        let (size, regular) = (metadata.len(), metadata.is_file());
        // Whoever wrote it last may have been killed, or the power gone, in the middle of a line.
        let torn = regular && size > 0 && last_byte(path, size).is_ok_and(|last| last != b'\n');
        Ok(Self { file, size, regular, torn })
    }

    fn is_full(&self, line: &[u8], limit: u64) -> bool {
        self.regular && self.size > 0 && self.size.saturating_add(line.len() as u64) > limit
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            // End the half line, so that only that one is spoilt.
            self.file.write_all(b"\n")?;
            self.torn = false;
            self.size += 1;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(self.undo(line.len() - rest.len(), io::ErrorKind::WriteZero.into())),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.undo(line.len() - rest.len(), error)),
            }
        }
        self.size += line.len() as u64;
        Ok(())
    }

    /// Takes back the half of a line that was written before the disk was full.
    fn undo(&mut self, written: usize, error: io::Error) -> io::Error {
        if written > 0 {
            let length = self.file.metadata().map(|metadata| metadata.len().saturating_sub(written as u64));
            self.torn = length.and_then(|length| self.file.set_len(length)).is_err();
        }
        error
    }
}
