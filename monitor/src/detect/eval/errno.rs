//! Results of calls, by name.

use super::value::Values;

/// Adds `SUCCESS`, or the name of the error.
pub(super) fn push(result: i64, out: &mut Values<'_>) {
    if result >= 0 {
        return out.bytes(b"SUCCESS");
    }
    let errno = i32::try_from(-result).unwrap_or(0);
    match syscalls::Errno::new(errno).name() {
        Some(name) => out.bytes(name.as_bytes()),
        // Codes that only the kernel sees.
        None if (512..=516).contains(&errno) => out.bytes(b"ERESTART"),
        None => out.number(result),
    }
}
