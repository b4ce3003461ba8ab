//! Transformers: what a rule does with a value before it compares it.

use super::fields::basename;
use super::value::{Type, Value, Values, made};

/// A transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transformer {
    /// Letters of ASCII in lower case.
    Lower,
    /// … in upper case.
    Upper,
    /// What base64 stands for; nothing when it is no base64.
    Base64,
    /// What comes after the last slash.
    Basename,
    /// The number of bytes; of several values their number.
    Length,
    /// Nothing: Falco keeps a copy.
    Storage,
}

/// All names, for messages.
pub(super) const NAMES: &[(&str, Transformer)] = &[
    ("tolower", Transformer::Lower),
    ("toupper", Transformer::Upper),
    ("b64", Transformer::Base64),
    ("basename", Transformer::Basename),
    ("len", Transformer::Length),
    ("storage", Transformer::Storage),
];

impl Transformer {
    /// By its name.
    pub fn find(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, transformer)| *transformer)
    }

    /// The type of the result; None: it does not take this type.
    pub fn result(self, kind: Type, several: bool) -> Option<Type> {
        match (self, kind) {
            (Self::Storage, _) => Some(kind),
            (Self::Length, Type::Text) => Some(Type::Number),
            (Self::Length, _) if several => Some(Type::Number),
            (Self::Lower | Self::Upper | Self::Base64 | Self::Basename, Type::Text) => Some(Type::Text),
            _ => None,
        }
    }

    /// Adds the value of `value`.
    pub fn push<'a>(self, value: Value<'a>, values: &mut Values<'a>) {
        if self == Self::Storage {
            return values.list.push(value);
        }
        if self == Self::Length {
            let length = values.text_of(&value).map_or(0, <[u8]>::len);
            return values.number(length);
        }
        if self == Self::Basename {
            return values.list.push(match value {
                Value::Bytes(bytes) => Value::Bytes(basename(bytes)),
                Value::Made { start, length } => {
                    let kept = basename(made(&values.text, start, length)).len() as u32;
                    Value::Made { start: start + length - kept, length: kept }
                }
                other => other,
            });
        }
        let start = values.text.len();
        values.append(value);
        let copy = &mut values.text[start..];
        match self {
            Self::Lower => copy.make_ascii_lowercase(),
            Self::Upper => copy.make_ascii_uppercase(),
            _ => match decode(copy) {
                Some(length) => values.text.truncate(start + length),
                None => return values.text.truncate(start),
            },
        }
        values.made_from(start);
    }
}

/// Decodes base64 in place. Returns the length of the result; None: it is none.
fn decode(text: &mut [u8]) -> Option<usize> {
    let digits = text.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    if digits % 4 == 1 || text.len() - digits > 2 {
        return None;
    }
    let (mut bits, mut count, mut length) = (0_u32, 0, 0);
    for at in 0..digits {
        let digit = match text[at] {
            letter @ b'A'..=b'Z' => letter - b'A',
            letter @ b'a'..=b'z' => letter - b'a' + 26,
            digit @ b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            // Never overtakes what is read: three bytes come of four digits.
            text[length] = (bits >> count) as u8;
            length += 1;
        }
    }
    Some(length)
}
