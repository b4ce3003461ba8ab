//! DNS: ids, questions asked twice, answers in any order, zone transfers.

use super::*;
use crate::l7::{
    Code, Outcome, UNSEEN, Verdict,
    dns::{TCP, UDP},
};

/// A message with one question. `flags` are its third and fourth byte.
pub(super) fn message(id: u16, flags: [u8; 2], name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend(flags);
    bytes.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

pub(super) const QUERY: [u8; 2] = [1, 0];
pub(super) const ANSWER: [u8; 2] = [0x81, 0x80];

pub(super) fn over_tcp(message: &[u8]) -> Vec<u8> {
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend(message);
    bytes
}

#[test]
fn answers_find_their_question_in_any_order() {
    let turns = [
        ask(message(7, QUERY, "Example.org", 1)),
        ask(message(7, QUERY, "example.org", 28)),
        ask(message(8, QUERY, "nowhere.test", 15)),
        tell(message(8, [0x81, 0x83], "nowhere.test", 15)),
        tell(message(7, ANSWER, "eXample.org", 28)),
        tell(message(7, [0x81, 0x82], "example.org", 1)),
        tell(message(7, ANSWER, "example.org", 1)),
    ];
    let found = hear_all(&UDP, &turns);
    assert_eq!(found.operations(), ["MX", "AAAA", "A"]);
    assert_eq!(found.exchanges[1].target, "example.org");
    let status: Vec<_> = found.exchanges.iter().map(|it| (it.status.outcome, it.status.code)).collect();
    assert_eq!(
        status,
        [
            (Outcome::ClientError, Code::Number(3)),
            (Outcome::Ok, Code::Number(0)),
            (Outcome::ServerError, Code::Number(2))
        ]
    );
    assert_eq!(found.doubts, [(Doubt::UnmatchedResponse, 1)]);
}

#[test]
fn a_question_that_is_asked_again_began_with_the_first() {
    let mut teller = Teller::new(&UDP);
    teller.turn(&ask(message(1, QUERY, "a.b", 1)), 512);
    let began_ns = teller.now_ns - TURN_NS;
    teller.wait(5_000_000_000);
    teller.turn(&ask(message(1, QUERY, "a.b", 1)), 512);
    teller.turn(&tell(message(1, ANSWER, "a.b", 1)), 512);
    teller.turn(&ask(message(2, QUERY, "a.b", 1)), 512);
    teller.wait(20_000_000_000);
    assert_eq!(teller.found.doubts, [(Doubt::UnansweredRequest, 1)]);
    let found = teller.end();
    assert_eq!(found.times[0].0, began_ns);
    assert_eq!(found.exchanges.len(), 1);
}

#[test]
fn over_tcp_messages_are_pipelined_and_long() {
    let mut long = message(3, ANSWER, "big.test", 16);
    long.extend(vec![b'x'; 4_000]);
    let questions = [over_tcp(&message(3, QUERY, "big.test", 16)), over_tcp(&message(4, QUERY, "c.d", 33))].concat();
    let turns = [ask(questions), tell([over_tcp(&long), over_tcp(&message(4, ANSWER, "c.d", 33))].concat())];
    let found = hear_all(&TCP, &turns);
    assert_eq!(found.operations(), ["TXT", "SRV"]);
    assert_eq!(found.exchanges[0].bytes, (26, long.len() as u64));
    let found = hear(&TCP, &turns, 128);
    assert_eq!(found.operations(), ["TXT"]);
    assert_eq!(found.doubts, [(Doubt::UnansweredRequest, 1)]);
}

#[test]
fn a_zone_transfer_is_one_exchange() {
    let turns = [
        ask(over_tcp(&message(5, QUERY, "zone.test", 252))),
        tell(
            [over_tcp(&message(5, ANSWER, "zone.test", 252)), over_tcp(&message(5, ANSWER, "zone.test", 252))].concat(),
        ),
    ];
    let found = hear_all(&TCP, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["AXFR"], vec![]));
}

#[test]
fn names_that_are_no_text_are_shown_as_such_and_pointers_are_not_followed() {
    let mut bytes = message(1, QUERY, "a", 1);
    bytes[13] = b'\n';
    let found = hear_all(&UDP, &[ask(&bytes), tell(message(1, ANSWER, "", 1))]);
    assert_eq!(found.doubts(Doubt::UnmatchedResponse), 1);
    bytes[12] = 0xc0;
    bytes[13] = 12;
    let found = hear_all(&UDP, &[ask(&bytes), tell(message(1, ANSWER, "", 1))]);
    assert_eq!(found.operations(), [UNSEEN]);
}

#[test]
fn it_is_recognised_by_its_header_and_question() {
    assert_eq!(UDP.recognise(&message(1, QUERY, "a.b", 1), Side::Server), Verdict::Yes);
    assert_eq!(UDP.recognise(&message(1, QUERY, "a.b", 1), Side::Client), Verdict::No);
    assert_eq!(UDP.recognise(&message(1, ANSWER, "a.b", 1), Side::Client), Verdict::Yes);
    assert_eq!(UDP.recognise(&message(1, QUERY, "a.b", 999), Side::Server), Verdict::Perhaps);
    assert_eq!(UDP.recognise(b"GET / HTTP/1.1\r\n\r\n", Side::Server), Verdict::No);
    assert_eq!(TCP.recognise(&over_tcp(&message(1, QUERY, "a.b", 1)), Side::Server), Verdict::Yes);
}
