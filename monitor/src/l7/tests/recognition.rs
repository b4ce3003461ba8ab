//! Every protocol's first messages are taken for its own, whichever side serves.

use proptest::prelude::*;

use super::{
    http2 as frames, kafka as brokers, memcached as caches, mongodb as documents, mysql as packets,
    truth::{Content, Talks},
    *,
};
use crate::l7::{STREAMS, Verdict, recognise};

/// What clients of each protocol say first, or in the middle of a connection.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("http", b"POST /get/k HTTP/1.0\r\n\r\n".to_vec()),
        ("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("http2", frames::frame(1, 5, 17, b"\x82\x86\xbe\xc1")),
        ("http2", frames::frame(1, 4, 1, &frames::request("/a"))),
        ("redis", b"*1\r\n$4\r\nPING\r\n".to_vec()),
        ("redis", b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n".to_vec()),
        ("memcached", b"get some:key\r\n".to_vec()),
        ("memcached", b"set some:key 0 60 5\r\nhello\r\n".to_vec()),
        ("memcached", b"mg some:key v\r\n".to_vec()),
        ("memcached", b"version\r\n".to_vec()),
        ("memcached", caches::binary(0x80, 0x0b, 0, "", "")),
        ("memcached", caches::binary(0x80, 0x00, 0, "some:key", "")),
        ("mysql", packets::query("SELECT @@version")),
        ("mysql", packets::query("/* a comment */ select 1")),
        ("mysql", packets::query("set autocommit=0")),
        ("mysql", packets::execute(1, 20)),
        ("mysql", packets::packet(0, b"\x0e")),
        (
            "mongodb",
            documents::request(&documents::document(&[documents::text("find", "c"), documents::text("$db", "d")])),
        ),
        ("mongodb", documents::handshake()),
        ("mongodb", documents::compressed(0)),
        ("kafka", brokers::request(18, 0, b"")),
        ("kafka", brokers::request(3, 0, b"\0\0\0\0")),
        ("kafka", brokers::request(3, 1, b"\0\0\0\x01\0\x01t")),
        ("kafka", brokers::produce(9, 1, "orders", b"value")),
        ("kafka", brokers::fetch(17, "orders")),
        ("postgresql", b"\0\0\0\x16\0\x03\0\0user\0alice\0\0".to_vec()),
        ("postgresql", b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()),
        ("postgresql", b"Q\0\0\0\x0dselect 1\0".to_vec()),
        ("dns", b"\0\x15\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x01b\0\0\x01\0\x01".to_vec()),
        (
            "dns",
            b"\0\x1d\xab\xcd\x01\x20\0\x01\0\0\0\0\0\x01\x01a\x01b\0\0\x1c\0\x01\0\0\x29\x10\0\0\0\0\0\0\0".to_vec(),
        ),
    ]
}

#[test]
fn each_first_request_is_of_its_protocol() {
    for (name, request) in requests() {
        for (side, reversed) in [(Side::Server, false), (Side::Client, true)] {
            let found = recognise(&STREAMS, &request, side).expect(name);
            let is = (found.protocol.name(), found.verdict, found.reversed);
            assert_eq!(is, (name, Verdict::Yes, reversed), "{}", request.escape_ascii());
        }
        let sure: Vec<_> = STREAMS
            .iter()
            .filter(|it| it.recognise(&request, Side::Server) == Verdict::Yes)
            .map(|it| it.name())
            .collect();
        assert_eq!(sure, [name], "nobody else is sure of {}", request.escape_ascii());
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// A query whose length may be anything, so that the head of its packet may look like another protocol's.
    #[test]
    fn any_length_of_a_query_is_recognised(words in 0_usize..40_000) {
        let request = packets::query(&format!("select {}", "a".repeat(words)));
        let found = recognise(&STREAMS, &request[..request.len().min(256)], Side::Server);
        prop_assert_eq!(found.map(|it| (it.protocol.name(), it.verdict)), Some(("mysql", Verdict::Yes)));
    }

    /// Length and number may be anything, too.
    #[test]
    fn any_command_of_mongodb_is_recognised(size in 0_usize..40_000, number in any::<u32>(), answers in 1_u32.., to_server in any::<bool>()) {
        let body = documents::document(&[documents::text("insert", "c"), documents::binary("v", &vec![7; size])]);
        let mut message = documents::request(&body);
        documents::number(&mut message, number);
        if !to_server {
            message[8..12].copy_from_slice(&answers.to_le_bytes());
        }
        let to = if to_server { Side::Server } else { Side::Client };
        let found = recognise(&STREAMS, &message[..message.len().min(256)], to);
        let found = found.map(|it| (it.protocol.name(), it.verdict, it.reversed));
        prop_assert_eq!(found, Some(("mongodb", Verdict::Yes, false)));
    }

    /// Length, version and number may be anything, too.
    #[test]
    fn any_request_to_a_broker_is_recognised(size in 0_usize..100_000, version in 0_i16..13, number in any::<u32>()) {
        let mut message = brokers::produce(version, 1, "orders", &vec![7; size]);
        brokers::number(&mut message, &mut [0; 8], number);
        let found = recognise(&STREAMS, &message[..message.len().min(256)], Side::Server);
        let found = found.map(|it| (it.protocol.name(), it.verdict, it.reversed));
        prop_assert_eq!(found, Some(("kafka", Verdict::Yes, false)));
    }

    #[test]
    fn a_conversation_is_taken_for_its_own(talks in Talks::any(Content::Imitates), head in 256_usize..400) {
        let turns = talks.turns();
        let first = &turns[0];
        let found = recognise(&STREAMS, &first.bytes[..first.bytes.len().min(head)], first.to);
        let found = found.map(|it| (it.protocol.name(), it.reversed));
        prop_assert_eq!(found, Some((talks.protocol().name(), false)));
    }
}
