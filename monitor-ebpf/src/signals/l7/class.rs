//! What a turn begins with. Only good enough to keep what nobody can read in the kernel: the daemon looks closer.

use core::ptr;

use monitor_common::signals::l7::Class;

/// Bytes that are looked at.
const LOOK: usize = 16;

/// The class of a turn of which `copied` bytes are at `bytes` and whose first call moved `length`.
///
/// # Safety
/// There are sixteen bytes or more at `bytes`.
#[inline(never)]
pub(super) unsafe fn of(bytes: *const u8, copied: u32, length: u32) -> u8 {
    if copied < 4 {
        return Class::Unknown as u8;
    }
    // What is behind the bytes copied was left by another record: it is only looked at where the length allows.
    // SAFETY: the caller vouches for it.
    let head: [u8; LOOK] = unsafe { ptr::read_unaligned(bytes.cast()) };
    let be32 = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let be32_next = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let le24 = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    let long = copied >= LOOK as u32;
    let class = match &head[..4] {
        b"GET " | b"PUT " | b"HTTP" if copied >= 8 && (head[4] == b'/' || head[4] == b'h' || head[4] == b'*') => {
            Class::Http1
        }
        b"POST" | b"HEAD" | b"PATC" | b"DELE" | b"OPTI" | b"CONN" | b"TRAC" if copied >= 8 => Class::Http1,
        b"PRI " if long && &head[4..8] == b"* HT" => Class::Http2,
        b"get " | b"gets" | b"set " | b"add " | b"repl" | b"appe" | b"prep" | b"cas " | b"dele" | b"incr" | b"decr"
        | b"touc" | b"gat " | b"mg " | b"ms " | b"stat" | b"VALU" | b"STOR" | b"END\r" | b"NOT_" | b"EXIS"
        | b"vers" => Class::Memcached,
        _ => Class::Unknown,
    };
    if !matches!(class, Class::Unknown) {
        return class as u8;
    }
    // TLS: a handshake or data, version 3.x.
    if (head[0] == 0x16 || head[0] == 0x17) && head[1] == 3 && head[2] < 5 {
        return Class::Tls as u8;
    }
    // RESP: a type, then a number or a word, ended by CR LF.
    let resp =
        matches!(head[0], b'*' | b'$' | b'+' | b'-' | b':' | b'%' | b'~' | b'>' | b'_' | b',' | b'#' | b'(' | b'=');
    if resp
        && printable(head[1])
        && (head[2] == b'\r' || printable(head[2]))
        && (head[3] == b'\n' || head[3] == b'\r' || printable(head[3]))
    {
        return Class::Redis as u8;
    }
    // Brokers of Kafka read the length of a request by itself. Servers of MySQL do so, too, with the smallest byte first.
    if length == 4 && (10..1 << 24).contains(&be32) {
        return Class::Kafka as u8;
    }
    if !long && copied < 5 {
        return Class::Unknown as u8;
    }
    // PostgreSQL: a start, whose length comes first, or a letter and the length of what follows it.
    if be32 == length && length >= 8 && (be32_next == 0x0003_0000 || be32_next >> 8 == 0x0004_d216) {
        return Class::Postgres as u8;
    }
    let size = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if head[0].is_ascii_alphanumeric()
        && (4..1 << 24).contains(&size)
        && (size + 1 == length || size + 1 < length && size < 8192)
    {
        return Class::Postgres as u8;
    }
    // MySQL: length in three bytes, number of the packet: a greeting or a command, or the first of an answer.
    if le24 != 0 && (le24 + 4 == length && head[3] < 4 || head[3] == 1 && le24 + 4 < length && le24 < 8192) {
        return Class::Mysql as u8;
    }
    // MongoDB: length, ids, then an operation. OP_REPLY is 1, OP_QUERY and OP_GET_MORE 2004 and 2005, OP_COMPRESSED and OP_MSG
    // 2012 and 2013. The number of a connection stands there in MySQL's greeting, so this comes after it.
    let operation = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
    let whole = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if long && (22..50_000_000).contains(&whole) && matches!(operation, 1 | 2004 | 2005 | 2012 | 2013) {
        return Class::Mongodb as u8;
    }
    // Kafka: length, then key and version of the request and what the client calls itself. Answers have only a number after
    // the length.
    let named = i16::from_be_bytes([head[12], head[13]]);
    let asks =
        head[4] == 0 && head[5] < 100 && head[6] == 0 && head[7] < 25 && named >= -1 && i32::from(named) < 1 << 10;
    if long && ((10..=100 << 20).contains(&be32) && asks || be32.wrapping_add(4) == length) {
        return Class::Kafka as u8;
    }
    Class::Unknown as u8
}

const fn printable(byte: u8) -> bool {
    byte >= 0x20 && byte < 0x7f
}
