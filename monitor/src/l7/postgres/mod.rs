//! PostgreSQL, protocol 3 (<https://www.postgresql.org/docs/current/protocol-flow.html>).
//!
//! An exchange is one Query, from its first byte to ReadyForQuery, or one Execute, from the first message that prepared it
//! to the end of its command. A connection's beginning is an exchange, too, with the operation `CONNECT`. What follows
//! SSLRequest is encrypted and not seen. Statements prepared before the capture began are [`PREPARED`].
//!
//! Where the client's messages are longer than what was captured, BindComplete in the answer tells that something was
//! executed, and the last statement seen is taken as what.

mod client;
mod wire;

use std::sync::Arc;

use super::{
    Conversation, Doubt, Outcome, Protocol, Side, Sink, Status, Verdict,
    duplex::Duplex,
    pairing::{About, Answer, Asked, Pairing},
    prepared::Prepared,
    sql::Statement,
    stream::{Loss, Step, Talk, View},
};
use wire::NoMessage;

pub use super::PREPARED;

/// PostgreSQL.
pub static POSTGRES: Postgres = Postgres;

/// PostgreSQL.
pub struct Postgres;

/// A Sync, and a CommandComplete with ReadyForQuery.
const LEAST: (u64, u64) = (5, 12);

/// Kinds of requests. Only the first three are counted.
const QUERY: u8 = 0;
const EXECUTE: u8 = 1;
const CONNECT: u8 = 2;
const PARSE: u8 = 3;
const BIND: u8 = 4;
const SYNC: u8 = 5;

impl Protocol for Postgres {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        wire::recognise(head, to)
    }

    fn start(&self) -> Box<dyn Conversation> {
        Box::new(Duplex::new(PostgresTalk {
            pairing: Pairing::new(self.name(), LEAST, false),
            prepared: Prepared::default(),
            bound: None,
            hint: None,
            group: Group::default(),
            reply: Reply::default(),
            encryption: false,
            ready_owed: false,
            over: false,
        }))
    }
}

/// What the client has sent since its last request that is counted.
#[derive(Default)]
struct Group {
    began_ns: Option<u64>,
    bytes: u64,
}

/// What the server has sent since the end of its last answer.
#[derive(Default)]
struct Reply {
    began_ns: Option<u64>,
    bytes: u64,
    /// The answer that is open is over with what passes now.
    ends: bool,
    /// What comes next is a new answer.
    ready: bool,
    /// Commands were completed that nobody seen has asked for.
    completions: bool,
    /// The place was lost before: what completes next may be what was told already.
    resumed: bool,
}

struct PostgresTalk {
    pairing: Pairing,
    prepared: Prepared,
    /// What the last Bind put into which portal.
    bound: Option<(Box<[u8]>, Arc<Statement>)>,
    /// The last statement that the server took, for what is executed unseen.
    hint: Option<Arc<Statement>>,
    group: Group,
    reply: Reply,
    /// The client asked for encryption.
    encryption: bool,
    /// What was executed unseen is answered, and that the server is ready again is still to come.
    ready_owed: bool,
    over: bool,
}

/// Longer portal names are not kept.
const PORTAL_MAX: usize = 63;

impl PostgresTalk {
    fn look_at_server(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        if self.encryption {
            self.encryption = false;
            match view.bytes.first() {
                Some(b'N') => return Step::Take(1),
                Some(b'S' | b'G') => {
                    self.over = true;
                    out.doubt(Doubt::Opaque, 1);
                    return Step::Rest;
                }
                _ => {}
            }
        }
        let message = match wire::message(view, Side::Client) {
            Ok(message) => message,
            Err(NoMessage::Part) => return Step::More,
            Err(NoMessage::Garbage) => return Step::Garbage,
        };
        // Notices, notifications and settings come whenever they like.
        if matches!(message.kind, b'N' | b'A') || (message.kind == b'S' && self.pairing.open.is_none()) {
            return Step::Take(message.length);
        }
        let began_ns = *self.reply.began_ns.get_or_insert(view.began_ns);
        self.reply.bytes += message.length;
        match message.kind {
            b'1' => self.understood(PARSE),
            b'2' => {
                self.understood(BIND);
                self.hidden_executed(began_ns, out);
            }
            b'C' | b'I' | b's' => self.completed(began_ns, out),
            b'E' => self.failed(wire::error(message.body), began_ns, out),
            b'Z' => self.ready(began_ns, out),
            // AuthenticationOk: the settings that follow it are often longer than what is captured.
            b'R' if message.body == [0; 4] => {
                self.answering(began_ns, out);
                self.succeeds();
            }
            // Answers to Parse, Bind, Describe and Close are no answer to Execute yet.
            b'3' | b't' | b'n' => {}
            _ => self.answering(began_ns, out),
        }
        if let Some(open) = &mut self.pairing.open {
            open.bytes = self.reply.bytes;
        }
        Step::Take(message.length)
    }

