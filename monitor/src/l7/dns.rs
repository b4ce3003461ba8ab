//! DNS over datagrams and over TCP (RFC 1035, 7766). Of a message only its header and first question are read: that is all
//! that is needed, and all that a captured head surely has; crates for DNS read whole messages.
//!
//! Answers are matched by id and question, in any order. A question that is asked again with the same id is the same one.

use std::collections::VecDeque;

use super::{
    Code, Conversation, Doubt, Exchange, OTHER, Outcome, Protocol, Seen, Segment, Side, Sink, Status, UNSEEN, Verdict,
    duplex::Duplex,
    stream::{Loss, Step, Talk, View},
};

/// DNS over datagrams. A segment is one datagram.
pub static UDP: Dns = Dns { stream: false };

/// DNS over TCP: each message has its length before it.
pub static TCP: Dns = Dns { stream: true };

/// DNS.
pub struct Dns {
    stream: bool,
}

/// Questions that wait at once; the oldest is given up first. A resolver asks from many ports; a server gets on one what
/// all its clients ask.
const WAITING_MAX: usize = 256;

/// A question without answer is given up: clients ask again after 5 s, and some once more.
const WAITING_NS: u64 = 15_000_000_000;

/// Header, the longest name, type and class.
const LOOK_MAX: usize = 12 + 255 + 4;

const NAME: &str = "dns";

impl Protocol for Dns {
    fn name(&self) -> &'static str {
        NAME
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        if !self.stream {
            return verdict(head, to);
        }
        match head {
            [high, low, message @ ..] if u16::from_be_bytes([*high, *low]) >= 12 => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                verdict(message.get(..length).unwrap_or(message), to)
            }
            _ => Verdict::No,
        }
    }

    fn start(&self) -> Box<dyn Conversation> {
        if self.stream { Box::new(Duplex::new(Questions::default())) } else { Box::new(Datagrams::default()) }
    }
}

/// Types that are told by name (IANA's registry of DNS parameters).
const TYPES: [(u16, &str); 35] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (37, "CERT"),
    (39, "DNAME"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (257, "CAA"),
];

/// What is read of a message.
struct Message {
    id: u16,
    answer: bool,
    operation: u8,
    rcode: u8,
    question: Option<Question>,
}

#[derive(Clone, PartialEq, Eq)]
struct Question {
    kind: u16,
    /// In small letters, with points.
    name: Box<str>,
}

/// `None`: it is too short for a header.
fn read(bytes: &[u8]) -> Option<Message> {
    let header: &[u8; 12] = bytes.first_chunk()?;
    let [id0, id1, flags, more, counts @ ..] = header;
    let questions = u16::from_be_bytes([counts[0], counts[1]]);
    Some(Message {
        id: u16::from_be_bytes([*id0, *id1]),
        answer: flags & 0x80 != 0,
        operation: flags >> 3 & 0xf,
        rcode: more & 0xf,
        question: if questions > 0 { question(bytes.get(12..).unwrap_or_default()) } else { None },
    })
}

/// The first question: nothing before it could be pointed to, so its name is not compressed.
fn question(mut bytes: &[u8]) -> Option<Question> {
    let mut name = String::new();
    loop {
        let (length, rest) = bytes.split_first()?;
        if *length == 0 {
            let (kind, _) = rest.split_first_chunk::<2>()?;
            rest.get(..4)?;
            return Some(Question { kind: u16::from_be_bytes(*kind), name: name.into() });
        }
        if *length > 63 || name.len() + usize::from(*length) > 255 {
            return None;
        }
        let label = rest.get(..usize::from(*length))?;
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            let shown = byte.is_ascii_graphic() && *byte != b'.';
            name.push(if shown { char::from(byte.to_ascii_lowercase()) } else { '?' });
        }
        bytes = rest.get(usize::from(*length)..)?;
    }
}

