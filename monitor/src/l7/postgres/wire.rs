//! Messages of PostgreSQL's protocol 3 (<https://www.postgresql.org/docs/current/protocol-message-formats.html>): a byte
//! that says the kind, the length of the rest with itself in four bytes, and the rest.

use super::super::{Code, Outcome, Side, Status, Verdict, Word, stream::View};

/// `StartupMessage` of protocol 3, and requests that come in its place.
pub(super) const PROTOCOL_3: u32 = 3;
pub(super) const CANCEL: u32 = 80_877_102;
pub(super) const SSL: u32 = 80_877_103;
pub(super) const GSS: u32 = 80_877_104;

/// The server refuses longer ones (`MAX_STARTUP_PACKET_LENGTH`).
const STARTUP_MAX: u32 = 10_000;

/// The server's own bound (`PQ_LARGE_MESSAGE_LIMIT`).
const MESSAGE_MAX: u32 = 0x3fff_ffff;

/// So much of a message is looked at.
pub(super) const LOOK_MAX: usize = 2048;

/// A message.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    /// With kind and length.
    pub(super) length: u64,
    /// Its beginning, at most [`LOOK_MAX`] bytes.
    pub(super) body: &'a [u8],
    /// `body` is not all of it.
    pub(super) cut: bool,
}

/// Why there is no message.
pub(super) enum NoMessage {
    Part,
    Garbage,
}

/// Kinds that clients send, and those that servers send.
fn is_kind(kind: u8, to: Side) -> bool {
    match to {
        Side::Server => matches!(
            kind,
            b'B' | b'C' | b'd' | b'c' | b'f' | b'D' | b'E' | b'H' | b'F' | b'P' | b'p' | b'Q' | b'S' | b'X'
        ),
        Side::Client => matches!(
            kind,
            b'R' | b'K'
                | b'2'
                | b'3'
                | b'C'
                | b'd'
                | b'c'
                | b'G'
                | b'H'
                | b'W'
                | b'D'
                | b'I'
                | b'E'
                | b'V'
                | b'v'
                | b'n'
                | b'N'
                | b'A'
                | b't'
                | b'S'
                | b'1'
                | b's'
                | b'Z'
                | b'T'
        ),
    }
}

