//! HTTP/2: streams beside each other, headers in parts, tables that began before, trailers of gRPC, upgrades.

use super::*;
use crate::l7::{
    Code, Connection, Outcome, UNSEEN,
    http2::{GRPC, HTTP2, UNKNOWN_PATH},
};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const END: u8 = 1;
pub(super) const WHOLE: u8 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&[length[1], length[2], length[3], kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// Gives the frames the number of a stream.
pub(super) fn number(frames: &mut [u8], stream: u32) {
    let mut at = 0;
    while at < frames.len() {
        frames[at + 5..at + 9].copy_from_slice(&stream.to_be_bytes());
        at += 9 + usize::from(u16::from_be_bytes([frames[at + 1], frames[at + 2]]));
    }
}

fn string(text: &str) -> Vec<u8> {
    assert!(text.len() < 127 + 128);
    if text.len() < 127 {
        [&[text.len() as u8][..], text.as_bytes()].concat()
    } else {
        [&[127, (text.len() - 127) as u8][..], text.as_bytes()].concat()
    }
}

/// A header that is added to the table.
fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0x40][..], &string(name), &string(value)].concat()
}

/// GET, http, and a path that is added to the table.
pub(super) fn request(path: &str) -> Vec<u8> {
    [&b"\x82\x86\x44"[..], &string(path)].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn settings() -> Vec<u8> {
    frame(4, 0, 0, b"\0\x03\0\0\0\x64")
}

fn number_of(told: &Told) -> Option<u32> {
    match told.status.code {
        Code::Number(number) => Some(number),
        _ => None,
    }
}

#[test]
fn a_connection_from_its_beginning() {
    let turns = [
        ask([PREFACE, &settings(), &frame(HEADERS, WHOLE | END, 1, &request("/a/b?secret=1"))].concat()),
        tell([settings(), frame(4, 1, 0, b""), frame(HEADERS, WHOLE, 1, b"\x88"), frame(DATA, 0, 1, b"body")].concat()),
        ask([frame(4, 1, 0, b""), frame(8, 0, 0, &[0, 0, 0, 9])].concat()),
        tell(frame(DATA, END, 1, b"more")),
        // The path is in the table now.
        ask(frame(HEADERS, WHOLE | END, 3, b"\x82\x86\xbe")),
        tell(frame(HEADERS, WHOLE | END, 3, b"\x8d")),
    ];
    let found = hear_all(&HTTP2, &turns);
    assert_eq!((found.operations(), &found.doubts), (vec!["GET"; 2], &vec![]));
    let told = &found.exchanges[0];
    assert_eq!((told.target.as_str(), told.protocol, told.seen), ("/a/b", "http", Seen::Whole));
    assert_eq!((number_of(told), told.bytes.1), (Some(200), 10 + 13 + 13));
    assert_eq!((found.exchanges[1].target.as_str(), number_of(&found.exchanges[1])), ("/a/b", Some(404)));
    assert_eq!(found.exchanges[1].status.outcome, Outcome::ClientError);
    assert!(found.times[0].1 < found.times[0].2, "first and last byte came at different times");
    assert!(!format!("{found:?}").contains("secret"));
}

#[test]
fn calls_of_grpc_have_their_status_from_the_trailers() {
    let call = |path: &str| {
        let kind = header("content-type", "application/grpc+proto");
        [&b"\x83\x86\x04"[..], &string(path), &kind].concat()
    };
    for (status, outcome) in [(0, Outcome::Ok), (5, Outcome::ClientError), (14, Outcome::ServerError)] {
        let trailers = header("grpc-status", &status.to_string());
        let turns = [
            ask([frame(HEADERS, WHOLE, 1, &call("/p.S/M")), frame(DATA, END, 1, b"\0\0\0\0\x02hi")].concat()),
            tell(
                [
                    frame(HEADERS, WHOLE, 1, b"\x88"),
                    frame(DATA, 0, 1, b"\0\0\0\0\x02hi"),
                    frame(HEADERS, WHOLE | END, 1, &trailers),
                ]
                .concat(),
            ),
            ask([frame(HEADERS, WHOLE, 3, &call("/p.S/M")), frame(DATA, END, 3, b"")].concat()),
            // Only trailers.
            tell(frame(HEADERS, WHOLE | END, 3, &[&b"\x88"[..], &trailers].concat())),
        ];
        let found = hear_all(&HTTP2, &turns);
        assert_eq!((found.operations(), &found.doubts), (vec!["POST"; 2], &vec![]));
        for told in &found.exchanges {
            assert_eq!((told.protocol, told.target.as_str()), (GRPC, "/p.S/M"));
            assert_eq!((number_of(told), told.status.outcome), (Some(status), outcome));
        }
    }
    // Without one nobody knows how it went.
    let turns = [
        ask([frame(HEADERS, WHOLE, 1, &call("/p.S/M")), frame(DATA, END, 1, b"")].concat()),
        tell([frame(HEADERS, WHOLE, 1, b"\x88"), frame(HEADERS, WHOLE | END, 1, b"\xbe")].concat()),
    ];
    assert_eq!(hear_all(&HTTP2, &turns).exchanges[0].status, Status::UNSEEN);
}

#[test]
fn streams_run_beside_each_other() {
    let asks: Vec<u8> =
        (0..50).flat_map(|at| frame(HEADERS, WHOLE | END, at * 2 + 1, &request(&format!("/{at}")))).collect();
    let begins: Vec<u8> = (0..50).rev().flat_map(|at| frame(HEADERS, WHOLE, at * 2 + 1, b"\x88")).collect();
    let ends: Vec<u8> = (0..50).flat_map(|at| frame(DATA, END, (at * 7 % 50) * 2 + 1, b"x")).collect();
    let found = hear_all(&HTTP2, &[ask(asks), tell([begins, ends].concat())]);
    assert_eq!((found.exchanges.len(), found.doubts), (50, vec![]));
    assert_eq!(found.exchanges[1].target, "/7");
}

#[test]
fn headers_in_parts_with_padding_and_priority() {
    let block = request("/long");
    let padded = [&[3][..], &[0, 0, 0, 0, 9], &block[..2], &[0; 3]].concat();
    let turns = [
        ask([frame(HEADERS, END | 0x28, 1, &padded), frame(9, 0, 1, &block[2..4]), frame(9, WHOLE, 1, &block[4..])]
            .concat()),
        tell([frame(HEADERS, WHOLE, 1, b"\x48\x03103"), frame(HEADERS, WHOLE | END, 1, b"\x89")].concat()),
    ];
    let found = hear_all(&HTTP2, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["GET"], vec![]));
    assert_eq!((found.exchanges[0].target.as_str(), number_of(&found.exchanges[0])), ("/long", Some(204)));
}

