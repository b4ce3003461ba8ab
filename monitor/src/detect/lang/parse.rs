//! Reads conditions: Falco's grammar (`libsinsp/filter/parser.h`). What Falco reads is read the same way; where Falco is
//! stricter than it says, as with a line break after `contains`, both are taken.

use super::ast::{Field, Operator, Place};
use super::field::not_a_transformer;
use super::lex::Lexer;
use super::nearest::nearest;
use super::text::Text;

/// Most parentheses and transformers inside each other.
const MAX_DEPTH: usize = 50;

/// A condition in which macros and lists are still names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Check(RawCheck),
    Macro(String, Place),
}

/// A comparison in which lists are still names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RawCheck {
    pub(super) field: Field,
    pub(super) operator: Operator,
    pub(super) values: Vec<Word>,
    pub(super) place: Place,
}

/// Right of an operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// May be the name of a list.
    Bare(String, Place),
    /// Is what it says.
    Quoted(String, Place),
    Field(Field),
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) place: Place,
    pub(super) message: String,
}

pub(super) type Result<T> = std::result::Result<T, Problem>;

/// Reads a condition.
pub(super) fn condition(text: &Text) -> Result<Raw> {
    let mut parser = Parser { lexer: Lexer::new(text), depth: 0 };
    parser.lexer.blank();
    if parser.lexer.is_at_end() {
        return Err(parser.lexer.problem("the condition is empty"));
    }
    let raw = parser.or()?;
    parser.lexer.blank();
    if parser.lexer.is_at_end() { Ok(raw) } else { Err(parser.after_expression()) }
}

/// Reads a field, with transformers or without, and nothing else.
pub(super) fn field(text: &Text) -> Result<Field> {
    let mut parser = Parser { lexer: Lexer::new(text), depth: 0 };
    parser.lexer.blank();
    let place = parser.lexer.place();
    let Some(field) = parser.field_or_transformer()? else {
        let message = format!("expected the name of a field such as `proc.name`, found {}", parser.lexer.next_word());
        return Err(Problem { place, message });
    };
    parser.lexer.blank();
    if parser.lexer.is_at_end() {
        return Ok(field);
    }
    Err(parser.lexer.problem(format!("expected only a field here, found {}", parser.lexer.next_word())))
}

/// Reads one value of a list as it stands in `items`: quoted, or as it is.
pub(super) fn item(text: &str, place: &Place) -> Result<Word> {
    let inner = Text::at(text, place.clone());
    let mut lexer = Lexer::new(&inner);
    if text.starts_with(['"', '\'']) {
        let value = lexer.quoted()?;
        return match value {
            Some(value) if lexer.is_at_end() => Ok(Word::Quoted(value, place.clone())),
            _ => Ok(Word::Quoted(text.to_owned(), place.clone())),
        };
    }
    Ok(Word::Bare(text.to_owned(), place.clone()))
}

/// Combines what is joined by `and`, without `and`s inside of it.
fn all(mut parts: Vec<Raw>) -> Raw {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => Raw::And(parts.into_iter().chain(last).collect()),
    }
}

