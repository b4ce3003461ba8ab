//! MySQL: logins, queries with both ends of results, prepared statements, files, several results, from the middle on.

use super::*;
use crate::l7::{
    Code, Outcome, UNSEEN, Verdict,
    mysql::{MYSQL, PREPARED},
};

pub(super) fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_le_bytes();
    [&[length[0], length[1], length[2], sequence][..], body].concat()
}

pub(super) fn query(sql: &str) -> Vec<u8> {
    packet(0, &[b"\x03", sql.as_bytes()].concat())
}

fn prepare(sql: &str) -> Vec<u8> {
    packet(0, &[b"\x16", sql.as_bytes()].concat())
}

/// With `size` bytes of values.
pub(super) fn execute(id: u32, size: usize) -> Vec<u8> {
    packet(0, &[&b"\x17"[..], &id.to_le_bytes(), b"\0\x01\0\0\0", &vec![b'v'; size]].concat())
}

fn close(id: u32) -> Vec<u8> {
    packet(0, &[&b"\x19"[..], &id.to_le_bytes()].concat())
}

pub(super) fn ok(sequence: u8, status: u16) -> Vec<u8> {
    packet(sequence, &[&[0, 0, 0][..], &status.to_le_bytes(), &[0, 0]].concat())
}

/// The end of a result, as of old or as OK.
fn end(sequence: u8, status: u16, classic: bool) -> Vec<u8> {
    let status = status.to_le_bytes();
    if classic {
        packet(sequence, &[0xfe, 0, 0, status[0], status[1]])
    } else {
        packet(sequence, &[0xfe, 0, 0, status[0], status[1], 0, 0])
    }
}

pub(super) fn error(sequence: u8, number: u16, state: &str) -> Vec<u8> {
    packet(sequence, &[&[0xff], &number.to_le_bytes()[..], b"#", state.as_bytes(), b"about 'alice'"].concat())
}

fn description(sequence: u8) -> Vec<u8> {
    packet(sequence, b"\x03def\x01d\x01t\x01t\x02id\x02id\x0c\x3f\0\x0b\0\0\0\x03\x01\x42\0\0\0")
}

/// Numbers packets from 1 on.
fn numbered(packets: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let number = |(at, mut packet): (usize, Vec<u8>)| {
        packet[3] = (at + 1) as u8;
        packet
    };
    packets.into_iter().enumerate().flat_map(number).collect()
}

/// So many results of the same columns and rows.
pub(super) fn results(columns: usize, rows: &[Vec<u8>], classic: bool, count: usize) -> Vec<u8> {
    let mut packets = Vec::new();
    for left in (0..count).rev() {
        packets.push(packet(0, &[columns as u8]));
        packets.extend((0..columns).map(|_| description(0)));
        if classic {
            packets.push(end(0, 2, true));
        }
        for row in rows {
            let length = [&[0xfc][..], &(row.len() as u16).to_le_bytes()].concat();
            packets.push(packet(0, &[&length[..], row].concat()));
        }
        packets.push(end(0, if left > 0 { 10 } else { 2 }, classic));
    }
    numbered(packets)
}

fn prepared(id: u32, gives: usize, needs: usize, classic: bool) -> Vec<u8> {
    let counts = [gives as u8, 0, needs as u8, 0, 0, 0, 0];
    let mut packets = vec![packet(0, &[&[0][..], &id.to_le_bytes(), &counts].concat())];
    for count in [needs, gives].into_iter().filter(|count| *count > 0) {
        packets.extend((0..count).map(|_| description(0)));
        packets.extend(classic.then(|| end(0, 2, true)));
    }
    numbered(packets)
}

fn greeting() -> Vec<u8> {
    packet(0, b"\x0a10.11.19-MariaDB\0\x07\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0abcdefghijkl\0mysql_native_password\0")
}

fn login(capabilities: u32) -> Vec<u8> {
    let head = [&capabilities.to_le_bytes()[..], &[0, 0, 0, 1, 45], &[0; 23]].concat();
    packet(1, &[&head[..], b"alice\0\x14secret-secret-secret"].concat())
}

