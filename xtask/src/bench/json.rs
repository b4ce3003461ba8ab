//! Numbers as JSON, with nothing but what is needed of it: xtask has one dependency.

use std::fmt::Write as _;

use super::statistics::Quartiles;

/// An object of members that are JSON already.
pub(super) fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> = members.into_iter().map(|(name, value)| format!("{}:{value}", string(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// An array of values that are JSON already.
pub(super) fn array(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

pub(super) fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            character if character.is_control() => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            character => json.push(character),
        }
    }
    json + "\""
}

/// A number; `null` for what JSON has no number for.
pub(super) fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() }
}

pub(super) fn quartiles(value: Option<Quartiles>) -> String {
    value.map_or("null".to_owned(), |Quartiles { low, median, high }| {
        object([("low", number(low)), ("median", number(median)), ("high", number(high))])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_stay_strings_and_numbers_numbers() {
        assert_eq!(string("AMD \"x\"\\\n"), r#""AMD \"x\"\\\u000a""#);
        assert_eq!((number(1.5), number(f64::NAN)), ("1.5000".to_owned(), "null".to_owned()));
        let text = object([("a", number(1.0)), ("b", array([string("c"), quartiles(None)]))]);
        assert_eq!(text, r#"{"a":1.0000,"b":["c",null]}"#);
    }
}