#[test]
fn who_comes_late_does_not_know_the_path() {
    let turns = [
        ask(frame(HEADERS, WHOLE | END, 21, b"\x83\x86\xc5\xc4")),
        tell(frame(HEADERS, WHOLE | END, 21, b"\x8e\xc0")),
        ask(frame(HEADERS, WHOLE | END, 23, &request("/known"))),
        tell(frame(HEADERS, WHOLE | END, 23, b"\xc9")),
        ask(frame(HEADERS, WHOLE | END, 25, b"\x82\x86\xbe")),
        tell(frame(HEADERS, WHOLE | END, 25, b"\x88")),
    ];
    let found = hear_all(&HTTP2, &turns);
    let told: Vec<_> = found.exchanges.iter().map(|it| (it.target.as_str(), number_of(it))).collect();
    assert_eq!(told, [(UNKNOWN_PATH, Some(500)), ("/known", None), ("/known", Some(200))]);
    assert_eq!(found.exchanges[0].status.outcome, Outcome::ServerError);
    assert_eq!((found.exchanges[1].status, found.doubts), (Status::UNSEEN, vec![]));
}

#[test]
fn resets_of_either_side() {
    let asks = |id| frame(HEADERS, WHOLE | END, id, &request("/a"));
    let turns = [
        ask([asks(1), asks(3), asks(5)].concat()),
        tell([frame(3, 0, 1, &[0, 0, 0, 7]), frame(HEADERS, WHOLE, 3, b"\x88")].concat()),
        ask([frame(3, 0, 3, &[0, 0, 0, 8]), frame(3, 0, 5, &[0, 0, 0, 8])].concat()),
        tell(frame(DATA, END, 3, b"late")),
    ];
    let found = hear_all(&HTTP2, &turns);
    assert_eq!(found.exchanges.len(), 2);
    let word = Code::Word(crate::l7::Word::new(b"REFUSED_STREAM").expect("a word"));
    assert_eq!(found.exchanges[0].status, Status { outcome: Outcome::ServerError, code: word });
    assert_eq!((number_of(&found.exchanges[1]), found.exchanges[1].seen), (Some(200), Seen::HeadOnly));
    assert_eq!(found.doubts, [(Doubt::UnansweredRequest, 1)]);
}

