//! The ranges of numbers that two texts mean.

use std::ops::Bound;

/// A range of numbers; `None` where a bound is none.
pub fn number(bound: &Bound<String>) -> Option<Bound<f64>> {
    let read = |text: &String| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    Some(match bound {
        Bound::Included(text) => Bound::Included(read(text)?),
        Bound::Excluded(text) => Bound::Excluded(read(text)?),
        Bound::Unbounded => Bound::Unbounded,
    })
}

/// A range of whole numbers; empty (from above to) for one that lies between two.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float beyond the range of i64 saturates, as is meant"
)]
pub fn long(low: &Bound<String>, high: &Bound<String>) -> Option<(i64, i64)> {
    let low = match low {
        Bound::Unbounded => i64::MIN,
        Bound::Included(text) | Bound::Excluded(text) => {
            let excluded = matches!(low, Bound::Excluded(_));
            match text.trim().parse::<i64>() {
                Ok(n) => match (excluded, n.checked_add(1)) {
                    (false, _) => n,
                    (true, Some(next)) => next,
                    (true, None) => return Some((1, 0)),
                },
                Err(_) => {
                    let n: f64 = text.trim().parse().ok().filter(|n: &f64| n.is_finite())?;
                    let up = n.ceil();
                    // Beyond every whole number there is none.
                    if up > i64::MAX as f64 {
                        return Some((1, 0));
                    }
                    let first = up as i64;
                    if excluded && up.to_bits() == n.to_bits() {
                        first.saturating_add(1)
                    } else {
                        first
                    }
                }
            }
        }
    };
    let high = match high {
        Bound::Unbounded => i64::MAX,
        Bound::Included(text) | Bound::Excluded(text) => {
            let excluded = matches!(high, Bound::Excluded(_));
            match text.trim().parse::<i64>() {
                Ok(n) => match (excluded, n.checked_sub(1)) {
                    (false, _) => n,
                    (true, Some(before)) => before,
                    (true, None) => return Some((1, 0)),
                },
                Err(_) => {
                    let n: f64 = text.trim().parse().ok().filter(|n: &f64| n.is_finite())?;
                    let down = n.floor();
                    if down < i64::MIN as f64 {
                        return Some((1, 0));
                    }
                    let last = down as i64;
                    if excluded && down.to_bits() == n.to_bits() {
                        last.saturating_sub(1)
                    } else {
                        last
                    }
                }
            }
        }
    };
    Some((low, high))
}
