//! The file of a recording: a header, then frames, each compressed and with a checksum of its own. A file that was cut off
//! anywhere can be read up to its last whole frame.
//!
//! ```text
//! file  = "MONREC" version:u16 frame*
//! frame = packed:u32 length:u32 checksum:[u8; 8] zstd[packed]      (little-endian)
//! zstd  = entry*                                                   (length bytes, unpacked)
//! entry = tag:u8 length:u32 content[length]
//! ```
//!
//! The checksum is the beginning of the SHA-256 of the packed bytes and both lengths.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::CaptureError;

const MAGIC: &[u8; 6] = b"MONREC";
/// Raised with each change that an older reader would misread, or after which an older recording lacks what a replay needs:
/// 2 has the watched paths, what rules had seen, and how many alerts were published.
const VERSION: u16 = 3;
/// A frame is closed when it has so many bytes, unpacked.
const FRAME: usize = 1 << 20;
/// Most bytes of a frame, packed or not; a file that claims more is broken.
const MOST: u32 = 64 << 20;
/// Fast, and the records' zeros and repeated paths are gone anyway.
const LEVEL: i32 = 3;

/// Writes a recording.
pub struct Writer {
    path: PathBuf,
    file: File,
    frame: Vec<u8>,
    written: u64,
}

impl Writer {
    /// Makes the file; it must not exist.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::File { path: path.to_owned(), source };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(MAGIC).and_then(|()| file.write_all(&VERSION.to_le_bytes())).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, frame: Vec::new(), written: 8 })
    }

    /// Adds an entry.
    pub fn add(&mut self, tag: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.frame.push(tag);
        self.frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        parts.iter().for_each(|part| self.frame.extend_from_slice(part));
    }

    /// Writes the frame out if it is long enough.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn settle(&mut self) -> Result<(), CaptureError> {
        if self.frame.len() >= FRAME { self.flush() } else { Ok(()) }
    }

    /// Writes the frame out.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<(), CaptureError> {
        let frame = std::mem::take(&mut self.frame);
        // What a round has is bounded, but by more than a frame may have.
        for part in frame.chunks(MOST as usize / 2) {
            self.write(part).map_err(|source| CaptureError::File { path: self.path.clone(), source })?;
        }
        Ok(())
    }

    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        let packed = zstd::bulk::compress(part, LEVEL)?;
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        let (packed_length, length) = (length(&packed)?, length(part)?);
        let mut bytes = Vec::with_capacity(packed.len() + 16);
        bytes.extend_from_slice(&packed_length.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum(&bytes, &packed));
        bytes.extend_from_slice(&packed);
        self.file.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Bytes in the file by now.
    pub fn written(&self) -> u64 {
        self.written
    }
}

fn checksum(lengths: &[u8], packed: &[u8]) -> [u8; 8] {
    let digest = Sha256::new().chain_update(lengths).chain_update(packed).finalize();
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    short
}

/// How the frames end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With the last frame's last byte.
    Whole,
    /// In the middle of a frame that begins here.
    Cut {
        /// Where it begins.
        offset: u64,
    },
    /// With a frame whose checksum is wrong, that begins here.
    Damaged {
        /// Where it begins.
        offset: u64,
    },
}

/// Reads a recording.
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Unpacked, and not read yet from `at` on.
    bytes: Vec<u8>,
    at: usize,
    offset: u64,
    ending: Option<Ending>,
}

impl Reader {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be read, or is no recording that this version reads.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::File { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let mut header = [0; 8];
        match file.read_exact(&mut header) {
            Ok(()) if header.starts_with(MAGIC) => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(failed(error)),
            _ => return Err(CaptureError::NoRecording(path.to_owned())),
        }
        let version = u16::from_le_bytes([header[6], header[7]]);
        if version != VERSION {
            let (version, known) = (u32::from(version), u32::from(VERSION));
            return Err(CaptureError::Version { path: path.to_owned(), version, known });
        }
        Ok(Self { path: path.to_owned(), file, bytes: Vec::new(), at: 0, offset: 8, ending: None })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the frames ended; none: not there yet.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// The next entry: its tag and content. None: there are no more, and [`Self::ending`] says why.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entry_after(&mut self) -> Result<Option<(u8, Vec<u8>)>, CaptureError> {
        loop {
            if let Some((tag, from, to)) = self.entry() {
                self.at = to;
                return Ok(Some((tag, self.bytes[from..to].to_vec())));
            }
            if !self.fill().map_err(|source| CaptureError::File { path: self.path.clone(), source })? {
                return Ok(None);
            }
        }
    }

    /// Tag and place of the entry at `at`, if all of it is there.
    fn entry(&self) -> Option<(u8, usize, usize)> {
        let rest = self.bytes.get(self.at..)?;
        let (tag, length) = (*rest.first()?, rest.get(1..5)?);
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let from = self.at + 5;
        let to = from.checked_add(length)?;
        (to <= self.bytes.len()).then_some((tag, from, to))
    }

    /// Reads one more frame. An entry may begin in one frame and end in the next.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ending.is_some() {
            return Ok(false);
        }
        let mut head = Vec::with_capacity(16);
        self.file.by_ref().take(16).read_to_end(&mut head)?;
        let offset = self.offset;
        let Ok(head): Result<[u8; 16], _> = head.as_slice().try_into() else {
            let ending = if head.is_empty() { Ending::Whole } else { Ending::Cut { offset } };
            self.ending = Some(ending);
            return Ok(false);
        };
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (packed_length, length) = (number(0), number(4));
        let mut packed = Vec::new();
        if packed_length <= MOST && length <= MOST {
            self.file.by_ref().take(u64::from(packed_length)).read_to_end(&mut packed)?;
            if packed.len() < packed_length as usize {
                self.ending = Some(Ending::Cut { offset });
                return Ok(false);
            }
        }
        let part = if checksum(&head[..8], &packed) == head[8..] {
            zstd::bulk::decompress(&packed, length as usize).ok().filter(|part| part.len() == length as usize)
        } else {
            None
        };
        let Some(part) = part else {
            self.ending = Some(Ending::Damaged { offset });
            return Ok(false);
        };
        self.offset += 16 + u64::from(packed_length);
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(&part);
        Ok(true)
    }
}
