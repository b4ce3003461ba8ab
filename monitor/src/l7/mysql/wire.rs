//! Packets of MySQL's protocol (<https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>,
//! <https://mariadb.com/kb/en/clientserver-protocol/>): the length of the rest in three bytes, the smaller first, a number
//! that counts the packets of one exchange, and the rest.

use crate::l7::{Code, Outcome, Status, stream::View};

/// A packet of this length goes on in the next one.
pub(super) const LONG: u32 = 0xff_ffff;

/// So much of a packet is looked at.
pub(super) const LOOK_MAX: usize = 2048;

/// Capabilities that a client tells in its login.
pub(super) const CLIENT_COMPRESS: u32 = 1 << 5;
pub(super) const CLIENT_PROTOCOL_41: u32 = 1 << 9;
pub(super) const CLIENT_SSL: u32 = 1 << 11;
pub(super) const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;
pub(super) const CLIENT_ZSTD: u32 = 1 << 26;

/// What a server tells at the end of a result.
pub(super) const MORE_RESULTS: u16 = 1 << 3;
pub(super) const CURSOR_EXISTS: u16 = 1 << 6;

/// A packet.
#[derive(Clone, Copy)]
pub(super) struct Packet<'a> {
    /// Of what follows the head.
    pub(super) length: u32,
    pub(super) sequence: u8,
    /// As much of it as was asked for, or is there.
    pub(super) body: &'a [u8],
}

impl Packet<'_> {
    /// With its head.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.length) + 4
    }

    /// `body` is not all of it.
    pub(super) fn is_cut(&self) -> bool {
        self.body.len() < self.length as usize
    }
}

/// The packet that begins here, with `wanted` bytes of its body. `None`: more is needed.
pub(super) fn packet(view: View<'_>, wanted: usize) -> Option<Packet<'_>> {
    let ([low, middle, high, sequence], rest) = view.bytes.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes([*low, *middle, *high, 0]);
    let wanted = wanted.min(length as usize);
    let nothing = wanted > 0 && rest.is_empty();
    if nothing || (rest.len() < wanted && !view.cut) {
        return None;
    }
    Some(Packet { length, sequence: *sequence, body: rest.get(..wanted).unwrap_or(rest) })
}

/// A number of the length that its first byte says, and what follows it.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let size = match first {
        0..=0xfa => return Some((u64::from(*first), rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (digits, after) = (rest.get(..size)?, rest.get(size..)?);
    Some((digits.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), after))
}

pub(super) fn short(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk::<2>().map(|two| u16::from_le_bytes(*two))
}

pub(super) fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|four| u32::from_le_bytes(*four))
}

/// What an OK packet, or an EOF packet of old, says of what follows it. Nothing, if that is cut.
pub(super) fn server_status(packet: &Packet<'_>) -> u16 {
    let Some((kind, rest)) = packet.body.split_first() else { return 0 };
    let found = if *kind == 0xfe && packet.length < 7 {
        rest.get(2..).and_then(short)
    } else {
        number(rest).and_then(|(_, rest)| number(rest)).and_then(|(_, rest)| short(rest))
    };
    found.unwrap_or(0)
}

/// How many columns follow, and whether they are described.
pub(super) fn columns(packet: &Packet<'_>) -> Option<(u64, bool)> {
    // MariaDB says after the number whether the columns are described, MySQL before it; and only if that was agreed on.
    let (count, described) = match (packet.length, packet.body) {
        (2, [count, 0]) => (u64::from(*count), false),
        (2, [0, count]) => (u64::from(*count), false),
        (2, [1, count]) => (u64::from(*count), true),
        (2, [count, 1]) => (u64::from(*count), true),
        _ => {
            let (count, rest) = number(packet.body)?;
            match rest {
                [] => (count, true),
                [described @ 0..=1] => (count, *described == 1),
                _ => return None,
            }
        }
    };
    // A table has at most 4096 columns; a result may have those of several.
    let sane = (1..=u64::from(u16::MAX)).contains(&count) && packet.length <= 10 && !packet.is_cut();
    sane.then_some((count, described))
}

/// Whether an error tells only how far a command is (MariaDB).
pub(super) fn is_progress(packet: &Packet<'_>) -> bool {
    packet.body.get(1..3) == Some(&[0xff, 0xff])
}

/// What an ERR packet says.
pub(super) fn error(packet: &Packet<'_>) -> Status {
    let Some(number) = packet.body.get(1..).and_then(short) else {
        return Status { outcome: Outcome::ServerError, code: Code::None };
    };
    let state = match packet.body.get(3..) {
        Some([b'#', state @ ..]) => state.get(..5).unwrap_or_default(),
        _ => &[],
    };
    Status { outcome: outcome(number, state), code: Code::Number(u32::from(number)) }
}

/// Whose fault it is: the first two characters of an SQLSTATE are its class, and the servers' general `HY000` has none.
fn outcome(number: u16, state: &[u8]) -> Outcome {
    match (number, state) {
        // Limits of users and of the server, which have states of wrong access.
        (1203 | 1226, _) => Outcome::ServerError,
        // Connection, rollback, memory, interruption.
        (_, [b'0', b'8', ..] | [b'4', b'0', ..] | b"HY001" | b"70100") => Outcome::ServerError,
        // Disk, storage engine, shutdown, timeouts, read-only mode.
        (
            1020
            | 1021
            | 1030
            | 1037
            | 1038
            | 1040
            | 1041
            | 1053
            | 1105
            | 1114
            | 1158..=1161
            | 1180
            | 1181
            | 1205
            | 1206
            | 1290
            | 1317
            | 1836
            | 1969
            | 3024,
            _,
        ) => Outcome::ServerError,
        _ => Outcome::ClientError,
    }
}
