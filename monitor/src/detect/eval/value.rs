//! Values of fields, and the memory they live in while one event is judged. Values borrow from the event and from what is
//! known beside it; text that has to be put together (a command line) goes into one buffer that is kept between events.

use std::net::IpAddr;

/// What kind of value a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Bytes, most often text.
    Text,
    /// A whole number: ids, ports, nanoseconds.
    Number,
    /// True or false.
    Bool,
    /// An IP address.
    Ip,
    /// An IP address that is compared with networks.
    Net,
}

impl Type {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Bool => "true or false",
            Self::Ip => "IP address",
            Self::Net => "IP network",
        }
    }
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text of the event, or of what is known beside it.
    Bytes(&'a [u8]),
    /// Text in [`Values::text`].
    Made {
        /// Where it begins.
        start: u32,
        /// Its length.
        length: u32,
    },
    /// A number.
    Number(i64),
    /// True or false.
    Bool(bool),
    /// An address.
    Ip(IpAddr),
}

/// Values of one event, those of each field one behind the other.
#[derive(Debug, Default)]
pub struct Values<'a> {
    /// All of them.
    pub list: Vec<Value<'a>>,
    /// Text that was put together.
    pub text: Vec<u8>,
}

impl<'a> Values<'a> {
    /// Adds text that stays where it is.
    pub fn bytes(&mut self, bytes: &'a [u8]) {
        self.list.push(Value::Bytes(bytes));
    }

    /// Adds text if there is any; an empty one means that it is not known.
    pub fn known(&mut self, bytes: &'a [u8]) {
        if !bytes.is_empty() {
            self.bytes(bytes);
        }
    }

    /// Adds a number.
    pub fn number(&mut self, number: impl TryInto<i64>) {
        self.list.push(Value::Number(number.try_into().unwrap_or(i64::MAX)));
    }

    /// Adds true or false.
    pub fn bool(&mut self, bool: bool) {
        self.list.push(Value::Bool(bool));
    }

    /// Adds an address.
    pub fn ip(&mut self, ip: IpAddr) {
        self.list.push(Value::Ip(ip));
    }

    /// Adds text that `write` appends to the buffer.
    pub fn made(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.made_from(start);
    }

    /// Adds what was appended to the buffer since it had this length.
    pub fn made_from(&mut self, start: usize) {
        let length = self.text.len().saturating_sub(start);
        // Nothing is as long as 4 GiB: paths and arguments are bounded by the records.
        let (start, length) = (start.try_into().unwrap_or(u32::MAX), length.try_into().unwrap_or(0));
        self.list.push(Value::Made { start, length });
    }

    /// The bytes of a text; None of any other value.
    pub fn text_of<'v>(&'v self, value: &Value<'a>) -> Option<&'v [u8]>
    where
        'a: 'v,
    {
        match *value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Made { start, length } => Some(made(&self.text, start, length)),
            Value::Number(_) | Value::Bool(_) | Value::Ip(_) => None,
        }
    }

    /// Appends the value to the buffer, as people read it.
    pub fn append(&mut self, value: Value<'a>) {
        match value {
            Value::Made { start, length } => {
                let (start, end) = (start as usize, start as usize + length as usize);
                self.text.extend_from_within(start..end.min(self.text.len()));
            }
            value => {
                let mut text = std::mem::take(&mut self.text);
                self.write(&value, &mut text);
                self.text = text;
            }
        }
    }

    /// Appends the value as people read it.
    pub fn write(&self, value: &Value<'a>, out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing to a Vec does not fail.
        let _ = match *value {
            Value::Bytes(_) | Value::Made { .. } => out.write_all(self.text_of(value).unwrap_or_default()),
            Value::Number(number) => out.write_all(itoa::Buffer::new().format(number).as_bytes()),
            Value::Bool(bool) => out.write_all(if bool { b"true" } else { b"false" }),
            Value::Ip(ip) => write!(out, "{ip}"),
        };
    }

    /// The same memory, empty, for another event.
    pub fn recycle<'b>(self) -> Values<'b> {
        let (mut list, mut text) = (self.list, self.text);
        list.clear();
        text.clear();
        // Collecting in place: an empty list keeps its memory and loses its lifetime.
        Values { list: list.into_iter().map(|_| Value::Bool(false)).collect(), text }
    }
}

/// Text in a buffer.
pub(super) fn made(text: &[u8], start: u32, length: u32) -> &[u8] {
    let start = start as usize;
    text.get(start..start + length as usize).unwrap_or_default()
}
