//! Streams that are open: who asked what, and how far its answer is.

use std::collections::VecDeque;

use super::{GRPC, Headers, Seen, UNKNOWN_PATH};
use crate::l7::{Code, Doubt, Exchange, Outcome, Protocol, SETTLE_NS, Side, Sink, Status, UNSEEN, Word, http1::HTTP1};

/// Streams that are remembered at once: servers usually allow 100 or 128. More are not told.
const STREAMS_MAX: usize = 128;

/// A request whose answer may have been in what was not seen is given up.
const WAITING_NS: u64 = 15_000_000_000;

struct Stream {
    id: u32,
    operation: &'static str,
    path: Box<str>,
    grpc: bool,
    /// The request itself was not seen.
    hidden: bool,
    began_ns: u64,
    request_bytes: u64,
    response_bytes: u64,
    answer: Option<Answer>,
    /// Something of the server was not seen since it was heard of this stream, up to this time. 0: it is not yet known.
    lost_ns: Option<u64>,
}

struct Answer {
    status: Option<u16>,
    grpc_status: Option<u8>,
    first_byte_ns: u64,
}

#[derive(Default)]
pub(super) struct Streams {
    open: VecDeque<Stream>,
    /// When requests passed that could not be read.
    pub(super) hidden_ns: Option<u64>,
}

impl Streams {
    pub(super) fn bytes_held(&self) -> usize {
        let paths: usize = self.open.iter().map(|stream| stream.path.len()).sum();
        self.open.capacity() * size_of::<Stream>() + paths
    }

    fn find(&mut self, id: u32) -> Option<&mut Stream> {
        self.open.iter_mut().find(|stream| stream.id == id)
    }

    fn remove(&mut self, id: u32) -> Option<Stream> {
        let at = self.open.iter().position(|stream| stream.id == id)?;
        let stream = self.open.remove(at);
        if self.open.is_empty() && self.open.capacity() > 16 {
            self.open = VecDeque::new();
        }
        stream
    }

    fn add(&mut self, stream: Stream, out: &mut dyn Sink) {
        if self.open.len() >= STREAMS_MAX {
            // The oldest of those that may be over.
            let Some(at) = self.open.iter().position(|stream| stream.lost_ns.is_some()) else {
                out.doubt(Doubt::OverLimit, 1);
                return;
            };
            match self.open.remove(at) {
                Some(over) if over.answer.is_some() => tell(&over, over.lost_ns.unwrap_or(0), Seen::HeadOnly, out),
                _ => out.doubt(Doubt::UnansweredRequest, 1),
            }
        }
        self.open.push_back(stream);
    }

    pub(super) fn grow(&mut self, to: Side, id: u32, bytes: u64) {
        let Some(stream) = self.find(id) else { return };
        match to {
            Side::Server => stream.request_bytes = stream.request_bytes.saturating_add(bytes),
            Side::Client => {
                stream.response_bytes = stream.response_bytes.saturating_add(bytes);
                stream.lost_ns = None;
            }
        }
    }

    /// The headers of a request, or those that come after its data.
    pub(super) fn asked(&mut self, id: u32, headers: Headers, began_ns: u64, out: &mut dyn Sink) {
        if self.find(id).is_some() {
            return;
        }
        let unknown = || if headers.unknown { UNKNOWN_PATH.into() } else { "".into() };
        let stream = Stream {
            id,
            operation: headers.method.unwrap_or(UNSEEN),
            path: headers.path.unwrap_or_else(unknown),
            grpc: headers.grpc,
            hidden: false,
            began_ns,
            request_bytes: 0,
            response_bytes: 0,
            answer: None,
            lost_ns: None,
        };
        self.add(stream, out);
    }

    /// The headers of an answer, or those that come after its data.
    pub(super) fn answered(&mut self, id: u32, headers: &Headers, began_ns: u64, out: &mut dyn Sink) {
        // Interim answers are none, and those to a push are nobody's.
        if headers.status.is_some_and(|code| code < 200) || id.is_multiple_of(2) {
            return;
        }
        if self.find(id).is_none() {
            if !headers.answers {
                return;
            }
            let Some(hidden_ns) = self.hidden_ns else {
                out.doubt(Doubt::UnmatchedResponse, 1);
                return;
            };
            let stream = Stream {
                id,
                operation: UNSEEN,
                path: "".into(),
                grpc: false,
                hidden: true,
                began_ns: hidden_ns,
                request_bytes: 0,
                response_bytes: 0,
                answer: None,
                lost_ns: None,
            };
            self.add(stream, out);
        }
        let Some(stream) = self.find(id) else { return };
        stream.grpc |= headers.grpc || headers.grpc_status.is_some();
        let answer =
            stream.answer.get_or_insert(Answer { status: headers.status, grpc_status: None, first_byte_ns: began_ns });
        answer.grpc_status = answer.grpc_status.or(headers.grpc_status);
    }

    /// The server has said all that there is to say.
    pub(super) fn ended(&mut self, id: u32, ended_ns: u64, out: &mut dyn Sink) {
        if self.find(id).is_none_or(|stream| stream.answer.is_none()) {
            return;
        }
        if let Some(stream) = self.remove(id) {
            let seen = if stream.hidden { Seen::ResponseOnly } else { Seen::Whole };
            tell(&stream, ended_ns, seen, out);
        }
    }

