//! From records to numbers, without a kernel.

use monitor_common::{
    process_slot::SlotRef,
    record::{ABI_VERSION, Header, Kind},
    signals::{
        l7::{Class, Ends, SEGMENT_DATAGRAM, SEGMENT_FIRST, SEGMENT_SENT, SegmentHead, SegmentsEnd, Turn},
        tcp::{ROLE_UNKNOWN, Role},
    },
};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::conversations::{CONNECTIONS, Conversations};
use super::tally::{BOUNDS_NS, Key, Literal, OTHER, Tallies, Tally};
use super::*;
use crate::l7::Word;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What one end of one connection says and hears, as records.
struct End {
    sock: u64,
    role: u32,
    positions: [u64; 2],
    ended_ns: [u64; 2],
    first: bool,
    now_ns: u64,
}

impl End {
    fn new(sock: u64, role: u32) -> Self {
        Self { sock, role, positions: [0; 2], ended_ns: [0; 2], first: true, now_ns: 1_000_000_000 }
    }

    /// A record: `sent` or received, of a call that moved `length` bytes, of which these are the first.
    fn record(&mut self, sent: bool, bytes: &[u8], length: usize) -> (Header, Vec<u8>) {
        let header = Header { kind: Kind::Segment as u16, abi: ABI_VERSION, time_ns: self.now_ns, ..Header::default() };
        let mut flags = if sent { SEGMENT_SENT } else { 0 };
        if self.first {
            flags |= SEGMENT_FIRST;
        }
        let head = SegmentHead {
            header,
            sock: self.sock,
            process: SlotRef { slot: 9, generation: 1 },
            positions: self.positions,
            ended_ns: self.ended_ns,
            length: length as u32,
            copied: bytes.len() as u32,
            flags,
            class: Class::Http1 as u8,
            role: self.role as u8,
            reserved: 0,
        };
        let mut record = head.as_bytes().to_vec();
        if self.first {
            let ends = Ends { peer_port: 80, family: libc::AF_INET as u16, ..Ends::default() };
            record.extend_from_slice(ends.as_bytes());
        }
        record.extend_from_slice(bytes);
        self.first = false;
        self.pass(usize::from(!sent), length);
        (header, record)
    }

    /// The record of a datagram of DNS.
    fn datagram(&mut self, sent: bool, bytes: &[u8]) -> (Header, Vec<u8>) {
        self.first = true;
        let (header, mut record) = self.record(sent, bytes, bytes.len());
        let (head, _) = SegmentHead::mut_from_prefix(&mut record).unwrap();
        head.flags = SEGMENT_DATAGRAM | if sent { SEGMENT_SENT } else { 0 };
        (head.class, head.positions, head.ended_ns) = (Class::Dns as u8, [0; 2], [0; 2]);
        (header, record)
    }

    /// Bytes of which there is no record.
    fn pass(&mut self, way: usize, length: usize) {
        self.positions[way] += length as u64;
        self.ended_ns[way] = self.now_ns;
        self.now_ns += 1_000_000;
    }

    fn end(&self) -> (Header, Vec<u8>) {
        let header =
            Header { kind: Kind::SegmentsEnd as u16, abi: ABI_VERSION, time_ns: self.now_ns, ..Header::default() };
        let end = SegmentsEnd { header, sock: self.sock, positions: self.positions, ended_ns: self.ended_ns };
        (header, end.as_bytes().to_vec())
    }
}

fn take(conversations: &mut Conversations, tallies: &mut Tallies, (header, record): (Header, Vec<u8>)) {
    conversations.take(&header, &record, tallies);
}

fn only(tallies: &Tallies) -> (&Key, &Tally) {
    assert_eq!(tallies.tallies.len(), 1, "{:?}", tallies.tallies);
    tallies.tallies.iter().next().unwrap()
}

#[test]
fn a_request_and_its_answer_are_one() {
    for (role, serves) in [(Role::Server as u32, true), (Role::Client as u32, false)] {
        let (mut conversations, mut tallies) = (Conversations::default(), Tallies::default());
        let mut end = End::new(1, role);
        let get = b"GET /orders/17?name=ann HTTP/1.1\r\n\r\n";
        take(&mut conversations, &mut tallies, end.record(!serves, get, get.len()));
        take(&mut conversations, &mut tallies, end.record(serves, ANSWER, ANSWER.len()));
        let (key, tally) = only(&tallies);
        assert_eq!((key.serves, key.operation.0, key.code), (serves, "GET", Code::Number(200)));
        assert_eq!(&*key.target, if serves { "/orders/*" } else { "0.0.0.0:80" });
        assert_eq!((tally.count(), tally.sum_ns), (1, 1_000_000));
        assert_eq!((tally.request_bytes, tally.response_bytes), (get.len() as u64, ANSWER.len() as u64));
    }
}

