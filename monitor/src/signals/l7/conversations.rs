//! From records of the kernel to conversations: one for each connection that is told of, bounded in number and memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use monitor_common::{
    process_slot::SlotRef,
    record::{Header, Kind},
    signals::{
        l7::{
            Class, Ends, LAST_RECEIVED, LAST_SENT, SEGMENT_DATAGRAM, SEGMENT_FIRST, SEGMENT_SENT, SEGMENT_TLS,
            SegmentHead, SegmentsEnd, Turn,
        },
        tcp::{RECEIVED, Role, SENT},
    },
};
use zerocopy::FromBytes as _;

use super::dependencies::Traffic;
use super::tally::{Party, Tallies};
use crate::l7::{Connection, Doubt, Exchange, Segment, Side, Sink, dns};

/// Connections that are listened to at one time. Each takes what [`crate::l7::HELD_MAX`] says at most, all together
/// [`HELD`].
pub(super) const CONNECTIONS: usize = 65_536;
/// Bytes that all conversations together may hold; beyond that the ones that hold most are given up first.
pub(super) const HELD: usize = 64 << 20;
/// A connection of which nothing was heard for so long is forgotten, nanoseconds: its end may have been lost.
const FORGOTTEN_NS: u64 = 600_000_000_000;
/// The same of datagrams: longer than a question waits for its answer.
const DATAGRAMS_NS: u64 = 20_000_000_000;
/// A connection that was heard of within this time is looked at in the kernel at each tick, nanoseconds …
const LOOKED_NS: u64 = 3_000_000_000;
/// … at most so many.
const LOOKS: usize = 4_096;
/// The protocol of a connection of which none is known.
const UNKNOWN: &str = "unknown";
/// `AF_INET6`.
const AF_INET6: u16 = libc::AF_INET6 as u16;

/// One connection, as one of its ends sees it.
struct Heard {
    connection: Connection,
    /// Of datagrams, whose end nobody tells.
    datagram: bool,
    /// Who this end is.
    side: Side,
    /// The process that used it last.
    process: SlotRef,
    peer: Option<SocketAddr>,
    /// This end, until the connection is put down as one between the two.
    local: Option<SocketAddr>,
    /// Bytes sent and received as far as the conversation knows.
    told: [u64; 2],
    /// Which way the last bytes went that were heard of.
    last: usize,
    /// When something was last heard, nanoseconds since boot.
    heard_ns: u64,
}

/// All of them.
#[derive(Default)]
pub(super) struct Conversations {
    heard: HashMap<u64, Heard, foldhash::fast::FixedState>,
    /// Connections that found no room.
    pub(super) refused: u64,
    /// Connections of which nothing can be told because they are encrypted.
    pub(super) encrypted: u64,
    /// Connections that began with nothing that is known.
    pub(super) unknown: u64,
    /// Conversations heard inside TLS: with known peers, and with unknown ones.
    pub(super) inside_tls: [u64; 2],
    /// Records that could not be decoded.
    pub(super) undecodable: u64,
}

