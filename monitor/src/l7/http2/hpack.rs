//! Compressed headers (RFC 7541), as somebody reads them who may have come late and does not see everything.
//!
//! The crates for HPACK stop at an index that they do not know, and at a block whose end is missing. Here the rest of a
//! block is read all the same, and the table is right again by itself: indexes count from the newest entry, so that those
//! that were seen since the last loss are known, whatever came before. Of the table's entries only those are kept whose
//! names matter, so that it holds no cookies and no tokens. The Huffman code is `httlib-huffman`'s.

use std::{borrow::Cow, collections::VecDeque};

use httlib_huffman::{DecoderSpeed, decode};

use crate::l7::TARGET_MAX;

/// Entries that are remembered. A table of the usual 4096 bytes has no more than 128.
const ENTRIES_MAX: usize = 256;

/// Bytes of paths that the table may hold.
const PATHS_MAX: usize = 4 << 10;

/// The length of the static table (RFC 7541, appendix A).
const STATIC: u64 = 61;

/// A header that matters. Its value is `None` if it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Method(Option<&'static str>),
    Path(Option<Box<str>>),
    Status(Option<u16>),
    /// Content type: whether it is gRPC's.
    Grpc(Option<bool>),
    /// `grpc-status`.
    GrpcStatus(Option<u8>),
    /// A header that does not matter.
    Other,
    /// It may be any.
    Unknown,
}

/// Methods that are told by name are those of HTTP/1.
fn method(value: &[u8]) -> &'static str {
    let known = crate::l7::http1::METHODS.iter().find(|known| known.as_bytes() == value);
    known.copied().unwrap_or(crate::l7::OTHER)
}

impl Field {
    /// A header of this name without its value.
    fn named(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method(None),
            b":path" => Self::Path(None),
            b":status" => Self::Status(None),
            b"content-type" => Self::Grpc(None),
            b"grpc-status" => Self::GrpcStatus(None),
            _ => Self::Other,
        }
    }

    /// The same header with another value.
    fn with(&self, value: &[u8]) -> Self {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match self {
            Self::Method(_) => Self::Method(Some(method(value))),
            Self::Path(_) => Self::Path(Some(path(&String::from_utf8_lossy(value)))),
            Self::Status(_) => Self::Status(text.parse().ok().filter(|code| (100..600).contains(code))),
            Self::Grpc(_) => Self::Grpc(Some(value.starts_with(b"application/grpc"))),
            Self::GrpcStatus(_) => Self::GrpcStatus(text.parse().ok()),
            Self::Other => Self::Other,
            Self::Unknown => Self::Unknown,
        }
    }

    fn matters(&self) -> bool {
        !matches!(self, Self::Other | Self::Unknown)
    }

    fn bytes_held(&self) -> usize {
        match self {
            Self::Path(Some(path)) => path.len(),
            _ => 0,
        }
    }

    /// An entry of the static table.
    fn fixed(index: u64) -> Self {
        match index {
            2 => Self::Method(Some("GET")),
            3 => Self::Method(Some("POST")),
            4 => Self::Path(Some("/".into())),
            5 => Self::Path(Some("/index.html".into())),
            8..=14 => {
                let codes = [200, 204, 206, 304, 400, 404, 500];
                Self::Status(usize::try_from(index - 8).ok().and_then(|at| codes.get(at)).copied())
            }
            31 => Self::Grpc(Some(false)),
            _ => Self::Other,
        }
    }
}

/// A path without its query, of bounded length.
fn path(value: &str) -> Box<str> {
    let path = value.split(['?', '#']).next().unwrap_or_default();
    let mut end = path.len().min(TARGET_MAX);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default().into()
}

/// The headers that one side sent before, the newest first.
#[derive(Default)]
pub(super) struct Table {
    entries: VecDeque<Field>,
    paths: usize,
}

impl Table {
    /// Entries were added that nobody saw: no index means what it did.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.entries.capacity() * size_of::<Field>() + self.paths
    }

    fn get(&self, index: u64) -> Field {
        if index <= STATIC {
            return Field::fixed(index);
        }
        let at = usize::try_from(index - STATIC - 1).ok();
        at.and_then(|at| self.entries.get(at)).cloned().unwrap_or(Field::Unknown)
    }

    fn insert(&mut self, field: Field) {
        self.paths += field.bytes_held();
        while self.entries.len() >= ENTRIES_MAX || self.paths > PATHS_MAX {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.paths = self.paths.saturating_sub(oldest.bytes_held());
        }
        self.entries.push_front(field);
    }

    /// Reads a block of headers. Whether it is one, as far as it is there: if it is `cut`, its end is missing.
    pub(super) fn read(&mut self, mut block: &[u8], cut: bool, mut found: impl FnMut(Field)) -> bool {
        while !block.is_empty() {
            match self.field(block) {
                Ok((field, rest)) => {
                    block = rest;
                    if let Some(field) = field {
                        found(field);
                    }
                }
                Err(NoField::Part) if cut => {
                    self.forget();
                    return true;
                }
                Err(_) => {
                    self.forget();
                    return false;
                }
            }
        }
        if cut {
            self.forget();
        }
        true
    }

    /// The field that begins here, and what follows it. `None`: a change of the table's size, which need not be known.
    fn field<'a>(&mut self, block: &'a [u8]) -> Result<(Option<Field>, &'a [u8]), NoField> {
        let first = *block.first().ok_or(NoField::Part)?;
        if first & 0x80 != 0 {
            let (index, rest) = integer(block, 7)?;
            let field = if index == 0 { Err(NoField::Garbage) } else { Ok(self.get(index)) };
            return field.map(|field| (Some(field), rest));
        }
        if first & 0xe0 == 0x20 {
            return integer(block, 5).map(|(_, rest)| (None, rest));
        }
        let added = first & 0x40 != 0;
        let (index, rest) = integer(block, if added { 6 } else { 4 })?;
        let (name, rest) = if index == 0 {
            let (name, rest) = string(rest)?;
            // All names that matter are short, and coded they are not longer.
            let name = if name.bytes.len() <= 16 { name.text()? } else { Cow::Borrowed(&[][..]) };
            (Field::named(&name), rest)
        } else {
            (self.get(index), rest)
        };
        let (value, rest) = string(rest)?;
        let field = if name.matters() { name.with(&value.text()?) } else { name };
        if added {
            self.insert(field.clone());
        }
        Ok((Some(field), rest))
    }
}

