//! One record: a line of JSON that ends with the hash of all that stands before it.
//!
//! The hash is over the very bytes of the line, so that no two programs can disagree about how JSON is to be normalized,
//! and so that it can be checked with `sha256sum`.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{AuditError, Kind};

/// Longest body that is written, bytes; an alert with everything takes 200 KiB.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Longest line that is read, bytes.
pub(super) const MAX_LINE: usize = MAX_BODY + 1024;
/// Fewest and most bytes of a key.
const KEY: std::ops::RangeInclusive<usize> = 32..=4096;

/// A hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The first 13 hexadecimal digits as a number: as many as a metric's value holds exactly.
    pub fn prefix(self) -> u64 {
        self.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) >> 12
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// How records are sealed.
#[derive(Clone)]
pub enum Seal {
    /// By a hash that everybody can make: proves that nothing was changed by accident, or without the whole chain that
    /// follows being made anew.
    Hash,
    /// By a hash that takes a key to make: whoever can write the files but not read the key cannot make a chain anew.
    Key(Box<Hmac<Sha256>>),
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Seal {
    /// With this key.
    pub fn with_key(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(|mac| Self::Key(Box::new(mac)))
    }

    /// The name in the first record of a segment.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hash => "sha256",
            Self::Key(_) => "hmac-sha256",
        }
    }

    /// The hash of these bytes.
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        match self {
            Self::Hash => Digest(Sha256::digest(bytes).into()),
            Self::Key(mac) => Digest(mac.as_ref().clone().chain_update(bytes).finalize().into_bytes().into()),
        }
    }
}

/// The seal with the key in this file.
///
/// # Errors
/// When there is none that could be kept secret, or it is too short.
pub fn read_key(path: &Path) -> Result<Seal, AuditError> {
    let wrong = |reason: String| AuditError::Key { path: path.to_owned(), reason };
    let mut key = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    file.take(*KEY.end() as u64 + 1).read_to_end(&mut key).map_err(|error| wrong(error.to_string()))?;
    if !KEY.contains(&key.len()) {
        return Err(wrong(format!(
            "it has {} bytes, a key has {} to {}: `head -c 32 /dev/urandom > FILE` makes one",
            key.len(),
            KEY.start(),
            KEY.end()
        )));
    }
    Seal::with_key(&key).ok_or_else(|| wrong("it is no key".to_owned()))
}

/// What stands before the hash.
const BEFORE_HASH: &[u8] = br#","hash":""#;
/// … and behind it.
const BEHIND_HASH: &[u8] = br#""}"#;

/// The line of a record with its end, and its hash. `body` is JSON.
pub(super) fn line(
    seal: &Seal,
    sequence: u64,
    time: Timestamp,
    kind: Kind,
    previous: Digest,
    body: &str,
) -> (String, Digest) {
    // In JSON a bare line feed is white space, and in a string there is none.
    let body = if body.contains(['\n', '\r']) { body.replace(['\n', '\r'], " ") } else { body.to_owned() };
    let kind = kind.name();
    let mut line =
        format!(r#"{{"sequence":{sequence},"time":"{time:.9}","kind":"{kind}","previous":"{previous}","body":{body}"#);
    let hash = seal.digest(line.as_bytes());
    line.push_str(&format!(",\"hash\":\"{hash}\"}}\n"));
    (line, hash)
}

/// A record as it was read.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Its number.
    pub sequence: u64,
    /// When, as it stands there.
    pub time: &'a str,
    /// Name of its kind.
    pub kind: &'a str,
    /// Hash of the record before.
    pub previous: Digest,
    /// Its own hash, as it stands there.
    pub hash: Digest,
    /// Its own hash is right.
    pub sealed: bool,
    /// What it says.
    pub body: &'a RawValue,
}

#[derive(Deserialize)]
struct Fields<'a> {
    sequence: u64,
    #[serde(borrow)]
    time: &'a str,
    #[serde(borrow)]
    kind: &'a str,
    #[serde(borrow)]
    previous: &'a str,
    #[serde(borrow)]
    body: &'a RawValue,
    #[serde(borrow)]
    hash: &'a str,
}

impl<'a> Record<'a> {
    /// Reads a line, without its end. None: it is no record.
    pub fn parse(line: &'a [u8], seal: &Seal) -> Option<Self> {
        let fields: Fields<'a> = serde_json::from_slice(line).ok()?;
        let hash = Digest::parse(fields.hash)?;
        // What was hashed is what stands before the *last* field; any other order of fields is not ours.
        let behind = BEFORE_HASH.len() + fields.hash.len() + BEHIND_HASH.len();
        let (sealed, rest) = line.split_at(line.len().checked_sub(behind)?);
        let ours = rest.starts_with(BEFORE_HASH) && rest.ends_with(BEHIND_HASH);
        Some(Self {
            sequence: fields.sequence,
            time: fields.time,
            kind: fields.kind,
            previous: Digest::parse(fields.previous)?,
            hash,
            sealed: ours && seal.digest(sealed) == hash,
            body: fields.body,
        })
    }
}
