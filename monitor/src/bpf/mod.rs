//! The kernel side: the object that is embedded in this file, what the running kernel can do with it, and its maps.

pub mod btf;
pub mod drain;
pub mod kernel;
pub mod loader;
pub mod owned;
pub mod table;
pub mod wall;

use aya::maps::MapError;

/// A kernel program, as the built object tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Name of the function.
    pub name: &'static str,
    /// Where it is attached.
    pub attach: Attach,
}

/// A place in the kernel that a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A tracepoint through its file in tracefs.
    Tracepoint {
        /// The folder.
        category: &'static str,
        /// The tracepoint.
        name: &'static str,
    },
    /// A tracepoint with untyped arguments.
    RawTracepoint {
        /// The tracepoint.
        name: &'static str,
    },
    /// A tracepoint whose arguments the verifier knows.
    BtfTracepoint {
        /// The tracepoint.
        name: &'static str,
    },
    /// Where the kernel asks its security modules.
    Lsm {
        /// The question.
        name: &'static str,
    },
    /// Where a function of the kernel returns.
    FunctionExit {
        /// The function.
        name: &'static str,
    },
    /// A function of a program or a library, found while the daemon runs.
    Uprobe {
        /// Where it returns, else where it is entered.
        returns: bool,
    },
}

impl Attach {
    /// The hook's name, as configuration and messages call it.
    pub const fn hook(self) -> &'static str {
        match self {
            Self::Tracepoint { name, .. }
            | Self::RawTracepoint { name }
            | Self::BtfTracepoint { name }
            | Self::FunctionExit { name }
            | Self::Lsm { name } => name,
            Self::Uprobe { .. } => "uprobe",
        }
    }
}

/// Names of the maps and programs in the object, written by the build script: a name that the object does not have is a
/// compile error.
mod names {
    use super::{Attach, Program};

    include!(concat!(env!("OUT_DIR"), "/names.rs"));
}
pub use names::{maps, programs};

/// The kernel object.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/monitor.bpf.o"));

/// What can go wrong between the daemon and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The kernel's type information cannot be read.
    #[error(
        "the kernel's type information (BTF) cannot be read from {path}: {source}. It needs a kernel with \
         CONFIG_DEBUG_INFO_BTF (Debian's have it since 11); a file from elsewhere can be named by kernel.btf"
    )]
    NoBtf {
        /// Where it was looked for.
        path: String,
        /// Why not.
        source: btf::BtfError,
    },
    /// The same, by the library that loads programs.
    #[error("the kernel's type information (BTF) in {path} is not understood: {source}")]
    BadBtf {
        /// Where it is.
        path: String,
        /// Why not.
        source: aya::BtfError,
    },
    /// No right to load programs.
    #[error(
        "loading kernel programs is not permitted: {0}. Run as root, or with the capabilities CAP_BPF and CAP_PERFMON \
         (and CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH to see other users' processes)"
    )]
    Permission(String),
    /// There is no thread to be had.
    #[error("a thread cannot be started: {0}; the limit of processes may be reached (TasksMax, RLIMIT_NPROC)")]
    Thread(#[source] std::io::Error),
    /// The maps cannot be made.
    #[error("the kernel object cannot be loaded: {0}")]
    Load(#[source] Box<aya::EbpfError>),
    /// A map is not in the object, or not of the type that it should be.
    #[error("map {name} cannot be opened: {source}")]
    Map {
        /// Which.
        name: &'static str,
        /// Why not.
        source: MapError,
    },
    /// A map that another part of the daemon has taken already, or that was never there.
    #[error("map {0} is not there")]
    NoMap(&'static str),
    /// A map's memory cannot be reached.
    #[error("map {name} cannot be mapped into memory: {source}")]
    Mmap {
        /// Which.
        name: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}
