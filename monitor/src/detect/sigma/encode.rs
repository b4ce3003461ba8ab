//! Modifiers that change a value before it is looked for.

use rsigma_parser::{SigmaString, SpecialChar, StringPart};

/// Base 64 without line breaks (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= chunk.len() {
                out.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// What of base 64 stays the same wherever the bytes begin in what was encoded: the three possibilities.
pub(super) fn base64_offsets(bytes: &[u8]) -> [String; 3] {
    [0_usize, 1, 2].map(|before| {
        let mut padded = vec![b' '; before];
        padded.extend_from_slice(bytes);
        let encoded = base64(&padded);
        // The first digits also have bits of what is before, the last ones of what comes after.
        let start = [0, 2, 3][before];
        let end = (padded.len() * 8 / 6).min(encoded.len());
        encoded.get(start..end).unwrap_or_default().to_owned()
    })
}

/// Two bytes for each character, as Windows has it.
pub(super) fn utf16(text: &str, little: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

/// A value with each character that begins an option as each other one.
pub(super) fn windash(value: &SigmaString) -> Vec<SigmaString> {
    const DASHES: [char; 5] = ['-', '/', '–', '—', '―'];
    let with = |dash: char| {
        let mut parts = Vec::with_capacity(value.parts.len());
        let mut before = ' ';
        for part in &value.parts {
            match part {
                StringPart::Plain(text) => {
                    let mut changed = String::with_capacity(text.len());
                    for character in text.chars() {
                        let option = matches!(character, '-' | '/') && !before.is_alphanumeric();
                        changed.push(if option { dash } else { character });
                        before = character;
                    }
                    parts.push(StringPart::Plain(changed));
                }
                special @ StringPart::Special(SpecialChar::WildcardMulti | SpecialChar::WildcardSingle) => {
                    before = ' ';
                    parts.push(special.clone());
                }
            }
        }
        SigmaString { parts, original: value.original.clone() }
    };
    let mut all = vec![value.clone()];
    for dash in DASHES {
        let one = with(dash);
        if !all.iter().any(|other| other.parts == one.parts) {
            all.push(one);
        }
    }
    all
}