impl Conversations {
    /// How many are listened to.
    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }

    /// Hears a record.
    pub(super) fn take(&mut self, header: &Header, record: &[u8], tallies: &mut Tallies) {
        let known = match Kind::from_number(header.kind) {
            Some(Kind::Segment) => self.segment(record, tallies),
            Some(Kind::SegmentsEnd) => self.end(record, tallies),
            _ => None,
        };
        if known.is_none() {
            self.undecodable += 1;
        }
    }

    fn segment(&mut self, record: &[u8], tallies: &mut Tallies) -> Option<()> {
        let (head, rest) = SegmentHead::ref_from_prefix(record).ok()?;
        let first = head.flags & SEGMENT_FIRST != 0;
        let datagram = head.flags & SEGMENT_DATAGRAM != 0;
        let (ends, bytes) = if first || datagram {
            let (ends, rest) = Ends::read_from_prefix(rest).ok()?;
            (Some(ends), rest)
        } else {
            (None, rest)
        };
        let bytes = bytes.get(..head.copied as usize)?;
        if head.class == Class::Tls as u8 || head.class == Class::Ignored as u8 {
            let encrypted = head.class == Class::Tls as u8;
            if encrypted {
                self.encrypted += 1;
            } else {
                self.unknown += 1;
            }
            let role = if u32::from(head.role) == Role::Server as u32 { Role::Server } else { Role::Client };
            let party = Party { process: head.process, role };
            if let Some(ends) = ends.as_ref() {
                let traffic = Traffic { connections: 1, last_ns: head.header.time_ns, ..Traffic::default() };
                tallies.traffic(party, if encrypted { "tls" } else { UNKNOWN }, peer(ends), &traffic);
                if let Some(local) = local(ends) {
                    tallies.end(party, local);
                }
            }
            return Some(());
        }
        let sent = head.flags & SEGMENT_SENT != 0;
        let way = if sent { SENT } else { RECEIVED };
        let side = match head.role {
            role if u32::from(role) == Role::Client as u32 => Side::Client,
            role if u32::from(role) == Role::Server as u32 => Side::Server,
            // Older than the daemon: who is spoken to first is asked, until the bytes say otherwise.
            _ if sent => Side::Client,
            _ => Side::Server,
        };
        // Nobody tells when a socket of datagrams is closed; the next one with its address may be at the other end.
        let another = |heard: &Heard| heard.datagram != datagram || datagram && heard.side != side;
        if first || self.heard.get(&head.sock).is_some_and(another) {
            // Another connection had this address, and its end was lost.
            self.forget(head.sock, head.header.time_ns, tallies);
        }
        if !self.heard.contains_key(&head.sock) {
            if self.heard.len() >= CONNECTIONS {
                self.refused += 1;
                return Some(());
            }
            let peer = ends.as_ref().and_then(peer);
            if head.flags & SEGMENT_TLS != 0 {
                self.inside_tls[usize::from(peer.is_none())] += 1;
            }
            let heard = Heard {
                connection: match (datagram, head.class == Class::Dns as u8) {
                    (true, _) => Connection::of(&dns::UDP),
                    // By its port: some read the length of a message by itself, which looks like nothing.
                    (false, true) => Connection::of(&dns::TCP),
                    (false, false) => Connection::new(),
                },
                datagram,
                side,
                process: head.process,
                peer,
                told: head.positions,
                local: ends.as_ref().and_then(local).filter(|_| !datagram),
                last: way,
                heard_ns: 0,
            };
            self.heard.insert(head.sock, heard);
        }
        let heard = self.heard.get_mut(&head.sock)?;
        heard.process = head.process;
        let mut position = head.positions[way];
        if datagram {
            position = heard.told[way];
            heard.peer = ends.as_ref().and_then(peer);
        } else {
            heard.catch_up(head.positions, head.ended_ns, tallies);
        }
        let segment = Segment {
            to: heard.receiver(way),
            position,
            length: u64::from(head.length),
            began_ns: head.header.time_ns,
            ended_ns: head.header.time_ns,
            bytes,
        };
        heard.told[way] = position + u64::from(head.length);
        (heard.last, heard.heard_ns) = (way, head.header.time_ns);
        heard.hear(&segment, tallies);
        Some(())
    }

    fn end(&mut self, record: &[u8], tallies: &mut Tallies) -> Option<()> {
        let (end, _) = SegmentsEnd::ref_from_prefix(record).ok()?;
        if let Some(heard) = self.heard.get_mut(&end.sock) {
            heard.catch_up(end.positions, end.ended_ns, tallies);
        }
        self.forget(end.sock, end.header.time_ns, tallies);
        Some(())
    }

    fn forget(&mut self, sock: u64, now_ns: u64, tallies: &mut Tallies) {
        if let Some(mut heard) = self.heard.remove(&sock) {
            let mut sink = heard.sink(tallies);
            heard.connection.close(now_ns, &mut sink);
            sink.settle();
            heard.put_down(now_ns, tallies);
        }
    }

    /// Time passes: to be called about once a second. `look` tells where a socket's conversation is in the kernel.
    pub(super) fn tick(&mut self, now_ns: u64, tallies: &mut Tallies, look: impl Fn(u64) -> Option<Turn>) {
        let (mut held, mut looks) = (0, 0);
        tallies.expire(now_ns);
        self.heard.retain(|sock, heard| {
            // A long answer goes by without records of its own.
            if !heard.datagram && now_ns.saturating_sub(heard.heard_ns) < LOOKED_NS && looks < LOOKS {
                looks += 1;
                if let Some(turn) = look(*sock) {
                    heard.goes_on(&turn, tallies);
                }
            }
            let mut sink = heard.sink(tallies);
            heard.connection.tick(now_ns, &mut sink);
            held += heard.connection.bytes_held();
            if held > HELD {
                heard.connection.close(now_ns, &mut sink);
                sink.doubt(Doubt::OverLimit, 1);
                sink.settle();
                return false;
            }
            let silent = now_ns.saturating_sub(heard.heard_ns);
            let over = silent >= if heard.datagram { DATAGRAMS_NS } else { FORGOTTEN_NS };
            if over {
                heard.connection.close(now_ns, &mut sink);
            }
            sink.settle();
            !over
        });
    }
}

impl Heard {
    /// Who receives what went this way.
    fn receiver(&self, way: usize) -> Side {
        if way == SENT { self.side.other() } else { self.side }
    }