fn verdict(bytes: &[u8], to: Side) -> Verdict {
    let Some(message) = read(bytes) else { return Verdict::No };
    let counts: Vec<u16> = bytes
        .get(4..12)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)))
        .collect();
    let reserved = bytes.get(3).is_none_or(|byte| byte & 0x40 != 0);
    if message.answer != (to == Side::Client) || reserved || !matches!(message.operation, 0 | 4 | 5) {
        return Verdict::No;
    }
    let plausible = match (to, counts.as_slice()) {
        (Side::Server, [1, 0, 0 | 1, 0..=2]) => message.rcode == 0,
        (Side::Server, [1, ..]) => message.operation != 0 && message.rcode == 0,
        (Side::Client, [1, answers, names, more]) => *answers < 1000 && *names < 100 && *more < 1000,
        // What could not be read is answered without a question.
        (Side::Client, [0, 0, 0, 0..=1]) => return Verdict::Perhaps,
        _ => false,
    };
    match message.question {
        Some(question) if plausible && TYPES.iter().any(|(kind, _)| *kind == question.kind) => Verdict::Yes,
        Some(_) if plausible => Verdict::Perhaps,
        // A long name that the capture cut.
        None if plausible && bytes.len() >= 200 && bytes.len() < LOOK_MAX => Verdict::Perhaps,
        _ => Verdict::No,
    }
}

fn operation(message: &Message) -> &'static str {
    match (message.operation, &message.question) {
        (4, _) => "NOTIFY",
        (5, _) => "UPDATE",
        (0, Some(question)) => TYPES.iter().find(|(kind, _)| *kind == question.kind).map_or(OTHER, |(_, name)| name),
        (0, None) => UNSEEN,
        _ => OTHER,
    }
}

fn status(rcode: u8) -> Status {
    let outcome = match rcode {
        0 => Outcome::Ok,
        // SERVFAIL, NOTIMP, REFUSED.
        2 | 4 | 5 => Outcome::ServerError,
        _ => Outcome::ClientError,
    };
    Status { outcome, code: Code::Number(u32::from(rcode)) }
}

/// A question that waits.
struct Waiting {
    id: u16,
    question: Option<Question>,
    operation: &'static str,
    began_ns: u64,
    bytes: u64,
}

/// An answer over TCP that is passing.
struct Passing {
    asked: Option<Waiting>,
    rcode: u8,
    first_byte_ns: u64,
    bytes: u64,
}

/// The questions of a socket.
#[derive(Default)]
struct Questions {
    waiting: VecDeque<Waiting>,
    passing: Option<Passing>,
    /// A zone transfer is answered with many messages.
    transfer: Option<u16>,
}

impl Questions {
    /// A message that `length` bytes long and whose beginning is `bytes`. Whether it is one.
    fn message(&mut self, bytes: &[u8], to: Side, length: u64, began_ns: u64, out: &mut dyn Sink) -> bool {
        let Some(message) = read(bytes).filter(|message| message.answer == (to == Side::Client)) else {
            out.doubt(Doubt::Garbage, 1);
            return false;
        };
        let operation = operation(&message);
        if to == Side::Server {
            let Message { id, question, .. } = message;
            self.ask(Waiting { id, question, operation, began_ns, bytes: length }, out);
            return true;
        }
        let asked = self.find(&message);
        if asked.is_none() && self.transfer != Some(message.id) {
            out.doubt(Doubt::UnmatchedResponse, 1);
        }
        if let Some(asked) = &asked {
            self.transfer = matches!(asked.operation, "AXFR" | "IXFR").then_some(message.id);
        }
        self.passing = Some(Passing { asked, rcode: message.rcode, first_byte_ns: began_ns, bytes: length });
        true
    }

