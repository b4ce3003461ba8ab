//! Whatever is not seen, there are never more exchanges than were made; and each that one side shows whole is counted.

use proptest::{prelude::*, strategy::Union};

use super::{
    dns as dns_messages, http2 as frames, kafka as brokers, memcached as caches, mongodb as documents,
    mysql as packets, postgres as messages, *,
};
use crate::l7::{
    dns::TCP, http1::HTTP1, http2::HTTP2, kafka::KAFKA, memcached::MEMCACHED, mongodb::MONGODB, mysql::MYSQL,
    postgres::POSTGRES, redis::REDIS,
};

/// Protocols whose answers are matched by ids: each is used once.
const DNS: usize = 3;
const HTTP_2: usize = 6;
const MONGO: usize = 7;
const BROKER: usize = 8;

/// A request and its answer, as each protocol writes them.
#[derive(Clone)]
pub(super) struct Pair {
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" -> \"{}\"", self.request.escape_ascii(), self.answer.escape_ascii())
    }
}

/// A conversation whose number of exchanges is known.
#[derive(Clone, Debug)]
pub(super) struct Talks {
    kind: usize,
    /// What is sent at once, and then answered at once.
    batches: Vec<Vec<Pair>>,
    /// The client sends a batch while the one before is only answered in part.
    eager: bool,
}

/// Whether what keys, values and bodies hold looks like messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Harmless,
    Imitates,
}

impl Talks {
    pub(super) fn protocol(&self) -> &'static dyn Protocol {
        [&HTTP1 as &dyn Protocol, &REDIS, &POSTGRES, &TCP, &MYSQL, &MEMCACHED, &HTTP2, &MONGODB, &KAFKA][self.kind]
    }

    pub(super) fn exchanges(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    pub(super) fn turns(&self) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut owed = Vec::new();
        for batch in &self.batches {
            turns.push(ask(batch.iter().flat_map(|pair| pair.request.clone()).collect::<Vec<_>>()));
            let answers: Vec<u8> = batch.iter().flat_map(|pair| pair.answer.clone()).collect();
            let all = [std::mem::take(&mut owed), answers].concat();
            let now = if self.eager { all.len() / 2 } else { all.len() };
            turns.push(tell(&all[..now]));
            owed = all[now..].to_vec();
        }
        turns.push(tell(owed));
        turns.retain(|turn| !turn.bytes.is_empty());
        turns
    }

    pub(super) fn any(content: Content) -> impl Strategy<Value = Self> {
        let kinds = [
            http(content).boxed(),
            redis(content).boxed(),
            postgres().boxed(),
            dns().boxed(),
            mysql(content).boxed(),
            memcached(content).boxed(),
            http2().boxed(),
            mongodb(content).boxed(),
            kafka(content).boxed(),
        ];
        let each = kinds.into_iter().enumerate().map(|(kind, pair)| {
            let batches = prop::collection::vec(prop::collection::vec(pair, 1..20), 1..6);
            (batches, any::<bool>()).prop_map(move |(batches, eager)| {
                let mut talks = Self { kind, batches, eager };
                talks.number();
                talks
            })
        });
        Union::new(each.map(Strategy::boxed))
    }

    /// Ids are each used once.
    fn number(&mut self) {
        for (id, pair) in self.batches.iter_mut().flatten().enumerate() {
            if self.kind == BROKER {
                brokers::number(&mut pair.request, &mut pair.answer, id as u32);
            }
            for bytes in [&mut pair.request, &mut pair.answer] {
                match self.kind {
                    DNS => bytes[2..4].copy_from_slice(&(id as u16).to_be_bytes()),
                    HTTP_2 => frames::number(bytes, id as u32 * 2 + 1),
                    MONGO => documents::number(bytes, id as u32 + 1),
                    _ => {}
                }
            }
        }
    }
}

