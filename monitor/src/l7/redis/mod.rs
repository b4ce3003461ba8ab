//! Redis and what speaks like it (RESP 2 and 3, <https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! Keys and values are gone over, never kept: a command's name is all that is told of it. Elements of nested answers are
//! counted, not remembered: no nesting costs memory or stack.
//!
//! What a server says unasked (messages of subscriptions, invalidations) is no answer. After MONITOR, SYNC and PSYNC the
//! connection has no requests any more.

mod commands;
mod wire;

use super::{
    Conversation, Doubt, OTHER, Protocol, Side, Sink, Status, Verdict,
    duplex::Duplex,
    pairing::{About, Asked, Pairing, Request},
    stream::{Loss, Step, Talk, View},
};
use wire::{Line, answer_verdict, error, is_message, is_subscription, line, number, request_verdict};

/// RESP 2 and 3.
pub static REDIS: Redis = Redis;

/// RESP 2 and 3.
pub struct Redis;

/// `*1\r\n$4\r\nPING\r\n` (inline commands are typed by hand) and `:1\r\n`.
const LEAST: (u64, u64) = (14, 4);

/// Redis' own bounds: elements of a command, and bytes of a string (`proto-max-bulk-len`).
const ELEMENTS_MAX: u64 = 1 << 20;
const STRING_MAX: u64 = 512 << 20;

/// A longer first word is no command.
const NAME_MAX: u64 = 64;

/// Kinds of requests.
const SUBSCRIBES: u8 = 1;
const ENDS: u8 = 2;

impl Protocol for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        match to {
            Side::Server => request_verdict(head),
            Side::Client => answer_verdict(head),
        }
    }

    fn start(&self) -> Box<dyn Conversation> {
        Box::new(Duplex::new(RedisTalk {
            pairing: Pairing::new(self.name(), LEAST, true),
            command: Command::default(),
            reply: Reply::default(),
            subscribed: false,
            over: false,
        }))
    }
}

/// The command that is passing.
#[derive(Default)]
struct Command {
    began_ns: u64,
    bytes: u64,
    /// Elements still to come.
    left: u64,
    /// Arguments, for the number of confirmations of SUBSCRIBE.
    operation: Option<&'static str>,
}

/// The answer that is passing.
#[derive(Default)]
struct Reply {
    /// Elements still to come, of all levels.
    left: u64,
    /// It is nobody's answer.
    unasked: bool,
    /// The first element decides whether it is one.
    undecided: bool,
    /// A kind of its own, that an array with such a first element is only in a subscription.
    push: bool,
    began_ns: u64,
    bytes: u64,
}

struct RedisTalk {
    pairing: Pairing,
    command: Command,
    reply: Reply,
    /// Messages may come that nobody asked for.
    subscribed: bool,
    over: bool,
}

impl RedisTalk {
    fn look_at_command(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        if self.command.left > 0 {
            return self.look_at_argument(view);
        }
        let Some(first) = view.bytes.first() else { return Step::More };
        let (line, length) = match line(view.bytes) {
            Line::Whole(line, length) => (line, length as u64),
            Line::Part => return Step::More,
            Line::TooLong => return Step::Garbage,
        };
        if *first != b'*' {
            return self.inline_command(line, length, *first, view, out);
        }
        match number(line) {
            Some(count) if (1..=ELEMENTS_MAX as i64).contains(&count) => {
                self.command =
                    Command { began_ns: view.began_ns, bytes: length, left: count.unsigned_abs(), operation: None };
                Step::Take(length)
            }
            // An empty command has no answer.
            Some(..=0) => Step::Take(length),
            _ => Step::Garbage,
        }
    }

    fn look_at_argument(&mut self, view: View<'_>) -> Step {
        let (line, head) = match line(view.bytes) {
            Line::Whole(line, length) if view.bytes.first() == Some(&b'$') => (line, length),
            Line::Part if view.bytes.first() == Some(&b'$') => return Step::More,
            _ => return Step::Garbage,
        };
        let Some(length) = number(line).and_then(|it| u64::try_from(it).ok()).filter(|it| *it <= STRING_MAX) else {
            return Step::Garbage;
        };
        let whole = head as u64 + length + 2;
        if self.command.operation.is_none() {
            if length > NAME_MAX {
                self.command.operation = Some(OTHER);
            } else {
                let name = view.bytes.get(head..head + length as usize);
                let Some(name) = name else { return Step::More };
                self.command.operation = Some(commands::find(name).unwrap_or(OTHER));
            }
        }
        self.command.left -= 1;
        self.command.bytes += whole;
        Step::Take(whole)
    }

    /// A line of words, as typed into a terminal.
    fn inline_command(&mut self, rest: &[u8], length: u64, first: u8, view: View<'_>, out: &mut dyn Sink) -> Step {
        if rest.is_empty() && matches!(first, b'\r' | b'\n') || view.bytes.starts_with(b"\r\n") {
            return Step::Take(length);
        }
        let text = view.bytes.get(..=rest.len()).unwrap_or_default();
        let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let Some(operation) = commands::find(word) else { return Step::Garbage };
        self.command = Command { began_ns: view.began_ns, bytes: length, left: 0, operation: Some(operation) };
        self.ask(true, out);
        Step::Take(length)
    }

