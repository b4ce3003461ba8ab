//! PostgreSQL: simple and extended protocol, errors, COPY, what was prepared before, heads only.

use super::*;
use crate::l7::{
    Code, Outcome, UNSEEN, Verdict,
    postgres::{POSTGRES, PREPARED},
};

pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(super) fn startup(code: u32, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

pub(super) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

pub(super) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

pub(super) fn bind(portal: &str, name: &str, value: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{name}\0\0\0\0\x01\0\0\0{}{value}\0\0", value.len() as u8 as char).as_bytes())
}

pub(super) fn execute(portal: &str) -> Vec<u8> {
    message(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}

pub(super) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub(super) fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

pub(super) fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

pub(super) fn error(state: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{state}\0Msomething about 'alice'\0Fparse.c\0\0").as_bytes())
}

/// A row of `size` bytes.
pub(super) fn row(size: usize) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend((size as u32).to_be_bytes());
    body.resize(body.len() + size, b'r');
    message(b'D', &body)
}

fn columns() -> Vec<u8> {
    message(b'T', b"\0\x01id\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0")
}

fn code(told: &Told) -> String {
    match told.status.code {
        Code::Word(word) => word.as_str().to_owned(),
        _ => String::new(),
    }
}

#[test]
fn a_connection_from_its_beginning() {
    let settings = [message(b'S', b"TimeZone\0UTC\0"), message(b'K', &[0; 8])].concat();
    let turns = [
        ask(startup(80_877_103, b"")),
        tell("N"),
        ask(startup(196_608, b"user\0alice\0\0")),
        tell(message(b'R', &[0, 0, 0, 10, b'S', b'C', 0, 0])),
        ask(message(b'p', b"SCRAM-SHA-256\0secret")),
        tell([message(b'R', &[0; 4]), settings, ready()].concat()),
        ask(query("SELECT name FROM people WHERE id = 7 AND name = 'bob'")),
        tell([columns(), row(10), complete("SELECT 1"), ready()].concat()),
        ask(message(b'X', b"")),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!(found.operations(), ["CONNECT", "SELECT"]);
    let select = &found.exchanges[1];
    assert_eq!(
        (select.target.as_str(), select.statement.as_str()),
        ("people", "select name from people where id = ? and name = ?")
    );
    assert_eq!((select.status, select.seen), (Status::OK, Seen::Whole));
    assert_eq!(select.bytes, (turns[6].bytes.len() as u64, turns[7].bytes.len() as u64));
    assert_eq!(found.doubts, []);
    assert!(!format!("{found:?}").contains("secret"));
}

#[test]
fn a_connection_that_was_let_in_has_succeeded() {
    let settings = message(b'S', b"TimeZone\0UTC\0").repeat(20);
    let turns = [
        ask(startup(196_608, b"user\0alice\0\0")),
        tell([message(b'R', &[0; 4]), settings, ready()].concat()),
        ask(query("begin")),
    ];
    let found = hear(&POSTGRES, &turns, 256);
    assert_eq!((found.operations(), found.exchanges[0].status), (vec!["CONNECT"], Status::OK));
}

#[test]
fn encryption_ends_what_can_be_seen() {
    let found = hear_all(&POSTGRES, &[ask(startup(80_877_103, b"")), tell("S"), ask("\x16\x03\x01\x02\0")]);
    assert_eq!((found.operations(), found.doubts), (vec![], vec![(Doubt::Opaque, 1)]));
}

#[test]
fn a_password_that_is_refused_is_an_error_of_the_connection() {
    let turns = [ask(startup(196_608, b"user\0a\0\0")), tell(error("28P01"))];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!((found.operations(), code(&found.exchanges[0])), (vec!["CONNECT"], "28P01".to_owned()));
    assert_eq!(found.exchanges[0].status.outcome, Outcome::ClientError);
}

#[test]
fn statements_are_prepared_once_and_executed_by_name() {
    let turns = [
        ask([parse("s1", "UPDATE t SET a = $1"), message(b'D', b"Ss1\0"), sync()].concat()),
        tell([message(b'1', b""), message(b't', &[0, 0]), message(b'n', b""), ready()].concat()),
        ask([bind("", "s1", "secret"), execute(""), sync()].concat()),
        tell([message(b'2', b""), complete("UPDATE 1"), ready()].concat()),
        ask([message(b'C', b"Ss1\0"), sync()].concat()),
        tell([message(b'3', b""), ready()].concat()),
        ask([bind("", "s1", "x"), execute(""), sync()].concat()),
        tell([error("26000"), ready()].concat()),
        ask(query("begin")),
        tell([complete("BEGIN"), ready()].concat()),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!(found.operations(), ["UPDATE", PREPARED, "BEGIN"]);
    assert_eq!(found.exchanges[0].statement, "update t set a = ?");
    assert_eq!(found.exchanges[0].bytes, (turns[2].bytes.len() as u64 - 5, turns[3].bytes.len() as u64 - 6));
    assert_eq!(code(&found.exchanges[1]), "26000");
    assert_eq!(found.doubts, []);
    // From the middle on, it is not known what is executed, but that it is.
    assert_eq!(hear_all(&POSTGRES, &turns[2..4]).operations(), [PREPARED]);
}

#[test]
fn each_execute_of_a_pipeline_is_one() {
    let one = [bind("", "s", "v"), execute("")].concat();
    let answer = [message(b'2', b""), complete("SELECT 1")].concat();
    let turns = [
        ask([parse("s", "select 1"), one.clone(), one.clone(), sync(), one.clone(), sync()].concat()),
        tell([message(b'1', b""), answer.clone(), answer.clone(), ready(), answer.clone(), ready()].concat()),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["SELECT"; 3], vec![]));
    // After an error the server goes over the rest, up to Sync.
    let turns = [
        ask([one.clone(), one.clone(), sync(), one.clone(), sync()].concat()),
        tell([message(b'2', b""), error("22012"), ready(), answer, ready()].concat()),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!(found.exchanges.iter().map(code).collect::<Vec<_>>(), ["22012", ""]);
    assert_eq!(found.doubts, [(Doubt::UnansweredRequest, 1)]);
}

#[test]
fn what_cannot_be_parsed_is_told_with_its_error() {
    let turns = [
        ask([parse("", "selec 1"), message(b'D', b"S\0"), sync()].concat()),
        tell([error("42601"), ready()].concat()),
        ask([parse("", "insert into t values (1)"), bind("", "", "1"), execute(""), sync()].concat()),
        tell([error("42P01"), ready()].concat()),
        ask(query("select 1; select 2")),
        tell([complete("SELECT 1"), error("57014"), ready()].concat()),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!(found.operations(), ["_other", "INSERT", "SELECT"]);
    assert_eq!(found.exchanges.iter().map(code).collect::<Vec<_>>(), ["42601", "42P01", "57014"]);
    assert_eq!(found.exchanges[2].status.outcome, Outcome::ServerError);
    assert_eq!(found.doubts, []);
}

#[test]
fn several_statements_in_one_query_are_one() {
    let turns = [
        ask(query("select 1; select 2")),
        tell([columns(), row(1), complete("SELECT 1"), columns(), row(1), complete("SELECT 1"), ready()].concat()),
        ask(query("")),
        tell([message(b'I', b""), ready()].concat()),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["SELECT", "_other"], vec![]));
}

#[test]
fn copied_data_is_gone_over_in_both_directions() {
    let data = message(b'd', &[b'x'; 3_000]);
    let turns = [
        ask(query("COPY t FROM STDIN")),
        tell(message(b'G', &[0, 0, 0])),
        ask([data.clone(), data.clone(), message(b'c', b"")].concat()),
        tell([complete("COPY 2"), ready()].concat()),
        ask(query("copy t to stdout")),
        tell([message(b'H', &[0, 0, 0]), data, message(b'c', b""), complete("COPY 1"), ready()].concat()),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["COPY", "COPY"], vec![]));
    assert_eq!(found.exchanges[0].target, "t");
}

#[test]
fn an_answer_longer_than_the_capture_is_over_when_the_client_speaks() {
    let turns = [
        ask(query("SELECT * FROM big")),
        tell([columns(), row(100).repeat(50), complete("SELECT 50"), ready()].concat()),
        ask(query("SELECT 2")),
        tell([columns(), row(1), complete("SELECT 1"), ready()].concat()),
    ];
    let found = hear(&POSTGRES, &turns, 256);
    assert_eq!(found.operations(), ["SELECT", "SELECT"]);
    assert_eq!(found.exchanges[0].status, Status::UNSEEN);
    assert_eq!(found.exchanges[0].seen, Seen::HeadOnly);
    assert_eq!(found.exchanges[0].bytes.1, turns[1].bytes.len() as u64);
    assert_eq!(found.doubts, []);
}

#[test]
fn the_error_is_kept_when_its_end_is_cut() {
    let long = message(b'E', format!("SERROR\0C42P01\0M{}\0\0", "m".repeat(400)).as_bytes());
    let found = hear(&POSTGRES, &[ask(query("select x")), tell([long, ready()].concat())], 256);
    assert_eq!(code(&found.exchanges[0]), "42P01");
}

#[test]
fn what_is_executed_behind_a_long_statement_is_that_statement() {
    let long = format!("SELECT {} FROM wide WHERE id = $1", vec!["column_name"; 40].join(", "));
    let turns = [
        ask([parse("", &long), bind("", "", "7"), message(b'D', b"P\0"), execute(""), sync()].concat()),
        tell([message(b'1', b""), message(b'2', b""), columns(), row(500), complete("SELECT 1"), ready()].concat()),
    ];
    let found = hear(&POSTGRES, &[&turns[..], &turns[..]].concat(), 256);
    assert_eq!(found.operations(), ["SELECT", "SELECT"]);
    assert_eq!(found.exchanges[0].seen, Seen::HeadOnly);
    assert!(found.exchanges[0].statement.ends_with('…'));
    // Bind was seen, its Execute and the end of the answer were not: that is the usual case, and no doubt.
    let found = hear(&POSTGRES, &[&turns[..], &turns[..]].concat(), turns[0].bytes.len() - 10);
    assert_eq!((found.operations(), found.doubts), (vec!["SELECT", "SELECT"], vec![]));
    // Only prepared: nothing was executed.
    let turns = [
        ask([parse("a", &long), message(b'D', b"Sa\0"), sync()].concat()),
        tell([message(b'1', b""), message(b't', &[0, 0]), columns(), ready()].concat()),
    ];
    assert_eq!(hear(&POSTGRES, &turns, 256).operations(), [""; 0]);
}

#[test]
fn queries_nobody_saw_are_counted_by_their_answers() {
    let turns = [
        ask(query("select 1").repeat(10)),
        tell([complete("SELECT 1"), complete("SELECT 1"), ready()].concat().repeat(10)),
    ];
    let found = hear(&POSTGRES, &[turns[0].clone(), turns[1].clone()], 300);
    assert_eq!(found.operations().len(), 10);
    let mut teller = Teller::new(&POSTGRES);
    teller.turn(&turns[0], 40);
    teller.turn(&turns[1], usize::MAX);
    let operations = teller.end().operations();
    assert_eq!(operations.len(), 10);
    // Of the third the text was cut.
    assert_eq!(operations[3..], [UNSEEN; 7]);
}

#[test]
fn notices_and_notifications_are_nobody_s_answer() {
    let turns = [
        tell(message(b'A', b"\0\0\0\x01chan\0payload\0")),
        ask(query("listen chan")),
        tell([message(b'N', b"SNOTICE\0C00000\0\0"), complete("LISTEN"), ready()].concat()),
        tell(message(b'A', b"\0\0\0\x01chan\0payload\0")),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["LISTEN"], vec![]));
}

#[test]
fn thousands_of_statements_are_bounded() {
    let mut teller = Teller::new(&POSTGRES);
    for at in 0..3_000 {
        let sql = format!("select {} from t{at}", vec!["some_column"; 60].join(", "));
        teller.turn(&ask([parse(&format!("s{at}"), &sql), message(b'H', b"")].concat()), 4_096);
    }
    assert!(teller.found.doubts(Doubt::OverLimit) == 0, "what is not counted is not missed");
    assert_eq!(teller.end().operations(), [""; 0]);
}

#[test]
fn it_is_recognised_in_the_middle() {
    assert_eq!(POSTGRES.recognise(&query("select 1"), Side::Server), Verdict::Yes);
    assert_eq!(POSTGRES.recognise(&startup(196_608, b"user\0a\0\0"), Side::Server), Verdict::Yes);
    let extended = [bind("", "s", "v"), execute(""), sync()].concat();
    assert_eq!(POSTGRES.recognise(&extended, Side::Server), Verdict::Yes);
    assert_eq!(POSTGRES.recognise(&[complete("SELECT 1"), ready()].concat(), Side::Client), Verdict::Yes);
    for other in
        [&b"GET / HTTP/1.1\r\n"[..], b"*1\r\n$4\r\nPING\r\n", b"HTTP/1.1 200 OK\r\n", b"+OK\r\n", b"\x16\x03\x01\x02\0"]
    {
        assert_ne!(POSTGRES.recognise(other, Side::Server), Verdict::Yes, "{other:?}");
        assert_ne!(POSTGRES.recognise(other, Side::Client), Verdict::Yes, "{other:?}");
    }
}

#[test]
fn an_answer_that_goes_on_after_it_was_told_is_not_told_again() {
    let mut teller = Teller::new(&POSTGRES);
    teller.turn(&ask([bind("", "s", "v"), execute(""), sync()].concat()), 0);
    // Its end comes when the client has already asked again.
    teller.turn(&tell([message(b'2', b""), row(100).repeat(2)].concat()), 30);
    teller.turn(&ask(query("select 1")), 0);
    teller.turn(&tell([complete("SELECT 1"), ready(), complete("SELECT 1"), ready()].concat()), usize::MAX);
    assert_eq!(teller.end().exchanges.len(), 2);
}

#[test]
fn ready_ends_an_execute_that_nothing_else_ended() {
    let turns = [
        ask([bind("", "s", "v"), execute(""), sync()].concat()),
        tell([message(b'2', b""), row(5), ready()].concat()),
        ask([bind("", "s", "v"), execute(""), sync()].concat()),
        tell([message(b'2', b""), complete("SELECT 1"), ready()].concat()),
    ];
    let found = hear_all(&POSTGRES, &turns);
    assert_eq!((found.operations(), found.doubts), (vec![PREPARED, PREPARED], vec![]));
}

#[test]
fn readiness_after_what_was_executed_unseen_answers_no_later_query() {
    let mut teller = Teller::new(&POSTGRES);
    let long = "a".repeat(300);
    teller.turn(&ask([parse("", &format!("select {long}")), bind("", "", "v"), execute(""), sync()].concat()), 40);
    teller.turn(&tell([message(b'1', b""), message(b'2', b"")].concat()), 40);
    // The client asks again before it is told that the server is ready, and only the first of two queries is seen.
    teller.turn(&ask(query("select 1").repeat(2)), 5);
    teller.turn(
        &tell([complete("SELECT 1"), ready(), complete("SELECT 1"), ready(), error("42601"), ready()].concat()),
        400,
    );
    assert_eq!(teller.end().exchanges.len(), 3);
}
