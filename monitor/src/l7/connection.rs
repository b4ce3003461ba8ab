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

/// A head that is shorter may be too short to tell: servers often read the length of a message, or its head, by itself.
const SHORT: usize = 24;

/// A whole segment that was too short to tell.
#[derive(Clone, Copy)]
struct Short {
    segment: Segment<'static>,
    bytes: [u8; SHORT],
}

impl Short {
    fn of(segment: &Segment<'_>) -> Option<Self> {
        let mut bytes = [0; SHORT];
        let whole = segment.bytes.len() as u64 == segment.length && segment.length < SHORT as u64;
        bytes.get_mut(..segment.bytes.len()).filter(|_| whole)?.copy_from_slice(segment.bytes);
        Some(Self { segment: Segment { bytes: &[], ..*segment }, bytes })
    }

    fn segment(&self) -> Segment<'_> {
        let bytes = usize::try_from(self.segment.length).ok().and_then(|length| self.bytes.get(..length));
        Segment { bytes: bytes.unwrap_or_default(), ..self.segment }
    }

    /// Whether a segment goes on where this one ended.
    fn goes_on(&self, segment: &Segment<'_>) -> bool {
        let Segment { to, position, length, .. } = self.segment;
        segment.to == to && segment.position == position.saturating_add(length)
    }
}

/// So much of what goes on after a short segment is looked at.
const RECOGNISED_MAX: usize = 1024;

/// Which protocol a segment begins with.
fn recognised(segment: &Segment<'_>) -> Option<Recognised> {
    let captured = usize::try_from(segment.length).unwrap_or(usize::MAX).min(segment.bytes.len());
    recognise(&STREAMS, segment.bytes.get(..captured).unwrap_or_default(), segment.to)
}

enum State {
    /// How many segments were tried, and the last one if it was too short.
    Unknown(u8, Option<Short>),
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
        Self { state: State::Unknown(0, None) }
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
            State::Unknown(..) | State::GivenUp => None,
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
            State::Unknown(..) => false,
            State::Spoken { conversation, .. } => conversation.finished(),
            State::GivenUp => true,
        }
    }

    /// Allocated memory, in bytes.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        match &self.state {
            State::Spoken { conversation, .. } => conversation.bytes_held(),
            State::Unknown(..) | State::GivenUp => 0,
        }
    }

    /// Hears a segment.
    pub fn take(&mut self, segment: &Segment<'_>, out: &mut dyn Sink) {
        let State::Unknown(tries, short) = self.state else { return self.hear(segment, out) };
        if segment.length == 0 {
            return;
        }
        if let Some(short) = short {
            // What the both of them begin with decides, and then each is heard.
            let first = short.segment();
            if short.goes_on(segment) {
                let joined = [first.bytes, segment.bytes.get(..RECOGNISED_MAX).unwrap_or(segment.bytes)].concat();
                let length = first.length.saturating_add(segment.length);
                self.find_out(tries, &Segment { length, bytes: &joined, ..first }, out);
            } else {
                self.find_out(tries, &first, out);
            }
            self.hear(&first, out);
            if short.goes_on(segment) {
                return self.hear(segment, out);
            }
        }
        if let State::Unknown(tries, _) = self.state {
            let sure = recognised(segment).is_some_and(|found| found.verdict == Verdict::Yes);
            if let Some(short) = Short::of(segment).filter(|_| !sure) {
                self.state = State::Unknown(tries, Some(short));
                return;
            }
            self.find_out(tries, segment, out);
        }
        self.hear(segment, out);
    }

    fn hear(&mut self, segment: &Segment<'_>, out: &mut dyn Sink) {
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
            self.state = State::Unknown(tries + 1, None);
        } else if *garbage >= GARBAGE_MAX {
            out.doubt(Doubt::UnknownProtocol, 1);
            self.state = State::GivenUp;
        }
    }

    fn find_out(&mut self, tries: u8, segment: &Segment<'_>, out: &mut dyn Sink) {
        if segment.bytes.is_empty() || segment.length == 0 {
            self.state = State::Unknown(tries, None);
            return;
        }
        // What may be several protocols is decided by a later segment, unless there is none that is surer.
        match recognised(segment) {
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
            _ => self.state = State::Unknown(tries + 1, None),
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
