//! MongoDB's wire protocol: `OP_MSG`, the `OP_QUERY` and `OP_REPLY` of handshakes and old clients, and compressed messages.
//!
//! An exchange is a command and the message that answers it, found by its number. A command that wants no answer is none.
//! Where answers come in a stream (`exhaustAllowed`), the first one ends the exchange, and the others are nobody's. Of a
//! compressed message only its length is known: its operation is [`COMPRESSED`].
//!
//! Documents, filters and user names are gone over, never kept: a command's name and its collection are all that is told.

mod bson;
mod commands;
mod wire;

use super::{
    Conversation, OTHER, Outcome, Protocol, Side, Sink, Status, Verdict,
    duplex::Duplex,
    numbered::{Numbered, Request},
    stream::{Loss, Step, Talk, View},
};
use wire::{HEAD, Head};

/// MongoDB.
pub static MONGODB: MongoDb = MongoDb;

/// MongoDB.
pub struct MongoDb;

/// The operation of a message that was compressed.
pub const COMPRESSED: &str = "_compressed";

/// So much of a message is looked at.
const LOOK_MAX: usize = 2048;

/// [`Request::kind`] of what is answered with the documents that were asked for.
const DOCUMENTS: u32 = 1;
/// Of what is answered with how it went.
const STATUS: u32 = 0;

impl Protocol for MongoDb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        wire::recognise(head, to)
    }

    fn start(&self) -> Box<dyn Conversation> {
        Box::new(Duplex::new(MongoTalk { requests: Numbered::new(self.name()), streamed: None }))
    }
}

struct MongoTalk {
    requests: Numbered,
    /// More follows the answer of this number, unasked.
    streamed: Option<u32>,
}

/// The head that stands here, and what was seen of what follows it. `Err`: what to do without.
fn message(view: View<'_>) -> Result<(Head, &[u8]), Step> {
    let first = view.bytes.first_chunk::<HEAD>().ok_or(Step::More)?;
    let head = wire::head(first).ok_or(Step::Garbage)?;
    let wanted = usize::try_from(head.length).unwrap_or(LOOK_MAX).min(LOOK_MAX);
    if view.bytes.len() < wanted && !view.cut {
        return Err(Step::More);
    }
    let seen = view.bytes.get(..wanted).unwrap_or(view.bytes);
    Ok((head, seen.get(HEAD..).unwrap_or_default()))
}

impl MongoTalk {
    fn look_at_request(&mut self, view: View<'_>, out: &mut dyn Sink) -> Result<Step, Step> {
        let (head, bytes) = message(view)?;
        if head.answers != 0 {
            return Err(Step::Garbage);
        }
        let mut kind = STATUS;
        let (operation, target) = match head.kind {
            wire::MSG => {
                let msg = wire::msg(bytes, head.length - HEAD as u32).ok_or(Step::Garbage)?;
                if msg.flags & wire::MORE_TO_COME != 0 {
                    return Ok(Step::Take(head.length.into()));
                }
                match (msg.body, msg.list) {
                    (Some(body), _) => commands::command(body, None),
                    (None, Some(list)) => (commands::of_list(list), "".into()),
                    (None, None) => (OTHER, "".into()),
                }
            }
            wire::QUERY | wire::GET_MORE => {
                let (name, rest) = wire::named(bytes).unwrap_or((b"", b""));
                let name = std::str::from_utf8(name).map_err(|_| Step::Garbage)?;
                // After how many documents to pass over and how many to give.
                let body = rest.get(8..).unwrap_or_default();
                match name.strip_suffix(".$cmd") {
                    Some(database) => commands::command(body, Some(database)),
                    None => {
                        kind = DOCUMENTS;
                        let operation = if head.kind == wire::QUERY { "find" } else { "getMore" };
                        (operation, commands::target(name))
                    }
                }
            }
            wire::COMPRESSED => (COMPRESSED, "".into()),
            // Writes of old: nobody answers them.
            wire::UPDATE | wire::INSERT | wire::DELETE | wire::KILL_CURSORS => {
                return Ok(Step::Take(head.length.into()));
            }
            _ => return Err(Step::Garbage),
        };
        let request = Request {
            number: head.number,
            operation,
            target,
            kind,
            // Whether an answer is wanted is compressed, too.
            answered: head.kind != wire::COMPRESSED,
            began_ns: view.began_ns,
            bytes: head.length.into(),
        };
        self.requests.ask(request, out);
        Ok(Step::Take(head.length.into()))
    }

    fn look_at_answer(&mut self, view: View<'_>, out: &mut dyn Sink) -> Result<Step, Step> {
        let (head, bytes) = message(view)?;
        let asked = self.requests.find(head.answers).map(|request| request.kind);
        let mut more = false;
        let status = match head.kind {
            wire::MSG => {
                let msg = wire::msg(bytes, head.length - HEAD as u32).ok_or(Step::Garbage)?;
                more = msg.flags & wire::MORE_TO_COME != 0;
                msg.body.map_or(Status::UNSEEN, commands::status)
            }
            wire::REPLY => reply(bytes, asked.unwrap_or(DOCUMENTS)),
            wire::COMPRESSED => Status::UNSEEN,
            _ => return Err(Step::Garbage),
        };
        let unasked = self.streamed == Some(head.answers) && asked.is_none();
        self.streamed = more.then_some(head.number);
        if !unasked {
            self.requests.answer(head.answers, status, view.began_ns, head.length.into(), out);
        }
        Ok(Step::Take(head.length.into()))
    }
}

/// What `OP_REPLY` says. Documents that were asked for are not looked at: they may say anything.
fn reply(bytes: &[u8], kind: u32) -> Status {
    const CURSOR_NOT_FOUND: u8 = 1;
    const FAILED: u8 = 2;
    let documents = bytes.get(20..).unwrap_or_default();
    match bytes.first() {
        None => Status::UNSEEN,
        Some(flags) if flags & CURSOR_NOT_FOUND != 0 => commands::error(Some(43)),
        Some(flags) if flags & FAILED != 0 => {
            let code = bson::elements(documents).find(|element| element.key == b"code");
            match code.and_then(|element| element.number()) {
                None => Status { outcome: Outcome::ClientError, ..Status::OK },
                code => commands::error(code),
            }
        }
        Some(_) if kind == DOCUMENTS => Status::OK,
        Some(_) => commands::status(documents),
    }
}

impl Talk for MongoTalk {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        let step = match to {
            Side::Server => self.look_at_request(view, out),
            Side::Client => self.look_at_answer(view, out),
        };
        step.unwrap_or_else(|step| step)
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        if to == Side::Client {
            self.requests.answered(ended_ns, out);
        }
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        match to {
            Side::Server => self.requests.requests_lost(loss, out),
            Side::Client => {
                self.streamed = None;
                self.requests.answers_lost(loss, out);
            }
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
