//! Activities as the daemon logs them at level debug: Rust's own notation for values, read back.

use std::{iter::Peekable, str::Chars};

use serde_json::{Map, Value};

use crate::{DEADLINE, Daemon, until};

/// What precedes the value in the daemon's log.
const MARK: &str = "activity activity=";

/// One activity.
#[derive(Clone, Debug, PartialEq)]
pub struct Told(Value);

impl Told {
    /// A field by its path, such as `/socket/peer_port`.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn at(&self, path: &str) -> &Value {
        self.0.pointer(path).unwrap_or_else(|| panic!("no {path} in {}", self.0))
    }

    /// A field that is a number.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn number(&self, path: &str) -> i64 {
        let value = self.at(path);
        let number = value.as_i64().or_else(|| value.as_u64().map(u64::cast_signed));
        number.unwrap_or_else(|| panic!("{path} is {value}"))
    }

    /// A field that is text, or bytes that are.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        match self.at(path) {
            Value::String(text) => text.clone(),
            Value::Array(bytes) => {
                let bytes = bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()));
                let bytes: Vec<u8> = bytes.collect::<Option<_>>().unwrap_or_else(|| panic!("{path}: no bytes"));
                String::from_utf8_lossy(&bytes).into_owned()
            }
            other => panic!("{path} is {other}"),
        }
    }

    /// The first bytes of a field, such as an address.
    ///
    /// # Panics
    /// When they are none.
    #[track_caller]
    pub fn bytes<const N: usize>(&self, path: &str) -> [u8; N] {
        let bytes = self.at(path).as_array().unwrap_or_else(|| panic!("{path} is no list"));
        std::array::from_fn(|index| bytes.get(index).and_then(Value::as_u64).expect("a byte") as u8)
    }

    /// Name of the system call.
    pub fn call(&self) -> String {
        self.text("/call")
    }

    /// What it returned.
    pub fn result(&self) -> i64 {
        self.number("/result")
    }
}

impl Daemon {
    /// The activities of a process, in order, as soon as `enough` says that they are all there.
    ///
    /// # Panics
    /// When that does not come.
    pub fn told(&self, pid: u32, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let own = format!("tgid: {pid}, reserved: 0 }}, tid: ");
        until(DEADLINE, || {
            let log = self.log();
            let lines =
                log.lines().filter_map(|line| Some(line.split_once(MARK)?.1)).filter(|line| line.contains(&own));
            let mut told: Vec<Told> = lines.map(|line| Told(parse(line))).collect();
            told.sort_by_key(|told| told.number("/time_ns"));
            if enough(&told) { Ok(told) } else { Err(format!("{} so far: {told:#?}", told.len())) }
        })
    }
}

/// Reads a value as `{:?}` writes it. What is none is null, what is some thing is that thing.
fn parse(text: &str) -> Value {
    value(&mut text.chars().peekable())
}

fn value(text: &mut Peekable<Chars<'_>>) -> Value {
    skip(text);
    match text.peek() {
        Some('[') => Value::Array(several(text, ']', value)),
        Some('"') => string(text),
        Some('{') => {
            let fields = several(text, '}', |text| {
                let name = word(text);
                skip(text);
                assert_eq!(text.next(), Some(':'), "after {name}");
                (name, value(text))
            });
            Value::Object(fields.into_iter().collect::<Map<_, _>>())
        }
        _ => {
            let name = word(text);
            skip(text);
            match text.peek() {
                Some('{') => value(text),
                Some('(') => several(text, ')', value).into_iter().next().unwrap_or(Value::Null),
                _ if name == "None" => Value::Null,
                _ => serde_json::from_str(&name).unwrap_or(Value::String(name)),
            }
        }
    }
}

fn several<T>(text: &mut Peekable<Chars<'_>>, end: char, one: impl Fn(&mut Peekable<Chars<'_>>) -> T) -> Vec<T> {
    text.next();
    let mut all = Vec::new();
    loop {
        skip(text);
        match text.peek() {
            Some(found) if *found == end => {
                text.next();
                return all;
            }
            Some(',') => drop(text.next()),
            Some(_) => all.push(one(text)),
            None => panic!("no {end}"),
        }
    }
}

fn string(text: &mut Peekable<Chars<'_>>) -> Value {
    text.next();
    Value::String(text.take_while(|character| *character != '"').collect())
}

fn word(text: &mut Peekable<Chars<'_>>) -> String {
    skip(text);
    let mut word = String::new();
    while let Some(character) = text.next_if(|character| character.is_alphanumeric() || "_-".contains(*character)) {
        word.push(character);
    }
    assert!(!word.is_empty(), "no word before {:?}", text.peek());
    word
}

fn skip(text: &mut Peekable<Chars<'_>>) {
    while text.next_if_eq(&' ').is_some() {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let text = r#"A { b: Some(C { d: [1, -2], e: None }), f: "g", h: I }"#;
        assert_eq!(parse(text), json!({ "b": { "d": [1, -2], "e": null }, "f": "g", "h": "I" }));
    }
}
