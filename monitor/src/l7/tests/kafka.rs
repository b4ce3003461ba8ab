//! Kafka: requests by name and topic, errors where they stand, acknowledgements that nobody wants, versions.

use super::*;
use crate::l7::{Code, Outcome, Word, kafka::KAFKA};

/// A request from `rdkafka`.
pub(super) fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let head = [&key.to_be_bytes()[..], &version.to_be_bytes(), b"\0\0\0\x05\0\x07rdkafka"].concat();
    sized(&[&head, body].concat())
}

fn sized(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

pub(super) fn answer(body: &[u8]) -> Vec<u8> {
    sized(&[&b"\0\0\0\x05"[..], body].concat())
}

/// Numbers a request and its answer.
pub(super) fn number(request: &mut [u8], answer: &mut [u8], number: u32) {
    request[8..12].copy_from_slice(&number.to_be_bytes());
    answer[4..8].copy_from_slice(&number.to_be_bytes());
}

fn text(value: &str, compact: bool) -> Vec<u8> {
    let length = if compact { vec![value.len() as u8 + 1] } else { (value.len() as u16).to_be_bytes().to_vec() };
    [&length, value.as_bytes()].concat()
}

fn count(count: u8, compact: bool) -> Vec<u8> {
    if compact { vec![count + 1] } else { vec![0, 0, 0, count] }
}

/// A topic's name, or its id.
fn topic(name: &str, version: i16, compact: bool) -> Vec<u8> {
    if version >= 13 { vec![0xab; 16] } else { text(name, compact) }
}

/// What ends a structure: no fields that came later.
fn tags(compact: bool) -> &'static [u8] {
    if compact { &[0] } else { &[] }
}

pub(super) fn produce(version: i16, acks: i16, name: &str, records: &[u8]) -> Vec<u8> {
    let compact = version >= 9;
    let transaction: &[u8] = match version {
        ..3 => &[],
        3..9 => &[0xff, 0xff],
        _ => &[0],
    };
    let partition = [&[0, 0, 0, 0][..], &(records.len() as u32).to_be_bytes(), records].concat();
    let body = [
        tags(compact),
        transaction,
        &acks.to_be_bytes(),
        &[0, 0, 0x75, 0x30],
        &count(1, compact),
        &topic(name, version, compact),
        &count(1, compact),
        &partition,
    ];
    request(0, version, &body.concat())
}

/// Partitions of one topic with these errors.
pub(super) fn produced(version: i16, name: &str, errors: &[i16]) -> Vec<u8> {
    let compact = version >= 9;
    let partition = |(at, error): (usize, &i16)| {
        let offsets = [8, 8, 16, 16, 16, 24, 24, 24, 24].get(version as usize).copied().unwrap_or(24);
        let refused: &[u8] = match version {
            ..8 => &[],
            8 => &[0, 0, 0, 0, 0xff, 0xff],
            _ => &[1, 0, 0],
        };
        [&[0, 0, 0, at as u8][..], &error.to_be_bytes(), &vec![0xff; offsets], refused].concat()
    };
    let partitions: Vec<u8> = errors.iter().enumerate().flat_map(partition).collect();
    let body = [
        tags(compact),
        &count(1, compact),
        &topic(name, version, compact),
        &count(errors.len() as u8, compact),
        &partitions,
        tags(compact),
        &[0; 4],
        tags(compact),
    ];
    answer(&body.concat())
}

pub(super) fn fetch(version: i16, name: &str) -> Vec<u8> {
    let compact = version >= 12;
    let size = 12
        + [(3, 4), (4, 1), (7, 8)].iter().filter(|(since, _)| version >= *since).map(|(_, size)| size).sum::<usize>();
    // Since version 15 the replica is told elsewhere.
    let size = if version >= 15 { size - 4 } else { size };
    let body = [
        tags(compact),
        &vec![1; size],
        &count(1, compact),
        &topic(name, version, compact),
        &count(1, compact),
        &[0; 40],
    ];
    request(1, version, &body.concat())
}

pub(super) fn fetched(version: i16, name: &str, error: i16, records: &[u8]) -> Vec<u8> {
    let compact = version >= 12;
    let head: &[u8] = match version {
        0 => &[],
        1..7 => &[0; 4],
        _ => &[0; 10],
    };
    let partition = [&[0, 0, 0, 0][..], &error.to_be_bytes(), records].concat();
    let body =
        [tags(compact), head, &count(1, compact), &topic(name, version, compact), &count(1, compact), &partition];
    answer(&body.concat())
}