    /// The command has passed, or as much of it as will be seen.
    fn ask(&mut self, whole: bool, out: &mut dyn Sink) {
        let command = std::mem::take(&mut self.command);
        let Some(operation) = command.operation else { return };
        let kind = match operation {
            _ if is_subscription(operation.as_bytes()) => SUBSCRIBES,
            "MONITOR" | "SYNC" | "PSYNC" => ENDS,
            _ => 0,
        };
        let (began_ns, bytes) = (command.began_ns, command.bytes);
        let request = Request { operation, about: About::Nothing, kind, counted: true, whole, began_ns, bytes };
        self.pairing.ask(request, out);
    }

    fn look_at_reply(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        let Some(kind) = view.bytes.first().copied() else { return Step::More };
        let (line, head) = match line(view.bytes) {
            Line::Whole(line, length) => (line, length as u64),
            // The length of a simple string need not be known to know whether it is an error.
            Line::Part if view.cut && self.reply.left == 0 && matches!(kind, b'+' | b'-') => {
                let line = view.bytes.get(1..).unwrap_or_default();
                self.begin(kind, line, view, out);
                return Step::Cut;
            }
            Line::Part => return Step::More,
            Line::TooLong => return Step::Garbage,
        };
        let (length, elements) = match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => (head, 0),
            b'$' | b'=' | b'!' => match number(line) {
                Some(-1) => (head, 0),
                Some(length) if (0..=STRING_MAX as i64).contains(&length) => (head + length.unsigned_abs() + 2, 0),
                _ => return Step::Garbage,
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => match number(line) {
                Some(-1) => (head, 0),
                Some(count) if (0..=i64::from(u32::MAX)).contains(&count) => {
                    let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                    (head, count.unsigned_abs() * each)
                }
                _ => return Step::Garbage,
            },
            _ => return Step::Garbage,
        };
        // What only the first element tells has to be there with it.
        if self.reply.undecided {
            let word = if kind == b'$' {
                view.bytes.get(head as usize..(length as usize).saturating_sub(2))
            } else {
                Some(line)
            };
            let Some(word) = word.or((length > head + 32).then_some(b"")) else { return Step::More };
            self.decide(word, out);
        } else if self.reply.left == 0 {
            self.begin(kind, line, view, out);
        }
        if kind != b'|' {
            self.reply.left -= 1;
        }
        self.reply.left = self.reply.left.saturating_add(elements);
        self.grow(length);
        Step::Take(length)
    }

    /// A new answer, or something that is none.
    fn begin(&mut self, kind: u8, line: &[u8], view: View<'_>, out: &mut dyn Sink) {
        self.reply = Reply { left: 1, began_ns: view.began_ns, ..Reply::default() };
        let words = number(line).is_some_and(|count| count > 0);
        let subscribes = matches!(self.pairing.next(), Some(Asked::Known(request, _)) if request.kind == SUBSCRIBES);
        let idle = self.pairing.next().is_none();
        self.reply.push = kind == b'>';
        if words && (kind == b'>' || (kind == b'*' && (subscribes || idle || self.subscribed))) {
            self.reply.undecided = true;
            return;
        }
        let status = match kind {
            b'-' => error(line),
            _ => Status::OK,
        };
        self.answer(status, out);
    }

    fn answer(&mut self, status: Status, out: &mut dyn Sink) {
        if let Some(Asked::Known(request, _)) = self.pairing.next()
            && request.kind == ENDS
        {
            self.over = true;
            out.doubt(Doubt::Opaque, 1);
        }
        self.pairing.answer(status, self.reply.began_ns, out);
        if let Some(open) = &mut self.pairing.open {
            open.bytes = self.reply.bytes;
        }
    }

    /// The first element of what may be a message of a subscription is known.
    fn decide(&mut self, word: &[u8], out: &mut dyn Sink) {
        self.reply.undecided = false;
        let asked = match self.pairing.next() {
            Some(Asked::Known(request, _)) if request.kind == SUBSCRIBES => Some(request.operation),
            _ => None,
        };
        // Each channel of a subscription is confirmed; the first confirmation answers the request.
        let confirms = is_subscription(word);
        self.subscribed |= confirms;
        if confirms && asked.is_some_and(|operation| operation.as_bytes().eq_ignore_ascii_case(word)) {
            self.answer(Status::OK, out);
        } else if confirms || self.reply.push || is_message(word) {
            self.reply.unasked = true;
        } else {
            self.answer(Status::OK, out);
        }
    }

    fn grow(&mut self, bytes: u64) {
        self.reply.bytes += bytes;
        if let Some(open) = self.pairing.open.as_mut().filter(|_| !self.reply.unasked) {
            open.bytes += bytes;
        }
    }
}

impl Talk for RedisTalk {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        match to {
            _ if self.over && self.reply.left == 0 => Step::Rest,
            Side::Server => self.look_at_command(view, out),
            Side::Client => self.look_at_reply(view, out),
        }
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        match to {
            Side::Server if self.command.left == 0 => self.ask(true, out),
            Side::Client if self.reply.left == 0 && !self.reply.unasked => self.pairing.answered(ended_ns, out),
            _ => {}
        }
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        match to {
            Side::Server => {
                if loss == Loss::Garbage {
                    self.command = Command::default();
                }
                self.ask(false, out);
                self.pairing.requests_lost(loss, out);
            }
            Side::Client => {
                self.reply = Reply::default();
                self.pairing.answers_lost(loss, out);
            }
        }
    }

    fn unseen(&mut self, to: Side, bytes: u64, began_ns: u64, ended_ns: u64) {
        match to {
            _ if self.over => {}
            Side::Server => self.pairing.requests_unseen(bytes, began_ns, None),
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
        self.over && self.pairing.open.is_none()
    }

    fn bytes_held(&self) -> usize {
        self.pairing.bytes_held()
    }
}
