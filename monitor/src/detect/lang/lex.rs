//! The words of conditions. Falco has no separate lexer, because what a word may be depends on where it stands: right of
//! an operator nearly everything is text.

use super::ast::{Operator, Place};
use super::parse::Problem;
use super::text::Text;

pub(super) struct Lexer<'a> {
    text: &'a Text,
    at: usize,
}

/// What Falco takes for white space.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{8}' | '\r' | '\n')
}

/// What may be in text without quotes.
pub(super) fn is_bare(character: char) -> bool {
    !matches!(character, '(' | ')' | '"' | '\'' | '=' | ',' | '\u{b}' | '\u{c}') && !is_blank(character)
}

/// What may be in brackets without quotes.
pub(super) fn is_argument(character: char) -> bool {
    !matches!(character, '[' | ']' | '"' | '\'' | '\u{b}' | '\u{c}') && !is_blank(character)
}

/// Length of the name that a text begins with: a letter, then letters, digits and `_`.
pub(super) fn identifier_length(text: &str) -> usize {
    if !text.starts_with(|character: char| character.is_ascii_alphabetic()) {
        return 0;
    }
    text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_').unwrap_or(text.len())
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a Text) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.value().get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let taken = self.rest().get(..length).filter(|taken| !taken.is_empty())?;
        self.at += length;
        Some(taken)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        self.take(rest.find(|character| !wanted(character)).unwrap_or(rest.len()))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn place(&self) -> Place {
        self.text.place(self.at)
    }

    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem { place: self.place(), message: message.into() }
    }

    /// What stands here, for messages.
    pub(super) fn next_word(&self) -> String {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return "the end".to_owned() };
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(at, character)| is_blank(*character) || matches!(character, '(' | ')') || *at > 40)
            .map_or(rest.len(), |(at, _)| at);
        let word = if matches!(first, '(' | ')' | ',') { first.to_string() } else { rest[..end].to_owned() };
        format!("`{}`", word.escape_debug())
    }

    /// Skips white space, and says whether there was any.
    pub(super) fn blank(&mut self) -> bool {
        self.take_while(is_blank).is_some()
    }

    pub(super) fn at(&self, symbol: &str) -> bool {
        self.rest().starts_with(symbol)
    }

    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.at(symbol);
        if found {
            self.at += symbol.len();
        }
        found
    }

    /// This word, and not the beginning of a longer one.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let longer =
            |rest: &str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_' || next == '.');
        let found = self.rest().strip_prefix(word).is_some_and(|rest| !longer(rest));
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn is_call(&self, name: &str) -> bool {
        self.rest().strip_prefix(name).is_some_and(|rest| rest.starts_with('('))
    }

    /// This name and `(`.
    pub(super) fn call(&mut self, name: &str) -> bool {
        let found = self.is_call(name);
        if found {
            self.at += name.len() + 1;
        }
        found
    }

    pub(super) fn peek_identifier(&self) -> Option<&'a str> {
        let rest = self.rest();
        rest.get(..identifier_length(rest)).filter(|name| !name.is_empty())
    }

    pub(super) fn identifier(&mut self) -> Option<&'a str> {
        self.take(identifier_length(self.rest()))
    }

    /// Two names or more with dots between them.
    pub(super) fn field_name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let mut length = identifier_length(rest);
        let mut names = 1;
        while let Some(next) = rest.get(length..).and_then(|rest| rest.strip_prefix('.')) {
            let more = identifier_length(next);
            if more == 0 {
                break;
            }
            length += 1 + more;
            names += 1;
        }
        if length == 0 || names < 2 { None } else { self.take(length) }
    }

    pub(super) fn argument(&mut self) -> Option<&'a str> {
        self.take_while(is_argument)
    }

    pub(super) fn bare(&mut self) -> Option<&'a str> {
        self.take_while(is_bare)
    }

    /// Whether no word goes on here.
    pub(super) fn ends_word(&self) -> bool {
        self.peek().is_none_or(|next| is_blank(next) || next == ')')
    }

    /// A number of base 10 or 16.
    pub(super) fn number(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let digits = |text: &str| text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
        let hexadecimal = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
        if let Some(hexadecimal) = hexadecimal {
            let length = hexadecimal.find(|next: char| !next.is_ascii_hexdigit()).unwrap_or(hexadecimal.len());
            if length > 0 {
                return self.take(2 + length);
            }
        }
        let mut length = usize::from(rest.starts_with(['+', '-']));
        let whole = digits(&rest[length..]);
        if whole == 0 {
            return None;
        }
        length += whole;
        if rest[length..].starts_with('.') {
            length += 1 + digits(&rest[length + 1..]);
        }
        if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
            let power = exponent.strip_prefix(['+', '-']).map_or(0, digits);
            if power > 0 {
                length += 2 + power;
            }
        }
        self.take(length)
    }

    /// Text in quotes, without them and with its escapes resolved; nothing when no quote stands here.
    pub(super) fn quoted(&mut self) -> Result<Option<String>, Problem> {
        let Some(quote) = self.peek().filter(|first| matches!(first, '"' | '\'')) else { return Ok(None) };
        let mut value = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            if character == quote {
                self.at += at + 1;
                return Ok(Some(value));
            }
            if character != '\\' {
                value.push(character);
                continue;
            }
            let Some((_, escaped)) = characters.next() else { break };
            value.push(match escaped {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                // A blank too: so does Falco, because a rule of its own was once written so.
                '\\' | ' ' => '\\',
                '/' => '/',
                _ if escaped == quote => quote,
                _ => {
                    let place = self.text.place(self.at + at);
                    let message = format!("unknown escape `\\{escaped}`: write `\\\\` for a backslash");
                    return Err(Problem { place, message });
                }
            });
        }
        Err(self.problem(format!("this {quote} is not closed")))
    }

    pub(super) fn operator(&mut self) -> Option<Operator> {
        let symbols = [
            ("==", Operator::Equal),
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            ("<", Operator::Less),
            (">=", Operator::GreaterOrEqual),
            (">", Operator::Greater),
        ];
        for (symbol, operator) in symbols {
            if self.symbol(symbol) {
                return Some(operator);
            }
        }
        let name = self.peek_identifier()?;
        let operator = *Operator::ALL.iter().find(|operator| operator.name() == name)?;
        self.at += name.len();
        Some(operator)
    }
}
