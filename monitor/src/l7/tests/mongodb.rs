//! MongoDB: commands and what they are about, errors, lists of documents, streams of answers, old and compressed messages.

use super::*;
use crate::l7::{
    Code, OTHER, Outcome,
    mongodb::{COMPRESSED, MONGODB},
};

/// An element: its type, name and value.
pub(super) fn element(kind: u8, key: &str, value: &[u8]) -> Vec<u8> {
    [&[kind], key.as_bytes(), &[0], value].concat()
}

pub(super) fn text(key: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as u32 + 1).to_le_bytes();
    element(2, key, &[&length, value.as_bytes(), &[0]].concat())
}

pub(super) fn int(key: &str, value: i32) -> Vec<u8> {
    element(0x10, key, &value.to_le_bytes())
}

fn double(key: &str, value: f64) -> Vec<u8> {
    element(1, key, &value.to_le_bytes())
}

pub(super) fn binary(key: &str, value: &[u8]) -> Vec<u8> {
    element(5, key, &[&(value.len() as u32).to_le_bytes()[..], &[0], value].concat())
}

fn inner(key: &str, document: &[u8]) -> Vec<u8> {
    element(3, key, document)
}

/// An array of documents.
fn array(key: &str, documents: &[Vec<u8>]) -> Vec<u8> {
    let elements: Vec<_> = documents.iter().enumerate().map(|(at, it)| inner(&at.to_string(), it)).collect();
    element(4, key, &document(&elements))
}

pub(super) fn document(elements: &[Vec<u8>]) -> Vec<u8> {
    let elements = elements.concat();
    [&(elements.len() as u32 + 5).to_le_bytes()[..], &elements, &[0]].concat()
}

fn message(number: u32, answers: u32, kind: u32, rest: &[u8]) -> Vec<u8> {
    let head = [rest.len() as u32 + 16, number, answers, kind].map(u32::to_le_bytes).concat();
    [&head, rest].concat()
}

fn msg(number: u32, answers: u32, flags: u32, body: &[u8]) -> Vec<u8> {
    message(number, answers, 2013, &[&flags.to_le_bytes()[..], &[0], body].concat())
}

pub(super) fn request(body: &[u8]) -> Vec<u8> {
    msg(1, 0, 0, body)
}

pub(super) fn answer(body: &[u8]) -> Vec<u8> {
    msg(1_001, 1, 0, body)
}