fn hear_one(request: &[u8], answer: &[u8]) -> Told {
    let found = hear_all(&KAFKA, &[ask(request), tell(answer)]);
    assert_eq!((found.exchanges.len(), &found.doubts), (1, &vec![]), "{}", request.escape_ascii());
    assert_eq!(found.exchanges[0].bytes, (request.len() as u64, answer.len() as u64));
    found.exchanges.into_iter().next().expect("one")
}

fn failed(outcome: Outcome, code: u32) -> Status {
    Status { outcome, code: Code::Number(code) }
}

#[test]
fn records_are_produced_in_every_version() {
    for version in 0..=13 {
        let told = hear_one(&produce(version, 1, "orders", b"value"), &produced(version, "orders", &[0, 0, 0]));
        let name = if version < 13 { "orders" } else { "" };
        assert_eq!((told.operation, &*told.target, told.status), ("Produce", name, Status::OK), "{version}");
        let told = hear_one(&produce(version, -1, "orders", b"value"), &produced(version, "orders", &[0, 3]));
        assert_eq!(told.status, failed(Outcome::ClientError, 3), "{version}");
    }
    // A version whose layout nobody here knows.
    let told = hear_one(&produce(20, 1, "orders", b""), &produced(20, "orders", &[3]));
    assert_eq!((told.operation, &*told.target, told.status), ("Produce", "", Status::UNSEEN));
}

#[test]
fn records_are_fetched_in_every_version() {
    for version in 0..=18 {
        let told = hear_one(&fetch(version, "orders"), &fetched(version, "orders", 0, b"records"));
        let name = if version < 13 { "orders" } else { "" };
        assert_eq!((told.operation, &*told.target, told.status), ("Fetch", name, Status::OK), "{version}");
        let told = hear_one(&fetch(version, "orders"), &fetched(version, "orders", 6, b""));
        assert_eq!(told.status, failed(Outcome::ServerError, 6), "{version}");
    }
    // The error of a session, and nothing new.
    let told = hear_one(&fetch(11, "orders"), &answer(b"\0\0\0\0\0\x46\0\0\0\0\0\0\0\0"));
    assert_eq!(told.status, failed(Outcome::ClientError, 70));
    let told = hear_one(&fetch(12, "orders"), &answer(b"\0\0\0\0\0\0\0\0\0\0\x07\x01\0"));
    assert_eq!(told.status, Status::OK);
    // Of several partitions only the first is seen.
    let several = [&b"\0\0\0\0\0\0\0\0\0\x07\0\0\0\x01\0\x06orders\0\0\0\x02"[..], &[0; 40]].concat();
    assert_eq!(hear_one(&fetch(11, "orders"), &answer(&several)).status, Status::UNSEEN);
}

#[test]
fn errors_stand_where_the_version_has_them() {
    let cases: [(i16, i16, &[u8], &str, Status); 15] = [
        (18, 0, b"\0\0\0\0\0\0", "ApiVersions", Status::OK),
        // Its answer has the oldest head in every version.
        (18, 3, b"\0\x23\x01\0\0\0\0\0", "ApiVersions", failed(Outcome::ClientError, 35)),
        (10, 0, b"\0\x0f", "FindCoordinator", failed(Outcome::ServerError, 15)),
        (10, 1, b"\0\0\0\0\0\x0f\0\0", "FindCoordinator", failed(Outcome::ServerError, 15)),
        (10, 4, b"\0\0\0\0\0\x01\0", "FindCoordinator", Status::UNSEEN),
        (11, 1, b"\0\x19\0\0", "JoinGroup", failed(Outcome::ClientError, 25)),
        (11, 2, b"\0\0\0\0\0\x19", "JoinGroup", failed(Outcome::ClientError, 25)),
        (12, 4, b"\0\0\0\0\0\0\x1b\0", "Heartbeat", failed(Outcome::ClientError, 27)),
        // With fields that came later: number 5, three bytes.
        (12, 4, b"\x01\x05\x03abc\0\0\0\0\0\0\0", "Heartbeat", Status::OK),
        (17, 1, b"\0\0\0\0\0\x01", "SaslHandshake", Status::OK),
        (36, 2, b"\0\0\x3a\0\0", "SaslAuthenticate", failed(Outcome::ClientError, 58)),
        (24, 3, b"\0\0\0\0\0\x01", "AddPartitionsToTxn", Status::UNSEEN),
        (24, 4, b"\0\0\0\0\0\0\x31\x01\0", "AddPartitionsToTxn", failed(Outcome::ClientError, 49)),
        (3, 9, b"\0\0\0\0\0\x01\0", "Metadata", Status::UNSEEN),
        (
            22,
            0,
            b"\0\0\0\0\xff\xff",
            "InitProducerId",
            Status { outcome: Outcome::ServerError, code: Code::Word(Word::new(b"-1").expect("a word")) },
        ),
    ];
    for (key, version, body, operation, status) in cases {
        let told = hear_one(&request(key, version, b"\0"), &answer(body));
        assert_eq!((told.operation, &*told.target, told.status), (operation, "", status), "version {version}");
    }
}

