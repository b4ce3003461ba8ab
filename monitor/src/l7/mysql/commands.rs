//! Commands, and whether bytes are of this protocol.

use super::wire::{self, CLIENT_PROTOCOL_41, LOOK_MAX, Packet};
use crate::l7::{
    OTHER, Side, Verdict,
    sql::{Dialect, Statement},
    stream::View,
};

/// How a command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Answered {
    /// With results: OK, an error, a wish for a file, or columns and rows.
    Results,
    /// With what a statement needs and gives.
    Prepared,
    /// With one packet: OK, EOF or an error.
    Once,
    /// With a line of text.
    Text,
    /// With columns or rows that nothing comes before.
    Rows,
    /// With questions, then OK or an error.
    Login,
    /// With events, for ever.
    Events,
    /// Not at all.
    Never,
}

impl Answered {
    /// From what [`crate::l7::pairing::Request::kind`] keeps. Of a request that was not seen it may be anything.
    pub(super) fn from_kind(kind: u8) -> Option<Self> {
        use Answered::{Events, Login, Never, Once, Prepared, Results, Rows, Text};
        [Results, Prepared, Once, Text, Rows, Login, Events, Never].into_iter().find(|it| *it as u8 == kind)
    }
}

pub(super) const QUIT: u8 = 0x01;
pub(super) const QUERY: u8 = 0x03;
pub(super) const PREPARE: u8 = 0x16;
pub(super) const EXECUTE: u8 = 0x17;
pub(super) const LONG_DATA: u8 = 0x18;
pub(super) const CLOSE: u8 = 0x19;
pub(super) const RESET: u8 = 0x1a;
pub(super) const FETCH: u8 = 0x1c;
/// MariaDB's.
pub(super) const BULK_EXECUTE: u8 = 0xfa;

/// The operation of a command, and how it is answered.
pub(super) fn command(code: u8) -> Option<(&'static str, Answered)> {
    Some(match code {
        QUIT => ("QUIT", Answered::Never),
        0x02 => ("INIT_DB", Answered::Once),
        QUERY => (OTHER, Answered::Results),
        0x04 => ("FIELD_LIST", Answered::Rows),
        0x05 => ("CREATE_DB", Answered::Once),
        0x06 => ("DROP_DB", Answered::Once),
        0x07 => ("REFRESH", Answered::Once),
        0x08 => ("SHUTDOWN", Answered::Once),
        0x09 => ("STATISTICS", Answered::Text),
        0x0a => ("PROCESS_INFO", Answered::Results),
        0x0c => ("PROCESS_KILL", Answered::Once),
        0x0d => ("DEBUG", Answered::Once),
        0x0e => ("PING", Answered::Once),
        0x11 => ("CHANGE_USER", Answered::Login),
        0x12 => ("BINLOG_DUMP", Answered::Events),
        0x15 => ("REGISTER_SLAVE", Answered::Once),
        PREPARE => ("PREPARE", Answered::Prepared),
        EXECUTE | BULK_EXECUTE => (OTHER, Answered::Results),
        LONG_DATA => ("STMT_SEND_LONG_DATA", Answered::Never),
        CLOSE => ("STMT_CLOSE", Answered::Never),
        RESET => ("STMT_RESET", Answered::Once),
        0x1b => ("SET_OPTION", Answered::Once),
        FETCH => ("STMT_FETCH", Answered::Rows),
        0x1e => ("BINLOG_DUMP_GTID", Answered::Events),
        0x1f => ("RESET_CONNECTION", Answered::Once),
        _ => return None,
    })
}

/// Whether a command may have this length.
pub(super) fn fits(code: u8, length: u32) -> bool {
    match code {
        QUIT | 0x09 | 0x0a | 0x0d | 0x0e | 0x1f => length == 1,
        0x08 => length <= 2,
        0x07 => length == 2,
        0x1b => length == 3,
        CLOSE | RESET | 0x0c => length == 5,
        FETCH => length == 9,
        EXECUTE => length >= 10,
        LONG_DATA | BULK_EXECUTE => length >= 7,
        _ => length >= 2,
    }
}

/// The text of a query. Since MySQL 8.0.23 attributes may stand before it.
pub(super) fn query(body: &[u8]) -> Option<&[u8]> {
    match body {
        [0, 1, text @ ..] => Some(text),
        // With attributes: not searched for.
        [1..=8, 1, ..] => None,
        text => Some(text),
    }
}

