//! `l7`: response times of endpoints and queries. A thread of its own takes what was said out of the kernel's ring, so that
//! neither keeps the other waiting, it and what rules need; here its numbers become those of groups.

mod conversations;
mod dependencies;
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
    l7::{Code, Doubt, Outcome, routes::Pattern},
    metrics::Families,
    processes::{GroupId, Groups},
    slots::{Owner, Slots},
};

use dependencies::{Dependencies, Edge};
use listener::Listener;
pub use metrics::METRICS;
use slowest::Slowest;
use tally::{Key, OTHER, Tally};
use tls::Tls;

/// Routes, tables and peers of one group and protocol with series of their own.
const TARGETS: usize = 100;
/// Combinations of role, protocol, operation, target and status of one group with series of their own; beyond that the
/// operation and the target are [`OTHER`].
const SERIES: usize = 1_000;
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
    dependencies: Dependencies,
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
            dependencies: Dependencies::default(),
            beyond: 0,
        })
    }

    /// A process has executed a program: it may have TLS libraries.
    pub fn executed(&self, pid: u32) {
        if let Some(tls) = &self.tls {
            tls.executed(pid);
        }
    }

    /// Counts HTTP requests under these routes from now on, before those that are learnt.
    pub fn set_routes(&mut self, routes: &[String]) {
        // The configuration has checked them.
        let patterns = routes.iter().filter_map(|route| Pattern::new(route).ok()).collect();
        self.listener.heard().tallies.set_patterns(patterns);
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
        let group_of = |(slot, generation): (u32, u32)| match slots.owner(SlotRef { slot, generation }) {
            Owner::Known(taken) => taken.group,
            Owner::Later | Owner::Gone => GroupId::UNKNOWN,
        };
        self.dependencies.dropped += heard.edges_dropped;
        for (edge, traffic) in heard.edges {
            let Edge { party, serves, protocol, peer } = edge;
            self.dependencies.add(Edge { party: group_of(party), serves, protocol, peer }, &traffic);
        }
        for (party, serves, local) in heard.ends {
            self.dependencies.end(group_of(party), serves, local);
        }
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

    /// Who calls whom, for `/api/v1/map`.
    pub fn map(&self, groups: &Groups, clock: BootClock) -> Value {
        self.dependencies.describe(groups, |ns| clock.time(ns).to_string())
    }

    /// Forgets groups that lost their series.
    pub fn expire(&mut self, groups: &[GroupId]) {
        self.dependencies.expire(groups);
        self.by_group.retain(|group, _| !groups.contains(group));
    }

    /// Publishes. `tcp_bytes` are all bytes that groups sent and received over TCP.
    pub fn collect(&self, groups: &Groups, tcp_bytes: impl Iterator<Item = (GroupId, u64)>, families: &mut Families) {
        metrics::collect(self, groups, families);
        if let Some(tls) = &self.tls {
            tls.collect(families);
        }
        for (group, moved) in tcp_bytes.filter(|(_, moved)| *moved > 0) {
            let understood = self.by_group.get(&group).map_or(0, Totals::tcp_bytes);
            if let Some(name) = groups.name_of(group) {
                metrics::coverage(name, understood, moved, families);
            }
        }
    }
}

impl Totals {
    /// Bytes of requests and answers that were understood. Names are asked for over UDP.
    fn tcp_bytes(&self) -> u64 {
        let over_tcp = self.requests.iter().filter(|(series, _)| series.protocol != "dns");
        over_tcp.map(|(_, tally)| tally.request_bytes + tally.response_bytes).sum()
    }

    fn add(&mut self, key: Key, tally: &Tally) {
        let (protocol, operation) = (key.protocol.0, key.operation.0);
        if !matches!(key.outcome, Outcome::Ok | Outcome::Unseen) && protocol != "http" {
            let code: Box<str> = match key.code {
                Code::None => "".into(),
                Code::Number(code) => code.to_string().into(),
                Code::Word(word) => word.as_str().into(),
            };
            let full = self.errors.len() >= CODES && !self.errors.contains_key(&(key.serves, protocol, code.clone()));
            let code = if full { OTHER.into() } else { code };
            *self.errors.entry((key.serves, protocol, code)).or_default() += tally.count();
        }
        let known = self.targets.entry((key.serves, protocol)).or_default();
        let target = if known.contains_key(&*key.target) || known.len() < TARGETS { &*key.target } else { OTHER };
        known.insert(target.into(), ());
        let series = Series {
            serves: key.serves,
            protocol,
            operation,
            target: target.into(),
            status: status(protocol, key.outcome, key.code),
        };
        let full = self.requests.len() >= SERIES && !self.requests.contains_key(&series);
        let series = if full { Series { operation: OTHER, target: OTHER.into(), ..series } } else { series };
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