    /// One side wants no more of it.
    pub(super) fn reset(&mut self, to: Side, id: u32, code: u32, now_ns: u64, out: &mut dyn Sink) {
        let Some(stream) = self.remove(id) else { return };
        match (&stream.answer, to) {
            (_, Side::Client) => {
                let first_byte_ns = stream.answer.as_ref().map_or(now_ns, |answer| answer.first_byte_ns);
                let exchange = Exchange { status: refused(code), ..exchange(&stream, first_byte_ns, now_ns) };
                out.exchange(&exchange);
            }
            (Some(_), Side::Server) => tell(&stream, now_ns, Seen::HeadOnly, out),
            (None, Side::Server) => out.doubt(Doubt::UnansweredRequest, 1),
        }
    }

    /// Something of the server was not seen.
    pub(super) fn answers_lost(&mut self) {
        self.open.iter_mut().for_each(|stream| stream.lost_ns = stream.lost_ns.or(Some(0)));
    }

    /// What was not seen of the server passed up to this time.
    pub(super) fn answers_unseen(&mut self, ended_ns: u64) {
        for lost_ns in
            self.open.iter_mut().filter_map(|stream| stream.lost_ns.as_mut()).filter(|lost_ns| **lost_ns == 0)
        {
            *lost_ns = ended_ns;
        }
    }

    /// The only stream that is open.
    pub(super) fn only(&self) -> Option<u32> {
        match self.open.len() {
            1 => self.open.front().map(|stream| stream.id),
            _ => None,
        }
    }

    /// Gives up what is probably over: nothing was heard of it since its end may have passed unseen.
    pub(super) fn settle(&mut self, now_ns: u64, out: &mut dyn Sink) {
        let mut unanswered = 0;
        self.open.retain(|stream| {
            let Some(lost_ns) = stream.lost_ns else { return true };
            let silent = now_ns.saturating_sub(lost_ns);
            if stream.answer.is_some() && silent >= SETTLE_NS {
                tell(stream, lost_ns, Seen::HeadOnly, out);
                return false;
            }
            let over = stream.answer.is_none() && silent >= WAITING_NS;
            unanswered += u64::from(over);
            !over
        });
        if unanswered > 0 {
            out.doubt(Doubt::UnansweredRequest, unanswered);
        }
    }

    pub(super) fn close(&mut self, now_ns: u64, out: &mut dyn Sink) {
        let (answered, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|stream| stream.answer.is_some());
        for stream in &answered {
            tell(stream, stream.lost_ns.unwrap_or(now_ns), Seen::HeadOnly, out);
        }
        if !waiting.is_empty() {
            out.doubt(Doubt::UnansweredRequest, waiting.len() as u64);
        }
    }
}

fn tell(stream: &Stream, ended_ns: u64, seen: Seen, out: &mut dyn Sink) {
    let first_byte_ns = stream.answer.as_ref().map_or(ended_ns, |answer| answer.first_byte_ns);
    out.exchange(&Exchange { seen, ..exchange(stream, first_byte_ns, ended_ns) });
}

fn exchange(stream: &Stream, first_byte_ns: u64, ended_ns: u64) -> Exchange<'_> {
    Exchange {
        protocol: if stream.grpc { GRPC } else { HTTP1.name() },
        operation: stream.operation,
        target: &stream.path,
        statement: "",
        status: status(stream),
        began_ns: stream.began_ns,
        first_byte_ns,
        ended_ns: ended_ns.max(first_byte_ns),
        request_bytes: stream.request_bytes,
        response_bytes: stream.response_bytes,
        seen: Seen::Whole,
    }
}

fn status(stream: &Stream) -> Status {
    let Some(answer) = &stream.answer else { return Status::UNSEEN };
    match (stream.grpc, answer.grpc_status, answer.status) {
        (true, Some(code), _) => grpc(code),
        (false, _, Some(code)) => crate::l7::http1::status(code),
        (true, None, Some(code)) if code != 200 => crate::l7::http1::status(code),
        _ => Status::UNSEEN,
    }
}

/// What OpenTelemetry's conventions take as the fault of a server: unknown, deadline exceeded, not implemented, internal,
/// unavailable, data lost.
fn grpc(code: u8) -> Status {
    let outcome = match code {
        0 => Outcome::Ok,
        2 | 4 | 12..=15 => Outcome::ServerError,
        _ => Outcome::ClientError,
    };
    Status { outcome, code: Code::Number(u32::from(code)) }
}

/// Why a server gives up a stream (RFC 9113, 7).
fn refused(code: u32) -> Status {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION",
        "CONNECT_ERROR",
        "ENHANCE_CALM",
        "INADEQUATE",
        "HTTP_1_1",
    ];
    let name = usize::try_from(code).ok().and_then(|at| NAMES.get(at));
    let code = name.and_then(|name| Word::new(name.as_bytes())).map_or(Code::None, Code::Word);
    Status { outcome: Outcome::ServerError, code }
}