pub(super) struct Parser<'a> {
    pub(super) lexer: Lexer<'a>,
    pub(super) depth: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Raw> {
        let mut parts = vec![self.and()?];
        while self.connective("or")? {
            parts.push(self.and()?);
        }
        match (parts.len(), parts.pop()) {
            (1, Some(only)) => Ok(only),
            (_, last) => Ok(Raw::Or(parts.into_iter().chain(last).collect())),
        }
    }

    fn and(&mut self) -> Result<Raw> {
        let mut parts = vec![self.not()?];
        while self.connective("and")? {
            parts.push(self.not()?);
        }
        Ok(all(parts))
    }

    fn connective(&mut self, word: &str) -> Result<bool> {
        self.lexer.blank();
        if !self.lexer.word(word) {
            return Ok(false);
        }
        if self.lexer.blank() || self.lexer.peek() == Some('(') {
            return Ok(true);
        }
        Err(self.lexer.problem(format!("expected a blank or `(` after `{word}`, found {}", self.lexer.next_word())))
    }

    fn not(&mut self) -> Result<Raw> {
        let mut negated = false;
        self.lexer.blank();
        while self.lexer.word("not") {
            if !self.lexer.blank() && self.lexer.peek() != Some('(') {
                let found = self.lexer.next_word();
                return Err(self.lexer.problem(format!("expected a blank or `(` after `not`, found {found}")));
            }
            negated = !negated;
        }
        let inner = self.check()?;
        Ok(if negated { Raw::Not(Box::new(inner)) } else { inner })
    }

    pub(super) fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.lexer.problem(format!("is nested deeper than {MAX_DEPTH} levels: use macros")));
        }
        Ok(())
    }

    fn check(&mut self) -> Result<Raw> {
        self.lexer.blank();
        let place = self.lexer.place();
        if self.lexer.symbol("(") {
            self.deeper()?;
            let inner = self.or()?;
            self.depth -= 1;
            self.lexer.blank();
            return if self.lexer.symbol(")") {
                Ok(inner)
            } else if self.lexer.is_at_end() {
                Err(Problem { place, message: "this `(` is not closed".to_owned() })
            } else {
                Err(self.after_expression())
            };
        }
        if let Some(field) = self.field_or_transformer()? {
            return self.comparison(field, place);
        }
        if let Some(name) = self.lexer.identifier() {
            if self.lexer.peek() == Some('(') {
                return Err(Problem { place, message: not_a_transformer(name) });
            }
            if matches!(name, "and" | "or") {
                return Err(Problem { place, message: format!("expected a condition before `{name}`") });
            }
            return Ok(Raw::Macro(name.to_owned(), place));
        }
        let found = self.lexer.next_word();
        let remedy = match found.as_str() {
            "`!`" | "`!(`" => ": write `not`",
            _ => "",
        };
        Err(Problem { place, message: format!("expected `(`, a field or the name of a macro, found {found}{remedy}") })
    }

    fn after_expression(&self) -> Problem {
        let found = self.lexer.next_word();
        let remedy = if found.starts_with("`&&") {
            ": write `and`"
        } else if found.starts_with("`||") {
            ": write `or`"
        } else if found.starts_with("`=") || found.starts_with("`,") || found.starts_with(['"', '\'']) {
            ": a value with this character has to be in quotes"
        } else {
            ""
        };
        let expected = if self.depth > 0 { "`and`, `or` or `)`" } else { "`and`, `or` or the end" };
        self.lexer.problem(format!("expected {expected}, found {found}{remedy}"))
    }

    fn comparison(&mut self, field: Field, place: Place) -> Result<Raw> {
        self.lexer.blank();
        let Some(operator) = self.lexer.operator() else { return Err(self.no_operator(&field)) };
        let values = match operator {
            Operator::Exists => Vec::new(),
            Operator::In | Operator::Intersects | Operator::Pmatch => self.list(operator)?,
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                vec![self.number(operator)?]
            }
            _ => vec![self.value(operator)?],
        };
        Ok(Raw::Check(RawCheck { field, operator, values, place }))
    }

    fn no_operator(&self, field: &Field) -> Problem {
        let word = self.lexer.peek_identifier();
        let names = Operator::ALL.iter().map(|operator| operator.name());
        let remedy = match word.and_then(|word| nearest(word, names)) {
            Some(name) => format!(": did you mean `{name}`?"),
            None => {
                let names: Vec<_> = Operator::ALL.iter().map(|operator| operator.name()).collect();
                format!(": one of {}", names.join(" "))
            }
        };
        let found = self.lexer.next_word();
        self.lexer.problem(format!("expected an operator after `{}`, found {found}{remedy}", field.name))
    }

    fn number(&mut self, operator: Operator) -> Result<Word> {
        self.lexer.blank();
        let place = self.lexer.place();
        if let Some(field) = self.other_field()? {
            return Ok(Word::Field(field));
        }
        match self.lexer.number() {
            Some(number) if self.lexer.ends_word() => Ok(Word::Quoted(number.to_owned(), place)),
            _ => {
                let message = format!("`{}` compares with a number, or with `val(field)`", operator.name());
                Err(Problem { place, message })
            }
        }
    }

    fn value(&mut self, operator: Operator) -> Result<Word> {
        self.lexer.blank();
        let place = self.lexer.place();
        if let Some(field) = self.other_field()? {
            return Ok(Word::Field(field));
        }
        if let Some(word) = self.text()? {
            return Ok(word);
        }
        let found = self.lexer.next_word();
        Err(Problem { place, message: format!("expected a value after `{}`, found {found}", operator.name()) })
    }

    fn text(&mut self) -> Result<Option<Word>> {
        let place = self.lexer.place();
        if let Some(text) = self.lexer.quoted()? {
            return Ok(Some(Word::Quoted(text, place)));
        }
        Ok(self.lexer.bare().map(|text| Word::Bare(text.to_owned(), place)))
    }

    fn list(&mut self, operator: Operator) -> Result<Vec<Word>> {
        self.lexer.blank();
        let place = self.lexer.place();
        if !self.lexer.symbol("(") {
            if let Some(field) = self.other_field()? {
                return Ok(vec![Word::Field(field)]);
            }
            if let Some(name) = self.lexer.identifier() {
                return Ok(vec![Word::Bare(name.to_owned(), place)]);
            }
            let found = self.lexer.next_word();
            let message = format!("expected `(` and values after `{}`, found {found}", operator.name());
            return Err(Problem { place, message });
        }
        let mut values = Vec::new();
        self.lexer.blank();
        while !self.lexer.symbol(")") {
            self.lexer.blank();
            if let Some(word) = self.text()? {
                values.push(word);
            } else if self.lexer.is_at_end() {
                return Err(Problem { place, message: "this `(` is not closed".to_owned() });
            } else if !self.lexer.at(",") {
                let found = self.lexer.next_word();
                return Err(self.lexer.problem(format!("expected a value, found {found}")));
            }
            self.lexer.blank();
            if !self.lexer.symbol(",") && !self.lexer.at(")") && !self.lexer.is_at_end() {
                let found = self.lexer.next_word();
                return Err(self.lexer.problem(format!("expected `,` or `)`, found {found}")));
            }
            self.lexer.blank();
        }
        Ok(values)
    }
}