    fn next_kind(&self) -> Option<u8> {
        match self.pairing.next()? {
            Asked::Known(request, _) => Some(request.kind),
            Asked::Unseen(_) => None,
        }
    }

    fn hidden_next(&self) -> bool {
        matches!(self.pairing.next(), Some(Asked::Unseen(_)))
    }

    /// The server has taken a Parse or Bind.
    fn understood(&mut self, kind: u8) {
        if self.next_kind() == Some(kind)
            && let Some(Ok(request)) = self.pairing.take_next()
            && let About::Statement(statement) = request.about
        {
            self.hint = Some(statement);
        }
    }

    /// A Bind was taken whose Execute was not seen.
    fn hidden_executed(&mut self, began_ns: u64, out: &mut dyn Sink) {
        if self.pairing.open.is_none() && self.hidden_next() {
            self.open_hidden(Status::UNSEEN, began_ns, out);
        }
    }

    fn open_hidden(&mut self, status: Status, began_ns: u64, out: &mut dyn Sink) {
        self.pairing.answer(status, began_ns, out);
        if let (Some(open), Some(statement)) = (&mut self.pairing.open, self.hint.take()) {
            open.attribute(statement.operation, About::Statement(statement));
        }
    }

    /// Something came that belongs to the next answer.
    fn answering(&mut self, began_ns: u64, out: &mut dyn Sink) {
        if self.pairing.open.is_none() && matches!(self.next_kind(), Some(QUERY | EXECUTE | CONNECT)) {
            self.pairing.answer(Status::UNSEEN, began_ns, out);
        }
    }

    fn open_kind(&self) -> Option<u8> {
        let kind = |open: &Answer| open.request().map(|request| request.kind).filter(|kind| *kind <= CONNECT);
        self.pairing.open.as_ref().map(|open| kind(open).unwrap_or(EXECUTE))
    }

    /// A command is complete: that is the end of an Execute, and of one statement of a Query.
    fn completed(&mut self, began_ns: u64, out: &mut dyn Sink) {
        self.answering(began_ns, out);
        match self.open_kind() {
            Some(EXECUTE) => self.end(Status::OK),
            Some(_) => {}
            None => self.reply.completions |= self.hidden_next() && !self.reply.resumed,
        }
    }

    fn succeeds(&mut self) {
        if let Some(open) = &mut self.pairing.open {
            open.status = Status::OK;
        }
    }

    /// The answer that is open ends with the message that passes.
    fn end(&mut self, status: Status) {
        self.reply.ends = true;
        if let Some(open) = &mut self.pairing.open
            && open.status.outcome == Outcome::Unseen
        {
            open.status = status;
        }
    }

    fn failed(&mut self, status: Status, began_ns: u64, out: &mut dyn Sink) {
        if self.pairing.open.is_none() {
            // It may be the Parse or Bind that failed: then that is what its Execute is answered with.
            let mut statement = None;
            while matches!(self.next_kind(), Some(PARSE | BIND)) {
                if let Some(Ok(request)) = self.pairing.take_next() {
                    statement = statement.or(Some(request));
                }
            }
            match (self.next_kind(), statement) {
                (None | Some(SYNC), Some(mut request)) => {
                    request.kind = EXECUTE;
                    self.pairing.answer_to(request, status, began_ns);
                }
                (Some(QUERY | EXECUTE | CONNECT), _) => self.pairing.answer(status, began_ns, out),
                (None, None) if self.hidden_next() => self.open_hidden(status, began_ns, out),
                // The server ends the connection, or a Sync fails.
                _ => return,
            }
        }
        if let Some(open) = &mut self.pairing.open {
            open.status = status;
        }
        match self.open_kind() {
            Some(QUERY) => {}
            // The server goes over everything up to Sync.
            _ => {
                self.end(status);
                self.drop_until_sync(false, out);
            }
        }
    }

