//! Words of memcached's text protocol, and heads of its binary one.

use crate::l7::{Code, Outcome, Status, Verdict, Word};

/// What the server's limit for values may be set to, and a little more.
const VALUE_MAX: u64 = 1 << 30;

/// Keys are shorter.
const KEY_MAX: u16 = 250;

/// How a command goes on, and how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Only a line.
    Line,
    /// The word at this place says how long the value is that follows the line.
    Value(usize),
    /// Not answered.
    Silent,
    /// The connection becomes a log.
    Watch,
}

/// Commands of the text protocol (`doc/protocol.txt` of 1.6).
const COMMANDS: [(&str, Form); 32] = [
    ("add", Form::Value(4)),
    ("append", Form::Value(4)),
    ("cache_memlimit", Form::Line),
    ("cas", Form::Value(4)),
    ("decr", Form::Line),
    ("delete", Form::Line),
    ("flush_all", Form::Line),
    ("gat", Form::Line),
    ("gats", Form::Line),
    ("get", Form::Line),
    ("gets", Form::Line),
    ("incr", Form::Line),
    ("lru", Form::Line),
    ("lru_crawler", Form::Line),
    ("ma", Form::Line),
    ("md", Form::Line),
    ("me", Form::Line),
    ("mg", Form::Line),
    ("mn", Form::Line),
    ("ms", Form::Value(2)),
    ("prepend", Form::Value(4)),
    ("quit", Form::Silent),
    ("replace", Form::Value(4)),
    ("set", Form::Value(4)),
    ("shutdown", Form::Silent),
    ("slabs", Form::Line),
    ("slabs_automove", Form::Line),
    ("stats", Form::Line),
    ("touch", Form::Line),
    ("verbosity", Form::Line),
    ("version", Form::Line),
    ("watch", Form::Watch),
];

/// A command of the text protocol.
pub(super) struct Command {
    pub(super) operation: &'static str,
    pub(super) form: Form,
    /// It may remain without answer.
    pub(super) quiet: bool,
    /// It is not answered.
    pub(super) silent: bool,
    /// Of the value that follows it, with its end.
    pub(super) value: u64,
}

pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

fn digits(word: &[u8]) -> Option<u64> {
    let few = matches!(word.len(), 1..=20) && word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| few)?.parse().ok()
}

/// The command with this first word.
pub(super) fn form(word: &[u8]) -> Option<(&'static str, Form)> {
    COMMANDS.iter().find(|(known, _)| known.as_bytes() == word).copied()
}

/// The command that a line is. `None`: it is none.
pub(super) fn command(line: &[u8]) -> Option<Command> {
    let (operation, form) = form(words(line).next()?)?;
    let value = match form {
        Form::Value(at) => digits(words(line).nth(at)?).filter(|length| *length <= VALUE_MAX)? + 2,
        Form::Line | Form::Silent | Form::Watch => 0,
    };
    let meta = operation.len() == 2;
    let quiet = meta && words(line).skip(2).any(|word| word == b"q");
    let noreply = !meta && words(line).last() == Some(b"noreply");
    Some(Command { operation, form, quiet, silent: noreply || form == Form::Silent, value })
}

/// What the first line of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is the whole answer.
    Line(Status),
    /// A value of so many bytes follows, with its end; it is the whole answer.
    Value(u64),
    /// A value of so many bytes follows, and then more of them, or `END`.
    Values(u64),
    /// More lines follow, up to `END` or `EN`.
    Lines,
}

/// Well, but not as wished.
fn but(word: &[u8]) -> Answer {
    Answer::Line(Status { outcome: Outcome::Ok, code: Word::new(word).map_or(Code::None, Code::Word) })
}

fn fails(outcome: Outcome, word: &[u8]) -> Answer {
    Answer::Line(Status { outcome, code: Word::new(word).map_or(Code::None, Code::Word) })
}