/// Protocol 4.1, and results that end with OK.
const MODERN: u32 = 1 << 9 | 1 << 24;
const CLASSIC: u32 = 1 << 9;

fn number(told: &Told) -> Option<u32> {
    match told.status.code {
        Code::Number(number) => Some(number),
        _ => None,
    }
}

#[test]
fn a_connection_from_its_beginning() {
    for (capabilities, classic) in [(MODERN, false), (CLASSIC, true)] {
        let turns = [
            tell(greeting()),
            ask(login(capabilities)),
            tell(packet(2, b"\xfemysql_clear_password\0")),
            ask(packet(3, b"secret\0")),
            tell(ok(4, 2)),
            ask(query("SELECT name FROM people WHERE id = 7 AND name = \"bob\"")),
            tell(results(2, &[vec![b'r'; 10], vec![]], classic, 1)),
            ask(packet(0, b"\x01")),
        ];
        let found = hear_all(&MYSQL, &turns);
        assert_eq!(found.operations(), ["CONNECT", "SELECT"]);
        let select = &found.exchanges[1];
        assert_eq!(
            (select.target.as_str(), select.statement.as_str()),
            ("people", "select name from people where id = ? and name = ?")
        );
        assert_eq!((select.status, select.seen), (Status::OK, Seen::Whole));
        assert_eq!(select.bytes, (turns[5].bytes.len() as u64, turns[6].bytes.len() as u64));
        assert_eq!(found.doubts, []);
        assert!(!format!("{found:?}").contains("secret"));
    }
}

#[test]
fn what_is_refused_is_told_with_its_number() {
    let cases = [
        (1045, "28000", Outcome::ClientError),
        (1064, "42000", Outcome::ClientError),
        (1205, "HY000", Outcome::ServerError),
        (1213, "40001", Outcome::ServerError),
        (1226, "42000", Outcome::ServerError),
        (1969, "70100", Outcome::ServerError),
    ];
    for (code, state, outcome) in cases {
        let turns = [tell(greeting()), ask(login(MODERN)), tell(error(2, code, state))];
        let found = hear_all(&MYSQL, &turns);
        assert_eq!((found.operations(), number(&found.exchanges[0])), (vec!["CONNECT"], Some(u32::from(code))));
        let found = hear_all(&MYSQL, &[ask(query("select 1")), tell(error(1, code, state))]);
        assert_eq!((number(&found.exchanges[0]), found.exchanges[0].status.outcome), (Some(code.into()), outcome));
        assert_eq!(found.doubts, []);
    }
    // In the middle of rows.
    let rows = results(1, &[vec![b'r'; 10]], false, 1);
    let broken = [&rows[..rows.len() - 11], &error(4, 1317, "70100")].concat();
    let turns = [ask(query("select sleep(9)")), tell(broken), ask(query("select 2")), tell(results(1, &[], false, 1))];
    let found = hear_all(&MYSQL, &turns);
    assert_eq!((found.exchanges.len(), number(&found.exchanges[0])), (2, Some(1317)));
}

#[test]
fn encryption_and_compression_end_what_can_be_seen() {
    let wish = packet(1, &[&(MODERN | 1 << 11).to_le_bytes()[..], &[0, 0, 0, 1, 45], &[0; 23]].concat());
    let found = hear_all(&MYSQL, &[tell(greeting()), ask(wish), ask("\x16\x03\x01\x02\0")]);
    assert_eq!((found.operations(), found.doubts), (vec![], vec![(Doubt::Opaque, 1)]));
    let turns =
        [tell(greeting()), ask(login(MODERN | 1 << 5)), tell(ok(2, 2)), ask(b"\x0d\0\0\0\0\0\0\x09\0\0\0\x03select 1")];
    let found = hear_all(&MYSQL, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["CONNECT"], vec![(Doubt::Opaque, 1)]));
}

