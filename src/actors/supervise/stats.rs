//! A small logarithmic histogram of handler times, with one writer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Buckets double from 1 µs; the last holds everything from about 9 minutes.
const BUCKETS: usize = 30;

/// Handler times of one child.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    slowest: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

impl Histogram {
    /// Adds a time; only the child's own task may.
    pub(crate) fn add(&self, nanos: u64) {
        let bucket = &self.buckets[Self::bucket(nanos)];
        bucket.store(
            bucket.load(Ordering::Relaxed).saturating_add(1),
            Ordering::Relaxed,
        );
        if nanos > self.slowest.load(Ordering::Relaxed) {
            self.slowest.store(nanos, Ordering::Relaxed);
        }
    }

    /// The longest time.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.slowest.load(Ordering::Relaxed))
    }

    /// An upper bound of the time that this share of messages stayed within.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|b| u64::from(b.load(Ordering::Relaxed)))
            .collect();
        let total: u64 = counts.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return Duration::from_nanos(1_000u64 << index).min(self.max());
            }
        }
        self.max()
    }

    fn bucket(nanos: u64) -> usize {
        let micros = nanos / 1_000;
        ((u64::BITS - micros.leading_zeros()) as usize).min(BUCKETS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_upper_bounds() {
        let times = Histogram::default();
        for _ in 0..99 {
            times.add(3_500);
        }
        times.add(900_000);
        assert_eq!(times.max(), Duration::from_micros(900));
        assert_eq!(times.quantile(0.5), Duration::from_micros(4));
        assert_eq!(times.quantile(0.99), Duration::from_micros(4));
        assert_eq!(times.quantile(1.0), Duration::from_micros(900));
    }

    #[test]
    fn the_longest_times_share_the_last_bucket() {
        assert_eq!(Histogram::bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(Histogram::bucket(999), 0);
        assert_eq!(Histogram::bucket(1_000), 1);
    }
}
