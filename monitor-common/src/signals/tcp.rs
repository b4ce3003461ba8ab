//! `tcp`: connections, traffic, retransmits and resets per process.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    histogram::{LATENCY_BUCKETS, LIFETIME_BUCKETS},
    process_slot::SlotRef,
    signals::l7::Turn,
};

/// How an attempt to connect ended; index into [`TcpStats::connects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ConnectResult {
    /// Established.
    Ok = 0,
    /// The peer refused (ECONNREFUSED).
    Refused = 1,
    /// No answer (ETIMEDOUT).
    Timeout = 2,
    /// Another error, such as EHOSTUNREACH.
    Error = 3,
    /// The caller gave up first.
    Aborted = 4,
}

impl ConnectResult {
    /// Every result.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Refused, Self::Timeout, Self::Error, Self::Aborted];

    /// The value of the `result` label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Aborted => "aborted",
        }
    }
}

/// Which end of a connection a process is; index into the arrays of [`TcpStats`] and value in [`Socket::role`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// It connected.
    Client = 0,
    /// It accepted.
    Server = 1,
}

impl Role {
    /// Both ends.
    pub const ALL: [Self; 2] = [Self::Client, Self::Server];

    /// The value of the `role` label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// [`Socket::role`] of a socket that listens.
pub const ROLE_LISTENER: u32 = 2;
/// [`Socket::role`] of a connection older than the daemon.
pub const ROLE_UNKNOWN: u32 = 3;

/// Index into [`TcpStats::bytes`] and [`TcpStats::resets`]: towards the peer.
pub const SENT: usize = 0;
/// Index into [`TcpStats::bytes`] and [`TcpStats::resets`]: from the peer.
pub const RECEIVED: usize = 1;

/// What was sent again; index into [`TcpStats::retransmits`].
pub const RETRANSMIT_DATA: usize = 0;
/// A connection request was sent again.
pub const RETRANSMIT_SYN: usize = 1;
/// The answer to a connection request was sent again.
pub const RETRANSMIT_SYNACK: usize = 2;

/// What one process did. Array `TCP_STATS`, index: slot. Added to atomically: half of it happens in interrupts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TcpStats {
    /// Payload bytes, [`SENT`] and [`RECEIVED`].
    pub bytes: [u64; 2],
    /// Attempts to connect, by [`ConnectResult`].
    pub connects: [u64; 5],
    /// Connections accepted.
    pub accepts: u64,
    /// Connections closed, by [`Role`].
    pub closes: [u64; 2],
    /// Segments sent again: [`RETRANSMIT_DATA`], [`RETRANSMIT_SYN`], [`RETRANSMIT_SYNACK`].
    pub retransmits: [u64; 3],
    /// Resets [`SENT`] and [`RECEIVED`].
    pub resets: [u64; 2],
    /// Sum of the durations of successful connects, in nanoseconds.
    pub connect_sum_ns: u64,
    /// Successful connects by duration.
    pub connect_buckets: [u64; LATENCY_BUCKETS],
    /// Sum of the lifetimes of closed connections, in nanoseconds, by [`Role`].
    pub lifetime_sum_ns: [u64; 2],
    /// Closed connections by lifetime, by [`Role`].
    pub lifetime_buckets: [[u64; LIFETIME_BUCKETS]; 2],
}

/// What is known of a socket. Hash `TCP_SOCKETS`, key: address of `struct sock`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Socket {
    /// Whose it is.
    pub owner: SlotRef,
    /// When the connect began or the connection was established (`CLOCK_MONOTONIC`, nanoseconds).
    pub since_ns: u64,
    /// A [`Role`], [`ROLE_LISTENER`] or [`ROLE_UNKNOWN`].
    pub role: u32,
    /// 1 once the owner is known from task context.
    pub owned: u32,
    /// What is said over it.
    pub turn: Turn,
}

/// Key of `TCP_ACCEPTS`, whose value is a count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AcceptKey {
    /// Who accepted.
    pub process: SlotRef,
    /// The local port, host byte order.
    pub port: u32,
}
