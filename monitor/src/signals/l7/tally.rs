//! Requests added up, by who served or asked, what, and how it ended; and the slowest of them.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use monitor_common::{process_slot::SlotRef, signals::tcp::Role};

use super::dependencies::{self, Edge, Traffic};
use crate::l7::{Code, Doubt, Exchange, Outcome, UNSEEN, routes::Pattern, routes::Routes};

/// Upper bounds of durations, nanoseconds. OpenTelemetry's for HTTP with finer ones below, for queries.
pub(super) const BOUNDS_NS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Those, and infinity.
pub(super) const BUCKETS: usize = BOUNDS_NS.len() + 1;

/// Tables, names and peers of one process and protocol with a place of their own.
const TARGETS: usize = 100;
/// What is beyond.
pub(super) const OTHER: &str = "_other";
/// Combinations that wait to be taken; beyond that they are counted only.
const KEYS: usize = 32_768;
/// How long names of who asks and answers nothing are kept, nanoseconds: those of processes that have ended stay no longer.
const NAMES_NS: u64 = 600_000_000_000;
/// Processes, by protocol, whose names are kept at one time; all others share theirs.
const NAMED: usize = 16_384;
/// Ends of connections that wait to be taken. What is beyond is known by the next ones.
const ENDS: usize = 4_096;
/// Slowest requests that are kept.
const SLOWEST: usize = 100;

/// Whose requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Party {
    /// Who.
    pub(super) process: SlotRef,
    /// Whether it serves or asks.
    pub(super) role: Role,
}

/// A name out of the program's text, compared by where it stands: a request is looked up by several of them. The same name
/// may stand twice; who adds the numbers up for metrics compares letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Literal(pub(super) &'static str);

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Literal {}

impl Hash for Literal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.0.as_ptr().addr());
    }
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Whose slot.
    pub(super) process: (u32, u32),
    /// It serves, else it asks.
    pub(super) serves: bool,
    /// The protocol.
    pub(super) protocol: Literal,
    /// Method, command, verb, type.
    pub(super) operation: Literal,
    /// Route, table or name.
    pub(super) target: Arc<str>,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// The protocol's word for it.
    pub(super) code: Code,
}

/// Requests that were counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Sum of durations, nanoseconds.
    pub(super) sum_ns: u64,
    /// Requests by duration.
    pub(super) buckets: [u64; BUCKETS],
    /// Bytes of requests.
    pub(super) request_bytes: u64,
    /// Bytes of answers.
    pub(super) response_bytes: u64,
}

impl Tally {
    /// One more.
    pub(super) fn add(&mut self, duration_ns: u64, request_bytes: u64, response_bytes: u64) {
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < duration_ns);
        self.buckets[bucket] += 1;
        self.sum_ns = self.sum_ns.saturating_add(duration_ns);
        self.request_bytes += request_bytes;
        self.response_bytes += response_bytes;
    }

    /// Those of another one.
    pub(super) fn merge(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, other)| *mine += other);
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// One of the slowest requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slow {
    /// Whose slot.
    pub(super) party: Party,
    /// The other end.
    pub(super) peer: Option<SocketAddr>,
    /// The protocol.
    pub(super) protocol: &'static str,
    /// Method, command, verb, type.
    pub(super) operation: &'static str,
    /// Route, table or name.
    pub(super) target: Arc<str>,
    /// A query without what its user typed.
    pub(super) statement: Box<str>,
    /// The protocol's word for how it ended.
    pub(super) code: Code,
    /// When it began, nanoseconds since boot.
    pub(super) began_ns: u64,
    /// Until the first byte of the answer, nanoseconds.
    pub(super) first_byte_ns: u64,
    /// Until the last one.
    pub(super) duration_ns: u64,
    /// Bytes of request and answer.
    pub(super) bytes: [u64; 2],
}

