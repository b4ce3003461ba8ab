//! HTTP/1.0 and 1.1 (RFC 9112). Heads are read by `httparse`; bodies are gone over by their declared length.
//!
//! Not seen: the length of a message whose head is longer than what was captured. Its answer counts all the same, and
//! ends when the server falls silent.

mod head;

use super::{
    Conversation, Doubt, OTHER, Protocol, Side, Sink, Verdict,
    duplex::Duplex,
    http2::HTTP2,
    pairing::{About, Asked, Pairing, Request},
    stream::{Loss, Step, Talk, View},
};
use head::{
    Body, CONNECT, HEAD, LENGTH_MAX, answer_body, becomes_http2, bounded, cut_request_line, cut_status, path_of,
    request_body, request_verdict,
};
pub(super) use head::{METHODS, status};

/// HTTP/1.0 and 1.1.
pub static HTTP1: Http1 = Http1;

/// HTTP/1.0 and 1.1.
pub struct Http1;

/// More header fields than this, and the message's length is taken as unknown.
const HEADERS_MAX: usize = 96;

/// `GET / HTTP/1.0\r\n\r\n` and `HTTP/1.0 200\r\n\r\n`.
const LEAST: (u64, u64) = (18, 16);

impl Protocol for Http1 {
    fn name(&self) -> &'static str {
        "http"
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        match to {
            Side::Client if head.starts_with(b"HTTP/1.") => Verdict::Yes,
            Side::Client if !head.is_empty() && b"HTTP/1.".starts_with(head) => Verdict::Perhaps,
            Side::Client => Verdict::No,
            Side::Server => request_verdict(head),
        }
    }

    fn start(&self) -> Box<dyn Conversation> {
        Box::new(Duplex::new(Http1Talk {
            pairing: Pairing::new(self.name(), LEAST, true),
            requests: Direction::default(),
            answers: Direction::default(),
            over: false,
            http2: false,
        }))
    }
}

/// What is to be looked at next in one direction.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    ChunkSize,
    Trailer,
}

#[derive(Default)]
struct Direction {
    part: Part,
    /// What passes is the end of a message.
    ends: bool,
}

struct Http1Talk {
    pairing: Pairing,
    requests: Direction,
    answers: Direction,
    over: bool,
    /// What follows is HTTP/2.
    http2: bool,
}

impl Http1Talk {
    fn direction(&mut self, to: Side) -> &mut Direction {
        match to {
            Side::Server => &mut self.requests,
            Side::Client => &mut self.answers,
        }
    }

    fn look_at_request(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        // RFC 9112 2.2: empty lines before a request are ignored.
        let empty = view.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if empty > 0 {
            self.requests.ends = false;
            return Step::Take(empty as u64);
        }
        if request_verdict(view.bytes) == Verdict::No {
            return Step::Garbage;
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(view.bytes) {
            Ok(httparse::Status::Complete(length)) => length as u64,
            Ok(httparse::Status::Partial) if !view.cut => return Step::More,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                let Some((method, path)) = cut_request_line(view.bytes) else { return Step::More };
                self.ask(method, &path, false, view, out);
                return Step::Cut;
            }
            Err(_) => return Step::Garbage,
        };
        let body = match request_body(request.headers) {
            Some(body) => body,
            None => return Step::Garbage,
        };
        self.ask(request.method.unwrap_or_default(), path_of(request.path.unwrap_or_default()), true, view, out);
        match body {
            Body::Length(body) => {
                self.requests.ends = true;
                self.request_grows(length + body);
                Step::Take(length + body)
            }
            Body::Chunked | Body::UntilClose => {
                self.requests.part = Part::ChunkSize;
                self.request_grows(length);
                Step::Take(length)
            }
        }
    }

    fn ask(&mut self, method: &str, path: &str, whole: bool, view: View<'_>, out: &mut dyn Sink) {
        let operation = METHODS.iter().find(|known| **known == method).copied().unwrap_or(OTHER);
        let kind = match operation {
            "HEAD" => HEAD,
            "CONNECT" => CONNECT,
            _ => 0,
        };
        let about = About::Target(bounded(path).into());
        let began_ns = view.began_ns;
        self.pairing.ask(Request { operation, about, kind, counted: true, whole, began_ns, bytes: 0 }, out);
    }

    fn request_grows(&mut self, bytes: u64) {
        if let Some(request) = self.pairing.last_asked() {
            request.bytes = request.bytes.saturating_add(bytes);
        }
    }