/// A long answer goes by without records of its own: what is left of it is told by the next one, the end, or the kernel.
#[test]
fn an_answer_lasts_until_its_last_byte() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    for how in ["next", "end", "kernel"] {
        let (mut conversations, mut tallies) = (Conversations::default(), Tallies::default());
        let mut end = End::new(1, Role::Server as u32);
        let get = b"GET /long HTTP/1.1\r\n\r\n";
        take(&mut conversations, &mut tallies, end.record(false, get, get.len()));
        take(&mut conversations, &mut tallies, end.record(true, head, head.len() + 40_000));
        end.now_ns += 300_000_000;
        end.pass(0, 60_000);
        assert!(tallies.tallies.is_empty(), "it is not over");
        let turn = Turn {
            class: Class::Http1 as u8,
            last: 1,
            positions: end.positions,
            ended_ns: end.ended_ns,
            ..Turn::default()
        };
        match how {
            "next" => take(&mut conversations, &mut tallies, end.record(false, get, get.len())),
            "end" => take(&mut conversations, &mut tallies, end.end()),
            _ => conversations.tick(end.now_ns, &mut tallies, |sock| (sock == 1).then_some(turn)),
        }
        let (_, tally) = only(&tallies);
        assert_eq!((tally.count(), tally.sum_ns), (1, 302_000_000), "{how}");
        assert_eq!(tally.response_bytes, head.len() as u64 + 100_000, "{how}");
    }
}

#[test]
fn who_serves_is_found_out_where_nobody_says() {
    for asks in [true, false] {
        let (mut conversations, mut tallies) = (Conversations::default(), Tallies::default());
        let mut end = End::new(1, ROLE_UNKNOWN);
        // The daemon came between a request and its answer.
        take(&mut conversations, &mut tallies, end.record(!asks, ANSWER, ANSWER.len()));
        let get = b"GET /x HTTP/1.1\r\n\r\n";
        take(&mut conversations, &mut tallies, end.record(asks, get, get.len()));
        take(&mut conversations, &mut tallies, end.record(!asks, ANSWER, ANSWER.len()));
        let (key, tally) = only(&tallies);
        assert_eq!((key.serves, tally.count()), (!asks, 1));
        assert!(tallies.doubts.contains_key(&("http", Doubt::UnmatchedResponse)), "{:?}", tallies.doubts);
    }
}

#[test]
fn a_socket_of_datagrams_with_the_address_of_another_is_not_taken_for_it() {
    let (mut conversations, mut tallies) = (Conversations::default(), Tallies::default());
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
    let mut answer = *question;
    (answer[2], answer[3]) = (0x81, 0x80);
    for (turn, role) in [Role::Server, Role::Client, Role::Client, Role::Server].into_iter().enumerate() {
        let mut end = End::new(1, role as u32);
        end.now_ns *= turn as u64 + 1;
        let asks = role as u32 == Role::Client as u32;
        for (sent, bytes) in [(asks, question), (!asks, &answer)] {
            let (header, record) = end.datagram(sent, bytes);
            conversations.take(&header, &record, &mut tallies);
        }
    }
    let count = |serves| {
        let of = tallies.tallies.iter().filter(|(key, _)| key.serves == serves && key.protocol.0 == "dns");
        of.map(|(_, tally)| tally.count()).sum::<u64>()
    };
    assert_eq!((count(true), count(false)), (2, 2), "{:?}", tallies.doubts);
    assert!(tallies.doubts.is_empty(), "{:?}", tallies.doubts);
}

#[test]
fn what_is_no_record_is_counted_and_harmless() {
    let (mut conversations, mut tallies) = (Conversations::default(), Tallies::default());
    let mut end = End::new(1, Role::Server as u32);
    let (header, record) = end.record(false, ANSWER, ANSWER.len());
    for length in 0..record.len() {
        conversations.take(&header, &record[..length], &mut tallies);
    }
    assert_eq!(conversations.undecodable, record.len() as u64);
    assert!(tallies.tallies.is_empty());
}

#[test]
fn connections_are_bounded_and_forgotten() {
    let (mut conversations, mut tallies) = (Conversations::default(), Tallies::default());
    let get = b"GET /x HTTP/1.1\r\n\r\n";
    for sock in 0..CONNECTIONS as u64 + 5 {
        take(&mut conversations, &mut tallies, End::new(sock, Role::Server as u32).record(false, get, get.len()));
    }
    assert_eq!((conversations.len(), conversations.refused), (CONNECTIONS, 5));
    conversations.tick(3_600_000_000_000, &mut tallies, |_| None);
    assert_eq!(conversations.len(), 0);
    let unanswered: u64 = tallies.doubts.values().sum();
    assert_eq!(unanswered, CONNECTIONS as u64);
}

#[test]
fn names_beyond_the_limit_are_counted_together() {
    let mut totals = Totals::default();
    let tally = |duration| {
        let mut tally = Tally::default();
        tally.add(duration, 1, 2);
        tally
    };
    for number in 0..TARGETS + 20 {
        let key = Key {
            process: (1, 1),
            serves: true,
            protocol: Literal("postgresql"),
            operation: Literal("SELECT"),
            target: format!("table{number}").into(),
            outcome: Outcome::ServerError,
            code: Word::new(format!("4{number:04}").as_bytes()).map_or(Code::None, Code::Word),
        };
        totals.add(key, &tally(BOUNDS_NS[0]));
    }
    assert_eq!((totals.requests.len(), totals.errors.len()), (TARGETS + 1, CODES + 1));
    let other = totals.requests.iter().find(|(series, _)| &*series.target == OTHER).unwrap();
    assert_eq!((other.1.count(), other.1.buckets[0], other.0.status), (20, 20, "server_error"));
}
