//! memcached: text, meta and binary commands, quiet ones, many keys, values that look like answers.

use super::*;
use crate::l7::{Code, Outcome, UNSEEN, memcached::MEMCACHED};

/// A message of the binary protocol.
pub(super) fn binary(magic: u8, code: u8, status: u16, key: &str, value: &str) -> Vec<u8> {
    let body = (key.len() + value.len()) as u32;
    let head = [&[magic, code, 0, key.len() as u8, 0, 0][..], &status.to_be_bytes(), &body.to_be_bytes(), &[0; 12]];
    [&head.concat()[..], key.as_bytes(), value.as_bytes()].concat()
}

fn code(told: &Told) -> String {
    match told.status.code {
        Code::Word(word) => word.as_str().to_owned(),
        Code::Number(number) => number.to_string(),
        Code::None => String::new(),
    }
}

#[test]
fn commands_and_their_answers() {
    let cases = [
        ("set k 0 60 5\r\na\r\nb!\r\n", "STORED\r\n", "set", ""),
        ("add k 0 60 0\r\n\r\n", "NOT_STORED\r\n", "add", "NOT_STORED"),
        ("cas k 0 60 1 77\r\nx\r\n", "EXISTS\r\n", "cas", "EXISTS"),
        ("get k\r\n", "VALUE k 0 3\r\nEND\r\nEND\r\n", "get", ""),
        ("gets a b c\r\n", "VALUE a 0 1 7\r\nx\r\nVALUE c 0 0 8\r\n\r\nEND\r\n", "gets", ""),
        ("gat 60 k\r\n", "END\r\n", "gat", ""),
        ("delete k\r\n", "NOT_FOUND\r\n", "delete", "NOT_FOUND"),
        ("incr k 5\r\n", "12\r\n", "incr", ""),
        ("touch k 60\r\n", "TOUCHED\r\n", "touch", ""),
        ("stats\r\n", "STAT pid 1\r\nSTAT uptime 2\r\nEND\r\n", "stats", ""),
        ("stats reset\r\n", "RESET\r\n", "stats", ""),
        ("lru_crawler metadump all\r\n", "key=a exp=1\r\nkey=b exp=2\r\nEND\r\n", "lru_crawler", ""),
        ("version\r\n", "VERSION 1.6.18\r\n", "version", ""),
        ("flush_all\r\n", "OK\r\n", "flush_all", ""),
        ("mg k t v\r\n", "VA 4 t60\r\nEN\r\n\r\n", "mg", ""),
        ("mg k v\r\n", "EN\r\n", "mg", "EN"),
        ("ms k 2 T60\r\nhi\r\n", "HD\r\n", "ms", ""),
        ("md k\r\n", "NF\r\n", "md", "NF"),
        ("ma k v\r\n", "VA 1\r\n5\r\n", "ma", ""),
        ("me k\r\n", "ME k exp=1 la=2\r\n", "me", ""),
        ("mn\r\n", "MN\r\n", "mn", ""),
        ("set k 0 0 9\r\n123456789\r\n", "SERVER_ERROR out of memory storing object\r\n", "set", "SERVER_ERROR"),
        ("get\r\n", "ERROR\r\n", "get", "ERROR"),
        ("incr k x\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n", "incr", "CLIENT_ERROR"),
    ];
    for (request, answer, operation, word) in cases {
        let found = hear_all(&MEMCACHED, &[ask(request), tell(answer), ask("mn\r\n"), tell("MN\r\n")]);
        assert_eq!((found.operations(), &found.doubts), (vec![operation, "mn"], &vec![]), "{request:?}");
        let told = &found.exchanges[0];
        assert_eq!((told.bytes, code(told).as_str()), ((request.len() as u64, answer.len() as u64), word));
        let outcome = match word {
            "SERVER_ERROR" => Outcome::ServerError,
            "ERROR" | "CLIENT_ERROR" => Outcome::ClientError,
            _ => Outcome::Ok,
        };
        assert_eq!(told.status.outcome, outcome, "{request:?}");
    }
}

#[test]
fn what_asks_for_no_answer_is_no_exchange() {
    let turns = [
        ask("set a 0 0 1 noreply\r\nx\r\ndelete b noreply\r\nget a\r\n"),
        tell("VALUE a 0 1\r\nx\r\nEND\r\n"),
        ask("verbosity 1 noreply\r\nquit\r\n"),
    ];
    let found = hear_all(&MEMCACHED, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["get"], vec![]));
}

