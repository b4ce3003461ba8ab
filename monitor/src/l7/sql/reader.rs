//! Writes a statement anew from its tokens, and finds its operation and table on the way.

use super::{FINGERPRINT_MAX, TABLE_MAX, lexer::Token};
use crate::l7::OTHER;

/// The longest name (PostgreSQL 63, MySQL 64 characters): what is longer is shown as a literal.
const NAME_MAX: usize = 64;

/// First words that are told by name.
pub(super) const OPERATIONS: [&str; 66] = [
    "ABORT",
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "BINLOG",
    "CALL",
    "CHECK",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISCARD",
    "DO",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "FLUSH",
    "GRANT",
    "HANDLER",
    "IMPORT",
    "INSERT",
    "INSTALL",
    "KILL",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MOVE",
    "NOTIFY",
    "OPTIMIZE",
    "PREPARE",
    "PURGE",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPLACE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "TRUNCATE",
    "UNLISTEN",
    "UNLOCK",
    "UPDATE",
    "USE",
    "VACUUM",
    "VALUES",
];

/// Where the name of a table is expected.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Table {
    #[default]
    NotYet,
    /// The next name is it.
    Next,
    /// A point goes on with it.
    Point,
    Found,
}

#[derive(Default)]
pub(super) struct Reader {
    pub(super) written: String,
    pub(super) operation: Option<&'static str>,
    /// The statement began with WITH: its operation comes after the common table expressions.
    with: bool,
    pub(super) table: String,
    looking: Table,
    depth: usize,
    /// Which open parentheses belong to a function call, by depth: FROM in them is none (`extract(year from t)`).
    calls: u64,
    last: Last,
    /// VALUES at this depth, and how many of its rows have ended: only the first is written.
    values: Option<(usize, usize)>,
    /// Further VALUES are MySQL's function.
    rows_seen: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nothing,
    Name,
    Keyword,
    Literal,
    Comma,
    Open,
    Close,
    Point,
    Sign,
    Other,
}

impl Reader {
    /// Whether there is room for more.
    pub(super) fn take(&mut self, token: Token<'_>, spaced: bool) -> bool {
        if self.in_later_row(token) {
            self.count_depth(token);
            return true;
        }
        let before = self.written.len();
        match token {
            Token::Word(word) => self.word(word),
            Token::Quoted(name, quote) => self.quoted(name, quote),
            Token::Literal => self.literal(),
            Token::Symbol(symbol) => self.symbol(symbol, spaced),
        }
        let room = self.written.len() <= FINGERPRINT_MAX;
        if !room {
            self.written.truncate(before);
        }
        room
    }

    /// Rows of VALUES after the first are not written, nor the commas between them.
    fn in_later_row(&mut self, token: Token<'_>) -> bool {
        let Some((depth, rows)) = self.values else { return false };
        match token {
            _ if self.depth > depth => rows > 0,
            Token::Symbol(b",") => rows > 0,
            Token::Symbol(b"(") => rows > 0,
            _ => {
                self.values = None;
                false
            }
        }
    }

