//! Health counting: probe results to a verdict, with no clock of its own.

/// What a run of probes says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No success yet since the start.
    Starting,
    /// The last success counts.
    Healthy,
    /// `retries` failures in a row: a crash.
    Unhealthy,
}

/// Counts probe results since a start.
///
/// Docker's rule: failures within the start period do not count until the first success; after it, or
/// after a success, `retries` failures in a row are a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCounter {
    retries: u32,
    failures: u32,
    ever_healthy: bool,
}

impl HealthCounter {
    /// A counter for an instance that has just been started.
    pub fn new(retries: u32) -> Self {
        Self {
            retries: retries.max(1),
            failures: 0,
            ever_healthy: false,
        }
    }

    /// A counter for an instance that is known to have been healthy, such as an adopted one.
    pub fn healthy(retries: u32) -> Self {
        Self {
            ever_healthy: true,
            ..Self::new(retries)
        }
    }

    /// Takes one probe result. `in_start_period`: whether the start period still runs.
    pub fn record(&mut self, ok: bool, in_start_period: bool) -> Verdict {
        if ok {
            self.ever_healthy = true;
            self.failures = 0;
        } else if self.ever_healthy || !in_start_period {
            self.failures += 1;
        }
        self.verdict()
    }

    /// Failures in a row that count.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Verdict {
        if self.failures >= self.retries {
            Verdict::Unhealthy
        } else if self.ever_healthy {
            Verdict::Healthy
        } else {
            Verdict::Starting
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::*;

    #[test]
    fn verdicts_follow_dockers_rule() {
        // (ok, in start period) → verdict, with retries 2
        let table: &[(&[(bool, bool)], Verdict)] = &[
            (&[], Starting),
            (&[(false, true), (false, true), (false, true)], Starting),
            (&[(false, true), (false, false)], Starting),
            (&[(false, false), (false, false)], Unhealthy),
            (&[(true, true)], Healthy),
            (&[(true, true), (false, true)], Healthy),
            (&[(true, true), (false, true), (false, true)], Unhealthy),
            (
                &[(true, false), (false, false), (true, false), (false, false)],
                Healthy,
            ),
        ];
        for (probes, verdict) in table {
            let mut counter = HealthCounter::new(2);
            for &(ok, starting) in *probes {
                counter.record(ok, starting);
            }
            assert_eq!(counter.verdict(), *verdict, "{probes:?}");
        }
    }

    #[test]
    fn zero_retries_count_as_one() {
        assert_eq!(HealthCounter::new(0).record(false, false), Unhealthy);
        assert_eq!(HealthCounter::new(0).verdict(), Starting);
    }
}
