//! Bounds of the kernel's histograms, in Prometheus' base units.

use monitor_common::histogram::{LATENCY_BUCKETS, LIFETIME_BOUNDS_SECONDS, SIZE_BUCKETS, latency_bound, size_bound};

const NANOSECONDS_PER_SECOND: f64 = 1e9;

static SECONDS: [f64; LATENCY_BUCKETS - 1] = {
    let mut bounds = [0.0; LATENCY_BUCKETS - 1];
    let mut index = 0;
    while let Some(nanoseconds) = latency_bound(index) {
        bounds[index] = nanoseconds as f64 / NANOSECONDS_PER_SECOND;
        index += 1;
    }
    bounds
};

static BYTES: [f64; SIZE_BUCKETS - 1] = {
    let mut bounds = [0.0; SIZE_BUCKETS - 1];
    let mut index = 0;
    while let Some(bytes) = size_bound(index) {
        bounds[index] = bytes as f64;
        index += 1;
    }
    bounds
};

static LIFETIMES: [f64; LIFETIME_BOUNDS_SECONDS.len()] = {
    let mut bounds = [0.0; LIFETIME_BOUNDS_SECONDS.len()];
    let mut index = 0;
    while index < bounds.len() {
        bounds[index] = LIFETIME_BOUNDS_SECONDS[index] as f64;
        index += 1;
    }
    bounds
};

/// Upper bounds of the latency histograms, in seconds, without infinity.
pub fn histogram_bounds_seconds() -> &'static [f64] {
    &SECONDS
}

/// Upper bounds of the size histograms, in bytes, without infinity.
pub fn histogram_bounds_bytes() -> &'static [f64] {
    &BYTES
}

/// Upper bounds of the lifetime histograms, in seconds, without infinity.
pub fn lifetime_bounds_seconds() -> &'static [f64] {
    &LIFETIMES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_what_the_kernel_counts_by() {
        assert_eq!(histogram_bounds_seconds().first(), Some(&256e-9));
        assert_eq!(histogram_bounds_seconds().last(), Some(&17.179_869_184));
        assert_eq!(histogram_bounds_bytes().first(), Some(&512.0));
        assert_eq!(histogram_bounds_bytes().last(), Some(&8_388_608.0));
        assert_eq!(lifetime_bounds_seconds(), [1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0]);
    }

    #[test]
    fn bounds_print_without_rounding_noise() {
        assert_eq!(histogram_bounds_seconds()[0].to_string(), "0.000000256");
        assert_eq!(histogram_bounds_seconds()[6].to_string(), "0.001048576");
    }
}
