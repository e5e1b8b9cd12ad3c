//! Real time for statistics: nanoseconds since the process first asked.
//!
//! Lifecycle decisions use tokio's clock, which tests may pause; statistics and
//! the watch over stuck handlers need the time that really passed.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the epoch of this process; never zero.
pub(crate) fn nanos() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// The time since `nanos`.
pub(crate) fn since(nanos_then: u64) -> Duration {
    Duration::from_nanos(nanos().saturating_sub(nanos_then))
}

static LIFE_EPOCH: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

/// The clock of lifecycle decisions, in time since the process's epoch.
pub(crate) fn now() -> Duration {
    tokio::time::Instant::now().saturating_duration_since(*LIFE_EPOCH)
}

/// The moment `at` on tokio's clock.
pub(crate) fn instant(at: Duration) -> tokio::time::Instant {
    *LIFE_EPOCH + at
}
