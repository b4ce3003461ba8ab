//! What is kept of the system calls of each process. Ended ones stay known for a minute, and in a storm there are tens of
//! thousands of them: theirs is packed, to some tens of bytes a family.

use std::borrow::Cow;

use monitor_common::histogram::LATENCY_BUCKETS;

use super::totals::{FamilyTotals, Totals};

/// The totals of one process: open, or packed, or neither while there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    open: Option<Box<Totals>>,
    packed: Box<[u8]>,
}

impl Kept {
    /// The totals, to be added to.
    pub(super) fn open(&mut self) -> &mut Totals {
        let packed = std::mem::take(&mut self.packed);
        self.open.get_or_insert_with(|| Box::new(unpack(&packed)))
    }

    /// The totals, to be read.
    pub(super) fn totals(&self) -> Cow<'_, Totals> {
        match &self.open {
            Some(totals) => Cow::Borrowed(totals),
            None => Cow::Owned(unpack(&self.packed)),
        }
    }

    /// Makes it small. It opens again when something is added.
    pub(super) fn close(&mut self) {
        if let Some(totals) = self.open.take() {
            self.packed = pack(&totals);
        }
    }
}

/// Families first: how many, then of each its number, a set of its buckets that are not 0, what is in them, and the rest.
/// Then errors until the end.
fn pack(totals: &Totals) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(160);
    let used = || totals.families.iter().enumerate().filter(|(_, family)| **family != FamilyTotals::default());
    put(&mut bytes, used().count() as u64);
    for (number, family) in used() {
        put(&mut bytes, number as u64);
        let filled = family.buckets.iter().enumerate().filter(|(_, count)| **count != 0);
        put(&mut bytes, filled.clone().map(|(bucket, _)| 1 << bucket).sum());
        for (_, count) in filled {
            put(&mut bytes, *count);
        }
        put(&mut bytes, family.sum_ns);
        put(&mut bytes, family.untimed);
        put(&mut bytes, family.skipped.cast_unsigned());
    }
    for ((family, errno), count) in &totals.errors {
        put(&mut bytes, u64::from(*family));
        put(&mut bytes, u64::from(*errno));
        put(&mut bytes, *count);
    }
    bytes.into()
}

fn unpack(mut bytes: &[u8]) -> Totals {
    let (mut totals, bytes) = (Totals::default(), &mut bytes);
    for _ in 0..take(bytes) {
        let number = take(bytes) as usize;
        let filled = take(bytes);
        let mut family = FamilyTotals::default();
        for bucket in (0..LATENCY_BUCKETS).filter(|bucket| filled & (1 << bucket) != 0) {
            family.buckets[bucket] = take(bytes);
        }
        (family.sum_ns, family.untimed, family.skipped) = (take(bytes), take(bytes), take(bytes).cast_signed());
        totals.families.add(number, &family);
    }
    while !bytes.is_empty() {
        let key = (take(bytes) as u32, take(bytes) as u32);
        totals.errors.insert(key, take(bytes));
    }
    totals
}

/// Appends a number, seven bits a byte, the lowest first (LEB128).
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 63 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let mut totals = Totals::default();
        let mut family = FamilyTotals { sum_ns: u64::MAX, untimed: 127, skipped: -3, ..FamilyTotals::default() };
        (family.buckets[0], family.buckets[7], family.buckets[LATENCY_BUCKETS - 1]) = (1, 128, u64::MAX);
        totals.families.add(0, &family);
        totals.families.add(15, &FamilyTotals { skipped: i64::MAX, ..FamilyTotals::default() });
        totals.error(15, 4095, 1 << 40);
        totals.error(3, 2, 1);
        let mut kept = Kept::default();
        *kept.open() = totals.clone();
        assert_eq!(*kept.totals(), totals);
        for _ in 0..2 {
            kept.close();
            assert!(kept.open.is_none() && kept.packed.len() < 80, "{kept:?}");
            assert_eq!(*kept.totals(), totals);
        }
        assert_eq!(*kept.open(), totals);
        assert!(kept.packed.is_empty());
    }

    #[test]
    fn nothing_is_nothing() {
        let mut kept = Kept::default();
        kept.close();
        assert_eq!(*kept.totals(), Totals::default());
        assert_eq!(*kept.open(), Totals::default());
    }
}
