//! Patterns of Sigma's in forms that are compared fast.

use std::net::Ipv4Addr;

use rsigma_parser::{SpecialChar, StringPart};

/// Where in the field's text a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Contains,
    Starts,
    Ends,
}

/// `10.` is `10.0.0.0/8`.
pub(super) fn network_of(prefix: &str) -> Option<String> {
    let numbers: Vec<u8> =
        prefix.strip_suffix('.')?.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    if numbers.len() > 3 {
        return None;
    }
    let mut octets = [0; 4];
    octets[..numbers.len()].copy_from_slice(&numbers);
    Some(format!("{}/{}", Ipv4Addr::from(octets), numbers.len() * 8))
}

/// Wildcards at the ends as a shape: `*text*` is `contains`.
pub(super) fn simplified(shape: Shape, parts: &[StringPart]) -> (Shape, Vec<StringPart>) {
    let is_any = |part: Option<&StringPart>| matches!(part, Some(StringPart::Special(SpecialChar::WildcardMulti)));
    let (mut open_start, mut open_end) =
        (matches!(shape, Shape::Contains | Shape::Ends), matches!(shape, Shape::Contains | Shape::Starts));
    let mut rest = parts;
    while is_any(rest.first()) {
        open_start = true;
        rest = &rest[1..];
    }
    while is_any(rest.last()) {
        open_end = true;
        rest = &rest[..rest.len() - 1];
    }
    let shape = match (open_start, open_end) {
        (false, false) => Shape::Whole,
        (false, true) => Shape::Starts,
        (true, false) => Shape::Ends,
        (true, true) => Shape::Contains,
    };
    (shape, rest.to_vec())
}

/// The pattern for `glob`, with its own special characters escaped.
pub(super) fn glob(shape: Shape, parts: &[StringPart]) -> String {
    let mut pattern = String::new();
    if matches!(shape, Shape::Contains | Shape::Ends) {
        pattern.push('*');
    }
    for part in parts {
        match part {
            StringPart::Special(SpecialChar::WildcardMulti) => pattern.push('*'),
            StringPart::Special(SpecialChar::WildcardSingle) => pattern.push('?'),
            StringPart::Plain(text) => {
                for character in text.chars() {
                    if matches!(character, '*' | '?' | '[' | ']' | '\\') {
                        pattern.push('\\');
                    }
                    pattern.push(character);
                }
            }
        }
    }
    if matches!(shape, Shape::Contains | Shape::Starts) {
        pattern.push('*');
    }
    pattern
}
