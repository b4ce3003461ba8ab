//! Response times of endpoints and queries: what two programs say to each other, read from the bytes that a socket passed.
//!
//! Pure: no kernel, no clock, no file. Times and bytes are arguments, so the same bytes give the same exchanges again.
//! The capture hands over *segments*: what went one way while the other side was silent, of which only the head was
//! copied. So a conversation goes over declared lengths without seeing what they hold, and where a message ends in bytes
//! that nobody saw it stops reading until the other side has spoken: the next segment begins a message again.
//!
//! What cannot be known is counted as a [`Doubt`], never guessed: there are never more exchanges than were really made.
//!
//! - [`Connection`] finds out which protocol is spoken and which side serves, and holds the conversation.
//! - [`http1`], [`http2`], [`redis`], [`memcached`], [`postgres`], [`mysql`], [`mongodb`], [`kafka`],
//!   [`dns`] are the protocols.
//! - [`routes`] and [`sql`] take out of paths and queries what a user typed.

pub mod connection;
pub mod dns;
mod duplex;
pub mod http1;
pub mod http2;
pub mod kafka;
pub mod memcached;
pub mod mongodb;
pub mod mysql;
mod numbered;
mod pairing;
pub mod postgres;
mod prepared;
pub mod redis;
pub mod routes;
pub mod sql;
mod stream;
#[cfg(test)]
mod tests;

pub use connection::{Connection, Recognised, recognise};

/// A request of which only the answer was seen.
pub const UNSEEN: &str = "_unseen";

/// An operation that is not in the protocol's list: names that a peer makes up must not become labels.
pub const OTHER: &str = "_other";

/// The operation of a prepared statement whose text was not seen.
pub const PREPARED: &str = "_prepared";

/// The longest target that is kept, in bytes: a path or a name.
pub const TARGET_MAX: usize = 256;

/// The most that one conversation may hold, whatever its peers send, in bytes.
pub const HELD_MAX: usize = 96 << 10;

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who is asked.
    Server,
    /// Who asks.
    Client,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

/// Bytes that went one way while the other side was silent, or a further piece of them. On a datagram socket: one datagram.
///
/// Segments of one connection are told in the order in which they began.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Who receives it.
    pub to: Side,
    /// Offset of its first byte in the stream of this direction, from any beginning.
    pub position: u64,
    /// How many bytes it really had.
    pub length: u64,
    /// When its first byte passed, in nanoseconds of a monotonic clock.
    pub began_ns: u64,
    /// When its last byte passed.
    pub ended_ns: u64,
    /// Its head, as far as it was captured: at most `length` bytes.
    pub bytes: &'a [u8],
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As asked.
    Ok,
    /// The server says that the request was wrong.
    ClientError,
    /// The server says that it could not do it.
    ServerError,
    /// The answer passed, but what it said was not seen.
    Unseen,
}

/// The protocol's own word for how an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The protocol has none for this.
    None,
    /// HTTP status, DNS response code, MySQL error number.
    Number(u32),
    /// SQLSTATE, the first word of a Redis error.
    Word(Word),
}

/// A short word of printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word {
    length: u8,
    bytes: [u8; 15],
}

impl Word {
    /// The word, if it is one of 1 to 15 letters, digits, `_` or `-`.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let fits = matches!(text.len(), 1..=15);
        if !fits || !text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            return None;
        }
        let mut bytes = [0; 15];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Some(Self { length: text.len() as u8, bytes })
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an exchange ended, and the protocol's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// In terms that all protocols share.
    pub outcome: Outcome,
    /// In the protocol's own.
    pub code: Code,
}

impl Status {
    /// As asked, and the protocol has no code for that.
    pub const OK: Self = Self { outcome: Outcome::Ok, code: Code::None };
    /// Nothing of the answer was seen but that it passed.
    pub const UNSEEN: Self = Self { outcome: Outcome::Unseen, code: Code::None };
}

/// How much of an exchange was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Where request and answer begin and end.
    Whole,
    /// Both began in what was seen; where the answer ended is taken from when its side fell silent.
    HeadOnly,
    /// Only that the request was answered: [`Status::UNSEEN`].
    RequestOnly,
    /// Only the answer: the operation is [`UNSEEN`], and the time is that of the segment with the request in it.
    ResponseOnly,
}

