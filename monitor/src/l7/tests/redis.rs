//! Redis: pipelines whose requests or answers were cut, errors, subscriptions, hostile nesting.

use super::*;
use crate::l7::{Code, OTHER, Outcome, UNSEEN, redis::REDIS};

/// A command as clients send it.
fn command(words: &[&str]) -> String {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text
}

fn code(told: &Told) -> String {
    match told.status.code {
        Code::Word(word) => word.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_and_all_kinds_of_answers() {
    let answers = [
        "+OK\r\n",
        "$3\r\na\nb\r\n",
        "$-1\r\n",
        "*-1\r\n",
        ":17\r\n",
        "*2\r\n*1\r\n:1\r\n$0\r\n\r\n",
        "_\r\n",
        "#t\r\n",
        ",3.5\r\n",
        "%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n",
        "=7\r\ntxt:abc\r\n",
        "|1\r\n+ttl\r\n:5\r\n*1\r\n+x\r\n",
        "*0\r\n",
    ];
    for answer in answers {
        let turns = [ask(command(&["GET", "k"])), tell(answer), ask(command(&["set", "k", "v"])), tell("+OK\r\n")];
        let found = hear_all(&REDIS, &turns);
        assert_eq!(found.operations(), ["GET", "SET"], "{answer:?}");
        assert_eq!(found.exchanges[0].bytes, (20, answer.len() as u64), "{answer:?}");
        assert_eq!(found.exchanges[0].status, Status::OK);
        assert_eq!(found.doubts, [], "{answer:?}");
    }
}

#[test]
fn sixteen_pipelined_gets_whose_requests_were_cut_are_sixteen() {
    let requests: String = (0..16).map(|at| command(&["GET", &format!("key:{at:012}")])).collect();
    assert_eq!(requests.len(), 16 * 36);
    let answers = "$3\r\nxxx\r\n".repeat(16);
    let found = hear(&REDIS, &[ask(&requests), tell(&answers), ask(&requests), tell(&answers)], 256);
    assert_eq!(found.exchanges.len(), 32);
    assert_eq!(found.operations()[..8], ["GET", "GET", "GET", "GET", "GET", "GET", "GET", UNSEEN]);
    assert_eq!(found.exchanges.iter().filter(|it| it.operation == UNSEEN).count(), 18);
    assert_eq!(found.exchanges[7].seen, Seen::ResponseOnly);
    assert_eq!(found.doubts, []);
}

#[test]
fn sixteen_pipelined_gets_whose_answers_were_cut_are_sixteen() {
    let requests = command(&["GET", "k"]).repeat(8);
    let answers = format!("$100\r\n{}\r\n", "v".repeat(100)).repeat(8);
    let mut teller = Teller::new(&REDIS);
    teller.turn(&ask(&requests), 256);
    teller.turn(&tell(&answers), 150);
    teller.wait(2_000_000_000);
    assert_eq!(teller.found.exchanges.len(), 8);
    let seen: Vec<_> = teller.found.exchanges.iter().map(|it| it.seen).collect();
    assert_eq!(seen[..3], [Seen::Whole, Seen::Whole, Seen::RequestOnly]);
    assert_eq!(teller.found.exchanges[7].status, Status::UNSEEN);
    assert_eq!(teller.end().doubts, []);
}

#[test]
fn where_both_were_cut_the_number_is_a_doubt() {
    let requests = command(&["GET", "k"]).repeat(16);
    let answers = "$3\r\nabc\r\n".repeat(16);
    let found = hear(&REDIS, &[ask(requests), tell(answers)], 50);
    // Two and a half requests, five and a half answers.
    assert_eq!(found.operations(), ["GET", "GET", UNSEEN, UNSEEN, UNSEEN, UNSEEN]);
    assert_eq!(found.doubts, [(Doubt::Truncated, 1)]);
}

#[test]
fn a_value_longer_than_the_capture_hides_nothing() {
    let value = "v".repeat(5_000);
    let requests = [command(&["SET", "k", &value]), command(&["GET", "k"])];
    let answer = format!("${}\r\n{value}\r\n", value.len());
    let found = hear(&REDIS, &[ask(&requests[0]), tell("+OK\r\n"), ask(&requests[1]), tell(answer)], 256);
    assert_eq!(found.operations(), ["SET", "GET"]);
    assert!(found.exchanges.iter().all(|it| it.seen == Seen::Whole));
    assert_eq!(found.doubts, []);
}

#[test]
fn errors_have_their_first_word() {
    let cases = [
        ("-ERR unknown command\r\n", "ERR", Outcome::ClientError),
        ("-WRONGTYPE Operation against\r\n", "WRONGTYPE", Outcome::ClientError),
        ("-OOM command not allowed\r\n", "OOM", Outcome::ServerError),
        ("-MOVED 3999 127.0.0.1:6381\r\n", "MOVED", Outcome::Ok),
    ];
    for (answer, word, outcome) in cases {
        let found = hear_all(&REDIS, &[ask(command(&["LPUSH", "k", "v"])), tell(answer)]);
        assert_eq!((code(&found.exchanges[0]), found.exchanges[0].status.outcome), (word.to_owned(), outcome));
    }
    // What a script makes up is no code.
    let found = hear_all(&REDIS, &[ask(command(&["EVAL", "x", "0"])), tell("-user alice@example.com is gone\r\n")]);
    assert_eq!(found.exchanges[0].status.code, Code::None);
}

#[test]
fn names_that_are_made_up_are_no_operations() {
    let long = "L".repeat(100);
    let turns = [
        ask(command(&["HACK", "k"])),
        tell("-ERR\r\n"),
        ask(command(&[&long])),
        tell("-ERR\r\n"),
        ask("PING\r\nget k\r\n\r\n"),
        tell("+PONG\r\n$-1\r\n"),
    ];
    assert_eq!(hear_all(&REDIS, &turns).operations(), [OTHER, OTHER, "PING", "GET"]);
}

#[test]
fn a_transaction_answers_each_command() {
    let requests = command(&["MULTI"]) + &command(&["INCR", "a"]) + &command(&["GET", "b"]) + &command(&["EXEC"]);
    let answers = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$-1\r\n";
    let found = hear_all(&REDIS, &[ask(requests), tell(answers)]);
    assert_eq!(found.operations(), ["MULTI", "INCR", "GET", "EXEC"]);
    assert_eq!(found.doubts, []);
}

#[test]
fn messages_of_a_subscription_are_no_answers() {
    for kind in ["*", ">"] {
        let turns = [
            ask(command(&["SUBSCRIBE", "news", "more"])),
            tell(format!(
                "{kind}3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n{kind}3\r\n$9\r\nsubscribe\r\n$4\r\nmore\r\n:2\r\n"
            )),
            tell(format!("{kind}3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n").repeat(3)),
            ask(command(&["PING"])),
            tell(format!("{kind}3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n")),
            ask(command(&["UNSUBSCRIBE"])),
            tell(format!(
                "{kind}3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:1\r\n{kind}3\r\n$11\r\nunsubscribe\r\n$4\r\nmore\r\n:0\r\n"
            )),
        ];
        let found = hear_all(&REDIS, &turns);
        assert_eq!(found.operations(), ["SUBSCRIBE", "PING", "UNSUBSCRIBE"], "{kind}");
        assert_eq!(found.doubts, [], "{kind}");
    }
}

#[test]
fn after_monitor_nothing_is_an_answer() {
    let turns =
        [ask(command(&["MONITOR"])), tell("+OK\r\n"), tell("+1 [0 127.0.0.1:1] \"get\" \"secret\"\r\n".repeat(9))];
    let found = hear_all(&REDIS, &turns);
    assert_eq!(found.operations(), ["MONITOR"]);
    assert_eq!(found.doubts, [(Doubt::Opaque, 1)]);
}

#[test]
fn nesting_costs_nothing() {
    let mut teller = Teller::new(&REDIS);
    teller.turn(&ask(command(&["GET", "k"])), usize::MAX);
    for _ in 0..2_000 {
        teller.piece(Side::Client, &b"*1\r\n".repeat(1_000), Some(usize::MAX));
    }
    teller.piece(Side::Client, b":1\r\n", Some(usize::MAX));
    assert_eq!(teller.end().operations(), ["GET"]);
    // And numbers that no memory could hold.
    let answer = b"*4294967295\r\n".repeat(3_000);
    assert_eq!(hear_all(&REDIS, &[ask(command(&["GET", "k"])), tell(answer)]).operations(), ["GET"]);
}

#[test]
fn bytes_that_were_not_seen_hold_no_more_than_fits() {
    // Eight bytes can be two answers, however many were asked for.
    let turns = [ask(command(&["GET", "k"]).repeat(8)), tell("+OK\r\n:1")];
    let found = hear(&REDIS, &turns, 200);
    assert_eq!(found.exchanges.len(), 1);
    let mut teller = Teller::new(&REDIS);
    teller.turn(&turns[0], 200);
    teller.piece(Side::Client, b":1\r\n:2\r\n", Some(0));
    let found = teller.end();
    assert_eq!(found.exchanges.len(), 2);
    assert_eq!(found.doubts, [(Doubt::UnansweredRequest, 6)]);
    // And fourteen bytes are one request, however many answers come.
    let mut teller = Teller::new(&REDIS);
    teller.turn(&ask("*1\r\n$4\r\nPING\r\n"), 0);
    teller.turn(&tell("+OK\r\n".repeat(5)), 200);
    let found = teller.end();
    assert_eq!(found.operations(), [UNSEEN]);
    assert_eq!(found.doubts(Doubt::UnmatchedResponse), 4);
}

#[test]
fn of_a_client_that_does_not_wait_only_what_was_answered_is_told() {
    let mut teller = Teller::new(&REDIS);
    teller.turn(&ask(command(&["GET", "k"]).repeat(4)), 200);
    teller.turn(&tell("+OK\r\n"), 200);
    teller.turn(&ask(command(&["SET", "k", "v"]).repeat(2)), 200);
    // Three answers are owed from before: those that were not seen may all be of them.
    teller.piece(Side::Client, b":1\r\n:2\r\n:3\r\n", Some(0));
    let found = teller.end();
    assert_eq!(found.operations(), ["GET"]);
    assert_eq!(found.doubts, [(Doubt::UnansweredRequest, 5)]);
}

#[test]
fn a_further_piece_of_what_was_lost_is_not_read() {
    let mut teller = Teller::new(&REDIS);
    teller.turn(&ask(command(&["LRANGE", "k", "0", "-1"]) + &command(&["GET", "k"])), 200);
    teller.turn(&tell("*100\r\n$1\r\na\r\n$1\r\nb\r\n"), 10);
    teller.piece(Side::Client, &b"+an element\r\n".repeat(98), Some(200));
    let found = teller.end();
    assert_eq!(found.operations(), ["LRANGE", "GET"]);
    assert_eq!(found.exchanges[0].seen, Seen::HeadOnly);
    assert_eq!(found.exchanges[1].seen, Seen::RequestOnly);
}