/// Numbers a request, or the answer to one.
pub(super) fn number(message: &mut [u8], number: u32) {
    let at = if message[8..12] == [0; 4] { 4 } else { 8 };
    message[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

fn list(name: &str, documents: &[Vec<u8>]) -> Vec<u8> {
    let documents = documents.concat();
    let size = (4 + name.len() + 1 + documents.len()) as u32;
    [&[1], &size.to_le_bytes()[..], name.as_bytes(), &[0], &documents].concat()
}

pub(super) fn with_list(body: &[u8], name: &str, documents: &[Vec<u8>]) -> Vec<u8> {
    message(1, 0, 2013, &[&[0, 0, 0, 0, 0], body, &list(name, documents)].concat())
}

pub(super) fn ok() -> Vec<u8> {
    document(&[int("n", 1), double("ok", 1.0)])
}

pub(super) fn found(documents: &[Vec<u8>]) -> Vec<u8> {
    let batch = array("firstBatch", documents);
    document(&[
        inner("cursor", &document(&[batch, element(0x12, "id", &[0; 8]), text("ns", "d.c")])),
        double("ok", 1.0),
    ])
}

pub(super) fn failed(code: i32) -> Vec<u8> {
    document(&[double("ok", 0.0), text("errmsg", "about 'alice'"), int("code", code), text("codeName", "Some")])
}

/// What clients say first, in the way of old.
pub(super) fn handshake() -> Vec<u8> {
    let body = document(&[int("ismaster", 1), element(8, "helloOk", &[1])]);
    message(1, 0, 2004, &[&[0, 0, 0, 0], &b"admin.$cmd\0"[..], &[0, 0, 0, 0], &[0xff; 4], &body].concat())
}

fn reply(flags: u8, documents: &[Vec<u8>]) -> Vec<u8> {
    let count = (documents.len() as u32).to_le_bytes();
    message(2, 1, 1, &[&[flags, 0, 0, 0][..], &[0; 12], &count, &documents.concat()].concat())
}

/// With the number of what it answers, or 0. Snappy.
pub(super) fn compressed(answers: u32) -> Vec<u8> {
    message(1, answers, 2012, &[&2013_u32.to_le_bytes()[..], &40_u32.to_le_bytes(), b"\x01some bytes"].concat())
}

fn hear_one(request: Vec<u8>, answer: Vec<u8>) -> Told {
    let found = hear_all(&MONGODB, &[ask(&request), tell(&answer)]);
    assert_eq!((found.exchanges.len(), &found.doubts), (1, &vec![]), "{}", request.escape_ascii());
    assert_eq!(found.exchanges[0].bytes, (request.len() as u64, answer.len() as u64));
    found.exchanges.into_iter().next().expect("one")
}

#[test]
fn commands_and_what_they_are_about() {
    let db = || text("$db", "shop");
    let cases: Vec<(Vec<Vec<u8>>, &str, &str)> = vec![
        (vec![text("find", "items"), inner("filter", &document(&[text("name", "alice")])), db()], "find", "shop.items"),
        (vec![text("aggregate", "items"), array("pipeline", &[]), db()], "aggregate", "shop.items"),
        (vec![int("aggregate", 1), array("pipeline", &[]), db()], "aggregate", ""),
        (vec![element(0x12, "getMore", &[9; 8]), text("collection", "items"), db()], "getMore", "shop.items"),
        (vec![text("findAndModify", "items"), db()], "findAndModify", "shop.items"),
        (
            vec![text("renameCollection", "shop.old"), text("to", "shop.new"), text("$db", "admin")],
            "renameCollection",
            "shop.old",
        ),
        (vec![int("ping", 1), db()], "ping", ""),
        (vec![int("saslStart", 1), text("mechanism", "SCRAM-SHA-256"), db()], "saslStart", ""),
        // Names of users are no collections, and commands that nobody knows no labels.
        (vec![text("createUser", "alice"), db()], "createUser", ""),
        (vec![text("alice", "bob"), db()], OTHER, ""),
        (vec![], OTHER, ""),
    ];
    for (body, operation, target) in cases {
        let told = hear_one(request(&document(&body)), answer(&ok()));
        assert_eq!((told.operation, &*told.target, told.status), (operation, target, Status::OK));
    }
}

#[test]
fn documents_may_stand_before_what_is_to_be_done_with_them_or_after_it() {
    let body = document(&[text("insert", "items"), text("$db", "shop")]);
    let documents = vec![document(&[text("name", "alice")]); 3];
    let told = hear_one(with_list(&body, "documents", &documents), answer(&ok()));
    assert_eq!((told.operation, &*told.target), ("insert", "shop.items"));
    let before = [&[0; 4][..], &list("documents", &documents), &[0], &body].concat();
    let told = hear_one(message(1, 0, 2013, &before), answer(&ok()));
    assert_eq!((told.operation, &*told.target), ("insert", "shop.items"));
    // So many that what follows them is not seen: what they are called tells.
    let many = [&[0; 4][..], &list("updates", &vec![document(&[binary("v", &[0; 900])]); 9]), &[0], &body].concat();
    let told = hear_one(message(1, 0, 2013, &many), answer(&ok()));
    assert_eq!((told.operation, &*told.target), ("update", ""));
    // With a checksum.
    let sum = [&[1, 0, 0, 0, 0][..], &body, b"\x01\x02\x03\x04"].concat();
    let told = hear_one(message(1, 0, 2013, &sum), answer(&ok()));
    assert_eq!((told.operation, &*told.target), ("insert", "shop.items"));
}

#[test]
fn how_it_ended() {
    let error = |outcome, code| Status { outcome, code: Code::Number(code) };
    let refused =
        |code| array("writeErrors", &[document(&[int("index", 0), int("code", code), text("errmsg", "alice")])]);
    let cases = [
        (ok(), Status::OK),
        (document(&[element(8, "ok", &[1])]), Status::OK),
        (failed(26), error(Outcome::ClientError, 26)),
        (failed(10_107), error(Outcome::ServerError, 10_107)),
        (document(&[double("ok", 0.0)]), Status { outcome: Outcome::ServerError, code: Code::None }),
        // Some of it could not be written.
        (document(&[int("n", 0), refused(11_000), double("ok", 1.0)]), error(Outcome::ClientError, 11_000)),
        (
            document(&[int("n", 1), inner("writeConcernError", &document(&[int("code", 64)])), double("ok", 1.0)]),
            error(Outcome::ServerError, 64),
        ),
        // What is found may hold anything, and be long.
        (found(&[document(&[double("ok", 0.0), int("code", 1)])]), Status::OK),
        (found(&vec![document(&[binary("v", &[0; 500])]); 40]), Status::OK),
        (document(&[binary("unknown", &[0; 5_000]), double("ok", 0.0)]), Status::UNSEEN),
    ];
    for (body, status) in cases {
        let told = hear_one(request(&document(&[text("find", "c"), text("$db", "d")])), answer(&body));
        assert_eq!(told.status, status);
    }
}

#[test]
fn the_messages_of_old_clients() {
    let told = hear_one(handshake(), reply(8, &[document(&[element(8, "ismaster", &[1]), double("ok", 1.0)])]));
    assert_eq!((told.operation, &*told.target, told.status), ("ismaster", "", Status::OK));
    let body = document(&[text("count", "c")]);
    let named = |name: &str, body: &[u8]| [&[0; 4], name.as_bytes(), &[0; 9], body].concat();
    let told = hear_one(message(1, 0, 2004, &named("shop.$cmd", &body)), reply(8, &[failed(13)]));
    assert_eq!((told.operation, &*told.target), ("count", "shop.c"));
    assert_eq!(told.status, Status { outcome: Outcome::ClientError, code: Code::Number(13) });
    let wrapped = document(&[inner("$query", &body), inner("$readPreference", &document(&[]))]);
    let told = hear_one(message(1, 0, 2004, &named("shop.$cmd", &wrapped)), reply(8, &[ok()]));
    assert_eq!((told.operation, &*told.target), ("count", "shop.c"));
    // Documents are asked for: what they say is not how it went.
    let query = message(1, 0, 2004, &named("shop.items", &document(&[text("name", "alice")])));
    let told = hear_one(query.clone(), reply(8, &[failed(13)]));
    assert_eq!((told.operation, &*told.target, told.status), ("find", "shop.items", Status::OK));
    let told = hear_one(query, reply(2, &[document(&[text("$err", "alice"), int("code", 2)])]));
    assert_eq!(told.status, Status { outcome: Outcome::ClientError, code: Code::Number(2) });
    let told = hear_one(message(1, 0, 2005, &named("shop.items", &[0; 4])), reply(1, &[]));
    assert_eq!((told.operation, told.status.code), ("getMore", Code::Number(43)));
    // Writes of old are not answered.
    let insert = message(7, 0, 2002, &named("shop.items", &ok()));
    let found = hear_all(&MONGODB, &[ask([insert, handshake()].concat()), tell(reply(8, &[ok()]))]);
    assert_eq!((found.operations(), found.doubts), (vec!["ismaster"], vec![]));
}

#[test]
fn what_wants_no_answer_is_no_exchange() {
    let insert = msg(4, 0, 2, &document(&[text("insert", "c"), text("$db", "d")]));
    let found =
        hear_all(&MONGODB, &[ask(&insert), ask([insert.clone(), request(&ok())].concat()), tell(answer(&ok()))]);
    assert_eq!((found.exchanges.len(), found.doubts), (1, vec![]));
}

#[test]
fn answers_in_a_stream_are_nobody_s_but_the_first() {
    let hello = msg(5, 0, 1 << 16, &document(&[int("hello", 1), text("$db", "admin")]));
    let turns = [
        ask(hello),
        tell(msg(70, 5, 2, &ok())),
        tell(msg(71, 70, 2, &ok())),
        tell(msg(72, 71, 0, &ok())),
        ask(request(&document(&[int("ping", 1)]))),
        tell(answer(&ok())),
    ];
    let found = hear_all(&MONGODB, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["hello", "ping"], vec![]));
    let late = hear_all(&MONGODB, &turns[2..]);
    assert_eq!((late.operations(), late.doubts), (vec!["ping"], vec![(Doubt::UnmatchedResponse, 1)]));
}

#[test]
fn of_what_is_compressed_only_its_length_is_known() {
    let told = hear_one(compressed(0), compressed(1));
    assert_eq!((told.operation, told.status), (COMPRESSED, Status::UNSEEN));
    let told = hear_one(request(&document(&[text("drop", "c"), text("$db", "d")])), compressed(1));
    assert_eq!((told.operation, told.status), ("drop", Status::UNSEEN));
    // Nobody knows whether it was to be answered.
    let mut unacknowledged = compressed(0);
    number(&mut unacknowledged, 9);
    let found = hear_all(&MONGODB, &[ask(unacknowledged.repeat(200)), ask(compressed(0)), tell(compressed(1))]);
    assert_eq!((found.operations(), found.doubts), (vec![COMPRESSED], vec![]));
}

#[test]
fn large_messages_are_gone_over() {
    let body = document(&[text("insert", "c"), text("$db", "d")]);
    let documents = vec![document(&[binary("v", &[1; 1_000])]); 200];
    let one = [ask(with_list(&body, "documents", &documents)), tell(answer(&found(&documents)))];
    let turns: Vec<_> = one.iter().cycle().take(10).cloned().collect();
    for head in [64, 256, 1_024, usize::MAX] {
        let found = hear(&MONGODB, &turns, head);
        assert_eq!((found.operations(), found.doubts), (vec!["insert"; 5], vec![]), "{head}");
        assert!(
            found.exchanges.iter().all(|it| it.target == "d.c" && it.status == Status::OK && it.seen == Seen::Whole)
        );
    }
}

#[test]
fn pipelines_of_which_only_heads_are_seen_are_doubts() {
    let numbered = |mut one: Vec<u8>, id| {
        number(&mut one, id);
        one
    };
    let body = document(&[text("find", "c"), binary("filter", &[1; 60]), text("$db", "d")]);
    let requests: Vec<u8> = (1..=40).flat_map(|id| numbered(request(&body), id)).collect();
    let answers: Vec<u8> = (1..=40).flat_map(|id| numbered(answer(&ok()), id)).collect();
    let mut teller = Teller::new(&MONGODB);
    teller.turn(&ask(&requests), 1_024);
    teller.turn(&tell(&answers), usize::MAX);
    let found = teller.end();
    assert_eq!(found.exchanges.len() as u64 + found.doubts(Doubt::UnmatchedResponse), 40);
    let mut teller = Teller::new(&MONGODB);
    teller.turn(&ask(&requests), usize::MAX);
    teller.turn(&tell(&answers), 300);
    teller.wait(20_000_000_000);
    let unanswered = teller.found.doubts(Doubt::UnansweredRequest);
    assert!(unanswered > 0);
    assert_eq!(teller.end().exchanges.len() as u64 + unanswered, 40);
    let found = hear(&MONGODB, &[ask(&requests), tell(&answers)], 300);
    assert_eq!(found.doubts(Doubt::Truncated), 1);
}

#[test]
fn more_than_is_kept_is_counted() {
    let name = "c".repeat(300);
    let turns: Vec<_> = (1..300)
        .map(|id| {
            let mut one = request(&document(&[text("find", &name), text("$db", "d")]));
            number(&mut one, id);
            ask(one)
        })
        .collect();
    let found = hear_all(&MONGODB, &turns);
    assert_eq!(
        found.doubts,
        [(Doubt::OverLimit, 1); 171].into_iter().chain([(Doubt::UnansweredRequest, 128)]).collect::<Vec<_>>()
    );
}

#[test]
fn what_is_no_message_is_garbage() {
    for odd in [
        message(1, 0, 2014, &[0; 40]),
        message(1, 0, 2013, &[0; 8]),
        // A flag that must not be ignored, a section that is none, a document that is longer than its message.
        msg(1, 0, 4, &ok()),
        message(1, 0, 2013, &[&[0, 0, 0, 0, 2][..], &ok()].concat()),
        message(1, 0, 2013, &[&[0, 0, 0, 0, 0, 0xff][..], &ok()].concat()),
        msg(1, 9, 0, &ok()),
    ] {
        let found = hear_all(&MONGODB, &[ask(&odd)]);
        assert_eq!((found.exchanges.len(), found.doubts), (0, vec![(Doubt::Garbage, 1)]), "{}", odd.escape_ascii());
    }
}