#[test]
fn statements_are_prepared_once_and_executed_by_number() {
    for classic in [true, false] {
        for (gives, needs) in [(0, 0), (2, 0), (0, 2), (3, 2)] {
            for known in [true, false] {
                let login = [tell(greeting()), ask(login(if classic { CLASSIC } else { MODERN })), tell(ok(2, 2))];
                let turns = [
                    ask(prepare("UPDATE t SET a = ?")),
                    tell(prepared(7, gives, needs, classic)),
                    ask(execute(7, 6)),
                    tell(ok(1, 2)),
                    ask([close(7), execute(7, 3)].concat()),
                    tell(error(1, 1243, "HY000")),
                ];
                let all = if known { [&login[..], &turns].concat() } else { turns.to_vec() };
                let found = hear_all(&MYSQL, &all);
                let case = format!("classic {classic}, {gives} {needs}, known {known}");
                let at = usize::from(known);
                assert_eq!(found.operations()[at..], ["PREPARE", "UPDATE", PREPARED], "{case}");
                assert_eq!(found.exchanges[at + 1].statement, "update t set a = ?", "{case}");
                assert_eq!(found.doubts, [], "{case}");
            }
        }
    }
}

#[test]
fn mariadb_executes_what_it_has_only_just_prepared() {
    let turns = [
        ask([prepare("select a from t where b = ?"), execute(u32::MAX, 5)].concat()),
        tell([prepared(3, 1, 1, false), results(1, &[vec![b'r'; 5]], false, 1)].concat()),
    ];
    let found = hear_all(&MYSQL, &turns);
    assert_eq!((found.operations(), found.doubts), (vec!["PREPARE", "SELECT"], vec![]));
    assert_eq!(found.exchanges[1].target, "t");
}

#[test]
fn several_results_of_one_query_are_one() {
    for classic in [true, false] {
        let turns = [
            ask(query("call p()")),
            tell([results(1, &[vec![b'r'; 5]], classic, 3)].concat()),
            ask(query("insert into t values (1); select 1")),
            tell([ok(1, 10), results(1, &[], classic, 1)].concat()),
            ask(query("commit")),
            tell(ok(1, 2)),
        ];
        let found = hear_all(&MYSQL, &turns);
        assert_eq!((found.operations(), found.doubts), (vec!["CALL", "INSERT", "COMMIT"], vec![]), "{classic}");
        assert_eq!(found.exchanges[0].bytes.1, turns[1].bytes.len() as u64);
    }
}

#[test]
fn a_file_of_the_client_is_gone_over() {
    let mut data: Vec<u8> = Vec::new();
    // Numbers begin anew, so that data may be numbered like a command; and looks like one.
    for at in 0..300_usize {
        data.extend(packet((at + 2) as u8, b"\x03select 1"));
    }
    data.extend(packet((302 % 256) as u8, b""));
    let turns = [
        ask(query("load data local infile 'x' into table t")),
        tell(packet(1, b"\xfb/home/alice/x")),
        ask(data),
        tell(ok(47, 2)),
        ask(query("select 1")),
        tell(results(1, &[], true, 1)),
    ];
    for head in [usize::MAX, 64] {
        let found = hear(&MYSQL, &turns, head);
        assert_eq!((found.operations(), found.doubts), (vec!["LOAD", "SELECT"], vec![]), "{head}");
    }
}

#[test]
fn cursors_fields_and_other_commands() {
    let turns = [
        ask(execute(5, 0)),
        tell(numbered([packet(0, b"\x01"), description(0), packet(0, &[0xfe, 0, 0, 0x42, 0])])),
        ask(packet(0, b"\x1c\x05\0\0\0\x0a\0\0\0")),
        tell(numbered([packet(0, b"\0\0\x07"), end(0, 0xc2, true)])),
        ask(packet(0, b"\x04t\0")),
        tell(numbered([description(0), description(0), end(0, 2, true)])),
        ask(packet(0, b"\x09")),
        tell(packet(1, b"Uptime: 7  Threads: 1")),
        ask(packet(0, b"\x02db")),
        tell(ok(1, 2)),
        ask(packet(0, b"\x1b\0\0")),
        tell(end(1, 2, true)),
        ask(packet(0, b"\x0e")),
        tell(ok(1, 2)),
        ask(packet(0, b"\x1f")),
        tell(ok(1, 2)),
    ];
    let found = hear_all(&MYSQL, &turns);
    let expected =
        [PREPARED, "STMT_FETCH", "FIELD_LIST", "STATISTICS", "INIT_DB", "SET_OPTION", "PING", "RESET_CONNECTION"];
    assert_eq!((found.operations(), found.doubts), (expected.to_vec(), vec![]));
}