    fn ask(&mut self, asked: Waiting, out: &mut dyn Sink) {
        if self.waiting.iter().any(|other| other.id == asked.id && other.question == asked.question) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
            out.doubt(Doubt::OverLimit, 1);
        }
        self.waiting.push_back(asked);
    }

    fn find(&mut self, answer: &Message) -> Option<Waiting> {
        let same = |asked: &Waiting| match (&asked.question, &answer.question) {
            (Some(asked), Some(answered)) => asked == answered,
            // Cut, or a server that could not read it.
            _ => true,
        };
        let at = self.waiting.iter().position(|asked| asked.id == answer.id && same(asked))?;
        self.waiting.remove(at)
    }

    fn answered(&mut self, ended_ns: u64, out: &mut dyn Sink) {
        let Some(passing) = self.passing.take() else { return };
        let Some(asked) = passing.asked else { return };
        out.exchange(&Exchange {
            protocol: NAME,
            operation: asked.operation,
            target: asked.question.as_ref().map_or("", |question| &question.name),
            statement: "",
            status: status(passing.rcode),
            began_ns: asked.began_ns,
            first_byte_ns: passing.first_byte_ns,
            ended_ns,
            request_bytes: asked.bytes,
            response_bytes: passing.bytes,
            seen: Seen::Whole,
        });
    }

    fn give_up(&mut self, now_ns: u64, ended: bool, out: &mut dyn Sink) {
        let before = self.waiting.len();
        self.waiting.retain(|asked| !ended && now_ns.saturating_sub(asked.began_ns) < WAITING_NS);
        let gone = before - self.waiting.len();
        if gone > 0 {
            out.doubt(Doubt::UnansweredRequest, gone as u64);
        }
    }

    fn held(&self) -> usize {
        let names: usize = self.waiting.iter().filter_map(|it| it.question.as_ref()).map(|it| it.name.len()).sum();
        self.waiting.capacity() * size_of::<Waiting>() + names
    }
}

impl Talk for Questions {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        let Some((prefix, message)) = view.bytes.split_first_chunk::<2>() else { return Step::More };
        let length = usize::from(u16::from_be_bytes(*prefix));
        let wanted = length.min(LOOK_MAX);
        if length < 12 {
            return Step::Garbage;
        }
        if message.len() < wanted && !view.cut || message.len() < 12 {
            return Step::More;
        }
        let bytes = message.get(..length).unwrap_or(message);
        if !self.message(bytes, to, length as u64, view.began_ns, out) {
            return Step::Garbage;
        }
        Step::Take(length as u64 + 2)
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        if to == Side::Client {
            self.answered(ended_ns, out);
        }
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        if to == Side::Client {
            self.passing = None;
        }
        match loss {
            // Ids match what is left; what was not seen of either side is unmatched on the other.
            Loss::Truncated | Loss::Garbage => {}
            Loss::Gap => out.doubt(Doubt::Gap, 1),
        }
    }

    fn unseen(&mut self, _to: Side, _bytes: u64, _began_ns: u64, _ended_ns: u64) {}

    fn begins(&mut self, _to: Side, _fresh: bool, _out: &mut dyn Sink) {}

    fn settle(&mut self, now_ns: u64, ended: bool, out: &mut dyn Sink) {
        self.give_up(now_ns, ended, out);
    }

    fn finished(&self) -> bool {
        false
    }

    fn bytes_held(&self) -> usize {
        self.held()
    }
}

/// DNS over datagrams.
#[derive(Default)]
struct Datagrams(Questions);

impl Conversation for Datagrams {
    fn take(&mut self, segment: &Segment<'_>, out: &mut dyn Sink) {
        if self.0.message(segment.bytes, segment.to, segment.length, segment.began_ns, out)
            && segment.to == Side::Client
        {
            self.0.answered(segment.ended_ns, out);
        }
    }

    fn tick(&mut self, now_ns: u64, out: &mut dyn Sink) {
        self.0.give_up(now_ns, false, out);
    }

    fn close(&mut self, now_ns: u64, out: &mut dyn Sink) {
        self.0.give_up(now_ns, true, out);
    }

    fn finished(&self) -> bool {
        false
    }

    fn bytes_held(&self) -> usize {
        size_of::<Self>() + self.0.held()
    }
}
