//! memcached: the text protocol with its meta commands, and the binary one
//! (<https://github.com/memcached/memcached/blob/master/doc/protocol.txt>).
//!
//! Keys and values are gone over, never kept: a command's name is all that is told of it. A `get` of many keys is one
//! exchange. A command that asks for no answer is none. One that is quiet is an exchange if it is answered: answers come in
//! order, and which of several quiet commands of one kind it was makes no difference.

mod wire;

use super::{
    Conversation, Doubt, Protocol, Side, Sink, Status, Verdict,
    duplex::Duplex,
    pairing::{About, Asked, Pairing, Request},
    stream::{Loss, Step, Talk, View},
};
use wire::{Answer, Form, HEAD, line};

/// memcached.
pub static MEMCACHED: Memcached = Memcached;

/// memcached.
pub struct Memcached;

/// `mn\r\n`, and the answer to `incr`.
const LEAST: (u64, u64) = (4, 3);

/// A longer line is no answer.
const LINE_MAX: usize = 2048;

/// [`Request::kind`] of what need not be answered, and of what ends the conversation. Others have the code of the binary
/// protocol, or this.
const TEXT: u8 = 0x80;
const WATCH: u8 = 0x81;
const TEXT_QUIET: u8 = 0x82;
const QUIET: u8 = 0x40;

/// The code of `stats`, which is answered with many messages.
const STATS: u8 = 0x10;

impl Protocol for Memcached {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        match to {
            Side::Server => wire::request_verdict(head),
            Side::Client => wire::answer_verdict(head),
        }
    }

    fn start(&self) -> Box<dyn Conversation> {
        Box::new(Duplex::new(MemcachedTalk {
            pairing: Pairing::new(self.name(), LEAST, true),
            stage: Stage::First,
            ends: false,
            over: false,
        }))
    }
}

/// What comes next of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    /// A value, or `END`.
    Values,
    /// A line, or the last one.
    Lines,
    /// A further message of `stats`.
    Messages,
}

struct MemcachedTalk {
    pairing: Pairing,
    stage: Stage,
    /// The answer ends with what passes.
    ends: bool,
    over: bool,
}

impl MemcachedTalk {
    fn look_at_request(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        match view.bytes.first() {
            None => return Step::More,
            Some(&wire::ASKS) => return self.binary_request(view, out),
            Some(b'\r' | b'\n') => return Step::Garbage,
            Some(_) => {}
        }
        let Some((text, length)) = line(view.bytes) else {
            // So many keys, that their end is not seen. All other lines are short.
            let first = wire::words(view.bytes).next().filter(|word| word.len() < view.bytes.len());
            let known = first.and_then(wire::form);
            let keys = known.filter(|(name, _)| matches!(*name, "get" | "gets" | "gat" | "gats"));
            return match keys {
                Some((operation, _)) if view.cut => {
                    self.ask(operation, TEXT, false, view, 0, out);
                    Step::Cut
                }
                _ if view.cut || view.bytes.len() < LINE_MAX || keys.is_some() => Step::More,
                _ => Step::Garbage,
            };
        };
        let Some(command) = wire::command(text) else { return Step::Garbage };
        let bytes = length + command.value;
        let kind = match command.form {
            Form::Watch => WATCH,
            _ if command.quiet => TEXT_QUIET,
            _ => TEXT,
        };
        if !command.silent {
            self.ask(command.operation, kind, true, view, bytes, out);
        }
        Step::Take(bytes)
    }

    fn binary_request(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        let Some(head) = view.bytes.first_chunk::<HEAD>() else { return Step::More };
        let Some(head) = wire::head(head) else { return Step::Garbage };
        let kind = if head.quiet { head.code | QUIET } else { head.code };
        self.ask(head.operation, kind, true, view, head.length, out);
        Step::Take(head.length)
    }

    fn ask(&mut self, operation: &'static str, kind: u8, whole: bool, view: View<'_>, bytes: u64, out: &mut dyn Sink) {
        let (about, counted, began_ns) = (About::Nothing, !is_quiet(kind), view.began_ns);
        self.pairing.ask(Request { operation, about, kind, counted, whole, began_ns, bytes }, out);
    }

    /// Drops quiet commands that this cannot be the answer to.
    fn drop_quiet(&mut self, answers: impl Fn(&Request) -> bool) {
        while let Some(Asked::Known(request, _)) = self.pairing.next() {
            if !is_quiet(request.kind) || answers(request) {
                return;
            }
            self.pairing.take_next();
        }
    }

