//! What is in a recording: the host, then rounds. A round is one look at all rings, as the pipeline makes it, with what
//! `/proc` said meanwhile and what the clocks were.

use std::collections::VecDeque;

use monitor_common::record::{ABI_VERSION, Header, Ring};
use serde::{Deserialize, Serialize};
use zerocopy::FromBytes as _;

use super::container::{Reader, Writer};
use super::{CaptureError, Meta};
use crate::events::Lost;
use crate::observer::Rings;
use crate::processes::Fact;
use crate::signals::activity::{WatchedPath, WatchedPaths};

/// Most bytes of a round; what the rings hold is less.
const MOST: usize = 2 << 30;

/// What an entry is. Numbers are never reused.
mod tag {
    pub(super) const META: u8 = 1;
    pub(super) const FACT: u8 = 2;
    pub(super) const LOOK: u8 = 3;
    pub(super) const RECORD: u8 = 4;
    pub(super) const ROUND: u8 = 5;
    pub(super) const END: u8 = 6;
    pub(super) const WATCHED: u8 = 7;
    pub(super) const SEEN: u8 = 8;
}

/// The end of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When, nanoseconds since boot.
    pub now_ns: u64,
    /// Nanoseconds since 1970 at boot, by the clocks at that moment.
    pub boot_ns: i128,
    /// Records of the security ring lost by then.
    pub lost_security: u64,
    /// Records of the telemetry ring lost by then.
    pub lost_telemetry: u64,
    /// After it ended processes were forgotten, and rules told what they had held back.
    pub expired: bool,
}

impl End {
    /// What was lost by then.
    pub fn lost(&self) -> Lost {
        Lost { security_ring: self.lost_security, telemetry_ring: self.lost_telemetry }
    }
}

/// A round as it was read.
#[derive(Debug, Default)]
pub struct Round {
    /// What `/proc` said.
    pub facts: Vec<Fact>,
    /// Which watched paths files are from now on, where that has changed.
    pub watched: Option<WatchedPaths>,
    /// What rules had seen before.
    pub seen: Option<Vec<u8>>,
    /// The looks at the rings, in their order.
    looks: VecDeque<(u8, Vec<Vec<u8>>)>,
    /// Its end.
    pub end: End,
    bytes: usize,
}

impl Rings for Round {
    fn take(&mut self, ring: Ring, _limit: usize, take: &mut dyn FnMut(&Header, &[u8])) -> usize {
        // The order of looks is the same, because it follows from the records: a look at another ring is one that was
        // not made then.
        let Some((_, records)) = self.looks.pop_front_if(|(looked_at, _)| *looked_at == ring as u8) else { return 0 };
        for record in &records {
            if let Ok((header, _)) = Header::read_from_prefix(record)
                && header.abi == ABI_VERSION
            {
                take(&header, record);
            }
        }
        records.len()
    }
}

impl Writer {
    /// The host: the first entry.
    pub fn meta(&mut self, meta: &Meta) {
        self.json(tag::META, meta);
    }

    /// What `/proc` said.
    pub fn facts(&mut self, facts: &[Fact]) {
        facts.iter().for_each(|fact| self.json(tag::FACT, fact));
    }

    /// Which watched paths files are, from this round on.
    pub fn watched(&mut self, watched: &WatchedPaths) {
        self.json(tag::WATCHED, &watched.list());
    }

    /// What rules had seen before this round.
    pub fn seen(&mut self, seen: &[u8]) {
        self.add(tag::SEEN, &[seen]);
    }

    /// A look at a ring begins (no record), or delivered this record.
    pub fn tee(&mut self, ring: Ring, record: Option<&[u8]>) {
        match record {
            None => self.add(tag::LOOK, &[&[ring as u8]]),
            Some(record) => self.add(tag::RECORD, &[record]),
        }
    }

    /// The round ends.
    pub fn end_round(&mut self, end: &End) {
        self.json(tag::ROUND, end);
    }

    /// The recording ends in order.
    pub fn end(&mut self) {
        self.add(tag::END, &[]);
    }

    fn json(&mut self, tag: u8, value: &impl Serialize) {
        // Plain numbers, texts and lists: nothing in them can fail to be written.
        self.add(tag, &[&serde_json::to_vec(value).unwrap_or_default()]);
    }
}

impl Reader {
    /// The host.
    ///
    /// # Errors
    /// When the recording does not begin with it, or its records are of another layout.
    pub fn meta(&mut self) -> Result<Meta, CaptureError> {
        let Some((tag, content)) = self.next()? else { return Err(CaptureError::Empty(self.path().to_owned())) };
        if tag != tag::META {
            return Err(self.odd(format!("it begins with an entry {tag}")));
        }
        let meta: Meta = serde_json::from_slice(&content).map_err(|error| self.odd(error.to_string()))?;
        if meta.abi != ABI_VERSION {
            let (path, abi, monitor) = (self.path().to_owned(), meta.abi, meta.monitor);
            return Err(CaptureError::Abi { path, abi, known: ABI_VERSION, monitor });
        }
        Ok(meta)
    }

    /// The next whole round; or why there is none: true, the recording was ended in order.
    ///
    /// # Errors
    /// When the file cannot be read, or what it says cannot be understood.
    pub fn round(&mut self) -> Result<Result<Round, bool>, CaptureError> {
        let mut round = Round::default();
        loop {
            let Some((tag, content)) = self.next()? else { return Ok(Err(false)) };
            round.bytes += content.len();
            if round.bytes > MOST {
                return Err(self.odd("a round without an end".to_owned()));
            }
            match tag {
                tag::FACT => {
                    round.facts.push(serde_json::from_slice(&content).map_err(|error| self.odd(error.to_string()))?);
                }
                tag::WATCHED => {
                    let list: Vec<WatchedPath> =
                        serde_json::from_slice(&content).map_err(|error| self.odd(error.to_string()))?;
                    round.watched = Some(list.into_iter().collect());
                }
                tag::SEEN => round.seen = Some(content),
                tag::LOOK => round.looks.push_back((content.first().copied().unwrap_or(u8::MAX), Vec::new())),
                tag::RECORD => match round.looks.back_mut() {
                    Some((_, records)) => records.push(content),
                    None => return Err(self.odd("a record before the first look".to_owned())),
                },
                tag::ROUND => {
                    round.end = serde_json::from_slice(&content).map_err(|error| self.odd(error.to_string()))?;
                    return Ok(Ok(round));
                }
                tag::END => return Ok(Err(true)),
                // A later version may say more, in a way that this one need not understand.
                _ => {}
            }
        }
    }

    fn odd(&self, reason: String) -> CaptureError {
        CaptureError::Content { path: self.path().to_owned(), reason }
    }
}
