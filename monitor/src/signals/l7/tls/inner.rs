//! The function inside of OpenSSL that two of its exported ones call. A program on a function that begins with `push`
//! costs a tenth of what it costs on one that begins with anything else: the kernel does a `push` itself, instead of letting
//! the processor do one instruction and come back. `SSL_read` begins with `sub`, `ssl_read_internal` with `push`; it is what
//! `SSL_read` and `SSL_read_ex` call since OpenSSL 1.1.1, and what is read through a BIO comes from, too.
//!
//! No table of symbols names it. It is the only function with such a beginning that both call.

use std::collections::BTreeSet;

use super::elf::Function;

/// `endbr64`, which may stand at the beginning of a function and does nothing.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// Longest function that is looked through.
const FUNCTION_MAX: u64 = 4_096;

/// Where in the file it is, past an `endbr64`; `read` reads the file. `None`: it is not to be told.
pub(super) fn inner(read: &dyn Fn(u64, u64) -> Option<Vec<u8>>, both: [Function; 2]) -> Option<u64> {
    let [one, other] = both.map(|function| calls(read, function));
    let (one, other) = (one?, other?);
    let mut found = one.intersection(&other).filter_map(|at| pushes(read, *at));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Where a function may call to: whatever looks like a call is taken for one.
fn calls(read: &dyn Fn(u64, u64) -> Option<Vec<u8>>, function: Function) -> Option<BTreeSet<u64>> {
    let bytes = read(function.offset, function.size.min(FUNCTION_MAX))?;
    let call = |(at, bytes): (usize, &[u8])| match bytes {
        [0xe8, a, b, c, d] => {
            let next = function.offset.checked_add(at as u64 + 5)?;
            next.checked_add_signed(i64::from(i32::from_le_bytes([*a, *b, *c, *d])))
        }
        _ => None,
    };
    Some(bytes.windows(5).enumerate().filter_map(call).collect())
}

/// Where the `push` is that a function begins with.
fn pushes(read: &dyn Fn(u64, u64) -> Option<Vec<u8>>, at: u64) -> Option<u64> {
    let bytes = read(at, 8)?;
    let (at, rest) = bytes.strip_prefix(&ENDBR64).map_or((at, &*bytes), |rest| (at + 4, rest));
    matches!(rest, [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..]).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in which a call from 0x10 and one from 0x40 go to `targets`, where these bytes are.
    fn look(targets: &[(u64, &[u8])]) -> Option<u64> {
        let mut file = vec![0x90_u8; 0x200];
        for (at, bytes) in targets {
            file[*at as usize..][..bytes.len()].copy_from_slice(bytes);
            for (index, function) in [0x10_usize, 0x80].into_iter().enumerate() {
                let call = function + 4 + 5 * targets.iter().position(|(target, _)| target == at).unwrap() + index;
                let distance = *at as i32 - (call as i32 + 5);
                file[call] = 0xe8;
                file[call + 1..][..4].copy_from_slice(&distance.to_le_bytes());
            }
        }
        let read = |at: u64, length: u64| file.get(at as usize..(at + length) as usize).map(<[u8]>::to_vec);
        inner(&read, [Function { offset: 0x10, size: 0x40 }, Function { offset: 0x80, size: 0x40 }])
    }

    #[test]
    fn it_is_the_only_one_that_both_call_and_that_begins_with_a_push() {
        assert_eq!(look(&[(0x100, &[0x41, 0x55]), (0x140, &[0xff, 0x25])]), Some(0x100));
        assert_eq!(
            look(&[(0x100, &[0xf3, 0x0f, 0x1e, 0xfa, 0x53]), (0x140, &[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25])]),
            Some(0x104)
        );
    }

    #[test]
    fn what_is_not_certain_is_not_taken() {
        assert_eq!(look(&[(0x100, &[0x53]), (0x140, &[0x55])]), None);
        assert_eq!(look(&[(0x100, &[0x48, 0x83, 0xec, 0x18])]), None);
        assert_eq!(look(&[]), None);
    }
}