    fn look_at_answer(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        match view.bytes.first() {
            None => return Step::More,
            Some(&wire::ANSWERS) if matches!(self.stage, Stage::First | Stage::Messages) => {
                return self.binary_answer(view, out);
            }
            Some(_) if self.stage == Stage::Messages => return Step::Garbage,
            Some(_) => {}
        }
        let Some((text, length)) = line(view.bytes) else {
            return if view.bytes.len() > LINE_MAX { Step::Garbage } else { Step::More };
        };
        let step = match self.stage {
            Stage::Values => match wire::answer(text) {
                Some(Answer::Values(value)) => length + value,
                Some(Answer::Line(status)) => self.end(status, length),
                _ => return Step::Garbage,
            },
            Stage::Lines => {
                let last = matches!(text, b"END" | b"EN" | b"RESET" | b"OK") || text.starts_with(b"ERROR");
                self.ends = last;
                length
            }
            Stage::First | Stage::Messages => {
                let Some(answer) = wire::answer(text) else { return Step::Garbage };
                self.drop_quiet(|request| wire::answers_quiet(request.operation, text));
                self.begin(answer, length, view, out)
            }
        };
        if let Some(open) = &mut self.pairing.open {
            open.bytes += step;
        }
        Step::Take(step)
    }

    /// The first line of an answer. How long it is, with the value that follows it.
    fn begin(&mut self, answer: Answer, length: u64, view: View<'_>, out: &mut dyn Sink) -> u64 {
        if matches!(self.pairing.next(), Some(Asked::Known(request, _)) if request.kind == WATCH) {
            self.over = true;
            out.doubt(Doubt::Opaque, 1);
        }
        let status = match answer {
            Answer::Line(status) => status,
            Answer::Value(_) | Answer::Values(_) | Answer::Lines => Status::OK,
        };
        self.pairing.answer(status, view.began_ns, out);
        match answer {
            Answer::Line(_) => {
                self.ends = true;
                length
            }
            Answer::Value(value) => {
                self.ends = true;
                length + value
            }
            Answer::Values(value) => {
                self.stage = Stage::Values;
                length + value
            }
            Answer::Lines => {
                self.stage = Stage::Lines;
                length
            }
        }
    }

    fn end(&mut self, status: Status, length: u64) -> u64 {
        if let Some(open) = &mut self.pairing.open {
            open.status = status;
        }
        self.ends = true;
        length
    }

    fn binary_answer(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        let Some(head) = view.bytes.first_chunk::<HEAD>() else { return Step::More };
        let Some(head) = wire::head(head) else { return Step::Garbage };
        if self.stage == Stage::First {
            self.drop_quiet(|request| request.kind & !QUIET == head.code);
            // Answers come in order: one to another command means that requests are missing.
            if matches!(self.pairing.next(), Some(Asked::Known(request, _)) if request.kind & !QUIET != head.code) {
                return Step::Garbage;
            }
            self.pairing.answer(wire::status(head.status), view.began_ns, out);
        } else if head.code != STATS {
            return Step::Garbage;
        }
        if head.code == STATS && head.status == 0 && head.key > 0 {
            self.stage = Stage::Messages;
        } else {
            self.ends = true;
        }
        if let Some(open) = &mut self.pairing.open {
            open.bytes += head.length;
        }
        Step::Take(head.length)
    }
}

fn is_quiet(kind: u8) -> bool {
    kind == TEXT_QUIET || (kind < TEXT && kind & QUIET != 0)
}

impl Talk for MemcachedTalk {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        match to {
            _ if self.over => Step::Rest,
            Side::Server => self.look_at_request(view, out),
            Side::Client => self.look_at_answer(view, out),
        }
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        if to == Side::Client && std::mem::take(&mut self.ends) {
            self.stage = Stage::First;
            self.pairing.answered(ended_ns, out);
        }
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        match to {
            Side::Server => self.pairing.requests_lost(loss, out),
            Side::Client => {
                self.stage = Stage::First;
                self.ends = false;
                self.pairing.answers_lost(loss, out);
            }
        }
    }

    fn unseen(&mut self, to: Side, bytes: u64, began_ns: u64, ended_ns: u64) {
        match to {
            _ if self.over => {}
            Side::Server => {
                // What follows keys that were cut is the rest of them, as long as nobody pipelines.
                let alone = self.pairing.waiting() == 1;
                let cut = self.pairing.last_asked().filter(|request| !request.whole);
                let cut = cut.map(|request| request.bytes = request.bytes.saturating_add(bytes)).is_some();
                self.pairing.requests_unseen(bytes, began_ns, (alone && cut).then_some(0));
            }
            Side::Client => self.pairing.answers_unseen(bytes, began_ns, ended_ns),
        }
    }

    fn begins(&mut self, to: Side, fresh: bool, out: &mut dyn Sink) {
        if to == Side::Server {
            if fresh && self.pairing.open.is_none() {
                // The server had nothing to say to them.
                self.drop_quiet(|_| false);
            }
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
        self.over && self.pairing.open.is_none()
    }

    fn bytes_held(&self) -> usize {
        self.pairing.bytes_held()
    }
}
