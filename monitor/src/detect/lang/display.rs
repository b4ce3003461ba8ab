//! Rules as text: what `Display` writes of a condition is a condition again, and means the same.

use std::fmt::{self, Display, Formatter, Write as _};

use super::ast::{Action, Check, Diagnostic, Expr, Field, Operand, Operator, Place, Priority};
use super::lex::{is_argument, is_bare};

impl Operator {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::In,
        Self::Intersects,
        Self::Pmatch,
        Self::Contains,
        Self::IContains,
        Self::BContains,
        Self::StartsWith,
        Self::BStartsWith,
        Self::EndsWith,
        Self::Glob,
        Self::IGlob,
        Self::Regex,
        Self::Exists,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Intersects => "intersects",
            Self::Pmatch => "pmatch",
            Self::Contains => "contains",
            Self::IContains => "icontains",
            Self::BContains => "bcontains",
            Self::StartsWith => "startswith",
            Self::BStartsWith => "bstartswith",
            Self::EndsWith => "endswith",
            Self::Glob => "glob",
            Self::IGlob => "iglob",
            Self::Regex => "regex",
            Self::Exists => "exists",
        }
    }

    /// Whether any number of values stands right of it.
    pub fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::Intersects | Self::Pmatch)
    }

    fn takes_number(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: &[Self] = &[
        Self::Emergency,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Informational,
        Self::Debug,
    ];

    /// As Falco writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emergency => "Emergency",
            Self::Alert => "Alert",
            Self::Critical => "Critical",
            Self::Error => "Error",
            Self::Warning => "Warning",
            Self::Notice => "Notice",
            Self::Informational => "Informational",
            Self::Debug => "Debug",
        }
    }
}

impl Display for Priority {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl Display for Operator {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl Display for Place {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl Display for Diagnostic {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let kind = if self.error { "error" } else { "warning" };
        write!(out, "{}: {kind}: ", self.place)?;
        if let Some(item) = &self.item {
            write!(out, "{item}: ")?;
        }
        out.write_str(&self.message)
    }
}

impl Display for Action {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => out.write_str("kill"),
            Self::Stop => out.write_str("stop"),
            Self::Freeze => out.write_str("freeze"),
            Self::Run(command) => write!(out, "run {}", command.join(" ")),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => joined(out, parts, " and "),
            Self::Or(parts) => joined(out, parts, " or "),
            Self::Not(inner) => {
                out.write_str("not ")?;
                match **inner {
                    // `not not` would be read as nothing at all.
                    Self::Not(_) => write!(out, "({inner})"),
                    _ => operand(out, inner),
                }
            }
            Self::Check(check) => check.fmt(out),
        }
    }
}

fn joined(out: &mut Formatter<'_>, parts: &[Expr], between: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.write_str(between)?;
        }
        operand(out, part)?;
    }
    Ok(())
}

fn operand(out: &mut Formatter<'_>, part: &Expr) -> fmt::Result {
    match part {
        Expr::And(_) | Expr::Or(_) => write!(out, "({part})"),
        Expr::Not(_) | Expr::Check(_) => part.fmt(out),
    }
}

impl Display for Check {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.field, self.operator)?;
        if let ([Operand::Field(field)], true) = (self.values.as_slice(), self.operator.takes_list()) {
            return write!(out, " {}", Right(field));
        }
        if self.operator.takes_list() {
            out.write_str(" (")?;
            for (index, value) in self.values.iter().enumerate() {
                if index > 0 {
                    out.write_str(", ")?;
                }
                right(out, value)?;
            }
            return out.write_char(')');
        }
        for value in &self.values {
            out.write_char(' ')?;
            match value {
                Operand::Text(text, _) if self.operator.takes_number() => out.write_str(text)?,
                _ => right(out, value)?,
            }
        }
        Ok(())
    }
}

fn right(out: &mut Formatter<'_>, value: &Operand) -> fmt::Result {
    match value {
        Operand::Text(text, _) => quoted(out, text, is_bare),
        Operand::Field(field) => write!(out, "{}", Right(field)),
    }
}

/// A field right of an operator.
struct Right<'a>(&'a Field);

impl Display for Right<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let plain = self.0.transformers.is_empty() && self.0.parts.is_empty();
        if plain { write!(out, "val({})", self.0) } else { self.0.fmt(out) }
    }
}

/// Text, in quotes when it would be something else without them.
fn quoted(out: &mut Formatter<'_>, text: &str, is_plain: fn(char) -> bool) -> fmt::Result {
    if !text.is_empty() && text.chars().all(is_plain) {
        return out.write_str(text);
    }
    always_quoted(out, text)
}

fn always_quoted(out: &mut Formatter<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            _ => out.write_char(character)?,
        }
    }
    out.write_char('"')
}

impl Display for Field {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for transformer in self.transformers.iter().rev() {
            write!(out, "{transformer}(")?;
        }
        out.write_str(&self.name)?;
        if let Some(argument) = &self.argument {
            out.write_char('[')?;
            quoted(out, argument, is_argument)?;
            out.write_char(']')?;
        }
        if !self.parts.is_empty() {
            out.write_char('(')?;
            for (index, part) in self.parts.iter().enumerate() {
                match (index, self.name.as_str()) {
                    (0, _) => {}
                    (1, "join") => out.write_str(", (")?,
                    _ => out.write_str(", ")?,
                }
                match part {
                    Operand::Text(text, _) => always_quoted(out, text)?,
                    Operand::Field(field) => field.fmt(out)?,
                }
            }
            out.write_str(if self.name == "join" { "))" } else { ")" })?;
        }
        for _ in &self.transformers {
            out.write_char(')')?;
        }
        Ok(())
    }
}
