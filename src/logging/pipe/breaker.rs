//! The circuit breaker of a sink: after so many failures in a row nothing is sent for a while, then one small
//! batch tells whether the receiver is back. Pure: the caller tells what time it is.

use std::time::Duration;

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open.
    pub open_for: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failures: 5,
            open_for: Duration::from_secs(10),
        }
    }
}

/// Whether something may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Whatever there is.
    Go,
    /// One small batch, to see.
    Probe,
    /// Nothing for so long.
    Wait(Duration),
}

/// The state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration },
    HalfOpen,
}

/// A circuit breaker.
#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    settings: Settings,
    state: State,
}

impl Breaker {
    /// A closed one.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether something may be sent at `now`.
    pub fn permit(&mut self, now: Duration) -> Permit {
        match self.state {
            State::Closed { .. } => Permit::Go,
            State::HalfOpen => Permit::Probe,
            State::Open { until } if now < until => Permit::Wait(until - now),
            State::Open { .. } => {
                self.state = State::HalfOpen;
                Permit::Probe
            }
        }
    }

    /// The receiver answered.
    pub fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The receiver did not answer, at `now`.
    pub fn failed(&mut self, now: Duration) {
        let open = State::Open {
            until: now + self.settings.open_for,
        };
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < self.settings.failures => State::Closed {
                failures: failures + 1,
            },
            State::Closed { .. } | State::HalfOpen | State::Open { .. } => open,
        };
    }

    /// The word of the API.
    pub fn as_str(&self) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_one_success() {
        let mut breaker = Breaker::new(Settings {
            failures: 3,
            open_for: seconds(10),
        });
        for _ in 0..2 {
            breaker.failed(seconds(1));
            assert_eq!(breaker.permit(seconds(1)), Permit::Go);
        }
        breaker.succeeded();
        for _ in 0..3 {
            breaker.failed(seconds(2));
        }
        assert_eq!(breaker.permit(seconds(5)), Permit::Wait(seconds(7)));
        assert_eq!(breaker.as_str(), "open");
        assert_eq!(breaker.permit(seconds(12)), Permit::Probe);
        assert_eq!(breaker.as_str(), "half_open");
        breaker.failed(seconds(13));
        assert_eq!(breaker.permit(seconds(13)), Permit::Wait(seconds(10)));
        assert_eq!(breaker.permit(seconds(23)), Permit::Probe);
        breaker.succeeded();
        assert_eq!(breaker.permit(seconds(23)), Permit::Go);
        assert_eq!(breaker.as_str(), "closed");
    }
}
