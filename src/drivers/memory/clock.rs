//! A clock that stands still until it is told to move; its two sides move apart when a test makes
//! the time of day jump.

use crate::ports::clock::Clock;
use chrono::{DateTime, Utc};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A clock moved by hand. Clones of an `Arc` of it share one time.
#[derive(Debug)]
pub struct ManualClock {
    time: Mutex<(DateTime<Utc>, Duration)>,
}

impl ManualClock {
    /// A clock that shows `now` and whose monotonic side is zero.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            time: Mutex::new((now, Duration::ZERO)),
        }
    }

    /// Lets time pass on both sides.
    pub fn advance(&self, by: Duration) {
        let mut time = self.time();
        time.0 += by;
        time.1 += by;
    }

    /// Sets the time of day, as an administrator or NTP would; the monotonic side is untouched.
    pub fn jump_to(&self, now: DateTime<Utc>) {
        self.time().0 = now;
    }

    fn time(&self) -> MutexGuard<'_, (DateTime<Utc>, Duration)> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now_utc(&self) -> DateTime<Utc> {
        self.time().0
    }

    fn monotonic(&self) -> Duration {
        self.time().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_leaves_intervals_alone() {
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        clock.advance(Duration::from_secs(10));
        let before = clock.monotonic();
        clock.jump_to(DateTime::UNIX_EPOCH - Duration::from_secs(3600));
        assert!(clock.now_utc() < DateTime::UNIX_EPOCH);
        assert_eq!(clock.monotonic(), before);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.monotonic() - before, Duration::from_secs(5));
    }
}
