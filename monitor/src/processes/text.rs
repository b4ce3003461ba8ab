//! Bytes that somebody else chose, as text. Names, paths and arguments on Linux are bytes; nothing says they are UTF-8.

use std::fmt::Write;

/// UTF-8 stays as it is; every byte that is not part of valid UTF-8 becomes `\xNN`. Control characters are kept: JSON
/// escapes them, and a rule must see them.
///
/// A backslash is kept as it is too, so a text may say `\xff` because its bytes did. That loses nothing a reader needs,
/// and paths with backslashes stay readable.
pub fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A short name for a metric label: at most `limit` characters, and no control characters or invalid bytes (each
/// becomes U+FFFD), because labels end up on terminals and in query languages.
pub fn label(bytes: &[u8], limit: usize) -> String {
    // Four bytes is the longest character, so that a name of megabytes is not decoded whole.
    let head = &bytes[..bytes.len().min(limit.saturating_mul(4))];
    String::from_utf8_lossy(head)
        .chars()
        .map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character })
        .take(limit)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_text_is_kept_and_other_bytes_are_shown() {
        assert_eq!(lossy("grüße".as_bytes()), "grüße");
        assert_eq!(lossy(b"a\xff\xfeb"), "a\\xff\\xfeb");
        assert_eq!(lossy(b"cut \xe2\x82"), "cut \\xe2\\x82");
        assert_eq!(lossy(b"line\nfeed\x1b[31m"), "line\nfeed\x1b[31m");
        assert_eq!(lossy(b""), "");
    }

    #[test]
    fn labels_are_short_and_printable() {
        assert_eq!(label(b"a\nb\x1b\xffc", 64), "a\u{fffd}b\u{fffd}\u{fffd}c");
        assert_eq!(label(&[b'x'; 4096], 64).len(), 64);
        assert_eq!(label("ü".repeat(100).as_bytes(), 64).chars().count(), 64);
    }
}