/// Kinds of which the content is looked at.
fn is_read(kind: u8, to: Side) -> bool {
    match to {
        Side::Server => matches!(kind, b'Q' | b'P' | b'B' | b'E' | b'C'),
        Side::Client => matches!(kind, b'E' | b'R'),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(four.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// The message that begins here. Of a kind that is not read its head is enough.
pub(super) fn message(view: View<'_>, to: Side) -> Result<Message<'_>, NoMessage> {
    let kind = *view.bytes.first().ok_or(NoMessage::Part)?;
    if !is_kind(kind, to) {
        return Err(NoMessage::Garbage);
    }
    let length = number(view.bytes, 1).ok_or(NoMessage::Part)?;
    if !(4..=MESSAGE_MAX).contains(&length) || !fits(kind, length, to) {
        return Err(NoMessage::Garbage);
    }
    let wanted = if is_read(kind, to) { (length as usize - 4).min(LOOK_MAX) } else { 0 };
    let rest = view.bytes.get(5..).unwrap_or_default();
    if rest.len() < wanted && !view.cut {
        return Err(NoMessage::Part);
    }
    let body = rest.get(..wanted).unwrap_or(rest);
    Ok(Message { kind, length: u64::from(length) + 1, body, cut: body.len() < length as usize - 4 })
}

/// Messages whose length is known from their kind.
fn fits(kind: u8, length: u32, to: Side) -> bool {
    match (to, kind) {
        (Side::Server, b'S' | b'H' | b'X' | b'c') | (Side::Client, b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'c') => {
            length == 4
        }
        (Side::Client, b'Z') => length == 5,
        (Side::Client, b'R') => length >= 8,
        (Side::Server, b'Q') | (Side::Client, b'E' | b'N' | b'C') => length >= 5,
        _ => true,
    }
}

/// The length and code of a startup packet: it has no kind, and begins with its length.
pub(super) fn startup(bytes: &[u8]) -> Result<(u32, u32), NoMessage> {
    let length = number(bytes, 0).ok_or(NoMessage::Part)?;
    let code = number(bytes, 4).ok_or(NoMessage::Part)?;
    let known = matches!(code, CANCEL | SSL | GSS) || code >> 16 == PROTOCOL_3;
    if (8..=STARTUP_MAX).contains(&length) && known { Ok((length, code)) } else { Err(NoMessage::Garbage) }
}

/// A text that ends with a zero, and what follows it.
pub(super) fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(0, bytes) {
        Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}

/// Whether bytes begin a message of this protocol.
pub(super) fn recognise(head: &[u8], to: Side) -> Verdict {
    if to == Side::Server && head.first() == Some(&0) {
        return match startup(head) {
            // Requests of Kafka for its topics begin with the same numbers; here the names of parameters follow.
            Ok((_, code)) if code >> 16 == PROTOCOL_3 => {
                let (name, _) = text(head.get(8..).unwrap_or_default());
                let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
                match head.len() {
                    ..=8 => Verdict::Perhaps,
                    _ if is_name && !name.is_empty() => Verdict::Yes,
                    _ => Verdict::No,
                }
            }
            Ok(_) => Verdict::Yes,
            Err(NoMessage::Part) if head.iter().take(2).all(|byte| *byte == 0) => Verdict::Perhaps,
            Err(_) => Verdict::No,
        };
    }
    let mut rest = head;
    let mut whole = 0;
    // As many messages as there are: each has to be one.
    while !rest.is_empty() && whole < 8 {
        let view = View { bytes: rest, cut: true, began_ns: 0 };
        let message = match message(view, to) {
            Ok(message) => message,
            Err(NoMessage::Part) if whole == 0 => return Verdict::Perhaps,
            Err(NoMessage::Part) => break,
            Err(NoMessage::Garbage) => return Verdict::No,
        };
        if message.kind == b'Q' && to == Side::Server && !message.cut {
            let all =
                matches!(message.body.iter().position(|byte| *byte == 0), Some(at) if at + 1 == message.body.len());
            return if all { Verdict::Yes } else { Verdict::No };
        }
        let Some(after) = usize::try_from(message.length).ok().and_then(|length| rest.get(length..)) else { break };
        rest = after;
        whole += 1;
    }
    match whole {
        0 => Verdict::Perhaps,
        // The client is told that the server is ready: what nearly every answer ends with.
        _ if to == Side::Client => Verdict::Yes,
        1 => Verdict::Perhaps,
        _ => Verdict::Yes,
    }
}

/// What `ErrorResponse` says: its SQLSTATE is the field `C`.
pub(super) fn error(mut fields: &[u8]) -> Status {
    while let Some((kind, rest)) = fields.split_first().filter(|(kind, _)| **kind != 0) {
        let (value, after) = text(rest);
        if *kind == b'C' {
            return state(value);
        }
        fields = after;
    }
    Status { outcome: Outcome::ServerError, code: Code::None }
}

/// An SQLSTATE (PostgreSQL's appendix A): the first two characters are its class.
fn state(code: &[u8]) -> Status {
    let outcome = match code.get(..2) {
        // Connection, resources, operator's intervention, system, configuration, foreign data, internal; rollback of a
        // transaction that did nothing wrong.
        Some(b"08" | b"40" | b"53" | b"57" | b"58" | b"F0" | b"HV" | b"XX") => Outcome::ServerError,
        _ => Outcome::ClientError,
    };
    let code = Word::new(code).filter(|_| code.len() == 5).map_or(Code::None, Code::Word);
    Status { outcome, code }
}
