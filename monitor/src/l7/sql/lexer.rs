//! Cuts SQL into tokens. Made for text that is hostile or cut anywhere: whatever may be a literal is one.

use super::Dialect;

/// A part of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a name without quotes.
    Word(&'a [u8]),
    /// A name in quotes, without them, and the quote.
    Quoted(&'a [u8], u8),
    /// A string, a number, a parameter.
    Literal,
    /// One of `( ) [ ] , ; .`, or operator characters that stand together.
    Symbol(&'a [u8]),
}

/// More operator characters in a row are several operators.
const OPERATOR_MAX: usize = 8;

/// The tokens of a statement.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
    /// The text goes on where it ends here.
    cut: bool,
    /// A name stood directly before: a point is part of it, not of a number.
    after_name: bool,
    /// There was white space or a comment before the last token.
    pub(super) spaced: bool,
    /// Not all of the statement is among the tokens.
    pub(super) incomplete: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], cut: bool, dialect: Dialect) -> Self {
        Self { text, at: 0, dialect, cut, after_name: false, spaced: false, incomplete: cut }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn mysql(&self) -> bool {
        self.dialect == Dialect::MySql
    }

    /// Stops reading: what follows cannot be told apart from a literal.
    fn give_up(&mut self) {
        self.at = self.text.len();
        self.incomplete = true;
    }

    fn skip_blank(&mut self) {
        self.spaced = false;
        loop {
            let start = self.at;
            match (self.peek(0), self.peek(1)) {
                (Some(byte), _) if byte.is_ascii_whitespace() || byte == 0 || byte == 0x0b => self.at += 1,
                (Some(b'-'), Some(b'-')) if !self.mysql() || self.peek(2).is_none_or(|it| it <= b' ') => {
                    self.skip_line();
                }
                (Some(b'#'), _) if self.mysql() => self.skip_line(),
                (Some(b'/'), Some(b'*')) => self.skip_comment(),
                _ => {}
            }
            if self.at == start {
                return;
            }
            self.spaced = true;
        }
    }

    fn skip_line(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
    }

    /// PostgreSQL's comments nest, MySQL's do not.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) if depth == 0 || !self.mysql() => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A string whose opening quote is here. `escapes`: a backslash makes any character part of it.
    fn string(&mut self, quote: u8, escapes: bool) -> Token<'a> {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            if byte == b'\\' && escapes {
                self.at += 1;
            } else if byte == b'\\' {
                let mut count = 1;
                while self.peek(0) == Some(b'\\') {
                    self.at += 1;
                    count += 1;
                }
                if count % 2 == 1 && self.peek(0) == Some(quote) {
                    // Whether this ends the string depends on a setting of the server.
                    self.give_up();
                }
            } else if byte == quote {
                if self.peek(0) != Some(quote) {
                    break;
                }
                self.at += 1;
            }
        }
        Token::Literal
    }

    /// A name in quotes; a literal if the quotes are not closed.
    fn quoted(&mut self, quote: u8) -> Token<'a> {
        let start = self.at + 1;
        self.at = start;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            if byte == quote {
                if self.peek(0) == Some(quote) {
                    self.at += 1;
                    continue;
                }
                return Token::Quoted(self.text.get(start..self.at - 1).unwrap_or_default(), quote);
            }
        }
        Token::Literal
    }

    fn number(&mut self) -> Token<'a> {
        let hexadecimal = matches!((self.peek(0), self.peek(1)), (Some(b'0'), Some(b'x' | b'X')));
        while let Some(byte) = self.peek(0) {
            let exponent = !hexadecimal
                && matches!(byte, b'+' | b'-')
                && matches!(self.text.get(self.at.wrapping_sub(1)), Some(b'e' | b'E'));
            if !(is_word(byte) || byte == b'.' || exponent) {
                break;
            }
            self.at += 1;
        }
        Token::Literal
    }

    fn word(&mut self) -> Token<'a> {
        let start = self.at;
        while self.peek(0).is_some_and(is_word) {
            self.at += 1;
        }
        let word = self.text.get(start..self.at).unwrap_or_default();
        match (self.peek(0), word) {
            (Some(b'\''), b"e" | b"E") => self.string(b'\'', true),
            (Some(b'\''), b"b" | b"B" | b"x" | b"X" | b"n" | b"N") => self.string(b'\'', false),
            _ => Token::Word(word),
        }
    }

    /// `$1`, `$$ ... $$`, `$tag$ ... $tag$`. What is none of these is taken as a string that is not closed.
    fn dollar(&mut self) -> Token<'a> {
        if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            return self.number();
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let tag_end = rest.iter().skip(1).position(|byte| *byte == b'$' || !is_word(*byte)).map(|at| at + 1);
        let Some(tag) = tag_end.and_then(|end| rest.get(..=end)).filter(|tag| tag.ends_with(b"$")) else {
            self.give_up();
            return Token::Literal;
        };
        match memchr::memmem::find(rest.get(tag.len()..).unwrap_or_default(), tag) {
            Some(at) => self.at += tag.len() * 2 + at,
            None => self.at = self.text.len(),
        }
        Token::Literal
    }

    /// `@name`, `@@name`, `@'name'` of MySQL.
    fn variable(&mut self) -> Token<'a> {
        while self.peek(0) == Some(b'@') {
            self.at += 1;
        }
        match self.peek(0) {
            Some(quote @ (b'\'' | b'"')) => self.string(quote, false),
            Some(b'`') => {
                self.quoted(b'`');
                Token::Literal
            }
            _ => self.number(),
        }
    }

    fn operator(&mut self) -> Token<'a> {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.peek(0).filter(|_| self.at - start < OPERATOR_MAX) {
            let comment = byte == b'/' && self.peek(1) == Some(b'*');
            // A sign may belong to a number.
            let sign = matches!(byte, b'+' | b'-');
            if !is_operator(byte) || comment || sign || (self.mysql() && matches!(byte, b'#' | b'@')) {
                break;
            }
            self.at += 1;
        }
        Token::Symbol(self.text.get(start..self.at).unwrap_or_default())
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let first = self.peek(0)?;
        let start = self.at;
        let token = match first {
            b'\'' => self.string(b'\'', false),
            b'"' if self.mysql() => self.string(b'"', false),
            b'"' => self.quoted(b'"'),
            b'`' => self.quoted(b'`'),
            b'$' if !self.mysql() => self.dollar(),
            b'@' if self.mysql() => self.variable(),
            b'?' => {
                self.at += 1;
                Token::Literal
            }
            b'.' if !self.after_name && self.peek(1).is_some_and(|it| it.is_ascii_digit()) => self.number(),
            _ if first.is_ascii_digit() => self.number(),
            _ if is_word(first) => self.word(),
            _ if is_operator(first) => self.operator(),
            _ => {
                self.at += 1;
                Token::Symbol(self.text.get(start..self.at).unwrap_or_default())
            }
        };
        self.at = self.at.min(self.text.len());
        self.after_name = matches!(token, Token::Word(_) | Token::Quoted(..));
        // A word that ends where the text was cut may be a part of anything.
        if self.cut && self.at == self.text.len() && self.after_name {
            return None;
        }
        Some(token)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'+' | b'-'
            | b'*'
            | b'/'
            | b'<'
            | b'>'
            | b'='
            | b'~'
            | b'!'
            | b'@'
            | b'#'
            | b'%'
            | b'^'
            | b'&'
            | b'|'
            | b':'
            | b'?'
    )
}
