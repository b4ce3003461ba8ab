//! Recordings: what came out of the kernel's rings, with all that is needed to go through it again on any machine, without
//! root and without its `/proc`. The same recording always gives the same alerts.
//!
//! What is recorded is raw: arguments and environment as programs had them, secrets included. So only who may load kernel
//! programs can record, and the file is readable by its owner only.

mod container;
mod meta;
mod record;
mod replay;
mod round;

use std::io;
use std::path::PathBuf;

pub use container::{Ending, Reader, Writer};
pub use meta::Meta;
pub use record::{RecordOptions, record};
pub use replay::{ReplayOptions, Replayed, replay};
pub use round::{End, Round};

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Reading or writing.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another file.
    #[error("{0} is no recording; `monitor record` makes one")]
    NoRecording(PathBuf),
    /// A later version.
    #[error(
        "{path} is a recording of version {version}, this program reads {known}: replay it with the version of monitor that recorded \
         it, or record again"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// Ours.
        known: u32,
    },
    /// Other kernel programs.
    #[error("{path} has records of ABI {abi}, this program reads {known}: use monitor {monitor}, which recorded it")]
    Abi {
        /// The file.
        path: PathBuf,
        /// Of the records.
        abi: u32,
        /// Ours.
        known: u32,
        /// The version that recorded it.
        monitor: String,
    },
    /// Nothing before the first frame's end.
    #[error("{0} ends before its first frame: nothing in it can be read")]
    Empty(PathBuf),
    /// What cannot be understood although its checksum is right.
    #[error("{path}: {reason}: it was written by something else than monitor")]
    Content {
        /// The file.
        path: PathBuf,
        /// What.
        reason: String,
    },
    /// The rules.
    #[error("{0}")]
    Rules(String),
    /// The kernel's side.
    #[error(transparent)]
    Kernel(#[from] crate::bpf::BpfError),
}

#[cfg(test)]
mod tests;