/// A request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exchange<'a> {
    /// [`Protocol::name`]; of HTTP/2 that of HTTP/1, or [`http2::GRPC`].
    pub protocol: &'static str,
    /// HTTP method, SQL verb, Redis command, type of a DNS question: of a list that the protocol has.
    pub operation: &'static str,
    /// Path without its query, table, name asked for. As the peer wrote it: not for labels. At most [`TARGET_MAX`] bytes.
    pub target: &'a str,
    /// A query without what its user typed: see [`sql`].
    pub statement: &'a str,
    /// How it ended.
    pub status: Status,
    /// When the request's first byte passed.
    pub began_ns: u64,
    /// When the answer's first byte passed.
    pub first_byte_ns: u64,
    /// When the answer's last byte passed.
    pub ended_ns: u64,
    /// Length of the request as far as it is known.
    pub request_bytes: u64,
    /// Length of the answer as far as it is known.
    pub response_bytes: u64,
    /// How much of it was seen.
    pub seen: Seen,
}

/// Why something is not among the exchanges, or what is uncertain about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// An answer whose request was not seen: the connection is older than the capture, or the server speaks unasked.
    UnmatchedResponse,
    /// A request that had no answer when the connection ended.
    UnansweredRequest,
    /// Both sides said more than was captured: how many exchanges that were is unknown. Counted once per turn.
    Truncated,
    /// A piece of the stream was not handed over at all.
    Gap,
    /// Where a message had to begin was something else.
    Garbage,
    /// A connection in none of the protocols.
    UnknownProtocol,
    /// It became encrypted, or another protocol: the rest is not looked at.
    Opaque,
    /// More was outstanding at once than is kept.
    OverLimit,
    /// The sides had been told the wrong way round. Nothing is missing.
    Reversed,
}

impl Doubt {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::UnmatchedResponse,
        Self::UnansweredRequest,
        Self::Truncated,
        Self::Gap,
        Self::Garbage,
        Self::UnknownProtocol,
        Self::Opaque,
        Self::OverLimit,
        Self::Reversed,
    ];

    /// The `reason` of a metric.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnmatchedResponse => "unmatched_response",
            Self::UnansweredRequest => "unanswered_request",
            Self::Truncated => "truncated",
            Self::Gap => "gap",
            Self::Garbage => "garbage",
            Self::UnknownProtocol => "unknown_protocol",
            Self::Opaque => "opaque",
            Self::OverLimit => "over_limit",
            Self::Reversed => "reversed",
        }
    }
}

/// Where conversations put what they find.
pub trait Sink {
    /// A request was answered.
    fn exchange(&mut self, exchange: &Exchange<'_>);
    /// `count` times something is uncertain.
    fn doubt(&mut self, doubt: Doubt, count: u64);
}

/// Whether bytes are of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// They cannot be.
    No,
    /// They may be, and may be of another one, too.
    Perhaps,
    /// Nothing else looks so.
    Yes,
}

/// A protocol that is understood.
pub trait Protocol: Sync {
    /// As in the label `protocol`, in OpenTelemetry's spelling.
    fn name(&self) -> &'static str;
    /// Whether a message to `to` may begin with `head`.
    fn recognise(&self, head: &[u8], to: Side) -> Verdict;
    /// A conversation of which nothing has been heard yet. It may have begun long ago.
    fn start(&self) -> Box<dyn Conversation>;
}

/// What is remembered of one connection.
pub trait Conversation: Send {
    /// Hears a segment.
    fn take(&mut self, segment: &Segment<'_>, out: &mut dyn Sink);
    /// Time passes. To be called about once a second: an answer whose end is in bytes that were not seen is over when
    /// its side has been silent for [`SETTLE_NS`].
    fn tick(&mut self, now_ns: u64, out: &mut dyn Sink);
    /// The connection has ended.
    fn close(&mut self, now_ns: u64, out: &mut dyn Sink);
    /// Whether nothing more is to be learned from it: it became encrypted, or another protocol.
    fn finished(&self) -> bool;
    /// The protocol that the connection is of from now on, if both sides agreed on another one that is understood.
    fn becomes(&self) -> Option<&'static dyn Protocol> {
        None
    }
    /// Allocated memory, in bytes. Never more than [`HELD_MAX`].
    fn bytes_held(&self) -> usize;
}

/// How long a side has to be silent until an answer whose end was not seen is taken as over.
pub const SETTLE_NS: u64 = 1_000_000_000;

/// The protocols over streams, in the order in which they are tried. DNS over datagrams is [`dns::UDP`].
pub static STREAMS: [&dyn Protocol; 9] = [
    &http1::HTTP1,
    &http2::HTTP2,
    &mongodb::MONGODB,
    &postgres::POSTGRES,
    &mysql::MYSQL,
    &redis::REDIS,
    &memcached::MEMCACHED,
    &kafka::KAFKA,
    &dns::TCP,
];
