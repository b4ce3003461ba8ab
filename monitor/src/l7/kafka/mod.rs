//! Kafka's protocol, between clients and brokers.
//!
//! An exchange is a request and its answer, found by its number. A `Produce` that wants no answer (`acks=0`) is none. The
//! target is the topic of `Produce` and `Fetch`, where they are of one and name it: newer versions have an id instead.
//! How it ended is the error of the whole answer where there is one, else that of its partitions, if all of them were seen.
//!
//! Keys, values, groups and what clients call themselves are gone over, never kept. Answers can only be told from other
//! bytes by the number of a request that waits: without one, nothing is read until the client has spoken again.

mod apis;
mod wire;

use super::{
    Code, Conversation, Outcome, Protocol, Side, Sink, Status, TARGET_MAX, Verdict, Word,
    duplex::Duplex,
    numbered::{Numbered, Request},
    stream::{Loss, Step, Talk, View},
};
use apis::Place;
use wire::{Head, LENGTH, Reader};

/// Kafka.
pub static KAFKA: Kafka = Kafka;

/// Kafka.
pub struct Kafka;

/// So much of a message is looked at.
const LOOK_MAX: usize = 1024;

const PRODUCE: u16 = 0;
const FETCH: u16 = 1;
/// Its answer has the oldest head, so that clients of all versions can read it.
const API_VERSIONS: u16 = 18;

impl Protocol for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        wire::recognise(head, to)
    }

    fn start(&self) -> Box<dyn Conversation> {
        Box::new(Duplex::new(KafkaTalk { requests: Numbered::new(self.name()) }))
    }
}

struct KafkaTalk {
    requests: Numbered,
}

/// Whether so much is there as can be of a message that is so long.
fn is_there(view: View<'_>, length: u32) -> bool {
    let wanted = usize::try_from(length).unwrap_or(LOOK_MAX).saturating_add(LENGTH).min(LOOK_MAX);
    view.cut || view.bytes.len() >= wanted
}

impl KafkaTalk {
    fn look_at_request(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        let seen = view.bytes.get(..LOOK_MAX).unwrap_or(view.bytes);
        let head = match wire::request(seen) {
            None => return Step::Garbage,
            Some(None) => return Step::More,
            Some(Some(head)) => head,
        };
        if !is_there(view, head.length) {
            return Step::More;
        }
        let size = u64::from(head.length) + LENGTH as u64;
        let known = head.version <= head.api.last;
        let asked = if known { about(&head) } else { About::default() };
        if asked.answered != Some(false) {
            let request = Request {
                number: head.number,
                operation: head.api.name,
                target: asked.topic,
                kind: u32::from(head.key) << 16 | u32::from(head.version.unsigned_abs()),
                answered: asked.answered.is_some() || head.key != PRODUCE,
                began_ns: view.began_ns,
                bytes: size,
            };
            self.requests.ask(request, out);
        }
        Step::Take(size)
    }

    fn look_at_answer(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        let Some(([length @ .., a, b, c, d], _)) = view.bytes.split_first_chunk::<8>() else { return Step::More };
        let length = u32::from_be_bytes(*length);
        let number = u32::from_be_bytes([*a, *b, *c, *d]);
        if !(4..=wire::ANSWER_MAX).contains(&length) {
            return Step::Garbage;
        }
        let kind = self.requests.find(number).map(|request| request.kind);
        if kind.is_some() && !is_there(view, length) {
            return Step::More;
        }
        let wanted = usize::try_from(length).unwrap_or(LOOK_MAX).saturating_add(LENGTH).min(LOOK_MAX);
        let seen = view.bytes.get(..wanted).unwrap_or(view.bytes);
        let status = kind.map_or(Status::UNSEEN, |kind| status(kind, seen.get(8..).unwrap_or_default()));
        let size = u64::from(length) + LENGTH as u64;
        self.requests.answer(number, status, view.began_ns, size, out);
        if kind.is_some() { Step::Take(size) } else { Step::Cut }
    }
}

/// What a request is about.
#[derive(Default)]
struct About {
    topic: Box<str>,
    /// Whether it wants an answer, if that was seen.
    answered: Option<bool>,
}

fn about(head: &Head<'_>) -> About {
    let mut about = About::default();
    let Some(mut reader) = head.body else { return about };
    let start = match head.key {
        PRODUCE => {
            let acks = if head.version >= 3 { reader.text().and_then(|_| reader.short()) } else { reader.short() };
            about.answered = acks.map(|acks| acks != 0);
            // How long it may take.
            acks.and_then(|_| reader.int()).map(|_| head.version < 13)
        }
        // The replica, times and sizes, what may be read, the session.
        FETCH => {
            let sizes = [(0, 12), (3, 4), (4, 1), (7, 8)];
            let size = sizes.iter().filter(|(since, _)| head.version >= *since).map(|(_, size)| size).sum();
            reader.take(size).map(|_| head.version < 13)
        }
        _ => None,
    };
    if start == Some(true) && reader.count() == Some(1) {
        about.topic = reader.text().and_then(|name| std::str::from_utf8(name).ok()).map(target).unwrap_or_default();
    }
    about
}