#[test]
fn what_wants_no_acknowledgement_is_no_exchange() {
    for version in [0, 3, 9, 13] {
        let silent = produce(version, 0, "orders", b"value");
        let turns = [ask(silent.repeat(300)), ask([silent, request(12, 0, b"")].concat()), tell(answer(b"\0\0"))];
        let found = hear_all(&KAFKA, &turns);
        assert_eq!((found.operations(), found.doubts), (vec!["Heartbeat"], vec![]), "{version}");
    }
    // What it wants is not seen: it may be answered, or not.
    let found = hear(&KAFKA, &[ask(produce(9, 0, "orders", b"value"))], 20);
    assert_eq!((found.exchanges.len(), found.doubts), (0, vec![]));
    let turns = [ask(produce(9, 1, "orders", b"value")), tell(produced(9, "orders", &[0]))];
    let found = hear(&KAFKA, &turns, 20);
    assert_eq!((found.operations(), found.exchanges[0].status), (vec!["Produce"], Status::UNSEEN));
}

#[test]
fn large_messages_are_gone_over() {
    let records = vec![7; 300_000];
    let one = [ask(produce(9, 1, "orders", &records)), tell(produced(9, "orders", &[0]))];
    let other = [ask(fetch(11, "orders")), tell(fetched(11, "orders", 0, &records))];
    for head in [64, 256, 1_024, usize::MAX] {
        let turns = [&one[..], &other, &one].concat();
        let found = hear(&KAFKA, &turns, head);
        assert_eq!((found.operations(), found.doubts), (vec!["Produce", "Fetch", "Produce"], vec![]), "{head}");
        assert!(found.exchanges.iter().all(|it| it.target == "orders" && it.status == Status::OK), "{head}");
    }
}

#[test]
fn answers_to_what_was_not_seen_are_unmatched() {
    let mut later = [request(12, 0, b""), answer(b"\0\0")];
    let [ask_later, tell_later] = &mut later;
    number(ask_later, tell_later, 6);
    let turns = [tell(answer(b"\0\0")), ask(&later[0]), tell(&later[1])];
    let found = hear_all(&KAFKA, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["Heartbeat"], vec![(Doubt::UnmatchedResponse, 1)]));
    // Brokers answer in order: what is passed over has no answer any more.
    let turns = [ask([request(12, 0, b""), later[0].clone()].concat()), tell(&later[1]), tell(answer(b"\0\0"))];
    let found = hear_all(&KAFKA, &turns);
    assert_eq!(found.operations(), ["Heartbeat"]);
    assert_eq!(found.doubts, [(Doubt::UnansweredRequest, 1), (Doubt::UnmatchedResponse, 1)]);
}

#[test]
fn what_is_no_request_is_garbage() {
    let with = |at: usize, byte: u8| {
        let mut odd = request(3, 1, b"\0\0\0\0");
        odd[at] = byte;
        odd
    };
    // Length, key, version, length of the client's name, its letters.
    for odd in
        [with(0, 0x7f), with(3, 9), with(5, 200), with(6, 1), with(7, 90), with(13, 99), with(14, 0), with(15, 0xff)]
    {
        let found = hear_all(&KAFKA, &[ask(&odd)]);
        assert_eq!((found.exchanges.len(), found.doubts), (0, vec![(Doubt::Garbage, 1)]), "{}", odd.escape_ascii());
    }
}
