//! Which protocol a connection speaks, and which side serves.
//!
//! The capture may not know who serves: the connection is older than the capture, and both ends have high ports. Then it
//! says what is likely, and here the bytes decide: an answer that goes to the server means that the sides are the wrong way
//! round.

use super::{Conversation, Doubt, Protocol, STREAMS, Segment, Side, Sink, Verdict};

/// Segments in which no protocol was recognised before a connection is given up. A long body may come first.
const TRIES: u8 = 6;

/// A conversation that found this often something else where a message had to begin, and nothing in between, is none.
const GARBAGE_MAX: u8 = 8;

/// What a head looks like.
#[derive(Clone, Copy)]
pub struct Recognised {
    /// The protocol.
    pub protocol: &'static dyn Protocol,
    /// How sure that is.
    pub verdict: Verdict,
    /// The sides are the other way round than was said.
    pub reversed: bool,
}

/// Which of `protocols` a message to `to` that begins with `head` is of. The first of several that are equally likely.
#[must_use]
pub fn recognise(protocols: &[&'static dyn Protocol], head: &[u8], to: Side) -> Option<Recognised> {
    let mut best: Option<Recognised> = None;
    for protocol in protocols {
        for (side, reversed) in [(to, false), (to.other(), true)] {
            let verdict = protocol.recognise(head, side);
            if verdict > best.map_or(Verdict::No, |best| best.verdict) {
                best = Some(Recognised { protocol: *protocol, verdict, reversed });
            }
        }
    }
    best
}

enum State {
    /// How many segments were tried.
    Unknown(u8),
    Spoken {
        protocol: &'static dyn Protocol,
        conversation: Box<dyn Conversation>,
        /// Sides have to be swapped.
        reversed: bool,
        /// Doubts of the kind garbage since the last exchange.
        garbage: u8,
        /// It may still be another protocol: so many segments were tried.
        unsure: Option<u8>,
    },
    GivenUp,
}

/// One connection.
pub struct Connection {
    state: State,
}

impl Connection {
    /// A stream of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Unknown(0) }
    }

    /// A connection whose protocol is known.
    #[must_use]
    pub fn of(protocol: &'static dyn Protocol) -> Self {
        Self {
            state: State::Spoken {
                protocol,
                conversation: protocol.start(),
                reversed: false,
                garbage: 0,
                unsure: None,
            },
        }
    }

    /// The protocol, once it is known.
    #[must_use]
    pub fn protocol(&self) -> Option<&'static str> {
        match &self.state {
            State::Spoken { protocol, .. } => Some(protocol.name()),
            State::Unknown(_) | State::GivenUp => None,
        }
    }

    /// Whether the sides are the other way round than segments say. Known with the protocol.
    #[must_use]
    pub fn reversed(&self) -> bool {
        matches!(self.state, State::Spoken { reversed: true, .. })
    }

    /// Whether nothing more is to be learned from it.
    #[must_use]
    pub fn finished(&self) -> bool {
        match &self.state {
            State::Unknown(_) => false,
            State::Spoken { conversation, .. } => conversation.finished(),
            State::GivenUp => true,
        }
    }

    /// Allocated memory, in bytes.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        match &self.state {
            State::Spoken { conversation, .. } => conversation.bytes_held(),
            State::Unknown(_) | State::GivenUp => 0,
        }
    }

    /// Hears a segment.
    pub fn take(&mut self, segment: &Segment<'_>, out: &mut dyn Sink) {
        if let State::Unknown(tries) = self.state {
            self.find_out(tries, segment, out);
        }
        let State::Spoken { conversation, reversed, garbage, unsure, .. } = &mut self.state else { return };
        let to = if *reversed { segment.to.other() } else { segment.to };
        let mut watch = Watch { out, garbage: *garbage, exchanges: false };
        conversation.take(&Segment { to, ..*segment }, &mut watch);
        *garbage = watch.garbage;
        if watch.exchanges {
            *unsure = None;
        }
        if let Some(next) = conversation.becomes() {
            let conversation = next.start();
            self.state = State::Spoken { protocol: next, conversation, reversed: *reversed, garbage: 0, unsure: None };
            return;
        }
        if let Some(tries) = unsure.filter(|_| *garbage > 0) {
            self.state = State::Unknown(tries + 1);
        } else if *garbage >= GARBAGE_MAX {
            out.doubt(Doubt::UnknownProtocol, 1);
            self.state = State::GivenUp;
        }
    }

    fn find_out(&mut self, tries: u8, segment: &Segment<'_>, out: &mut dyn Sink) {
        let captured = usize::try_from(segment.length).unwrap_or(usize::MAX).min(segment.bytes.len());
        let head = segment.bytes.get(..captured).unwrap_or_default();
        if head.is_empty() {
            return;
        }
        // What may be several protocols is decided by a later segment, unless there is none that is surer.
        let found = recognise(&STREAMS, head, segment.to);
        match found {
            Some(found) if found.verdict == Verdict::Yes || tries > 0 => {
                if found.reversed {
                    out.doubt(Doubt::Reversed, 1);
                }
                self.state = State::Spoken {
                    protocol: found.protocol,
                    conversation: found.protocol.start(),
                    reversed: found.reversed,
                    garbage: 0,
                    unsure: (found.verdict < Verdict::Yes).then_some(tries),
                };
            }
            _ if tries + 1 >= TRIES => {
                out.doubt(Doubt::UnknownProtocol, 1);
                self.state = State::GivenUp;
            }
            _ => self.state = State::Unknown(tries + 1),
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now_ns: u64, out: &mut dyn Sink) {
        if let State::Spoken { conversation, .. } = &mut self.state {
            conversation.tick(now_ns, out);
        }
    }

    /// The connection has ended.
    pub fn close(&mut self, now_ns: u64, out: &mut dyn Sink) {
        if let State::Spoken { conversation, .. } = &mut self.state {
            conversation.close(now_ns, out);
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts what speaks against the protocol.
struct Watch<'a> {
    out: &'a mut dyn Sink,
    garbage: u8,
    exchanges: bool,
}

impl Sink for Watch<'_> {
    fn exchange(&mut self, exchange: &super::Exchange<'_>) {
        self.garbage = 0;
        self.exchanges = true;
        self.out.exchange(exchange);
    }

    fn doubt(&mut self, doubt: Doubt, count: u64) {
        if doubt == Doubt::Garbage {
            self.garbage = self.garbage.saturating_add(1);
        }
        self.out.doubt(doubt, count);
    }
}
