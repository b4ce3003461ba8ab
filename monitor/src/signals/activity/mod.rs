//! `activity`: what processes asked of the kernel that security rules look at. Which system calls those are is in
//! [`table`]; what of it leaves the kernel is a [`Selection`].

mod decode;
mod json;
mod metrics;
mod selection;
pub mod table;
mod watched;

use std::net::{IpAddr, SocketAddr};

use monitor_common::record::ProcessKey;
use monitor_common::signals::activity::{Act, FileObject, SocketObject, Via};

use crate::processes::Connection;

pub use decode::{DecodeError, decode};
pub use metrics::{Activities, METRICS};
pub use selection::{Selection, Selector};
pub use watched::{WatchedPath, WatchedPaths};

/// Something that a process asked of the kernel, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// When the call ended, nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub time_ns: u64,
    /// The CPU it happened on.
    pub cpu: u16,
    /// Who.
    pub process: ProcessKey,
    /// Thread id.
    pub tid: u32,
    /// Whom it was about, when it was about another process.
    pub target: Option<ProcessKey>,
    /// What kind of thing.
    pub act: Act,
    /// How the kernel was asked.
    pub via: Via,
    /// Name of the system call, such as `openat`; of an io_uring request the call that does the same.
    pub call: &'static str,
    /// What the call returned.
    pub result: i64,
    /// The call's arguments.
    pub args: [u64; 6],
    /// Who it acted as, after the call.
    pub actor: Actor,
    /// cgroup id on the v2 hierarchy.
    pub cgroup_id: u64,
    /// `task_struct.comm`.
    pub comm: Vec<u8>,
    /// The file it was about, as the kernel holds it.
    pub file: Option<FileObject>,
    /// The path of that file as the kernel holds it; of a Unix socket its address.
    pub path: Vec<u8>,
    /// Components at the root end of `path` are missing.
    pub path_cut: bool,
    /// The socket it was about.
    pub socket: Option<SocketObject>,
    /// The first name passed to the call.
    pub name: Option<Name>,
    /// The second one: new name of a rename or link, text of a symbolic link, type of a mount, attribute.
    pub other: Option<Name>,
}

/// Who a thread acts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Effective capabilities (capabilities(7)), one bit each.
    pub capabilities: u64,
}

/// A name that was passed to a call. It was read from user memory after the kernel had used it: another thread may have
/// changed it in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// As it was passed.
    pub raw: Vec<u8>,
    /// Absolute, without `.`, `..` and double slashes; symbolic links are not followed. Empty when `raw` is no path.
    pub path: Vec<u8>,
    /// The end of `raw` is missing.
    pub cut: bool,
}

/// `EINPROGRESS`: a connection is being made, and the call did not wait for it.
const IN_PROGRESS: i64 = -115;
const INET: u16 = 2;
const INET6: u16 = 10;

impl Activity {
    /// The internet connection that this made or accepted.
    pub fn connection(&self) -> Option<Connection> {
        let socket = self.socket?;
        if self.result < 0 && self.result != IN_PROGRESS {
            return None;
        }
        let address = match socket.family {
            INET => {
                let [a, b, c, d, ..] = socket.peer;
                IpAddr::from([a, b, c, d])
            }
            INET6 => IpAddr::from(socket.peer),
            _ => return None,
        };
        let accepted = self.act == Act::Accept;
        Some(Connection { time_ns: self.time_ns, accepted, peer: SocketAddr::new(address, socket.peer_port) })
    }
}
