//! Which protocol it is, which side serves, and when to give up.

use super::*;
use crate::l7::{Connection, Verdict, recognise};

struct Heard {
    connection: Connection,
    found: Found,
    positions: [u64; 2],
}

impl Heard {
    fn new() -> Self {
        Self { connection: Connection::new(), found: Found::default(), positions: [0; 2] }
    }

    fn hear(&mut self, to: Side, bytes: &[u8]) -> &mut Self {
        let position = &mut self.positions[to as usize];
        let segment = Segment { to, position: *position, length: bytes.len() as u64, began_ns: 1, ended_ns: 2, bytes };
        *position += bytes.len() as u64;
        self.connection.take(&segment, &mut self.found);
        self
    }
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn each_protocol_is_found_by_its_first_request() {
    let cases: [(&str, &[u8], &[u8]); 4] = [
        ("http", REQUEST, ANSWER),
        ("redis", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$-1\r\n"),
        ("postgresql", b"Q\0\0\0\x0dselect 1\0", b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I"),
        (
            "dns",
            b"\0\x15\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x01b\0\0\x01\0\x01",
            b"\0\x15\0\x07\x81\x80\0\x01\0\0\0\0\0\0\x01a\x01b\0\0\x01\0\x01",
        ),
    ];
    for (name, request, answer) in cases {
        for reversed in [false, true] {
            let mut heard = Heard::new();
            let server = if reversed { Side::Client } else { Side::Server };
            heard.hear(server, request).hear(server.other(), answer);
            assert_eq!(heard.connection.protocol(), Some(name), "reversed: {reversed}");
            assert_eq!(heard.connection.reversed(), reversed, "{name}");
            heard.connection.close(3, &mut heard.found);
            assert_eq!(heard.found.exchanges.len(), 1, "{name}, reversed: {reversed}");
            assert_eq!(heard.found.doubts(Doubt::Reversed), u64::from(reversed), "{name}");
        }
    }
}

#[test]
fn a_connection_that_begins_in_the_middle_is_found_later() {
    let mut heard = Heard::new();
    heard
        .hear(Side::Client, b"\x89PNG body of an earlier answer")
        .hear(Side::Server, REQUEST)
        .hear(Side::Client, ANSWER);
    assert_eq!((heard.connection.protocol(), heard.found.exchanges.len()), (Some("http"), 1));
}

#[test]
fn what_is_no_protocol_is_given_up() {
    let mut heard = Heard::new();
    for _ in 0..20 {
        heard.hear(Side::Server, b"\xff\xfe\xfd\xfc some other thing").hear(Side::Client, b"\xff\xff\xff\xff");
    }
    assert!(heard.connection.finished());
    assert_eq!(heard.found.doubts, [(Doubt::UnknownProtocol, 1)]);
    assert_eq!(heard.connection.bytes_held(), 0);
}

#[test]
fn what_only_imitates_a_protocol_is_given_up_too() {
    let mut heard = Heard::new();
    heard.hear(Side::Server, REQUEST);
    for _ in 0..20 {
        heard.hear(Side::Client, b"no answer at all").hear(Side::Server, b"no request at all");
    }
    assert!(heard.connection.finished());
    assert_eq!(heard.found.doubts(Doubt::UnknownProtocol), 1);
    assert_eq!(heard.found.exchanges, []);
}

#[test]
fn nothing_is_recognised_in_noise() {
    for head in [
        &b""[..],
        b"\0",
        b"\xff",
        b"hello",
        b"\x16\x03\x01\x02\0\x01",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"220 mail ESMTP\r\n",
        b"\0\0\0\x33\0\x12\0\x04\0\0\0\x01\0\x13kafka",
    ] {
        for to in [Side::Server, Side::Client] {
            let found = recognise(&crate::l7::STREAMS, head, to);
            assert!(
                found.is_none_or(|it| it.verdict < Verdict::Yes),
                "{head:?}: {:?}",
                found.map(|it| it.protocol.name())
            );
        }
    }
}

#[test]
fn a_server_that_reads_lengths_and_heads_by_themselves_is_understood_from_the_first() {
    let cases = [
        ("kafka", 4, kafka::request(18, 3, b"\0\0\0"), kafka::answer(b"\0\0\x01\0\0\0\0\0")),
        (
            "mongodb",
            16,
            mongodb::request(&mongodb::document(&[mongodb::int("ping", 1)])),
            mongodb::answer(&mongodb::ok()),
        ),
        ("postgresql", 4, b"\0\0\0\x14\0\x03\0\0user\0alice\0\0".to_vec(), b"E\0\0\0\x0cC28000\0\0".to_vec()),
        // A short one that nothing follows.
        ("redis", 14, b"*1\r\n$4\r\nPING\r\n".to_vec(), b"+PONG\r\n".to_vec()),
    ];
    for (name, first, request, answer) in cases {
        let mut heard = Heard::new();
        heard.hear(Side::Server, &request[..first]);
        if first < request.len() {
            heard.hear(Side::Server, &request[first..]);
        }
        heard.hear(Side::Client, &answer);
        heard.connection.close(3, &mut heard.found);
        assert_eq!((heard.connection.protocol(), heard.found.exchanges.len()), (Some(name), 1), "{:?}", heard.found);
        assert_eq!(heard.found.exchanges[0].bytes.0, request.len() as u64);
    }
}
