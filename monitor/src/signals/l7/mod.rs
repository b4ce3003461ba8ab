//! `l7`: response times of endpoints and queries. A thread of its own takes what was said out of the kernel's ring, so that
//! neither keeps the other waiting, it and what rules need; here its numbers become those of groups.

mod conversations;
mod listener;
mod metrics;
mod slowest;
pub mod table;
mod tally;
pub mod tls;

use std::collections::HashMap;

use monitor_common::process_slot::SlotRef;
use serde_json::Value;

use crate::{
    bpf::{BpfError, drain::Account, loader::Loaded, wall::since_boot},
    events::BootClock,
    l7::{Code, Doubt, Outcome},
    metrics::Families,
    processes::{GroupId, Groups},
    slots::{Owner, Slots},
};

use listener::Listener;
pub use metrics::METRICS;
use slowest::Slowest;
use tally::{Key, OTHER, Tally};
use tls::Tls;

/// Routes, tables and peers of one group and protocol with series of their own.
const TARGETS: usize = 100;
/// Kinds of errors of one group with series of their own.
const CODES: usize = 50;

/// Requests of a group that are told together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Series {
    serves: bool,
    protocol: &'static str,
    operation: &'static str,
    target: Box<str>,
    /// `2xx` … of HTTP, else `ok`, `client_error`, `server_error`, `unseen`.
    status: &'static str,
}

/// What a group asked and answered.
#[derive(Debug, Default)]
struct Totals {
    requests: HashMap<Series, Tally>,
    errors: HashMap<(bool, &'static str, Box<str>), u64>,
    targets: HashMap<(bool, &'static str), HashMap<Box<str>, ()>>,
}

/// The signal.
pub struct L7 {
    listener: Listener,
    tls: Option<Tls>,
    by_group: HashMap<GroupId, Totals>,
    doubts: HashMap<(&'static str, Doubt), u64>,
    /// Requests whose process is not known yet: the next look may know it.
    later: Vec<(Key, Tally)>,
    slowest: Slowest,
    beyond: u64,
}

impl L7 {
    /// Takes the signal's ring, and listens.
    ///
    /// # Errors
    /// When the ring is not there, or there is no thread to be had.
    pub fn new(loaded: &mut Loaded) -> Result<Self, BpfError> {
        Ok(Self {
            listener: Listener::start(loaded)?,
            tls: Tls::start(loaded)?,
            by_group: HashMap::new(),
            doubts: HashMap::new(),
            later: Vec::new(),
            slowest: Slowest::default(),
            beyond: 0,
        })
    }

    /// A process has executed a program: it may have TLS libraries.
    pub fn executed(&self, pid: u32) {
        if let Some(tls) = &self.tls {
            tls.executed(pid);
        }
    }

    /// What came out of the ring.
    pub fn account(&self) -> Account {
        self.listener.heard().account
    }

    /// Adds up what was heard since the last time.
    pub fn fold(&mut self, slots: &Slots, groups: &mut Groups) {
        let heard = self.listener.take();
        self.beyond += heard.beyond;
        for (doubt, count) in heard.doubts {
            *self.doubts.entry(doubt).or_default() += count;
        }
        for slow in heard.slowest {
            let (process, group) = match slots.owner(slow.party.process) {
                Owner::Known(taken) => (taken.process, taken.group),
                Owner::Later | Owner::Gone => (None, GroupId::UNKNOWN),
            };
            self.slowest.add(process, group, slow);
        }
        self.slowest.settle(since_boot());
        let again = std::mem::take(&mut self.later).into_iter().map(|(key, tally)| (key, tally, true));
        for (key, tally, again) in again.chain(heard.tallies.into_iter().map(|(key, tally)| (key, tally, false))) {
            let slot = SlotRef { slot: key.process.0, generation: key.process.1 };
            let group = match slots.owner(slot) {
                Owner::Known(taken) => {
                    groups.note(taken.own_group, tally.count());
                    taken.group
                }
                Owner::Later if !again => {
                    self.later.push((key, tally));
                    continue;
                }
                Owner::Later | Owner::Gone => GroupId::UNKNOWN,
            };
            self.by_group.entry(group).or_default().add(key, &tally);
        }
    }

    /// The slowest requests, for `/api/v1/requests`.
    pub fn describe(&self, groups: &Groups, clock: BootClock) -> Value {
        self.slowest.describe(groups, clock)
    }

    /// Forgets groups that lost their series.
    pub fn expire(&mut self, groups: &[GroupId]) {
        self.by_group.retain(|group, _| !groups.contains(group));
    }

    /// Publishes.
    pub fn collect(&self, groups: &Groups, families: &mut Families) {
        metrics::collect(self, groups, families);
        if let Some(tls) = &self.tls {
            tls.collect(families);
        }
    }
}

impl Totals {
    fn add(&mut self, key: Key, tally: &Tally) {
        if !matches!(key.outcome, Outcome::Ok | Outcome::Unseen) && key.protocol != "http" {
            let code: Box<str> = match key.code {
                Code::None => "".into(),
                Code::Number(code) => code.to_string().into(),
                Code::Word(word) => word.as_str().into(),
            };
            let full =
                self.errors.len() >= CODES && !self.errors.contains_key(&(key.serves, key.protocol, code.clone()));
            let code = if full { OTHER.into() } else { code };
            *self.errors.entry((key.serves, key.protocol, code)).or_default() += tally.count();
        }
        let known = self.targets.entry((key.serves, key.protocol)).or_default();
        let target = if known.contains_key(&*key.target) || known.len() < TARGETS { &*key.target } else { OTHER };
        known.insert(target.into(), ());
        let series = Series {
            serves: key.serves,
            protocol: key.protocol,
            operation: key.operation,
            target: target.into(),
            status: status(key.protocol, key.outcome, key.code),
        };
        self.requests.entry(series).or_default().merge(tally);
    }
}

fn status(protocol: &str, outcome: Outcome, code: Code) -> &'static str {
    match (protocol, outcome, code) {
        (_, Outcome::Unseen, _) => "unseen",
        ("http", _, Code::Number(code)) => match code / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
        (_, Outcome::Ok, _) => "ok",
        (_, Outcome::ClientError, _) => "client_error",
        (_, Outcome::ServerError, _) => "server_error",
    }
}

#[cfg(test)]
mod tests;
