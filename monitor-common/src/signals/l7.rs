//! `l7`: what clients and servers say to each other, the beginning of each turn: from it the daemon tells requests, their
//! answers and the time between.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{process_slot::SlotRef, record::Header};

/// Most bytes that are copied of what one system call moved. A power of two.
pub const CAPTURE: usize = 1024;
/// Turns of a connection that are looked at before it is given up as a protocol that nobody here knows.
pub const TRIES: u8 = 6;

/// Which protocol a connection speaks, by its first bytes. The kernel only decides whether anything of it leaves the
/// kernel; the daemon looks closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Not known yet.
    Unknown = 0,
    /// HTTP/1.0 and 1.1 (RFC 9112).
    Http1 = 1,
    /// HTTP/2 (RFC 9113), and with it gRPC.
    Http2 = 2,
    /// RESP, the protocol of Redis.
    Redis = 3,
    /// Messages of PostgreSQL.
    Postgres = 4,
    /// Packets of MySQL and MariaDB.
    Mysql = 5,
    /// memcached's text and meta commands, and its binary ones.
    Memcached = 6,
    /// DNS over UDP or TCP (RFC 1035, RFC 7766).
    Dns = 7,
    /// Kafka.
    Kafka = 8,
    /// MongoDB's wire protocol.
    Mongodb = 9,
    /// TLS records (RFC 8446): nothing to be read here. What is said may be heard in the programs: [`TlsConversation`].
    Tls = 10,
    /// Given up: only its bytes are counted.
    Ignored = 11,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 12] = [
        Self::Unknown,
        Self::Http1,
        Self::Http2,
        Self::Redis,
        Self::Postgres,
        Self::Mysql,
        Self::Memcached,
        Self::Dns,
        Self::Kafka,
        Self::Mongodb,
        Self::Tls,
        Self::Ignored,
    ];

    /// The class with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// How a system call names the memory that it moves; entry of the table `L7_TABLE`, by the index of the call table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    /// Not known: the bytes are not seen.
    Unseen = 0,
    /// The second argument is the buffer: read, write, recvfrom, sendto.
    Buffer = 1,
    /// The second argument is an array of `struct iovec`, the third their number: readv, writev.
    Vector = 2,
    /// The second argument is a `struct msghdr`: recvmsg, sendmsg.
    Message = 3,
    /// The second argument is an array of `struct mmsghdr`, the third their number: recvmmsg, sendmmsg.
    Messages = 4,
    /// The bytes come out of a file or a pipe: sendfile, splice. They are not seen.
    File = 5,
    /// Requests to an io_uring, which this call submits or completes. The bytes are not seen.
    Uring = 6,
    /// A call of a 32-bit program. The bytes are not seen.
    Compat = 7,
}

/// Longest window of [`crate::knobs::Knobs::l7_quota`], nanoseconds.
pub const QUOTA_WINDOW_NS: u64 = 16_000_000;

/// In [`Turn::last`]: this end sent.
pub const LAST_SENT: u8 = 1;
/// In [`Turn::last`]: this end received.
pub const LAST_RECEIVED: u8 = 2;

/// Where the conversation of a socket is. Part of its entry in `TCP_SOCKETS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Turn {
    /// A [`Class`]'s number.
    pub class: u8,
    /// Turns that were looked at in vain.
    pub tries: u8,
    /// Which way the last bytes went: [`LAST_SENT`], [`LAST_RECEIVED`] or 0.
    pub last: u8,
    /// 1 once the daemon has been told of the connection.
    pub told: u8,
    /// 1 while a request and its answer go by of which nothing is told, because of the rate, and which the positions leave
    /// out.
    pub skipped: u8,
    /// Always 0.
    pub reserved: [u8; 3],
    /// Bytes sent and received since the connection is watched, without what was skipped.
    pub positions: [u64; 2],
    /// When the last bytes were sent and received (`CLOCK_BOOTTIME`, nanoseconds). Of class [`Class::Tls`], where nobody
    /// needs these: the key of the conversation that is heard above it, or 0, and 0.
    pub ended_ns: [u64; 2],
}

