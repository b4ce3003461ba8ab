//! HTTP/1: what is counted, and where a message ends.

use super::*;
use crate::l7::{Code, HELD_MAX, Outcome, http1::HTTP1};

fn number(told: &Told) -> u32 {
    match told.status.code {
        Code::Number(number) => number,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_and_its_answer() {
    let request = "GET /users/7?token=secret HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let found = hear_all(&HTTP1, &[ask(request), tell(answer)]);
    let expected = Told {
        protocol: "http",
        operation: "GET",
        target: "/users/7".to_owned(),
        statement: String::new(),
        status: Status { outcome: Outcome::Ok, code: Code::Number(200) },
        bytes: (request.len() as u64, answer.len() as u64),
        seen: Seen::Whole,
    };
    assert_eq!(found.exchanges, [expected]);
    assert_eq!(found.doubts, []);
    assert_eq!(found.times, [(1_001_000, 1_002_100, 1_002_200)]);
}

#[test]
fn the_last_byte_of_a_long_body_is_the_end() {
    let mut teller = Teller::new(&HTTP1);
    teller.turn(&ask("GET / HTTP/1.1\r\n\r\n"), 256);
    teller.turn(&tell("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"), 256);
    for _ in 0..10 {
        teller.now_ns += 5_000;
        teller.piece(Side::Client, &[b'x'; 100_000], Some(256));
    }
    let ended_ns = teller.now_ns;
    teller.turn(&ask("GET /next HTTP/1.1\r\n\r\n"), 256);
    let found = teller.end();
    assert_eq!(found.times, [(1_001_000, 1_002_100, ended_ns)]);
    assert_eq!(found.exchanges[0].bytes.1, 1_000_000 + 44);
    assert_eq!(found.doubts, [(Doubt::UnansweredRequest, 1)]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let requests = "GET /a HTTP/1.1\r\n\r\nHEAD /b HTTP/1.1\r\n\r\nDELETE /c HTTP/1.1\r\n\r\n";
    let answers = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\n\
                   HTTP/1.1 204 No Content\r\n\r\n";
    let found = hear_all(&HTTP1, &[ask(requests), tell(answers)]);
    let told: Vec<_> = found.exchanges.iter().map(|it| (it.operation, it.target.as_str(), number(it))).collect();
    assert_eq!(told, [("GET", "/a", 200), ("HEAD", "/b", 404), ("DELETE", "/c", 204)]);
}

#[test]
fn chunks_are_gone_over_and_trailers_end_them() {
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nHTTP/\r\n6;a=b\r\n1.1 50\r\n0\r\nX: y\r\n\r\n";
    let upload = "POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let found = hear_all(&HTTP1, &[ask(upload), tell(answer), ask(upload), tell(answer)]);
    assert_eq!(found.operations(), ["POST", "POST"]);
    assert_eq!(found.exchanges[1].bytes, (upload.len() as u64, answer.len() as u64));
    assert_eq!(found.doubts, []);
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    let turns = [
        ask("PUT /file HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"),
        tell("HTTP/1.1 100 Continue\r\n\r\n"),
        ask("data"),
        tell("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        ask("GET / HTTP/1.1\r\n\r\n"),
        tell("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
    ];
    let found = hear_all(&HTTP1, &turns);
    assert_eq!(found.exchanges.iter().map(number).collect::<Vec<_>>(), [201, 500]);
    assert_eq!(found.exchanges[1].status.outcome, Outcome::ServerError);
    assert_eq!(found.doubts, []);
}

#[test]
fn an_answer_without_a_length_ends_with_the_connection() {
    let mut teller = Teller::new(&HTTP1);
    teller.turn(&ask("GET /old HTTP/1.0\r\n\r\n"), 256);
    teller.turn(&tell("HTTP/1.0 200 OK\r\n\r\nsome"), 256);
    teller.piece(Side::Client, b"more", Some(0));
    let ended_ns = teller.now_ns;
    assert_eq!(teller.found.exchanges, []);
    teller.wait(60_000_000_000);
    let found = teller.end();
    assert_eq!(found.operations(), ["GET"]);
    assert_eq!(found.times[0].2, ended_ns);
    assert_eq!(found.exchanges[0].bytes.1, 19 + 8);
}

#[test]
fn after_an_upgrade_nothing_is_read() {
    let turns = [
        ask("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        tell("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02"),
        ask("GET /not-a-request HTTP/1.1\r\n\r\n"),
        tell("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let found = hear_all(&HTTP1, &turns);
    assert_eq!(found.exchanges.iter().map(number).collect::<Vec<_>>(), [101]);
    assert_eq!(found.doubts, [(Doubt::Opaque, 1)]);

    let turns = [ask("CONNECT a:443 HTTP/1.1\r\n\r\n"), tell("HTTP/1.1 200 OK\r\n\r\n"), ask("\x16\x03\x01")];
    let found = hear_all(&HTTP1, &turns);
    assert_eq!(found.operations(), ["CONNECT"]);
    assert_eq!(found.doubts, [(Doubt::Opaque, 1)]);
}

#[test]
fn heads_longer_than_the_capture_count_and_end_when_the_side_falls_silent() {
    let cookie = "c".repeat(600);
    let request = format!("POST /login?next=/x HTTP/1.1\r\nCookie: {cookie}\r\nContent-Length: 3\r\n\r\nabc");
    let answer = format!("HTTP/1.1 302 Found\r\nSet-Cookie: {cookie}\r\nContent-Length: 70000\r\n\r\n");
    let mut teller = Teller::new(&HTTP1);
    for _ in 0..3 {
        teller.turn(&ask(&request), 256);
        teller.turn(&tell(&answer), 256);
        teller.piece(Side::Client, &[b'x'; 70_000], Some(0));
    }
    let ended_ns = teller.now_ns;
    teller.wait(2_000_000_000);
    assert_eq!(teller.found.exchanges.len(), 3, "the last one is not told before the connection ends");
    let found = teller.end();
    assert_eq!(found.exchanges.len(), 3);
    assert_eq!(found.doubts, []);
    assert_eq!(found.exchanges[2].target, "/login");
    assert_eq!(found.exchanges[2].seen, Seen::HeadOnly);
    assert_eq!(found.exchanges[2].bytes, (request.len() as u64, answer.len() as u64 + 70_000));
    assert_eq!(found.times[2].2, ended_ns);
}

#[test]
fn a_path_that_is_cut_loses_its_last_segment() {
    let path = format!("/files/{}", "x".repeat(400));
    let turns = [ask(format!("GET {path} HTTP/1.1\r\n\r\n")), tell("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
    assert_eq!(hear(&HTTP1, &turns, 256).exchanges[0].target, "/files/*");
}

#[test]
fn a_connection_that_is_older_than_the_capture_begins_with_the_next_request() {
    let turns = [
        tell("the rest of a body"),
        ask("GET /a HTTP/1.1\r\n\r\n"),
        tell("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let found = hear_all(&HTTP1, &turns);
    assert_eq!(found.operations(), ["GET"]);
    assert_eq!(found.doubts, [(Doubt::Garbage, 1)]);
    // In the middle of an exchange there is no time to tell.
    let found = hear_all(&HTTP1, &turns[2..]);
    assert_eq!((found.operations(), found.doubts), (vec![], vec![(Doubt::UnmatchedResponse, 1)]));
}

#[test]
fn a_missing_answer_is_not_the_next_one_s() {
    let turns = [ask("GET /first HTTP/1.1\r\n\r\n"), tell("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
    let mut teller = Teller::new(&HTTP1);
    teller.turn(&turns[0], 256);
    teller.turn(&turns[1], 256);
    teller.turn(&ask("GET /lost HTTP/1.1\r\n\r\n"), 256);
    teller.piece(Side::Client, b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", None);
    teller.turn(&ask("GET /kept HTTP/1.1\r\n\r\n"), 256);
    teller.turn(&turns[1], 256);
    let found = teller.end();
    let targets: Vec<_> = found.exchanges.iter().map(|it| it.target.as_str()).collect();
    assert_eq!(targets, ["/first", "/kept"]);
    assert_eq!(found.doubts, [(Doubt::Gap, 1), (Doubt::UnansweredRequest, 1)]);
}

#[test]
fn thousands_of_requests_without_an_answer_are_bounded() {
    let mut teller = Teller::new(&HTTP1);
    let path = "p".repeat(200);
    for _ in 0..5_000 {
        teller.turn(&ask(format!("GET /{path} HTTP/1.1\r\n\r\n")), 1024);
    }
    assert!(teller.conversation.bytes_held() < HELD_MAX);
    let over = teller.found.doubts(Doubt::OverLimit);
    for _ in 0..5_000 {
        teller.turn(&tell("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 1024);
    }
    let found = teller.end();
    assert_eq!(found.exchanges.len(), 5_000);
    assert_eq!(found.exchanges.iter().filter(|it| it.seen == Seen::ResponseOnly).count() as u64, over);
    assert!(over > 4_800);
}

#[test]
fn a_head_in_two_pieces_began_with_the_first() {
    let mut teller = Teller::new(&HTTP1);
    teller.piece(Side::Server, b"GET /slow HT", Some(256));
    teller.now_ns += 500_000;
    teller.piece(Side::Server, b"TP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n", Some(256));
    let second_ns = teller.now_ns - TURN_NS;
    teller.turn(&tell("HTTP/1.1 204 No Content\r\n\r\n".repeat(2)), 256);
    let found = teller.end();
    assert_eq!(found.times.iter().map(|time| time.0).collect::<Vec<_>>(), [1_000_000, second_ns]);
}

#[test]
fn pipelined_requests_of_which_neither_side_shows_all_are_a_doubt() {
    let turns =
        [ask("GET / HTTP/1.1\r\n\r\n".repeat(20)), tell("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".repeat(20))];
    let found = hear(&HTTP1, &turns, 100);
    // Five requests and a part of the sixth; two answers and a part of the third.
    assert_eq!(found.exchanges.len(), 6);
    assert_eq!(found.doubts, [(Doubt::Truncated, 1)]);
}