    /// Drops what will have no answer. With `sync`, the Sync, too: whether there was one.
    fn drop_until_sync(&mut self, sync: bool, out: &mut dyn Sink) -> bool {
        let (mut unanswered, mut found) = (0, false);
        while let Some(kind) = self.next_kind() {
            if matches!(kind, QUERY | CONNECT) || (kind == SYNC && !sync) {
                break;
            }
            self.pairing.take_next();
            unanswered += u64::from(kind == EXECUTE);
            if kind == SYNC {
                found = true;
                break;
            }
        }
        if unanswered > 0 {
            out.doubt(Doubt::UnansweredRequest, unanswered);
        }
        found
    }

    /// ReadyForQuery.
    fn ready(&mut self, began_ns: u64, out: &mut dyn Sink) {
        self.reply.ready = true;
        let owed = std::mem::take(&mut self.ready_owed);
        if self.pairing.open.is_some() {
            self.end(Status::OK);
            if self.open_kind() == Some(EXECUTE) {
                self.drop_until_sync(true, out);
            }
        } else if !self.drop_until_sync(true, out) {
            let completions = std::mem::take(&mut self.reply.completions);
            match self.next_kind() {
                Some(QUERY | CONNECT) if owed => {}
                Some(QUERY | CONNECT) => {
                    self.pairing.answer(Status::OK, began_ns, out);
                    self.reply.ends = true;
                }
                None if completions && self.hidden_next() => {
                    self.open_hidden(Status::OK, began_ns, out);
                    self.reply.ends = true;
                }
                _ => {}
            }
        }
        self.hint = None;
    }
}

impl Talk for PostgresTalk {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        match to {
            _ if self.over => Step::Rest,
            Side::Server => self.look_at_client(view, out),
            Side::Client => self.look_at_server(view, out),
        }
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        if to == Side::Server || !(self.reply.ends || self.reply.ready) {
            return;
        }
        if self.reply.ends {
            let hidden = |open: &Answer| open.request().is_none_or(|request| request.kind > SYNC);
            self.ready_owed |= !self.reply.ready && self.pairing.open.as_ref().is_some_and(hidden);
            self.pairing.answered(ended_ns, out);
        }
        let resumed = self.reply.resumed && !self.reply.ready;
        self.reply = Reply { completions: self.reply.completions, resumed, ..Reply::default() };
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        match to {
            Side::Server => {
                self.pairing.requests_lost(loss, out);
                self.group = Group::default();
                if loss != Loss::Truncated {
                    self.bound = None;
                }
            }
            Side::Client => {
                self.pairing.answers_lost(loss, out);
                self.reply = Reply { resumed: true, ..Reply::default() };
            }
        }
    }

    fn unseen(&mut self, to: Side, bytes: u64, began_ns: u64, ended_ns: u64) {
        match to {
            _ if self.over => {}
            Side::Server => {
                // What follows a Bind is its Execute and a Sync.
                let presumed = self.pairing.last_asked().is_some_and(|request| request.kind == BIND).then_some(1);
                self.pairing.requests_unseen(bytes, began_ns, presumed);
            }
            Side::Client => self.pairing.answers_unseen(bytes, began_ns, ended_ns),
        }
    }

    fn begins(&mut self, to: Side, fresh: bool, out: &mut dyn Sink) {
        if to == Side::Server {
            self.pairing.client_speaks(fresh, out);
        }
    }

    fn settle(&mut self, now_ns: u64, ended: bool, out: &mut dyn Sink) {
        if ended {
            self.pairing.close(now_ns, out);
        } else {
            self.pairing.tick(now_ns, out);
        }
    }

    fn finished(&self) -> bool {
        self.over
    }

    fn bytes_held(&self) -> usize {
        let bound = self.bound.as_ref().map_or(0, |(portal, statement)| portal.len() + statement.bytes_held());
        let hint = self.hint.as_ref().map_or(0, |statement| statement.bytes_held());
        self.pairing.bytes_held() + self.prepared.bytes_held() + bound + hint
    }
}