/// A conversation inside TLS; entry of `TLS_CONVERSATIONS`, by [`tls_key`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TlsConversation {
    /// Where it is.
    pub turn: Turn,
    /// Address of the `struct sock` below it; 0: not known.
    pub sock: u64,
    /// That socket's [`super::tcp::Role`], or `ROLE_UNKNOWN`.
    pub role: u32,
    /// Always 0.
    pub reserved: u32,
}

/// What a function of a TLS library does; the cookie of the programs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum TlsFunction {
    /// Receives into its second argument, and returns how much.
    Read = 1,
    /// Sends its second argument, and returns how much.
    Write = 2,
    /// Receives, and writes how much to where its fourth argument says.
    ReadEx = 3,
    /// Sends, and writes how much to where its fourth argument says.
    WriteEx = 4,
    /// Makes the connection: what is sent and received meanwhile is TLS's own.
    Handshake = 5,
    /// Ends it.
    Free = 6,
}

/// Bits of a key that are the address of the library's object, without those that are the same for all.
const TLS_OBJECT_BITS: u32 = 42;

/// By which a conversation inside TLS is known: its process, and the address there of the library's object. It stands
/// where other conversations have the address of their socket, which never has such a value: a process would need an
/// id that is among the last there are.
pub const fn tls_key(tgid: u32, object: u64) -> u64 {
    (tgid as u64) << TLS_OBJECT_BITS | object >> 4 & ((1 << TLS_OBJECT_BITS) - 1)
}

/// Whose conversation a [`tls_key`] names.
pub const fn tls_process(key: u64) -> u32 {
    (key >> TLS_OBJECT_BITS) as u32
}

/// In [`SegmentHead::flags`]: sent, else received.
pub const SEGMENT_SENT: u32 = 1 << 0;
/// The first record of this connection: [`Ends`] follow the head.
pub const SEGMENT_FIRST: u32 = 1 << 1;
/// The other way spoke before, else it goes on with what went this way.
pub const SEGMENT_TURN: u32 = 1 << 2;
/// The bytes could not be read: see [`Shape::Unseen`], or the memory was not there.
pub const SEGMENT_UNSEEN: u32 = 1 << 3;
/// A datagram.
pub const SEGMENT_DATAGRAM: u32 = 1 << 4;
/// Inside TLS. Where [`Ends`] follow, they may be all zeroes: not known.
pub const SEGMENT_TLS: u32 = 1 << 5;

/// Bytes went over a connection. What follows: [`Ends`] in the first record of a connection, then the bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SegmentHead {
    /// Kind [`crate::record::Kind::Segment`].
    pub header: Header,
    /// Address of `struct sock`: the same for everybody who has the socket. Inside TLS: [`tls_key`].
    pub sock: u64,
    /// Who sent or received.
    pub process: SlotRef,
    /// Bytes sent and received before these.
    pub positions: [u64; 2],
    /// When the last bytes before these were sent and received (`CLOCK_BOOTTIME`, nanoseconds).
    pub ended_ns: [u64; 2],
    /// Bytes that the call moved.
    pub length: u32,
    /// Bytes of them that follow.
    pub copied: u32,
    /// `SEGMENT_*`.
    pub flags: u32,
    /// A [`Class`]'s number.
    pub class: u8,
    /// A [`super::tcp::Role`], or `ROLE_UNKNOWN`.
    pub role: u8,
    /// Always 0.
    pub reserved: u16,
}

/// Both ends of a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ends {
    /// This end's address: 16 bytes for IPv6, the first 4 for IPv4.
    pub local: [u8; 16],
    /// The other end's.
    pub peer: [u8; 16],
    /// This end's port, host byte order.
    pub local_port: u16,
    /// The other end's.
    pub peer_port: u16,
    /// Address family.
    pub family: u16,
    /// Always 0.
    pub reserved: u16,
}

/// A connection of which segments were told was closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SegmentsEnd {
    /// Kind [`crate::record::Kind::SegmentsEnd`].
    pub header: Header,
    /// What the segments had: it may be another's from now on.
    pub sock: u64,
    /// Bytes sent and received in all.
    pub positions: [u64; 2],
    /// When the last were (`CLOCK_BOOTTIME`, nanoseconds).
    pub ended_ns: [u64; 2],
}

const _: () = assert!(CAPTURE.is_power_of_two());
