//! One value of a Sigma selection as a comparison.

use std::net::IpAddr;

use rsigma_parser::{Modifier, SigmaString, SigmaValue, SpecialChar, StringPart};

use super::encode;
use super::fields::{self, Known, Type};
use super::logsource::Category;
use super::pattern::{Shape, glob, network_of, simplified};
use crate::detect::lang::ast::{Check, Expr, Field, Operand, Operator, Place};
use crate::detect::lang::expand::{and, or};

/// What is asked of a field, and where it stands.
pub(super) struct Asked<'a> {
    pub(super) category: Category,
    pub(super) field: &'a Known,
    pub(super) modifiers: &'a [Modifier],
    pub(super) place: Place,
}

type Result<T> = std::result::Result<T, String>;

/// A comparison of a field as it is.
pub(super) fn check(name: &str, operator: Operator, values: Vec<Operand>, place: &Place) -> Expr {
    Expr::Check(Check { field: field(name, false, place), operator, values, place: place.clone() })
}

fn field(name: &str, lower: bool, place: &Place) -> Field {
    let transformers = if lower { vec!["tolower".to_owned()] } else { Vec::new() };
    Field { name: name.to_owned(), argument: None, transformers, parts: Vec::new(), place: place.clone() }
}

impl Asked<'_> {
    fn has(&self, modifier: Modifier) -> bool {
        self.modifiers.contains(&modifier)
    }

    fn text(&self, text: impl Into<String>, at: &Place) -> Operand {
        Operand::Text(text.into(), at.clone())
    }

    fn is(&self, operator: Operator, text: impl Into<String>, at: &Place) -> Expr {
        check(self.field.name, operator, vec![self.text(text, at)], &self.place)
    }

    /// The comparison with this value, which stands at `at`.
    pub(super) fn compare(&self, value: &SigmaValue, at: &Place) -> Result<Expr> {
        for modifier in self.modifiers {
            use Modifier::{Day, Hour, Minute, Month, Week, Year};
            if matches!(modifier, Minute | Hour | Day | Week | Month | Year) {
                return Err("asks for a part of a time, which no field here is".to_owned());
            }
        }
        if self.has(Modifier::Exists) {
            return self.exists(value);
        }
        if matches!(value, SigmaValue::Null) {
            return Ok(self.is_empty());
        }
        if let Some(operator) = self.order() {
            let number = self.number(value)?;
            return Ok(self.is(operator, number, at));
        }
        let expr = match self.field.kind {
            Type::Initiated => self.initiated(value)?,
            Type::Number if !self.has(Modifier::FieldRef) => {
                self.only(&[Modifier::All, Modifier::Neq, Modifier::Cased])?;
                self.is(Operator::Equal, self.number(value)?, at)
            }
            Type::Address(network) => self.address(value, network, at)?,
            Type::Number | Type::Text => self.texts(value, at)?,
        };
        Ok(if self.has(Modifier::Neq) { Expr::Not(Box::new(expr)) } else { expr })
    }

    fn only(&self, allowed: &[Modifier]) -> Result<()> {
        match self.modifiers.iter().find(|modifier| !allowed.contains(modifier)) {
            Some(modifier) => {
                let name = format!("{modifier:?}").to_lowercase();
                Err(format!("`{name}` does not go with `{}`", self.field.sigma))
            }
            None => Ok(()),
        }
    }

    fn exists(&self, value: &SigmaValue) -> Result<Expr> {
        let there = check(self.field.name, Operator::Exists, Vec::new(), &self.place);
        match truth(value) {
            Some(true) => Ok(there),
            Some(false) => Ok(Expr::Not(Box::new(there))),
            None => Err("`exists` is true or false".to_owned()),
        }
    }

    fn is_empty(&self) -> Expr {
        let there = check(self.field.name, Operator::Exists, Vec::new(), &self.place);
        let missing = Expr::Not(Box::new(there));
        if self.field.kind == Type::Text {
            or(vec![missing, self.is(Operator::Equal, "", &self.place)])
        } else {
            missing
        }
    }

    fn order(&self) -> Option<Operator> {
        self.modifiers.iter().find_map(|modifier| match modifier {
            Modifier::Gt => Some(Operator::Greater),
            Modifier::Gte => Some(Operator::GreaterOrEqual),
            Modifier::Lt => Some(Operator::Less),
            Modifier::Lte => Some(Operator::LessOrEqual),
            _ => None,
        })
    }

    fn number(&self, value: &SigmaValue) -> Result<String> {
        if self.field.kind != Type::Number {
            return Err(format!("`{}` is no number", self.field.sigma));
        }
        let number = match value {
            SigmaValue::Integer(number) => Some(*number),
            SigmaValue::String(text) => text.as_plain().and_then(|text| text.trim().parse().ok()),
            SigmaValue::Float(_) | SigmaValue::Bool(_) | SigmaValue::Null => None,
        };
        number.map(|number| number.to_string()).ok_or_else(|| format!("`{}` is a whole number", self.field.sigma))
    }

    fn initiated(&self, value: &SigmaValue) -> Result<Expr> {
        self.only(&[Modifier::Neq])?;
        let operands = |calls: &[&str]| calls.iter().map(|call| self.text(*call, &self.place)).collect();
        match truth(value) {
            Some(true) => Ok(check(self.field.name, Operator::Equal, operands(&["connect"]), &self.place)),
            Some(false) => Ok(check(self.field.name, Operator::In, operands(&["accept", "accept4"]), &self.place)),
            None => Err("`Initiated` is true or false".to_owned()),
        }
    }

    fn address(&self, value: &SigmaValue, network: &str, at: &Place) -> Result<Expr> {
        use Modifier::{All, Cidr, Neq, StartsWith};
        self.only(&[All, Cidr, Neq, StartsWith])?;
        let SigmaValue::String(text) = value else { return Err(format!("`{}` is an address", self.field.sigma)) };
        // `10.*` and `10.` with `startswith` are the same.
        let prefix = match text.parts.as_slice() {
            [StringPart::Plain(prefix), StringPart::Special(SpecialChar::WildcardMulti)] => Some(prefix.clone()),
            _ if self.has(StartsWith) => text.as_plain(),
            _ => None,
        };
        let text = match (prefix, text.as_plain()) {
            (Some(prefix), _) => network_of(&prefix)
                .ok_or_else(|| format!("`{prefix}` begins no network: give whole numbers with dots, or use `cidr`"))?,
            (None, Some(text)) => text,
            (None, None) => return Err("an address cannot be compared with this pattern: use `cidr`".to_owned()),
        };
        if let Some((address, bits)) = text.split_once('/') {
            let most = match address.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return Err(format!("`{text}` is no network")),
            };
            if bits.parse::<u8>().is_ok_and(|bits| bits <= most) {
                return Ok(check(network, Operator::In, vec![self.text(text, at)], &self.place));
            }
            return Err(format!("`{text}` is no network"));
        }
        match text.parse::<IpAddr>() {
            Ok(_) => Ok(self.is(Operator::Equal, text, at)),
            Err(_) => Err(format!("`{text}` is no address")),
        }
    }

    /// Text: with what the modifiers make of it.
    fn texts(&self, value: &SigmaValue, at: &Place) -> Result<Expr> {
        let text = match value {
            SigmaValue::String(text) => text.clone(),
            SigmaValue::Integer(number) => SigmaString::from_raw(&number.to_string()),
            SigmaValue::Float(number) => SigmaString::from_raw(&number.to_string()),
            SigmaValue::Bool(truth) => SigmaString::from_raw(&truth.to_string()),
            SigmaValue::Null => return Ok(self.is_empty()),
        };
        if self.has(Modifier::Cidr) {
            return Err(format!("`{}` is no address", self.field.sigma));
        }
        if self.has(Modifier::FieldRef) {
            return self.reference(&text);
        }
        if self.has(Modifier::Re) {
            return Ok(self.is(Operator::Regex, self.regex(&text.original), at));
        }
        if self.has(Modifier::Expand) && text.original.split('%').nth(2).is_some() {
            return Err(format!("the placeholder in `{}` stands for nothing here", text.original));
        }
        let shape = self.shape();
        let alternatives = self.encoded(text)?;
        Ok(or(alternatives.iter().map(|text| self.matches(shape, text, at)).collect()))
    }

    fn shape(&self) -> Shape {
        if self.has(Modifier::Contains) {
            Shape::Contains
        } else if self.has(Modifier::StartsWith) {
            Shape::Starts
        } else if self.has(Modifier::EndsWith) {
            Shape::Ends
        } else {
            Shape::Whole
        }
    }

    /// `re` finds its pattern anywhere, our operator matches the whole text.
    fn regex(&self, pattern: &str) -> String {
        let flag = |modifier, name| if self.has(modifier) { name } else { "" };
        let flags =
            [flag(Modifier::IgnoreCase, "i"), flag(Modifier::Multiline, "m"), flag(Modifier::DotAll, "s")].concat();
        format!("(?s:.*)(?{flags}:{pattern})(?s:.*)")
    }

    /// Both in lower case, unless told otherwise.
    fn reference(&self, text: &SigmaString) -> Result<Expr> {
        let other = fields::find(self.category, &text.original)?;
        if other.kind != self.field.kind || !matches!(other.kind, Type::Text | Type::Number) {
            return Err(format!("`{}` and `{}` cannot be compared", self.field.sigma, other.sigma));
        }
        let operator = match self.shape() {
            Shape::Whole => Operator::Equal,
            Shape::Contains => Operator::Contains,
            Shape::Starts => Operator::StartsWith,
            Shape::Ends => Operator::EndsWith,
        };
        let lower = other.kind == Type::Text && !self.has(Modifier::Cased);
        Ok(Expr::Check(Check {
            field: field(self.field.name, lower, &self.place),
            operator,
            values: vec![Operand::Field(field(other.name, lower, &self.place))],
            place: self.place.clone(),
        }))
    }

    /// What is looked for after the encodings.
    fn encoded(&self, text: SigmaString) -> Result<Vec<SigmaString>> {
        enum Value {
            Texts(Vec<SigmaString>),
            Bytes(Vec<u8>),
        }
        let mut value = Value::Texts(vec![text]);
        for modifier in self.modifiers {
            let plain = |value: &Value| match value {
                Value::Bytes(bytes) => Ok(bytes.clone()),
                Value::Texts(texts) => match texts.as_slice() {
                    [text] => text.as_plain().map(String::into_bytes).ok_or("a value with wildcards cannot be encoded"),
                    _ => Err("`windash` comes after encodings"),
                },
            };
            value = match modifier {
                Modifier::Wide | Modifier::Utf16be | Modifier::Utf16 => {
                    let text = String::from_utf8_lossy(&plain(&value)?).into_owned();
                    let mut bytes = if *modifier == Modifier::Utf16 { vec![0xff, 0xfe] } else { Vec::new() };
                    bytes.extend(encode::utf16(&text, *modifier != Modifier::Utf16be));
                    Value::Bytes(bytes)
                }
                Modifier::Base64 => Value::Texts(vec![SigmaString::from_raw(&encode::base64(&plain(&value)?))]),
                Modifier::Base64Offset => {
                    let all = encode::base64_offsets(&plain(&value)?);
                    Value::Texts(all.iter().map(|text| SigmaString::from_raw(text)).collect())
                }
                Modifier::WindAsh => match value {
                    Value::Texts(texts) => Value::Texts(texts.iter().flat_map(encode::windash).collect()),
                    Value::Bytes(_) => return Err("`windash` comes before encodings".to_owned()),
                },
                _ => value,
            };
        }
        match value {
            Value::Texts(texts) => Ok(texts),
            Value::Bytes(_) => {
                Err("two bytes for each character are found in encoded text only: add `base64offset`".to_owned())
            }
        }
    }

    /// Text with wildcards, at its place in the field.
    fn matches(&self, shape: Shape, text: &SigmaString, at: &Place) -> Expr {
        let (shape, parts) = simplified(shape, &text.parts);
        let there = || check(self.field.name, Operator::Exists, Vec::new(), &self.place);
        let cased = self.has(Modifier::Cased);
        let plain = match parts.as_slice() {
            [] => Some(String::new()),
            [StringPart::Plain(text)] => Some(text.clone()),
            _ => None,
        };
        let Some(plain) = plain else {
            let operator = if cased { Operator::Glob } else { Operator::IGlob };
            return self.is(operator, glob(shape, &parts), at);
        };
        match shape {
            Shape::Whole if plain.is_empty() => self.is_empty(),
            _ if plain.is_empty() => there(),
            Shape::Contains if !cased => self.is(Operator::IContains, plain, at),
            Shape::Contains => self.is(Operator::Contains, plain, at),
            Shape::Whole | Shape::Starts | Shape::Ends => {
                let operator = match shape {
                    Shape::Starts => Operator::StartsWith,
                    Shape::Ends => Operator::EndsWith,
                    _ => Operator::Equal,
                };
                let wanted = if cased { plain } else { plain.to_ascii_lowercase() };
                let values = vec![self.text(wanted, at)];
                let field = field(self.field.name, !cased, &self.place);
                Expr::Check(Check { field, operator, values, place: self.place.clone() })
            }
        }
    }
}

/// True and false, also in quotes.
fn truth(value: &SigmaValue) -> Option<bool> {
    match value {
        SigmaValue::Bool(truth) => Some(*truth),
        SigmaValue::String(text) => match text.original.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        },
        SigmaValue::Integer(_) | SigmaValue::Float(_) | SigmaValue::Null => None,
    }
}

/// All of the values or one of them.
pub(super) fn joined(all: bool, parts: Vec<Expr>) -> Expr {
    if all { and(parts) } else { or(together(parts)) }
}

/// Several texts of which the same field has to be one are one list, which is looked up in one step.
fn together(parts: Vec<Expr>) -> Vec<Expr> {
    let mut merged: Vec<Expr> = Vec::with_capacity(parts.len());
    for part in parts {
        if let (Expr::Check(new), Some(Expr::Check(last))) = (&part, merged.last_mut())
            && new.operator == Operator::Equal
            && matches!(last.operator, Operator::Equal | Operator::In)
            && new.field == last.field
        {
            last.operator = Operator::In;
            last.values.extend(new.values.iter().cloned());
            continue;
        }
        merged.push(part);
    }
    merged
}