    fn look_at_answer(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        if HTTP1.recognise(view.bytes, Side::Client) == Verdict::No {
            return Step::Garbage;
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(view.bytes) {
            Ok(httparse::Status::Complete(length)) => length as u64,
            Ok(httparse::Status::Partial) if !view.cut => return Step::More,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                // An interim answer that is cut tells nothing of the one that follows it.
                let Some(code) = cut_status(view.bytes).filter(|code| *code >= 200) else { return Step::More };
                self.pairing.answer(status(code), view.began_ns, out);
                return Step::Cut;
            }
            Err(_) => return Step::Garbage,
        };
        let code = response.code.unwrap_or_default();
        self.answers.ends = false;
        if (100..200).contains(&code) && code != 101 {
            return Step::Take(length);
        }
        let kind = match self.pairing.next() {
            Some(Asked::Known(request, _)) => request.kind,
            _ => 0,
        };
        let Some(body) = answer_body(response.headers, code, kind) else { return Step::Garbage };
        self.pairing.answer(status(code), view.began_ns, out);
        let opaque = code == 101 || (kind == CONNECT && (200..300).contains(&code));
        match body {
            _ if opaque => {
                self.over = true;
                self.http2 = code == 101 && becomes_http2(response.headers);
                self.answer_ends(length)
            }
            Body::Length(body) => self.answer_ends(length + body),
            Body::Chunked => {
                self.answers.part = Part::ChunkSize;
                self.grow(Side::Client, length);
                Step::Take(length)
            }
            Body::UntilClose => Step::Rest,
        }
    }

    fn answer_ends(&mut self, bytes: u64) -> Step {
        self.answers.ends = true;
        self.grow(Side::Client, bytes);
        Step::Take(bytes)
    }

    fn grow(&mut self, to: Side, bytes: u64) {
        match to {
            Side::Server => self.request_grows(bytes),
            Side::Client => {
                if let Some(open) = &mut self.pairing.open {
                    open.bytes = open.bytes.saturating_add(bytes);
                }
            }
        }
    }

    fn look_at_chunk(&mut self, to: Side, view: View<'_>) -> Step {
        let (line, size) = match httparse::parse_chunk_size(view.bytes) {
            Ok(httparse::Status::Complete((line, size))) if size < LENGTH_MAX => (line as u64, size),
            Ok(httparse::Status::Partial) => return Step::More,
            _ => return Step::Garbage,
        };
        let direction = self.direction(to);
        direction.ends = false;
        let bytes = if size == 0 {
            direction.part = Part::Trailer;
            line
        } else {
            // The chunk and its line end.
            line + size + 2
        };
        self.grow(to, bytes);
        Step::Take(bytes)
    }

    fn look_at_trailer(&mut self, to: Side, view: View<'_>) -> Step {
        let Some(end) = memchr::memchr(b'\n', view.bytes) else { return Step::More };
        let direction = self.direction(to);
        direction.ends = matches!(view.bytes.get(..end), Some(b"\r" | b""));
        if direction.ends {
            direction.part = Part::Head;
        }
        self.grow(to, end as u64 + 1);
        Step::Take(end as u64 + 1)
    }
}

impl Talk for Http1Talk {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        if self.over {
            return Step::Rest;
        }
        match (self.direction(to).part, to) {
            (Part::Head, Side::Server) => self.look_at_request(view, out),
            (Part::Head, Side::Client) => self.look_at_answer(view, out),
            (Part::ChunkSize, _) => self.look_at_chunk(to, view),
            (Part::Trailer, _) => self.look_at_trailer(to, view),
        }
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        let ends = std::mem::take(&mut self.direction(to).ends);
        if ends && to == Side::Client {
            self.pairing.answered(ended_ns, out);
            if self.over && !self.http2 {
                out.doubt(Doubt::Opaque, 1);
            }
        }
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        *self.direction(to) = Direction::default();
        match to {
            Side::Server => self.pairing.requests_lost(loss, out),
            Side::Client => self.pairing.answers_lost(loss, out),
        }
    }

    fn unseen(&mut self, to: Side, bytes: u64, began_ns: u64, ended_ns: u64) {
        match to {
            Side::Server if self.over => {}
            Side::Server => {
                self.request_grows(bytes);
                // What follows a head that was cut is the rest of it, as long as nobody pipelines.
                let alone = self.pairing.waiting() == 1;
                let cut = self.pairing.last_asked().is_some_and(|request| !request.whole);
                let presumed = (alone && cut).then_some(0);
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

    /// The answer to a HEAD that was not seen has a length and no body; one without a length need not end the connection
    /// if it has no body. Both show when the next answer begins.
    fn restarts(&mut self, to: Side, head: &[u8], out: &mut dyn Sink) -> bool {
        let hidden = self.pairing.open.as_ref().is_none_or(|open| open.request().is_none());
        let begins = hidden && to == Side::Client && HTTP1.recognise(head, to) == Verdict::Yes && !self.over;
        if begins {
            *self.direction(to) = Direction::default();
            self.pairing.cut_short(out);
        }
        begins
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

    fn becomes(&self) -> Option<&'static dyn Protocol> {
        (self.http2 && self.pairing.open.is_none()).then_some(&HTTP2)
    }
}