    /// What the kernel says of a turn that may not be over. If the other way has spoken since, or may have, its record is on
    /// its way and tells the same.
    fn goes_on(&mut self, turn: &Turn, tallies: &mut Tallies) {
        let (way, other) = (self.last, 1 - self.last);
        let same = usize::from(turn.last) == if way == SENT { LAST_SENT as usize } else { LAST_RECEIVED as usize };
        let quiet = turn.positions[other] == self.told[other] && turn.class == Class::Http1 as u8;
        if same && quiet && turn.positions[way] > self.told[way] {
            self.heard_ns = self.heard_ns.max(turn.ended_ns[way]);
            self.catch_up(turn.positions, turn.ended_ns, tallies);
        }
    }

    /// What went by without a record of its own: the rest of a turn.
    fn catch_up(&mut self, positions: [u64; 2], ended_ns: [u64; 2], tallies: &mut Tallies) {
        if [SENT, RECEIVED].into_iter().all(|way| positions[way] > self.told[way]) {
            // More than a turn: records were lost. Where the next ones begin, the conversation finds the gaps itself.
            self.told = positions;
            return;
        }
        for way in [SENT, RECEIVED] {
            let length = positions[way].saturating_sub(self.told[way]);
            if length > 0 {
                let segment = Segment {
                    to: self.receiver(way),
                    position: self.told[way],
                    length,
                    began_ns: ended_ns[way],
                    ended_ns: ended_ns[way],
                    bytes: &[],
                };
                self.told[way] = positions[way];
                self.hear(&segment, tallies);
            }
        }
    }

    fn hear(&mut self, segment: &Segment<'_>, tallies: &mut Tallies) {
        let mut sink = self.sink(tallies);
        self.connection.take(segment, &mut sink);
        // What was found out about a connection at the moment when its protocol was.
        let (early, exchanged) = (std::mem::take(&mut sink.early), sink.exchanged);
        for (doubt, count) in early {
            tallies.doubt(self.connection.protocol().unwrap_or(UNKNOWN), doubt, count);
        }
        if exchanged {
            self.put_down(segment.ended_ns, tallies);
        }
    }

    /// Puts the connection down as one between its two ends, once: when its first request was answered, or at its end.
    fn put_down(&mut self, now_ns: u64, tallies: &mut Tallies) {
        let Some(local) = self.local.take() else { return };
        let party = self.party();
        let traffic = Traffic { connections: 1, last_ns: now_ns, ..Traffic::default() };
        tallies.traffic(party, self.connection.protocol().unwrap_or(UNKNOWN), self.peer, &traffic);
        tallies.end(party, local);
    }

    fn party(&self) -> Party {
        let served = (self.side == Side::Server) != self.connection.reversed();
        Party { process: self.process, role: if served { Role::Server } else { Role::Client } }
    }

    fn sink<'a>(&self, tallies: &'a mut Tallies) -> To<'a> {
        let (party, protocol) = (self.party(), self.connection.protocol());
        To { tallies, party, peer: self.peer, protocol, early: Vec::new(), exchanged: false }
    }
}

/// Puts down what a conversation finds.
struct To<'a> {
    tallies: &'a mut Tallies,
    party: Party,
    peer: Option<SocketAddr>,
    protocol: Option<&'static str>,
    /// Doubts from before the protocol was known.
    early: Vec<(Doubt, u64)>,
    /// A request was answered.
    exchanged: bool,
}

impl To<'_> {
    /// Puts down what belongs to no protocol.
    fn settle(&mut self) {
        for (doubt, count) in std::mem::take(&mut self.early) {
            self.tallies.doubt(UNKNOWN, doubt, count);
        }
    }
}

impl Sink for To<'_> {
    fn exchange(&mut self, exchange: &Exchange<'_>) {
        self.exchanged = true;
        self.tallies.exchange(self.party, self.peer, exchange);
    }

    fn doubt(&mut self, doubt: Doubt, count: u64) {
        match self.protocol {
            Some(protocol) => self.tallies.doubt(protocol, doubt, count),
            None => self.early.push((doubt, count)),
        }
    }
}

fn peer(ends: &Ends) -> Option<SocketAddr> {
    address(ends.family, ends.peer, ends.peer_port)
}

fn local(ends: &Ends) -> Option<SocketAddr> {
    address(ends.family, ends.local, ends.local_port)
}

/// `None`: what is below TLS is not known.
fn address(family: u16, bytes: [u8; 16], port: u16) -> Option<SocketAddr> {
    if family == 0 {
        return None;
    }
    let ip = if family == AF_INET6 {
        IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
    } else {
        let [a, b, c, d, ..] = bytes;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    Some(SocketAddr::new(ip, port))
}
