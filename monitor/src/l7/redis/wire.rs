//! Lines, numbers and words of RESP.

use super::commands;
use crate::l7::{Code, Outcome, Status, Verdict, Word};

pub(super) fn request_verdict(head: &[u8]) -> Verdict {
    match head.first() {
        Some(b'*') => match line(head) {
            Line::Whole(line, length) => match (number(line), head.get(length)) {
                (Some(1..), Some(b'$')) => Verdict::Yes,
                (Some(1..), None) => Verdict::Perhaps,
                _ => Verdict::No,
            },
            Line::Part if head.iter().skip(1).all(u8::is_ascii_digit) => Verdict::Perhaps,
            _ => Verdict::No,
        },
        Some(first) if first.is_ascii_alphabetic() => {
            let word = head.split(|byte| matches!(byte, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
            let known = word.len() < head.len() && commands::find(word).is_some() && head.ends_with(b"\n");
            if known { Verdict::Perhaps } else { Verdict::No }
        }
        _ => Verdict::No,
    }
}

pub(super) fn answer_verdict(head: &[u8]) -> Verdict {
    let Some(kind) = head.first() else { return Verdict::No };
    match (kind, line(head)) {
        (b'+' | b'-', Line::Whole(line, _)) if line.iter().all(|byte| (b' '..0x7f).contains(byte)) => Verdict::Perhaps,
        (b'$' | b'*' | b':' | b'%' | b'~' | b'>' | b'|', Line::Whole(line, _)) if number(line).is_some() => {
            Verdict::Perhaps
        }
        (b'_' | b'#' | b',' | b'(' | b'=' | b'!', Line::Whole(..)) => Verdict::Perhaps,
        _ => Verdict::No,
    }
}

/// `-WRONGTYPE Operation against ...`: the first word, if it is one as Redis writes them.
pub(super) fn error(line: &[u8]) -> Status {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let capitals = word.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    let outcome = match word {
        // Ask another node: the answer of a healthy cluster.
        b"MOVED" | b"ASK" => Outcome::Ok,
        b"LOADING" | b"OOM" | b"MISCONF" | b"BUSY" | b"CLUSTERDOWN" | b"READONLY" | b"MASTERDOWN" | b"TRYAGAIN"
        | b"NOREPLICAS" | b"INPROG" => Outcome::ServerError,
        _ => Outcome::ClientError,
    };
    Status { outcome, code: Word::new(word).filter(|_| capitals).map_or(Code::None, Code::Word) }
}

pub(super) fn is_subscription(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 6] =
        [b"subscribe", b"psubscribe", b"ssubscribe", b"unsubscribe", b"punsubscribe", b"sunsubscribe"];
    WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

pub(super) fn is_message(word: &[u8]) -> bool {
    matches!(word, b"message" | b"pmessage" | b"smessage")
}

/// The first line, without the byte that says its kind.
pub(super) enum Line<'a> {
    /// And its length with kind and end.
    Whole(&'a [u8], usize),
    Part,
    /// Nothing that ends so far away is a line.
    TooLong,
}

pub(super) fn line(bytes: &[u8]) -> Line<'_> {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => {
            let line = bytes.get(1..end).unwrap_or_default();
            Line::Whole(line.strip_suffix(b"\r").unwrap_or(line), end + 1)
        }
        // Lines with a number are short.
        None if !matches!(bytes.first(), Some(b'+' | b'-')) && bytes.len() > 1024 => Line::TooLong,
        None => Line::Part,
    }
}

pub(super) fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}
