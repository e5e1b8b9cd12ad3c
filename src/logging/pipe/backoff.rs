//! Pauses between attempts: Vector's, Fibonacci numbers of seconds up to a limit, with full jitter. Pure.

use std::time::Duration;

/// The pause before attempt `attempt` (from 1), where `noise` is from 0 to 1. Never quite zero: a receiver that
/// refuses at once is not hammered.
pub fn delay(attempt: u32, first: Duration, most: Duration, noise: f64) -> Duration {
    let (mut this, mut next) = (1_u32, 2_u32);
    for _ in 1..attempt.clamp(1, 30) {
        (this, next) = (next, this.saturating_add(next));
    }
    let full = first.saturating_mul(this).min(most);
    full.mul_f64(noise.clamp(0.05, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_fibonacci_up_to_the_limit() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let pauses: Vec<u64> = (1..=9)
            .map(|n| delay(n, first, most, 1.0).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 3, 5, 8, 13, 21, 30, 30]);
        assert_eq!(delay(u32::MAX, first, most, 1.0), most);
        assert_eq!(delay(4, first, most, 0.5), Duration::from_millis(2500));
        assert_eq!(delay(4, first, most, 0.0), Duration::from_millis(250));
    }
}