/// What has been heard since it was last taken.
#[derive(Default)]
pub(super) struct Tallies {
    /// Requests.
    pub(super) tallies: HashMap<Key, Tally, foldhash::fast::FixedState>,
    /// Doubts, by protocol.
    pub(super) doubts: HashMap<(&'static str, Doubt), u64>,
    /// The slowest, in no order.
    pub(super) slowest: Vec<Slow>,
    /// The shortest duration among the slowest, once they are as many as are kept; else 0.
    least_ns: u64,
    /// Requests that are in no tally because there were too many combinations.
    pub(super) beyond: u64,
    /// Who speaks with whom.
    pub(super) edges: HashMap<Edge<(u32, u32)>, Traffic, foldhash::fast::FixedState>,
    /// Own ends of connections that began: whose slot, whether it serves, where.
    pub(super) ends: Vec<((u32, u32), bool, SocketAddr)>,
    /// Pairs that found no room among the edges.
    pub(super) edges_dropped: u64,
    names: HashMap<(u32, u32, Literal), Names, foldhash::fast::FixedState>,
    patterns: Vec<Pattern>,
}

/// The names that one process has under one protocol.
#[derive(Default)]
struct Names {
    /// When something was last counted under one, nanoseconds since boot.
    used_ns: u64,
    routes: Routes,
    targets: HashMap<Box<str>, Arc<str>, foldhash::fast::RandomState>,
}

impl Names {
    /// A name that is kept once; what is beyond the limit is [`OTHER`].
    fn target(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.targets.get(name) {
            return Arc::clone(known);
        }
        let name = if self.targets.len() < TARGETS { name } else { OTHER };
        let kept: Arc<str> = name.into();
        Arc::clone(self.targets.entry(name.into()).or_insert(kept))
    }
}

impl Tallies {
    /// One request and its answer.
    pub(super) fn exchange(&mut self, party: Party, peer: Option<SocketAddr>, exchange: &Exchange<'_>) {
        let process = (party.process.slot, party.process.generation);
        let named = (process.0, process.1, Literal(exchange.protocol));
        let room = self.names.len() < NAMED || self.names.contains_key(&named);
        // Everybody beyond that shares what is known, and so the bounds of one.
        let names = self.names.entry(if room { named } else { (u32::MAX, 0, named.2) }).or_default();
        names.used_ns = exchange.ended_ns;
        let target = match exchange.protocol {
            _ if exchange.operation == UNSEEN => names.target(""),
            "http" if party.role == Role::Client => {
                let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
                names.target(&peer)
            }
            "http" => {
                let code = match exchange.status.code {
                    Code::Number(code) => Some(code),
                    Code::None | Code::Word(_) => None,
                };
                let route = names.routes.route(exchange.target, code, &self.patterns).to_owned();
                names.target(&route)
            }
            // Methods have no parameters in them, but who asks for one that is not implemented (12) may have made it up.
            "grpc" => {
                let made_up = exchange.status.code == Code::Number(12);
                let code = if made_up { 404 } else { 200 };
                let route = names.routes.route(exchange.target, Some(code), &self.patterns).to_owned();
                names.target(&route)
            }
            // Names that are asked for are what users typed.
            "dns" => names.target(""),
            _ => names.target(exchange.target),
        };
        let duration_ns = exchange.ended_ns.saturating_sub(exchange.began_ns);
        let failed = matches!(exchange.status.outcome, Outcome::ClientError | Outcome::ServerError);
        let traffic = Traffic {
            connections: 0,
            requests: 1,
            errors: u64::from(failed),
            sum_ns: duration_ns,
            bytes: [exchange.request_bytes, exchange.response_bytes],
            last_ns: exchange.ended_ns,
        };
        self.traffic(party, exchange.protocol, peer, &traffic);
        self.keep(party, peer, exchange, &target, duration_ns);
        let key = Key {
            process,
            serves: party.role == Role::Server,
            protocol: Literal(exchange.protocol),
            operation: Literal(exchange.operation),
            target,
            outcome: exchange.status.outcome,
            code: exchange.status.code,
        };
        if self.tallies.len() >= KEYS && !self.tallies.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        self.tallies.entry(key).or_default().add(duration_ns, exchange.request_bytes, exchange.response_bytes);
    }

    /// A connection with another end, or what went over it.
    pub(super) fn traffic(
        &mut self,
        party: Party,
        protocol: &'static str,
        peer: Option<SocketAddr>,
        traffic: &Traffic,
    ) {
        let Some(mut peer) = peer else { return };
        let serves = party.role == Role::Server;
        if serves {
            peer.set_port(0);
        }
        let process = (party.process.slot, party.process.generation);
        let edge = Edge { party: process, serves, protocol: Literal(protocol), peer };
        if !dependencies::add(&mut self.edges, edge, traffic) {
            self.edges_dropped += 1;
        }
    }

    /// A connection has begun; or it has ended, and nothing was understood of it.
    pub(super) fn end(&mut self, party: Party, local: SocketAddr) {
        if self.ends.len() < ENDS {
            self.ends.push(((party.process.slot, party.process.generation), party.role == Role::Server, local));
        }
    }

    fn keep(
        &mut self,
        party: Party,
        peer: Option<SocketAddr>,
        exchange: &Exchange<'_>,
        target: &Arc<str>,
        duration_ns: u64,
    ) {
        // Nearly every request ends here.
        if duration_ns <= self.least_ns {
            return;
        }
        let fastest = self.slowest.iter().enumerate().min_by_key(|(_, slow)| slow.duration_ns);
        let place = match fastest {
            Some((at, _)) if self.slowest.len() >= SLOWEST => at,
            _ => self.slowest.len(),
        };
        let slow = Slow {
            party,
            peer,
            protocol: exchange.protocol,
            operation: exchange.operation,
            target: Arc::clone(target),
            statement: exchange.statement.into(),
            code: exchange.status.code,
            began_ns: exchange.began_ns,
            first_byte_ns: exchange.first_byte_ns.saturating_sub(exchange.began_ns),
            duration_ns,
            bytes: [exchange.request_bytes, exchange.response_bytes],
        };
        match self.slowest.get_mut(place) {
            Some(entry) => *entry = slow,
            None => self.slowest.push(slow),
        }
        if self.slowest.len() >= SLOWEST {
            self.least_ns = self.slowest.iter().map(|slow| slow.duration_ns).min().unwrap_or(0);
        }
    }

    /// Counts HTTP requests under these routes from now on.
    pub(super) fn set_patterns(&mut self, patterns: Vec<Pattern>) {
        self.patterns = patterns;
    }

    /// Forgets the names of who has asked and answered nothing for a while. To be called now and then.
    pub(super) fn expire(&mut self, now_ns: u64) {
        self.names.retain(|_, names| now_ns.saturating_sub(names.used_ns) < NAMES_NS);
    }

    /// What was heard since the last time; what names are known is kept.
    pub(super) fn take(&mut self) -> Self {
        let (names, patterns) = (std::mem::take(&mut self.names), std::mem::take(&mut self.patterns));
        let taken = std::mem::take(self);
        (self.names, self.patterns) = (names, patterns);
        taken
    }

    /// Something is uncertain.
    pub(super) fn doubt(&mut self, protocol: &'static str, doubt: Doubt, count: u64) {
        *self.doubts.entry((protocol, doubt)).or_default() += count;
    }
}
