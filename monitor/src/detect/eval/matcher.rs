//! What is right of a field: checked once when rules are loaded, in the form that is compared fastest.

use std::collections::HashSet;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use regex::bytes::{Regex, RegexBuilder};

use super::value::{Value, Values};
use crate::detect::lang::ast::Operator;

/// A set of texts. It is made by whoever writes rules, so that the fast hash is good enough.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    set: HashSet<Box<[u8]>, FixedState>,
    /// Which lengths there are: bit `N` for `N` bytes, the last for all that are longer. Most texts are told apart by that.
    lengths: u64,
}

impl Texts {
    /// Whether the text is in it.
    pub(super) fn contains(&self, text: &[u8]) -> bool {
        self.lengths >> text.len().min(63) & 1 == 1 && self.set.contains(text)
    }

    fn insert(&mut self, text: Box<[u8]>) {
        self.lengths |= 1 << text.len().min(63);
        self.set.insert(text);
    }
}

impl FromIterator<Box<[u8]>> for Texts {
    fn from_iter<I: IntoIterator<Item = Box<[u8]>>>(texts: I) -> Self {
        let mut made = Self::default();
        texts.into_iter().for_each(|text| made.insert(text));
        made
    }
}

/// How numbers and texts are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    /// Of an operator that orders.
    pub fn of(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Less => Self::Less,
            Operator::LessOrEqual => Self::LessOrEqual,
            Operator::Greater => Self::Greater,
            Operator::GreaterOrEqual => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// Whether left and right are in this order.
    pub fn holds<T: PartialOrd + ?Sized>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// A network: all addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    address: IpAddr,
    bits: u8,
}

impl Net {
    /// `10.0.0.0/8`, or an address alone.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether the address lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Paths of which one has to be the beginning of a path, component by component.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    exact: Texts,
    globs: Vec<Regex>,
}

impl Paths {
    /// From the operands of `pmatch`.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub fn new<'t>(paths: impl Iterator<Item = &'t str>) -> Result<Self, String> {
        let mut made = Self::default();
        for path in paths {
            let path = path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path);
            if path.contains(['*', '?', '[']) {
                made.globs.push(glob(path, false, true)?);
            } else {
                made.exact.insert(path.as_bytes().into());
            }
        }
        Ok(made)
    }

    fn matches(&self, path: &[u8]) -> bool {
        if self.exact.contains(b"/") && path.starts_with(b"/") {
            return true;
        }
        let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([path.len()]).any(|end| {
            let part = &path[..end];
            self.exact.contains(part) || self.globs.iter().any(|glob| glob.is_match(part))
        })
    }
}

/// The right side of a comparison.
#[derive(Clone, Debug)]
pub enum Matcher {
    Exists,
    Text(Box<[u8]>),
    Texts(Texts),
    TextOrder(Order, Box<[u8]>),
    StartsWith(Box<[u8]>),
    EndsWith(Box<[u8]>),
    Contains(Box<memchr::memmem::Finder<'static>>),
    /// Is answered by the automaton of all literals of the field.
    Group(usize),
    /// A shell pattern: what it begins with before the first wildcard, and all of it.
    Glob(Box<[u8]>, Box<Regex>),
    Regex(Box<Regex>),
    Paths(Paths),
    Number(i64),
    Numbers(Vec<i64>),
    NumberOrder(Order, i64),
    Bool(bool),
    Bools(Vec<bool>),
    Nets(Vec<Net>),
    /// Another field has a value that is equal.
    Same(Vec<usize>),
    /// Another field has a value in this order.
    SameOrder(Order, usize),
    /// Another field has a value that this one begins with.
    SameStart(usize),
}

impl Matcher {
    /// Roughly nanoseconds.
    pub fn cost(&self) -> u32 {
        match self {
            Self::Exists | Self::Number(_) | Self::Bool(_) | Self::NumberOrder(..) | Self::Bools(_) => 1,
            Self::Text(_) | Self::StartsWith(_) | Self::EndsWith(_) | Self::TextOrder(..) | Self::Numbers(_) => 3,
            Self::Nets(nets) => 3 + nets.len() as u32,
            Self::Texts(_) => 10,
            Self::Contains(_) => 30,
            Self::Group(_) => 50,
            Self::Paths(_) => 40,
            Self::Same(_) | Self::SameOrder(..) | Self::SameStart(_) => 20,
            Self::Glob(start, _) if !start.is_empty() => 30,
            Self::Glob(..) | Self::Regex(_) => 150,
        }
    }

