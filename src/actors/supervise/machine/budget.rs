//! The restart budget: how many restarts a supervisor bears within its period.
//!
//! Times are whole seconds of a monotonic clock, as in OTP (rule 7), kept as a
//! ring of seconds with their counts: its size is bounded by the period and its
//! cost does not grow with the number of restarts.

use std::collections::VecDeque;
use std::time::Duration;

/// The restarts that still count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget {
    /// Second and restarts within it, oldest first.
    ring: VecDeque<(u64, u32)>,
    total: usize,
}

impl Budget {
    /// Counts a restart attempt at `now`; false when that is one too many.
    pub(crate) fn spend(&mut self, now: Duration, intensity: u32, period: Duration) -> bool {
        let now = now.as_secs();
        self.prune(now, period);
        match self.ring.back_mut() {
            Some((second, count)) if *second == now => *count += 1,
            _ => self.ring.push_back((now, 1)),
        }
        self.total += 1;
        self.total <= intensity as usize
    }

    /// How many restarts count at `now`.
    pub(crate) fn used(&self, now: Duration, period: Duration) -> usize {
        let oldest = now.as_secs().saturating_sub(period.as_secs());
        let counted = self.ring.iter().filter(|(second, _)| *second >= oldest);
        counted.map(|(_, count)| *count as usize).sum()
    }

    /// Drops what is older than the period; an entry exactly that old still counts.
    fn prune(&mut self, now: u64, period: Duration) {
        let oldest = now.saturating_sub(period.as_secs());
        while let Some((second, count)) = self.ring.front()
            && *second < oldest
        {
            self.total -= *count as usize;
            self.ring.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn zero_intensity_bears_nothing() {
        assert!(!Budget::default().spend(at(0.0), 0, PERIOD));
    }

    #[test]
    fn an_entry_exactly_one_period_old_counts() {
        let mut budget = Budget::default();
        assert!(budget.spend(at(0.9), 1, PERIOD));
        assert!(
            !budget.spend(at(5.1), 1, PERIOD),
            "second 0 is 5 s before second 5"
        );
        let mut budget = Budget::default();
        assert!(budget.spend(at(0.9), 1, PERIOD));
        assert!(
            budget.spend(at(6.0), 1, PERIOD),
            "second 0 is 6 s before second 6"
        );
    }

    #[test]
    fn used_tells_without_counting() {
        let mut budget = Budget::default();
        budget.spend(at(1.0), 9, PERIOD);
        budget.spend(at(1.9), 9, PERIOD);
        budget.spend(at(4.0), 9, PERIOD);
        assert_eq!(budget.used(at(6.0), PERIOD), 3);
        assert_eq!(budget.used(at(7.0), PERIOD), 1);
    }

    #[test]
    fn a_busy_second_is_one_entry() {
        let mut budget = Budget::default();
        for _ in 0..10_000 {
            assert!(budget.spend(at(3.0), 10_000, PERIOD));
        }
        assert_eq!(budget.ring.len(), 1);
        assert!(!budget.spend(at(8.0), 10_000, PERIOD));
        assert!(budget.spend(at(9.0), 10_000, PERIOD));
    }
}