fn http(content: Content) -> impl Strategy<Value = Pair> {
    let request = prop_oneof![
        "[a-z/]{0,40}".prop_map(|path| format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n")),
        (0_usize..600)
            .prop_map(|size| format!("POST /p HTTP/1.1\r\nContent-Length: {size}\r\n\r\n{}", "b".repeat(size))),
        (1_usize..300).prop_map(|size| {
            let body = "c".repeat(size);
            format!("PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n1\r\nx\r\n0\r\n\r\n")
        }),
    ];
    let answer = prop_oneof![
        (200_u16..599, 0_usize..900).prop_filter("no body", |(code, _)| !matches!(code, 204 | 304)).prop_map(
            move |(code, size)| {
                let body = if content == Content::Imitates { "HTTP/1.1 200 OK\r\n" } else { "{body}" };
                let body = body.chars().cycle().take(size).collect::<String>();
                format!("HTTP/1.1 {code} X\r\nContent-Length: {size}\r\n\r\n{body}")
            }
        ),
        Just("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n".to_owned()),
        Just(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nHTTP/1.1 20\r\n0\r\nTrailer: x\r\n\r\n"
                .to_owned()
        ),
    ];
    (request, answer).prop_map(|(request, answer)| Pair { request: request.into(), answer: answer.into() })
}

fn redis(content: Content) -> impl Strategy<Value = Pair> {
    let (command, text) = match content {
        Content::Imitates => ("*1\r\n$4\r\nPING\r\n", "+"),
        Content::Harmless => ("some value, or", "v"),
    };
    let word = prop_oneof!["[ -#%-)/-9;-~]{0,12}", (100_usize..700).prop_map(move |size| command.repeat(size / 14))];
    let request = prop::collection::vec(word, 1..4).prop_map(|words| {
        let head = format!("*{}\r\n$4\r\nMGET\r\n", words.len() + 1);
        head + &words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect::<String>()
    });
    let answer = prop_oneof![
        Just("+OK\r\n".to_owned()),
        Just(":1\r\n".to_owned()),
        Just("-ERR no\r\n".to_owned()),
        (0_usize..500).prop_map(move |size| format!("${size}\r\n{}\r\n", text.repeat(size))),
        (0_usize..20).prop_map(|count| format!("*{count}\r\n{}", "*1\r\n$2\r\nab\r\n".repeat(count))),
    ];
    (request, answer).prop_map(|(request, answer)| Pair { request: request.into(), answer: answer.into() })
}

fn postgres() -> impl Strategy<Value = Pair> {
    use messages::{bind, complete, error, execute, message, parse, query, ready, row, sync};
    let rows = || prop::collection::vec(0_usize..300, 0..6).prop_map(|sizes| sizes.into_iter().flat_map(row).collect());
    let text = || prop_oneof!["[a-z ,]{0,60}", "[a-z ,]{300,700}"].prop_map(|text| format!("select {text}"));
    prop_oneof![
        (text(), rows()).prop_map(|(sql, rows): (_, Vec<u8>)| Pair {
            request: query(&sql),
            answer: [rows, complete("SELECT 1"), ready()].concat()
        }),
        text().prop_map(|sql| Pair { request: query(&sql), answer: [error("42601"), ready()].concat() }),
        (text(), rows()).prop_map(|(sql, rows)| Pair {
            request: [parse("", &sql), bind("", "", "v"), execute(""), sync()].concat(),
            answer: [message(b'1', b""), message(b'2', b""), rows, complete("SELECT 1"), ready()].concat(),
        }),
        Just(Pair {
            request: [bind("", "older", "v"), execute(""), sync()].concat(),
            answer: [message(b'2', b""), complete("SELECT 1"), ready()].concat(),
        }),
        text().prop_map(|sql| Pair {
            request: [parse("n", &sql), message(b'D', b"Sn\0"), bind("", "n", "v"), execute(""), sync()].concat(),
            answer: [error("42P01"), ready()].concat(),
        }),
    ]
}

fn dns() -> impl Strategy<Value = Pair> {
    use dns_messages::{ANSWER, QUERY, message, over_tcp};
    ("[a-z]{1,60}(\\.[a-z]{1,20}){0,3}", 0_usize..600).prop_map(|(name, size)| {
        let mut answer = message(0, ANSWER, &name, 1);
        answer.resize(answer.len() + size, 1);
        Pair { request: over_tcp(&message(0, QUERY, &name, 1)), answer: over_tcp(&answer) }
    })
}

fn mysql(content: Content) -> impl Strategy<Value = Pair> {
    use packets::{error, execute, ok, packet, query, results};
    // What follows the head of a packet may look like one.
    let value = if content == Content::Imitates { "\x07\0\0\x01\0\0\0\x02\0\0\0" } else { "some value." };
    let rows = prop::collection::vec((0_usize..25).prop_map(move |times| value.repeat(times).into_bytes()), 0..6);
    let text = || prop_oneof!["[a-z ,]{0,60}", "[a-z ,]{300,700}"].prop_map(|text| format!("select {text}"));
    prop_oneof![
        (text(), rows, 1_usize..5, any::<bool>(), 1_usize..3).prop_map(
            |(sql, rows, columns, classic, results_left)| {
                Pair { request: query(&sql), answer: results(columns, &rows, classic, results_left) }
            }
        ),
        text().prop_map(|sql| Pair { request: query(&sql), answer: error(1, 1064, "42000") }),
        Just(Pair { request: packet(0, b"\x0e"), answer: ok(1, 2) }),
        (0_usize..400).prop_map(|size| Pair { request: execute(9, size), answer: ok(1, 0) }),
    ]
}

fn memcached(content: Content) -> impl Strategy<Value = Pair> {
    let value = if content == Content::Imitates { "END\r\nmn\r\nEN\r\n" } else { "some value, or\n" };
    let value = move |size: usize| value.chars().cycle().take(size).collect::<String>();
    let pair = |request: String, answer: String| Pair { request: request.into(), answer: answer.into() };
    prop_oneof![
        ("[!-~]{1,30}", 0_usize..500).prop_map(move |(key, size)| pair(
            format!("set {key} 0 60 {size}\r\n{}\r\n", value(size)),
            "STORED\r\n".into()
        )),
        prop::collection::vec((0_usize..300).prop_map(value), 0..4).prop_map(move |values| {
            let values: String = values.iter().map(|it| format!("VALUE k 0 {}\r\n{it}\r\n", it.len())).collect();
            pair("get a b c d\r\n".into(), values + "END\r\n")
        }),
        (0_usize..300).prop_map(move |size| pair("mg k v\r\n".into(), format!("VA {size}\r\n{}\r\n", value(size)))),
        Just(pair("incr k 1\r\n".into(), "5\r\n".into())),
        Just(pair("mg k v\r\n".into(), "EN\r\n".into())),
        (0_usize..300).prop_map(move |size| Pair {
            request: caches::binary(0x80, 0x0c, 0, "key", ""),
            answer: caches::binary(0x81, 0x0c, 0, "key", &value(size)),
        }),
    ]
}

fn http2() -> impl Strategy<Value = Pair> {
    use frames::{DATA, END, HEADERS, WHOLE, frame, request};
    let data = || prop::collection::vec(0_usize..300, 0..4);
    let all = |sizes: &[usize]| sizes.iter().flat_map(|size| frame(DATA, 0, 1, &vec![b'd'; *size])).collect::<Vec<_>>();
    ("/[a-z/]{0,100}", data(), data(), any::<bool>()).prop_map(move |(path, asks, tells, trailers)| {
        let ends = if trailers { frame(HEADERS, WHOLE | END, 1, b"\x40\x01x\x01y") } else { frame(DATA, END, 1, b"") };
        Pair {
            request: [frame(HEADERS, WHOLE, 1, &request(&path)), all(&asks), frame(DATA, END, 1, b"")].concat(),
            answer: [frame(HEADERS, WHOLE, 1, b"\x88"), all(&tells), ends].concat(),
        }
    })
}

fn mongodb(content: Content) -> impl Strategy<Value = Pair> {
    use documents::{answer, document, failed, int, ok, request, text, with_list};
    // What is in a document may look like a message, with a number that is in use.
    let value = match content {
        Content::Imitates => [request(&document(&[int("ping", 1)])), answer(&ok())].concat(),
        Content::Harmless => b"some value, or other".to_vec(),
    };
    let value = move |size: usize| value.iter().cycle().take(size).copied().collect::<Vec<_>>();
    let values = value.clone();
    prop_oneof![
        ("[a-z]{1,40}", 0_usize..700).prop_map(move |(name, size)| Pair {
            request: request(&document(&[
                text("find", &name),
                documents::binary("filter", &value(size)),
                text("$db", "d")
            ])),
            answer: answer(&ok()),
        }),
        ("[a-z]{1,20}", prop::collection::vec(0_usize..300, 0..5)).prop_map(move |(name, sizes)| {
            let list: Vec<_> = sizes.iter().map(|size| document(&[documents::binary("v", &values(*size))])).collect();
            Pair {
                request: with_list(&document(&[text("insert", &name), text("$db", "d")]), "documents", &list),
                answer: answer(&documents::found(&list)),
            }
        }),
        Just(Pair { request: request(&document(&[text("drop", "c"), text("$db", "d")])), answer: answer(&failed(26)) }),
    ]
}

fn kafka(content: Content) -> impl Strategy<Value = Pair> {
    use brokers::{answer, fetch, fetched, produce, produced, request};
    // What is in a record may look like a message, with a number that is in use.
    let value = match content {
        Content::Imitates => [request(12, 0, b""), answer(b"\0\0")].concat(),
        Content::Harmless => b"some value, or other".to_vec(),
    };
    let value = move |size: usize| value.iter().cycle().take(size).copied().collect::<Vec<_>>();
    let values = value.clone();
    prop_oneof![
        ("[a-z]{1,40}", 0_usize..700, 0_i16..13, 0_i16..3).prop_map(move |(topic, size, version, error)| Pair {
            request: produce(version, 1, &topic, &value(size)),
            answer: produced(version, &topic, &[error]),
        }),
        ("[a-z]{1,40}", 0_usize..700, 0_i16..19).prop_map(move |(topic, size, version)| Pair {
            request: fetch(version, &topic),
            answer: fetched(version, &topic, 0, &values(size)),
        }),
        Just(Pair { request: request(12, 1, b"\0\x05group"), answer: answer(b"\0\0\0\0\0\x1b") }),
    ]
}

proptest! {
    #![proptest_config(cases(900))]

    #[test]
    fn heads_never_show_more_than_there_was(
        talks in Talks::any(Content::Imitates),
        heads in prop::collection::vec(0_usize..400, 1..8),
    ) {
        let mut teller = Teller::new(talks.protocol());
        for (turn, head) in talks.turns().iter().zip(heads.iter().cycle()) {
            teller.turn(turn, *head);
        }
        let found = teller.end();
        prop_assert!(found.exchanges.len() <= talks.exchanges(), "{} of {}", found.exchanges.len(), talks.exchanges());
    }

    #[test]
    fn gaps_never_show_more_than_there_was(
        talks in Talks::any(Content::Harmless),
        heads in prop::collection::vec(prop::option::weighted(0.8, 0_usize..400), 1..20),
        sizes in prop::collection::vec(1_usize..500, 1..20),
    ) {
        let mut teller = Teller::new(talks.protocol());
        let mut pieces = heads.iter().cycle().zip(sizes.iter().cycle());
        // What comes first in each direction is where messages begin.
        let mut first = [true; 2];
        for turn in talks.turns() {
            let mut rest = &turn.bytes[..];
            while !rest.is_empty() {
                let (head, size) = pieces.next().map_or((None, 1), |(head, size)| (*head, *size));
                let (piece, after) = rest.split_at(size.min(rest.len()));
                let begins = std::mem::take(&mut first[turn.to as usize]);
                teller.piece(turn.to, piece, if begins { head.or(Some(0)) } else { head });
                rest = after;
            }
        }
        let found = teller.end();
        prop_assert!(found.exchanges.len() <= talks.exchanges(), "{} of {}", found.exchanges.len(), talks.exchanges());
    }

    #[test]
    fn what_one_side_shows_whole_is_counted(talks in Talks::any(Content::Imitates), head in 0_usize..400, answers in any::<bool>()) {
        // Where answers are matched by ids, both sides are needed. An eager client's turns cannot be told apart.
        if matches!(talks.kind, DNS | HTTP_2 | MONGO | BROKER) || talks.eager {
            return Ok(());
        }
        let mut teller = Teller::new(talks.protocol());
        for turn in talks.turns() {
            let whole = (turn.to == Side::Client) == answers;
            teller.turn(&turn, if whole { usize::MAX } else { head });
        }
        let found = teller.end();
        prop_assert_eq!(found.exchanges.len(), talks.exchanges(), "{:?}", found);
    }
}
