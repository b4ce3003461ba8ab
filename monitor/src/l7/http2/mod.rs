//! HTTP/2 (RFC 9113) and gRPC over it, without TLS: known before, or agreed on by `Upgrade: h2c`.
//!
//! An exchange is a stream, from its first header to the answer's last byte. Data is gone over by its frames' lengths. A
//! request whose path is in a table that began before the capture has the path [`UNKNOWN_PATH`]. Exchanges have the protocol
//! `http`, as those of HTTP/1: whoever asks how fast a route is need not know the version. Calls of gRPC have [`GRPC`], and
//! as code the number of `grpc-status`, which comes after the answer's data.
//!
//! Streams run beside each other, so that a side that begins to speak need not begin with a frame. Where the place was lost,
//! what is no frame is gone over without a word until there is one.

mod frame;
mod hpack;
mod streams;

use super::{
    Conversation, Doubt, Protocol, Seen, Side, Sink, Verdict,
    duplex::Duplex,
    stream::{Loss, Step, Talk, VIEW_MAX, View},
};
use frame::{Frame, HEAD, PREFACE};
use hpack::{Field, Table};
use streams::Streams;

/// HTTP/2.
pub static HTTP2: Http2 = Http2;

/// HTTP/2.
pub struct Http2;

/// The protocol of exchanges that are calls of gRPC.
pub const GRPC: &str = "grpc";

/// The target of a request whose path was said before the capture began.
pub const UNKNOWN_PATH: &str = "_unknown";

/// The longest block of headers that is read.
const BLOCK_MAX: usize = VIEW_MAX;

impl Protocol for Http2 {
    fn name(&self) -> &'static str {
        "http2"
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        frame::recognise(head, to)
    }

    fn start(&self) -> Box<dyn Conversation> {
        Box::new(Duplex::new(Http2Talk::default()))
    }
}

/// Headers as far as they matter.
#[derive(Default)]
struct Headers {
    method: Option<&'static str>,
    path: Option<Box<str>>,
    status: Option<u16>,
    grpc: bool,
    grpc_status: Option<u8>,
    /// There are some that were said before the capture began.
    unknown: bool,
    /// A status is there, whatever it is.
    answers: bool,
    /// A method or a path is there.
    asks: bool,
}

impl Headers {
    fn take(&mut self, field: Field) {
        match field {
            Field::Method(method) => {
                self.asks = true;
                self.method = method;
            }
            Field::Path(path) => {
                self.asks = true;
                self.path = path;
            }
            Field::Status(status) => {
                self.answers = true;
                self.status = status;
            }
            Field::Grpc(is) => self.grpc |= is == Some(true),
            Field::GrpcStatus(status) => self.grpc_status = status,
            Field::Other => {}
            Field::Unknown => self.unknown = true,
        }
    }
}

/// A block of headers that goes on in further frames.
struct Block {
    head: Frame,
    began_ns: u64,
    bytes: Vec<u8>,
    /// It was read already, as far as it will be.
    read: bool,
}

/// What is known of one direction.
#[derive(Default)]
struct Direction {
    table: Table,
    block: Option<Block>,
    /// The stream that ends with what passes.
    ends: Option<u32>,
    /// The place was lost: the table is right if no headers were missed, which shows by the number of the next stream
    /// with headers. It is 0 if that cannot be.
    table_if: Option<u32>,
    /// The place was lost, and no frame was found since.
    searching: bool,
    /// Something of this turn was not seen.
    lost: bool,
}

#[derive(Default)]
struct Http2Talk {
    to_server: Direction,
    to_client: Direction,
    streams: Streams,
    /// The last stream that the client has begun.
    last_begun: u32,
}

impl Http2Talk {
    fn direction(&mut self, to: Side) -> &mut Direction {
        match to {
            Side::Server => &mut self.to_server,
            Side::Client => &mut self.to_client,
        }
    }

    /// What is here is no frame.
    fn no_frame(&mut self, to: Side) -> Step {
        if self.direction(to).searching { Step::Cut } else { Step::Garbage }
    }

    fn read_frame(&mut self, to: Side, frame: Frame, view: View<'_>, out: &mut dyn Sink) -> Step {
        let there = view.bytes.get(HEAD..).unwrap_or_default();
        let direction = self.direction(to);
        let goes_on = direction.block.as_ref().map(|block| block.head.stream);
        if goes_on.is_some_and(|stream| frame.kind != frame::CONTINUATION || frame.stream != stream) {
            return self.no_frame(to);
        }
        let step = match frame.kind {
            frame::HEADERS | frame::PUSH | frame::CONTINUATION => {
                let wanted = frame.length.min(VIEW_MAX - HEAD);
                if there.len() < wanted && !view.cut {
                    return Step::More;
                }
                let whole = there.len() >= frame.length;
                let payload = there.get(..frame.length).unwrap_or(there);
                let Some(part) = frame::block(frame, payload, whole) else { return self.no_frame(to) };
                self.headers(to, frame, part, whole, view.began_ns, out)
            }
            frame::RESET => match there.get(..4) {
                Some(code) => {
                    let code = code.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                    self.streams.reset(to, frame.stream, code, view.began_ns, out);
                    true
                }
                None => return Step::More,
            },
            _ => true,
        };
        if !step {
            return self.no_frame(to);
        }
        self.streams.grow(to, frame.stream, frame.size());
        let direction = self.direction(to);
        direction.searching = false;
        if frame.kind == frame::DATA && frame.is(frame::END_STREAM) {
            direction.ends = Some(frame.stream);
        }
        Step::Take(frame.size())
    }

