//! Conversations of any bytes, in segments of which heads were captured: no panic, no growth.
#![no_main]

use libfuzzer_sys::fuzz_target;

// Alone, without the daemon and its kernel programs: it is pure.
#[path = "../../src/l7/mod.rs"]
pub mod l7;

use l7::{Connection, Doubt, Exchange, HELD_MAX, Protocol, STREAMS, Segment, Side, Sink, dns, routes::Routes, sql};

/// What was found is looked at, so that a wrong slice of it shows.
#[derive(Default)]
struct Found {
    routes: Routes,
    bytes: usize,
}

impl Sink for Found {
    fn exchange(&mut self, exchange: &Exchange<'_>) {
        assert!(exchange.target.len() <= l7::TARGET_MAX);
        assert!(exchange.statement.len() <= sql::FINGERPRINT_MAX + 8);
        assert!(!exchange.operation.is_empty() && exchange.first_byte_ns <= exchange.ended_ns);
        self.bytes += self.routes.route(exchange.target, Some(200), &[]).len() + exchange.statement.len();
    }

    fn doubt(&mut self, doubt: Doubt, count: u64) {
        assert!(count > 0, "{}", doubt.reason());
    }
}

/// A segment: flags, how much of it was captured, its length, its bytes.
fn segments(mut data: &[u8], mut hear: impl FnMut(&Segment<'_>)) {
    let mut positions = [0_u64; 2];
    let mut now_ns = 0;
    while let Some(([flags, length, unseen], rest)) = data.split_first_chunk::<3>().map(|(head, rest)| (*head, rest)) {
        let (bytes, after) = rest.split_at(usize::from(length).min(rest.len()));
        let to = if flags & 1 == 0 { Side::Server } else { Side::Client };
        let gap = if flags & 6 == 6 { u64::from(unseen) } else { 0 };
        let unseen = if flags & 8 == 0 { 0 } else { u64::from(unseen) << (flags >> 4) };
        let position = &mut positions[to as usize];
        *position += gap;
        let length = bytes.len() as u64 + unseen;
        now_ns += 1_000;
        hear(&Segment { to, position: *position, length, began_ns: now_ns, ended_ns: now_ns + 1, bytes });
        *position += length;
        data = after;
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let mut found = Found::default();
    let known: Option<&'static dyn Protocol> = match usize::from(*choice) {
        at if at < STREAMS.len() => Some(STREAMS[at]),
        at if at == STREAMS.len() => Some(&dns::UDP),
        _ => None,
    };
    let mut connection = known.map_or_else(Connection::new, Connection::of);
    segments(data, |segment| {
        connection.take(segment, &mut found);
        assert!(connection.bytes_held() <= HELD_MAX);
        if segment.position % 7 == 0 {
            connection.tick(segment.ended_ns * 3, &mut found);
        }
    });
    connection.close(u64::MAX, &mut found);
    for dialect in [sql::Dialect::Postgres, sql::Dialect::MySql] {
        let statement = sql::Statement::read(data, *choice & 1 == 0, dialect);
        assert!(statement.fingerprint.len() <= sql::FINGERPRINT_MAX + 8);
    }
});
