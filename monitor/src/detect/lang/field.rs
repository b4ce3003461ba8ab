//! Fields in conditions: `proc.name`, `proc.aname[2]`, `tolower(proc.name)`, `val(proc.pname)`.

use super::ast::{Field, Operand, Place};
use super::nearest::nearest;
use super::parse::{Parser, Problem, Result};

/// Transformers left of an operator.
const TRANSFORMERS: &[&str] = &["tolower", "toupper", "b64", "basename", "len", "join", "concat"];

impl Parser<'_> {
    /// A field or a transformer with what is inside of it; nothing when it is neither.
    pub(super) fn field_or_transformer(&mut self) -> Result<Option<Field>> {
        let place = self.lexer.place();
        if let Some(name) = self.lexer.field_name() {
            let name = name.to_owned();
            return self.field_rest(name, place).map(Some);
        }
        let Some(transformer) = TRANSFORMERS.iter().find(|name| self.lexer.call(name)) else { return Ok(None) };
        self.deeper()?;
        let field = match *transformer {
            "join" | "concat" => self.parts(transformer, place)?,
            _ => {
                self.lexer.blank();
                let inner = self.lexer.place();
                let Some(mut field) = self.field_or_transformer()? else {
                    let found = self.lexer.next_word();
                    let message = format!("expected a field inside `{transformer}(…)`, found {found}");
                    return Err(Problem { place: inner, message });
                };
                field.transformers.push((*transformer).to_owned());
                self.close(transformer)?;
                Field { place, ..field }
            }
        };
        self.depth -= 1;
        Ok(Some(field))
    }

    fn field_rest(&mut self, name: String, place: Place) -> Result<Field> {
        let mut argument = None;
        if self.lexer.symbol("[") {
            argument = match self.lexer.quoted()? {
                Some(text) => Some(text),
                None => self.lexer.argument().map(str::to_owned),
            };
            if argument.is_none() {
                return Err(self.lexer.problem(format!("expected an index or a key inside `{name}[…]`")));
            }
            if !self.lexer.symbol("]") {
                return Err(self.lexer.problem(format!("expected `]`, found {}", self.lexer.next_word())));
            }
        }
        Ok(Field { name, argument, transformers: Vec::new(), parts: Vec::new(), place })
    }

    fn close(&mut self, transformer: &str) -> Result<()> {
        self.lexer.blank();
        if self.lexer.symbol(")") {
            return Ok(());
        }
        let found = self.lexer.next_word();
        Err(self.lexer.problem(format!("expected the `)` of `{transformer}(`, found {found}")))
    }

    /// `concat(a, b, …)` and `join("text between", (a, b, …))`.
    fn parts(&mut self, transformer: &str, place: Place) -> Result<Field> {
        let mut parts = Vec::new();
        if transformer == "join" {
            self.lexer.blank();
            let Some(between) = self.lexer.quoted()? else {
                return Err(self.lexer.problem("`join` begins with the text between the others, in quotes"));
            };
            parts.push(Operand::Text(between, place.clone()));
            self.comma("join")?;
            self.lexer.blank();
            let list = self.lexer.symbol("(");
            self.several(&mut parts)?;
            if list {
                self.close("join(…, ")?;
            }
        } else {
            self.several(&mut parts)?;
        }
        self.close(transformer)?;
        Ok(Field { name: transformer.to_owned(), argument: None, transformers: Vec::new(), parts, place })
    }

    fn comma(&mut self, transformer: &str) -> Result<()> {
        self.lexer.blank();
        if self.lexer.symbol(",") {
            return Ok(());
        }
        let found = self.lexer.next_word();
        Err(self.lexer.problem(format!("expected `,` inside `{transformer}(…)`, found {found}")))
    }

    fn several(&mut self, parts: &mut Vec<Operand>) -> Result<()> {
        loop {
            self.lexer.blank();
            let place = self.lexer.place();
            if let Some(field) = self.field_or_transformer()? {
                parts.push(Operand::Field(field));
            } else if let Some(text) = self.lexer.quoted()? {
                parts.push(Operand::Text(text, place));
            } else if let Some(number) = self.lexer.number() {
                parts.push(Operand::Text(number.to_owned(), place));
            } else {
                let found = self.lexer.next_word();
                return Err(Problem {
                    place,
                    message: format!("expected a field, text in quotes or a number, found {found}"),
                });
            }
            self.lexer.blank();
            if !self.lexer.symbol(",") {
                return Ok(());
            }
        }
    }

    /// `val(field)`, or a field with transformers.
    pub(super) fn other_field(&mut self) -> Result<Option<Field>> {
        let place = self.lexer.place();
        if self.lexer.call("val") {
            self.lexer.blank();
            let inner = self.lexer.place();
            let Some(name) = self.lexer.field_name().map(str::to_owned) else {
                let found = self.lexer.next_word();
                return Err(self.lexer.problem(format!("expected a field inside `val(…)`, found {found}")));
            };
            let field = self.field_rest(name, inner)?;
            self.close("val")?;
            return Ok(Some(Field { place, ..field }));
        }
        let Some(_) = TRANSFORMERS.iter().find(|name| self.lexer.is_call(name)) else { return Ok(None) };
        self.field_or_transformer()
    }
}

/// What is wrong with a name before a parenthesis.
pub(super) fn not_a_transformer(name: &str) -> String {
    match nearest(name, TRANSFORMERS.iter().copied()) {
        Some(other) => format!("`{name}` is no transformer: did you mean `{other}`?"),
        None if name == "val" => "`val(…)` stands right of an operator only".to_owned(),
        None => format!("`{name}` is no transformer: one of {}", TRANSFORMERS.join(" ")),
    }
}