#[test]
fn progress_and_attributes_are_no_answers() {
    let attributes = packet(0, b"\x03\0\x01select a from t");
    let progress = packet(1, b"\xff\xff\xff\x01\x01\x02\0\0\0\x0ccopy to tmp");
    let turns = [ask(attributes), tell([progress, ok(2, 2)].concat())];
    // The answer is numbered from the progress on.
    let found = hear_all(&MYSQL, &turns[..1]);
    assert_eq!(found.doubts, [(Doubt::UnansweredRequest, 1)]);
    let found = hear_all(&MYSQL, &turns);
    assert_eq!((found.operations(), found.exchanges[0].status), (vec!["SELECT"], Status::OK));
}

#[test]
fn a_query_longer_than_a_packet_is_one() {
    let long = vec![b'x'; 0xff_ffff];
    let mut teller = Teller::new(&MYSQL);
    let head = [&[0xff, 0xff, 0xff, 0][..], b"\x03insert into t values ('", &long[24..]].concat();
    teller.turn(&ask([head, packet(1, b"x')")].concat()), 300);
    teller.turn(&tell(ok(2, 2)), 300);
    teller.turn(&ask(query("select 1")), 300);
    teller.turn(&tell(results(1, &[], true, 1)), 300);
    assert_eq!(teller.end().operations(), ["INSERT", "SELECT"]);
}

#[test]
fn answers_longer_than_the_capture() {
    let rows = vec![vec![b'r'; 100]; 50];
    let turns = [
        ask(query("select a from t")),
        tell(results(3, &rows, true, 1)),
        ask(query("select b from t")),
        tell(results(3, &rows, false, 1)),
    ];
    let found = hear(&MYSQL, &turns, 256);
    assert_eq!((found.operations(), found.doubts), (vec!["SELECT"; 2], vec![]));
    assert_eq!(found.exchanges[0].bytes.1, turns[1].bytes.len() as u64);
    assert_eq!(found.exchanges[0].seen, Seen::HeadOnly);
    // Nothing of the requests: their answers tell how many there were.
    let mut teller = Teller::new(&MYSQL);
    teller.turn(&turns[0], 0);
    teller.turn(&tell(results(3, &rows, true, 1)), usize::MAX);
    assert_eq!(teller.end().operations(), [UNSEEN]);
}

#[test]
fn thousands_of_statements_are_bounded() {
    let mut teller = Teller::new(&MYSQL);
    for at in 0..3_000 {
        let sql = format!("select {} from t{at}", vec!["some_column"; 60].join(", "));
        teller.turn(&ask(prepare(&sql)), 4_096);
        teller.turn(&tell(prepared(at, 1, 1, false)), 4_096);
    }
    teller.turn(&ask(execute(2_999, 0)), 4_096);
    teller.turn(&tell(ok(1, 2)), 4_096);
    let found = teller.end();
    assert_eq!((found.exchanges.len(), found.operations()[3_000]), (3_001, "SELECT"));
}

#[test]
fn it_is_recognised_in_the_middle() {
    for request in [
        query("select 1"),
        query("COMMIT"),
        prepare("insert into t values (?)"),
        execute(1, 0),
        [close(1), query("select 1")].concat(),
        packet(0, b"\x0e"),
        login(CLASSIC),
    ] {
        assert_eq!(MYSQL.recognise(&request, Side::Server), Verdict::Yes, "{request:?}");
        assert_ne!(MYSQL.recognise(&request, Side::Client), Verdict::Yes, "{request:?}");
    }
    for answer in [greeting(), error(1, 1064, "42000"), results(1, &[], true, 1)] {
        assert_eq!(MYSQL.recognise(&answer, Side::Client), Verdict::Yes, "{answer:?}");
        assert_eq!(MYSQL.recognise(&answer, Side::Server), Verdict::No, "{answer:?}");
    }
    assert_eq!(MYSQL.recognise(&ok(1, 2), Side::Client), Verdict::Perhaps);
}
