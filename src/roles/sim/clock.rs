//! The clocks of a simulated host: they go with virtual time, each a little wrong in its own way.

use crate::ports::clock::Clock;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What every host shows at the beginning of a schedule.
const BEGINNING: i64 = 1_800_000_000;
/// How long a host has been up at the beginning of a schedule: its monotonic clock is never near zero.
const UPTIME: Duration = Duration::from_secs(3600);

/// The clocks of one host.
pub struct SimClock {
    origin: Instant,
    rate: f64,
    /// How far the time of day was set, in milliseconds; the monotonic side knows nothing of it.
    set: AtomicI64,
}

impl SimClock {
    /// Clocks that go `rate` times as fast as true time.
    pub fn new(origin: Instant, rate: f64) -> Self {
        Self {
            origin,
            rate,
            set: AtomicI64::new(0),
        }
    }

    /// Sets the time of day by so many milliseconds, as an administrator or NTP would.
    pub fn jump(&self, millis: i64) {
        self.set.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_utc(&self) -> DateTime<Utc> {
        let set = TimeDelta::milliseconds(self.set.load(Ordering::Relaxed));
        DateTime::from_timestamp(BEGINNING, 0).unwrap_or_default() + self.monotonic() + set
    }

    fn monotonic(&self) -> Duration {
        UPTIME + self.origin.elapsed().mul_f64(self.rate)
    }
}