    fn count_depth(&mut self, token: Token<'_>) {
        match token {
            Token::Symbol(b"(") => self.depth += 1,
            Token::Symbol(b")") => {
                self.depth = self.depth.saturating_sub(1);
                if let Some((depth, rows)) = &mut self.values
                    && *depth == self.depth
                {
                    *rows += 1;
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, text: &str, space: bool) {
        if space && !self.written.is_empty() {
            self.written.push(' ');
        }
        self.written.push_str(text);
    }

    fn word(&mut self, word: &[u8]) {
        if word.len() > NAME_MAX {
            return self.literal();
        }
        let text = String::from_utf8_lossy(word);
        let lower = text.to_ascii_lowercase();
        let after_point = self.last == Last::Point;
        self.write(&lower, !matches!(self.last, Last::Open | Last::Point));
        self.find_operation(&lower);
        if self.looking == Table::Point && !after_point {
            self.looking = Table::Found;
        }
        let leads = !after_point && self.looking != Table::Found && self.find_table(&lower);
        if after_point || !(leads || is_keyword(&lower)) {
            self.name(&text);
        }
        self.last = if is_keyword(&lower) && !after_point { Last::Keyword } else { Last::Name };
        if lower == "values" && !after_point && !std::mem::replace(&mut self.rows_seen, true) {
            self.values = Some((self.depth, 0));
        }
    }

    fn quoted(&mut self, name: &[u8], quote: u8) {
        if name.len() > NAME_MAX {
            return self.literal();
        }
        let text = String::from_utf8_lossy(name);
        let quote = char::from(quote);
        self.write(&format!("{quote}{text}{quote}"), !matches!(self.last, Last::Open | Last::Point));
        self.name(&text);
        self.last = Last::Name;
    }

    fn literal(&mut self) {
        // A sign before a number is part of it.
        if self.last == Last::Sign {
            let without = self.written.len() - 1;
            self.written.truncate(without);
            let kept = self.written.trim_end().len();
            self.written.truncate(kept);
            self.last = match self.written.as_bytes().last() {
                Some(b'(') => Last::Open,
                Some(b',') => Last::Comma,
                _ => Last::Other,
            };
        }
        // One `?` for a list.
        if self.last == Last::Comma && self.written.ends_with("?,") {
            self.written.pop();
        } else {
            self.write("?", !matches!(self.last, Last::Open | Last::Point));
        }
        self.last = Last::Literal;
        if self.looking != Table::Found {
            self.looking = Table::NotYet;
        }
    }

    fn symbol(&mut self, symbol: &[u8], spaced: bool) {
        let text = String::from_utf8_lossy(symbol);
        match symbol {
            b"(" => {
                let call = self.last == Last::Name;
                let bit = 1_u64.checked_shl(self.depth as u32).unwrap_or(0);
                self.calls = if call { self.calls | bit } else { self.calls & !bit };
                self.write("(", spaced && self.last != Last::Open || self.last == Last::Comma);
                self.last = Last::Open;
            }
            b")" => {
                self.write(")", false);
                self.last = Last::Close;
            }
            b"," => {
                self.write(",", false);
                self.last = Last::Comma;
            }
            b"." => {
                self.write(".", false);
                if self.looking == Table::Point {
                    self.table.push('.');
                }
                self.last = Last::Point;
            }
            b";" => {
                self.write(";", false);
                self.last = Last::Other;
            }
            b"-" | b"+" if !matches!(self.last, Last::Name | Last::Literal | Last::Close) => {
                self.write(&text, self.last != Last::Open);
                self.last = Last::Sign;
            }
            _ => {
                self.write(&text, !matches!(self.last, Last::Open | Last::Point));
                self.last = Last::Other;
            }
        }
        self.count_depth(Token::Symbol(symbol));
        if self.looking == Table::Point && self.last != Last::Point {
            self.looking = Table::Found;
        } else if self.looking == Table::Next && !matches!(self.last, Last::Open) {
            self.looking = Table::NotYet;
        }
    }

    fn find_operation(&mut self, lower: &str) {
        if self.operation.is_some() {
            return;
        }
        if lower == "with" && !self.with {
            self.with = true;
            return;
        }
        if self.with {
            let verb = matches!(lower, "select" | "insert" | "update" | "delete" | "merge" | "values");
            if !verb || self.depth > 0 {
                return;
            }
        }
        let known = OPERATIONS.iter().find(|known| known.eq_ignore_ascii_case(lower)).copied();
        self.operation = Some(match known {
            Some("START") => "BEGIN",
            Some("END") => "COMMIT",
            Some("ABORT") => "ROLLBACK",
            Some("DESC") => "DESCRIBE",
            Some(known) => known,
            None => OTHER,
        });
    }

    /// Whether the name of a table may follow this word.
    fn find_table(&mut self, lower: &str) -> bool {
        let in_call = self.depth > 0 && self.calls & 1_u64.checked_shl(self.depth as u32 - 1).unwrap_or(0) != 0;
        let next = match lower {
            // In a call only if it is a query: `exists (select ...)` has a keyword before it, `f(select ...)` is none.
            "from" => !in_call,
            "into" | "table" => true,
            "update" => matches!(self.operation, Some("UPDATE")) || self.with,
            "copy" | "truncate" | "analyze" | "vacuum" | "lock" | "merge" | "call" | "describe" | "desc" => {
                self.last == Last::Nothing
            }
            // Words that may stand before the name.
            "only" | "if" | "not" | "exists" | "ignore" | "low_priority" | "concurrently" | "lateral" => {
                self.looking == Table::Next
            }
            _ => false,
        };
        if next {
            self.looking = Table::Next;
        }
        next
    }

    /// A name that is no keyword.
    fn name(&mut self, text: &str) {
        let goes_on = self.looking == Table::Point && self.last == Last::Point;
        if self.looking == Table::Next || goes_on {
            if self.table.len() + text.len() <= TABLE_MAX {
                self.table.push_str(text);
                self.looking = Table::Point;
            } else {
                self.looking = Table::Found;
            }
        } else if self.looking == Table::Point {
            self.looking = Table::Found;
        }
    }
}

/// Words after which a parenthesis is no call, and which are no names. Sorted.
pub(super) const KEYWORDS: [&str; 51] = [
    "all",
    "and",
    "any",
    "as",
    "begin",
    "between",
    "by",
    "case",
    "concurrently",
    "cross",
    "delete",
    "distinct",
    "else",
    "exists",
    "from",
    "group",
    "having",
    "if",
    "ignore",
    "in",
    "inner",
    "insert",
    "into",
    "is",
    "join",
    "lateral",
    "left",
    "like",
    "limit",
    "low_priority",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "returning",
    "right",
    "select",
    "set",
    "some",
    "table",
    "then",
    "union",
    "update",
    "using",
    "when",
    "where",
    "with",
];

fn is_keyword(lower: &str) -> bool {
    KEYWORDS.binary_search(&lower).is_ok()
}
