//! Heads of messages: what their first lines say, and how long their bodies are.

use std::borrow::Cow;

use crate::l7::{Code, Outcome, Status, TARGET_MAX, Verdict};

/// Methods that are told by name: RFC 9110, 5789 (PATCH), and those of WebDAV and caches that servers really get.
pub(in crate::l7) const METHODS: [&str; 18] = [
    "GET",
    "POST",
    "PUT",
    "HEAD",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "PURGE",
];

/// The longest body that is believed: no stream is longer.
pub(super) const LENGTH_MAX: u64 = 1 << 62;

/// Methods whose answers have no body.
pub(super) const HEAD: u8 = 1;
pub(super) const CONNECT: u8 = 2;

/// How a message ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
    UntilClose,
}

pub(super) fn request_verdict(head: &[u8]) -> Verdict {
    let token = head.iter().position(|byte| !byte.is_ascii_uppercase()).unwrap_or(head.len());
    let method = head.get(..token).unwrap_or_default();
    if method.is_empty() {
        return Verdict::No;
    }
    let Some(after) = head.get(token..).filter(|after| !after.is_empty()) else {
        let begins = METHODS.iter().any(|known| known.as_bytes().starts_with(method));
        return if begins { Verdict::Perhaps } else { Verdict::No };
    };
    let known = METHODS.iter().any(|known| known.as_bytes() == method);
    match after {
        [b' ', b'/' | b'*' | b'h' | b'H', ..] if known => Verdict::Yes,
        [b' ', first, ..] if known && method == b"CONNECT" && first.is_ascii_alphanumeric() => Verdict::Yes,
        [b' '] if known => Verdict::Perhaps,
        _ => Verdict::No,
    }
}

pub(in crate::l7) fn status(code: u16) -> Status {
    let outcome = match code {
        400..=499 => Outcome::ClientError,
        500..=599 => Outcome::ServerError,
        _ => Outcome::Ok,
    };
    Status { outcome, code: Code::Number(u32::from(code)) }
}

/// RFC 9112 6.3: `None` if the lengths contradict each other.
pub(super) fn declared(headers: &[httparse::Header<'_>]) -> Option<(bool, Option<u64>)> {
    let (mut chunked, mut length) = (false, None);
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let last = header.value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(header.value).ok()?.trim().parse::<u64>().ok()?;
            if value >= LENGTH_MAX || length.is_some_and(|other| other != value) {
                return None;
            }
            length = Some(value);
        }
    }
    Some((chunked, length))
}

pub(super) fn request_body(headers: &[httparse::Header<'_>]) -> Option<Body> {
    let (chunked, length) = declared(headers)?;
    Some(if chunked { Body::Chunked } else { Body::Length(length.unwrap_or(0)) })
}

pub(super) fn answer_body(headers: &[httparse::Header<'_>], code: u16, kind: u8) -> Option<Body> {
    if kind == HEAD || matches!(code, 100..=199 | 204 | 304) {
        return Some(Body::Length(0));
    }
    let (chunked, length) = declared(headers)?;
    Some(match (chunked, length) {
        (true, _) => Body::Chunked,
        (false, Some(length)) => Body::Length(length),
        (false, None) => Body::UntilClose,
    })
}

/// Whether the server says that HTTP/2 follows.
pub(super) fn becomes_http2(headers: &[httparse::Header<'_>]) -> bool {
    headers.iter().any(|it| it.name.eq_ignore_ascii_case("upgrade") && it.value.eq_ignore_ascii_case(b"h2c"))
}

/// The path of a request's target, without query, scheme and host.
pub(super) fn path_of(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => path,
    }
}

pub(super) fn bounded(path: &str) -> &str {
    let mut end = path.len().min(TARGET_MAX);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default()
}

/// Method and path of a head that is cut somewhere. Of a path that is cut its last segment is not taken.
pub(super) fn cut_request_line(head: &[u8]) -> Option<(&str, Cow<'_, str>)> {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let whole = line.len() < head.len();
    let mut words = line.split(|byte| *byte == b' ');
    let method = std::str::from_utf8(words.next()?).ok()?;
    let target = std::str::from_utf8(words.next()?).ok()?;
    let path = path_of(target);
    if whole || words.next().is_some() || target.contains(['?', '#']) {
        return Some((method, path.into()));
    }
    let known = path.rfind('/').map_or("", |at| &path[..=at]);
    Some((method, format!("{known}*").into()))
}

pub(super) fn cut_status(head: &[u8]) -> Option<u16> {
    let code = head.get(9..12)?;
    (head.get(8) == Some(&b' ')).then_some(())?;
    std::str::from_utf8(code).ok()?.parse().ok()
}