fn target(name: &str) -> Box<str> {
    name.get(..name.floor_char_boundary(TARGET_MAX)).unwrap_or_default().into()
}

/// How it ended, from what follows the number of an answer to a request of this kind.
fn status(kind: u32, bytes: &[u8]) -> Status {
    let (key, version) = ((kind >> 16) as u16, (kind & 0xffff) as i16);
    let Some(api) = apis::find(key).filter(|api| version <= api.last) else { return Status::UNSEEN };
    let mut reader = Reader { rest: bytes, compact: api.is_compact(version) };
    if key != API_VERSIONS && reader.tags().is_none() {
        return Status::UNSEEN;
    }
    let found = match api.error {
        Place::Nowhere => None,
        Place::First => reader.short(),
        Place::Waits(since) if version >= since => after_wait(reader),
        Place::Waits(_) => reader.short(),
        Place::WaitsOnlyFrom(since) => (version >= since).then(|| after_wait(reader)).flatten(),
        Place::Coordinator => match version {
            0 => reader.short(),
            1..4 => after_wait(reader),
            _ => None,
        },
        Place::Produced => produced(reader, version),
        Place::Fetched => fetched(reader, version),
    };
    found.map_or(Status::UNSEEN, error)
}

/// The error after the time that the client is asked to wait.
fn after_wait(mut reader: Reader<'_>) -> Option<i16> {
    reader.int()?;
    reader.short()
}

/// The first error of a partition; 0 if all of them were seen and had none.
fn produced(mut reader: Reader<'_>, version: i16) -> Option<i16> {
    // Offset, time, offset of the log's beginning.
    let sizes = [(0, 8), (2, 8), (5, 8)];
    let size = sizes.iter().filter(|(since, _)| version >= *since).map(|(_, size)| size).sum();
    for _ in 0..reader.count()? {
        name(&mut reader, version)?;
        for _ in 0..reader.count()? {
            reader.int()?;
            let error = reader.short()?;
            if error != 0 {
                return Some(error);
            }
            reader.take(size)?;
            if version >= 8 {
                // Records that were refused, and why: there are none without an error.
                if reader.count()? != 0 || !reader.text()?.is_empty() {
                    return None;
                }
                reader.tags()?;
            }
        }
        reader.tags()?;
    }
    Some(0)
}

/// The error of all, else that of the first partition, if it has one or is the only one: others stand behind its records.
fn fetched(mut reader: Reader<'_>, version: i16) -> Option<i16> {
    if version >= 1 {
        reader.int()?;
    }
    if version >= 7 {
        let error = reader.short()?;
        if error != 0 {
            return Some(error);
        }
        reader.int()?;
    }
    let topics = reader.count()?;
    if topics == 0 {
        return Some(0);
    }
    name(&mut reader, version)?;
    let partitions = reader.count()?;
    reader.int()?;
    let error = reader.short()?;
    (error != 0 || (topics, partitions) == (1, 1)).then_some(error)
}

/// Goes over the name of a topic, or its id.
fn name(reader: &mut Reader<'_>, version: i16) -> Option<()> {
    if version >= 13 { reader.take(16) } else { reader.text() }.map(|_| ())
}

/// An error, by its number (<https://kafka.apache.org/protocol#protocol_error_codes>): whose fault it is.
fn error(code: i16) -> Status {
    let outcome = match code {
        0 => return Status::OK,
        // Unknown, leaders and replicas that are not there, time limits, the network, coordinators, storage, the controller.
        -1 | 5..=9 | 13..=16 | 19 | 20 | 41 | 56 | 72 | 80 | 107 | 108 => Outcome::ServerError,
        _ => Outcome::ClientError,
    };
    let word = Word::new(code.to_string().as_bytes()).map_or(Code::None, Code::Word);
    Status { outcome, code: u32::try_from(code).map_or(word, Code::Number) }
}

impl Talk for KafkaTalk {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        match to {
            Side::Server => self.look_at_request(view, out),
            Side::Client => self.look_at_answer(view, out),
        }
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        if to == Side::Client {
            self.requests.answered(ended_ns, out);
        }
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        match to {
            Side::Server => self.requests.requests_lost(loss, out),
            Side::Client => self.requests.answers_lost(loss, out),
        }
    }

    fn unseen(&mut self, to: Side, _bytes: u64, _began_ns: u64, ended_ns: u64) {
        if to == Side::Client {
            self.requests.answers_unseen(ended_ns);
        }
    }

    fn begins(&mut self, _to: Side, _fresh: bool, _out: &mut dyn Sink) {}

    fn settle(&mut self, now_ns: u64, ended: bool, out: &mut dyn Sink) {
        if ended {
            self.requests.close(now_ns, out);
        } else {
            self.requests.tick(now_ns, out);
        }
    }

    fn finished(&self) -> bool {
        false
    }

    fn bytes_held(&self) -> usize {
        self.requests.bytes_held()
    }
}
