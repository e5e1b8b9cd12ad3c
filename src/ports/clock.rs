//! The two clocks: one to tell the time by, one to measure intervals with.
//!
//! Called by the actors and by what stamps records. Never use [`Clock::now_utc`] for a backoff, a
//! timeout or a restart budget: an administrator or NTP may set it back or forward at any moment.

use chrono::{DateTime, Utc};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Tells the time of day and measures intervals.
pub trait Clock: Send + Sync + 'static {
    /// The time of day. It may jump either way between two calls.
    fn now_utc(&self) -> DateTime<Utc>;

    /// Time since a fixed instant of this process. It never goes back and is never set; time for which the
    /// machine was suspended counts, since a lease ends then, too (`CLOCK_BOOTTIME`).
    fn monotonic(&self) -> Duration;
}

/// Time since the machine was started, suspended or not: the same for all its processes.
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos)
}

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Duration,
}

impl SystemClock {
    /// A clock whose monotonic side counts from now.
    pub fn new() -> Self {
        Self {
            origin: since_boot(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_utc(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        since_boot().saturating_sub(self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_side_starts_near_zero_and_advances() {
        let clock = SystemClock::new();
        let first = clock.monotonic();
        assert!(first < Duration::from_secs(5), "{first:?}");
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.monotonic() >= first + Duration::from_millis(2));
    }
}
