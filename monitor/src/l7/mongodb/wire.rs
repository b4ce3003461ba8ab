//! Messages of MongoDB's wire protocol (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>): length,
//! number, number of what it answers, kind. Numbers begin with their smallest byte.

use super::bson::{self, Element};
use crate::l7::{Side, Verdict};

/// Bytes of a message's head.
pub(super) const HEAD: usize = 16;

/// The longest message (`maxMessageSizeBytes`), with room for what servers allow for themselves.
const MESSAGE_MAX: u32 = 48_000_000 + (16 << 10);

/// Kinds of messages.
pub(super) const REPLY: u32 = 1;
pub(super) const UPDATE: u32 = 2001;
pub(super) const INSERT: u32 = 2002;
pub(super) const QUERY: u32 = 2004;
pub(super) const GET_MORE: u32 = 2005;
pub(super) const DELETE: u32 = 2006;
pub(super) const KILL_CURSORS: u32 = 2007;
pub(super) const COMPRESSED: u32 = 2012;
pub(super) const MSG: u32 = 2013;

/// Flags of `OP_MSG`: a checksum ends it; more follows that is not asked for, or no answer is wanted; answers may come in
/// a stream. Others below the sixteenth must not be ignored, and there are none.
const CHECKSUM: u32 = 1;
pub(super) const MORE_TO_COME: u32 = 1 << 1;
const REQUIRED: u32 = 0xffff;

/// What a message begins with.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// With the head.
    pub(super) length: u32,
    pub(super) number: u32,
    pub(super) answers: u32,
    pub(super) kind: u32,
}

/// The head that stands here, if it can be one.
pub(super) fn head(bytes: &[u8; HEAD]) -> Option<Head> {
    let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    let head = Head { length: words.next()?, number: words.next()?, answers: words.next()?, kind: words.next()? };
    let least = match head.kind {
        // Flags, cursor, place, number of documents.
        REPLY => 36,
        // Flags, a kind of section, an empty document.
        MSG => 26,
        // What kind it was, its length, how it was compressed.
        COMPRESSED => 25,
        QUERY | GET_MORE | KILL_CURSORS | UPDATE | INSERT | DELETE => 22,
        _ => return None,
    };
    (least..=MESSAGE_MAX).contains(&head.length).then_some(head)
}

/// What follows the head of `OP_MSG`, as far as it was seen.
#[derive(Clone, Copy)]
pub(super) struct Msg<'a> {
    pub(super) flags: u32,
    /// The document that says what is wanted, or how it went.
    pub(super) body: Option<&'a [u8]>,
    /// What the first list of documents beside it is called.
    pub(super) list: Option<&'a [u8]>,
}

/// Reads what follows the head. `length` is what the message says of it. `None`: it is no `OP_MSG`.
pub(super) fn msg(bytes: &[u8], length: u32) -> Option<Msg<'_>> {
    let mut msg = Msg { flags: 0, body: None, list: None };
    let Some((flags, mut rest)) = bytes.split_first_chunk::<4>() else { return Some(msg) };
    msg.flags = u32::from_le_bytes(*flags);
    if msg.flags & REQUIRED & !(CHECKSUM | MORE_TO_COME) != 0 {
        return None;
    }
    let checksum = if msg.flags & CHECKSUM == 0 { 0 } else { 4 };
    let mut left = length.checked_sub(4 + checksum)?;
    while left > 0 {
        let Some((kind, section)) = rest.split_first() else { break };
        let Some(size) = bson::length(section) else { break };
        left = left.checked_sub(1)?.checked_sub(size)?;
        match kind {
            0 if size >= 5 && msg.body.is_none() => msg.body = Some(section),
            1 if size >= 5 => {
                let name = section.get(4..).unwrap_or_default();
                msg.list = msg.list.or_else(|| memchr::memchr(0, name).and_then(|end| name.get(..end)));
            }
            _ => return None,
        }
        rest = usize::try_from(size).ok().and_then(|size| section.get(size..)).unwrap_or_default();
    }
    Some(msg)
}

/// The name that `OP_QUERY` and its like begin with after four bytes, and what follows it.
pub(super) fn named(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.get(4..)?;
    let end = memchr::memchr(0, rest)?;
    Some((rest.get(..end)?, rest.get(end + 1..)?))
}

/// Whether bytes begin a message of this protocol.
pub(super) fn recognise(bytes: &[u8], to: Side) -> Verdict {
    let Some((first, rest)) = bytes.split_first_chunk::<HEAD>() else { return Verdict::No };
    let Some(head) = head(first) else { return Verdict::No };
    let asks = matches!(head.kind, MSG | QUERY | GET_MORE | COMPRESSED) && head.answers == 0;
    let answers = matches!(head.kind, MSG | REPLY | COMPRESSED) && head.answers != 0;
    let possible = if to == Side::Server { asks } else { answers };
    let left = head.length.saturating_sub(HEAD as u32);
    let sure = match head.kind {
        MSG => match msg(rest, left) {
            None => return Verdict::No,
            Some(Msg { body: Some(body), .. }) => bson::elements(body).next().is_some_and(|it| is_name(&it)),
            Some(Msg { list, .. }) => list.is_some(),
        },
        COMPRESSED => match rest.first_chunk() {
            Some(kind) if !matches!(u32::from_le_bytes(*kind), MSG | QUERY | REPLY) => return Verdict::No,
            // None, snappy, zlib, zstd.
            _ => rest.get(8).is_some_and(|by| *by < 4),
        },
        QUERY | GET_MORE => named(rest).is_some_and(|(name, _)| {
            std::str::from_utf8(name).is_ok_and(|name| name.contains('.') && !name.contains(char::is_control))
        }),
        // Flags of which there are four, and not more documents than fit.
        _ => rest.first_chunk::<20>().is_some_and(|more| {
            let [_, _, _, _, .., a, b, c, d] = more;
            more.first_chunk().is_some_and(|flags| u32::from_le_bytes(*flags) < 16)
                && u32::from_le_bytes([*a, *b, *c, *d]) <= left / 5
        }),
    };
    match (possible, sure) {
        (false, _) => Verdict::No,
        (true, false) => Verdict::Perhaps,
        (true, true) => Verdict::Yes,
    }
}

/// Whether it can be what a command, or the answer to one, begins with.
fn is_name(element: &Element<'_>) -> bool {
    !element.key.is_empty()
        && element.key.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'-'))
}
