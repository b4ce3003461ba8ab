//! Bytes of any kind: no panic, no growth.

use proptest::prelude::*;

use super::{
    truth::{Content, Talks},
    *,
};
use crate::l7::{Connection, HELD_MAX, STREAMS, dns::UDP};

#[derive(Clone, Debug)]
struct Any {
    to_server: bool,
    position: u64,
    length: u64,
    bytes: Vec<u8>,
}

/// Packets of MySQL, lines and heads of memcached, frames of HTTP/2, messages of MongoDB and
/// Kafka.
fn any_part() -> impl Strategy<Value = Vec<u8>> {
    let any = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        (0_u8..4, prop::sample::select(vec![0, 1, 3, 0x16, 0x17, 0xfb, 0xfe, 0xff]), any())
            .prop_map(|(sequence, first, rest)| [&[rest.len() as u8 + 1, 0, 0, sequence, first][..], &rest].concat()),
        "(get|gets|set|mg|ms|mn|stats|VALUE|VA|END|STORED|HD|EN|STAT) ?k? ?[0-9]{0,9} ?[0-9]{0,9} ?[0-9]{0,3} ?q?\r\n"
            .prop_map(String::into_bytes),
        (0x80_u8..0x82, 0_u8..0x25, any()).prop_map(|(magic, code, rest)| {
            [&[magic, code, 0, 0, 0, 0, 0, 0, 0, 0, 0, rest.len() as u8][..], &[0; 12], &rest].concat()
        }),
        (0_u8..9, 0_u8..9, prop::sample::select(vec![1, 2004, 2012, 2013, 2005]), 0_u8..4, any()).prop_map(
            |(number, answers, kind, flags, rest): (_, _, u32, _, Vec<u8>)| {
                let (length, inner) = (26 + rest.len() as u8, 5 + rest.len() as u8);
                let head = [[length, 0, 0, 0], [number, 0, 0, 0], [answers, 0, 0, 0], kind.to_le_bytes()].concat();
                [&head, &[flags, 0, 0, 0, 0, inner, 0, 0, 0][..], &rest, &[0]].concat()
            }
        ),
        (0_u8..94, 0_u8..26, 0_u8..9, 0_u8..4, any()).prop_map(|(key, version, number, client, rest)| {
            [&[0, 0, 0, rest.len() as u8 + 10, 0, key, 0, version, 0, 0, 0, number, 0, client][..], &rest].concat()
        }),
        (0_u8..9, any())
            .prop_map(|(number, rest)| [&[0, 0, 0, rest.len() as u8 + 4, 0, 0, 0, number][..], &rest].concat()),
        (0_u8..10, prop::sample::select(vec![0, 1, 4, 5, 8, 0x2d]), 0_u8..10, any()).prop_map(
            |(kind, flags, stream, rest)| [&[0, 0, rest.len() as u8, kind, flags, 0, 0, 0, stream][..], &rest].concat()
        ),
    ]
}

fn any_segments() -> impl Strategy<Value = Vec<Any>> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        // Like enough to be read.
        "(\\*[0-9]{1,12}\r\n|\\$[0-9]{1,9}\r\n|GET / HTTP/1.1\r\n|Content-Length: [0-9]{1,20}\r\n|\r\n|[0-9a-f]{1,17}\r\n|HTTP/1.1 200 OK\r\n|Transfer-Encoding: chunked\r\n|[QPBESZCDT]\0\0\0[\x04-\x40]|\0\0\0[\x08-\x20]\0\x03\0\0|[+-]OK\r\n){1,20}"
            .prop_map(String::into_bytes),
        prop::collection::vec(any_part(), 1..20).prop_map(|parts| parts.concat()),
    ];
    let segment = (any::<bool>(), any::<u64>(), any::<u64>(), 0_u8..10, bytes).prop_map(
        |(to_server, position, length, odd, bytes)| {
            let near = bytes.len() as u64 + length % 40;
            Any {
                to_server,
                position: if odd == 0 { position } else { u64::MAX },
                length: if odd == 1 { length } else { near },
                bytes,
            }
        },
    );
    prop::collection::vec(segment, 1..40)
}

fn hear_any(conversation: &mut dyn FnMut(&Segment<'_>), segments: &[Any]) {
    let mut at = [0_u64; 2];
    for (now, any) in segments.iter().enumerate() {
        let to = if any.to_server { Side::Server } else { Side::Client };
        let position = if any.position == u64::MAX { at[to as usize] } else { any.position };
        at[to as usize] = position.saturating_add(any.length);
        let now_ns = now as u64 * 1_000;
        conversation(&Segment {
            to,
            position,
            length: any.length,
            began_ns: now_ns,
            ended_ns: now_ns,
            bytes: &any.bytes,
        });
    }
}

proptest! {
    #![proptest_config(cases(1_000))]
    #[test]
    fn any_segments_do_no_harm(segments in any_segments()) {
        for protocol in STREAMS.iter().chain(&[&UDP as &dyn Protocol]) {
            let mut conversation = protocol.start();
            let mut found = Found::default();
            hear_any(&mut |segment| {
                conversation.take(segment, &mut found);
                assert!(conversation.bytes_held() <= HELD_MAX);
            }, &segments);
            conversation.tick(u64::MAX, &mut found);
            conversation.close(0, &mut found);
        }
        let (mut connection, mut found) = (Connection::new(), Found::default());
        hear_any(&mut |segment| connection.take(segment, &mut found), &segments);
        connection.tick(1, &mut found);
        connection.close(u64::MAX, &mut found);
    }

    #[test]
    fn what_was_changed_on_the_way_does_no_harm(
        talks in Talks::any(Content::Imitates),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let mut turns = talks.turns();
        for (at, byte) in changes {
            let turn = at.index(turns.len());
            let place = at.index(turns[turn].bytes.len());
            turns[turn].bytes[place] = byte;
        }
        hear_all(talks.protocol(), &turns);
        hear(talks.protocol(), &turns, 100);
    }
}