enum NoField {
    Part,
    Garbage,
}

/// An integer whose first byte has so many bits for it (RFC 7541, 5.1).
fn integer(bytes: &[u8], bits: u32) -> Result<(u64, &[u8]), NoField> {
    let (first, mut rest) = bytes.split_first().ok_or(NoField::Part)?;
    let most = (1_u64 << bits) - 1;
    let mut sum = u64::from(*first) & most;
    if sum < most {
        return Ok((sum, rest));
    }
    for shift in [0, 7, 14, 21, 28] {
        let (byte, after) = rest.split_first().ok_or(NoField::Part)?;
        rest = after;
        sum += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((sum, rest));
        }
    }
    Err(NoField::Garbage)
}

/// A string as it is written.
struct Coded<'a> {
    bytes: &'a [u8],
    huffman: bool,
}

impl<'a> Coded<'a> {
    fn text(&self) -> Result<Cow<'a, [u8]>, NoField> {
        if !self.huffman {
            return Ok(Cow::Borrowed(self.bytes));
        }
        let mut text = Vec::new();
        match decode(self.bytes, &mut text, DecoderSpeed::FourBits) {
            Ok(()) => Ok(Cow::Owned(text)),
            Err(_) => Err(NoField::Garbage),
        }
    }
}

fn string(bytes: &[u8]) -> Result<(Coded<'_>, &[u8]), NoField> {
    let huffman = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let (length, rest) = integer(bytes, 7)?;
    let length = usize::try_from(length).map_err(|_| NoField::Garbage)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(NoField::Part)?;
    Ok((Coded { bytes, huffman }, after))
}

#[cfg(test)]
mod tests {
    use httlib_huffman::encode;
    use proptest::prelude::*;

    use super::*;
    use crate::l7::tests::cases;

    fn fields(table: &mut Table, block: &[u8], cut: bool) -> Option<Vec<Field>> {
        let mut all = Vec::new();
        table.read(block, cut, |field| all.push(field)).then_some(all)
    }

    /// `:path: /a` and `x: y`, both added to the table.
    const ADDED: &[u8] = b"\x44\x02/a\x40\x01x\x01y";

    #[test]
    fn examples_of_the_standard() {
        // RFC 7541, C.4: requests with Huffman coding.
        let mut table = Table::default();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let expected = [Field::Method(Some("GET")), Field::Other, Field::Path(Some("/".into())), Field::Other];
        assert_eq!(fields(&mut table, first, false), Some(expected.to_vec()));
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        let read = fields(&mut table, third, false).expect("a block");
        assert_eq!(read[2], Field::Path(Some("/index.html".into())));
        // C.6: a status by the name of the static table, and as index of what was added.
        let mut table = Table::default();
        assert_eq!(fields(&mut table, b"\x48\x82\x64\x02\xbe", false), Some(vec![Field::Status(Some(302)); 2]));
    }

    #[test]
    fn who_comes_late_knows_what_was_added_since() {
        let mut table = Table::default();
        let before = fields(&mut table, b"\xbe\x82", false);
        assert_eq!(before, Some(vec![Field::Unknown, Field::Method(Some("GET"))]));
        assert!(fields(&mut table, ADDED, false).is_some());
        let path = Field::Path(Some("/a".into()));
        assert_eq!(fields(&mut table, b"\xbf\xbe\xc0", false), Some(vec![path, Field::Other, Field::Unknown]));
    }

    #[test]
    fn a_block_that_is_cut_makes_the_table_unknown() {
        for at in 0..ADDED.len() {
            let mut table = Table::default();
            assert!(fields(&mut table, b"\x44\x02/b", false).is_some());
            assert!(fields(&mut table, &ADDED[..at], true).is_some(), "{at}");
            assert_eq!(fields(&mut table, b"\xbe", false), Some(vec![Field::Unknown]), "{at}");
            assert!(at < 1 || at == 4 || fields(&mut table, &ADDED[..at], false).is_none(), "{at}");
        }
    }

    #[test]
    fn a_table_is_bounded() {
        let mut table = Table::default();
        for at in 0..5_000 {
            let path = format!("/{at:0>200}");
            let block = [b"\x44\x7f".as_slice(), &[(path.len() - 127) as u8], path.as_bytes()].concat();
            assert!(fields(&mut table, &block, false).is_some());
            assert!(fields(&mut table, b"\x40\x01x\x01y", false).is_some());
            assert!(table.bytes_held() < 24 << 10);
        }
    }

    proptest! {
        #![proptest_config(cases(500))]
        #[test]
        fn any_text_survives_the_code(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut coded = Vec::new();
            prop_assert!(encode(&text, &mut coded).is_ok());
            let coded = Coded { bytes: &coded, huffman: true };
            let decoded = coded.text().ok();
            prop_assert_eq!(decoded.as_deref(), Some(&text[..]));
        }

        #[test]
        fn any_block_does_no_harm(block in prop::collection::vec(any::<u8>(), 0..200), cut in any::<bool>()) {
            let mut table = Table::default();
            table.read(&block, cut, |_| {});
        }
    }
}
