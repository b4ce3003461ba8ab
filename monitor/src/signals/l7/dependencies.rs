//! Who calls whom, for `/api/v1/map`: from the ends of connections and from the requests that go over them.
//!
//! A server on this host is known by the address at which it is spoken to. So a client's address of it is that server, and
//! the server's side of the same connection says nothing new.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::tally::Literal;
use crate::processes::{GroupId, Groups};

/// Pairs of caller and called, by protocol, that are kept.
const EDGES: usize = 4_096;
/// Addresses of this host's own servers and clients that are kept.
const ADDRESSES: usize = 16_384;

/// What went from one to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Connections whose beginning was seen, or that were given up.
    pub(super) connections: u64,
    /// Requests that were understood.
    pub(super) requests: u64,
    /// Those of them that were answered with an error.
    pub(super) errors: u64,
    /// Sum of their durations, nanoseconds.
    pub(super) sum_ns: u64,
    /// Bytes of requests and of answers.
    pub(super) bytes: [u64; 2],
    /// When something was last heard, nanoseconds since boot.
    pub(super) last_ns: u64,
}

impl Traffic {
    /// Adds what happened later or elsewhere.
    pub(super) fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.errors += other.errors;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.bytes[0] += other.bytes[0];
        self.bytes[1] += other.bytes[1];
        self.last_ns = self.last_ns.max(other.last_ns);
    }
}

/// One end's view: whose slot, whether it serves, the protocol, and the other end. A client's own port says nothing: of
/// callers only the address is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Edge<P> {
    /// A process's slot, or a group.
    pub(super) party: P,
    /// It serves, else it asks.
    pub(super) serves: bool,
    /// The protocol, or why none is known.
    pub(super) protocol: Literal,
    /// The other end, with port 0 if it asks.
    pub(super) peer: SocketAddr,
}

/// Adds to an entry of a bounded table; `false`: there was no room.
pub(super) fn add<K: std::hash::Hash + Eq, S: std::hash::BuildHasher>(
    edges: &mut HashMap<K, Traffic, S>,
    key: K,
    traffic: &Traffic,
) -> bool {
    let room = edges.len() < EDGES || edges.contains_key(&key);
    if room {
        edges.entry(key).or_default().merge(traffic);
    }
    room
}

/// What is known of all groups.
#[derive(Default)]
pub(super) struct Dependencies {
    edges: HashMap<Edge<GroupId>, Traffic>,
    /// Where this host's servers are spoken to.
    servers: HashMap<SocketAddr, GroupId>,
    /// Addresses of this host's clients.
    clients: HashSet<IpAddr>,
    /// Pairs that found no room.
    pub(super) dropped: u64,
}

impl Dependencies {
    /// What one end's connections with another carried.
    pub(super) fn add(&mut self, edge: Edge<GroupId>, traffic: &Traffic) {
        if !add(&mut self.edges, edge, traffic) {
            self.dropped += 1;
        }
    }

    /// This end of a connection is a group's.
    pub(super) fn end(&mut self, group: GroupId, serves: bool, local: SocketAddr) {
        if serves && self.servers.len() < ADDRESSES {
            self.servers.insert(local, group);
        } else if !serves && self.clients.len() < ADDRESSES {
            self.clients.insert(local.ip());
        }
    }

    /// Forgets groups that lost their series.
    pub(super) fn expire(&mut self, groups: &[GroupId]) {
        self.edges.retain(|edge, _| !groups.contains(&edge.party));
        self.servers.retain(|_, group| !groups.contains(group));
    }

    /// `{"edges":[…],"dropped":0}`, the busiest first.
    pub(super) fn describe(&self, groups: &Groups, time: impl Fn(u64) -> String) -> Value {
        let group = |id: GroupId| groups.name_of(id).map(|name| json!({ "group": name }));
        let mut merged: HashMap<(String, String, &'static str), (Value, Value, Traffic)> = HashMap::new();
        for (edge, traffic) in &self.edges {
            let Some(own) = group(edge.party) else { continue };
            let (from, to) = if edge.serves {
                // Told by its caller, who is here, too.
                if self.clients.contains(&edge.peer.ip()) {
                    continue;
                }
                (json!({ "address": edge.peer.ip().to_string() }), own)
            } else {
                let server = self.servers.get(&edge.peer).and_then(|id| group(*id));
                (own, server.unwrap_or_else(|| json!({ "address": edge.peer.to_string() })))
            };
            let key = (from.to_string(), to.to_string(), edge.protocol.0);
            merged.entry(key).or_insert((from, to, Traffic::default())).2.merge(traffic);
        }
        let mut edges: Vec<_> = merged.into_iter().collect();
        edges.sort_by(|(one, (.., a)), (other, (.., b))| {
            (b.requests, b.connections).cmp(&(a.requests, a.connections)).then_with(|| one.cmp(other))
        });
        let edges: Vec<Value> = edges
            .into_iter()
            .map(|((_, _, protocol), (from, to, traffic))| {
                json!({
                    "from": from,
                    "to": to,
                    "protocol": protocol,
                    "connections": traffic.connections,
                    "requests": traffic.requests,
                    "errors": traffic.errors,
                    "duration_seconds": traffic.sum_ns as f64 / 1e9,
                    "request_bytes": traffic.bytes[0],
                    "response_bytes": traffic.bytes[1],
                    "last": time(traffic.last_ns),
                })
            })
            .collect();
        json!({ "edges": edges, "dropped": self.dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(party: u32, serves: bool, protocol: &'static str, peer: &str) -> Edge<u32> {
        Edge { party, serves, protocol: Literal(protocol), peer: peer.parse().unwrap() }
    }

    #[test]
    fn traffic_adds_up_and_the_table_has_an_end() {
        let mut edges = HashMap::new();
        let one = Traffic { requests: 2, errors: 1, sum_ns: 5, bytes: [3, 4], last_ns: 9, connections: 1 };
        assert!(add(&mut edges, edge(1, true, "http", "10.0.0.1:0"), &one));
        assert!(add(&mut edges, edge(1, true, "http", "10.0.0.1:0"), &Traffic { last_ns: 3, ..one }));
        let sum = Traffic { requests: 4, errors: 2, sum_ns: 10, bytes: [6, 8], last_ns: 9, connections: 2 };
        assert_eq!(edges.values().collect::<Vec<_>>(), [&sum]);
        for number in 0..EDGES as u32 - 1 {
            assert!(add(&mut edges, edge(number, false, "redis", "10.0.0.1:6379"), &one));
        }
        assert!(!add(&mut edges, edge(0, true, "redis", "10.0.0.1:0"), &one), "no room");
        assert!(add(&mut edges, edge(1, true, "http", "10.0.0.1:0"), &one), "what is there goes on");
        assert_eq!(edges.len(), EDGES);
    }
}