#[test]
fn a_long_answer_is_over_when_its_end_was_seen_or_its_side_is_silent() {
    let body = frame(DATA, 0, 1, &[b'd'; 16_000]);
    let mut teller = Teller::new(&HTTP2);
    teller.turn(&ask(frame(HEADERS, WHOLE | END, 1, &request("/big"))), 256);
    teller.turn(&tell([frame(HEADERS, WHOLE, 1, b"\x88"), body.clone(), body.clone()].concat()), 256);
    for _ in 0..20 {
        // The client makes room, and the server goes on in the middle of a frame.
        teller.turn(&ask(frame(8, 0, 0, &[0, 1, 0, 0])), 256);
        teller.turn(&tell([&vec![b'd'; 9_000][..], &body].concat()), 256);
    }
    assert_eq!((teller.found.exchanges.len(), &teller.found.doubts), (0, &vec![]));
    teller.turn(&ask(frame(HEADERS, WHOLE | END, 3, &request("/small"))), 256);
    teller.turn(&tell(frame(HEADERS, WHOLE | END, 3, b"\x88")), 256);
    assert_eq!(teller.found.operations(), ["GET"]);
    teller.wait(2_000_000_000);
    let found = teller.end();
    assert_eq!(found.exchanges.iter().map(|it| it.target.as_str()).collect::<Vec<_>>(), ["/small", "/big"]);
    assert_eq!((found.exchanges[1].seen, found.doubts), (Seen::HeadOnly, vec![]));
}

#[test]
fn a_table_survives_a_loss_in_which_no_headers_were_missed() {
    let post = |id, block: &[u8]| [frame(HEADERS, WHOLE, id, block), frame(DATA, 0, id, &[b'd'; 600])].concat();
    let answer = |id| frame(HEADERS, WHOLE | END, id, b"\x88");
    let targets = |ids: [u32; 3]| {
        let mut teller = Teller::new(&HTTP2);
        // The end of each request is not seen: it is in a frame of its own.
        let block = [&b"\x83\x86\x44"[..], &string("/known")].concat();
        for (id, block) in ids.into_iter().zip([&block[..], b"\x83\x86\xbe", b"\x83\x86\xbe"]) {
            teller.turn(&ask([post(id, block), frame(DATA, END, id, b"")].concat()), 300);
            teller.turn(&tell(answer(id)), 300);
        }
        teller.end().exchanges.iter().map(|it| it.target.clone()).collect::<Vec<_>>()
    };
    assert_eq!(targets([1, 3, 5]), ["/known"; 3]);
    // A stream is missing: its headers may have been added.
    assert_eq!(targets([1, 5, 7]), ["/known", UNKNOWN_PATH, UNKNOWN_PATH]);
}