    /// Whether one value fits. Those that look at other fields, and groups, are no business of one value.
    pub fn fits(&self, value: &Value<'_>, values: &Values<'_>) -> bool {
        match self {
            Self::Exists => true,
            Self::Number(number) => number_of(value, values).is_some_and(|value| value == *number),
            Self::Numbers(numbers) => {
                number_of(value, values).is_some_and(|value| numbers.binary_search(&value).is_ok())
            }
            Self::NumberOrder(order, number) => {
                number_of(value, values).is_some_and(|value| order.holds(&value, number))
            }
            Self::Bool(bool) => matches!(value, Value::Bool(value) if value == bool),
            Self::Bools(bools) => matches!(value, Value::Bool(value) if bools.contains(value)),
            Self::Nets(nets) => matches!(value, Value::Ip(ip) if nets.iter().any(|net| net.contains(*ip))),
            Self::Group(_) | Self::Same(_) | Self::SameOrder(..) | Self::SameStart(_) => false,
            _ => values.text_of(value).is_some_and(|text| self.fits_text(text)),
        }
    }

    /// Whether a text fits.
    pub fn fits_text(&self, text: &[u8]) -> bool {
        match self {
            Self::Text(wanted) => **wanted == *text,
            Self::Texts(wanted) => wanted.contains(text),
            Self::TextOrder(order, wanted) => order.holds(text, wanted),
            Self::StartsWith(wanted) => text.starts_with(wanted),
            Self::EndsWith(wanted) => text.ends_with(wanted),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::Glob(start, regex) => text.starts_with(start) && regex.is_match(text),
            Self::Regex(regex) => regex.is_match(text),
            Self::Paths(paths) => paths.matches(text),
            Self::Exists => true,
            _ => false,
        }
    }
}

/// The number, also of one that a raw argument has as text.
fn number_of(value: &Value<'_>, values: &Values<'_>) -> Option<i64> {
    match value {
        Value::Number(number) => Some(*number),
        _ => std::str::from_utf8(values.text_of(value)?).ok()?.parse().ok(),
    }
}

/// Most memory of one compiled expression.
const REGEX_BYTES: usize = 4 << 20;

/// An expression that has to fit the whole text, as Falco's do. Bytes that are no UTF-8 are characters too: nobody hides
/// behind them.
///
/// # Errors
/// What is wrong with it.
pub(super) fn whole_regex(pattern: &str) -> Result<Regex, String> {
    let whole = format!(r"\A(?:{pattern})\z");
    let build = |unicode| RegexBuilder::new(&whole).unicode(unicode).size_limit(REGEX_BYTES).build();
    build(false).or_else(|_| build(true)).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("takes more than {} MiB when compiled", REGEX_BYTES >> 20),
        // The last line says what is wrong; those before it draw the place in our longer pattern.
        other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

/// A shell pattern as fnmatch(3) without flags takes it, in which `*` takes slashes too; with `components` it does not.
///
/// # Errors
/// What is wrong with it.
pub(super) fn glob(pattern: &str, fold_case: bool, components: bool) -> Result<Regex, String> {
    let any = if components { "[^/]" } else { "." };
    let mut regex = String::from(if fold_case { r"(?is-u)\A" } else { r"(?s-u)\A" });
    let mut rest = pattern.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '*' => regex.extend([any, "*"]),
            '?' => regex.push_str(any),
            '[' => class(&mut rest, &mut regex)?,
            '\\' => push_escaped(rest.next().unwrap_or('\\'), &mut regex),
            _ => push_escaped(letter, &mut regex),
        }
    }
    regex.push_str(r"\z");
    RegexBuilder::new(&regex).size_limit(REGEX_BYTES).build().map_err(|error| error.to_string())
}

fn push_escaped(letter: char, regex: &mut String) {
    regex.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
}

/// `[abc]`, `[!a-z]`, `[[:digit:]]`.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, regex: &mut String) -> Result<(), String> {
    regex.push('[');
    if rest.next_if(|letter| matches!(letter, '!' | '^')).is_some() {
        regex.push('^');
    }
    let mut first = true;
    loop {
        match rest.next() {
            None => return Err("has `[` without `]`; write `\\[` for the character".to_owned()),
            Some(']') if !first => break,
            Some('[') if rest.peek() == Some(&':') => {
                regex.push('[');
                for letter in rest.by_ref() {
                    regex.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            Some('-') => regex.push('-'),
            Some(letter) => push_escaped(letter, regex),
        }
        first = false;
    }
    regex.push(']');
    Ok(())
}
