//! Conversations as both sides wrote them, told in segments as a capture would: whole, in pieces, heads only, with gaps.

mod any_bytes;
mod connection;
mod dns;
mod http1;
mod http2;
mod kafka;
mod memcached;
mod mongodb;
mod mysql;
mod pieces;
mod postgres;
mod recognition;
mod redis;
mod truth;

use proptest::test_runner::Config as ProptestConfig;

use super::{Conversation, Doubt, Exchange, Protocol, Seen, Segment, Side, Sink, Status};

/// One side speaks.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) to: Side,
    pub(super) bytes: Vec<u8>,
}

/// What a client sends.
pub(super) fn ask(bytes: impl AsRef<[u8]>) -> Turn {
    Turn { to: Side::Server, bytes: bytes.as_ref().to_vec() }
}

/// What a server sends.
pub(super) fn tell(bytes: impl AsRef<[u8]>) -> Turn {
    Turn { to: Side::Client, bytes: bytes.as_ref().to_vec() }
}

/// An exchange with texts of its own, without times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) protocol: &'static str,
    pub(super) operation: &'static str,
    pub(super) target: String,
    pub(super) statement: String,
    pub(super) status: Status,
    pub(super) bytes: (u64, u64),
    pub(super) seen: Seen,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) exchanges: Vec<Told>,
    /// Begin, first byte and end of each.
    pub(super) times: Vec<(u64, u64, u64)>,
    pub(super) doubts: Vec<(Doubt, u64)>,
}

impl Found {
    pub(super) fn operations(&self) -> Vec<&'static str> {
        self.exchanges.iter().map(|exchange| exchange.operation).collect()
    }

    pub(super) fn doubts(&self, doubt: Doubt) -> u64 {
        self.doubts.iter().filter(|(kind, _)| *kind == doubt).map(|(_, count)| count).sum()
    }
}

impl Sink for Found {
    fn exchange(&mut self, exchange: &Exchange<'_>) {
        self.times.push((exchange.began_ns, exchange.first_byte_ns, exchange.ended_ns));
        self.exchanges.push(Told {
            protocol: exchange.protocol,
            operation: exchange.operation,
            target: exchange.target.to_owned(),
            statement: exchange.statement.to_owned(),
            status: exchange.status,
            bytes: (exchange.request_bytes, exchange.response_bytes),
            seen: exchange.seen,
        });
    }

    fn doubt(&mut self, doubt: Doubt, count: u64) {
        self.doubts.push((doubt, count));
    }
}

/// Tells a conversation its segments.
pub(super) struct Teller {
    conversation: Box<dyn Conversation>,
    positions: [u64; 2],
    pub(super) now_ns: u64,
    pub(super) found: Found,
}

/// Time between two turns, and how long one takes.
pub(super) const PAUSE_NS: u64 = 1_000;
pub(super) const TURN_NS: u64 = 100;

impl Teller {
    pub(super) fn new(protocol: &dyn Protocol) -> Self {
        // A connection that is older than the capture begins anywhere.
        Self { conversation: protocol.start(), positions: [7_000, 90], now_ns: 1_000_000, found: Found::default() }
    }

    /// A segment of which only the first `head` bytes are seen. `None`: it is not handed over at all.
    pub(super) fn piece(&mut self, to: Side, bytes: &[u8], head: Option<usize>) {
        let position = &mut self.positions[to as usize];
        let at = *position;
        *position += bytes.len() as u64;
        let (began_ns, ended_ns) = (self.now_ns, self.now_ns + TURN_NS);
        self.now_ns = ended_ns;
        let Some(head) = head else { return };
        let seen = &bytes[..bytes.len().min(head)];
        let segment = Segment { to, position: at, length: bytes.len() as u64, began_ns, ended_ns, bytes: seen };
        self.conversation.take(&segment, &mut self.found);
        assert!(self.conversation.bytes_held() <= super::HELD_MAX, "{}", self.conversation.bytes_held());
    }

    pub(super) fn turn(&mut self, turn: &Turn, head: usize) {
        self.now_ns += PAUSE_NS;
        self.piece(turn.to, &turn.bytes, Some(head));
    }

    pub(super) fn end(mut self) -> Found {
        self.conversation.tick(self.now_ns, &mut self.found);
        self.conversation.close(self.now_ns, &mut self.found);
        self.found
    }

    /// Only time passes.
    pub(super) fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        self.conversation.tick(self.now_ns, &mut self.found);
    }
}

/// All of a conversation, of each turn the first `head` bytes.
pub(super) fn hear(protocol: &dyn Protocol, turns: &[Turn], head: usize) -> Found {
    let mut teller = Teller::new(protocol);
    for turn in turns {
        teller.turn(turn, head);
    }
    teller.end()
}

/// The whole of a conversation.
pub(super) fn hear_all(protocol: &dyn Protocol, turns: &[Turn]) -> Found {
    hear(protocol, turns, usize::MAX)
}

/// As many cases as are said here, or in `PROPTEST_CASES`, which makes a long search of the test.
pub(in crate::l7) fn cases(count: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(count);
    // A case that failed is printed, and becomes a test of its own.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
