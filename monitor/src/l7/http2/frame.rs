//! Frames of HTTP/2 (RFC 9113): the length of the rest in three bytes, a kind, flags, the number of a stream.

use super::hpack::{Field, Table};
use crate::l7::{Side, Verdict};

/// What a client begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const HEAD: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const PUSH: u8 = 5;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Of what follows the head.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Frame {
    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// With its head.
    pub(super) fn size(&self) -> u64 {
        self.length as u64 + HEAD as u64
    }
}

/// The frame whose head this is. `None`: it is none.
pub(super) fn frame(head: &[u8; HEAD]) -> Option<Frame> {
    let [a, b, c, kind, flags, stream @ ..] = *head;
    let length = u32::from_be_bytes([0, a, b, c]);
    let stream = u32::from_be_bytes(stream);
    let of_stream = stream != 0 && stream < 1 << 31;
    let (known, lengths, place) = match kind {
        DATA => (PADDED | END_STREAM, true, of_stream),
        HEADERS => (PRIORITY | PADDED | END_HEADERS | END_STREAM, length > 0, of_stream && stream % 2 == 1),
        2 => (0, length == 5, of_stream),
        RESET => (0, length == 4, of_stream),
        4 => (1, length.is_multiple_of(6) && length < 1024 && (flags == 0 || length == 0), stream == 0),
        PUSH => (PADDED | END_HEADERS, length > 4, of_stream),
        6 => (1, length == 8, stream == 0),
        7 => (0, (8..1 << 14).contains(&length), stream == 0),
        8 => (0, length == 4, stream < 1 << 31),
        CONTINUATION => (END_HEADERS, true, of_stream),
        // Alternative services, origins, priorities.
        0xa | 0xc | 0x10 => (0, length < 1 << 14, stream < 1 << 31),
        _ => return None,
    };
    let length = usize::try_from(length).ok()?;
    (flags & !known == 0 && lengths && place).then_some(Frame { length, kind, flags, stream })
}

/// The headers in what a frame carries: without padding, priority, and the number of a promised stream.
/// If it is not all there (`whole`), what is missing is padding or more headers.
pub(super) fn block(frame: Frame, mut payload: &[u8], whole: bool) -> Option<&[u8]> {
    let mut padding = 0;
    if frame.is(PADDED) && frame.kind != CONTINUATION {
        let (length, rest) = payload.split_first()?;
        padding = if whole { usize::from(*length) } else { 0 };
        payload = rest;
    }
    let before = match frame.kind {
        HEADERS if frame.is(PRIORITY) => 5,
        PUSH => 4,
        _ => 0,
    };
    let block = payload.get(before..)?;
    block.get(..block.len().checked_sub(padding)?)
}

/// Whether a block of headers begins a request or an answer; `None` if that does not show.
fn speaks(block: &[u8]) -> Option<Side> {
    let mut found = None;
    Table::default().read(block, true, |field| match field {
        Field::Method(_) | Field::Path(_) => found = found.or(Some(Side::Server)),
        Field::Status(_) | Field::GrpcStatus(_) => found = found.or(Some(Side::Client)),
        Field::Grpc(_) | Field::Other | Field::Unknown => {}
    });
    found
}

/// Whether bytes begin a message of this protocol.
pub(super) fn recognise(head: &[u8], to: Side) -> Verdict {
    let rest = match head.iter().zip(PREFACE).take_while(|(is, wanted)| is == wanted).count() {
        all if all >= 9 && to == Side::Server && all == head.len().min(PREFACE.len()) => return Verdict::Yes,
        part if part == head.len() && part > 0 && to == Side::Server => return Verdict::Perhaps,
        _ => head,
    };
    frames(rest, to)
}

fn frames(mut rest: &[u8], to: Side) -> Verdict {
    let (mut count, mut settings) = (0, false);
    while let Some((head, payload)) = rest.split_first_chunk::<HEAD>() {
        let Some(frame) = frame(head) else { return Verdict::No };
        let (there, whole) = match payload.get(..frame.length) {
            Some(there) => (there, true),
            None => (payload, false),
        };
        if frame.kind == HEADERS && (frame.is(END_HEADERS) || whole) {
            match block(frame, there, whole).and_then(speaks) {
                Some(side) if side == to => return Verdict::Yes,
                Some(_) => return Verdict::No,
                None => {}
            }
        }
        if frame.kind == PUSH && to == Side::Server {
            return Verdict::No;
        }
        if !whole {
            break;
        }
        // What a server begins with.
        settings |= frame.kind == 4 && frame.flags == 0 && frame.length > 0 && count == 0 && is_settings(there);
        count += 1;
        rest = payload.get(frame.length..).unwrap_or_default();
    }
    match count {
        0 => Verdict::No,
        // A client has its preface before them.
        _ if settings && to == Side::Client => Verdict::Yes,
        1..=2 => Verdict::Perhaps,
        _ => Verdict::Yes,
    }
}

fn is_settings(payload: &[u8]) -> bool {
    payload.chunks_exact(6).all(|pair| matches!(pair, [0, 1..=9, ..] | [0xfe | 0xff, ..]))
}
