//! Bytes that somebody else chose, as text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// UTF-8 as it is, each other byte as `\xNN`.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_spelt_out() {
        assert_eq!(lossy("a\u{e9}\n".as_bytes()), "a\u{e9}\n");
        assert_eq!(lossy(b"a\xff\xc3b\xe2\x82"), "a\\xff\\xc3b\\xe2\\x82");
        assert_eq!(lossy(b""), "");
    }
}
