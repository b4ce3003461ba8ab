//! Reads a segment line by line, whatever is in it: a line that never ends must not fill the memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::ops::ControlFlow;

use super::record::MAX_LINE;

/// A line of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Where it begins, bytes.
    pub(super) offset: u64,
    /// What it says, without its end; of one that is too long the beginning.
    pub(super) text: &'a [u8],
    /// It ends with a line feed, and is not too long.
    pub(super) whole: bool,
    /// Where the next one begins.
    pub(super) end: u64,
}

/// Shows every line to `look`, until it has seen enough.
pub(super) fn each(file: &File, mut look: impl FnMut(Line<'_>) -> ControlFlow<()>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (mut buffer, mut number, mut offset) = (Vec::new(), 0, 0);
    loop {
        buffer.clear();
        let mut read = reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut buffer)? as u64;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        let ended = buffer.last() == Some(&b'\n');
        let long = !ended && read >= MAX_LINE as u64;
        if long {
            read += skip(&mut reader)?;
        }
        let text = buffer.strip_suffix(b"\n").unwrap_or(&buffer);
        let line = Line { number, offset, text, whole: ended, end: offset + read };
        if look(line).is_break() {
            return Ok(());
        }
        offset += read;
    }
}

/// The rest of a line that is too long.
fn skip(reader: &mut BufReader<&File>) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            return Ok(skipped);
        }
        let (length, done) = match part.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (part.len(), false),
        };
        reader.consume(length);
        skipped += length as u64;
        if done {
            return Ok(skipped);
        }
    }
}