/// The capabilities that a client tells in its login, or in its wish for TLS before it.
pub(super) fn login(packet: &Packet<'_>) -> Option<u32> {
    let capabilities = wire::word(packet.body)?;
    // The largest packet and the character set, and what is reserved: MariaDB uses the last four bytes.
    let reserved = packet.body.get(9..28)?;
    let is = packet.length >= 32
        && matches!(packet.sequence, 1 | 2)
        && capabilities & CLIENT_PROTOCOL_41 != 0
        && reserved.iter().all(|byte| *byte == 0);
    is.then_some(capabilities)
}

/// Whether bytes begin a message of this protocol.
pub(super) fn recognise(head: &[u8], to: Side) -> Verdict {
    let mut rest = head;
    let mut best = Verdict::No;
    // A statement is often closed in the same breath as the next is asked.
    for _ in 0..8 {
        let view = View { bytes: rest, cut: true, began_ns: 0 };
        let Some(packet) = wire::packet(view, LOOK_MAX) else { return best };
        let verdict = match to {
            Side::Server => request_verdict(&packet),
            Side::Client => answer_verdict(&packet, rest),
        };
        match verdict {
            Verdict::No if best == Verdict::No || to == Side::Server => return Verdict::No,
            Verdict::No => return best,
            Verdict::Yes => return Verdict::Yes,
            Verdict::Perhaps => best = Verdict::Perhaps,
        }
        match usize::try_from(packet.size()).ok().and_then(|size| rest.get(size..)) {
            Some(after) if !after.is_empty() => rest = after,
            _ => return best,
        }
    }
    best
}

fn request_verdict(packet: &Packet<'_>) -> Verdict {
    let Some((code, body)) = packet.body.split_first() else { return Verdict::No };
    if packet.sequence != 0 {
        return if login(packet).is_some() { Verdict::Yes } else { Verdict::No };
    }
    if command(*code).is_none() || !fits(*code, packet.length) {
        return Verdict::No;
    }
    let begins_text = |byte: &u8| byte.is_ascii_alphabetic() || b"(/-#`\t\n\r ".contains(byte);
    match (*code, body) {
        (QUERY | PREPARE, _) => match query(body) {
            Some(text) if Statement::read(text, packet.is_cut(), Dialect::MySql).operation != OTHER => Verdict::Yes,
            Some(text) if text.first().is_some_and(begins_text) => Verdict::Perhaps,
            None if *code == QUERY => Verdict::Perhaps,
            _ => Verdict::No,
        },
        // Identifier, flags, and a number of rounds that is always one.
        (EXECUTE, [_, _, _, _, flags, rounds @ ..]) if *flags < 16 => match rounds {
            [1, 0, 0, 0, ..] => Verdict::Yes,
            _ => Verdict::No,
        },
        (EXECUTE, _) => Verdict::No,
        // A whole packet of one byte: nothing else is so short.
        (0x0e, _) => Verdict::Yes,
        (0x02 | 0x05 | 0x06, name) if name.iter().any(u8::is_ascii_control) => Verdict::No,
        _ => Verdict::Perhaps,
    }
}

fn answer_verdict(packet: &Packet<'_>, from: &[u8]) -> Verdict {
    let Some((kind, body)) = packet.body.split_first() else { return Verdict::No };
    match (packet.sequence, kind) {
        // The server's greeting: its protocol is 10 and its version begins with a number.
        (0, 10) => match memchr::memchr(0, body) {
            Some(end) if body.first().is_some_and(u8::is_ascii_digit) => {
                let printable = body.iter().take(end).all(u8::is_ascii_graphic);
                if printable && packet.length > 32 { Verdict::Yes } else { Verdict::No }
            }
            _ => Verdict::No,
        },
        (_, 0xff) => match body {
            [_, _, b'#', state @ ..] if state.len() >= 5 => {
                let known = state.iter().take(5).all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
                if known { Verdict::Yes } else { Verdict::No }
            }
            _ => Verdict::No,
        },
        (1, 0) if (7..512).contains(&packet.length) => Verdict::Perhaps,
        (1, 1..) if wire::columns(packet).is_some() => {
            // The first description follows, and begins with the catalog's name.
            let next = usize::try_from(packet.size()).ok().and_then(|size| from.get(size..)).unwrap_or_default();
            match next {
                [_, _, _, 2, 3, b'd', b'e', b'f', ..] => Verdict::Yes,
                [] => Verdict::Perhaps,
                _ => Verdict::No,
            }
        }
        _ => Verdict::No,
    }
}