#[test]
fn quiet_commands_are_told_if_they_are_answered() {
    let turns = [
        ask("mg a v q k\r\nmg b v q k\r\nmg c v q k\r\nmn\r\n"),
        tell("VA 1 kb\r\nx\r\nMN\r\n"),
        ask("ms a 1 q\r\nx\r\nms b 1 q C5\r\nx\r\nmd c q\r\nmn\r\n"),
        tell("EX\r\nMN\r\n"),
        ask("ms a 1 q\r\nx\r\n"),
        ask("get a\r\n"),
        tell("END\r\n"),
        // Nothing comes.
        ask("mg a v q\r\n"),
        ask("get b\r\n"),
        tell("END\r\n"),
    ];
    let found = hear_all(&MEMCACHED, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["mg", "mn", "ms", "mn", "get", "get"], vec![]));
    // The binary protocol's: GetKQ and SetQ, and NOOP.
    let ask_for = |key: &str| binary(0x80, 0x0d, 0, key, "");
    let turns = [
        ask([ask_for("a"), ask_for("b"), ask_for("c"), binary(0x80, 0x0a, 0, "", "")].concat()),
        tell([binary(0x81, 0x0d, 0, "b", "value"), binary(0x81, 0x0a, 0, "", "")].concat()),
        ask([binary(0x80, 0x11, 0, "a", "x"), binary(0x80, 0x00, 0, "a", "")].concat()),
        tell(binary(0x81, 0x00, 1, "", "Not found")),
    ];
    let found = hear_all(&MEMCACHED, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["get", "noop", "get"], vec![]));
    assert_eq!((code(&found.exchanges[2]), found.exchanges[2].status.outcome), ("1".into(), Outcome::Ok));
}

#[test]
fn the_binary_protocol_s_statistics_are_many_messages() {
    let one = binary(0x81, 0x10, 0, "pid", "7");
    let turns = [
        ask(binary(0x80, 0x10, 0, "", "")),
        tell([one.repeat(20), binary(0x81, 0x10, 0, "", "")].concat()),
        ask(binary(0x80, 0x01, 0, "k", "v")),
        tell(binary(0x81, 0x01, 0x82, "", "Out of memory")),
    ];
    let found = hear_all(&MEMCACHED, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["stats", "set"], vec![]));
    assert_eq!(found.exchanges[0].bytes.1, turns[1].bytes.len() as u64);
    assert_eq!(found.exchanges[1].status.outcome, Outcome::ServerError);
}

#[test]
fn a_pipeline_whose_one_side_was_cut_is_counted() {
    let (requests, answers) = ("get some_key\r\n".repeat(40), "END\r\n".repeat(40));
    let found = hear(&MEMCACHED, &[ask(&requests), tell(&answers)], 256);
    assert_eq!((found.exchanges.len(), found.doubts.len()), (40, 0));
    // Of the nineteenth only its command was seen.
    assert_eq!(found.exchanges.iter().filter(|it| it.operation == UNSEEN).count(), 21);
    let values = format!("VALUE k 0 100\r\n{}\r\nEND\r\n", "v".repeat(100)).repeat(10);
    let found = hear(&MEMCACHED, &[ask("get k\r\n".repeat(10)), tell(values)], 256);
    assert_eq!((found.exchanges.len(), found.doubts.len()), (10, 0));
}

#[test]
fn more_keys_than_can_be_seen_are_one_request() {
    let keys: String = (0..1_000).map(|at| format!(" key:{at:08}")).collect();
    for head in [256, usize::MAX] {
        let turns = [ask(format!("get{keys}\r\n")), tell("END\r\n"), ask("get a\r\n"), tell("END\r\n")];
        let found = hear(&MEMCACHED, &turns, head);
        assert_eq!((found.operations(), found.doubts), (vec!["get"; 2], vec![]), "{head}");
        assert_eq!(found.exchanges[0].bytes.0, turns[0].bytes.len() as u64, "{head}");
    }
}

#[test]
fn thousands_of_quiet_commands_are_bounded() {
    let turns = [ask("mg a v q\r\n".repeat(5_000) + "mn\r\n"), tell("VA 1\r\nx\r\n".repeat(3_000) + "MN\r\n")];
    let found = hear_all(&MEMCACHED, &turns);
    assert!(found.exchanges.len() <= 3_001 && found.exchanges.len() >= 128, "{}", found.exchanges.len());
    assert!(found.doubts(Doubt::OverLimit) > 0);
}

#[test]
fn after_watch_nothing_is_an_answer() {
    let turns = [ask("watch fetchers\r\n"), tell("OK\r\nts=1 gid=1 type=item_get key=secret\r\n")];
    let found = hear_all(&MEMCACHED, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["watch"], vec![(Doubt::Opaque, 1)]));
}

#[test]
fn what_is_missing_before_a_request_is_not_answered_after_it() {
    let mut teller = Teller::new(&MEMCACHED);
    teller.piece(Side::Server, b"get a\r\nget b\r\n", Some(9));
    teller.piece(Side::Client, b"END\r\nEND\r\n", Some(usize::MAX));
    teller.piece(Side::Server, b"get c\r\n", None);
    teller.piece(Side::Client, b"END\r\n", Some(usize::MAX));
    teller.piece(Side::Server, b"get d\r\nget e\r\n", Some(usize::MAX));
    teller.piece(Side::Client, b"VALUE d 0 7\r\nsome va\r\nEND\r\nEND\r\n", Some(13));
    let found = teller.end();
    assert!(found.exchanges.len() <= 5, "{:?}", found.operations());
    assert_eq!(found.doubts(Doubt::Gap), 1);
}