#[test]
fn the_table_of_answers_survives_if_there_was_only_one() {
    let call = [&b"\x83\x86\x04"[..], &string("/p.S/M"), &header("content-type", "application/grpc")].concat();
    let trailers = header("grpc-status", "0");
    let body = frame(DATA, 0, 1, &[b'd'; 600]);
    let mut teller = Teller::new(&HTTP2);
    for (id, trailers) in [(1, &trailers[..]), (3, b"\xbe")] {
        teller.turn(&ask(frame(HEADERS, WHOLE | END, id, &call)), usize::MAX);
        let mut body = body.clone();
        number(&mut body, id);
        teller.turn(&tell([frame(HEADERS, WHOLE, id, b"\x88"), body.repeat(2)].concat()), 300);
        teller.turn(&ask(frame(8, 0, 0, &[0, 0, 0, 9])), 300);
        teller.turn(&tell(frame(HEADERS, WHOLE | END, id, trailers)), 300);
    }
    let found = teller.end();
    assert_eq!((found.exchanges.len(), found.doubts), (2, vec![]));
    assert!(found.exchanges.iter().all(|it| it.protocol == GRPC && number_of(it) == Some(0)), "{:?}", found.exchanges);
}

#[test]
fn streams_that_may_be_over_make_room() {
    let mut teller = Teller::new(&HTTP2);
    for at in 0..1_000 {
        let id = at * 2 + 1;
        teller.turn(&ask(frame(HEADERS, WHOLE | END, id, b"\x82\x86\x84")), 300);
        let body = frame(DATA, 0, id, &[b'd'; 600]);
        teller.turn(&tell([frame(HEADERS, WHOLE, id, b"\x88"), body, frame(DATA, END, id, b"")].concat()), 300);
    }
    let found = teller.end();
    assert_eq!((found.exchanges.len(), found.doubts), (1_000, vec![]));
}

#[test]
fn requests_nobody_saw_are_counted_by_their_answers() {
    let asks: Vec<u8> =
        (0..10).flat_map(|at| frame(HEADERS, WHOLE | END, at * 2 + 1, &request("/some/path"))).collect();
    let tells: Vec<u8> = (0..10).flat_map(|at| frame(HEADERS, WHOLE | END, at * 2 + 1, b"\x88")).collect();
    let mut teller = Teller::new(&HTTP2);
    teller.turn(&ask(&asks), 70);
    teller.turn(&tell(&tells), usize::MAX);
    let found = teller.end();
    assert_eq!((found.exchanges.len(), found.doubts), (10, vec![]));
    assert_eq!(found.exchanges.iter().filter(|it| it.operation == UNSEEN && it.seen == Seen::ResponseOnly).count(), 7);
}

#[test]
fn more_streams_than_are_kept() {
    let asks = (0..5_000).flat_map(|at| frame(HEADERS, WHOLE | END, at * 2 + 1, &request(&"/p".repeat(100))));
    let found = hear_all(&HTTP2, &[ask(asks.collect::<Vec<_>>())]);
    assert_eq!(found.doubts(Doubt::OverLimit) + found.doubts(Doubt::UnansweredRequest), 5_000);
}

#[test]
fn an_upgrade_of_http_1_goes_on() {
    let mut connection = Connection::new();
    let mut found = Found::default();
    let mut positions = [0; 2];
    let mut hear = |turn: Turn, connection: &mut Connection, found: &mut Found| {
        let position = &mut positions[turn.to as usize];
        let length = turn.bytes.len() as u64;
        connection.take(
            &Segment { to: turn.to, position: *position, length, began_ns: 1, ended_ns: 2, bytes: &turn.bytes },
            found,
        );
        *position += length;
    };
    let first = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n";
    let turns = [
        ask(first),
        tell(
            [b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", &settings()[..]]
                .concat(),
        ),
        ask([PREFACE, &settings()].concat()),
        tell(frame(HEADERS, WHOLE | END, 1, b"\x88")),
        ask(frame(HEADERS, WHOLE | END, 3, &request("/second"))),
        tell(frame(HEADERS, WHOLE | END, 3, b"\x88")),
    ];
    for turn in turns {
        hear(turn, &mut connection, &mut found);
    }
    assert_eq!(connection.protocol(), Some("http2"));
    let told: Vec<_> = found.exchanges.iter().map(|it| (it.protocol, it.target.as_str())).collect();
    assert_eq!(told, [("http", "/"), ("http", "/second")]);
    assert!(!connection.finished());
}
