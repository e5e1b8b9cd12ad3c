//! Chance from a seed: everything that a schedule leaves open is decided here.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// A stream of decisions; the same seed gives the same stream.
pub struct Chance(StdRng);

impl Chance {
    /// The stream of a seed. `purpose` keeps the streams of one schedule apart, so that one more decision in one
    /// of them changes no other.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(StdRng::seed_from_u64(
            seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ))
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        match end {
            0 => 0,
            end => self.0.random_range(0..end),
        }
    }

    /// A number between two, both included.
    pub fn number(&mut self, from: u32, to: u32) -> u32 {
        self.0.random_range(from..=to.max(from))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// A time between two, in whole milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.0.random_range(from..=to.max(from)))
    }

    /// One of `all`; `None` when there is none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    /// A factor between two.
    pub fn factor(&mut self, from: f64, to: f64) -> f64 {
        self.0.random_range(from..to)
    }
}
