//! What was there before on this host: kept in a file, so that a restart makes nothing new.
//!
//! The file: `MONSEEN1`, the length of the rest after these two numbers and its CRC-32 (both 32 bits, little endian); then
//! for each rule its name, when it began to learn, the number of its entries, and the entries, the one that was seen
//! longest ago first: the values, or 0xff and the SHA-256 of long ones, and when they were last seen. Texts have their length before them (32 bits), times are
//! nanoseconds since 1970 (64 bits).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::Table;

/// Most combinations that a rule remembers.
pub(crate) const ENTRIES: usize = 8192;
/// Most rules whose memory a file has, also of rules that are not there any more.
pub(crate) const RULES: usize = 256;
/// Longer values are known by their SHA-256: a rule's memory takes less than a megabyte, whatever paths it sees.
const KEY: usize = 64;
const MAGIC: &[u8; 8] = b"MONSEEN1";

/// What one rule has seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// When it was first loaded.
    pub since: u64,
    /// When each combination was last seen.
    entries: Table<u64>,
}

impl Seen {
    /// Nothing.
    pub(crate) fn new(since: u64) -> Self {
        Self { since, entries: Table::new(ENTRIES) }
    }

    /// It is there (again), at this time since 1970. Whether that is the first time in `remember`.
    pub(crate) fn note(&mut self, key: &[u8], now: u64, remember_ns: u64) -> bool {
        self.entries.expire(|last| now.saturating_sub(*last) > remember_ns);
        let hashed: Vec<u8>;
        let key = if key.len() > KEY {
            // No key begins so.
            hashed = [&[0xff], Sha256::digest(key).as_slice()].concat();
            &hashed
        } else {
            key
        };
        let mut new = false;
        let last = self.entries.entry(key, || {
            new = true;
            now
        });
        // One that is still there may be old: the clock was set, or a file says so.
        new |= now.saturating_sub(*last) > remember_ns;
        *last = now.max(*last);
        new
    }

    /// Combinations that are known, and those that were forgotten for lack of room.
    pub(crate) fn sizes(&self) -> (usize, u64) {
        (self.entries.len(), self.entries.evictions())
    }
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Something else, or a newer version's.
    #[error("does not begin as a file of this version does")]
    Magic,
    /// Cut off, or longer than it says.
    #[error("has {found} bytes and should have {expected}")]
    Length {
        /// What it says.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// Changed.
    #[error("has another checksum than it says")]
    Checksum,
    /// The checksum fits, the contents do not.
    #[error("says something impossible at byte {0}")]
    Contents(usize),
}

/// Writes what rules have seen.
pub(crate) fn encode<'s>(rules: impl Iterator<Item = (&'s str, &'s Seen)>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, seen) in rules.take(RULES) {
        put(&mut body, name.as_bytes());
        body.extend_from_slice(&seen.since.to_le_bytes());
        body.extend_from_slice(&(seen.entries.len() as u32).to_le_bytes());
        for (key, last) in seen.entries.iter() {
            put(&mut body, key);
            body.extend_from_slice(&last.to_le_bytes());
        }
    }
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&(body.len() as u32).to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    file.append(&mut body);
    file
}

fn put(body: &mut Vec<u8>, text: &[u8]) {
    body.extend_from_slice(&(text.len() as u32).to_le_bytes());
    body.extend_from_slice(text);
}

/// Reads what rules have seen.
///
/// # Errors
/// What is wrong with the file. Then nothing of it is taken.
pub(crate) fn decode(file: &[u8]) -> Result<BTreeMap<String, Seen>, Damage> {
    let rest = file.strip_prefix(MAGIC).ok_or(Damage::Magic)?;
    let mut head = Reader { bytes: rest, at: 0 };
    let length = Damage::Length { expected: 16, found: file.len() };
    let (expected, checksum) = (head.number().ok_or(length)? as usize, head.number().ok_or(length)?);
    let body = &rest[head.at..];
    if body.len() != expected {
        return Err(Damage::Length { expected: expected.saturating_add(16), found: file.len() });
    }
    if crc32fast::hash(body) != checksum {
        return Err(Damage::Checksum);
    }
    let mut reader = Reader { bytes: body, at: 0 };
    let mut rules = BTreeMap::new();
    while reader.at < body.len() {
        let (name, seen) = reader.rule().ok_or(Damage::Contents(reader.at + 16))?;
        if rules.len() >= RULES {
            return Err(Damage::Contents(reader.at + 16));
        }
        rules.insert(name, seen);
    }
    Ok(rules)
}

struct Reader<'f> {
    bytes: &'f [u8],
    at: usize,
}

impl<'f> Reader<'f> {
    fn take(&mut self, length: usize) -> Option<&'f [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn time(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'f [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn rule(&mut self) -> Option<(String, Seen)> {
        let name = std::str::from_utf8(self.text()?).ok()?.to_owned();
        let mut seen = Seen::new(self.time()?);
        for _ in 0..self.number()? {
            let (key, last) = (self.text()?, self.time()?);
            *seen.entries.entry(key, || last) = last;
        }
        Some((name, seen))
    }
}
