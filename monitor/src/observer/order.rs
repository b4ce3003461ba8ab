//! Puts what comes out of several rings into the order in which it happened. The rings are an argument, so that a
//! recording is put into the very order that the live records were.

use monitor_common::record::{Header, Ring};
use tracing::warn;

use super::{Batch, happened::Happened};

/// Where records come from.
pub trait Rings {
    /// Hands every waiting record of one ring to `take`, at most `limit`. Returns how many there were.
    fn take(&mut self, ring: Ring, limit: usize, take: &mut dyn FnMut(&Header, &[u8])) -> usize;
}

/// The order of records, and what waits for the next look.
#[derive(Debug, Default)]
pub struct Order {
    /// What came out of its ring before what was born before it.
    waiting: Vec<Happened>,
    /// Records that were long enough for their header but not for their kind.
    pub undecodable: [u64; Ring::ALL.len()],
}

impl Order {
    /// Takes up to `limit` records out of each ring, and puts what they tell into the order in which it happened: a child
    /// is what its parent was at that time, and a file is opened by the program that ran then.
    ///
    /// The rings are not read at one moment. The bulk ring is read first, then the security ring, so that whatever was
    /// executed before something in bulk is known; then the births, so that whoever did any of that is known. The security
    /// ring is read again last, so that whatever was executed before one of the births is known. Of this latter part what
    /// happened after all births read waits for the next time: somebody may have been born in between. And when the security
    /// ring had more than a look takes, what is newer than that waits, too.
    pub fn look(&mut self, limit: usize, rings: &mut dyn Rings) -> Batch {
        let mut happened = std::mem::take(&mut self.waiting);
        let mut bulk = Vec::new();
        // What waits is bounded: nothing more is taken of what anybody can cause by the million.
        let mut taken = if happened.len() < limit { self.take(rings, Ring::Bulk, limit, &mut bulk) } else { 0 };
        let mut security = Vec::new();
        let first = self.take(rings, Ring::Security, limit, &mut security);
        let mut lives = Vec::new();
        let births = self.take(rings, Ring::Telemetry, limit, &mut lives);
        let mut later = Vec::new();
        taken += first + births + self.take(rings, Ring::Security, limit, &mut later);
        let newest = |records: &[Happened]| records.iter().map(Happened::time_ns).max().unwrap_or(0);
        let mut waiting = Vec::new();
        let mut hold = |records: &mut Vec<Happened>, until: u64| {
            waiting.extend(records.extract_if(.., |record| record.time_ns() > until));
        };
        if births < limit {
            hold(&mut later, newest(&lives));
        }
        if first == limit {
            hold(&mut bulk, newest(&security).max(newest(&later)));
        }
        self.waiting = waiting;
        for mut part in [bulk, security, lives, later] {
            happened.append(&mut part);
        }
        // Each CPU's records are in order already, and so is nearly everything else. What happened at the same moment stays
        // in this order but for a birth: it was first.
        happened.sort_by_key(|record| (record.time_ns(), !matches!(record, Happened::Fork(_))));
        Batch { taken, happened }
    }

    fn take(&mut self, rings: &mut dyn Rings, ring: Ring, limit: usize, into: &mut Vec<Happened>) -> usize {
        let undecodable = &mut self.undecodable[ring as usize];
        rings.take(ring, limit, &mut |header, record| match Happened::decode(header, record) {
            Ok(happened) => into.push(happened),
            Err(error) => {
                *undecodable += 1;
                warn!(
                    ring = ring.name(),
                    kind = header.kind,
                    length = record.len(),
                    error,
                    "a record cannot be decoded"
                );
            }
        })
    }
}