/// What a line means that an answer begins with. `None`: none begins so.
pub(super) fn answer(line: &[u8]) -> Option<Answer> {
    let word = words(line).next()?;
    Some(match word {
        b"VALUE" => Answer::Values(digits(words(line).nth(3)?).filter(|length| *length <= VALUE_MAX)? + 2),
        b"VA" => Answer::Value(digits(words(line).nth(1)?).filter(|length| *length <= VALUE_MAX)? + 2),
        b"STAT" | b"ITEM" | b"PREFIX" | b"mg" => Answer::Lines,
        _ if word.starts_with(b"key=") => Answer::Lines,
        b"STORED" | b"END" | b"DELETED" | b"TOUCHED" | b"OK" | b"RESET" | b"VERSION" | b"HD" | b"MN" | b"ME" => {
            Answer::Line(Status::OK)
        }
        b"NOT_STORED" | b"NOT_FOUND" | b"EXISTS" | b"EN" | b"NF" | b"NS" | b"EX" => but(word),
        b"ERROR" | b"CLIENT_ERROR" | b"BADCLASS" | b"NOSPARE" | b"NOTFULL" | b"UNSAFE" | b"SAME" => {
            fails(Outcome::ClientError, word)
        }
        b"SERVER_ERROR" | b"BUSY" => fails(Outcome::ServerError, word),
        // What INCR and DECR have made of it.
        _ if digits(word).is_some() && words(line).nth(1).is_none() => Answer::Line(Status::OK),
        _ => return None,
    })
}

/// Whether a quiet command of the meta protocol may be answered with this.
pub(super) fn answers_quiet(operation: &str, line: &[u8]) -> bool {
    let word = words(line).next().unwrap_or_default();
    match operation {
        "mg" => matches!(word, b"VA" | b"HD"),
        "ms" => matches!(word, b"NS" | b"EX" | b"NF"),
        "md" => matches!(word, b"EX" | b"NS"),
        "ma" => matches!(word, b"VA" | b"NS" | b"EX"),
        _ => false,
    }
}

pub(super) const ASKS: u8 = 0x80;
pub(super) const ANSWERS: u8 = 0x81;

/// Operation codes of the binary protocol: whether a command is quiet, and its name.
fn code(code: u8) -> Option<(&'static str, bool)> {
    Some(match code {
        0x00 => ("get", false),
        0x01 => ("set", false),
        0x02 => ("add", false),
        0x03 => ("replace", false),
        0x04 => ("delete", false),
        0x05 => ("incr", false),
        0x06 => ("decr", false),
        // Few wait for its answer.
        0x07 => ("quit", true),
        0x08 => ("flush_all", false),
        0x09 | 0x0d => ("get", true),
        0x0a => ("noop", false),
        0x0b => ("version", false),
        0x0c => ("get", false),
        0x0e => ("append", false),
        0x0f => ("prepend", false),
        0x10 => ("stats", false),
        0x11 => ("set", true),
        0x12 => ("add", true),
        0x13 => ("replace", true),
        0x14 => ("delete", true),
        0x15 => ("incr", true),
        0x16 => ("decr", true),
        0x17 => ("quit", true),
        0x18 => ("flush_all", true),
        0x19 => ("append", true),
        0x1a => ("prepend", true),
        0x1b => ("verbosity", false),
        0x1c => ("touch", false),
        0x1d | 0x23 => ("gat", false),
        0x1e | 0x24 => ("gat", true),
        0x20 => ("sasl_list", false),
        0x21 => ("sasl_auth", false),
        0x22 => ("sasl_step", false),
        _ => return None,
    })
}

/// The head of a message of the binary protocol.
pub(super) struct Head {
    pub(super) operation: &'static str,
    pub(super) quiet: bool,
    pub(super) code: u8,
    pub(super) key: u16,
    /// Status of an answer.
    pub(super) status: u16,
    /// Of the message, with its head.
    pub(super) length: u64,
}

pub(super) const HEAD: usize = 24;

