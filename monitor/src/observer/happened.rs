//! What the kernel's records tell, of all kinds, and what it does to the process table.

use monitor_common::{
    record::{Header, Kind},
    signals::{
        exec_kill::ExecKillRecord,
        process::{ExitRecord, ForkRecord},
    },
};
use zerocopy::FromBytes as _;

use crate::{
    processes::ProcessTable,
    signals::{
        activity::{self, Activity},
        exec::{self, Exec},
    },
};

/// Something that happened on this host.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A process was created.
    Fork(Box<ForkRecord>),
    /// A process ended.
    Exit(Box<ExitRecord>),
    /// A process runs another program.
    Exec(Box<Exec>),
    /// A process asked something of the kernel.
    Activity(Box<Activity>),
    /// The kernel program killed a process at its exec, or did not for want of a token: what we did, no event.
    ExecKill(Box<ExecKillRecord>),
}

impl Happened {
    /// Reads a record, whose header has been looked at; or why it cannot be.
    pub(super) fn decode(header: &Header, record: &[u8]) -> Result<Self, String> {
        const SHORT: &str = "it is too short";
        match Kind::from_number(header.kind) {
            Some(Kind::Fork) => {
                let (fork, _) = ForkRecord::read_from_prefix(record).map_err(|_| SHORT)?;
                Ok(Self::Fork(fork.into()))
            }
            Some(Kind::Exit) => {
                let (exit, _) = ExitRecord::read_from_prefix(record).map_err(|_| SHORT)?;
                Ok(Self::Exit(exit.into()))
            }
            Some(Kind::Exec | Kind::ExecLong) => {
                exec::decode(record).map(|exec| Self::Exec(exec.into())).map_err(|error| error.to_string())
            }
            Some(Kind::Activity) => {
                let activity = activity::decode(record).map_err(|error| error.to_string())?;
                Ok(Self::Activity(activity.into()))
            }
            Some(Kind::ExecKill) => {
                let (record, _) = ExecKillRecord::read_from_prefix(record).map_err(|_| SHORT)?;
                Ok(Self::ExecKill(record.into()))
            }
            Some(Kind::Segment | Kind::SegmentsEnd) => Err("it belongs into another ring".to_owned()),
            None => Err("its kind is unknown".to_owned()),
        }
    }

    /// When, nanoseconds since boot.
    pub fn time_ns(&self) -> u64 {
        match self {
            Self::Fork(fork) => fork.header.time_ns,
            Self::Exit(exit) => exit.header.time_ns,
            Self::Exec(exec) => exec.time_ns,
            Self::Activity(activity) => activity.time_ns,
            Self::ExecKill(record) => record.header.time_ns,
        }
    }

    /// Tells the process table.
    pub fn apply(&self, table: &mut ProcessTable) {
        match self {
            Self::Fork(fork) => table.on_fork(fork),
            Self::Exit(exit) => table.on_exit(exit),
            Self::Exec(exec) => table.on_exec(exec),
            Self::Activity(activity) => table.on_activity(activity),
            Self::ExecKill(_) => {}
        }
    }
}