    /// A part of a block of headers, or all of it. Whether it is one.
    fn headers(&mut self, to: Side, frame: Frame, part: &[u8], whole: bool, began_ns: u64, out: &mut dyn Sink) -> bool {
        self.check_table(to, frame);
        let direction = self.direction(to);
        let fresh = || Block { head: frame, began_ns, bytes: Vec::new(), read: false };
        let known = direction.block.take();
        if frame.kind == frame::CONTINUATION && known.is_none() {
            // Of a block whose beginning was not seen.
            direction.table.forget();
            return true;
        }
        let mut block = known.unwrap_or_else(fresh);
        let room = BLOCK_MAX - block.bytes.len().min(BLOCK_MAX);
        let fits = part.len() <= room;
        let part = part.get(..room).unwrap_or(part);
        block.bytes.reserve_exact(part.len());
        block.bytes.extend_from_slice(part);
        let ends = frame.is(frame::END_HEADERS);
        let mut is = true;
        if !block.read && (ends || !whole || !fits) {
            block.read = true;
            let cut = !(ends && whole && fits);
            let mut headers = Headers::default();
            is = direction.table.read(&block.bytes, cut, |field| headers.take(field));
            block.bytes = Vec::new();
            is = is && self.understand(to, &block, headers, out);
        }
        let direction = self.direction(to);
        if !ends {
            direction.block = Some(block);
        } else if block.head.is(frame::END_STREAM) && block.head.kind == frame::HEADERS {
            direction.ends = Some(block.head.stream);
        }
        is
    }

    /// Forgets the table after a loss, unless these headers are those that had to come next.
    fn check_table(&mut self, to: Side, frame: Frame) {
        let alone = to == Side::Server || self.streams.only() == Some(frame.stream);
        let direction = self.direction(to);
        if let Some(stream) = direction.table_if.take()
            && !(alone && frame.kind == frame::HEADERS && stream == frame.stream)
        {
            direction.table.forget();
        }
        if to == Side::Server && frame.kind == frame::HEADERS {
            self.last_begun = frame.stream;
        }
    }

    /// The headers of a request or an answer. Whether they are.
    fn understand(&mut self, to: Side, block: &Block, headers: Headers, out: &mut dyn Sink) -> bool {
        match (block.head.kind, to) {
            (frame::HEADERS, Side::Server) if headers.answers => false,
            (frame::HEADERS, Side::Client) if headers.asks => false,
            (frame::HEADERS, Side::Server) => {
                self.streams.asked(block.head.stream, headers, block.began_ns, out);
                true
            }
            (frame::HEADERS, Side::Client) => {
                self.streams.answered(block.head.stream, &headers, block.began_ns, out);
                true
            }
            // A push: its answer is nobody's.
            (_, side) => side == Side::Client,
        }
    }
}

impl Talk for Http2Talk {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        if to == Side::Server {
            if view.bytes.starts_with(PREFACE) {
                self.to_server.searching = false;
                return Step::Take(PREFACE.len() as u64);
            }
            if PREFACE.starts_with(view.bytes) {
                return Step::More;
            }
        }
        let Some(head) = view.bytes.first_chunk::<HEAD>() else { return Step::More };
        match frame::frame(head) {
            Some(frame) => self.read_frame(to, frame, view, out),
            None => self.no_frame(to),
        }
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        let ends = self.direction(to).ends.take();
        if let Some(stream) = ends.filter(|_| to == Side::Client) {
            self.streams.ended(stream, ended_ns, out);
        }
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        // Clients begin streams one after the other; an answer has headers before and after its data.
        let next = match to {
            Side::Server => Some(self.last_begun + 2),
            Side::Client => self.streams.only(),
        };
        let direction = self.direction(to);
        let was_right = direction.block.is_none() && loss != Loss::Garbage && direction.table_if.is_none();
        let table_if = if was_right { next } else { direction.table_if.filter(|_| loss != Loss::Garbage) };
        let table = std::mem::take(&mut direction.table);
        // What looked like none after a loss is still a part of it.
        let searching = direction.searching || loss != Loss::Garbage;
        *direction = Direction { searching, lost: true, table, table_if: table_if.or(Some(0)), ..Direction::default() };
        if to == Side::Client {
            self.streams.answers_lost();
        }
        match loss {
            Loss::Truncated => {}
            Loss::Gap => out.doubt(Doubt::Gap, 1),
            Loss::Garbage => out.doubt(Doubt::Garbage, 1),
        }
    }

    fn unseen(&mut self, to: Side, _bytes: u64, began_ns: u64, ended_ns: u64) {
        match to {
            Side::Server => self.streams.hidden_ns = Some(began_ns),
            Side::Client => self.streams.answers_unseen(ended_ns),
        }
    }

    fn begins(&mut self, to: Side, fresh: bool, out: &mut dyn Sink) {
        if to != Side::Server || !fresh {
            return;
        }
        let requests = std::mem::take(&mut self.to_server.lost);
        let answers = std::mem::take(&mut self.to_client.lost);
        if requests && answers {
            out.doubt(Doubt::Truncated, 1);
        }
    }

    fn settle(&mut self, now_ns: u64, ended: bool, out: &mut dyn Sink) {
        if ended {
            self.streams.close(now_ns, out);
        } else {
            self.streams.settle(now_ns, out);
        }
    }

    fn finished(&self) -> bool {
        false
    }

    fn bytes_held(&self) -> usize {
        let direction = |direction: &Direction| {
            direction.table.bytes_held() + direction.block.as_ref().map_or(0, |block| block.bytes.capacity())
        };
        direction(&self.to_server) + direction(&self.to_client) + self.streams.bytes_held()
    }
}