/// The head that begins here: `None`, it is none.
pub(super) fn head(bytes: &[u8; HEAD]) -> Option<Head> {
    let [_, op, key_high, key_low, extras, kind, status_high, status_low, a, b, c, d, ..] = bytes;
    let key = u16::from_be_bytes([*key_high, *key_low]);
    let body = u32::from_be_bytes([*a, *b, *c, *d]);
    let (operation, quiet) = code(*op)?;
    let sane = key <= KEY_MAX
        && *kind == 0
        && *extras <= 20
        && u64::from(body) <= VALUE_MAX
        && body >= u32::from(key) + u32::from(*extras);
    let status = u16::from_be_bytes([*status_high, *status_low]);
    sane.then(|| Head { operation, quiet, code: *op, key, status, length: u64::from(body) + HEAD as u64 })
}

/// What the binary protocol says of how it went.
pub(super) fn status(number: u16) -> Status {
    let outcome = match number {
        // Not found, exists, not stored; a step of logging in.
        0 | 1 | 2 | 5 | 0x21 => Outcome::Ok,
        0x82..=0x86 => Outcome::ServerError,
        _ => Outcome::ClientError,
    };
    let code = if number == 0 { Code::None } else { Code::Number(u32::from(number)) };
    Status { outcome, code }
}

/// The first line and its length with its end.
pub(super) fn line(bytes: &[u8]) -> Option<(&[u8], u64)> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes.get(..end).unwrap_or_default();
    Some((line.strip_suffix(b"\r").unwrap_or(line), end as u64 + 1))
}

fn is_text(line: &[u8]) -> bool {
    line.iter().all(|byte| *byte >= b' ' && *byte != 0x7f)
}

pub(super) fn request_verdict(bytes: &[u8]) -> Verdict {
    if bytes.first() == Some(&ASKS) {
        return binary_verdict(bytes);
    }
    match line(bytes) {
        Some((line, _)) if is_text(line) => match command(line) {
            // Other protocols say this, too.
            Some(command) if matches!(command.form, Form::Silent | Form::Watch) => Verdict::Perhaps,
            Some(command) if words(line).nth(1).is_none() => match command.operation {
                "mn" | "version" | "stats" | "flush_all" => Verdict::Yes,
                _ => Verdict::No,
            },
            Some(_) => Verdict::Yes,
            None => Verdict::No,
        },
        // Many keys.
        None if bytes.len() > 3 && is_text(bytes) => match words(bytes).next().and_then(form) {
            Some((operation, _)) if operation.len() < bytes.len() => Verdict::Perhaps,
            _ => Verdict::No,
        },
        _ => Verdict::No,
    }
}

pub(super) fn answer_verdict(bytes: &[u8]) -> Verdict {
    if bytes.first() == Some(&ANSWERS) {
        return binary_verdict(bytes);
    }
    let Some((line, _)) = line(bytes).filter(|(line, _)| is_text(line)) else { return Verdict::No };
    let alone = words(line).nth(1).is_none();
    match (answer(line), words(line).next().unwrap_or_default()) {
        (None, _) => Verdict::No,
        (Some(_), b"OK" | b"ERROR" | b"VERSION" | b"ME" | b"mg" | b"BUSY" | b"SAME" | b"RESET") => Verdict::Perhaps,
        (Some(Answer::Line(_)), b"HD" | b"CLIENT_ERROR" | b"SERVER_ERROR") => Verdict::Yes,
        (Some(Answer::Line(_)), word) if word.iter().all(u8::is_ascii_digit) => Verdict::Perhaps,
        (Some(Answer::Line(_)), _) if !alone => Verdict::Perhaps,
        _ => Verdict::Yes,
    }
}

fn binary_verdict(bytes: &[u8]) -> Verdict {
    match bytes.first_chunk() {
        Some(bytes) if head(bytes).is_some() => Verdict::Yes,
        _ => Verdict::No,
    }
}
