//! Buckets of kernel-side histograms. All are powers of two, so that the kernel finds a bucket without a division and
//! user space can publish the bounds exactly.

/// Buckets of a latency histogram: bounds 2^8, 2^10, … 2^34 ns (256 ns … 17.2 s), then infinity.
pub const LATENCY_BUCKETS: usize = 15;
/// Buckets of a size histogram: bounds 2^9, 2^11, … 2^23 bytes (512 B … 8 MiB), then infinity.
pub const SIZE_BUCKETS: usize = 9;
/// Upper bounds of connection and process lifetimes, in seconds; the last bucket is infinity.
pub const LIFETIME_BOUNDS_SECONDS: [u64; 6] = [1, 10, 60, 600, 3_600, 86_400];
/// Buckets of a lifetime histogram.
pub const LIFETIME_BUCKETS: usize = LIFETIME_BOUNDS_SECONDS.len() + 1;

/// Index of the first bucket whose bound `2^(first + 2 i)` is not below `value` (Prometheus' `le`: the bound belongs to
/// the bucket); `last` when none is. `last` is below 16.
///
/// A binary search, because the BPF instruction set has no count-leading-zeros: four comparisons, where finding the
/// highest bit and dividing takes five times as many instructions.
#[inline(always)]
const fn bucket(value: u64, first: u32, last: usize) -> usize {
    let mut index = 0;
    let mut step = 8;
    while step > 0 {
        // Is the value above the bound of the bucket before `index + step`?
        if value > 1 << (first + 2 * (index + step - 1)) {
            index += step;
        }
        step /= 2;
    }
    if index as usize > last { last } else { index as usize }
}

/// Bucket of a duration in nanoseconds.
#[inline(always)]
pub const fn latency_bucket(nanoseconds: u64) -> usize {
    bucket(nanoseconds, 8, LATENCY_BUCKETS - 1)
}

/// Bucket of a size in bytes.
#[inline(always)]
pub const fn size_bucket(bytes: u64) -> usize {
    bucket(bytes, 9, SIZE_BUCKETS - 1)
}

/// Bucket of a lifetime in nanoseconds.
#[inline(always)]
pub const fn lifetime_bucket(nanoseconds: u64) -> usize {
    let mut index = 0;
    while index < LIFETIME_BOUNDS_SECONDS.len() {
        if nanoseconds <= LIFETIME_BOUNDS_SECONDS[index] * 1_000_000_000 {
            return index;
        }
        index += 1;
    }
    index
}

/// Upper bound of latency bucket `index`, in nanoseconds; `None` for the last, which has none.
pub const fn latency_bound(index: usize) -> Option<u64> {
    if index + 1 < LATENCY_BUCKETS { Some(1 << (8 + 2 * index)) } else { None }
}

/// Upper bound of size bucket `index`, in bytes; `None` for the last, which has none.
pub const fn size_bound(index: usize) -> Option<u64> {
    if index + 1 < SIZE_BUCKETS { Some(1 << (9 + 2 * index)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_the_next_value_to_the_next() {
        for index in 0..LATENCY_BUCKETS - 1 {
            let bound = latency_bound(index).unwrap();
            assert_eq!(latency_bucket(bound), index);
            assert_eq!(latency_bucket(bound + 1), index + 1);
        }
        for index in 0..SIZE_BUCKETS - 1 {
            let bound = size_bound(index).unwrap();
            assert_eq!(size_bucket(bound), index);
            assert_eq!(size_bucket(bound + 1), index + 1);
        }
    }

    #[test]
    fn the_ends_hold() {
        assert_eq!(latency_bucket(0), 0);
        assert_eq!(latency_bucket(u64::MAX), LATENCY_BUCKETS - 1);
        assert_eq!(size_bucket(0), 0);
        assert_eq!(size_bucket(u64::MAX), SIZE_BUCKETS - 1);
        assert_eq!(latency_bound(LATENCY_BUCKETS - 2), Some(1 << 34));
        assert_eq!(size_bound(SIZE_BUCKETS - 2), Some(8 << 20));
    }

    #[test]
    fn lifetimes_fall_below_their_bound() {
        assert_eq!(lifetime_bucket(0), 0);
        assert_eq!(lifetime_bucket(1_000_000_000), 0);
        assert_eq!(lifetime_bucket(1_000_000_001), 1);
        assert_eq!(lifetime_bucket(86_400_000_000_001), LIFETIME_BUCKETS - 1);
    }

    #[test]
    fn the_search_agrees_with_looking_at_every_bound() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 1, u64::MAX - shift] {
                let by_bounds = |bound: fn(usize) -> Option<u64>| (0..).find(|&i| bound(i).is_none_or(|b| value <= b));
                assert_eq!(Some(latency_bucket(value)), by_bounds(latency_bound), "{value}");
                assert_eq!(Some(size_bucket(value)), by_bounds(size_bound), "{value}");
            }
        }
    }
}
