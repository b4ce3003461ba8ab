//! Documents of BSON (<https://bsonspec.org/spec.html>): a length, then elements of a type, a name that ends with 0, and a
//! value. Gone over without nesting: what an element holds is looked at only by who asks for it.

/// One element, as far as it was seen.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) kind: u8,
    pub(super) key: &'a [u8],
    /// Its bytes; less than all if they were not seen.
    pub(super) value: &'a [u8],
}

pub(super) const DOUBLE: u8 = 0x01;
pub(super) const STRING: u8 = 0x02;
pub(super) const DOCUMENT: u8 = 0x03;
pub(super) const ARRAY: u8 = 0x04;
const BOOL: u8 = 0x08;
const INT: u8 = 0x10;
const LONG: u8 = 0x12;

impl<'a> Element<'a> {
    /// A text without the 0 at its end, if all of it was seen.
    pub(super) fn text(&self) -> Option<&'a str> {
        let (length, rest) = self.value.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let text = rest.get(..length.checked_sub(1)?)?;
        std::str::from_utf8(text).ok().filter(|_| self.kind == STRING)
    }

    /// A number, if it is a whole one.
    pub(super) fn number(&self) -> Option<i64> {
        match self.kind {
            DOUBLE => {
                let value = f64::from_le_bytes(*self.value.first_chunk()?);
                // Bounds that both types have.
                (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64)
            }
            BOOL => self.value.first().map(|byte| i64::from(*byte)),
            INT => Some(i64::from(i32::from_le_bytes(*self.value.first_chunk()?))),
            LONG => Some(i64::from_le_bytes(*self.value.first_chunk()?)),
            _ => None,
        }
    }

    /// What is in it, if it is a document or an array.
    pub(super) fn elements(&self) -> Elements<'a> {
        match self.kind {
            DOCUMENT | ARRAY => elements(self.value),
            _ => Elements { rest: &[] },
        }
    }
}

/// The elements of a document, as far as they were seen.
pub(super) fn elements(document: &[u8]) -> Elements<'_> {
    let length = length(document).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let seen = document.get(..length).unwrap_or(document);
    Elements { rest: seen.get(4..).unwrap_or_default() }
}

/// The length that a document says it has: of its own four bytes, its elements, and a 0.
pub(super) fn length(document: &[u8]) -> Option<u32> {
    document.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// See [`elements`].
pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (kind, rest) = self.rest.split_first().filter(|(kind, _)| **kind != 0)?;
        let end = memchr::memchr(0, rest)?;
        let (key, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
        // What is cut is the last that can be looked at.
        let size = size(*kind, rest).unwrap_or(rest.len()).min(rest.len());
        let (value, after) = rest.split_at_checked(size)?;
        self.rest = after;
        Some(Element { kind: *kind, key, value })
    }
}

/// How long a value is. `None`: there is no such type, or its length was not seen.
fn size(kind: u8, value: &[u8]) -> Option<usize> {
    let counted = |more: usize| usize::try_from(length(value)?).ok()?.checked_add(more);
    Some(match kind {
        DOUBLE | 0x09 | 0x11 | LONG => 8,
        STRING | 0x0d | 0x0e => counted(4)?,
        DOCUMENT | ARRAY | 0x0f => counted(0)?,
        0x05 => counted(5)?,
        0x06 | 0x0a | 0x7f | 0xff => 0,
        0x07 => 12,
        BOOL => 1,
        0x0b => {
            let first = memchr::memchr(0, value)? + 1;
            first + memchr::memchr(0, value.get(first..)?)? + 1
        }
        0x0c => counted(16)?,
        INT => 4,
        0x13 => 16,
        _ => return None,
    })
}
