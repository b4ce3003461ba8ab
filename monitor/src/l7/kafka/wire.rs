//! Messages of Kafka's protocol (<https://kafka.apache.org/protocol>): a length, then a head, then what its kind and version
//! say. Numbers begin with their largest byte.

use super::apis::{self, Api};
use crate::l7::{Side, Verdict};

/// The length.
pub(super) const LENGTH: usize = 4;

/// The longest request (`socket.request.max.bytes` has this by default), and a bound that no answer reaches.
pub(super) const REQUEST_MAX: u32 = 100 << 20;
pub(super) const ANSWER_MAX: u32 = 1 << 30;

/// No kind of request has so many versions.
const VERSION_MAX: i16 = 24;

/// Bytes that are read one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
    /// Texts and arrays are written in the compact way.
    pub(super) compact: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn number<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (number, rest) = self.rest.split_first_chunk::<SIZE>()?;
        self.rest = rest;
        Some(*number)
    }

    pub(super) fn short(&mut self) -> Option<i16> {
        self.number().map(i16::from_be_bytes)
    }

    pub(super) fn int(&mut self) -> Option<i32> {
        self.number().map(i32::from_be_bytes)
    }

    /// A number in groups of seven bits, the smallest first.
    fn varint(&mut self) -> Option<u32> {
        let mut number = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.number::<1>()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// How many elements an array has. None if it is null.
    pub(super) fn count(&mut self) -> Option<u32> {
        if self.compact {
            Some(self.varint()?.saturating_sub(1))
        } else {
            Some(u32::try_from(self.int()?).unwrap_or(0))
        }
    }

    /// A text, or nothing where it is null.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length =
            if self.compact { self.varint()?.saturating_sub(1) } else { u32::try_from(self.short()?).unwrap_or(0) };
        self.take(usize::try_from(length).ok()?)
    }

    /// Goes over fields that were added without a new version.
    pub(super) fn tags(&mut self) -> Option<()> {
        if !self.compact {
            return Some(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.take(usize::try_from(size).ok()?)?;
        }
        Some(())
    }
}

/// What a request begins with.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    /// Without itself.
    pub(super) length: u32,
    pub(super) key: u16,
    pub(super) version: i16,
    pub(super) number: u32,
    pub(super) api: Api,
    /// What the client calls itself, if that was seen.
    client: Option<&'a [u8]>,
    /// What follows the head, if it was seen.
    pub(super) body: Option<Reader<'a>>,
}

/// The request that begins here. `None`: it is none; with `Some(None)` more has to be seen to say so.
pub(super) fn request(bytes: &[u8]) -> Option<Option<Head<'_>>> {
    let Some((first, rest)) = bytes.split_first_chunk::<14>() else { return Some(None) };
    let [l0, l1, l2, l3, k0, k1, v0, v1, n0, n1, n2, n3, c0, c1] = *first;
    let (length, key) = (u32::from_be_bytes([l0, l1, l2, l3]), u16::from_be_bytes([k0, k1]));
    let (version, client) = (i16::from_be_bytes([v0, v1]), i16::from_be_bytes([c0, c1]));
    let api = apis::find(key)?;
    let named = u32::try_from(client).unwrap_or(0);
    if !(10..=REQUEST_MAX).contains(&length)
        || !(0..=VERSION_MAX).contains(&version)
        || client < -1
        || named > length - 10
    {
        return None;
    }
    let mut reader = Reader { rest, compact: api.is_compact(version) };
    let client = reader.take(named as usize);
    let is_text =
        client.is_none_or(|client| std::str::from_utf8(client).is_ok_and(|it| !it.contains(char::is_control)));
    if !is_text {
        return None;
    }
    let body = client.and_then(|_| reader.tags()).map(|()| reader);
    Some(Some(Head { length, key, version, number: u32::from_be_bytes([n0, n1, n2, n3]), api, client, body }))
}

/// Whether bytes begin a message of this protocol. Answers have nothing of their own: a length and a number.
pub(super) fn recognise(bytes: &[u8], to: Side) -> Verdict {
    if to == Side::Client {
        return Verdict::No;
    }
    let Some(Some(head)) = request(bytes) else { return Verdict::No };
    match head.client {
        Some(client) if client.iter().any(|byte| !byte.is_ascii_graphic()) => Verdict::No,
        // An answer has a short text of nothing at this place as often as not. These are what clients ask first.
        Some([]) if !matches!(head.key, 3 | 18) => Verdict::No,
        Some([]) => Verdict::Perhaps,
        Some(_) => Verdict::Yes,
        None => Verdict::No,
    }
}
